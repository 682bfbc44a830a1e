import { RandomStream, streams } from '../random.ts';
import { inOrder, readAhead } from './read-ahead.ts';
import { chunkStatistics } from './statistics.ts';
import type { ActivationInfo, ClipLabel, FrameChunk, FrameSource, TargetInfo } from './types.ts';

/** The frames of one clip: [rows, dIn], without padding. */
export interface ClipFrames extends ClipLabel {
  frames: Float32Array;
  /** [rows, dOut], where there is a second stream. */
  target?: Float32Array;
  rows: number;
}

/**
 * Frames that are computed when they are asked for, with no store on disk: training straight from audio. A chunk is a
 * clip; the next one, or the next `ahead`, are computed while the present one is used. `load` computes the frames of clip `index` of `count`,
 * the same ones every time. The statistics are estimated from `sampleClips` clips (64 unless told) of a fixed random
 * order, since taking them from all would cost as much as an epoch.
 */
export function clipSource({ info, targetInfo, count, load, rows, sampleClips = 64, ahead = 1 }: {
  info: ActivationInfo; targetInfo?: TargetInfo; count: number; load: (index: number) => Promise<ClipFrames>; rows?: number; sampleClips?: number; ahead?: number;
}): FrameSource {
  const chunkOf = async (index: number): Promise<FrameChunk> => {
    const { frames, target, rows: clipRows, id, path, labels } = await load(index);
    const time = Float32Array.from({ length: clipRows }, (_, row) => row / info.frameRate);
    return { x: frames, rows: clipRows, clip: new Uint32Array(clipRows), time, clips: [{ id, path, labels }], ...(target && { target }) };
  };

  const sample = (): AsyncGenerator<FrameChunk> => {
    const order = new RandomStream(0, streams.sourceOrder).permutation(count);
    return inOrder(Math.min(count, sampleClips), (place) => chunkOf(order[place]!), { ahead });
  };
  let estimated: ReturnType<typeof chunkStatistics> | undefined;
  const estimate = (): ReturnType<typeof chunkStatistics> => (estimated ??= chunkStatistics(sample(), info.dIn, targetInfo?.dOut));

  return {
    dIn: info.dIn,
    info,
    rows,
    chunks: (options) => readAhead(count, chunkOf, options, ahead),
    statistics: async () => (await estimate()).frames,
    ...(targetInfo && { dOut: targetInfo.dOut, targetInfo, targetStatistics: async () => (await estimate()).target! }),
  };
}
