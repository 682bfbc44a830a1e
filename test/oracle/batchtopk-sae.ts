/** BatchTopK SAE (Bussmann et al. 2024): the k * rows largest activations of the whole batch are kept. */

import type { Pass, PassContext, Tensors } from './linear.ts';
import { batchTopK } from './topk.ts';
import { topkFamilyPass } from './topk-sae.ts';
import type { TopkFamilyConfig, TopkTrainingConfig } from './topk-sae.ts';

/** The floor(k rows) largest of relu(h') over the batch; zeros may be among them and stay zero. */
export function keepPerBatch(ranking: Float64Array, { dSae, k }: TopkFamilyConfig): Uint8Array {
  const mask = new Uint8Array(ranking.length);
  const count = Math.floor((k * ranking.length) / dSae);
  for (const position of batchTopK(ranking.map((value) => Math.max(value, 0)), count)) mask[position] = 1;
  return mask;
}

export function batchtopkPass(parameters: Tensors, x: Float64Array, config: TopkTrainingConfig, context: PassContext): Pass {
  return topkFamilyPass(parameters, x, config, keepPerBatch, [], context);
}

/**
 * The running threshold that replaces selection at inference: T <- (1 - rate) T + rate min{f : f > 0}, unchanged when
 * nothing fired. `featureActs` in the reported (rescaled) units.
 */
export function nextThreshold(threshold: number, featureActs: Float64Array, rate: number): number {
  const smallest = featureActs.reduce((least, f) => (f > 0 && f < least ? f : least), Infinity);
  return smallest === Infinity ? threshold : (1 - rate) * threshold + rate * smallest;
}
