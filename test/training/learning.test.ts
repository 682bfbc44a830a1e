/** Training makes an SAE that explains the frames: on data whose dictionary is known. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTensorSource } from '../../src/activations/index.ts';
import { evaluate } from '../../src/evaluation/index.ts';
import { writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { SAE, topkConfig } from '../../src/sae/index.ts';
import { inferenceForm, inputTransform, Trainer, trainerConfig, trainRun } from '../../src/training/index.ts';
import { freshSeed } from '../support/mutate.ts';
import { plantedDirections, plantedFrames } from '../support/planted.ts';

/** How many directions have a decoder row (of length one) with a cosine above 0.95. */
function recovered(directions: Float64Array, W_dec: Float32Array, dIn: number): number {
  const cosine = (f: number, i: number): number => directions.subarray(f * dIn, (f + 1) * dIn).reduce((sum, value, d) => sum + value * W_dec[i * dIn + d]!, 0);
  const all = (matrix: ArrayLike<number>): number[] => Array.from({ length: matrix.length / dIn }, (_, n) => n);
  return all(directions).filter((f) => Math.max(...all(W_dec).map((i) => cosine(f, i))) > 0.95).length;
}

test('an SAE learns a planted dictionary, and an untrained one has not', async (t) => {
  const seed = freshSeed('learning');
  const world = { seed, dIn: 16, features: 24, active: 2 };
  const folder = mkdtempSync(join(tmpdir(), 'cochlea-learning-'));
  const gpu = await Gpu.open();
  try {
    const frames = plantedFrames(world, 8192 + 2048);
    const split = 8192 * world.dIn;
    for (const [name, x] of [['train', frames.subarray(0, split)], ['held-out', frames.subarray(split)]] as const) {
      await writeSafetensors(join(folder, `${name}.safetensors`), [{ name: 'x', dtype: 'F32', shape: [x.length / world.dIn, world.dIn], data: x }]);
    }
    const source = await openTensorSource(join(folder, 'train.safetensors'));
    const sae = topkConfig({ d_in: world.dIn, d_sae: 64, k: world.active, normalize_activations: 'expected_average_only_in' });
    const training = trainerConfig({
      train_batch_size_samples: 256, total_training_samples: 256 * 250, lr: 6e-3, lr_warm_up_steps: 10, lr_decay_steps: 50, dead_feature_window: 40, seed,
    });
    const { final } = await trainRun({ gpu, source, out: join(folder, 'sae'), sae, training, centre: true, bufferRows: 8192, shuffle: true });
    const blank = await Trainer.create({ gpu, sae, training, input: await inputTransform(source, sae, true) });
    const untrainedForm = inferenceForm(sae, await blank.weights(), blank.input, {});
    const heldOut = await openTensorSource(join(folder, 'held-out.safetensors'));
    const trainedSae = await SAE.load(gpu, join(folder, 'sae'));
    const score = async (one: SAE): Promise<{ ev: number; l0: number }> => {
      const { metrics } = await evaluate(one, heldOut.chunks({ seed: 0, epoch: undefined, from: 0 }), { resamples: 0 });
      return { ev: metrics.explained_variance.value!, l0: metrics.l0.value! };
    };
    const trained = await score(trainedSae);
    const untrained = await score(await SAE.create(gpu, untrainedForm.config, untrainedForm.weights));
    const found = recovered(plantedDirections(world).subarray(0, world.features * world.dIn), trainedSae.weights.W_dec, world.dIn);
    t.diagnostic?.(`${found} of ${world.features} directions found, explained variance ${trained.ev.toFixed(4)} held out, ${final.explainedVariance.toFixed(4)} in the last batch, untrained ${untrained.ev.toFixed(4)}`);
    assert.ok(found >= 0.75 * world.features, `${found} of ${world.features} directions found`);
    assert.ok(trained.ev > 0.85, `explained variance ${trained.ev}`);
    assert.ok(untrained.ev < 0.35, `untrained ${untrained.ev}`);
    assert.ok(Math.abs(trained.ev - final.explainedVariance) < 0.05, 'held-out frames are of the same world');
    assert.ok(trained.l0 <= world.active);
    await source.close();
    await heldOut.close();
  } finally {
    gpu.dispose();
    rmSync(folder, { recursive: true });
  }
});
