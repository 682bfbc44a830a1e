/** Weights between files, host and GPU layout, and what is folded into them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { RandomStream } from '../../src/random.ts';
import { foldDecoderNorms, foldInputTransform, tensorsFromWeights, transpose, type Weights, weightsFromTensors } from '../../src/sae/index.ts';
import * as oracle from '../oracle/folding.ts';
import { jumpreluRun } from '../oracle/jumprelu-sae.ts';
import type { Tensors } from '../oracle/linear.ts';
import { normals } from '../support/kernels.ts';
import { freshSeed } from '../support/mutate.ts';
import { randomTopk } from '../support/topk-problem.ts';

const seed = freshSeed('weights');
const doubles = (weights: Weights): Tensors => Object.fromEntries(Object.entries(weights).map(([name, tensor]: [string, Float32Array]) => [name, Float64Array.from(tensor)]));

/** Every element is the oracle's rounded once, or next to it. */
function near(actual: Weights, expected: Tensors): void {
  assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort());
  for (const [name, tensor] of Object.entries(actual) as [string, Float32Array][]) {
    tensor.forEach((value, i) => assert.ok(Math.abs(value - expected[name]![i]!) <= 2 ** -23 * Math.abs(expected[name]![i]!), `${name}[${i}] is ${value}, not ${expected[name]![i]}`));
  }
}

test('transposition puts every element in its place, whatever the shape', () => {
  for (const [rows, columns] of [[1, 1], [1, 70], [70, 1], [31, 33], [64, 32], [100, 7]] as const) {
    const matrix = Float32Array.from({ length: rows * columns }, (_, i) => i);
    const turned = transpose(matrix, rows, columns);
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) assert.equal(turned[c * rows + r], matrix[r * columns + c]);
  }
  assert.equal(transpose([], 0, 5).length, 0);
});

test('weights go to a file\'s tensors and come back, with and without thresholds', () => {
  const random = new RandomStream(seed, 1700);
  const plain = randomTopk(random, { dIn: 5, dSae: 40 });
  for (const weights of [plain, { ...plain, threshold: normals(random, 40) }]) {
    const tensors = tensorsFromWeights(weights);
    assert.deepEqual([tensors.get('W_enc')!.shape, tensors.get('W_dec')!.shape, tensors.get('b_enc')!.shape, tensors.get('b_dec')!.shape], [[5, 40], [40, 5], [40], [5]]);
    assert.equal(tensors.get('W_enc')!.data[3 * 40 + 17], weights.W_enc[17 * 5 + 3]);
    assert.deepEqual(weightsFromTensors(tensors), weights);
    assert.equal(tensors.has('threshold'), 'threshold' in weights);
  }
  const lacking = tensorsFromWeights(plain);
  lacking.delete('b_dec');
  assert.throws(() => weightsFromTensors(lacking), (error: CochleaError) => error.code === 'file-damaged' && error.message === 'the SAE has no tensor b_dec');
});

test('folding is the oracle\'s, rounded once, thresholds included', () => {
  const random = new RandomStream(seed, 1701);
  for (let n = 0; n < 20; n++) {
    const dIn = 1 + random.below(12), dSae = 1 + random.below(50);
    const weights = { ...randomTopk(random, { dIn, dSae }), threshold: normals(random, dSae).map(Math.abs) };
    const mean = normals(random, dIn, 3), scale = Math.fround(0.1 + 2 * random.uniform()), applyBDecToInput = n % 2 === 0;
    near(foldDecoderNorms(weights), oracle.foldDecoderNorms(doubles(weights), dIn));
    const folded = foldInputTransform(weights, mean, scale, applyBDecToInput);
    const expected = oracle.foldCentreScale(doubles(weights), { mean: Float64Array.from(mean), scale, applyBDecToInput });
    for (const name of ['W_enc', 'W_dec', 'b_dec', 'threshold'] as const) near({ [name]: folded[name] } as unknown as Weights, { [name]: expected[name]! });
    // A difference of sums: rounded once, but where they cancel only to the size of what cancels.
    folded.b_enc!.forEach((value, i) => {
      const size = Math.abs(weights.b_enc[i]!) + scale * weights.W_enc.subarray(i * dIn, (i + 1) * dIn).reduce((sum, w, d) => sum + Math.abs(w * mean[d]!), 0);
      assert.ok(Math.abs(value - expected.b_enc![i]!) <= 2 ** -23 * size, `b_enc[${i}]`);
    });
  }
});

test('folded norms do not change which latents of a JumpReLU SAE fire, nor what they reconstruct', () => {
  const random = new RandomStream(seed, 1702);
  const dIn = 7, dSae = 30, rows = 25;
  const weights = { ...randomTopk(random, { dIn, dSae }), threshold: normals(random, dSae, 0.4).map(Math.abs) };
  const x = Float64Array.from(normals(random, rows * dIn));
  const config = { dIn, dSae, applyBDecToInput: true, normalizeActivations: 'none' as const };
  const before = jumpreluRun(doubles(weights), x, config), after = jumpreluRun(doubles(foldDecoderNorms(weights)), x, config);
  assert.ok(before.featureActs.some((value) => value > 0));
  before.featureActs.forEach((value, i) => assert.equal(value > 0, after.featureActs[i]! > 0, `activation ${i}`));
  before.out.forEach((value, i) => assert.ok(Math.abs(value - after.out[i]!) < 1e-5, `reconstruction ${i}`));
});
