/** How a run trains: SAELens' SAETrainerConfig with its defaults, and what other trainers have, off by default. */
import { CochleaError } from '../errors.ts';

export const schedulers = ['constant', 'cosineannealing', 'cosineannealingwarmrestarts'] as const;

export const biasInitialisations = ['zeros', 'mean', 'geometric_median'] as const;

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
  /** Of the initialisation, and of resampling. */
  seed: number;
  /**
   * Decoder rows keep length 1: of each row's gradient the part along the row is taken out before the step, and the row is brought back to
   * its length after it (Bricken et al. 2023, "Towards monosemanticity"; dictionary_learning). The norm that clipping goes by is
   * that of the gradient without this part, as in dictionary_learning's TopK trainer. Needs a decoder_init_norm of 1.
   */
  unit_norm_decoder: boolean;
  /**
   * Steps, counted from 1 and before the last, after which dead latents begin anew from frames that the SAE reconstructs badly (Bricken et al. 2023, appendix
   * "Neuron resampling": 25,000, 50,000, 75,000 and 100,000, with a dead_feature_window of 12,500; see resample.ts).
   */
  resample_steps: readonly number[];
  /**
   * What b_dec begins as: zero, or the mean or geometric median of the first batch as the SAE sees it, of its targets for a transcoder (geometric
   * median: Bricken et al. 2023, SAELens before 6, and from the first batch as here dictionary_learning).
   */
  b_dec_init_method: (typeof biasInitialisations)[number];
}

/** What a TrainerConfig is made of. */
export type TrainerFields = Partial<Omit<TrainerConfig, 'lr'>> & {
  /** `auto`: 2e-4 / sqrt(d_sae / 2^14), the scaling of Gao et al. 2024 (arXiv 2406.04093, figure 3) with the constant of sparsify and dictionary_learning. */
  lr?: number | 'auto';
};

export const trainerDefaults = {
  train_batch_size_samples: 4096, total_training_samples: 2_000_000, lr: 3e-4, lr_scheduler_name: 'constant', lr_warm_up_steps: 0, lr_decay_steps: 0,
  n_restart_cycles: 1, adam_beta1: 0.9, adam_beta2: 0.999, dead_feature_window: 1000, feature_sampling_window: 2000, seed: 42,
  unit_norm_decoder: false, resample_steps: [], b_dec_init_method: 'zeros',
} as const;

/** Adam's epsilon and the largest gradient norm: fixed in SAELens. */
export const adamEpsilon = 1e-8;
export const maxGradientNorm = 1;

/** Fills in defaults and throws `config` for values that cannot be. `dSae`: of the SAE to be trained, which lr `auto` goes by. */
export function trainerConfig(fields: TrainerFields, dSae?: number): TrainerConfig {
  const given = { ...trainerDefaults, ...fields };
  if (given.lr === 'auto' && dSae === undefined) throw new CochleaError('config', 'lr auto depends on d_sae', 'give a number, or the SAE\'s d_sae');
  const lr = given.lr === 'auto' ? 2e-4 / Math.sqrt(dSae! / 2 ** 14) : given.lr;
  const config: TrainerConfig = { ...given, lr, lr_end: fields.lr_end ?? lr / 10 };
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
  if (typeof config.unit_norm_decoder !== 'boolean') wrong('unit_norm_decoder', 'true or false');
  if (!Array.isArray(config.resample_steps) || !config.resample_steps.every((step) => Number.isSafeInteger(step) && step > 0)) wrong('resample_steps', 'a list of positive whole numbers');
  if (!biasInitialisations.includes(config.b_dec_init_method)) wrong('b_dec_init_method', `one of ${biasInitialisations.join(', ')}`);
  if (!schedulers.includes(config.lr_scheduler_name)) wrong('lr_scheduler_name', `one of ${schedulers.join(', ')}`);
  if (config.total_training_samples < config.train_batch_size_samples) wrong('total_training_samples', `at least one batch (${config.train_batch_size_samples})`);
  const steps = totalSteps(config);
  if (config.lr_warm_up_steps + config.lr_decay_steps > steps) {
    throw new CochleaError('config', `${config.lr_warm_up_steps} warm-up and ${config.lr_decay_steps} decay steps do not fit a run of ${steps} steps`, 'lower them or train longer');
  }
  const unused = config.resample_steps.find((step) => step >= steps);
  if (unused !== undefined) {
    throw new CochleaError('config', `latents that begin anew after step ${unused} are not trained in a run of ${steps} steps`, 'lower resample_steps or train longer');
  }
  if (config.lr_scheduler_name !== 'constant' && config.lr_decay_steps > 0 && config.lr_end === 0) wrong('lr_end', 'positive where a cosine schedule is followed by decay');
  return config;
}

export function totalSteps(config: Pick<TrainerConfig, 'total_training_samples' | 'train_batch_size_samples'>): number {
  return Math.floor(config.total_training_samples / config.train_batch_size_samples);
}
