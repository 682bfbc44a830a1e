/** What the TopK family is saved as: the threshold of a JumpReLU SAE, signs, groups; and which configurations it refuses. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { writeSaelensFolder } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { type BaseConfig, type InputTransform, SAE, saeConfig, tensorsFromWeights } from '../../src/sae/index.ts';
import { inferenceForm, Trainer, trainerConfig } from '../../src/training/index.ts';
import { nextThreshold } from '../oracle/batchtopk-sae.ts';
import { jumpreluRun } from '../oracle/jumprelu-sae.ts';
import { decoderNorms, encoderInput, preActivations, type Tensors } from '../oracle/linear.ts';
import { abstopkRun, groupmaxRun } from '../oracle/topk-sae.ts';
import { normals } from '../support/kernels.ts';
import { fails } from '../support/fails.ts';
import { freshSeed } from '../support/mutate.ts';
import { relativeDistance } from '../support/numbers.ts';
import { decidedFamilyFrames } from '../support/topk-family-problem.ts';
import { type LinearWeights, randomTopk } from '../support/topk-problem.ts';

const seed = freshSeed('topk family');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-topk-family-'));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => {
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

const dIn = 13, dSae = 72, rows = 40, k = 6;
const config = (fields: Record<string, unknown>): BaseConfig => saeConfig<BaseConfig & Record<string, unknown>>({ architecture: '', d_in: dIn, d_sae: dSae, k, ...fields });
const doubles = (weights: LinearWeights): Tensors => Object.fromEntries(Object.entries(weights).map(([name, tensor]) => [name, Float64Array.from(tensor)]));

function near(actual: ArrayLike<number>, expected: Float64Array, what: string): void {
  const distance = relativeDistance(Float64Array.from(actual), expected);
  assert.ok(distance <= 3e-6, `${what} deviates by ${distance.toExponential(2)}`);
}

/** Saves what was trained and loads it again. */
async function saved(sae: BaseConfig, weights: LinearWeights, input: InputTransform, threshold: number): Promise<SAE> {
  const path = join(folder, 'sae');
  const form = inferenceForm(sae, weights, input, {}, threshold);
  await writeSaelensFolder(path, { config: form.config, tensors: tensorsFromWeights(form.weights) });
  return SAE.load(gpu, path);
}

/** An SAE and the transform of its frames, of which raw ones lie far from the origin. */
function drawn(n: number) {
  const random = new RandomStream(seed, 1500, n);
  const weights = randomTopk(random, { dIn, dSae });
  const input: InputTransform = { mean: normals(random, dIn, 4), scale: Math.fround(0.3 + 3 * random.uniform()) };
  const see = (frames: Float32Array): Float64Array => Float64Array.from(frames, (value, at) => (value - input.mean[at % dIn]!) * input.scale);
  return { random, weights, input, see, raw: (out: Float64Array) => out.map((value, at) => value / input.scale + input.mean[at % dIn]!) };
}

const variants = [true, false].flatMap((rescale) => [true, false].map((applyBDec) => ({ rescale, applyBDec })));

describe('a batchtopk SAE saved as jumprelu keeps what exceeds its running threshold in training\'s units, on raw frames', () => {
  for (const [n, { rescale, applyBDec }] of variants.entries()) {
    test(`with rescale_acts_by_decoder_norm ${rescale} and apply_b_dec_to_input ${applyBDec}`, async () => {
      const { random, weights, input, see, raw } = drawn(n);
      const frames = normals(random, rows * dIn).map((value, at) => value / input.scale + input.mean[at % dIn]!), seen = see(frames);
      const shape = { dIn, dSae, applyBDecToInput: applyBDec, normalizeActivations: 'none' as const };
      const tensors = doubles(weights);
      const norms = rescale ? decoderNorms(tensors, shape) : new Float64Array(dSae).fill(1);
      const scores = preActivations(encoderInput(tensors, seen, shape).centred, tensors.W_enc!, tensors.b_enc!, shape).map((h, at) => h * norms[at % dSae]!).sort();
      // Between the two scores that lie furthest apart of those around the k rows-th.
      const candidates = Array.from({ length: 60 }, (_, j) => scores.length - k * rows - 30 + j);
      const at = candidates.reduce((best, j) => (scores[j]! - scores[j - 1]! > scores[best]! - scores[best - 1]! ? j : best));
      const threshold = (scores[at]! + scores[at - 1]!) / 2;
      const trained = jumpreluRun({ ...tensors, threshold: norms.map((norm) => threshold / norm) }, seen, shape);

      for (const architecture of ['batchtopk', 'matryoshka_batchtopk']) {
        const fields = { architecture, rescale_acts_by_decoder_norm: rescale, apply_b_dec_to_input: applyBDec, normalize_activations: 'expected_average_only_in' };
        const sae = await saved(config({ ...fields, ...(architecture === 'batchtopk' ? {} : { matryoshka_widths: [8, dSae] }) }), weights, input, threshold);
        assert.equal(sae.config.architecture, 'jumprelu');
        near(await sae.forward(frames), raw(trained.out), 'forward');
        const acts = await sae.encode(frames);
        assert.ok(acts.every((value, j) => (value > 0) === (trained.featureActs[j]! > 0)), 'other latents fire');
        near(acts, trained.featureActs.map((f, j) => (rescale ? (f * norms[j % dSae]!) / input.scale : f)), 'activations');
        sae.dispose();
      }
    });
  }
});

