/** The trainer itself: what it keeps, what it refuses, what it does with numbers that are none. Its mathematics is checked in test/kernels and test/conformance. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { saeConfig, topkConfig, trainedArchitectures, type Weights } from '../../src/sae/index.ts';
import { type StepMetrics, Trainer, type TrainerConfig, trainerConfig, type TrainerState } from '../../src/training/index.ts';
import { freshSeed } from '../support/mutate.ts';
import { plantedFrames } from '../support/planted.ts';
import { smallSae } from '../support/small-sae.ts';

const dIn = 6, dSae = 40, batch = 16;
const sae = topkConfig({ d_in: dIn, d_sae: dSae, k: 3 });
const seed = freshSeed('trainer');

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.dispose());

function config(fields: Partial<TrainerConfig>): TrainerConfig {
  return trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 1000, lr: 3e-3, seed, ...fields });
}

const frames = plantedFrames({ seed, dIn, features: 12, active: 2 }, 100 * batch);
const batchOf = (step: number): Float32Array => frames.slice(step * batch * dIn, (step + 1) * batch * dIn);

/** Every tensor of a state as bits, and the counts beside them. */
function bits({ tensors, ...counts }: TrainerState): Record<string, unknown> {
  return { ...counts, ...Object.fromEntries([...tensors].map(([name, tensor]) => [name, [...new Uint32Array(tensor.buffer)]])) };
}

test('a trainer that goes on from a state leaves the bits and the metrics of one that never stopped', async () => {
  // Before and behind the first dead latents (step 5) and the end of a sampling window (step 4), and before the end of the ring of metrics (step 64).
  const training = config({ dead_feature_window: 3, feature_sampling_window: 4, lr_warm_up_steps: 3 });
  const steps = 66, stops = [3, 5, 63];
  const input = { mean: frames.slice(0, dIn), scale: 1.25 };
  const whole = await Trainer.create({ gpu, sae, training, input });
  const states = new Map<number, TrainerState>();
  const metrics: StepMetrics[] = [];
  for (let step = 0; step < steps; step++) {
    if (stops.includes(step)) states.set(step, await whole.state());
    whole.train({ x: batchOf(step) });
    metrics.push(...await whole.metrics());
  }
  const end = { state: bits(await whole.state()), firings: await whole.firings() };
  whole.dispose();
  assert.ok(metrics.some(({ dead }) => dead > 0) && metrics.some(({ losses }) => losses['auxiliary_reconstruction_loss']! > 0), 'no latent ever died');

  for (const [step, state] of states) {
    const again = await Trainer.create({ gpu, sae, training: { ...training, seed: seed + 1 }, input });
    again.restore(state);
    assert.equal(again.step, step);
    const found: StepMetrics[] = [];
    for (let t = step; t < steps; t++) {
      again.train({ x: batchOf(t) });
      if (again.unread === 7 || t === steps - 1) found.push(...await again.metrics());
    }
    assert.deepEqual(found, metrics.slice(step), `metrics after step ${step}`);
    assert.deepEqual({ state: bits(await again.state()), firings: await again.firings() }, end, `state after step ${step}`);
    again.dispose();
  }
});

test('metrics that are read side by side move the running threshold in the order of their steps', async () => {
  const fields = { architecture: 'batchtopk', d_in: dIn, d_sae: dSae, k: 3 } as const;
  const thresholds = async (late: boolean): Promise<(number | undefined)[]> => {
    const trainer = await Trainer.create({ gpu, sae: saeConfig(fields), training: config({}) }), download = gpu.downloadFloats;
    const readings: Promise<StepMetrics[]>[] = [];
    for (let step = 0; step < 6; step++) {
      trainer.train({ x: batchOf(step) });
      // Of every two downloads the first ends last.
      if (late) gpu.downloadFloats = async (tensor) => {
        const numbers = await download.call(gpu, tensor);
        if (step % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 50));
        return numbers;
      };
      readings.push(trainer.metrics());
      gpu.downloadFloats = download;
    }
    const found = (await Promise.all(readings)).flat().map(({ topkThreshold }) => topkThreshold);
    trainer.dispose();
    return found;
  };
  assert.deepEqual(await thresholds(true), await thresholds(false));
});

