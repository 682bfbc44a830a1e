import { RandomStream, streams } from '../random.ts';

/** A 95 % percentile interval, or why there is none. */
export type Interval = { low: number; high: number } | { low: null; high: null; reason: string };

/** Fewer units than this give intervals that are far too narrow. */
const leastUnits = 5;

/**
 * Percentile intervals of some statistics, by resampling `units` (clips) with replacement: frames and words of one clip resemble each other, so
 * that resampling them one by one would make intervals too narrow. `statistics` gets how often each unit was drawn; all come from the same
 * resamples, so that differences among them are paired. A statistic that is not finite in some resample has no interval, for the reason
 * `undefinedReason`. Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
 */
export function resampledIntervals(units: number, { resamples, seed }: { resamples: number; seed: number }, statistics: (weights: Uint32Array) => readonly number[],
  undefinedReason: (statistic: number) => string): Interval[] {
  const count = statistics(new Uint32Array(units).fill(1)).length;
  if (units < leastUnits) {
    return Array.from({ length: count }, () => ({ low: null, high: null, reason: `an interval needs at least ${leastUnits} clips, not ${units}` }));
  }
  const random = new RandomStream(seed, streams.bootstrap);
  const weights = new Uint32Array(units);
  const drawn = Array.from({ length: resamples }, () => {
    weights.fill(0);
    for (let n = 0; n < units; n++) weights[random.below(units)]!++;
    return statistics(weights);
  });
  return Array.from({ length: count }, (_, n) => interval(drawn.map((values) => values[n]!), undefinedReason(n)));
}

/** From the 2.5th to the 97.5th percentile. */
function interval(values: number[], reason: string): Interval {
  if (!values.every(Number.isFinite)) return { low: null, high: null, reason };
  const sorted = Float64Array.from(values).sort();
  return { low: quantile(sorted, 0.025), high: quantile(sorted, 0.975) };
}

/** Linear between order statistics, which stand at 0, 1/(n-1) ... 1 (definition 7 of Hyndman and Fan 1996). */
function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (place - below);
}
