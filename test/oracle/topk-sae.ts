/**
 * TopK SAE (Gao et al. 2024, "Scaling and evaluating sparse autoencoders") as SAELens defines it; BatchTopK, Matryoshka and
 * AbsTopK differ in which activations are kept and in further reconstruction terms, so they share this pass.
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
  /** AbsTopK: rank by size, and keep the sign. */
  signed?: boolean;
}

export interface TopkTrainingConfig extends TopkFamilyConfig {
  auxLossCoefficient: number;
  compatibility: Compatibility;
  /** Each level has an auxiliary loss of its own (SAELens' use_matryoshka_aux_loss). */
  auxiliaryPerLevel?: boolean;
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

/** The largest of every one of k groups of consecutive latents (groupmax of EleutherAI's sparsify). */
function keepPerGroup(ranking: Float64Array, { dSae, k }: TopkFamilyConfig): Uint8Array {
  return keepPerRow(ranking, { dSae: dSae / k, k: 1 } as TopkFamilyConfig);
}

/** k of step t of a run in which it falls linearly from `start` within so many steps. */
export function annealedK(k: number, start: number, steps: number, t: number): number {
  return t < steps ? start - (start - k) * (t / steps) : k;
}

function encode(parameters: Tensors, x: Float64Array, config: TopkFamilyConfig, select: Selection) {
  const { normalized, centred } = encoderInput(parameters, x, config);
  const h = preActivations(centred, parameters.W_enc, parameters.b_enc, config);
  const norms = decoderNorms(parameters, config);
  const rescale = (values: Float64Array) => (config.rescaleActsByDecoderNorm ? values.map((v, j) => v * norms[j % config.dSae]) : values);
  const ranking = config.signed ? rescale(h).map(Math.abs) : rescale(h);
  const kept = select(ranking, config);
  // The norm that encoding multiplies with is divided out by decoding: r = z W_dec + b_dec holds for both settings.
  const z = h.map((value, j) => (kept[j] && (config.signed || value > 0) ? value : 0));
  return { normalized, centred, h, ranking, z, featureActs: rescale(z) };
}

/** Feature activations [rows, dSae] and reconstruction [rows, dIn] of frames x [rows, dIn]. */
export function topkRun(parameters: Tensors, x: Float64Array, config: TopkFamilyConfig, select: Selection = keepPerRow) {
  const { normalized, z, featureActs } = encode(parameters, x, config, select);
  return { featureActs, out: denormalize(decode(parameters, z, config), config.dIn, normalized) };
}

/**
 * Losses and gradients: mse_loss; one inner_mse_loss_w per width w, of the reconstruction that the first w latents
 * make alone; auxiliary_reconstruction_loss. Selection is constant under differentiation, ReLU's derivative at 0 is 0, and
 * a kept value of exactly 0 counts as not kept where there is no ReLU.
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
  const levelResiduals: Float64Array[] = [];
  for (const width of innerWidths) {
    const prefix = z.map((value, j) => (j % dSae < width ? value : 0));
    const inner = reconstructionError(decode(parameters, prefix, config), x, normalized, dIn);
    losses[`inner_mse_loss_${width}`] = inner.loss;
    levelResiduals.push(difference(x, inner.out));
    const dPrefix = decodeBackward(parameters, prefix, inner.dr, gradients, config);
    dPrefix.forEach((value, j) => {
      if (j % dSae < width) dz[j] += value;
    });
  }
  z.forEach((value, j) => {
    if (value !== 0) dh[j] += dz[j];
  });

  const residual = difference(x, out);
  levelResiduals.push(residual);
  if (config.auxiliaryPerLevel) {
    // The dead latents that a level has more than the one inside it, and what that level leaves over; never with SAELens 6.18's b_dec.
    const residuals = context.levelResiduals ?? levelResiduals;
    losses.auxiliary_reconstruction_loss = [...innerWidths, dSae].reduce((sum, width, l) => {
      const dead = context.dead.map((isDead, i) => (i >= (innerWidths[l - 1] ?? 0) && i < width ? isDead : 0));
      return sum + auxiliaryLoss(parameters, { h, ranking, residual: residuals[l], normalized, dead }, { ...config, compatibility: 'corrected' }, gradients, dh);
    }, 0);
  } else {
    losses.auxiliary_reconstruction_loss = auxiliaryLoss(
      parameters, { h, ranking, residual: context.residual ?? residual, normalized, dead: context.dead }, config, gradients, dh,
    );
  }
  encodeBackward(parameters, centred, dh, gradients, 'b_enc', config);
  const loss = Object.values(losses).reduce((sum, value) => sum + value, 0);
  return { losses, loss, out, featureActs, residual, levelResiduals, gradients };
}

export function topkPass(parameters: Tensors, x: Float64Array, config: TopkTrainingConfig, context: PassContext): Pass {
  return topkFamilyPass(parameters, x, config, keepPerRow, [], context);
}

export function groupmaxPass(parameters: Tensors, x: Float64Array, config: TopkTrainingConfig, context: PassContext): Pass {
  return topkFamilyPass(parameters, x, config, keepPerGroup, [], context);
}

/** AbsTopK (Zhu et al. 2025, arXiv 2510.00404; the auxiliary loss of SAELens' pull request 736). */
export function abstopkPass(parameters: Tensors, x: Float64Array, config: TopkTrainingConfig, context: PassContext): Pass {
  return topkFamilyPass(parameters, x, { ...config, signed: true }, keepPerRow, [], context);
}

export function groupmaxRun(parameters: Tensors, x: Float64Array, config: TopkFamilyConfig) {
  return topkRun(parameters, x, config, keepPerGroup);
}

export function abstopkRun(parameters: Tensors, x: Float64Array, config: TopkFamilyConfig) {
  return topkRun(parameters, x, { ...config, signed: true });
}
