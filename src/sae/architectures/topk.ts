/** TopK SAE: "Scaling and evaluating sparse autoencoders", Gao et al. 2024, in the form that SAELens gives it (see topk-family.ts). */
import { groupmaxRows, topkRows, type TopkTensors } from '../../kernels/index.ts';
import type { Recorder } from '../../gpu/index.ts';
import type { Architecture, InferenceContext, InferenceForm } from '../architecture.ts';
import { configOf, refuse } from '../config.ts';
import { foldedNorms } from '../export.ts';
import { keptInference } from '../inference.ts';
import { checkFamily, type FamilyConfig, familyFields, rowSelection, trainFamily } from './topk-family.ts';

/** A TopK SAE for training, with SAELens' defaults. */
export interface TopkConfig extends FamilyConfig {
  architecture: 'topk';
  /** groupmax keeps the best of each of k groups of d_sae / k consecutive latents (EleutherAI's sparsify). */
  activation: 'topk' | 'groupmax';
}

/** Keeps k of each of so many rows. */
type Select = (rec: Recorder, tensors: TopkTensors, firstRow: number, rows: number, k: number) => void;

export const topk: Architecture<TopkConfig> = {
  name: 'topk',
  title: 'the k largest latents of each frame (Gao et al. 2024)',
  fields: {
    k: { kind: 'integer', default: 100, least: 1, help: 'latents kept per frame' },
    activation: { kind: 'choice', default: 'topk', choices: ['topk', 'groupmax'], help: 'keep the k largest of all, or the largest of each of k groups of latents' },
    ...familyFields,
  },
  check(config) {
    checkFamily(config);
    const { activation, k, d_sae: dSae, k_anneal_start: start } = config;
    if (activation !== 'groupmax') return;
    if (dSae % k !== 0) refuse('k', k, `a divisor of d_sae (${dSae}) with activation groupmax`);
    if (start !== null) refuse('k_anneal_start', start, 'null with activation groupmax, whose groups k makes');
  },
  train: (context) => trainFamily(context, context.config.activation === 'groupmax' ? rowSelection(context, groupmaxRows, false) : rowSelection(context, topkRows, true)),
  infer: (context) => inferKept(context, topkRows),
  export: (config, weights, input) => ({
    // SAELens does not know groupmax and would take the k largest: under a name of its own it says so.
    architecture: config.activation, fields: { k: config.k, rescale_acts_by_decoder_norm: config.rescale_acts_by_decoder_norm }, weights: foldedNorms(config, weights, input),
  }),
};

/** What `topk` with activation groupmax is saved as. */
export const groupmax: Pick<Architecture, 'name' | 'title' | 'fields' | 'infer'> = {
  name: 'groupmax',
  title: 'the largest latent of each of k groups: a topk SAE with activation groupmax',
  fields: {},
  infer(context) {
    const { k, d_sae: dSae } = context.config;
    if (dSae % Number(k) !== 0) refuse('k', k ?? null, `a divisor of d_sae (${dSae})`);
    return inferKept(context, groupmaxRows);
  },
};

/** Fills in defaults and throws `config` for values that cannot be. */
export function topkConfig(fields: Pick<TopkConfig, 'd_in' | 'd_sae'> & Partial<TopkConfig>): TopkConfig {
  return configOf(topk, fields);
}

/** SAELens' inference form: k latents of each row, ranked by decoder norms too where the configuration says so. */
export function inferKept(context: InferenceContext, select: Select): InferenceForm {
  const { k, d_sae: dSae } = context.config;
  if (!(Number.isSafeInteger(k) && (k as number) >= 1 && (k as number) <= dSae)) refuse('k', k ?? null, `a whole number from 1 to d_sae (${dSae})`);
  return keptInference(context, k as number, (rec, tensors, rows) => select(rec, tensors, 0, rows, k as number));
}
