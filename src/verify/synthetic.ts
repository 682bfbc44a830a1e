/** The frames of the canonical job: made of whole numbers, so that they are the same bits on every machine. */
import type { FrameSource } from '../activations/index.ts';
import { RandomStream, streams } from '../random.ts';

/** Planted directions, and how many make a frame. */
const directions = 48, active = 4;
const framesOfChunk = 512;

/**
 * Frames of `dIn` numbers: four of 48 directions, whose numbers are -1, 0 and 1, with weights from 8 to 39, and noise from -4 to 4; all of it in sixteenths,
 * from Philox words, so every number is a multiple of 1/16 below 2^9.
 */
export function syntheticFrames(rows: number, dIn: number): Float32Array {
  const random = new RandomStream(0, streams.verification, 1000);
  const planted = Array.from({ length: directions }, () => Int32Array.from({ length: dIn }, () => random.below(3) - 1));
  const x = new Float32Array(rows * dIn);
  for (let row = 0; row < rows; row++) {
    const sum = Int32Array.from({ length: dIn }, () => random.below(9) - 4);
    for (let n = 0; n < active; n++) {
      const direction = planted[random.below(directions)]!, weight = 8 + random.below(32);
      direction.forEach((value, d) => sum[d]! += weight * value);
    }
    sum.forEach((value, d) => x[row * dIn + d] = value / 16);
  }
  return x;
}

/** The same as a source of one clip per chunk, in stored order. */
export function syntheticSource(rows: number, dIn: number): FrameSource {
  const x = syntheticFrames(rows, dIn);
  const info = { model: 'synthetic', modelSha256: '', hook: 'synthetic', layer: null, dIn, frameRate: 1, sampleRate: 1, dataSha256: '' };
  return {
    dIn, info, rows,
    async* chunks({ from }) {
      for (let first = from * framesOfChunk; first < rows; first += framesOfChunk) {
        const here = Math.min(framesOfChunk, rows - first);
        yield { x: x.slice(first * dIn, (first + here) * dIn), rows: here, clip: new Uint32Array(here), time: new Float32Array(here), clips: [{ id: `${first}`, path: '', labels: {} }] };
      }
    },
    statistics: () => Promise.reject(new Error('synthetic frames are not centred')),
  };
}
