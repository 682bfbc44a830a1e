/** Frames, clips and a small SAE to evaluate, all from one seed. */
import type { FrameChunk } from '../../src/activations/index.ts';
import type { SaeLike } from '../../src/evaluation/index.ts';
import { RandomStream } from '../../src/random.ts';

export interface Frames {
  dIn: number;
  rows: number;
  x: Float32Array;
  clip: Uint32Array;
  time: Float32Array;
  ids: string[];
  /** [rows, dOut] */
  target?: Float32Array;
}

/** Normal frames around a mean of 3, in clips of 1 to 60 frames, 50 a second; every clip has its own offset. */
export function madeUpFrames(random: RandomStream, dIn: number, clips: number): Frames {
  const lengths = Array.from({ length: clips }, () => 1 + random.below(60));
  const rows = lengths.reduce((sum, length) => sum + length, 0);
  const x = new Float32Array(rows * dIn), clip = new Uint32Array(rows), time = new Float32Array(rows);
  let row = 0;
  lengths.forEach((length, n) => {
    const offset = random.normal() / 2;
    for (let frame = 0; frame < length; frame++, row++) {
      clip[row] = n;
      time[row] = frame / 50;
      for (let d = 0; d < dIn; d++) x[row * dIn + d] = 3 + offset + random.normal();
    }
  });
  return { dIn, rows, x, clip, time, ids: lengths.map((_, n) => `clip ${n}`) };
}

/** The frames as chunks of `chunkRows` rows, each with a list of clips of its own. */
export async function* inChunks({ dIn, rows, x, clip, time, ids, target }: Frames, chunkRows = 100): AsyncGenerator<FrameChunk> {
  const dOut = target ? target.length / rows : 0;
  for (let first = 0; first < rows; first += chunkRows) {
    const end = Math.min(rows, first + chunkRows);
    const used = [...new Set(clip.subarray(first, end))];
    yield {
      x: x.slice(first * dIn, end * dIn), rows: end - first, time: time.slice(first, end),
      ...(target && { target: target.slice(first * dOut, end * dOut) }),
      clip: clip.slice(first, end).map((n) => used.indexOf(n)), clips: used.map((n) => ({ id: ids[n], path: `${n}.wav`, labels: {} })),
    };
  }
}

/** ReLU(x W + b) with random weights, decoded with other random weights: it reconstructs badly and fires here and there. */
export function madeUpSae(random: RandomStream, dIn: number, dSae: number): SaeLike & { dense(x: Float32Array): Float32Array; recon(x: Float32Array): Float32Array } {
  const encoder = Float32Array.from({ length: dIn * dSae }, () => random.normal() / dIn);
  const decoder = Float32Array.from({ length: dSae * dIn }, () => random.normal() / 4);
  const bias = Float32Array.from({ length: dSae }, (_, i) => (i === 0 ? -1e6 : random.normal() / 2));
  const dense = (x: Float32Array): Float32Array => {
    const rows = x.length / dIn;
    return Float32Array.from({ length: rows * dSae }, (_, at) => {
      const row = Math.floor(at / dSae), latent = at % dSae;
      let sum = bias[latent];
      for (let d = 0; d < dIn; d++) sum += x[row * dIn + d] * encoder[d * dSae + latent];
      return Math.max(0, sum);
    });
  };
  const recon = (x: Float32Array): Float32Array => {
    const f = dense(x);
    return Float32Array.from(x, (_, at) => {
      const row = Math.floor(at / dIn), d = at % dIn;
      let sum = 3;
      for (let i = 0; i < dSae; i++) sum += f[row * dSae + i] * decoder[i * dIn + d];
      return sum;
    });
  };
  return { dIn, dSae, dense, recon, run: async (x) => ({ recon: recon(x), acts: sparseOf(dense(x), dSae) }) };
}

/** CSR of dense activations [rows, dSae]. */
export function sparseOf(f: Float32Array, dSae: number): { rows: number; offsets: Uint32Array; indices: Uint32Array; values: Float32Array } {
  const rows = f.length / dSae;
  const kept = [...f.keys()].filter((at) => f[at] !== 0);
  const offsets = new Uint32Array(rows + 1);
  for (const at of kept) offsets[Math.floor(at / dSae) + 1]++;
  for (let row = 0; row < rows; row++) offsets[row + 1] += offsets[row];
  return { rows, offsets, indices: Uint32Array.from(kept, (at) => at % dSae), values: Float32Array.from(kept, (at) => f[at]) };
}

/** An SAE that answers from tables: frame [n, ...] has reconstruction recon[n] and activations f[n]. */
export function tableSae(frames: number[][], recon: number[][], f: number[][]): SaeLike {
  const dIn = frames[0].length, dSae = f[0].length;
  return {
    dIn, dSae,
    run: async (x) => {
      const rows = Array.from({ length: x.length / dIn }, (_, row) => frames.findIndex((frame) => frame.every((value, d) => value === x[row * dIn + d])));
      return { recon: Float32Array.from(rows.flatMap((n) => recon[n])), acts: sparseOf(Float32Array.from(rows.flatMap((n) => f[n])), dSae) };
    },
  };
}
