import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeElements, decodeFloat16, encodeElements, encodeFloat16 } from '../../src/formats/dtype.ts';
import type { DType } from '../../src/formats/dtype.ts';
import { RandomStream } from '../../src/random.ts';
import { nearestFloat16 } from '../oracle/halves.ts';
import { freshSeed } from '../support/mutate.ts';

/** The definition of binary16. */
function half(pattern: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >> 10) & 31;
  const fraction = pattern & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

const singles = new Float32Array(1);
const bits = new Uint32Array(singles.buffer);
function single(pattern: number): number {
  bits[0] = pattern;
  return singles[0]!;
}
function toFloat16(value: number): number {
  return new Uint16Array(encodeElements(Float32Array.of(value), 'F16').buffer)[0]!;
}
function toBfloat16(value: number): number {
  return new Uint16Array(encodeElements(Float32Array.of(value), 'BF16').buffer)[0]!;
}
function neighbour(value: number, step: number): number {
  singles[0] = value;
  bits[0]! += step;
  return singles[0]!;
}

describe('float16', () => {
  test('every pattern decodes to its definition and encodes to itself', () => {
    const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = new Float32Array(65536);
    decodeFloat16(patterns, values);
    const back = new Uint16Array(65536);
    encodeFloat16(values, back);
    for (let i = 0; i < 65536; i++) {
      assert.ok(Object.is(values[i], half(i)), `pattern ${i}: ${values[i]} for ${half(i)}`);
      if (!Number.isNaN(values[i])) assert.equal(back[i], i);
      else assert.ok((back[i]! & 0x7c00) === 0x7c00 && (back[i]! & 0x3ff) !== 0, 'NaN stays NaN');
    }
  });

  test('between any two neighbours the nearer is taken, and of two equally near the even one', () => {
    for (let pattern = 0; pattern < 0x7c00; pattern++) {
      // Above the largest finite number the next one would be 65,536: from the middle on it is infinity.
      const low = half(pattern);
      const high = pattern === 0x7bff ? 65536 : half(pattern + 1);
      const middle = (low + high) / 2;
      const even = pattern % 2 === 0 ? pattern : pattern + 1;
      assert.equal(toFloat16(middle), even, `tie above ${low}`);
      assert.equal(toFloat16(neighbour(middle, -1)), pattern, `just below the tie above ${low}`);
      assert.equal(toFloat16(neighbour(middle, 1)), pattern + 1, `just above the tie above ${low}`);
      assert.equal(toFloat16(-middle), 0x8000 | even);
      assert.deepEqual([neighbour(middle, -1), middle, neighbour(middle, 1), -middle].map(nearestFloat16), [low, half(even), half(pattern + 1), -half(even)]); // what kernels are held against
    }
  });

  test('zero keeps its sign, the smallest float32 numbers vanish, infinity and NaN stay', () => {
    assert.equal(toFloat16(0), 0);
    assert.equal(toFloat16(-0), 0x8000);
    assert.equal(toFloat16(-single(1)), 0x8000);
    assert.equal(toFloat16(Infinity), 0x7c00);
    assert.equal(toFloat16(-1e38), 0xfc00);
    assert.equal(toFloat16(NaN) & 0x7c00, 0x7c00);
    assert.notEqual(toFloat16(single(0x7f800001)) & 0x3ff, 0, 'a signalling NaN with a small payload does not become infinity');
  });
});

describe('bfloat16', () => {
  test('random numbers and ties go to the nearest, ties to even', () => {
    const random = new RandomStream(freshSeed('bfloat16'), 0);
    for (let i = 0; i < 20000; i++) {
      const pattern = random.below(0x7f80);
      const low = single(pattern << 16);
      const middle = single((pattern << 16) | 0x8000);
      assert.equal(toBfloat16(low), pattern);
      assert.equal(toBfloat16(middle), pattern % 2 === 0 ? pattern : pattern + 1);
      assert.equal(toBfloat16(single((pattern << 16) | 0x7fff)), pattern);
      assert.equal(toBfloat16(single((pattern << 16) | 0x8001)), pattern + 1);
      assert.equal(toBfloat16(-low), 0x8000 | pattern);
    }
    assert.equal(toBfloat16(Infinity), 0x7f80);
    assert.equal(toBfloat16(single(0x7f7fffff)), 0x7f80, 'the largest float32 rounds to infinity');
    assert.ok((toBfloat16(single(0x7f800001)) & 0x7f) !== 0, 'NaN stays NaN');
  });
});

