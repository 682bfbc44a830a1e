import assert from 'node:assert/strict';
import type { RandomStream } from '../../src/random.ts';
import { globalNorm } from '../oracle/adam.ts';

/** Normal deviates. */
export function normals(random: RandomStream, length: number, scale = 1): Float64Array {
  return Float64Array.from({ length }, () => scale * random.normal());
}

/** Random tensors of every architecture in float64: weights [dSae, dIn]; tests pick those that they need. */
export function randomTensors(random: RandomStream, dIn: number, dSae: number) {
  return {
    W_enc: normals(random, dSae * dIn, 0.5), W_dec: normals(random, dSae * dIn, 0.4), b_dec: normals(random, dIn, 0.3),
    b_enc: normals(random, dSae, 0.2), b_gate: normals(random, dSae, 0.2), b_mag: normals(random, dSae, 0.2), r_mag: normals(random, dSae, 0.2),
    log_threshold: normals(random, dSae, 0.3).map((value) => value - 1), threshold: normals(random, dSae).map((value) => 0.2 + Math.abs(value) / 5),
  };
}

/** Every element within the tolerance: relative above 1, absolute below. */
export function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-12): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    const allowed = tolerance * Math.max(1, Math.abs(expected[i]));
    assert.ok(Math.abs(actual[i] - expected[i]) <= allowed, `element ${i}: ${actual[i]} is not ${expected[i]}`);
  }
}

/** ||a - b|| / ||b||. */
export function relativeDistance(a: Float64Array, b: Float64Array): number {
  return globalNorm({ d: a.map((value, i) => value - b[i]) }) / globalNorm({ b });
}
