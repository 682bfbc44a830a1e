/** Cosine, CKA and units of states. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { distances, independence } from '../../src/evaluation/similarity.ts';
import { fitUnits, unitMoves } from '../../src/evaluation/units.ts';
import { RandomStream } from '../../src/random.ts';
import { assertClose } from '../support/numbers.ts';

const random = new RandomStream(31, 1960);
const normals = (length: number, scale = 1): Float32Array => Float32Array.from({ length }, () => scale * random.normal());

test('cosine and distance are those computed by hand', () => {
  const { rows, cosine, error, power } = distances(Float32Array.of(3, 4, 1, 0), Float32Array.of(3, 4, 1, 1), 2);
  assertClose([rows, cosine, error, power], [2, 1 + Math.SQRT1_2, 1, 26]);
  assert.equal(distances(new Float32Array(2), new Float32Array(2), 2).cosine, 0);
});

describe('CKA', () => {
  const cka = (a: Float32Array, b: Float32Array, width: number): number => {
    const { aa, ab, bb } = independence(a, b, width);
    return ab / Math.sqrt(aa * bb);
  };

  /** Song et al. 2012 with whole matrices. */
  function slow(a: Float32Array, b: Float32Array, width: number): number {
    const n = a.length / width;
    const gram = (x: Float32Array): number[][] => Array.from({ length: n }, (_, i) => Array.from({ length: n }, (__, j) => (i === j ? 0
      : x.subarray(i * width, (i + 1) * width).reduce((sum, value, d) => sum + value * x[j * width + d], 0))));
    const sum = (m: number[][]): number => m.flat().reduce((x, y) => x + y, 0);
    const product = (k: number[][], l: number[][]): number[][] => k.map((row) => l[0].map((_, j) => row.reduce((total, value, m) => total + value * l[m][j], 0)));
    const [k, l] = [gram(a), gram(b)], kl = product(k, l);
    const trace = kl.reduce((total, row, i) => total + row[i], 0);
    return (trace + (sum(k) * sum(l)) / ((n - 1) * (n - 2)) - (2 / (n - 2)) * sum(kl)) / (n * (n - 3));
  }

  test('has the terms that the definition has with whole matrices', () => {
    const a = normals(9 * 3).map((value) => value + 2), b = normals(9 * 3);
    const { aa, ab, bb } = independence(a, b, 3);
    assertClose([aa, ab, bb], [slow(a, a, 3), slow(a, b, 3), slow(b, b, 3)], 1e-5);
  });

  test('is 1 up to a rotation, a scale and a shift, and near 0 for what is unrelated', () => {
    const rows = 700, a = normals(rows * 2);
    const turned = Float32Array.from(a, (_, at) => {
      const row = at - (at % 2), [x, y] = [a[row], a[row + 1]];
      return 3 * (at % 2 === 0 ? 0.6 * x - 0.8 * y : 0.8 * x + 0.6 * y) + 5;
    });
    assertClose([cka(a, turned, 2)], [1], 1e-5);
    assert.ok(Math.abs(cka(a, normals(rows * 2), 2)) < 0.1);
  });

  test('of more rows than a minibatch is the sum over its minibatches, and of fewer than four there is none', () => {
    const a = normals(600 * 2), b = normals(600 * 2);
    const half = (x: Float32Array, n: number): Float32Array => x.slice(n * 600, (n + 1) * 600);
    const parts = [0, 1].map((n) => independence(half(a, n), half(b, n), 2));
    const whole = independence(a, b, 2);
    assertClose([whole.aa, whole.ab, whole.bb], [parts[0].aa + parts[1].aa, parts[0].ab + parts[1].ab, parts[0].bb + parts[1].bb]);
    assert.deepEqual(independence(normals(6), normals(6), 2), { aa: 0, ab: 0, bb: 0 });
  });
});

describe('units', () => {
  const centres = [[0, 0], [10, 0], [0, 10]];
  const states = Float32Array.from({ length: 300 * 2 }, (_, at) => centres[Math.floor(at / 2) % 3][at % 2] + 0.3 * random.normal());

  test('are the clusters that there are, whatever the seed, and the same for the same', () => {
    for (const seed of [0, 1, 2]) {
      const units = fitUnits(states, 2, 3, seed);
      assert.deepEqual(fitUnits(states, 2, 3, seed), units);
      const near = centres.map(([x, y]) => [0, 1, 2].findIndex((unit) => Math.hypot(units.centroids[2 * unit] - x, units.centroids[2 * unit + 1] - y) < 0.2));
      assert.deepEqual([...near].sort(), [0, 1, 2]);
      // One cluster's states moved into another.
      const moved = states.map((own, at) => (Math.floor(at / 2) % 3 === 1 && at % 2 === 0 ? own - 10 : own));
      assert.deepEqual([unitMoves(units, states, moved).changed, unitMoves(units, states, states).changed], [100, 0]);
      // The squared distance to the own centre is 0.09 times chi-squared with two degrees of freedom, whose median is 2 ln 2.
      assert.ok(Math.abs(units.temperature - 0.09 * 2 * Math.LN2) < 0.04, `temperature ${units.temperature}`);
    }
  });

  test('are told apart softly: KL of two assignments by hand', () => {
    const units = { centroids: Float32Array.of(0, 2), count: 2, width: 1, temperature: 2 };
    // From 0: distances 0 and 4, shares 1 : e^-2. From 1: equal shares.
    const p = [1 / (1 + Math.exp(-2)), 1 / (1 + Math.exp(2))];
    assertClose([unitMoves(units, Float32Array.of(0), Float32Array.of(1)).divergence], [p[0] * Math.log(2 * p[0]) + p[1] * Math.log(2 * p[1])]);
    assert.deepEqual(unitMoves(units, Float32Array.of(0), Float32Array.of(0)), { changed: 0, divergence: 0 });
    // Of equally near ones the first: 1 lies between.
    assert.deepEqual([0.9, 1, 1.1].map((state) => unitMoves(units, Float32Array.of(0), Float32Array.of(state)).changed), [0, 0, 1]);
  });

  test('of states that are all repeated still tell what moved, and have no soft form', () => {
    const once = Float32Array.from({ length: 50 * 4 }, () => random.normal());
    const units = fitUnits(Float32Array.from({ length: 20 * once.length }, (_, at) => once[at % once.length]), 4, 100, 0);
    assert.equal(units.temperature, 0);
    assert.deepEqual(unitMoves(units, once, once), { changed: 0, divergence: NaN });
    assert.ok(unitMoves(units, once, new Float32Array(once.length)).changed >= 49);
  });
});
