import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RandomStream, philox4x32, streams } from '../src/random.ts';
import { adamState, adamStep, clipByGlobalNorm } from './oracle/adam.ts';
import { nextThreshold } from './oracle/batchtopk-sae.ts';
import { batchtopkToJumprelu, foldCentreScale, foldDecoderNorms } from './oracle/folding.ts';
import { gatedRun } from './oracle/gated-sae.ts';
import { inverseIndex, sparseRows } from './oracle/inverse-index.ts';
import { jumpreluRun } from './oracle/jumprelu-sae.ts';
import type { Tensors } from './oracle/linear.ts';
import { dotBound, matmul, matmulTransposeA, matmulTransposeB, rowNorms, transpose } from './oracle/matrix.ts';
import {
  deadCount, density, explainedVariance, meanCosine, meanL0, meanL2Ratio, meanSquaredError, normalizedMeanSquaredError,
  relativeReconstructionBias,
} from './oracle/metrics.ts';
import { denormalize, normalize } from './oracle/normalize.ts';
import * as reference from './oracle/random.ts';
import { coefficient, learningRate } from './oracle/schedule.ts';
import { standardRun } from './oracle/standard-sae.ts';
import { topkRun } from './oracle/topk-sae.ts';
import { batchTopK, rowTopK, rowTopKAmong } from './oracle/topk.ts';
import { assertClose, normals, randomTensors } from './support/numbers.ts';

const SEED = 20260712;
const dIn = 6, dSae = 12, rows = 5;

describe('top-k', () => {
  test('selects what no unselected value beats, ties to the smaller index, ascending', () => {
    const random = new RandomStream(SEED, streams.mixing);
    for (let trial = 0; trial < 200; trial++) {
      const cols = 1 + random.below(40), k = 1 + random.below(cols);
      const values = Float64Array.from({ length: cols }, () => random.below(7) - 3); // few distinct values: many ties
      const [chosen] = rowTopK(values, 1, cols, k);
      const context = `trial ${trial}, seed ${SEED}`;
      assert.equal(chosen.length, k, context);
      assert.ok(chosen.every((column, i) => i === 0 || column > chosen[i - 1]), context);
      for (let rival = 0; rival < cols; rival++) {
        if (chosen.includes(rival)) continue;
        for (const column of chosen) {
          assert.ok(values[column] > values[rival] || (values[column] === values[rival] && column < rival), context);
        }
      }
    }
  });

  test('takes the first k of equal rows, of zeros of either sign, all of a row when k is its length', () => {
    assert.deepEqual(rowTopK(new Float64Array(5).fill(2.5), 1, 5, 3), [[0, 1, 2]]);
    assert.deepEqual(rowTopK(Float64Array.of(-0, 0, -0, 0), 1, 4, 2), [[0, 1]]);
    assert.deepEqual(rowTopK(Float64Array.of(3, -1, 2), 1, 3, 3), [[0, 1, 2]]);
    assert.deepEqual(rowTopK(Float64Array.of(1, 5, 5, -7, -2, -9), 2, 3, 1), [[1], [1]]);
    assert.deepEqual(rowTopK(Float64Array.of(-Infinity, 1, Infinity), 1, 3, 2), [[1, 2]]);
  });

  test('refuses a value that is not a number', () => {
    assert.throws(() => rowTopK(Float64Array.of(1, NaN), 1, 2, 1), /not a number at position 1/);
  });

  test('among a list of latents chooses from these only, and all of them when they are fewer than k', () => {
    const values = Float64Array.of(9, 1, 4, 4, 8, 0, 7, 7);
    assert.deepEqual(rowTopKAmong(values, 2, 4, 2, [1, 2, 3]), [[2, 3], [2, 3]]);
    assert.deepEqual(rowTopKAmong(values, 2, 4, 5, [0, 1]), [[0, 1], [0, 1]]);
  });

  test('over a batch ranks all positions together and may leave a row empty', () => {
    assert.deepEqual(batchTopK(Float64Array.of(5, 1, 6, 0, 0, 1), 3), [0, 1, 2]);
    assert.deepEqual(batchTopK(Float64Array.of(0, 3, 3, 3), 2), [1, 2]);
  });

  test('a row moves with its permutation when its values are distinct', () => {
    const random = new RandomStream(SEED, streams.mixing, 1);
    const values = normals(random, 30);
    const order = random.permutation(30);
    const [chosen] = rowTopK(values, 1, 30, 8);
    const [moved] = rowTopK(Float64Array.from(order, (i) => values[i]), 1, 30, 8);
    assert.deepEqual(moved.map((column) => order[column]).sort((a, b) => a - b), chosen);
  });
});

