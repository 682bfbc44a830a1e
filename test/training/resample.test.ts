/** Dead latents that begin anew. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream, streams } from '../../src/random.ts';
import { type BaseConfig, trainedArchitectures, type Weights } from '../../src/sae/index.ts';
import { Trainer, type TrainerConfig, trainerConfig, type TrainerState } from '../../src/training/index.ts';
import { drawWithoutReplacement } from '../../src/training/resample.ts';
import type { Tensors } from '../oracle/linear.ts';
import { rowNorms } from '../oracle/matrix.ts';
import { topkRun } from '../oracle/topk-sae.ts';
import { freshSeed } from '../support/mutate.ts';
import { normals } from '../support/numbers.ts';
import { smallSae } from '../support/small-sae.ts';

const seed = freshSeed('resampling');
const dIn = 6, dOut = 4, dSae = 40, batch = 32, window = 2;
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.dispose());

const training = (fields: Partial<TrainerConfig> = {}): TrainerConfig => (
  trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 100, lr: 0, seed, dead_feature_window: window, resample_steps: [4], ...fields })
);
const small = (name: string, fields: Partial<BaseConfig> = {}): BaseConfig => smallSae(name, { d_in: dIn, d_sae: dSae, ...fields }, dOut);
const input = { mean: Float32Array.of(1, -1, 0, 0.5, 0, 2), scale: 0.7 };

/** TopK weights of which the latents from `alive` on never fire. */
function halfSilent(alive: number): Weights {
  const random = new RandomStream(seed, 1620);
  const draw = (n: number, scale: number): Float32Array => new Float32Array(normals(random, n, scale));
  return {
    W_enc: draw(dSae * dIn, 0.5), W_dec: draw(dSae * dIn, 0.4), b_dec: draw(dIn, 0.3), b_enc: Float32Array.from({ length: dSae }, (_, i) => (i < alive ? 2 : -99)),
  };
}

const batches = (random: RandomStream, count: number) => Array.from({ length: count }, () => {
  const draw = (width: number): Float32Array => new Float32Array(normals(random, batch * width));
  return { x: draw(dIn), target: draw(dOut), previous: draw(dIn) };
});

/** The state after the step of resampling, and the same without it. */
async function beforeAndAfter(sae: BaseConfig, fields: Partial<TrainerConfig>, weights: Weights | undefined, transform: Parameters<typeof Trainer.create>[0]['input'], count = 4) {
  const data = batches(new RandomStream(seed, 1621), count);
  const trainer = await Trainer.create({ gpu, sae, training: training(fields), input: transform!, ...(weights ? { weights } : {}) });
  for (const one of data.slice(0, -1)) {
    trainer.train(one);
    assert.equal(trainer.resamplingIsDue, false);
  }
  trainer.train(data.at(-1)!);
  assert.equal(trainer.resamplingIsDue, true);
  await trainer.metrics();
  const old = await trainer.state();
  const resampled = await trainer.resample(data.at(-1)!);
  return { trainer, old, resampled, fresh: await trainer.state(), last: data.at(-1)! };
}

const floats = (state: TrainerState, name: string): Float64Array => Float64Array.from(state.tensors.get(name) as Float32Array);
const rowOf = (matrix: ArrayLike<number>, i: number, columns: number): number[] => Array.from({ length: columns }, (_, d) => matrix[i * columns + d]!);

