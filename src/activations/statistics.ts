import type { FrameChunk } from './types.ts';

/** Moments of frames that do not all fit in memory, in float64. */
export interface FrameStatistics {
  rows: number;
  /** Per dimension. */
  mean: Float64Array;
  /** Per dimension, divided by rows (not rows - 1). */
  variance: Float64Array;
  /** Mean of ||x||, and of ||x||^2. */
  meanNorm: number;
  meanSquaredNorm: number;
  /** |mu| / |sigma|: how far the frames lie from the origin, in units of their spread, |sigma| = sqrt(sum of variance). */
  gamma: number;
}

/** A running total, as plain numbers. */
export interface StatisticsState {
  rows: number;
  mean: number[];
  /** Per dimension: sum of squared deviations from the mean. */
  squares: number[];
  normSum: number;
  squaredNormSum: number;
}

/**
 * Adds frames chunk by chunk. A chunk's mean and squared deviations are taken in two passes and merged
 * with the total by the update of Chan, Golub and LeVeque (1979), so that dimensions whose mean is far
 * larger than their spread do not cancel. Relative error at most about (rows of a chunk + chunks) * 2^-53.
 * The result depends on how rows fall into chunks (in the last bits) and on nothing else.
 */
export class StatisticsAccumulator {
  #rows: number;
  #normSum: number;
  #squaredNormSum: number;
  readonly #mean: Float64Array;
  readonly #squares: Float64Array;

  constructor(dIn: number, state?: StatisticsState) {
    this.#rows = state?.rows ?? 0;
    this.#normSum = state?.normSum ?? 0;
    this.#squaredNormSum = state?.squaredNormSum ?? 0;
    this.#mean = state ? Float64Array.from(state.mean) : new Float64Array(dIn);
    this.#squares = state ? Float64Array.from(state.squares) : new Float64Array(dIn);
  }

  /** Adds the rows of x [rows, dIn]; a row that holds NaN or infinity is left out. */
  add(x: Float32Array, rows: number): void {
    const dIn = this.#mean.length;
    const mean = new Float64Array(dIn);
    const squares = new Float64Array(dIn);
    const finite: number[] = [];
    for (let row = 0; row < rows; row++) {
      let squaredNorm = 0;
      for (let d = 0, at = row * dIn; d < dIn; d++, at++) squaredNorm += x[at]! * x[at]!;
      if (!Number.isFinite(squaredNorm)) continue; // float32 squares summed in float64 cannot overflow
      finite.push(row * dIn);
      this.#normSum += Math.sqrt(squaredNorm);
      this.#squaredNormSum += squaredNorm;
      for (let d = 0, at = row * dIn; d < dIn; d++, at++) mean[d]! += x[at]!;
    }
    const added = finite.length;
    if (added === 0) return;
    for (let d = 0; d < dIn; d++) mean[d]! /= added;
    for (const begin of finite) {
      for (let d = 0, at = begin; d < dIn; d++, at++) squares[d]! += (x[at]! - mean[d]!) ** 2;
    }
    const before = this.#rows;
    this.#rows = before + added;
    for (let d = 0; d < dIn; d++) {
      const difference = mean[d]! - this.#mean[d]!;
      this.#mean[d]! += difference * added / this.#rows;
      this.#squares[d]! += squares[d]! + difference * difference * (before * added / this.#rows);
    }
  }

  state(): StatisticsState {
    return {
      rows: this.#rows, mean: [...this.#mean], squares: [...this.#squares], normSum: this.#normSum, squaredNormSum: this.#squaredNormSum,
    };
  }

  result(): FrameStatistics {
    const rows = this.#rows;
    const variance = this.#squares.map((sum) => (rows > 0 ? sum / rows : 0));
    return {
      rows, mean: this.#mean.slice(), variance,
      meanNorm: rows > 0 ? this.#normSum / rows : 0,
      meanSquaredNorm: rows > 0 ? this.#squaredNormSum / rows : 0,
      gamma: gamma(this.#mean, variance),
    };
  }
}

/** The moments of all rows of some chunks, those of their targets (of `dOut` numbers) beside them where there are any. */
export async function chunkStatistics(
  chunks: AsyncIterable<FrameChunk>, dIn: number, dOut: number | undefined,
): Promise<{ frames: FrameStatistics; target: FrameStatistics | undefined }> {
  const frames = new StatisticsAccumulator(dIn);
  const targets = dOut === undefined ? undefined : new StatisticsAccumulator(dOut);
  for await (const { x, target, rows } of chunks) {
    frames.add(x, rows);
    if (targets && target) targets.add(target, rows);
  }
  return { frames: frames.result(), target: targets?.result() };
}

/** |mu| / |sigma|; infinite for frames that are all equal, 0 when they are all zero. */
export function gamma(mean: Float64Array, variance: Float64Array): number {
  const length = Math.sqrt(mean.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? 0 : length / Math.sqrt(variance.reduce((sum, value) => sum + value, 0));
}
