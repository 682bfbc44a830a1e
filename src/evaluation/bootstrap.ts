import { RandomStream, streams } from '../random.ts';
import type { ClipSums } from './clip-sums.ts';

/** A 95 % percentile interval, or why there is none. */
export type Interval = { low: number; high: number } | { low: null; high: null; reason: string };

export interface Bootstrap {
  explainedVariance: number | null;
  /** Sum of |x - x̄|² over all frames. */
  variance: number;
  intervals: { explainedVariance: Interval; l0: Interval };
}

/** Fewer units than this give intervals that are far too narrow. */
const leastUnits = 5;

/**
 * Explained variance with its interval and that of L0, by resampling units (clips) with replacement: frames of one clip
 * resemble each other, so that resampling frames would make the intervals too narrow. In every resample the mean x̄ is that
 * resample's own. Both intervals come from the same resamples. Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
 */
export function bootstrap(units: readonly ClipSums[], { resamples, seed }: { resamples: number; seed: number }): Bootstrap {
  const dIn = units[0].mean.length;
  const frames = units.reduce((sum, unit) => sum + unit.frames, 0);
  const mean = new Float64Array(dIn);
  for (const unit of units) for (let d = 0; d < dIn; d++) mean[d] += unit.mean[d] * (unit.frames / frames);
  // Around the common mean m, a weighted sum of squares is  sum_c w_c s_c - |sum_c w_c n_c (m_c - m)|² / sum_c w_c n_c.
  const offsets = units.map((unit) => unit.mean.map((value, d) => (value - mean[d]) * unit.frames));
  const squares = units.map((unit, n) => unit.squares + offsets[n].reduce((sum, offset) => sum + offset * offset, 0) / unit.frames);

  // What rounding leaves of a variance that is zero lies far below this; one float32 that differs in its last bit, far above.
  const rounding = 1e-24 * mean.reduce((sum, value) => sum + value * value, 0);

  const statistics = (weights: Uint32Array): { explainedVariance: number; l0: number; variance: number } => {
    let rows = 0, error = 0, firings = 0, around = 0;
    const shift = new Float64Array(dIn);
    units.forEach((unit, n) => {
      const weight = weights[n];
      if (weight === 0) return;
      rows += weight * unit.frames;
      error += weight * unit.error;
      firings += weight * unit.firings;
      around += weight * squares[n];
      const offset = offsets[n];
      for (let d = 0; d < dIn; d++) shift[d] += weight * offset[d];
    });
    const rest = around - shift.reduce((sum, value) => sum + value * value, 0) / rows;
    const variance = rest > rounding * rows ? rest : 0;
    return { explainedVariance: 1 - error / variance, l0: firings / rows, variance };
  };

  const all = statistics(new Uint32Array(units.length).fill(1));
  const explainedVariance = all.variance > 0 ? all.explainedVariance : null;
  if (units.length < leastUnits) {
    const none: Interval = { low: null, high: null, reason: `an interval needs at least ${leastUnits} clips, not ${units.length}` };
    return { explainedVariance, variance: all.variance, intervals: { explainedVariance: none, l0: none } };
  }

  const random = new RandomStream(seed, streams.bootstrap);
  const weights = new Uint32Array(units.length);
  const drawn = Array.from({ length: resamples }, () => {
    weights.fill(0);
    for (let n = 0; n < units.length; n++) weights[random.below(units.length)]++;
    return statistics(weights);
  });
  return {
    explainedVariance,
    variance: all.variance,
    intervals: { explainedVariance: interval(drawn.map((one) => one.explainedVariance)), l0: interval(drawn.map((one) => one.l0)) },
  };
}

/** From the 2.5th to the 97.5th percentile. */
function interval(values: number[]): Interval {
  if (!values.every(Number.isFinite)) return { low: null, high: null, reason: 'some resamples have frames that are all equal' };
  const sorted = Float64Array.from(values).sort();
  return { low: quantile(sorted, 0.025), high: quantile(sorted, 0.975) };
}

/** Linear between order statistics, which stand at 0, 1/(n-1) ... 1 (definition 7 of Hyndman and Fan 1996). */
function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}
