/** What b_dec begins as. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import type { BaseConfig } from '../../src/sae/index.ts';
import { geometricMedian, medianTolerance } from '../../src/training/geometric-median.ts';
import { Trainer, trainerConfig } from '../../src/training/index.ts';
import { columnSums } from '../oracle/matrix.ts';
import { normalize } from '../oracle/normalize.ts';
import { freshSeed } from '../support/mutate.ts';
import { normals } from '../support/numbers.ts';
import { smallSae } from '../support/small-sae.ts';

const seed = freshSeed('bias initialisation');

const distances = (points: Float64Array, columns: number, from: Float64Array): number => {
  let sum = 0;
  for (let row = 0; row < points.length / columns; row++) sum += Math.hypot(...from.map((value, d) => value - points[row * columns + d]!));
  return sum;
};

describe('the geometric median', () => {
  test('of points on a line is their median, of an even number anything between the middle two', () => {
    const line = (numbers: number[]): Float64Array => Float64Array.from(numbers.flatMap((t) => [1 + 3 * t, -4 * t, 2]));
    const [x, y, z] = geometricMedian(line([-7, 0.25, 1, 9, 400]), 3);
    assert.ok(Math.abs(x! - 4) < 1e-3 && Math.abs(y! + 4) < 1e-3 && z === 2, `${x}, ${y}, ${z}`);
    const even = geometricMedian(line([-7, 1, 2, 9]), 3)[0]!;
    assert.ok(even >= 4 - 1e-3 && even <= 7 + 1e-3, String(even));
  });

  test('of a triangle is its Fermat point, or the corner with an angle over 120 degrees, also where the iteration begins on it', () => {
    const equilateral = geometricMedian(Float64Array.of(0, 0, 1, 0, 0.5, Math.sqrt(3) / 2), 2);
    assert.ok(Math.hypot(equilateral[0]! - 0.5, equilateral[1]! - Math.sqrt(3) / 6) < 1e-6);
    // Legs 1 and right angle at the origin: the sides are seen from the Fermat point under 120 degrees.
    const [u, v] = geometricMedian(Float64Array.of(0, 0, 1, 0, 0, 1), 2);
    const angle = (a: number[], b: number[]): number => Math.acos((a[0]! * b[0]! + a[1]! * b[1]!) / (Math.hypot(...a) * Math.hypot(...b)));
    assert.ok(Math.abs(angle([-u!, -v!], [1 - u!, -v!]) - (2 * Math.PI) / 3) < 1e-4);
    const flat = geometricMedian(Float64Array.of(0, 0.1, -5, -0.3, 5, -0.3), 2);
    assert.ok(Math.hypot(flat[0]!, flat[1]! - 0.1) < 1e-3, `${flat}`);
    // The mean is one of the points, and not the median; then it is the median.
    const [a] = geometricMedian(Float64Array.of(0, 0, -1, 0, -1.5, 0, -2, 0, 4.5, 0), 2);
    assert.ok(Math.abs(a! + 1) < 1e-3, String(a));
    assert.deepEqual([...geometricMedian(Float64Array.of(0, 0, -1, 0, -1.5, 0, 1, 0, 1.5, 0), 2)], [0, 0]);
    assert.deepEqual([...geometricMedian(Float64Array.of(3, 4, 3, 4, 3, 4), 2)], [3, 4]);
  });

  test('of a random cloud with outliers has nothing nearer around it, and is pulled evenly', () => {
    const random = new RandomStream(seed, 1610);
    for (let n = 0; n < 5; n++) {
      const columns = 2 + random.below(11), rows = 20 + random.below(200); // on a line it is a median: above
      const points = normals(random, rows * columns).map((value, at) => (at < 3 * columns ? 50 + value : value + (at % columns)));
      const median = geometricMedian(points, columns);
      const best = distances(points, columns, median);
      const mean = columnSums(points, rows, columns).map((sum) => sum / rows);
      assert.ok(best < distances(points, columns, mean));
      const pull = new Float64Array(columns);
      for (let row = 0; row < rows; row++) {
        const away = points.slice(row * columns, (row + 1) * columns).map((value, d) => value - median[d]!);
        away.forEach((value, d) => pull[d]! += value / Math.hypot(...away));
      }
      // The sum of distances is convex, and -pull is its gradient: within |step| it falls by |pull| |step| at most.
      for (let trial = 0; trial < 20; trial++) {
        const step = normals(random, columns, 0.01);
        const least = best - Math.hypot(...pull) * Math.hypot(...step) - 1e-9;
        assert.ok(distances(points, columns, median.map((value, d) => value + step[d]!)) > least, 'a neighbour is nearer');
      }
      assert.ok(Math.hypot(...pull) < 100 * medianTolerance * rows, `pull ${Math.hypot(...pull)} of ${rows}`);
    }
  });
});

describe('b_dec_init_method', () => {
  const dIn = 6, dOut = 4, dSae = 20, batch = 30;
  let gpu: Gpu;
  before(async () => {
    gpu = await Gpu.open();
  });
  after(() => gpu.dispose());
  const random = new RandomStream(seed, 1611);
  const x = new Float32Array(normals(random, batch * dIn, 2).map((value) => value + 3)), target = new Float32Array(normals(random, batch * dOut).map((value) => value - 5));
  const input = { mean: Float32Array.of(1, 2, 0, -1, 0.5, 3), scale: 0.5, target: { mean: Float32Array.of(1, 0, -1, 0), scale: 2 } };
  const seen = (values: Float32Array, { mean, scale }: { mean: Float32Array; scale: number }): Float64Array => Float64Array.from(values, (value, at) => (value - mean[at % mean.length]!) * scale);

  /** b_dec after the first step with a learning rate of zero, and after the second. */
  async function biases(name: string, method: 'zeros' | 'mean' | 'geometric_median', fields: Partial<BaseConfig> = {}): Promise<Float32Array[]> {
    const training = trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 4, lr: 0, seed, b_dec_init_method: method });
    const trainer = await Trainer.create({ gpu, sae: smallSae(name, { d_in: dIn, d_sae: dSae, ...fields }, dOut), training, input });
    const found = [];
    for (const shift of [0, 1]) {
      trainer.train({ x: x.map((value) => value + shift), target, previous: x });
      found.push((await trainer.weights()).b_dec);
    }
    trainer.dispose();
    return found;
  }
  const near = (found: ArrayLike<number>, expected: ArrayLike<number>): void => Array.from(expected).forEach((value, d) => assert.ok(Math.abs(found[d]! - value) < 1e-5, `number ${d} is ${found[d]}, not ${value}`));

  test('is of the first batch, centred and scaled, and of no other', async () => {
    const points = seen(x, input);
    const [first, second] = await biases('topk', 'mean');
    near(first!, columnSums(points, batch, dIn).map((sum) => sum / batch));
    assert.deepEqual(second, first);
    near((await biases('topk', 'geometric_median'))[0]!, geometricMedian(points, dIn));
    assert.deepEqual((await biases('topk', 'zeros'))[0], new Float32Array(dIn));
  });

  test('is of normalised frames where the SAE normalises', async () => {
    for (const how of ['layer_norm', 'constant_norm_rescale'] as const) {
      const points = normalize(seen(x, input), dIn, how).x;
      near((await biases('gated', 'geometric_median', { normalize_activations: how }))[0]!, geometricMedian(points, dIn));
    }
  });

  test('is of the targets where the SAE is a transcoder', async () => {
    near((await biases('skip_transcoder', 'geometric_median'))[0]!, geometricMedian(seen(target, input.target), dOut));
  });

  test('gives way to weights that are given', async () => {
    const sae = smallSae('topk', { d_in: dIn, d_sae: dSae }, dOut);
    const training = trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 4, lr: 0, seed, b_dec_init_method: 'mean' });
    const drawn = await Trainer.create({ gpu, sae, training });
    const weights = { ...await drawn.weights(), b_dec: new Float32Array(dIn).fill(0.25) };
    drawn.dispose();
    const trainer = await Trainer.create({ gpu, sae, training, weights });
    trainer.train({ x });
    assert.deepEqual((await trainer.weights()).b_dec, weights.b_dec);
    trainer.dispose();
  });
});