test('abstopk and groupmax are saved under their names and run as they were trained', async () => {
  for (const [n, { rescale, applyBDec }] of variants.entries()) {
    const { random, weights, input, see, raw } = drawn(10 + n);
    const shape = { dIn, dSae, k, applyBDecToInput: applyBDec, normalizeActivations: 'none' as const, rescaleActsByDecoderNorm: rescale };
    const fields = { rescale_acts_by_decoder_norm: rescale, apply_b_dec_to_input: applyBDec };
    for (const [name, own, run] of [['abstopk', { architecture: 'abstopk' }, abstopkRun], ['groupmax', { architecture: 'topk', activation: 'groupmax' }, groupmaxRun]] as const) {
      const sae = await saved(config({ ...fields, ...own }), weights, input, 0);
      assert.equal(sae.config.architecture, name);
      const frames = decidedFamilyFrames(random, { member: name, dIn, dSae, k, rescale, applyBDec, normalise: 'none', compatibility: 'corrected' }, weights, rows, { transform: see });
      const trained = run(doubles(weights), see(frames), shape);
      near(await sae.forward(frames), raw(trained.out), `${name}: forward`);
      const { recon, acts } = await sae.run(frames);
      near(recon, raw(trained.out), `${name}: reconstruction`);
      assert.deepEqual([...acts.indices], [...trained.featureActs.keys()].filter((at) => trained.featureActs[at] !== 0).map((at) => at % dSae));
      if (name === 'abstopk') assert.ok(acts.values.some((value) => value < 0) && acts.values.some((value) => value > 0), 'both signs');
      near(await sae.decode(await sae.encode(frames)), raw(trained.out), `${name}: decode`);
      sae.dispose();
    }
  }
});

test('the running threshold is that of the oracle, and makes an SAE about as sparse as training was', async () => {
  const { random, weights, input, see } = drawn(20);
  const frames = normals(random, rows * dIn).map((value, at) => value / input.scale + input.mean[at % dIn]!), seen = see(frames);
  const sae = config({ architecture: 'batchtopk', topk_threshold_lr: 0.3 });
  const trainer = await Trainer.create({ gpu, sae, training: trainerConfig({ train_batch_size_samples: rows, total_training_samples: rows * 30, lr: 1e-4 }), input, weights });
  let threshold = 0;
  for (let step = 0; step < 30; step++) {
    const tensors = doubles((await trainer.weights()) as LinearWeights);
    const shape = { dIn, dSae, applyBDecToInput: true, normalizeActivations: 'none' as const };
    const norms = decoderNorms(tensors, shape);
    const scores = preActivations(encoderInput(tensors, seen, shape).centred, tensors.W_enc!, tensors.b_enc!, shape).map((h, at) => h * norms[at % dSae]!).sort();
    threshold = nextThreshold(threshold, scores.slice(-k * rows), 0.3);
    trainer.train({ x: frames });
    const [metrics] = await trainer.metrics();
    assert.equal(metrics!.l0, k);
    assert.ok(Math.abs(metrics!.topkThreshold! - threshold) < 1e-5 * threshold, `step ${step}: ${metrics!.topkThreshold}, expected ${threshold}`);
  }
  const used = await saved(sae, (await trainer.weights()) as LinearWeights, input, trainer.threshold);
  const l0 = (await used.run(frames)).acts.indices.length / rows;
  assert.ok(Math.abs(l0 - k) < 0.05 * k, `L0 ${l0} with the threshold of training's ${k}`);
  used.dispose();
  trainer.dispose();
});

