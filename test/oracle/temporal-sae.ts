/**
 * Temporal SAE (Lubana et al. 2025, "Priors in time", arXiv 2511.01836) as SAELens 6.44.4 runs it: what attention over the past
 * predicts of a frame is taken from it; what is left, the novel part, is encoded sparsely.
 */

import { subtractBDec } from './linear.ts';
import type { Tensors } from './linear.ts';
import { matmul, matmulTransposeB } from './matrix.ts';
import { denormalize, normalize } from './normalize.ts';
import type { Normalization } from './normalize.ts';
import { rowTopK } from './topk.ts';

export interface TemporalConfig {
  dIn: number;
  dSae: number;
  heads: number;
  layers: number;
  bottleneck: number;
  /** Novel codes that a frame keeps; undefined: all that are positive. */
  k: number | undefined;
  tied: boolean;
  applyBDecToInput: boolean;
  normalizeActivations: Normalization | 'constant_scalar_rescale';
  activationNormalizationFactor: number;
}

const relu = (values: Float64Array): Float64Array => values.map((value) => Math.max(value, 0));

/** y [rows, out] = x Wᵀ + b with W [out, in], as torch's Linear. */
function linear(x: Float64Array, parameters: Tensors, name: string, inner: number): Float64Array {
  const weight = parameters[`${name}.weight`], bias = parameters[`${name}.bias`];
  return matmulTransposeB(x, weight, x.length / inner, inner, bias.length).map((value, j) => value + bias[j % bias.length]);
}

/** softmax(q kᵀ / sqrt(width)) v with row t seeing rows 0 ... t; q, k [rows, heads * width], v [rows, heads * depth]. */
export function causalAttention(q: Float64Array, k: Float64Array, v: Float64Array, rows: number, heads: number): Float64Array {
  const inner = q.length / rows, width = inner / heads;
  const outer = v.length / rows, depth = outer / heads;
  const out = new Float64Array(v.length);
  for (let t = 0; t < rows; t++) {
    for (let head = 0; head < heads; head++) {
      const scores = Array.from({ length: t + 1 }, (_, j) => {
        let score = 0;
        for (let d = head * width; d < (head + 1) * width; d++) score += q[t * inner + d] * k[j * inner + d];
        return score / Math.sqrt(width);
      });
      const largest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - largest));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let d = head * depth; d < (head + 1) * depth; d++) {
        out[t * outer + d] = weights.reduce((sum, weight, j) => sum + (weight / total) * v[j * outer + d], 0);
      }
    }
  }
  return out;
}

/** Novel codes [rows, dSae], their pre-activations, and the reconstruction of the frames x [rows, dIn] of one clip. */
export function temporalRun(parameters: Tensors, x: Float64Array, config: TemporalConfig) {
  const { dIn, dSae, layers, heads, k: kept } = config;
  const rows = x.length / dIn;
  const { W_dec, b_dec } = parameters;
  const W_enc = config.tied ? W_dec : parameters.W_enc;
  const factor = config.normalizeActivations === 'constant_scalar_rescale' ? config.activationNormalizationFactor : 1;
  const normalized = normalize(x.map((value) => value * factor), dIn, config.normalizeActivations === 'constant_scalar_rescale' ? 'none' : config.normalizeActivations);
  const lambda = 1 / (4 * dIn);
  const encode = (rest: Float64Array): Float64Array => relu(matmulTransposeB(rest.map((value) => value * lambda), W_enc, rows, dIn, dSae));

  let rest = subtractBDec(parameters, normalized.x, { dIn, dSae, applyBDecToInput: config.applyBDecToInput, normalizeActivations: 'none' });
  const codes = new Float64Array(rows * dSae);
  for (let layer = 0; layer < layers; layer++) {
    const name = (part: string): string => `attn_layers.${layer}.${part}`;
    const z = encode(rest);
    const context = Float64Array.from(z, (_, j) => (j < dSae ? 0 : z[j - dSae])); // what was before each frame
    const attended = causalAttention(linear(z, parameters, name('q_target'), dSae), linear(context, parameters, name('k_ctx'), dSae),
      linear(context, parameters, name('v_ctx'), dSae), rows, heads);
    const predicted = relu(linear(attended, parameters, name('c_proj'), dSae));
    const along = matmul(predicted, W_dec, rows, dSae, dIn);
    const next = rest.slice();
    for (let row = 0; row < rows; row++) {
      let product = 0, squares = 0;
      for (let d = row * dIn; d < (row + 1) * dIn; d++) {
        product += along[d] * rest[d];
        squares += along[d] ** 2;
      }
      const share = product / (Math.sqrt(squares) + 1e-6) ** 2;
      for (let d = row * dIn; d < (row + 1) * dIn; d++) next[d] -= share * along[d];
      for (let i = row * dSae; i < (row + 1) * dSae; i++) codes[i] += share * predicted[i];
    }
    rest = next;
  }

  const positive = encode(rest);
  const novel = kept === undefined ? positive : new Float64Array(positive.length);
  if (kept !== undefined) {
    rowTopK(positive, rows, dSae, kept).forEach((columns, row) => {
      for (const column of columns) novel[row * dSae + column] = positive[row * dSae + column];
    });
  }
  const hasBias = !config.tied || config.applyBDecToInput;
  const decode = (z: Float64Array): Float64Array => (
    denormalize(matmul(z, W_dec, rows, dSae, dIn).map((value, j) => value + (hasBias ? b_dec[j % dIn] : 0)), dIn, normalized).map((value) => value / factor)
  );
  return { featureActs: novel, ranking: positive, out: decode(novel.map((value, j) => value + codes[j])), decoded: decode(novel) };
}