describe('elements', () => {
  test('every type decodes from unaligned bytes, into floats and doubles', () => {
    const cases: [DType, ArrayBufferView, number[]][] = [
      ['BOOL', Uint8Array.of(0, 1), [0, 1]],
      ['U8', Uint8Array.of(0, 255), [0, 255]],
      ['I8', Int8Array.of(-128, 127), [-128, 127]],
      ['I16', Int16Array.of(-32768, 5), [-32768, 5]],
      ['U16', Uint16Array.of(65535, 5), [65535, 5]],
      ['I32', Int32Array.of(-(2 ** 31), 5), [-(2 ** 31), 5]],
      ['U32', Uint32Array.of(2 ** 31, 5), [2 ** 31, 5]],
      ['I64', BigInt64Array.of(-(2n ** 40n), 5n), [-(2 ** 40), 5]],
      ['U64', BigUint64Array.of(2n ** 40n, 5n), [2 ** 40, 5]],
      ['F16', Uint16Array.of(0x3c00, 0xc000), [1, -2]],
      ['BF16', Uint16Array.of(0x3f80, 0xc000), [1, -2]],
      ['F32', Float32Array.of(0.5, -3), [0.5, -3]],
      ['F64', Float64Array.of(0.5, -3), [0.5, -3]],
      // One, the largest, the smallest subnormal, minus zero or NaN, and what stands for infinity or NaN.
      ['F8_E4M3', Uint8Array.of(0x38, 0x7e, 0x01, 0x80, 0x7f, 0xff), [1, 448, 2 ** -9, -0, NaN, NaN]],
      ['F8_E5M2', Uint8Array.of(0x3c, 0x7b, 0x01, 0x80, 0x7c, 0xfc, 0x7d), [1, 57344, 2 ** -16, -0, Infinity, -Infinity, NaN]],
      ['F8_E4M3FNUZ', Uint8Array.of(0x40, 0x7f, 0x01, 0x80, 0xff), [1, 240, 2 ** -10, NaN, -240]],
      ['F8_E5M2FNUZ', Uint8Array.of(0x40, 0x7f, 0x01, 0x80, 0xff), [1, 57344, 2 ** -17, NaN, -57344]],
      ['F8_E8M0', Uint8Array.of(127, 0, 254, 255), [1, 2 ** -127, 2 ** 127, NaN]],
    ];
    for (const [dtype, array, expected] of cases) {
      const bytes = new Uint8Array(array.byteLength + 1);
      bytes.set(new Uint8Array(array.buffer), 1);
      for (const out of [new Float32Array(expected.length + 2).fill(9), new Float64Array(expected.length + 2).fill(9)]) {
        decodeElements(bytes.subarray(1), dtype, out, 1);
        assert.deepEqual([...out], [9, ...expected, 9], dtype);
      }
    }
  });

  test('long arrays survive encoding and decoding block by block', () => {
    const values = Float32Array.from({ length: 100_003 }, (_, i) => (i % 2001) - 1000);
    for (const dtype of ['F16', 'F32', 'F64'] as const) {
      const out = new Float32Array(values.length);
      decodeElements(encodeElements(values, dtype), dtype, out, 0);
      assert.deepEqual(out, values, dtype);
    }
    const rounded = new Float32Array(values.length);
    decodeElements(encodeElements(Float64Array.from(values), 'BF16'), 'BF16', rounded, 0);
    values.forEach((value, i) => assert.ok(Math.abs(rounded[i]! - value) <= Math.abs(value) / 256));
  });
});
