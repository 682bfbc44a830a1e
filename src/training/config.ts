/** How a run trains, under SAELens' field names (its SAETrainerConfig) with its defaults. */
import { CochleaError } from '../errors.ts';

export const schedulers = ['constant', 'cosineannealing', 'cosineannealingwarmrestarts'] as const;

export interface TrainerConfig {
  /** Rows of one step. */
  train_batch_size_samples: number;
  /** Rows of the whole run; steps = floor(total / batch). */
  total_training_samples: number;
  lr: number;
  /** Where cosine schedules end; default lr / 10. */
  lr_end: number;
  lr_scheduler_name: (typeof schedulers)[number];
  lr_warm_up_steps: number;
  /** Steps of linear decay at the end. */
  lr_decay_steps: number;
  n_restart_cycles: number;
  adam_beta1: number;
  adam_beta2: number;
  /** A latent that has been silent for more steps than this is dead. */
  dead_feature_window: number;
  /** Steps over which firing frequencies are counted. */
  feature_sampling_window: number;
  seed: number;
}

export const trainerDefaults = {
  train_batch_size_samples: 4096, total_training_samples: 2_000_000, lr: 3e-4, lr_scheduler_name: 'constant', lr_warm_up_steps: 0, lr_decay_steps: 0,
  n_restart_cycles: 1, adam_beta1: 0.9, adam_beta2: 0.999, dead_feature_window: 1000, feature_sampling_window: 2000, seed: 42,
} as const;

/** Adam's epsilon and the largest gradient norm: fixed in SAELens. */
export const adamEpsilon = 1e-8;
export const maxGradientNorm = 1;

/** Fills in defaults and throws `config` for values that cannot be. */
export function trainerConfig(fields: Partial<TrainerConfig>): TrainerConfig {
  const given = { ...trainerDefaults, ...fields };
  const config: TrainerConfig = { ...given, lr_end: fields.lr_end ?? given.lr / 10 };
  const wrong = (field: keyof TrainerConfig, must: string): never => {
    throw new CochleaError('config', `${field} is ${typeof config[field] === 'number' ? config[field] : JSON.stringify(config[field])}`, `it must be ${must}`);
  };
  for (const field of ['train_batch_size_samples', 'total_training_samples', 'dead_feature_window', 'feature_sampling_window', 'n_restart_cycles'] as const) {
    if (!Number.isSafeInteger(config[field]) || config[field] < 1) wrong(field, 'a positive whole number');
  }
  for (const field of ['lr_warm_up_steps', 'lr_decay_steps', 'seed'] as const) {
    if (!Number.isSafeInteger(config[field]) || config[field] < 0) wrong(field, 'zero or a positive whole number');
  }
  for (const field of ['lr', 'lr_end'] as const) if (!(config[field] >= 0 && Number.isFinite(config[field]))) wrong(field, 'zero or a positive number');
  for (const field of ['adam_beta1', 'adam_beta2'] as const) if (!(config[field] >= 0 && config[field] < 1)) wrong(field, 'at least 0 and below 1');
  if (!schedulers.includes(config.lr_scheduler_name)) wrong('lr_scheduler_name', `one of ${schedulers.join(', ')}`);
  if (config.total_training_samples < config.train_batch_size_samples) wrong('total_training_samples', `at least one batch (${config.train_batch_size_samples})`);
  const steps = totalSteps(config);
  if (config.lr_warm_up_steps + config.lr_decay_steps > steps) {
    throw new CochleaError('config', `${config.lr_warm_up_steps} warm-up and ${config.lr_decay_steps} decay steps do not fit a run of ${steps} steps`, 'lower them or train longer');
  }
  if (config.lr_scheduler_name !== 'constant' && config.lr_decay_steps > 0 && config.lr_end === 0) wrong('lr_end', 'positive where a cosine schedule is followed by decay');
  return config;
}

export function totalSteps(config: Pick<TrainerConfig, 'total_training_samples' | 'train_batch_size_samples'>): number {
  return Math.floor(config.total_training_samples / config.train_batch_size_samples);
}