describe('a TopK SAE of which five latents are alive', () => {
  const alive = 5;
  test('gets its dead rows from frames drawn by |e|^4, less b_dec, in the lengths of the paper, and keeps the rest', async () => {
    const sae = small('topk', { k: alive } as never);
    const weights = halfSilent(alive);
    const { trainer, old, resampled, fresh, last } = await beforeAndAfter(sae, {}, weights, input);
    assert.equal(resampled, batch, 'one for each frame of the batch, and fewer than are dead');
    const aliveNorm = (name: string): number => rowNorms(floats(old, name).subarray(0, alive * dIn), alive, dIn).reduce((sum, norm) => sum + norm / alive, 0);
    const seen = Float64Array.from(last.x, (value, at) => (value - input.mean[at % dIn]!) * input.scale - weights.b_dec[at % dIn]!);
    const doubles: Tensors = Object.fromEntries(Object.entries(weights).map(([name, tensor]: [string, Float32Array]) => [name, Float64Array.from(tensor)]));
    const t = Float64Array.from(last.x, (value, at) => (value - input.mean[at % dIn]!) * input.scale);
    const { out } = topkRun(doubles, t, { dIn, dSae, k: alive, applyBDecToInput: true, normalizeActivations: 'none', rescaleActsByDecoderNorm: true });
    const errors = Float64Array.from({ length: batch }, (_, row) => rowOf(t, row, dIn).reduce((sum, value, d) => sum + (value - out[row * dIn + d]!) ** 2, 0));
    const drawnBy = (chances: Float64Array): number[] => drawWithoutReplacement(chances, dSae - alive, new RandomStream(seed, streams.resampling, 4));
    const expected = drawnBy(errors.map((error) => error ** 2));
    assert.notDeepEqual(expected, drawnBy(errors));
    const taken: number[] = [];
    for (let i = 0; i < dSae; i++) {
      const isNew = i >= alive && i < alive + batch;
      const [enc, dec] = [rowOf(floats(fresh, 'W_enc'), i, dIn), rowOf(floats(fresh, 'W_dec'), i, dIn)];
      if (!isNew) {
        for (const [name, tensor] of fresh.tensors) {
          const columns = tensor.length / dSae;
          if (Number.isInteger(columns) && !name.endsWith('b_dec')) assert.deepEqual(rowOf(tensor, i, columns), rowOf(old.tensors.get(name)!, i, columns), `${name} of latent ${i}`);
        }
        continue;
      }
      const frame = Array.from({ length: batch }, (_, row) => row).find((row) => {
        const x = rowOf(seen, row, dIn), length = Math.hypot(...x);
        return x.every((value, d) => Math.abs(dec[d]! - (value / length) * aliveNorm('W_dec')) < 1e-5 && Math.abs(enc[d]! - (value / length) * 0.2 * aliveNorm('W_enc')) < 1e-5);
      });
      assert.ok(frame !== undefined, `latent ${i} follows no frame`);
      taken.push(frame);
      assert.equal((fresh.tensors.get('b_enc') as Float32Array)[i], 0);
      assert.equal((fresh.tensors.get('since') as Uint32Array)[i], 0);
      for (const name of ['m.W_enc', 'v.W_enc', 'm.W_dec', 'v.W_dec', 'm.b_enc', 'v.b_enc']) {
        const columns = fresh.tensors.get(name)!.length / dSae;
        assert.ok(rowOf(fresh.tensors.get(name)!, i, columns).every((value) => value === 0), `${name} of latent ${i}`);
      }
    }
    assert.deepEqual(taken, expected);
    for (const name of ['b_dec', 'm.b_dec', 'v.b_dec', 'fired']) assert.deepEqual(fresh.tensors.get(name), old.tensors.get(name), name);
    trainer.dispose();
  });

  test('has no dead latent in the next step but those that got no frame, and goes on from its state to the same bits', async () => {
    const sae = small('topk', { k: alive } as never);
    const { trainer, fresh } = await beforeAndAfter(sae, { lr: 1e-2 }, halfSilent(alive), input);
    const again = await Trainer.create({ gpu, sae, training: training({ lr: 1e-2 }), input });
    again.restore(fresh);
    assert.equal(again.resamplingIsDue, true, 'the state is that after resampling; whoever restores it trains on');
    for (const one of batches(new RandomStream(seed, 1622), 3)) {
      trainer.train(one);
      again.train(one);
    }
    const metrics = await trainer.metrics();
    assert.deepEqual(await again.metrics(), metrics);
    assert.equal(metrics[0]!.dead, dSae - alive - batch);
    const [a, b] = [await trainer.state(), await again.state()];
    for (const [name, tensor] of a.tensors) assert.deepEqual(b.tensors.get(name), tensor, name);
    trainer.dispose();
    again.dispose();
  });
});

test('unit rows stay unit rows', async () => {
  const { trainer, fresh, resampled } = await beforeAndAfter(small('topk', { k: 3, decoder_init_norm: 1 } as never), { unit_norm_decoder: true }, halfSilent(5), input);
  assert.equal(resampled, batch);
  for (let i = 5; i < 5 + batch; i++) assert.ok(Math.abs(Math.hypot(...rowOf(floats(fresh, 'W_dec'), i, dIn)) - 1) < 1e-6);
  trainer.dispose();
});

test('without dead latents nothing changes; without alive ones the lengths are those of all', async () => {
  for (const [name, alive] of [['topk', dSae], ['topk', 0]] as const) {
    const { trainer, old, resampled, fresh } = await beforeAndAfter(small(name, { k: dSae } as never), {}, halfSilent(alive), input);
    assert.equal(resampled, alive === 0 ? batch : 0);
    if (alive > 0) assert.deepEqual(fresh.tensors, old.tensors);
    else {
      const mean = rowNorms(floats(old, 'W_dec'), dSae, dIn).reduce((sum, norm) => sum + norm / dSae, 0);
      assert.ok(Math.abs(Math.hypot(...rowOf(floats(fresh, 'W_dec'), 0, dIn)) - mean) < 1e-5);
    }
    trainer.dispose();
  }
});

