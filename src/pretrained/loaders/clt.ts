/**
 * One layer L of a cross-layer transcoder, as mntss/clt-gemma-2-2b-2.5M: W_enc_L.safetensors with W_enc_L [d_sae, d_in], b_enc_L and b_dec_L,
 * W_dec_L.safetensors with W_dec_L [d_sae, layers from L on, d_out]. Latents of a layer write to all later ones, and a layer's output has parts
 * of all earlier ones. So what is loaded has the activations of layer L, relu(W_enc x + b_enc), or above threshold_L where the file has one; its
 * decoder is the sum over the layers that are written to, as in SAELens, and its reconstruction is nobody's output.
 */
import { CochleaError } from '../../errors.ts';
import { type FileSet, readSmallText } from '../files.ts';
import { configOf, type Loader } from '../loader.ts';
import { withTensors } from '../tensors.ts';
import { yamlText } from './mwhanna.ts';

export const cltNote = 'one layer of a cross-layer transcoder: its activations are right, its reconstruction is the sum of what it writes to all later layers';

const encoderFile = /^W_enc_(\d+)\.safetensors$/;

function layerOf({ main, names }: FileSet): string | undefined {
  if (main !== undefined) return encoderFile.exec(main)?.[1];
  const found = [...names].flatMap((name) => encoderFile.exec(name)?.[1] ?? []);
  return found.length === 1 ? found[0] : undefined;
}

export const clt: Loader = {
  name: 'clt-layer',
  title: 'one layer of a cross-layer transcoder (W_enc_L.safetensors, W_dec_L.safetensors)',
  files: (path) => ({ needed: [path, path.replace('W_enc_', 'W_dec_')], optional: [path.replace(/[^/]*$/, 'config.yaml')] }),
  detect: (files) => layerOf(files) !== undefined,
  async read(files) {
    const layer = layerOf(files) ?? 'L';
    const yaml = files.names.has('config.yaml') ? await readSmallText(files, 'config.yaml') : '';
    const hook = (field: string): string | undefined => {
      const found = yamlText(yaml, field);
      return found === undefined ? undefined : `blocks.${layer}.${found}`;
    };
    const encoder = await withTensors(files, `W_enc_${layer}.safetensors`, async (tensors) => {
      const names = { weight: `W_enc_${layer}`, bias: `b_enc_${layer}`, output: `b_dec_${layer}`, threshold: `threshold_${layer}` };
      tensors.only(Object.values(names));
      const [dSae, dIn] = tensors.matrixShape(names.weight);
      return {
        dSae, dIn, dtype: tensors.dtype(names.weight),
        W_enc: await tensors.matrix(names.weight, dSae, dIn), b_enc: await tensors.vector(names.bias, dSae), b_dec: await tensors.all(names.output),
        ...(tensors.has(names.threshold) ? { threshold: await tensors.vector(names.threshold, dSae) } : {}),
      };
    });
    const { dSae, dIn, dtype, ...weights } = encoder;
    const dOut = weights.b_dec.length;
    const W_dec = await withTensors(files, `W_dec_${layer}.safetensors`, async (tensors) => {
      const name = `W_dec_${layer}`;
      tensors.only([name]);
      const shape = tensors.shape(name);
      if (shape.length !== 3 || shape[0] !== dSae || shape[2] !== dOut) {
        throw new CochleaError('file-damaged', `${tensors.path}: ${name} has shape [${shape.join(', ')}], not [${dSae}, layers, ${dOut}]`);
      }
      return summedLayers(await tensors.all(name), dSae, shape[1]!, dOut);
    });
    return {
      config: configOf({
        architecture: weights.threshold ? 'jumprelu_transcoder' : 'transcoder', dIn, dSae, dtype, applyBDec: false, fields: { d_out: dOut },
        metadata: { model_name: yamlText(yaml, 'model_name'), hook_name: hook('feature_input_hook'), hook_name_out: hook('feature_output_hook') },
      }),
      weights: { ...weights, W_dec }, notes: [cltNote],
    };
  },
};

/** [latents, layers, columns] summed over layers. */
export function summedLayers(values: Float32Array, latents: number, layers: number, columns: number): Float32Array {
  return Float32Array.from({ length: latents * columns }, (_, at) => {
    const latent = Math.floor(at / columns), column = at % columns;
    let sum = 0;
    for (let layer = 0; layer < layers; layer++) sum += values[(latent * layers + layer) * columns + column]!;
    return sum;
  });
}