describe('matrices', () => {
  test('the three products agree through transposes', () => {
    const a = Float64Array.of(1, 2, 3, 4, 5, 6), b = Float64Array.of(7, 8, 9, 10, 11, 12);
    const product = [58, 64, 139, 154];
    assertClose(matmul(a, b, 2, 3, 2), product);
    assertClose(matmulTransposeB(a, transpose(b, 3, 2), 2, 3, 2), product);
    assertClose(matmulTransposeA(transpose(a, 2, 3), b, 2, 3, 2), product);
  });

  test('dotBound holds for float32 sums in any order and is tight enough to see a lost term', () => {
    const random = new RandomStream(SEED, streams.mixing, 2);
    for (const K of [1, 2, 37, 1024, 4096]) {
      const products = Array.from({ length: K }, () => [Math.fround(random.normal()), Math.fround(random.normal())]);
      const exact = products.reduce((sum, [a, b]) => sum + a * b, 0);
      const sumAbs = products.reduce((sum, [a, b]) => sum + Math.abs(a * b), 0);
      for (let trial = 0; trial < 20; trial++) {
        let sum = 0;
        for (const i of random.permutation(K)) sum = Math.fround(sum + Math.fround(products[i][0] * products[i][1]));
        assert.ok(Math.abs(sum - exact) <= dotBound(K, sumAbs), `K ${K}, seed ${SEED}`);
      }
      assert.ok(K > 2000 || dotBound(K, sumAbs) < sumAbs / K);
    }
  });
});

test('evaluation metrics have their golden values', () => {
  const x = Float64Array.of(2, 0, 0, 4), xHat = Float64Array.of(2, 1, 0, 3);
  assertClose([
    explainedVariance(x, xHat, 2), 1 - normalizedMeanSquaredError(x, xHat, 2), normalizedMeanSquaredError(x, xHat, 2), meanSquaredError(x, xHat, 2),
    relativeReconstructionBias(x, xHat, 2),
  ], [0.8, 0.9, 0.1, 1, 0.875]);
  assertClose([meanCosine(x, xHat, 2), meanL2Ratio(x, xHat, 2)], [0.94721, 0.93402], 5e-6);
  const acts = Float64Array.of(1, 0, -2, 0, 3, 0, 0, 0);
  assertClose(density(acts, 4), [1, 0, 0.5, 0]);
  assert.equal(meanL0(acts, 4), 1.5);
  assert.equal(deadCount(acts, 4), 2);
});

test('normalisation centres and scales frames by themselves, and is undone', () => {
  const x = Float64Array.of(1, 3, -4, 3);
  const layer = normalize(x, 2, 'layer_norm');
  assertClose([...layer.shift, ...layer.scale], [2, -0.5, Math.SQRT2, 7 / Math.SQRT2]); // n - 1 in the variance
  assertClose(layer.x.subarray(0, 2), [-1 / (Math.SQRT2 + 1e-5), 1 / (Math.SQRT2 + 1e-5)]);
  assertClose(denormalize(layer.x, 2, layer), x, 1e-5);
  const constant = normalize(x, 2, 'constant_norm_rescale');
  assertClose(rowNorms(constant.x, 2, 2), [Math.SQRT2, Math.SQRT2]);
  assertClose(denormalize(constant.x, 2, constant), x);
  assertClose(normalize(x, 2, 'expected_average_only_in').x, x);
});

