/**
 * How well x_hat [rows, d] reconstructs x [rows, d], and how sparse the activations are. Sums run over all given rows;
 * explained variance is centred per dimension (SAELens since 6.45.1; earlier versions and SAEBench are not).
 */

import { columnSums, difference, rowDots, rowNorms, rowSquaredNorms } from './matrix.ts';

const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
const mean = (values: Float64Array) => sum(values) / values.length;

/** [rows]: ||x - mean over rows of x||². */
function squaredDeviations(x: Float64Array, d: number): Float64Array {
  const rows = x.length / d;
  const centre = columnSums(x, rows, d).map((total) => total / rows);
  return rowSquaredNorms(x.map((value, j) => value - centre[j % d]), rows, d);
}

/** [rows]: ||x - x_hat||². */
function squaredErrors(x: Float64Array, xHat: Float64Array, d: number): Float64Array {
  return rowSquaredNorms(difference(x, xHat), x.length / d, d);
}

/** 1 - sum ||x - x_hat||² / sum ||x - mean x||². */
export function explainedVariance(x: Float64Array, xHat: Float64Array, d: number): number {
  return 1 - sum(squaredErrors(x, xHat, d)) / sum(squaredDeviations(x, d));
}

/** The mean over rows of 1 - ||x - x_hat||² / ||x - mean x||²: a mean of ratios, dominated by frames near the mean. */
export function explainedVarianceLegacy(x: Float64Array, xHat: Float64Array, d: number): number {
  const deviations = squaredDeviations(x, d);
  return mean(squaredErrors(x, xHat, d).map((error, row) => 1 - error / deviations[row]));
}

/** mean ||x - x_hat||²: summed over dimensions. */
export function meanSquaredError(x: Float64Array, xHat: Float64Array, d: number): number {
  return mean(squaredErrors(x, xHat, d));
}

/** sum ||x - x_hat||² / sum ||x||²; one minus this is the uncentred explained variance. */
export function normalizedMeanSquaredError(x: Float64Array, xHat: Float64Array, d: number): number {
  return sum(squaredErrors(x, xHat, d)) / sum(rowSquaredNorms(x, x.length / d, d));
}

/** mean <x, x_hat> / (||x|| ||x_hat||), norms at least 1e-8, so that a zero frame counts 0. */
export function meanCosine(x: Float64Array, xHat: Float64Array, d: number): number {
  const rows = x.length / d;
  const normX = rowNorms(x, rows, d);
  const normXHat = rowNorms(xHat, rows, d);
  return mean(rowDots(x, xHat, rows, d).map((dot, row) => dot / (Math.max(normX[row], 1e-8) * Math.max(normXHat[row], 1e-8))));
}

/** mean ||x_hat|| / ||x||; an input norm below 1e-4 is taken as 1. */
export function meanL2Ratio(x: Float64Array, xHat: Float64Array, d: number): number {
  const rows = x.length / d;
  const normX = rowNorms(x, rows, d);
  return mean(rowNorms(xHat, rows, d).map((norm, row) => norm / (normX[row] < 1e-4 ? 1 : normX[row])));
}

/** mean ||x_hat||² / mean <x, x_hat> (Gated SAE paper, equation 10): below 1 means shrunk. */
export function relativeReconstructionBias(x: Float64Array, xHat: Float64Array, d: number): number {
  const rows = x.length / d;
  return sum(rowSquaredNorms(xHat, rows, d)) / sum(rowDots(x, xHat, rows, d));
}

/** [dSae]: the share of rows in which each latent fires, from activations [rows, dSae]. */
export function density(featureActs: Float64Array, dSae: number): Float64Array {
  const rows = featureActs.length / dSae;
  return columnSums(featureActs.map((f) => (f !== 0 ? 1 : 0)), rows, dSae).map((count) => count / rows);
}

/** Mean number of latents that fire in a row. */
export function meanL0(featureActs: Float64Array, dSae: number): number {
  return sum(density(featureActs, dSae));
}

/** How many latents fire in no row. */
export function deadCount(featureActs: Float64Array, dSae: number): number {
  return density(featureActs, dSae).filter((share) => share === 0).length;
}
