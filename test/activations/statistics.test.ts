import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StatisticsAccumulator } from '../../src/activations/index.ts';
import { RandomStream } from '../../src/random.ts';
import { freshSeed } from '../support/mutate.ts';

function close(actual: number, expected: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= tolerance * Math.abs(expected) + 1e-300, `${what}: ${actual} for ${expected}`);
}

describe('statistics', () => {
  test('agree with their definitions, however the rows are cut into chunks', () => {
    const random = new RandomStream(freshSeed('statistics'), 0);
    const [rows, dIn] = [5000, 7];
    const x = Float32Array.from({ length: rows * dIn }, (_, at) => random.normal() * (1 + at % dIn) + 3 * (at % dIn));
    const mean = Array.from({ length: dIn }, (_, d) => x.reduce((sum, value, at) => (at % dIn === d ? sum + value : sum), 0) / rows);
    const variance = mean.map((m, d) => x.reduce((sum, value, at) => (at % dIn === d ? sum + (value - m) ** 2 : sum), 0) / rows);
    const norms = Array.from({ length: rows }, (_, row) => Math.hypot(...x.subarray(row * dIn, (row + 1) * dIn)));

    for (const chunk of [1, 13, 4999, 5000]) {
      const accumulator = new StatisticsAccumulator(dIn);
      for (let row = 0; row < rows; row += chunk) accumulator.add(x.subarray(row * dIn), Math.min(chunk, rows - row));
      const result = accumulator.result();
      assert.equal(result.rows, rows);
      mean.forEach((value, d) => close(result.mean[d]!, value, 1e-11, 'mean'));
      variance.forEach((value, d) => close(result.variance[d]!, value, 1e-11, 'variance'));
      close(result.meanNorm, norms.reduce((a, b) => a + b) / rows, 1e-12, 'mean norm');
      close(result.meanSquaredNorm, norms.reduce((a, b) => a + b * b, 0) / rows, 1e-12, 'mean squared norm');
      close(result.gamma, Math.hypot(...mean) / Math.sqrt(variance.reduce((a, b) => a + b)), 1e-11, 'gamma');
      close(result.meanSquaredNorm, mean.reduce((a, m) => a + m * m, 0) + variance.reduce((a, b) => a + b), 1e-11, 'E|x|^2 = |mu|^2 + |sigma|^2');
    }
  });

  test('a dimension far from the origin keeps its variance', () => {
    const accumulator = new StatisticsAccumulator(1);
    const x = Float32Array.from({ length: 8192 }, (_, i) => 1e6 + (i % 2));
    for (let at = 0; at < 8192; at += 100) accumulator.add(x.subarray(at), Math.min(100, 8192 - at));
    close(accumulator.result().variance[0]!, 0.25, 1e-12, 'variance');
  });

  test('continue from their state to the same bits', () => {
    const random = new RandomStream(1, 0);
    const x = Float32Array.from({ length: 400 }, () => random.normal());
    const straight = new StatisticsAccumulator(4);
    straight.add(x, 60);
    const state = JSON.parse(JSON.stringify(straight.state()));
    straight.add(x.subarray(240), 40);
    const continued = new StatisticsAccumulator(4, state);
    continued.add(x.subarray(240), 40);
    assert.deepEqual(continued.result(), straight.result());
  });

  test('rows that are not finite are left out; none, zeros and equal rows have a gamma', () => {
    const accumulator = new StatisticsAccumulator(2);
    assert.deepEqual([accumulator.result().rows, accumulator.result().gamma], [0, 0]);
    accumulator.add(Float32Array.of(NaN, 1, 3e38, 3e38, 1, Infinity, 3e38, 3e38), 4);
    assert.equal(accumulator.result().rows, 2);
    assert.equal(accumulator.result().gamma, Infinity);
    const zeros = new StatisticsAccumulator(2);
    zeros.add(new Float32Array(8), 4);
    assert.equal(zeros.result().gamma, 0);
  });
});