describe('folding', () => {
  const random = new RandomStream(SEED, streams.initialisation, 1);
  const tensors: Tensors = randomTensors(random, dIn, dSae);
  const mean = normals(random, dIn, 2);
  const scale = 0.37;
  const x = normals(random, rows * dIn).map((value, j) => value / scale + mean[j % dIn]);
  const standardized = x.map((value, j) => (value - mean[j % dIn]) * scale);

  for (const applyBDecToInput of [true, false]) {
    const config = { dIn, dSae, applyBDecToInput, normalizeActivations: 'none' as const };
    const topk = { ...config, k: 3, rescaleActsByDecoderNorm: false };
    const runs = {
      standard: standardRun, gated: gatedRun, jumprelu: jumpreluRun, topk: (p: Tensors, b: Float64Array) => topkRun(p, b, topk),
    };
    for (const [name, run] of Object.entries(runs)) {
      test(`${name}, b_dec ${applyBDecToInput ? 'applied' : 'not applied'}: centre and scale fold into the weights`, () => {
        const inner = run(tensors, standardized, config);
        const folded = run(foldCentreScale(tensors, { mean, scale, applyBDecToInput }), x, config);
        assert.ok(meanL0(inner.featureActs, dSae) > 0.5);
        assertClose(folded.featureActs, inner.featureActs);
        assertClose(folded.out, inner.out.map((value, j) => value / scale + mean[j % dIn]));
      });
      if (name === 'topk') continue; // its selection depends on the units of activations
      test(`${name}, b_dec ${applyBDecToInput ? 'applied' : 'not applied'}: decoder norms fold into the activations`, () => {
        const before = run(tensors, standardized, config);
        const folded = foldDecoderNorms(tensors, dIn);
        const after = run(folded, standardized, config);
        assertClose(rowNorms(folded.W_dec, dSae, dIn), new Float64Array(dSae).fill(1));
        assertClose(after.out, before.out);
        const norms = rowNorms(tensors.W_dec, dSae, dIn);
        assertClose(after.featureActs, before.featureActs.map((f, j) => f * norms[j % dSae]));
      });
    }
    test(`topk, b_dec ${applyBDecToInput ? 'applied' : 'not applied'}: with rescaling, decoder norms fold without a trace`, () => {
      const rescaled = { ...topk, rescaleActsByDecoderNorm: true };
      const before = topkRun(tensors, standardized, rescaled);
      const after = topkRun(foldDecoderNorms(tensors, dIn), standardized, rescaled);
      assertClose(after.out, before.out);
      assertClose(after.featureActs, before.featureActs);
    });
  }

  test('batchtopk becomes the same jumprelu whether the scale is folded first, with the threshold, or last', () => {
    const config = { dIn, dSae, applyBDecToInput: true, normalizeActivations: 'none' as const };
    const centreScale = { mean, scale, applyBDecToInput: true };
    const threshold = 0.5;
    const last = jumpreluRun(foldCentreScale(batchtopkToJumprelu(tensors, threshold, dIn, true), centreScale), x, config);
    const first = jumpreluRun(batchtopkToJumprelu(foldCentreScale(tensors, centreScale), threshold / scale, dIn, true), x, config);
    assertClose(first.out, last.out);
    const forgotten = jumpreluRun(batchtopkToJumprelu(foldCentreScale(tensors, centreScale), threshold, dIn, true), x, config);
    assert.ok(meanL0(forgotten.featureActs, dSae) > meanL0(last.featureActs, dSae));
  });

  test('the running threshold of batchtopk follows the smallest positive activation', () => {
    assertClose([nextThreshold(1, Float64Array.of(0, 3, 0.5, -2), 0.1), nextThreshold(1, new Float64Array(3), 0.1)], [0.95, 1]);
  });
});

