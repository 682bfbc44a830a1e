/**
 * ckkissane/attn-saes-gpt2-small-all-layers, "Interpreting attention layer outputs with sparse autoencoders", Kissane et al. 2024: X.pt with
 * W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_enc and b_dec, and X_cfg.json. Standard SAEs of the attention's heads side by side.
 */
import { readFields } from '../fields.ts';
import { configOf, type Loader } from '../loader.ts';
import { withTensors } from '../tensors.ts';
import { torchFile } from './openai.ts';

const configOfState = (name: string): string => name.replace(/\.pth?$/, '_cfg.json');

export const hookZ: Loader = {
  name: 'hook-z',
  title: 'attention SAEs of GPT-2 small (X.pt, X_cfg.json)',
  files: (path) => ({ needed: [path, configOfState(path)], optional: [] }),
  detect(files) {
    const name = torchFile(files);
    return name !== undefined && files.names.has(configOfState(name));
  },
  async read(files) {
    const name = torchFile(files) ?? '*.pt';
    const fields = await readFields(files, configOfState(name));
    const dIn = fields.count('act_size'), dSae = fields.count('dict_size');
    return withTensors(files, name, async (tensors) => {
      tensors.only(['W_enc', 'W_dec', 'b_enc', 'b_dec']);
      return {
        config: configOf({
          architecture: 'standard', dIn, dSae, dtype: tensors.dtype('W_enc'), applyBDec: true, reshape: 'hook_z',
          metadata: { model_name: 'gpt2-small', hook_name: fields.optionalText('act_name') },
        }),
        weights: {
          W_enc: await tensors.transposed('W_enc', dIn, dSae), W_dec: await tensors.matrix('W_dec', dSae, dIn),
          b_enc: await tensors.vector('b_enc', dSae), b_dec: await tensors.vector('b_dec', dIn),
        },
        notes: [],
      };
    });
  },
};
