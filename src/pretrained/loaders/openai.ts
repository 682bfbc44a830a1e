/**
 * openai/sparse_autoencoder, "Scaling and evaluating sparse autoencoders", Gao et al. 2024: one .pt file per SAE of GPT-2 small, the state of its
 * Autoencoder. Where the activation is TopK the input is normalised by row (layer_norm, as SAELens has it), otherwise not:
 *
 *   h = W (n(x) - pre_bias) + latent_bias,   out = n^-1(D f + pre_bias)
 *   f = relu(h), or relu of the k largest of h
 *
 * encoder.weight is W [d_sae, d_in], decoder.weight D [d_in, d_sae]; a tied decoder is the encoder's weight.
 */
import { CochleaError } from '../../errors.ts';
import { fieldsOf } from '../fields.ts';
import type { FileSet } from '../files.ts';
import { configOf, type Loader } from '../loader.ts';
import { withTensors } from '../tensors.ts';

/** The one torch file of a set, or the one that was asked for. */
export function torchFile({ main, names }: FileSet): string | undefined {
  if (main !== undefined) return /\.pth?$/.test(main) ? main : undefined;
  const found = [...names].filter((name) => /\.pth?$/.test(name));
  return found.length === 1 ? found[0] : undefined;
}

const counters = ['stats_last_nonzero', 'latents_activation_frequency', 'latents_mean_square'];

export const openai: Loader = {
  name: 'openai',
  title: 'openai/sparse_autoencoder (one .pt file)',
  files: (path) => ({ needed: [path], optional: [] }),
  async detect(files) {
    const name = torchFile(files);
    return name !== undefined && withTensors(files, name, async (tensors) => tensors.has('pre_bias') && tensors.has('latent_bias'));
  },
  read: (files) => withTensors(files, torchFile(files) ?? '*.pt', async (tensors) => {
    tensors.only(['pre_bias', 'latent_bias', 'encoder.weight', 'decoder.weight', 'decoder.linear.weight', ...counters]);
    const refused = (what: string, why: string): never => {
      throw new CochleaError('config', `${tensors.path}: ${what}`, why);
    };
    const state = fieldsOf(tensors.value, tensors.path);
    const activation = state.has('activation') ? state.text('activation') : 'ReLU';
    const inner = activation === 'TopK' ? state.object('activation_state_dict') : undefined;
    const after = inner?.text('postact_fn') ?? 'ReLU';
    if (activation !== 'ReLU' && !inner) refused(`its activation is ${JSON.stringify(activation.slice(0, 40))}`, 'ReLU and TopK have a form here');
    if (after !== 'ReLU') refused(`after TopK comes ${JSON.stringify(after.slice(0, 40))}`, 'only ReLU has a form here');
    const [dSae, dIn] = tensors.matrixShape('encoder.weight');
    const W_enc = await tensors.matrix('encoder.weight', dSae, dIn);
    return {
      config: configOf({
        architecture: inner ? 'topk' : 'standard', dIn, dSae, dtype: tensors.dtype('encoder.weight'), applyBDec: true,
        ...(inner ? { normalise: 'layer_norm', fields: { k: inner.count('k') } } : {}),
        metadata: { model_name: 'gpt2-small' },
      }),
      weights: {
        W_enc, W_dec: tensors.has('decoder.weight') ? await tensors.transposed('decoder.weight', dIn, dSae) : W_enc.slice(),
        b_enc: await tensors.vector('latent_bias', dSae), b_dec: await tensors.vector('pre_bias', dIn),
      },
      notes: [],
    };
  }),
};