for (const name of trainedArchitectures) {
  test(`${name}: every parameter of a latent begins anew as at the start, and training goes on`, async () => {
    const sae = small(name);
    const target = { mean: Float32Array.of(1, 0, 2, 0), scale: 0.5 };
    const transform = { ...input, target };
    const drawn = await Trainer.create({ gpu, sae, training: training(), input: transform });
    const initial = await drawn.weights();
    drawn.dispose();
    // Counters say that latents 3 and 17 are dead, whatever fired.
    const data = batches(new RandomStream(seed, 1623), 6);
    const trainer = await Trainer.create({ gpu, sae, training: training({ lr: 1e-2, resample_steps: [3] }), input: transform });
    for (const one of data.slice(0, 3)) trainer.train(one);
    await trainer.metrics();
    const old = await trainer.state();
    const since = (old.tensors.get('since') as Uint32Array).fill(0);
    since[3] = since[17] = 9;
    trainer.restore(old);
    assert.equal(await trainer.resample(data[2]!), 2);
    const fresh = await trainer.state();
    const latents = [3, 17];
    for (const { name: parameter, value } of trainer.form.parameters) {
      const columns = (fresh.tensors.get(parameter)!.length) / dSae;
      if (parameter === 'b_dec' || parameter === 'W_skip') {
        assert.deepEqual(fresh.tensors.get(parameter), old.tensors.get(parameter), parameter);
        continue;
      }
      for (const i of latents) {
        const row = rowOf(fresh.tensors.get(parameter)!, i, columns);
        if (value.rows === 1) assert.deepEqual(row, rowOf(initial[parameter]!, i, 1), `${parameter} of latent ${i}`);
        else assert.notDeepEqual(row, rowOf(old.tensors.get(parameter)!, i, columns), `${parameter} of latent ${i}`);
        for (const moment of ['m', 'v']) assert.ok(rowOf(fresh.tensors.get(`${moment}.${parameter}`)!, i, columns).every((number) => number === 0), `${moment}.${parameter}`);
      }
    }
    if (trainer.input.target && name.includes('transcoder')) {
      // The decoder's rows point along targets less b_dec, not along frames.
      const { b_dec } = await trainer.weights();
      const aims = Array.from({ length: batch }, (_, b) => rowOf(data[2]!.target, b, dOut).map((value, d) => (value - target.mean[d]!) * target.scale - b_dec[d]!));
      const unit = (vector: number[]): number[] => vector.map((value) => value / Math.hypot(...vector));
      for (const i of latents) {
        const row = unit(rowOf(floats(fresh, 'W_dec'), i, dOut));
        assert.ok(aims.map(unit).some((aim) => aim.every((value, d) => Math.abs(value - row[d]!) < 1e-4)), `W_dec of latent ${i}`);
      }
    }
    for (const one of data.slice(3)) trainer.train(one);
    for (const { overallLoss } of await trainer.metrics()) assert.ok(Number.isFinite(overallLoss));
    trainer.dispose();
  });
}

test('drawing without replacement gives each index once, none of weight zero, and the first by its weight', () => {
  const weights = Float64Array.of(3, 0, 1, 6, 0, 1e-9);
  const first = new Float64Array(weights.length);
  const draws = 20_000;
  for (let n = 0; n < draws; n++) {
    const drawn = drawWithoutReplacement(weights, 10, new RandomStream(seed + n, streams.resampling));
    assert.deepEqual([...drawn].sort(), [0, 2, 3, 5]);
    first[drawn[0]!]!++;
  }
  for (const [index, weight] of weights.entries()) {
    const p = weight / 10, sd = Math.sqrt(draws * p * (1 - p));
    assert.ok(Math.abs(first[index]! - draws * p) <= 5 * sd + 1e-9 + (p > 0 && p < 1e-6 ? 1 : 0), `index ${index}: ${first[index]} of ${draws * p}`);
  }
  assert.deepEqual(drawWithoutReplacement(new Float64Array(3), 2, new RandomStream(seed, streams.resampling)), []);
  assert.deepEqual(drawWithoutReplacement(Float64Array.of(1, NaN), 2, new RandomStream(seed, streams.resampling)), []);
});
