import { totalSteps, type TrainerConfig } from './config.ts';

/**
 * The learning rate of step t (from 0), as SAELens' get_lr_scheduler gives it: linear warm-up over w steps, the main part, linear decay over
 * the last d steps to (but not at) zero.
 *
 *   t < w:       lr (t + 1) / w
 *   t >= T - d:  L (1 - (t - (T - d)) / d), L = lr for a constant main part, lr_end for cosine ones
 *   between, u = t - w, U = T - w - d:
 *     constant                      lr
 *     cosineannealing               lr_end + (lr - lr_end) (1 + cos(pi u / U)) / 2
 *     cosineannealingwarmrestarts   the same with u mod T0 and U = T0 = floor(U / n_restart_cycles)
 */
export function learningRate(t: number, config: TrainerConfig): number {
  const { lr, lr_end: end, lr_warm_up_steps: warmUp, lr_decay_steps: decay, lr_scheduler_name: scheduler } = config;
  const steps = totalSteps(config);
  if (t < warmUp) return (lr * (t + 1)) / warmUp;
  if (decay > 0 && t >= steps - decay) return (scheduler === 'constant' ? lr : end) * (1 - (t - (steps - decay)) / decay);
  if (scheduler === 'constant') return lr;
  const length = steps - warmUp - decay;
  const cycle = scheduler === 'cosineannealing' ? length : Math.max(1, Math.floor(length / config.n_restart_cycles));
  const phase = scheduler === 'cosineannealing' ? t - warmUp : (t - warmUp) % cycle;
  return end + ((lr - end) * (1 + Math.cos((Math.PI * phase) / cycle))) / 2;
}

/** A loss coefficient at step t (from 0): final min(1, t / warmUpSteps), zero at first; SAELens' CoefficientScheduler. */
export function coefficientAt(t: number, final: number, warmUpSteps: number): number {
  return warmUpSteps > 0 ? final * Math.min(1, t / warmUpSteps) : final;
}
