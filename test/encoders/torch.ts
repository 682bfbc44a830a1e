/** The stored arrays of PyTorch that the encoders are compared with. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openEncoder, type EncoderOptions } from '../../src/encoders/index.ts';

const read = new Set<string>();

export function floats(folder: string, name: string): Float32Array {
  read.add(join(folder, name));
  const bytes = readFileSync(join(folder, `${name}.f32`));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Arrays that no test of this process has asked for: nothing that is stored may go uncompared. */
export function unread(folder: string): string[] {
  return readdirSync(folder).filter((file) => file.endsWith('.f32') && !read.has(join(folder, file.slice(0, -4))));
}

export async function framesAt(options: EncoderOptions, samples: Float32Array): Promise<Float32Array> {
  const encoder = await openEncoder(options);
  try {
    return (await encoder.encode(samples)).frames;
  } finally {
    await encoder.close();
  }
}

export function largestDifference(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
}

export function relativeDifference(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length);
  const squares = b.reduce((sum, x) => sum + x * x, 0);
  return Math.sqrt(a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / squares);
}

/** Layer norm of each row with weights 1 and biases 0, in float64. */
export function layerNorm(x: Float32Array, width: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    const values = [...x.subarray(row, row + width)];
    const mean = values.reduce((a, b) => a + b, 0) / width;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / width;
    values.forEach((v, i) => (out[row + i] = (v - mean) / Math.sqrt(variance + 1e-5)));
  }
  return out;
}
