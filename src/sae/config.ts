/** SAE configurations under SAELens' field names; what the fields mean stands in SAELens' TrainingSAEConfig and below. */
import { CochleaError } from '../errors.ts';
import type { SaelensConfig } from '../formats/index.ts';
import { rowNormalisations } from '../kernels/index.ts';

/** How a run treats what SAELens 6.18 does and later versions corrected. */
export type Compatibility = 'corrected' | 'saelens-6.18';

/** A TopK SAE (Gao et al. 2024) for training, with SAELens' defaults. */
export interface TopkConfig {
  architecture: 'topk';
  d_in: number;
  d_sae: number;
  /** Latents kept per frame. */
  k: number;
  /** Whether b_dec is subtracted from the input before encoding. */
  apply_b_dec_to_input: boolean;
  normalize_activations: 'none' | 'expected_average_only_in' | 'constant_norm_rescale' | 'layer_norm';
  /** Length of every decoder row at the start; null leaves Kaiming-uniform rows as they are. */
  decoder_init_norm: number | null;
  /** Select by pre-activation times decoder norm, so that a latent cannot win by a short decoder row. */
  rescale_acts_by_decoder_norm: boolean;
  aux_loss_coefficient: number;
}

export const topkDefaults = {
  architecture: 'topk', k: 100, apply_b_dec_to_input: true, normalize_activations: 'none', decoder_init_norm: 0.1,
  rescale_acts_by_decoder_norm: true, aux_loss_coefficient: 1,
} as const;

/** Fills in defaults and throws `config` for values that cannot be. */
export function topkConfig(fields: Pick<TopkConfig, 'd_in' | 'd_sae'> & Partial<TopkConfig>): TopkConfig {
  const config: TopkConfig = { ...topkDefaults, ...fields };
  const { d_in, d_sae, k, decoder_init_norm, aux_loss_coefficient } = config;
  const wrong = (field: keyof TopkConfig, must: string): never => {
    throw new CochleaError('config', `${field} is ${typeof config[field] === 'number' ? config[field] : JSON.stringify(config[field])}`, `it must be ${must}`);
  };
  const positive = (value: number): boolean => Number.isSafeInteger(value) && value > 0;
  if (!positive(d_in)) wrong('d_in', 'a positive whole number');
  if (!positive(d_sae)) wrong('d_sae', 'a positive whole number');
  if (!positive(k) || k > d_sae) wrong('k', `a whole number from 1 to d_sae (${d_sae})`);
  if (decoder_init_norm !== null && !(decoder_init_norm > 0 && Number.isFinite(decoder_init_norm))) wrong('decoder_init_norm', 'a positive number or null');
  if (!(aux_loss_coefficient >= 0 && Number.isFinite(aux_loss_coefficient))) wrong('aux_loss_coefficient', 'zero or a positive number');
  rowNormalisation(config.normalize_activations);
  return config;
}

/** What the SAE itself does to each row. expected_average_only_in is a scale that the trainer applies. */
export function rowNormalisation(normalizeActivations: string): keyof typeof rowNormalisations {
  if (normalizeActivations === 'expected_average_only_in') return 'none';
  if (Object.hasOwn(rowNormalisations, normalizeActivations)) return normalizeActivations as keyof typeof rowNormalisations;
  throw new CochleaError('config', `normalize_activations is ${JSON.stringify(normalizeActivations)}`,
    `it must be one of none, expected_average_only_in, ${Object.keys(rowNormalisations).slice(1).join(', ')}`);
}

/** Architectures that SAE.load runs. */
export const inferenceArchitectures = ['topk', 'standard', 'jumprelu'] as const;

/** Throws `config` unless this SAE can be run. */
export function checkInference(config: SaelensConfig): void {
  if (!(inferenceArchitectures as readonly string[]).includes(config.architecture)) {
    throw new CochleaError('config', `SAEs of architecture ${config.architecture} cannot be run yet`, `these can: ${inferenceArchitectures.join(', ')}`);
  }
  rowNormalisation(config.normalize_activations);
}
