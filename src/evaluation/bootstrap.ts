import type { ClipSums } from './clip-sums.ts';
import { type Interval, resampledIntervals } from './resample.ts';

export interface Bootstrap {
  explainedVariance: number | null;
  /** Sum of |x - x̄|² over all frames. */
  variance: number;
  intervals: { explainedVariance: Interval; l0: Interval };
}

/** Explained variance with its interval and that of L0, by resampling units (clips). In every resample the mean x̄ is that resample's own. */
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
  const [ofExplained, ofL0] = resampledIntervals(units.length, { resamples, seed }, (weights) => {
    const { explainedVariance: explained, l0 } = statistics(weights);
    return [explained, l0];
  }, () => 'some resamples have frames that are all equal');
  return { explainedVariance, variance: all.variance, intervals: { explainedVariance: ofExplained!, l0: ofL0! } };
}
