import { CochleaError } from '../errors.ts';
import { recordFields } from '../kernels/index.ts';

/** What one step showed, under SAELens' definitions (see `metricNames`). */
export interface StepMetrics {
  /** From 1. */
  step: number;
  learningRate: number;
  overallLoss: number;
  /** mse_loss first, then what the architecture adds, under SAELens' names. */
  losses: Record<string, number>;
  /** Coefficients of this step that warm up, by name. */
  coefficients: Record<string, number>;
  explainedVariance: number;
  explainedVarianceLegacy: number;
  l0: number;
  /** Dead latents at the start of the step. */
  dead: number;
  meanPassesSinceFired: number;
  gradientNorm: number;
  /** The running threshold after the step, for architectures that have one. */
  topkThreshold?: number;
}

/** One of a step's sums on the GPU. */
export function recordField(record: Float32Array, name: (typeof recordFields)[number]): number {
  return record[recordFields.indexOf(name)]!;
}

/** What the schedules say of a step. */
export type Scheduled = Pick<StepMetrics, 'step' | 'learningRate' | 'coefficients'>;

/** Metrics from a step's sums over its rows. Throws `not-finite` when the step went wrong, naming it; `inHalves`: products round to float16. */
export function stepMetrics(record: Float32Array, losses: readonly string[], rows: number, dSae: number, scheduled: Scheduled, inHalves: boolean): StepMetrics {
  const field = (name: (typeof recordFields)[number]): number => recordField(record, name);
  const found: Record<string, number> = { mse_loss: field('squaredError') / rows };
  losses.forEach((name, n) => found[name] = record[recordFields.length + n]! / rows);
  const overallLoss = Object.values(found).reduce((sum, loss) => sum + loss, 0);
  if (field('flags') !== 0 || !Number.isFinite(overallLoss) || !Number.isFinite(field('gradientNorm'))) {
    throw new CochleaError('not-finite', `step ${scheduled.step}: the loss, a gradient or a pre-activation is NaN or infinite`,
      inHalves ? 'train without float16 (--kernel-variant), which ends at 65,504, lower the learning rate or check the frames' : 'lower the learning rate or check the frames');
  }
  return {
    ...scheduled, overallLoss, losses: found,
    explainedVariance: 1 - field('squaredError') / field('spread'),
    explainedVarianceLegacy: 1 - field('ratios') / rows,
    l0: field('active') / rows, dead: field('dead'), meanPassesSinceFired: field('silence') / dSae, gradientNorm: field('gradientNorm'),
  };
}
