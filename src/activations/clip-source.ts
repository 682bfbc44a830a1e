import { RandomStream, streams } from '../random.ts';
import { readAhead } from './read-ahead.ts';
import { StatisticsAccumulator } from './statistics.ts';
import type { FrameStatistics } from './statistics.ts';
import type { ActivationInfo, ClipLabel, FrameChunk, FrameSource } from './types.ts';

/** The frames of one clip: [rows, dIn], without padding. */
export interface ClipFrames extends ClipLabel {
  frames: Float32Array;
  rows: number;
}

/**
 * Frames that are computed when they are asked for, with no store on disk: training straight from audio. A chunk is a
 * clip; the next one is computed while the present one is used. `load` computes the frames of clip `index` of `count`,
 * the same ones every time. The statistics are estimated from `sampleClips` clips (64 unless told) of a fixed random
 * order, since taking them from all would cost as much as an epoch.
 */
export function clipSource({ info, count, load, rows, sampleClips = 64 }: {
  info: ActivationInfo; count: number; load: (index: number) => Promise<ClipFrames>; rows?: number; sampleClips?: number;
}): FrameSource {
  const chunkOf = async (index: number): Promise<FrameChunk> => {
    const { frames, rows: clipRows, id, path, labels } = await load(index);
    const time = Float32Array.from({ length: clipRows }, (_, row) => row / info.frameRate);
    return { x: frames, rows: clipRows, clip: new Uint32Array(clipRows), time, clips: [{ id, path, labels }] };
  };

  let statistics: Promise<FrameStatistics> | undefined;
  const estimate = async (): Promise<FrameStatistics> => {
    const accumulator = new StatisticsAccumulator(info.dIn);
    const order = new RandomStream(0, streams.sourceOrder).permutation(count);
    for (const index of order.subarray(0, sampleClips)) {
      const { x, rows: clipRows } = await chunkOf(index);
      accumulator.add(x, clipRows);
    }
    return accumulator.result();
  };

  return {
    dIn: info.dIn,
    info,
    rows,
    chunks: (options) => readAhead(count, chunkOf, options),
    statistics: () => (statistics ??= estimate()),
  };
}
