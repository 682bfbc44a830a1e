/** One of the peer's runs, done again here: the same initial weights, rows and settings. */
import type { Gpu } from '../../src/gpu/index.ts';
import { type Compatibility, SAE, saeConfig } from '../../src/sae/index.ts';
import { inferenceForm, Trainer, trainerConfig, type TrainerConfig } from '../../src/training/index.ts';
import { dictionaryQuality, type Quality, reconstructionQuality, sparsityQuality } from './metrics.ts';
import type { PeerRun } from './peer.ts';
import { roots, World } from './world.ts';

const heldOutRows = 32_768;
/** Steps between reads of the losses. */
const window = 16;

export interface Repeated {
  /** [total loss, mse] of every step. */
  losses: [number, number][];
  /** Without the first step, in which shaders are compiled. */
  secondsPerStep: number;
  /** Of the saved form on held-out rows; absent when the run was stopped before its end. */
  quality?: Quality;
}

/** Settings that differ from a run's: of the trainer, and of the architecture. */
export interface Settings {
  training?: Partial<TrainerConfig>;
  sae?: Record<string, unknown>;
}

export interface RepeatOptions {
  gpu: Gpu;
  run: Pick<PeerRun, 'seed' | 'steps' | 'batch' | 'sae_cfg' | 'trainer'>;
  /** Initial decoder [d_sae, d_in]. */
  decoder: Float32Array;
  compatibility: Compatibility;
  /** In the place of the run's. */
  set: Settings;
  /** Stop after so many steps; the schedule stays that of the whole run. */
  steps: number;
  onStep?: (step: number, loss: number) => void;
}

/** Trains as the peer did, and measures the SAE that would be saved. */
export async function repeatRun({ gpu, run, decoder, compatibility, set, steps, onStep }: RepeatOptions): Promise<Repeated> {
  const world = new World(run.seed);
  const sae = saeConfig({ ...run.sae_cfg, ...set.sae });
  const rows = { train_batch_size_samples: run.batch, total_training_samples: run.batch * run.steps };
  const training = trainerConfig({ ...run.trainer as Partial<TrainerConfig>, ...set.training, ...rows });
  const trainer = await Trainer.create({ gpu, sae, training, compatibility });
  try {
    for (const { name, value } of trainer.form.parameters) if (name === 'W_dec' || name === 'W_enc') gpu.upload(value, decoder);
    const losses: [number, number][] = [];
    const read = async (): Promise<void> => {
      for (const { step, overallLoss, losses: parts } of await trainer.metrics()) {
        losses.push([overallLoss, parts['mse_loss']!]);
        onStep?.(step, overallLoss);
      }
    };
    let began = 0;
    let reading = Promise.resolve();
    for (let t = 0; t < steps; t++) {
      // Rows are made while the GPU works on the steps before.
      const batch = { x: world.trainingRows(t * run.batch, run.batch) };
      trainer.train(batch);
      if (trainer.resamplingIsDue) await trainer.resample(batch);
      if (t === 0) {
        await read();
        began = performance.now();
      } else if (trainer.unread >= window) {
        await reading;
        reading = read();
        reading.catch(() => {}); // told where it is awaited
      }
    }
    await reading;
    await read();
    const secondsPerStep = (performance.now() - began) / 1000 / Math.max(1, steps - 1);
    return { losses, secondsPerStep, ...(steps === run.steps ? { quality: await measure(gpu, trainer, world) } : {}) };
  } finally {
    trainer.dispose();
  }
}

async function measure(gpu: Gpu, trainer: Trainer, world: World): Promise<Quality> {
  const { config, weights } = inferenceForm(trainer.sae, await trainer.weights(), trainer.input, {}, trainer.savedThreshold);
  const sae = await SAE.create(gpu, config, weights);
  try {
    const x = world.heldOutRows(0, heldOutRows);
    const { recon, acts } = await sae.run(x);
    const { quality, alive } = sparsityQuality(acts, sae.dSae);
    return {
      ...reconstructionQuality(x, recon, sae.dIn), ...quality,
      ...dictionaryQuality(world.dictionary, weights.W_dec, alive, { dIn: sae.dIn, roots }),
    };
  } finally {
    sae.dispose();
  }
}
