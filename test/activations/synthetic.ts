import type { ActivationInfo, ClipToStore, FrameChunk, FrameSource, TargetInfo } from '../../src/activations/index.ts';
import { StatisticsAccumulator } from '../../src/activations/index.ts';

export const info: Omit<ActivationInfo, 'dataSha256'> = {
  model: 'synthetic', modelSha256: 'ab'.repeat(32), hook: 'encoder.layers.2', layer: 2, dIn: 6, frameRate: 50, sampleRate: 16000,
};

export const targetInfo: TargetInfo = { hook: 'encoder.layers.3', layer: 3, dOut: 4 };

/** Clip i: between none and 40 rows, every value a function of (clip, row, dimension), exact in float16. */
export function clip(i: number, dIn = info.dIn): ClipToStore {
  const rows = i % 11 === 5 ? 0 : 1 + (i * 7) % 40;
  const frames = Float32Array.from({ length: rows * dIn }, (_, at) => ((i * 31 + at * 17) % 257) / 8 - 10);
  return {
    id: `clip-${i}`, path: `speech/${i}.wav`, labels: { speaker: `s${i % 3}`, text: `словo ${i}` },
    sha256: i.toString(16).padStart(64, '0'), seconds: rows / 50, frames, rows,
  };
}

/** Clip i with a target for each of its frames. */
export function clipWithTarget(i: number): ClipToStore {
  const made = clip(i);
  return { ...made, target: Float32Array.from({ length: made.rows * targetInfo.dOut }, (_, at) => ((i * 13 + at * 29) % 251) / 4 + 1) };
}

export interface CountingOptions {
  unknownRows?: boolean;
  /** Rows that hold NaN, and rows whose target does. */
  spoil?: (row: number) => boolean;
  spoilTarget?: (row: number) => boolean;
  /** Rows of a clip; those of a chunk unless told. */
  clipRows?: number;
  /** Numbers of a target: row n has [1000 + n, 0, ...]. No targets unless told. */
  dOut?: number;
}

/** Chunks of `chunkRows` rows; row r of chunk c holds [c * chunkRows + r, 0, 0, ...]. Epoch e starts at chunk e and goes round. */
export function countingSource(chunkCount: number, chunkRows: number, dIn: number, options: CountingOptions = {}): FrameSource {
  const { clipRows = chunkRows, dOut } = options;
  return {
    dIn,
    info: { ...info, dIn, dataSha256: '' },
    rows: options.unknownRows ? undefined : chunkCount * chunkRows,
    async *chunks({ epoch, from }) {
      for (let place = from; place < chunkCount; place++) {
        const number = ((epoch ?? 0) + place) % chunkCount;
        const x = new Float32Array(chunkRows * dIn);
        for (let r = 0; r < chunkRows; r++) x[r * dIn] = options.spoil?.(number * chunkRows + r) ? NaN : number * chunkRows + r;
        const time = Float32Array.from({ length: chunkRows }, (_, r) => (r % clipRows) / 50);
        const clip = Uint32Array.from({ length: chunkRows }, (_, r) => Math.floor(r / clipRows));
        const clips = Array.from({ length: Math.ceil(chunkRows / clipRows) }, (_, n) => {
          const id = n === 0 ? `c${number}` : `c${number}-${n}`;
          return { id, path: `${id}.wav`, labels: {} };
        });
        const chunk: FrameChunk = { x, rows: chunkRows, clip, time, clips };
        if (dOut !== undefined) {
          chunk.target = new Float32Array(chunkRows * dOut);
          for (let r = 0; r < chunkRows; r++) {
            const row = number * chunkRows + r;
            chunk.target[r * dOut] = options.spoilTarget?.(row) ? Infinity : 1000 + row;
          }
        }
        yield chunk;
      }
    },
    statistics: async () => new StatisticsAccumulator(dIn).result(),
    ...(dOut !== undefined && {
      dOut, targetInfo: { ...targetInfo, dOut }, targetStatistics: async () => new StatisticsAccumulator(dOut).result(),
    }),
  };
}
