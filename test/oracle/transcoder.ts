/**
 * Transcoders read one hook point and write another (Dunefsky et al. 2024; with a skip path Paulo et al. 2025): no b_dec at the input,
 * the input normalised, the output left as decoded. SAELens names transcoder, skip_transcoder (W_skip), jumprelu_transcoder (threshold)
 * and jumprelu_skip_transcoder, and does not train them: their losses are those of the SAEs with the same activation.
 */

import type { Tensors } from './linear.ts';
import { zerosLike } from './linear.ts';
import { addTo, columnSums, difference, matmul, matmulTransposeA, matmulTransposeB, rowNorms } from './matrix.ts';
import { normalize } from './normalize.ts';
import type { Normalization } from './normalize.ts';
import { rowTopK, rowTopKAmong } from './topk.ts';

export interface TranscoderConfig {
  dIn: number;
  dOut: number;
  dSae: number;
  normalizeActivations: Normalization;
}

/** W_enc [dSae, dIn], W_dec [dSae, dOut], b_dec [dOut]; optionally W_skip [dOut, dIn] on the raw input, threshold [dSae]. */
export function transcoderRun(parameters: Tensors, x: Float64Array, config: TranscoderConfig) {
  const featureActs = preActivations(parameters, x, config).h.map((pre, j) => (pre > (parameters.threshold?.[j % config.dSae] ?? 0) ? Math.max(pre, 0) : 0));
  return { featureActs, out: output(parameters, featureActs, x, config) };
}

function preActivations({ W_enc, b_enc }: Tensors, x: Float64Array, { dIn, dSae, normalizeActivations }: TranscoderConfig) {
  const input = normalize(x, dIn, normalizeActivations).x;
  return { input, h: matmulTransposeB(input, W_enc, x.length / dIn, dIn, dSae).map((value, j) => value + b_enc[j % dSae]) };
}

function output({ W_dec, b_dec, W_skip }: Tensors, f: Float64Array, x: Float64Array, { dIn, dOut, dSae }: TranscoderConfig): Float64Array {
  const rows = x.length / dIn;
  const out = matmul(f, W_dec, rows, dSae, dOut).map((value, j) => value + b_dec[j % dOut]);
  if (W_skip) addTo(out, matmulTransposeB(x, W_skip, rows, dIn, dOut));
  return out;
}

/** How a transcoder's activations are made sparse. */
export type TranscoderSparsity =
  | { kind: 'l1'; coefficient: number }
  | { kind: 'topk'; k: number; auxLossCoefficient: number }
  | { kind: 'jumprelu'; coefficient: number; bandwidth: number; mode: 'step' | 'tanh'; tanhScale: number; preActCoefficient: number };

export interface TranscoderContext {
  dead: Uint8Array;
  /** y - out as the auxiliary loss of dead latents shall see it: a constant, so finite differences must hold it fixed. */
  residual?: Float64Array;
}

/**
 * Losses and gradients of targets y [rows, dOut] for inputs x [rows, dIn]. The norms n_i are ||W_dec_i||; selection is constant.
 *
 *   mse_loss = mean_b |out - y|²
 *   l1:       f = relu(h);                l1_loss = c mean_b sum_i f_i n_i
 *   topk:     f = relu(h) on the k largest h_i n_i;
 *             auxiliary_reconstruction_loss = c min(dead / k_aux, 1) mean_b |sum h_i W_dec_i - (y - out)|² over the k_aux = dOut / 2 best dead
 *   jumprelu: f = h 1[h > theta];         losses and straight-through gradients as in jumprelu-sae.ts
 */
