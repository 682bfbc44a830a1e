import type { ActivationInfo, ClipToStore, FrameChunk, FrameSource } from '../../src/activations/index.ts';
import { StatisticsAccumulator } from '../../src/activations/index.ts';

export const info: Omit<ActivationInfo, 'dataSha256'> = {
  model: 'synthetic', modelSha256: 'ab'.repeat(32), hook: 'encoder.layers.2', layer: 2, dIn: 6, frameRate: 50, sampleRate: 16000,
};

/** Clip i: between none and 40 rows, every value a function of (clip, row, dimension), exact in float16. */
export function clip(i: number, dIn = info.dIn): ClipToStore {
  const rows = i % 11 === 5 ? 0 : 1 + (i * 7) % 40;
  const frames = Float32Array.from({ length: rows * dIn }, (_, at) => ((i * 31 + at * 17) % 257) / 8 - 10);
  return {
    id: `clip-${i}`, path: `speech/${i}.wav`, labels: { speaker: `s${i % 3}`, text: `словo ${i}` },
    sha256: i.toString(16).padStart(64, '0'), seconds: rows / 50, frames, rows,
  };
}

/** Chunks of `chunkRows` rows; row r of chunk c holds [c * chunkRows + r, 0, 0, ...]. Epoch e starts at chunk e and goes round. */
export function countingSource(
  chunkCount: number, chunkRows: number, dIn: number, options: { unknownRows?: boolean; spoil?: (row: number) => boolean } = {},
): FrameSource {
  return {
    dIn,
    info: { ...info, dIn, dataSha256: '' },
    rows: options.unknownRows ? undefined : chunkCount * chunkRows,
    async *chunks({ epoch, from }) {
      for (let place = from; place < chunkCount; place++) {
        const number = ((epoch ?? 0) + place) % chunkCount;
        const x = new Float32Array(chunkRows * dIn);
        for (let r = 0; r < chunkRows; r++) x[r * dIn] = options.spoil?.(number * chunkRows + r) ? NaN : number * chunkRows + r;
        const time = Float32Array.from({ length: chunkRows }, (_, r) => r / 50);
        const clips = [{ id: `c${number}`, path: `c${number}.wav`, labels: {} }];
        const chunk: FrameChunk = { x, rows: chunkRows, clip: new Uint32Array(chunkRows), time, clips };
        yield chunk;
      }
    },
    statistics: async () => new StatisticsAccumulator(dIn).result(),
  };
}
