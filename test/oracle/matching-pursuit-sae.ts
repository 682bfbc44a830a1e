/**
 * Matching pursuit SAE (Costa et al. 2025, "From flat to hierarchical: extracting sparse representations with matching pursuit") as
 * SAELens defines it since 6.26: a tied dictionary, of which one atom after the other is taken off the residual.
 */

import type { Pass, SaeConfig, Tensors } from './linear.ts';
import { encoderInput, reconstructionError, zerosLike } from './linear.ts';
import { difference, matmul } from './matrix.ts';
import { denormalize } from './normalize.ts';

export interface MatchingPursuitConfig extends SaeConfig {
  maxIterations: number;
  /** A row is done when its residual is shorter than this; 0: never. */
  residualThreshold: number;
  /** A row is done after an iteration that picked no latent that it did not have. */
  stopOnDuplicateSupport: boolean;
}

/** One step of a row's pursuit. */
export interface Pick {
  latent: number;
  value: number;
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let d = 0; d < a.length; d++) sum += a[d] * b[d];
  return sum;
};

const rowOf = (matrix: Float64Array, i: number, columns: number): Float64Array => matrix.subarray(i * columns, (i + 1) * columns);

/**
 * The picks of one row: j = argmax <r, W_j>, ties to the smaller, v = relu(<r, W_j>), r -= v W_j. A pick of value zero changes
 * nothing, then or later, so it ends the row. Returns the residuals before every pick and the last.
 */
export function pursue(W_dec: Float64Array, input: Float64Array, { dIn, dSae, maxIterations, residualThreshold, stopOnDuplicateSupport }: MatchingPursuitConfig) {
  const picks: Pick[] = [];
  const residuals = [input.slice()];
  for (let iteration = 0; iteration < maxIterations; iteration++) {
    const residual = residuals[iteration];
    if (iteration > 0 && residualThreshold > 0 && Math.sqrt(dot(residual, residual)) < residualThreshold) break;
    let latent = 0, value = -Infinity;
    for (let i = 0; i < dSae; i++) {
      const product = dot(residual, rowOf(W_dec, i, dIn));
      if (product > value) [latent, value] = [i, product];
    }
    if (!(value > 0)) break;
    const repeated = picks.some((pick) => pick.latent === latent);
    picks.push({ latent, value });
    residuals.push(residual.map((r, d) => r - value * W_dec[latent * dIn + d]));
    if (repeated && stopOnDuplicateSupport) break;
  }
  return { picks, residuals };
}

function encode(parameters: Tensors, x: Float64Array, config: MatchingPursuitConfig) {
  const { dIn, dSae } = config;
  const rows = x.length / dIn;
  const { normalized, centred } = encoderInput(parameters, x, config);
  const f = new Float64Array(rows * dSae);
  const pursuits = Array.from({ length: rows }, (_, row) => pursue(parameters.W_dec, rowOf(centred, row, dIn), config));
  pursuits.forEach(({ picks }, row) => picks.forEach(({ latent, value }) => f[row * dSae + latent] += value));
  const r = matmul(f, parameters.W_dec, rows, dSae, dIn).map((value, j) => value + (config.applyBDecToInput ? parameters.b_dec[j % dIn] : 0));
  return { normalized, pursuits, f, r };
}

export function matchingPursuitRun(parameters: Tensors, x: Float64Array, config: MatchingPursuitConfig) {
  const { normalized, f, r } = encode(parameters, x, config);
  return { featureActs: f, out: denormalize(r, config.dIn, normalized) };
}

/**
 * mse_loss alone; which latents are picked is constant under differentiation. By reverse mode: with p_t = d loss / d r_t, p_T = 0
 * and g = d loss / d reconstruction,
 *
 *   c_t = <g - p_t+1, W_j>        d loss / d v_t
 *   d W_j += v_t (g - p_t+1) + c_t r_t
 *   p_t = p_t+1 + c_t W_j
 *
 * and the input xc = n - a b_dec gets p_0.
 */
export function matchingPursuitPass(parameters: Tensors, x: Float64Array, config: MatchingPursuitConfig): Pass {
  const { dIn } = config;
  const { W_dec } = parameters;
  const { normalized, pursuits, f, r } = encode(parameters, x, config);
  const gradients = zerosLike(parameters);
  const { out, loss, dr } = reconstructionError(r, x, normalized, dIn);
  pursuits.forEach(({ picks, residuals }, row) => {
    const g = rowOf(dr, row, dIn);
    const p = new Float64Array(dIn);
    for (let t = picks.length - 1; t >= 0; t--) {
      const { latent, value } = picks[t];
      const atom = rowOf(W_dec, latent, dIn);
      const c = dot(difference(g, p), atom);
      for (let d = 0; d < dIn; d++) {
        gradients.W_dec[latent * dIn + d] += value * (g[d] - p[d]) + c * residuals[t][d];
        p[d] += c * atom[d];
      }
    }
    if (config.applyBDecToInput) for (let d = 0; d < dIn; d++) gradients.b_dec[d] += g[d] - p[d];
  });
  return { losses: { mse_loss: loss }, loss, out, featureActs: f, residual: difference(x, out), gradients };
}
