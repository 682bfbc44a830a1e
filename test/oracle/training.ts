/** SAELens' training step, in its order: dead mask, forward, counters, backward, clip, Adam; schedules are functions of the step. */

import { adamState, adamStep, clipByGlobalNorm } from './adam.ts';
import type { AdamOptions, AdamState } from './adam.ts';
import { nextThreshold } from './batchtopk-sae.ts';
import type { Pass, PassContext, Tensors } from './linear.ts';
import { explainedVariance, explainedVarianceLegacy, meanL0 } from './metrics.ts';
import { coefficient, learningRate } from './schedule.ts';
import type { LearningRateOptions } from './schedule.ts';

export interface TrainingConfig extends LearningRateOptions, AdamOptions {
  dIn: number;
  maxGradNorm: number;
  /** A latent is dead after more than this many steps in which it did not fire. */
  deadFeatureWindow: number;
  /** Firing counts start anew at every such step. */
  featureSamplingWindow: number;
  /** Final value and warm-up of every coefficient that the architecture reads. */
  coefficients: Record<string, { final: number; warmUpSteps: number }>;
  /** Factor on every batch ('expected_average_only_in'); 1 otherwise. */
  activationScale: number;
  /** Rate of the running threshold (BatchTopK, Matryoshka). */
  topkThresholdLr?: number;
}

export interface TrainingState {
  step: number;
  parameters: Tensors;
  adam: AdamState;
  /** [dSae]: steps since the latent last fired. */
  stepsSinceFired: Float64Array;
  /** [dSae]: rows in which it fired since the counts started anew. */
  firingCounts: Float64Array;
  /** Rows seen since then. */
  rowsCounted: number;
  topkThreshold: number;
}

export interface StepReport extends Pick<Pass, 'losses' | 'loss'> {
  lr: number;
  coefficients: Record<string, number>;
  deadAtStart: number;
  /** Before clipping. */
  gradNorm: number;
  explainedVariance: number;
  explainedVarianceLegacy: number;
  l0: number;
}

export function trainingState(parameters: Tensors, dSae: number): TrainingState {
  return {
    step: 0, parameters, adam: adamState(parameters), stepsSinceFired: new Float64Array(dSae),
    firingCounts: new Float64Array(dSae), rowsCounted: 0, topkThreshold: 0,
  };
}

/** One step on a batch [rows, dIn]; changes the state. `pass` is one architecture's pass with its configuration bound. */
export function trainStep(
  state: TrainingState, batch: Float64Array, config: TrainingConfig, pass: (parameters: Tensors, x: Float64Array, context: PassContext) => Pass,
): StepReport {
  const { dIn } = config;
  const rows = batch.length / dIn;
  const dSae = state.stepsSinceFired.length;
  const x = batch.map((value) => value * config.activationScale);

  if ((state.step + 1) % config.featureSamplingWindow === 0) {
    state.firingCounts.fill(0);
    state.rowsCounted = 0;
  }
  const dead = Uint8Array.from(state.stepsSinceFired, (steps) => (steps > config.deadFeatureWindow ? 1 : 0));
  const coefficients = Object.fromEntries(
    Object.entries(config.coefficients).map(([name, { final, warmUpSteps }]) => [name, coefficient(state.step, final, warmUpSteps)]),
  );
  const { losses, loss, out, featureActs, gradients } = pass(state.parameters, x, { dead, coefficients });
  if (config.topkThresholdLr !== undefined) {
    state.topkThreshold = nextThreshold(state.topkThreshold, featureActs, config.topkThresholdLr);
  }

  for (let i = 0; i < dSae; i++) {
    let fired = 0;
    for (let row = 0; row < rows; row++) fired += featureActs[row * dSae + i] !== 0 ? 1 : 0;
    state.stepsSinceFired[i] = fired > 0 ? 0 : state.stepsSinceFired[i] + 1;
    state.firingCounts[i] += fired;
  }
  state.rowsCounted += rows;

  const gradNorm = clipByGlobalNorm(gradients, config.maxGradNorm);
  const lr = learningRate(state.step, config);
  adamStep(state.parameters, gradients, state.adam, lr, config);
  state.step++;
  return {
    losses, loss, lr, coefficients, gradNorm,
    deadAtStart: dead.reduce((sum, value) => sum + value, 0),
    explainedVariance: explainedVariance(x, out, dIn),
    explainedVarianceLegacy: explainedVarianceLegacy(x, out, dIn),
    l0: meanL0(featureActs, dSae),
  };
}
