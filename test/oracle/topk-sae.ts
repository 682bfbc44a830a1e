/**
 * TopK SAE (Gao et al. 2024, "Scaling and evaluating sparse autoencoders") as SAELens defines it; BatchTopK and
 * Matryoshka differ in which activations are kept and in further reconstruction terms, so they share this pass.
 */

import { auxiliaryLoss } from './auxiliary-loss.ts';
import type { Compatibility } from './auxiliary-loss.ts';
import { decode, decodeBackward, decoderNorms, encodeBackward, encoderInput, preActivations, reconstructionError, zerosLike } from './linear.ts';
import type { Pass, PassContext, SaeConfig, Tensors } from './linear.ts';
import { difference } from './matrix.ts';
import { denormalize } from './normalize.ts';
import { rowTopK } from './topk.ts';

/** Fields of the whole family. */
export interface TopkFamilyConfig extends SaeConfig {
  /** Kept activations per row (TopK), or per row on average (BatchTopK, where it may be fractional). */
  k: number;
  /** Rank, and report, h_i ||W_dec_i|| instead of h_i; decoding divides by the norm again. */
  rescaleActsByDecoderNorm: boolean;
}

export interface TopkTrainingConfig extends TopkFamilyConfig {
  auxLossCoefficient: number;
  compatibility: Compatibility;
}

/** Says which entries of h' [rows, dSae] are kept: 1 or 0 each. */
type Selection = (ranking: Float64Array, config: TopkFamilyConfig) => Uint8Array;

/** The k largest of every row. */
function keepPerRow(ranking: Float64Array, { dSae, k }: TopkFamilyConfig): Uint8Array {
  const mask = new Uint8Array(ranking.length);
  rowTopK(ranking, ranking.length / dSae, dSae, k).forEach((columns, row) => {
    for (const column of columns) mask[row * dSae + column] = 1;
  });
  return mask;
}

function encode(parameters: Tensors, x: Float64Array, config: TopkFamilyConfig, select: Selection) {
  const { normalized, centred } = encoderInput(parameters, x, config);
  const h = preActivations(centred, parameters.W_enc, parameters.b_enc, config);
  const norms = decoderNorms(parameters, config);
  const rescale = (values: Float64Array) => (config.rescaleActsByDecoderNorm ? values.map((v, j) => v * norms[j % config.dSae]) : values);
  const ranking = rescale(h);
  const kept = select(ranking, config);
  // The norm that encoding multiplies with is divided out by decoding: r = z W_dec + b_dec holds for both settings.
  const z = h.map((value, j) => (kept[j] && value > 0 ? value : 0));
  return { normalized, centred, h, ranking, z, featureActs: rescale(z) };
}

/** Feature activations [rows, dSae] and reconstruction [rows, dIn] of frames x [rows, dIn]. */
export function topkRun(parameters: Tensors, x: Float64Array, config: TopkFamilyConfig) {
  const { normalized, z, featureActs } = encode(parameters, x, config, keepPerRow);
  return { featureActs, out: denormalize(decode(parameters, z, config), config.dIn, normalized) };
}

/**
 * Losses and gradients: mse_loss; one inner_mse_loss_w per width w, of the reconstruction that the first w latents
 * make alone; auxiliary_reconstruction_loss. Selection is constant under differentiation, ReLU's derivative at 0 is 0.
 */
export function topkFamilyPass(
  parameters: Tensors, x: Float64Array, config: TopkTrainingConfig, select: Selection, innerWidths: number[], context: PassContext,
): Pass {
  const { dIn, dSae } = config;
  const { normalized, centred, h, ranking, z, featureActs } = encode(parameters, x, config, select);
  const gradients = zerosLike(parameters);
  const dh = new Float64Array(h.length);

  const { out, loss: mse, dr } = reconstructionError(decode(parameters, z, config), x, normalized, dIn);
  const losses: Record<string, number> = { mse_loss: mse };
  const dz = decodeBackward(parameters, z, dr, gradients, config);
  for (const width of innerWidths) {
    const prefix = z.map((value, j) => (j % dSae < width ? value : 0));
    const inner = reconstructionError(decode(parameters, prefix, config), x, normalized, dIn);
    losses[`inner_mse_loss_${width}`] = inner.loss;
    const dPrefix = decodeBackward(parameters, prefix, inner.dr, gradients, config);
    dPrefix.forEach((value, j) => {
      if (j % dSae < width) dz[j] += value;
    });
  }
  z.forEach((value, j) => {
    if (value > 0) dh[j] += dz[j];
  });

  const residual = difference(x, out);
  losses.auxiliary_reconstruction_loss = auxiliaryLoss(
    parameters, { h, ranking, residual: context.residual ?? residual, normalized, dead: context.dead }, config, gradients, dh,
  );
  encodeBackward(parameters, centred, dh, gradients, 'b_enc', config);
  const loss = Object.values(losses).reduce((sum, value) => sum + value, 0);
  return { losses, loss, out, featureActs, residual, gradients };
}

export function topkPass(parameters: Tensors, x: Float64Array, config: TopkTrainingConfig, context: PassContext): Pass {
  return topkFamilyPass(parameters, x, config, keepPerRow, [], context);
}
