/**
 * EleutherAI/sparsify: cfg.json and sae.safetensors. The encoder is a linear layer [num_latents, d_in], and W_dec is [num_latents, d_in] as well:
 * its code makes it a copy of the encoder's weight and decodes with its transpose. (SAELens 6.18 transposes it on loading.)
 *
 *   f = the k largest of relu(W (x - b_dec) + b), or the largest of each of k groups (groupmax)         out = W_dec^T f + b_dec
 *
 * b_dec is always subtracted but in transcoders, and normalize_decoder is about training. Before 2025 there was `signed`: the k of W (x - b_dec)
 * + b that are largest in size, with their signs.
 */
import { CochleaError } from '../../errors.ts';
import { readFields } from '../fields.ts';
import { configOf, type Loader } from '../loader.ts';
import { withTensors } from '../tensors.ts';

const weightsFile = 'sae.safetensors', configFile = 'cfg.json';

export const sparsify: Loader = {
  name: 'sparsify',
  title: 'EleutherAI/sparsify (cfg.json, sae.safetensors)',
  files: (path) => ({ needed: [`${path}/${configFile}`, `${path}/${weightsFile}`], optional: [] }),
  detect: ({ names }) => names.has(weightsFile) && names.has(configFile),
  async read(files) {
    const fields = await readFields(files, configFile);
    const refused = (what: string, why: string): never => {
      throw new CochleaError('config', `${fields.path} is ${what}`, why);
    };
    if (fields.flag('transcode', false)) refused('a TopK transcoder', 'neither SAELens nor cochlea has a form for the k largest latents of a transcoder');
    if (fields.flag('skip_connection', false)) refused('an SAE with a skip connection', 'only transcoders have one here');
    const dIn = fields.count('d_in'), k = fields.count('k');
    const dSae = (fields.has('num_latents') ? fields.count('num_latents', 0) : 0) || dIn * fields.count('expansion_factor');
    const activation = fields.optionalText('activation') ?? 'topk';
    if (activation !== 'topk' && activation !== 'groupmax') refused(`one with the activation ${JSON.stringify(activation.slice(0, 40))}`, 'topk and groupmax have a form here');
    const signed = fields.flag('signed', false);
    if (signed && activation === 'groupmax') refused('a signed groupmax SAE', 'only signed topk has a form here');
    return withTensors(files, weightsFile, async (tensors) => {
      tensors.only(['encoder.weight', 'encoder.bias', 'W_dec', 'b_dec']);
      return {
        config: configOf({
          architecture: signed ? 'abstopk' : activation, dIn, dSae, dtype: tensors.dtype('encoder.weight'), applyBDec: true, fields: { k },
        }),
        weights: {
          W_enc: await tensors.matrix('encoder.weight', dSae, dIn), b_enc: await tensors.vector('encoder.bias', dSae),
          W_dec: await tensors.matrix('W_dec', dSae, dIn), b_dec: await tensors.vector('b_dec', dIn),
        },
        notes: [],
      };
    });
  },
};
