/**
 * Gemma Scope 2 (Google DeepMind 2025): config.json and params.safetensors with w_enc [d_in, d_sae], w_dec [d_sae, d_out], b_enc, b_dec and
 * JumpReLU thresholds; transcoders may have affine_skip_connection A [d_in, d_out]:
 *
 *   f = relu(h) where h > threshold, else 0,  h = x w_enc + b_enc,   out = f w_dec + b_dec + x A
 *
 * SAELens takes A for [d_out, d_in]. A layer of a cross-layer transcoder, w_dec [d_sae, layers, d_out], gets the sum of its decoders (see clt.ts).
 */
import { CochleaError } from '../../errors.ts';
import { readFields } from '../fields.ts';
import type { FileSet } from '../files.ts';
import { configOf, type Loader } from '../loader.ts';
import { withTensors } from '../tensors.ts';
import { cltNote, summedLayers } from './clt.ts';

const configFile = 'config.json', skip = 'affine_skip_connection';
const weightsFile = ({ main }: FileSet): string => (main?.endsWith('.safetensors') ? main : 'params.safetensors');

export const gemmaScope2: Loader = {
  name: 'gemma-scope-2',
  title: 'Gemma Scope 2 (config.json, params.safetensors)',
  files: (path) => (path.endsWith('.safetensors')
    ? { needed: [path.replace(/[^/]*$/, configFile), path], optional: [] }
    : { needed: [`${path}/${configFile}`, `${path}/params.safetensors`], optional: [] }),
  detect: async (files) => files.names.has(configFile) && files.names.has(weightsFile(files)) && (await readFields(files, configFile)).optionalText('architecture') === 'jump_relu',
  async read(files) {
    const fields = await readFields(files, configFile);
    if (fields.optionalText('architecture') !== 'jump_relu') throw new CochleaError('config', `${fields.path}: its architecture is not jump_relu`, 'only that has a form here');
    const input = fields.optionalText('hf_hook_point_in'), output = fields.optionalText('hf_hook_point_out');
    return withTensors(files, weightsFile(files), async (tensors) => {
      tensors.only(['w_enc', 'w_dec', 'b_enc', 'b_dec', 'threshold', skip]);
      const [dIn, dSae] = tensors.matrixShape('w_enc');
      const shape = tensors.shape('w_dec'), dOut = shape.at(-1) ?? 0;
      const isLayer = shape.length === 3, hasSkip = tensors.has(skip);
      const isTranscoder = isLayer || hasSkip || dOut !== dIn || (input !== undefined && output !== undefined && input !== output);
      if (isLayer && shape[0] !== dSae) throw new CochleaError('file-damaged', `${tensors.path}: w_dec has shape [${shape.join(', ')}], not [${dSae}, layers, ${dOut}]`);
      return {
        config: configOf({
          architecture: hasSkip ? 'jumprelu_skip_transcoder' : isTranscoder ? 'jumprelu_transcoder' : 'jumprelu', dIn, dSae, dtype: tensors.dtype('w_enc'), applyBDec: false,
          fields: isTranscoder ? { d_out: dOut } : {},
          metadata: { model_name: fields.optionalText('model_name'), hook_name: input, hook_name_out: isTranscoder ? output : undefined },
        }),
        weights: {
          W_enc: await tensors.transposed('w_enc', dIn, dSae),
          W_dec: isLayer ? summedLayers(await tensors.all('w_dec'), dSae, shape[1]!, dOut) : await tensors.matrix('w_dec', dSae, dOut),
          b_enc: await tensors.vector('b_enc', dSae), b_dec: await tensors.vector('b_dec', dOut), threshold: await tensors.vector('threshold', dSae),
          ...(hasSkip ? { W_skip: await tensors.transposed(skip, dIn, dOut) } : {}),
        },
        notes: isLayer ? [cltNote] : [],
      };
    });
  },
};