describe('optimiser and schedules', () => {
  test('Adam under a constant gradient moves by lr g / (|g| + eps) at every step', () => {
    const parameters = { p: Float64Array.of(1, -2, 0.5) }, gradients = { p: Float64Array.of(0.3, -4, 1e-9) };
    const state = adamState(parameters);
    for (let step = 0; step < 50; step++) adamStep(parameters, gradients, state, 0.01, { beta1: 0.9, beta2: 0.999, eps: 1e-8 });
    assertClose(parameters.p, gradients.p.map((g, i) => [1, -2, 0.5][i] - (50 * 0.01 * g) / (Math.abs(g) + 1e-8)));
  });

  test('clipping scales all tensors by one factor, and only when their joint norm exceeds the limit', () => {
    const gradients = { a: Float64Array.of(3), b: Float64Array.of(0, 4) };
    assert.equal(clipByGlobalNorm(gradients, 1), 5);
    assertClose([gradients.a[0], gradients.b[1]], [3 / (5 + 1e-6), 4 / (5 + 1e-6)]);
    const small = { a: Float64Array.of(0.3), b: Float64Array.of(0.4) };
    clipByGlobalNorm(small, 1);
    assert.deepEqual(small, { a: Float64Array.of(0.3), b: Float64Array.of(0.4) });
  });

  test('the learning rate warms up, follows its cosine and decays; coefficients start at 0', () => {
    const options = { lr: 8, lrEnd: 2, scheduler: 'cosineannealing' as const, warmUpSteps: 4, decaySteps: 2, restartCycles: 1, totalSteps: 14 };
    assertClose([0, 3, 4, 8, 12, 13, 14].map((t) => learningRate(t, options)), [2, 8, 8, 5, 2, 1, 0]);
    assertClose([0, 2, 5, 9].map((t) => coefficient(t, 3, 5)), [0, 1.2, 3, 3]);
    assert.equal(coefficient(0, 3, 0), 3);
  });
});

test('an inverse index lists every entry once, by latent and then by row', () => {
  const random = new RandomStream(SEED, streams.mixing, 3);
  const dense = Float64Array.from({ length: 23 * 17 }, () => (random.uniform() < 0.2 ? random.normal() : 0));
  dense.fill(0, 5 * 17, 6 * 17); // an empty row
  for (let row = 0; row < 23; row++) dense[row * 17 + 4] = 0; // an empty latent
  const csr = sparseRows(dense, 23, 17);
  const csc = inverseIndex(csr, 17);
  const transposed = sparseRows(transpose(dense, 23, 17), 17, 23); // the same by another way
  assert.deepEqual(csc.offsets, transposed.offsets);
  assert.deepEqual(csc.rows, transposed.indices);
  assert.deepEqual(csc.positions.map((position) => csr.values[position]), transposed.values);
});

describe('Philox 4x32-10', () => {
  const known: [counter: number[], key: number[], words: number[]][] = [
    [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
    [Array(4).fill(0xffffffff), Array(2).fill(0xffffffff), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]],
  ];

  test('gives the known answers of Random123, here and in src/random.ts', () => {
    for (const [counter, key, words] of known) {
      assert.deepEqual(reference.philox4x32(counter, key), words);
      const out = new Uint32Array(4);
      philox4x32(counter, key, out);
      assert.deepEqual([...out], words);
    }
  });

  test('streams give the words that their definition says, from any position, also past 2^32', () => {
    for (const seed of [0, 1, 0xdeadbeef, 2 ** 32 + 7, Number.MAX_SAFE_INTEGER]) {
      for (const position of [0, 5, 2 ** 34 - 2, 2 ** 40 + 3]) {
        const stream = new RandomStream(seed, streams.bootstrap, 0x80000001, position);
        const words = Array.from({ length: 9 }, () => stream.word());
        assert.deepEqual(words, words.map((_, i) => reference.streamWord(BigInt(seed), streams.bootstrap, 0x80000001, BigInt(position + i))));
        assert.equal(stream.position, position + 9);
      }
    }
  });

  test('uniform numbers are the high 24 bits, integers below a bound are unbiased by rejection, permutations are whole', () => {
    const word = (index: number) => reference.streamWord(BigInt(SEED), streams.mixing, 0, BigInt(index));
    assert.equal(new RandomStream(SEED, streams.mixing).uniform(), (word(0) >>> 8) / 2 ** 24);
    const bound = 3 * 2 ** 30; // a quarter of the words lies at or above it
    const accepted = Array.from({ length: 40 }, (_, i) => word(i)).filter((w) => w < bound);
    const stream = new RandomStream(SEED, streams.mixing);
    assert.deepEqual(accepted.map(() => stream.below(bound)), accepted);
    assert.ok(accepted.length < 40);
    assert.deepEqual([...stream.permutation(100)].sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
  });
});