export function transcoderPass(parameters: Tensors, x: Float64Array, y: Float64Array, config: TranscoderConfig, sparsity: TranscoderSparsity, context: TranscoderContext) {
  const { dIn, dOut, dSae } = config;
  const { W_dec, W_skip } = parameters;
  const rows = x.length / dIn;
  const gradients = zerosLike(parameters);
  const norms = rowNorms(W_dec, dSae, dOut);
  const { input, h } = preActivations(parameters, x, config);
  const theta = parameters.log_threshold?.map(Math.exp);
  const kept = sparsity.kind === 'topk' ? rowTopK(h.map((value, j) => value * norms[j % dSae]), rows, dSae, sparsity.k) : undefined;
  const active = h.map((value, j) => {
    if (kept && !kept[Math.floor(j / dSae)].includes(j % dSae)) return 0;
    return value > (theta ? theta[j % dSae] : 0) ? 1 : 0;
  });
  const f = h.map((value, j) => (active[j] ? value : 0));
  const out = output(parameters, f, x, config);
  const residual = difference(y, out);
  const g = residual.map((e) => (-2 * e) / rows);
  const losses: Record<string, number> = { mse_loss: residual.reduce((sum, e) => sum + e * e, 0) / rows };
  const df = matmulTransposeB(g, W_dec, rows, dOut, dSae);
  const dh = new Float64Array(h.length), dn = new Float64Array(dSae), dTheta = new Float64Array(dSae);
  addTo(gradients.W_dec, matmulTransposeA(f, g, dSae, rows, dOut));
  addTo(gradients.b_dec, columnSums(g, rows, dOut));
  if (W_skip) addTo(gradients.W_skip, matmulTransposeA(g, x, dOut, rows, dIn));

  if (sparsity.kind === 'l1') {
    const c = sparsity.coefficient / rows;
    losses.l1_loss = 0;
    f.forEach((value, j) => {
      const i = j % dSae;
      losses.l1_loss += c * value * norms[i];
      dn[i] += c * value;
      df[j] += c * norms[i];
    });
  }
  if (sparsity.kind === 'topk') {
    losses.auxiliary_reconstruction_loss = deadLatentsLoss(parameters, h, h.map((value, j) => value * norms[j % dSae]), context.residual ?? residual, config,
      sparsity.auxLossCoefficient, context.dead, gradients, dh);
  }
  if (sparsity.kind === 'jumprelu') {
    const { bandwidth, mode, tanhScale } = sparsity;
    const c = sparsity.coefficient / rows, cPre = sparsity.preActCoefficient / rows;
    let sparse = 0, preAct = 0;
    for (let j = 0; j < h.length; j++) {
      const i = j % dSae;
      const rect = Math.abs(h[j] - theta![i]) < bandwidth / 2 ? 1 / bandwidth : 0;
      if (mode === 'step') {
        sparse += active[j];
        dTheta[i] -= rect * c;
      } else {
        const u = Math.tanh(tanhScale * f[j] * norms[i]);
        sparse += u;
        df[j] += c * (1 - u * u) * tanhScale * norms[i];
        dn[i] += c * (1 - u * u) * tanhScale * f[j];
      }
      dTheta[i] -= theta![i] * rect * df[j];
      if (!context.dead[i] || h[j] >= theta![i]) continue;
      preAct += (theta![i] - h[j]) * norms[i];
      dTheta[i] += cPre * norms[i];
      dh[j] -= cPre * norms[i];
      dn[i] += cPre * (theta![i] - h[j]);
    }
    losses.l0_loss = c * sparse;
    if (sparsity.preActCoefficient !== 0) losses.pre_act_loss = cPre * preAct;
    gradients.log_threshold = dTheta.map((value, i) => value * theta![i]);
  }

  h.forEach((_, j) => {
    if (active[j]) dh[j] += df[j];
  });
  addTo(gradients.W_dec, W_dec.map((w, j) => (dn[Math.floor(j / dOut)] * w) / norms[Math.floor(j / dOut)]));
  addTo(gradients.W_enc, matmulTransposeA(dh, input, dSae, rows, dIn));
  addTo(gradients.b_enc, columnSums(dh, rows, dSae));
  const loss = Object.values(losses).reduce((sum, value) => sum + value, 0);
  return { losses, loss, out, featureActs: sparsity.kind === 'topk' ? f.map((value, j) => value * norms[j % dSae]) : f, residual, gradients };
}

function deadLatentsLoss({ W_dec }: Tensors, h: Float64Array, ranking: Float64Array, residual: Float64Array, { dOut, dSae }: TranscoderConfig,
  coefficient: number, dead: Uint8Array, gradients: Tensors, dh: Float64Array): number {
  const latents = [...dead.keys()].filter((i) => dead[i] === 1);
  if (latents.length === 0) return 0;
  const rows = residual.length / dOut, half = Math.floor(dOut / 2);
  const weight = coefficient * Math.min(latents.length / half, 1);
  const z = new Float64Array(h.length);
  rowTopKAmong(ranking, rows, dSae, Math.min(half, latents.length), latents).forEach((chosen, row) => {
    for (const i of chosen) z[row * dSae + i] = h[row * dSae + i];
  });
  const error = difference(matmul(z, W_dec, rows, dSae, dOut), residual);
  const g = error.map((e) => (2 * weight * e) / rows);
  addTo(gradients.W_dec, matmulTransposeA(z, g, dSae, rows, dOut));
  const dz = matmulTransposeB(g, W_dec, rows, dOut, dSae);
  z.forEach((value, j) => {
    if (value !== 0) dh[j] += dz[j];
  });
  return (weight * error.reduce((sum, e) => sum + e * e, 0)) / rows;
}

/**
 * From (x - mean) scale -> (y - target mean) target scale to raw x -> raw y. Thresholds and pre-activations do not change; the skip
 * path carries the mean of x, which b_dec takes off again.
 */
export function foldTranscoder(tensors: Tensors, input: { mean: Float64Array; scale: number }, target: { mean: Float64Array; scale: number }): Tensors {
  const { W_enc, W_dec, b_enc, b_dec, W_skip } = tensors;
  const dIn = input.mean.length, dOut = target.mean.length;
  const times = (matrix: Float64Array, row: number): number => input.mean.reduce((sum, m, d) => sum + m * matrix[row * dIn + d], 0);
  const folded: Tensors = {
    ...tensors, W_enc: W_enc.map((w) => w * input.scale), b_enc: b_enc.map((b, i) => b - input.scale * times(W_enc, i)),
    W_dec: W_dec.map((w) => w / target.scale), b_dec: b_dec.map((b, d) => b / target.scale + target.mean[d]),
  };
  if (W_skip) {
    folded.W_skip = W_skip.map((w) => (w * input.scale) / target.scale);
    for (let d = 0; d < dOut; d++) folded.b_dec[d] -= times(folded.W_skip, d);
  }
  return folded;
}
