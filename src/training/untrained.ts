import { CochleaError } from '../errors.ts';
import type { SaelensConfig } from '../formats/index.ts';
import type { Gpu } from '../gpu/index.ts';
import { architectures, type BaseConfig, SAE, saeConfig } from '../sae/index.ts';
import { type TrainerConfig, trainerConfig } from './config.ts';
import { inferenceForm } from './export.ts';
import { initialBias } from './seen-frames.ts';
import { Trainer } from './trainer.ts';

export interface UntrainedOptions {
  gpu: Gpu;
  /** cfg.json of the trained SAE, and `sae` of its run.json, where there is one. */
  config: SaelensConfig;
  trainedAs?: BaseConfig | undefined;
  /** What b_dec began as: of `training` in its run.json; zeros where nothing says so. */
  biasInitialisation?: TrainerConfig['b_dec_init_method'] | undefined;
  /** Of the training frames [d_in], or what comes closest; used where the SAE was trained on centred frames, or does not say. */
  mean: Float32Array;
  /** Some frames [rows, d_in], on which a running threshold is set that training would have found, and from which b_dec begins where it began from frames. */
  frames: Float32Array;
}

/** An SAE as it was before its first step, or why there is none. */
export type Untrained = { sae: SAE; seed: number } | { sae?: undefined; reason: string };

/**
 * The same SAE before its first step: same configuration, initialised from the same seed, with the centring and scale of the training frames folded
 * in. Of batchtopk and its kin, whose threshold is found in training, it is the one that leaves k latents per frame of `frames`. Of an SAE
 * trained elsewhere the seed is 0, and what cfg.json does not say is SAELens' default.
 */
export async function untrainedSae({ gpu, config, trainedAs, biasInitialisation = 'zeros', mean, frames }: UntrainedOptions): Promise<Untrained> {
  const { metadata } = config;
  const name = trainedAs?.architecture ?? (typeof metadata['training_architecture'] === 'string' ? metadata['training_architecture'] : config.architecture);
  if (!architectures.get(name)?.train) return { reason: `nothing says what an SAE of architecture ${name} begins as: it cannot be trained here` };
  let sae: BaseConfig;
  try {
    sae = saeConfig(trainedAs ?? { ...config, ...metadata['training_architecture_details'] as object, architecture: name } as unknown as BaseConfig);
  } catch (error) {
    if (error instanceof CochleaError && error.code === 'config') return { reason: `its configuration does not say how it began: ${error.message}` };
    throw error;
  }
  const seed = typeof metadata['seed'] === 'number' ? metadata['seed'] : 0;
  const scale = typeof metadata['input_scale'] === 'number' ? metadata['input_scale'] : 1;
  const input = { mean: metadata['centred'] === false ? new Float32Array(config.d_in) : mean, scale };
  const blank = await Trainer.create({ gpu, sae, training: trainerConfig({ seed, train_batch_size_samples: 1, total_training_samples: 1 }), input });
  try {
    const begun = await blank.weights();
    if (biasInitialisation !== 'zeros') begun.b_dec = initialBias(biasInitialisation, sae, input, { x: frames });
    const { config: form, weights } = inferenceForm(sae, begun, input, {});
    const k = (sae as Partial<{ k: number }>).k;
    if (form.architecture === 'jumprelu' && name !== 'jumprelu' && k !== undefined) {
      const open = await SAE.create(gpu, form, weights);
      const { rows, values } = await open.encodeSparse(frames);
      open.dispose();
      weights.threshold!.fill(values.sort()[Math.max(0, values.length - Math.floor(k * rows) - 1)] ?? 0);
    }
    return { sae: await SAE.create(gpu, form, weights), seed };
  } finally {
    blank.dispose();
  }
}
