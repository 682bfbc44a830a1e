/** What all architectures share: the two linear maps, the squared error, and their gradients. */

import { addTo, columnSums, difference, matmul, matmulTransposeA, matmulTransposeB, rowNorms } from './matrix.ts';
import { denormalize, normalize } from './normalize.ts';
import type { Normalization, Normalized } from './normalize.ts';

/**
 * The tensors of an SAE, or their gradients, by their names in its files. Weights are latent-major as in the
 * engine: W_enc and W_dec are both [dSae, dIn] (files hold W_enc as [dIn, dSae]).
 */
export type Tensors = Record<string, Float64Array>;

export interface SaeConfig {
  dIn: number;
  dSae: number;
  /** Whether b_dec is subtracted from the (normalised) input before encoding. */
  applyBDecToInput: boolean;
  normalizeActivations: Normalization;
}

/** What a training step hands to an architecture besides parameters and batch. */
export interface PassContext {
  /** [dSae]: 1 where the latent counts as dead. */
  dead: Uint8Array;
  /** Coefficients of this step after warm-up: l1 (standard, gated), l0 (jumprelu). */
  coefficients: Record<string, number>;
  /** x - out [rows, dIn] as the auxiliary loss shall see it: a constant, so finite differences must hold it fixed. */
  residual?: Float64Array;
  /** The same for the auxiliary losses of levels. */
  levelResiduals?: Float64Array[];
}

/** One forward and backward pass over a batch. */
export interface Pass {
  /** By SAELens' names. */
  losses: Record<string, number>;
  /** Their sum. */
  loss: number;
  /** [rows, dIn]: the reconstruction in the units of the input. */
  out: Float64Array;
  /** [rows, dSae]: feature activations in the units that the architecture reports. */
  featureActs: Float64Array;
  /** [rows, dIn]: x - out. */
  residual: Float64Array;
  /** The same of every level, the widest last, for architectures that have levels. */
  levelResiduals?: Float64Array[];
  gradients: Tensors;
}

/** The input as the encoder sees it: norm_in(x), and x_c = norm_in(x) - b_dec (when b_dec is applied). */
export function encoderInput(parameters: Tensors, x: Float64Array, config: SaeConfig): { normalized: Normalized; centred: Float64Array } {
  const normalized = normalize(x, config.dIn, config.normalizeActivations);
  return { normalized, centred: subtractBDec(parameters, normalized.x, config) };
}

export function subtractBDec(parameters: Tensors, x: Float64Array, config: SaeConfig): Float64Array {
  if (!config.applyBDecToInput) return x;
  return x.map((value, i) => value - parameters.b_dec[i % config.dIn]);
}

/** h [rows, dSae] = x_c W_encᵀ + bias. */
export function preActivations(centred: Float64Array, W_enc: Float64Array, bias: Float64Array, config: SaeConfig): Float64Array {
  const { dIn, dSae } = config;
  const h = matmulTransposeB(centred, W_enc, centred.length / dIn, dIn, dSae);
  return h.map((value, i) => value + bias[i % dSae]);
}

/** r [rows, dIn] = z W_dec + b_dec, still normalised. */
export function decode(parameters: Tensors, z: Float64Array, config: SaeConfig): Float64Array {
  const { dIn, dSae } = config;
  const r = matmul(z, parameters.W_dec, z.length / dSae, dSae, dIn);
  return r.map((value, i) => value + parameters.b_dec[i % dIn]);
}

export function decoderNorms(parameters: Tensors, config: SaeConfig): Float64Array {
  return rowNorms(parameters.W_dec, config.dSae, config.dIn);
}

/** mean over rows of sum_d (prediction - target)², and its gradient [rows, dIn] with respect to the prediction. */
export function squaredError(prediction: Float64Array, target: Float64Array, dIn: number): { loss: number; gradient: Float64Array } {
  const rows = target.length / dIn;
  const error = difference(prediction, target);
  return {
    loss: error.reduce((sum, e) => sum + e * e, 0) / rows,
    gradient: error.map((e) => (2 * e) / rows),
  };
}

/** mse_loss of norm_out(r) against x, and its gradient with respect to r (norm_out is linear in r: a factor per row). */
export function reconstructionError(r: Float64Array, x: Float64Array, normalized: Normalized, dIn: number) {
  const out = denormalize(r, dIn, normalized);
  const { loss, gradient } = squaredError(out, x, dIn);
  return { out, loss, dr: gradient.map((g, i) => g * normalized.scale[Math.floor(i / dIn)]) };
}

export function zerosLike(parameters: Tensors): Tensors {
  return Object.fromEntries(Object.entries(parameters).map(([name, tensor]) => [name, new Float64Array(tensor.length)]));
}

/** Adds to the gradients what reaches W_dec and b_dec from r = z W_dec + b_dec; returns dLoss/dz [rows, dSae]. */
export function decodeBackward(parameters: Tensors, z: Float64Array, dr: Float64Array, gradients: Tensors, config: SaeConfig): Float64Array {
  const { dIn, dSae } = config;
  const rows = dr.length / dIn;
  addTo(gradients.W_dec, matmulTransposeA(z, dr, dSae, rows, dIn));
  addTo(gradients.b_dec, columnSums(dr, rows, dIn));
  return matmulTransposeB(dr, parameters.W_dec, rows, dIn, dSae);
}

/** Adds to the gradients what reaches W_enc, the bias named `bias`, and b_dec from h = (x - a b_dec) W_encᵀ + bias. */
export function encodeBackward(
  parameters: Tensors, centred: Float64Array, dh: Float64Array, gradients: Tensors, bias: string, config: SaeConfig,
): void {
  const { dIn, dSae } = config;
  const rows = dh.length / dSae;
  addTo(gradients.W_enc, matmulTransposeA(dh, centred, dSae, rows, dIn));
  addTo(gradients[bias], columnSums(dh, rows, dSae));
  inputBackward(parameters.W_enc, dh, gradients, config);
}

/** b_dec is subtracted from the input of h = (x - a b_dec) Wᵀ: db_dec -= a sum_b dh W. */
export function inputBackward(W: Float64Array, dh: Float64Array, gradients: Tensors, config: SaeConfig): void {
  if (!config.applyBDecToInput) return;
  const { dIn, dSae } = config;
  const rows = dh.length / dSae;
  const dx = columnSums(matmul(dh, W, rows, dSae, dIn), rows, dIn);
  addTo(gradients.b_dec, dx.map((value) => -value));
}

/** Gradients dn [dSae] of the decoder norms n_i = ||W_dec_i||: dW_dec_i += dn_i W_dec_i / n_i. */
export function normsBackward(parameters: Tensors, norms: Float64Array, dn: Float64Array, gradients: Tensors, config: SaeConfig): void {
  addTo(gradients.W_dec, parameters.W_dec.map((w, j) => {
    const i = Math.floor(j / config.dIn);
    return (dn[i] * w) / norms[i];
  }));
}