test('after few steps the threshold that is saved makes up for beginning at zero, as SAELens 6.18 does not', async () => {
  const { random, weights, input } = drawn(22);
  const frames = normals(random, rows * dIn).map((value, at) => value / input.scale + input.mean[at % dIn]!);
  const sae = config({ architecture: 'batchtopk', topk_threshold_lr: 0.01 });
  const training = trainerConfig({ train_batch_size_samples: rows, total_training_samples: rows * 30, lr: 1e-6 });
  for (const compatibility of ['corrected', 'saelens-6.18'] as const) {
    const trainer = await Trainer.create({ gpu, sae, training, input, weights, compatibility });
    for (let step = 0; step < 5; step++) trainer.train({ x: frames });
    await trainer.metrics();
    const used = await saved(sae, (await trainer.weights()) as LinearWeights, input, trainer.savedThreshold);
    const l0 = (await used.run(frames)).acts.indices.length / rows;
    if (compatibility === 'corrected') assert.ok(Math.abs(l0 - k) < 0.05 * k, `L0 ${l0}, in training ${k}`);
    else {
      assert.equal(trainer.savedThreshold, trainer.threshold);
      assert.ok(l0 > 1.2 * k, `L0 ${l0} with a twentieth of the threshold`);
    }
    used.dispose();
    trainer.dispose();
  }
});

test('values that do not go together are refused by name', () => {
  const refused = (fields: Record<string, unknown>, line: RegExp): void => {
    assert.throws(() => config(fields), (error: unknown) => error instanceof CochleaError && error.code === 'config' && line.test(error.line), String(line));
  };
  refused({ architecture: 'batchtopk', k: 73 }, /^k is 73: it must be at most d_sae \(72\)$/);
  refused({ architecture: 'topk', activation: 'groupmax', k: 7 }, /^k is 7: it must be a divisor of d_sae \(72\) with activation groupmax$/);
  refused({ architecture: 'topk', activation: 'groupmax', k_anneal_start: 12, k_anneal_steps: 9 }, /^k_anneal_start is 12: it must be null with activation groupmax/);
  refused({ architecture: 'topk', k_anneal_start: 5, k_anneal_steps: 9 }, /^k_anneal_start is 5: it must be from k \(6\) to d_sae \(72\)$/);
  refused({ architecture: 'abstopk', k_anneal_start: 9 }, /^k_anneal_steps is 0: it must be given together with k_anneal_start/);
  refused({ architecture: 'topk', k_anneal_steps: 9 }, /^k_anneal_steps is 9: it must be given together/);
  for (const widths of [[], [8, 8], [20, 8], [8, 73]]) refused({ architecture: 'matryoshka_batchtopk', matryoshka_widths: widths }, /^matryoshka_widths is \[.*\]: it must be one or more widths up to d_sae \(72\), each larger/);
  refused({ architecture: 'matryoshka_batchtopk', matryoshka_widths: Array.from({ length: 60 }, (_, n) => n + 1) }, /^matryoshka_widths is .*: it must be at most \d+ widths$/);
});

test('a k of which a batch keeps nothing is refused, whatever selects in batches', async () => {
  const create = (architecture: string, k: number, more: Record<string, unknown> = {}): Promise<Trainer> => (
    Trainer.create({ gpu, sae: config({ architecture, k, ...more }), training: trainerConfig({ train_batch_size_samples: 10, total_training_samples: 100 }) })
  );
  const before = gpu.allocatedBytes, line = /^k is 0\.09: it must be at least 1 \/ 10, so that a batch of 10 frames keeps a latent$/;
  await assert.rejects(create('batchtopk', 0.09), fails('config', line));
  for (const architecture of ['matryoshka_batchtopk', 'temporal_matryoshka_batchtopk']) await assert.rejects(create(architecture, 0.09, { matryoshka_widths: [8, 72] }), fails('config', line), architecture);
  await assert.rejects(create('batchtopk', 0.09, { k_anneal_start: 3, k_anneal_steps: 4 }), fails('config', line));
  (await create('batchtopk', 0.1)).dispose();
  assert.equal(gpu.allocatedBytes, before);
});
