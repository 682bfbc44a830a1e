/** Matryoshka BatchTopK SAE (Bussmann et al. 2025): every prefix of the dictionary reconstructs on its own, too. */

import { keepPerBatch } from './batchtopk-sae.ts';
import type { Pass, PassContext, Tensors } from './linear.ts';
import { topkFamilyPass } from './topk-sae.ts';
import type { TopkTrainingConfig } from './topk-sae.ts';

export interface MatryoshkaConfig extends TopkTrainingConfig {
  /** Strictly increasing; the last is dSae, whose term is mse_loss itself. */
  matryoshkaWidths: number[];
}

export function matryoshkaPass(parameters: Tensors, x: Float64Array, config: MatryoshkaConfig, context: PassContext): Pass {
  return topkFamilyPass(parameters, x, config, keepPerBatch, config.matryoshkaWidths.slice(0, -1), context);
}
