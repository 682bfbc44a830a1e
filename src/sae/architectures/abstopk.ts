/**
 * AbsTopK SAE: "AbsTopK: rethinking sparse autoencoders for bidirectional features", Zhu et al. 2025 (arXiv 2510.00404), with the fields and
 * the auxiliary loss of SAELens' pull request 736. A TopK SAE (see topk-family.ts) in which
 *
 *   S = the k largest of |h_i| |W_dec_i|,   z_i = h_i for i in S, else 0
 *
 * so that a latent can stand for a direction and for its opposite. The auxiliary loss takes the dead latents that are largest in size. A latent is active
 * where z_i is not zero.
 */
import { topkRows, type TopkTensors } from '../../kernels/index.ts';
import type { Recorder } from '../../gpu/index.ts';
import type { Architecture } from '../architecture.ts';
import { foldedNorms } from '../export.ts';
import { checkFamily, type FamilyConfig, familyFields, rowSelection, trainFamily } from './topk-family.ts';
import { inferKept } from './topk.ts';

export interface AbstopkConfig extends FamilyConfig {
  architecture: 'abstopk';
}

const bySize = (rec: Recorder, tensors: TopkTensors, firstRow: number, rows: number, k: number): void => topkRows(rec, tensors, firstRow, rows, k, true);

export const abstopk: Architecture<AbstopkConfig> = {
  name: 'abstopk',
  title: 'the k latents of each frame that are largest in size, with their signs (Zhu et al. 2025)',
  fields: {
    k: { kind: 'integer', default: 100, least: 1, help: 'latents kept per frame' },
    ...familyFields,
  },
  check: checkFamily,
  train: (context) => trainFamily(context, { ...rowSelection(context, bySize, true), signed: true }),
  infer: (context) => inferKept(context, bySize),
  export: (config, weights, input) => ({
    architecture: 'abstopk', fields: { k: config.k, rescale_acts_by_decoder_norm: config.rescale_acts_by_decoder_norm }, weights: foldedNorms(config, weights, input),
  }),
};
