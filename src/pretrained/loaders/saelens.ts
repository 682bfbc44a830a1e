/** SAELens' own folders: version 6 in training and inference form, and from before version 6. */
import { readSaelensFolder } from '../../formats/index.ts';
import { readSmallText } from '../files.ts';
import { inferenceWeights } from '../../sae/index.ts';
import type { Loader } from '../loader.ts';

export const saelens: Loader = {
  name: 'saelens',
  title: 'SAELens (cfg.json, sae_weights.safetensors)',
  files: (path) => ({ needed: [`${path}/cfg.json`, `${path}/sae_weights.safetensors`], optional: ['sparsity', 'input_mean'].map((name) => `${path}/${name}.safetensors`) }),
  detect: ({ names }) => names.has('cfg.json') && names.has('sae_weights.safetensors'),
  async read(files) {
    await readSmallText(files, 'cfg.json'); // refuses a huge one
    const { logSparsity, ...folder } = await readSaelensFolder(files.folder);
    return { ...inferenceWeights(folder), ...(logSparsity ? { logSparsity } : {}), notes: [] };
  },
};