test('a state of another size is refused', async () => {
  const small = await Trainer.create({ gpu, sae: topkConfig({ ...sae, d_sae: 39 }), training: config({}) });
  const state = await small.state();
  small.dispose();
  const trainer = await Trainer.create({ gpu, sae, training: config({}) });
  assert.throws(() => trainer.restore(state), (error: CochleaError) => error.code === 'file-damaged' && /the checkpoint's \w+ does not have \d+ numbers/.test(error.message));
  trainer.dispose();
});

/** Weights whose latents from `alive` on never fire. */
function halfSilent(alive: number): Weights {
  const W = Float32Array.from({ length: dSae * dIn }, (_, i) => (Math.floor(i / dIn) < alive && i % dIn === Math.floor(i / dIn) % dIn ? 1 : 0));
  return { W_enc: W, W_dec: W.map((value) => value * 0.5 + 0.1), b_enc: Float32Array.from({ length: dSae }, (_, i) => (i < alive ? 2 : -5)), b_dec: new Float32Array(dIn) };
}

test('a latent that was silent for more steps than the window is dead, and not one step earlier', async () => {
  for (const window of [1, 4]) {
    // lr 0: nothing but the counters changes. Only 3 latents can fire, and with k = 3 all of them do.
    const trainer = await Trainer.create({ gpu, sae, training: config({ dead_feature_window: window, lr: 0 }), weights: halfSilent(3) });
    for (let step = 0; step < window + 4; step++) trainer.train({ x: batchOf(step) });
    const metrics = await trainer.metrics();
    const silent = dSae - 3;
    // Steps are counted from 1: at the start of step s a silent latent has been silent for s - 1 steps.
    assert.deepEqual(metrics.map(({ step, dead }) => [step, dead]), metrics.map(({ step }) => [step, step - 1 > window ? silent : 0]));
    assert.deepEqual(metrics.map(({ losses }) => losses['auxiliary_reconstruction_loss']! > 0), metrics.map(({ dead }) => dead > 0));
    assert.deepEqual(metrics.map(({ meanPassesSinceFired }) => meanPassesSinceFired), metrics.map(({ step }) => Math.fround(step * silent) / dSae));
    trainer.dispose();
  }
});

test('a dead latent that fires again is not dead in the next step', async () => {
  const weights = halfSilent(3);
  const trainer = await Trainer.create({ gpu, sae, training: config({ dead_feature_window: 2, lr: 0 }), weights });
  for (let step = 0; step < 4; step++) trainer.train({ x: batchOf(step) });
  // Latent 7 hears nothing but a direction in which only this batch lies.
  const state = await trainer.state();
  const W_enc = state.tensors.get('W_enc') as Float32Array;
  W_enc[7 * dIn + 1] = 1;
  trainer.restore({ ...state, tensors: new Map(state.tensors).set('W_enc', W_enc) });
  const loud = new Float32Array(batch * dIn);
  for (let row = 0; row < batch; row++) loud[row * dIn + 1] = 100;
  trainer.train({ x: loud });
  trainer.train({ x: batchOf(5) });
  trainer.train({ x: batchOf(6) });
  assert.deepEqual((await trainer.metrics()).map(({ step, dead }) => [step, dead]), [[5, dSae - 3], [6, dSae - 4], [7, dSae - 4]]);
  trainer.dispose();
});

test('the GPU keeps the metrics of 64 steps, and no step is trained that would lose one', async () => {
  const tiny = topkConfig({ d_in: 2, d_sae: 4, k: 1 });
  const training = trainerConfig({ train_batch_size_samples: 2, total_training_samples: 1000 });
  const x = (step: number): Float32Array => Float32Array.of(1, step, -step, 2);
  const one = await Trainer.create({ gpu, sae: tiny, training });
  const expected: StepMetrics[] = [];
  for (let step = 0; step < 70; step++) {
    one.train({ x: x(step) });
    expected.push(...await one.metrics());
  }
  const trainer = await Trainer.create({ gpu, sae: tiny, training });
  for (let step = 0; step < 64; step++) trainer.train({ x: x(step) });
  assert.equal(trainer.unread, 64);
  assert.throws(() => trainer.train({ x: x(64) }), /^CochleaError: 64 steps were trained without reading their metrics/);
  const found = await trainer.metrics();
  for (let step = 64; step < 70; step++) trainer.train({ x: x(step) });
  found.push(...await trainer.metrics());
  assert.deepEqual(found, expected);
  assert.deepEqual(await trainer.metrics(), []);
  one.dispose();
  trainer.dispose();
});

test('metrics are those of the steps before the call, though more are trained before it is awaited', async () => {
  const trainer = await Trainer.create({ gpu, sae, training: config({}) });
  trainer.train({ x: batchOf(0) });
  trainer.train({ x: batchOf(1) });
  const pending = trainer.metrics();
  trainer.train({ x: batchOf(2) });
  assert.deepEqual((await pending).map(({ step }) => step), [1, 2]);
  assert.deepEqual((await trainer.metrics()).map(({ step }) => step), [3]);
  trainer.dispose();
});

test('a batch with NaN, infinity or numbers that overflow is reported with its step', async () => {
  for (const value of [NaN, Infinity, -Infinity, 3e38]) {
    const trainer = await Trainer.create({ gpu, sae, training: config({}) });
    for (let step = 0; step < 5; step++) {
      const x = batchOf(step);
      if (step === 2) x[4 * dIn + 1] = value;
      trainer.train({ x });
    }
    await assert.rejects(trainer.metrics(), (error: CochleaError) => error.code === 'not-finite' && /^step 3: the loss, a gradient or a pre-activation is NaN or infinite$/.test(error.message), String(value));
    trainer.dispose();
  }
});

test('a frame beyond float16 is reported where the encoder rounds to it, in every architecture, and trained on elsewhere', async (t) => {
  if (!gpu.features.includes('shader-f16')) return t.skip('the adapter has no shader-f16');
  const x = batchOf(0);
  x[4 * dIn + 1] = 7e4;
  try {
    for (const name of trainedArchitectures) {
      for (const variant of ['wide', 'wide_f16']) {
        gpu.variants.clear();
        gpu.variants.set('encode', variant);
        const trainer = await Trainer.create({ gpu, sae: smallSae(name, { d_in: dIn, d_sae: dSae }, dIn), training: config({}) });
        trainer.train({ x, target: batchOf(1), previous: batchOf(1) });
        const reported = await trainer.metrics().then(() => false, ({ code }: CochleaError) => code === 'not-finite');
        trainer.dispose();
        assert.equal(reported, variant === 'wide_f16' && name !== 'matching_pursuit', `${name} with ${variant}`);
      }
    }
  } finally {
    gpu.variants.clear();
  }
});

test('a batch that is no whole rows, too large or empty is refused; a smaller one is trained', async () => {
  const trainer = await Trainer.create({ gpu, sae, training: config({}) });
  for (const length of [0, dIn - 1, dIn * batch + 1, dIn * (batch + 1)]) {
    assert.throws(() => trainer.train({ x: new Float32Array(length) }), (error: CochleaError) => error.code === 'config' && error.message.includes(`a batch of ${length} numbers is not 1 to 16 rows of d_in 6`));
  }
  trainer.train({ x: batchOf(0).slice(0, 5 * dIn) });
  const [metrics] = await trainer.metrics();
  assert.ok(metrics!.losses['mse_loss']! > 0 && metrics!.l0 > 0 && metrics!.l0 <= 3);
  trainer.dispose();
});

test('what does not fit the adapter is refused before the first step, with what was asked for', async () => {
  const small = await Gpu.open({ maxBindingBytes: 65_536 });
  const wide = topkConfig({ ...sae, d_in: 600 });
  await assert.rejects(Trainer.create({ gpu: small, sae: wide, training: config({}) }), (error: CochleaError) => error.code === 'gpu-memory' && /latents of d_in 600 need \d+ bytes in one binding; this adapter binds at most 65536/.test(error.message));
  small.dispose();
});
