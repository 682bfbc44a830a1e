/** AuxK (Gao et al. 2024, appendix A.2): dead latents learn to reconstruct what the living leave over. */

import { decode, decodeBackward, squaredError } from './linear.ts';
import type { SaeConfig, Tensors } from './linear.ts';
import { matmul } from './matrix.ts';
import { denormalize } from './normalize.ts';
import type { Normalized } from './normalize.ts';
import { rowTopKAmong } from './topk.ts';

/**
 * What the auxiliary reconstruction consists of. 'saelens-6.18' adds b_dec and undoes the normalisation, though the
 * residual that it shall match contains neither; SAELens 6.36.2 'corrected' that to z_aux W_dec alone.
 */
export type Compatibility = 'saelens-6.18' | 'corrected';

interface AuxiliaryInput {
  /** [rows, dSae]: pre-activations. */
  h: Float64Array;
  /** [rows, dSae]: what selection ranks (h, or h times decoder norm). */
  ranking: Float64Array;
  /** [rows, dIn]: e = x - out, a constant. */
  residual: Float64Array;
  normalized: Normalized;
  dead: Uint8Array;
}

/**
 * Per row the k_aux = min(dIn / 2, dead) dead latents of highest rank, values without ReLU, decode to e_hat;
 * loss = coefficient min(dead / (dIn / 2), 1) mean_b ||e_hat - e||². Adds to `gradients` and to dh [rows, dSae].
 * 0 when nothing is dead.
 */
export function auxiliaryLoss(
  parameters: Tensors, { h, ranking, residual, normalized, dead }: AuxiliaryInput,
  config: SaeConfig & { auxLossCoefficient: number; compatibility: Compatibility }, gradients: Tensors, dh: Float64Array,
): number {
  const { dIn, dSae } = config;
  const rows = residual.length / dIn;
  const deadLatents = [...dead.keys()].filter((i) => dead[i] === 1);
  if (deadLatents.length === 0) return 0;
  const half = Math.floor(dIn / 2);
  const weight = config.auxLossCoefficient * Math.min(deadLatents.length / half, 1);

  const zAux = new Float64Array(h.length);
  const chosen = rowTopKAmong(ranking, rows, dSae, Math.min(half, deadLatents.length), deadLatents);
  chosen.forEach((columns, row) => {
    for (const column of columns) zAux[row * dSae + column] = h[row * dSae + column];
  });

  const legacy = config.compatibility === 'saelens-6.18';
  const reconstruction = legacy
    ? denormalize(decode(parameters, zAux, config), dIn, normalized)
    : matmul(zAux, parameters.W_dec, rows, dSae, dIn);
  const { loss, gradient } = squaredError(reconstruction, residual, dIn);
  const dr = gradient.map((g, i) => weight * g * (legacy ? normalized.scale[Math.floor(i / dIn)] : 1));

  const reached = { W_dec: gradients.W_dec, b_dec: legacy ? gradients.b_dec : new Float64Array(dIn) };
  const dzAux = decodeBackward(parameters, zAux, dr, reached, config);
  chosen.forEach((columns, row) => {
    for (const column of columns) dh[row * dSae + column] += dzAux[row * dSae + column];
  });
  return weight * loss;
}
