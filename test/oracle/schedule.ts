/** Learning rate and loss coefficients over the steps t = 0, 1, ... of a training run, as SAELens schedules them. */

export interface LearningRateOptions {
  lr: number;
  lrEnd: number;
  scheduler: 'constant' | 'cosineannealing' | 'cosineannealingwarmrestarts';
  warmUpSteps: number;
  decaySteps: number;
  restartCycles: number;
  totalSteps: number;
}

/**
 * Warm-up lr (t + 1) / warmUp; then constant, or a cosine from lr to lrEnd over the steps between warm-up and decay
 * (in restartCycles equal cycles with warm restarts); then linear decay to 0, which step totalSteps would reach.
 */
export function learningRate(t: number, options: LearningRateOptions): number {
  const { lr, lrEnd, scheduler, warmUpSteps, decaySteps, restartCycles, totalSteps } = options;
  if (t < warmUpSteps) return (lr * (t + 1)) / warmUpSteps;
  const decayStart = totalSteps - decaySteps;
  if (decaySteps > 0 && t >= decayStart) {
    return (scheduler === 'constant' ? lr : lrEnd) * Math.max(0, 1 - (t - decayStart) / decaySteps);
  }
  if (scheduler === 'constant') return lr;
  const u = t - warmUpSteps;
  const length = decayStart - warmUpSteps;
  const period = Math.floor(length / restartCycles);
  const progress = scheduler === 'cosineannealing' ? u / length : (u % period) / period;
  return lrEnd + ((lr - lrEnd) * (1 + Math.cos(Math.PI * progress))) / 2;
}

/** A coefficient that warms up linearly from 0 at t = 0 to its final value at t = warmUpSteps. */
export function coefficient(t: number, final: number, warmUpSteps: number): number {
  return warmUpSteps === 0 ? final : final * Math.min(1, t / warmUpSteps);
}
