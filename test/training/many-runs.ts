/** The runs of many.test.ts: five SAEs, no two alike, on one stream. Shared with the process that the test kills. */
import { type FrameSource, openTensorSource } from '../../src/activations/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { type ManyOptions, type RunOptions, trainerConfig, type TrainerFields } from '../../src/training/index.ts';
import { smallSae } from '../support/small-sae.ts';

export const dIn = 8, dOut = 5, rows = 600, steps = 24;
const batch = 32;

type Stream = Pick<RunOptions, 'gpu' | 'source' | 'out'>;

const training = (dSae: number, fields: TrainerFields) => trainerConfig({
  train_batch_size_samples: batch, total_training_samples: batch * steps, lr: 3e-3, dead_feature_window: 3, feature_sampling_window: 6, lr_warm_up_steps: 2, lr_decay_steps: 4, ...fields,
}, dSae);

export function saes(seed: number): ManyOptions['saes'] {
  return [
    { name: 'Wide', sae: smallSae('topk', { d_in: dIn, d_sae: 64, normalize_activations: 'expected_average_only_in' }, dOut), training: training(64, { seed }), centre: true },
    {
      name: 'narrow-unit', sae: { ...smallSae('batchtopk', { d_in: dIn, d_sae: 56, decoder_init_norm: 1 }, dOut), k: 2 } as never,
      training: training(56, { seed: seed + 7, lr: 1e-2, unit_norm_decoder: true, resample_steps: [7, 16], dead_feature_window: 1 }), centre: true,
    },
    {
      name: 'jump.6_18', sae: smallSae('jumprelu', { d_in: dIn, d_sae: 48, normalize_activations: 'layer_norm' }, dOut), centre: false, compatibility: 'saelens-6.18',
      training: training(48, { seed, lr: 'auto', b_dec_init_method: 'geometric_median' }),
    },
    { name: 'across', sae: smallSae('skip_transcoder', { d_in: dIn, d_sae: 32, normalize_activations: 'expected_average_only_in' }, dOut), training: training(32, { seed: seed + 1 }), centre: true },
    { name: 'twin', sae: smallSae('topk', { d_in: dIn, d_sae: 64, normalize_activations: 'expected_average_only_in' }, dOut), training: training(64, { seed: seed + 3 }), centre: true },
  ];
}

const stream = { bufferRows: 128, shuffle: true, logEvery: 1 };

export const manyOptions = (seed: number, { gpu, source, out }: Stream): ManyOptions => ({ gpu, source, out, saes: saes(seed), mixingSeed: seed, checkpointEvery: 4, ...stream });

export const aloneOptions = (seed: number, name: string, { gpu, source, out }: Stream): RunOptions => {
  const { name: _, ...sae } = saes(seed).find((one) => one.name === name)!;
  return { gpu, source, out, mixingSeed: seed, ...sae, ...stream };
};

export async function withStream<T>(path: string, use: (gpu: Gpu, source: FrameSource) => Promise<T>): Promise<T> {
  const source = await openTensorSource(path, { target: 'y' });
  const gpu = await Gpu.open();
  try {
    return await use(gpu, source);
  } finally {
    gpu.dispose();
    await source.close();
  }
}
