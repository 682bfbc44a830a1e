import { writeSaelensFolder } from '../../formats/index.ts';
import { tensorsFromWeights } from '../../sae/index.ts';
import { elementType, type Writer } from './writer.ts';

export const saelensWriter: Writer = {
  name: 'saelens',
  title: 'cfg.json and sae_weights.safetensors, every architecture',
  async write(folder, { config, weights, logSparsity }) {
    elementType('SAELens', config);
    await writeSaelensFolder(folder, { config, tensors: tensorsFromWeights(weights), logSparsity });
  },
};
