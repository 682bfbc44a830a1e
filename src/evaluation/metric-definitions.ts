/** What every number of an evaluation means and where its definition comes from: printed by the command line, shown in reports. */

export interface MetricDefinition {
  name: string;
  unit: string;
  definition: string;
  source: string;
}

const ours = 'cochlea';

/**
 * One number per SAE. x is a frame, x̂ its reconstruction, x̄ the mean over the evaluated frames, z the activations. For a transcoder x is
 * the target of a frame, what x̂ is meant to be, and x̄ the mean of the targets.
 */
export const saeMetrics = [
  {
    name: 'explained_variance', unit: 'share',
    definition: '1 - Σ|x - x̂|² / Σ|x - x̄|², both sums over all frames and dimensions; ' +
      'x̄ is the mean of each dimension over the same frames. 0: no better than the mean; 1: exact.',
    source: 'SAELens since 6.45.1 (pull request 665); SAEBench and earlier versions are in effect not centred',
  },
  {
    name: 'explained_variance_legacy', unit: 'share',
    definition: 'mean over frames of 1 - |x - x̂|² / |x - x̄|², with x̄ the mean of all frames up to the end of the frame\'s batch of 4,096 ' +
      '(of a sequential SAE at most a clip). ' +
      'Frames close to the mean weigh most.',
    source: 'SAELens explained_variance_legacy, whose x̄ is that of each batch',
  },
  {
    name: 'mse', unit: 'squared activation',
    definition: 'mean over frames of |x - x̂|², summed over dimensions.',
    source: 'SAELens since 6.45.2 (pull request 711); earlier versions divide by the batch size once more',
  },
  {
    name: 'nmse', unit: 'share',
    definition: 'Σ|x - x̂|² / Σ|x|²: the share of the power that is lost. 1 - nmse is the explained variance without centring.',
    source: 'openai/sparse_autoencoder normalized_mean_squared_error, which averages the ratio over frames instead',
  },
  {
    name: 'cossim', unit: 'cosine',
    definition: 'mean over frames of ⟨x, x̂⟩ / (|x| |x̂|), with norms of at least 1e-8.',
    source: 'SAEBench core, reconstruction_quality',
  },
  { name: 'l2_norm_in', unit: 'activation', definition: 'mean over frames of |x|.', source: 'SAEBench core, shrinkage' },
  { name: 'l2_norm_out', unit: 'activation', definition: 'mean over frames of |x̂|.', source: 'SAEBench core, shrinkage' },
  {
    name: 'l2_ratio', unit: 'ratio',
    definition: 'mean over frames of |x̂| / |x|; a norm |x| below 1e-4 counts as 1. Below 1: shrunk.',
    source: 'SAEBench core, shrinkage',
  },
  {
    name: 'relative_reconstruction_bias', unit: 'ratio',
    definition: 'mean|x̂|² / mean⟨x, x̂⟩. 1: unbiased; below 1: reconstructions are systematically too short.',
    source: 'Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders", equation 10',
  },
  {
    name: 'l0', unit: 'latents per frame',
    definition: 'mean over frames of the number of latents with z ≠ 0.',
    source: 'SAEBench core, sparsity',
  },
  { name: 'l1', unit: 'activation', definition: 'mean over frames of Σ|z|.', source: 'SAEBench core, sparsity' },
  { name: 'dead_latents', unit: 'latents', definition: 'latents that fire in none of the evaluated frames.', source: ours },
  {
    name: 'frac_alive', unit: 'share of latents',
    definition: 'latents that fire in at least one evaluated frame, over all latents.',
    source: 'SAEBench core, misc_metrics',
  },
  {
    name: 'freq_over_1_percent', unit: 'share of latents',
    definition: 'latents that fire in more than 1 % of the frames, over all latents.',
    source: 'SAEBench core, misc_metrics',
  },
  {
    name: 'freq_over_10_percent', unit: 'share of latents',
    definition: 'latents that fire in more than 10 % of the frames, over all latents.',
    source: 'SAEBench core, misc_metrics',
  },
] as const satisfies readonly MetricDefinition[];

/** One number per latent. */
export const latentMetrics = [
  {
    name: 'feature_density', unit: 'share of frames',
    definition: 'frames in which the latent fires, over all frames.',
    source: 'SAEBench core, feature metrics',
  },
  {
    name: 'clip_density', unit: 'share of clips',
    definition: 'clips in which the latent fires at least once, over all clips.',
    source: ours,
  },
  {
    name: 'mean_activation', unit: 'activation',
    definition: 'mean of z over the frames in which the latent fires; 0 where it never does.',
    source: ours,
  },
  { name: 'max_activation', unit: 'activation', definition: 'largest z over the frames in which the latent fires; 0 where it never does.', source: ours },
] as const satisfies readonly MetricDefinition[];

export type SaeMetric = (typeof saeMetrics)[number]['name'];
export type LatentMetric = (typeof latentMetrics)[number]['name'];

export const metricDefinitions: readonly MetricDefinition[] = [...saeMetrics, ...latentMetrics];
