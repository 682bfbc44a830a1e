/**
 * Transcoders of circuit-tracer's layout, as mwhanna's of Qwen 3: one layer_N.safetensors each with W_enc [d_sae, d_in], W_dec [d_sae, d_out],
 * b_enc and b_dec, and W_skip [d_out, d_in] where there is a skip connection; f = relu(W_enc x + b_enc), out = W_dec^T f + b_dec. The input is
 * the MLP's as the model normalises it.
 */
import { configOf, type Loader } from '../loader.ts';
import { type FileSet, readSmallText } from '../files.ts';
import { withTensors } from '../tensors.ts';

const layerFile = /^layer_(\d+)\.safetensors$/;

function fileOf({ main, names }: FileSet): string | undefined {
  if (main !== undefined) return layerFile.test(main) ? main : undefined;
  const found = [...names].filter((name) => layerFile.test(name));
  return found.length === 1 ? found[0] : undefined;
}

export const mwhanna: Loader = {
  name: 'mwhanna-transcoder',
  title: 'one transcoder per layer_N.safetensors (mwhanna, circuit-tracer)',
  files: (path) => ({ needed: [path], optional: [path.replace(/[^/]*$/, 'config.yaml')] }),
  detect: (files) => fileOf(files) !== undefined,
  async read(files) {
    const name = fileOf(files) ?? 'layer_N.safetensors';
    const layer = layerFile.exec(name)?.[1];
    const model = files.names.has('config.yaml') ? yamlText(await readSmallText(files, 'config.yaml'), 'model_name') : undefined;
    return withTensors(files, name, async (tensors) => {
      tensors.only(['W_enc', 'W_dec', 'b_enc', 'b_dec', 'W_skip']);
      const [dSae, dIn] = tensors.matrixShape('W_enc'), [, dOut] = tensors.matrixShape('W_dec');
      const skips = tensors.has('W_skip');
      return {
        config: configOf({
          architecture: skips ? 'skip_transcoder' : 'transcoder', dIn, dSae, dtype: tensors.dtype('W_enc'), applyBDec: false, fields: { d_out: dOut },
          metadata: { model_name: model, hook_name: `blocks.${layer}.mlp.hook_in`, hook_name_out: `blocks.${layer}.hook_mlp_out` },
        }),
        weights: {
          W_enc: await tensors.matrix('W_enc', dSae, dIn), W_dec: await tensors.matrix('W_dec', dSae, dOut),
          b_enc: await tensors.vector('b_enc', dSae), b_dec: await tensors.vector('b_dec', dOut),
          ...(skips ? { W_skip: await tensors.matrix('W_skip', dOut, dIn) } : {}),
        },
        notes: [],
      };
    });
  },
};

/** A text at the top level of a YAML file: all that is read of one. */
export function yamlText(yaml: string, name: string): string | undefined {
  return new RegExp(`^${name}:[ \\t]*["']?([^"'#\\r\\n]+?)["']?[ \\t]*(?:#.*)?\\r?$`, 'm').exec(yaml)?.[1];
}
