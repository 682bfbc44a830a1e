/** From the SAE that was trained on (x - mean) scale to the one that is saved and takes raw frames. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readSaelensFolder, writeSaelensFolder } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { type InputTransform, SAE, tensorsFromWeights, topkConfig, type Weights } from '../../src/sae/index.ts';
import { inferenceForm } from '../../src/training/index.ts';
import { foldCentreScale, foldDecoderNorms } from '../oracle/folding.ts';
import type { Tensors } from '../oracle/linear.ts';
import { topkRun } from '../oracle/topk-sae.ts';
import { normals } from '../support/kernels.ts';
import { freshSeed } from '../support/mutate.ts';
import { relativeDistance } from '../support/numbers.ts';
import { decidedFrames, type Problem, randomTopk } from '../support/topk-problem.ts';

const seed = freshSeed('export');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-export-'));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => {
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

const rows = 40;
const shapes = [true, false].flatMap((applyBDec) => [true, false].map((rescale): Problem => (
  { dIn: 13, dSae: 70, k: 6, rescale, applyBDec, normalise: 'none', compatibility: 'corrected' })));

const doubles = (weights: Weights): Tensors => Object.fromEntries(Object.entries(weights).map(([name, tensor]: [string, Float32Array]) => [name, Float64Array.from(tensor)]));

function near(actual: ArrayLike<number>, expected: Float64Array, tolerance: number, what: string): void {
  const distance = relativeDistance(Float64Array.from(actual), expected);
  assert.ok(distance <= tolerance, `${what} deviates by ${distance.toExponential(2)}`);
}

describe('the saved SAE gives on raw frames what the trained one gives on centred and scaled ones', () => {
  for (const [n, shape] of shapes.entries()) {
    test(`with apply_b_dec_to_input ${shape.applyBDec} and rescale_acts_by_decoder_norm ${shape.rescale}`, async () => {
      const { dIn, dSae, k, rescale, applyBDec } = shape;
      const random = new RandomStream(seed, 1400, n);
      const weights = randomTopk(random, shape);
      // Frames lie far from the origin, as those of real models do.
      const input: InputTransform = { mean: normals(random, dIn, 4), scale: Math.fround(0.3 + 3 * random.uniform()) };
      const transform = (frame: Float32Array): Float64Array => Float64Array.from(frame, (value, d) => (value - input.mean[d % dIn]!) * input.scale);
      const x = decidedFrames(random, shape, weights, rows, transform);
      const trained = topkRun(doubles(weights), transform(x), { dIn, dSae, k, applyBDecToInput: applyBDec, normalizeActivations: 'none', rescaleActsByDecoderNorm: rescale });
      const expected = trained.out.map((value, i) => value / input.scale + input.mean[i % dIn]!);

      const config = topkConfig({
        d_in: dIn, d_sae: dSae, k, apply_b_dec_to_input: applyBDec, rescale_acts_by_decoder_norm: rescale, normalize_activations: 'expected_average_only_in',
      });
      const form = inferenceForm(config, weights, input, { note: 'kept' });
      assert.equal(form.config.normalize_activations, 'none');
      const path = join(folder, `sae-${n}`);
      await writeSaelensFolder(path, { config: form.config, tensors: tensorsFromWeights(form.weights) });
      const folderRead = await readSaelensFolder(path);
      assert.deepEqual([folderRead.form, folderRead.config.metadata['note']], ['inference', 'kept']);
      const sae = await SAE.load(gpu, path);
      near(await sae.forward(x), expected, 3e-6, 'forward');
      const acts = await sae.encode(x);
      // Folded norms make activations those of unit decoder rows in the units of the raw frames.
      near(acts, rescale ? trained.featureActs.map((value) => value / input.scale) : trained.featureActs, 3e-6, 'activations');
      assert.ok(acts.every((value, i) => (value > 0) === (trained.featureActs[i]! > 0)), 'other latents fire');
      near(await sae.decode(acts), expected, 3e-6, 'decode');
      sae.dispose();

      const centred = foldCentreScale(doubles(weights), { mean: Float64Array.from(input.mean), scale: input.scale, applyBDecToInput: applyBDec });
      const folded = rescale ? foldDecoderNorms(centred, dIn) : centred;
      for (const [name, tensor] of Object.entries(form.weights) as [string, Float32Array][]) near(tensor, folded[name]!, 2e-7, name);
      if (!rescale) return;
      for (let i = 0; i < dSae; i++) {
        const norm = Math.hypot(...form.weights.W_dec.subarray(i * dIn, (i + 1) * dIn));
        assert.ok(Math.abs(norm - 1) < 1e-6, `decoder row ${i} has length ${norm}`);
      }
    });
  }
});

test('without centre and scale the weights are saved bit for bit, and row normalisations stay', () => {
  const weights = randomTopk(new RandomStream(seed, 1401), { dIn: 5, dSae: 9 });
  for (const normalize of ['none', 'constant_norm_rescale', 'layer_norm'] as const) {
    const config = topkConfig({ d_in: 5, d_sae: 9, k: 2, rescale_acts_by_decoder_norm: false, normalize_activations: normalize });
    const form = inferenceForm(config, weights, { mean: new Float32Array(5), scale: 1 }, {});
    assert.deepEqual(form.weights, weights);
    assert.equal(form.config.normalize_activations, normalize);
    assert.ok(!('decoder_init_norm' in form.config) && !('aux_loss_coefficient' in form.config), 'fields of training stay behind');
  }
});

test('a decoder row of zeros stays one', () => {
  const weights = randomTopk(new RandomStream(seed, 1402), { dIn: 5, dSae: 9 });
  weights.W_dec.fill(0, 10, 15);
  const form = inferenceForm(topkConfig({ d_in: 5, d_sae: 9, k: 2 }), weights, { mean: new Float32Array(5).fill(1), scale: 2 }, {});
  assert.ok(Object.values(form.weights).every((tensor: Float32Array) => tensor.every(Number.isFinite)));
  assert.ok(form.weights.W_dec.subarray(10, 15).every((value) => value === 0));
});
