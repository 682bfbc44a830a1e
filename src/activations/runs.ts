import { CochleaError } from '../errors.ts';
import type { ClipLabel, FrameSource } from './types.ts';

/** Neighbouring frames of one clip. */
export interface Run {
  clip: ClipLabel;
  /** Frame of the clip that the first row holds. */
  firstFrame: number;
  rows: number;
  /** [rows, dIn], and [rows, dOut] where there are targets. */
  x: Float32Array;
  target?: Float32Array;
}

/** All frames of a source in stored order, cut where a clip or its chunk ends and where frames of a clip are missing. Throws `interrupted` when the signal aborts. */
export async function* runs(source: FrameSource, signal?: AbortSignal): AsyncGenerator<Run> {
  const { dIn, dOut, info: { frameRate } } = source;
  let before: { id: string; next: number } | undefined;
  for await (const { x, target, rows, clip, time, clips } of source.chunks({ seed: 0, epoch: undefined, from: 0 })) {
    if (signal?.aborted) throw new CochleaError('interrupted', 'stopped');
    /** The frame of a row, when the row before it in its clip is frame `expected - 1`. Times are float32: beyond 2^22 frames they tell no frames apart. */
    const frameOf = (row: number, expected: number | undefined): number => {
      const frame = Math.round(time[row]! * frameRate);
      if (expected !== undefined && !(Math.abs(frame - expected) > expected * 2 ** -22)) return expected;
      return frame >= 0 && Number.isSafeInteger(frame) ? frame : expected ?? 0;
    };
    for (let from = 0, to = 0; from < rows; from = to) {
      const label = clips[clip[from]!]!;
      const firstFrame = frameOf(from, before?.id === label.id ? before.next : undefined);
      for (to = from + 1; to < rows && clip[to] === clip[from]; to++) {
        const expected = firstFrame + to - from;
        if (frameOf(to, expected) !== expected) break;
      }
      before = { id: label.id, next: firstFrame + to - from };
      yield { clip: label, firstFrame, rows: to - from, x: x.subarray(from * dIn, to * dIn), ...(target && { target: target.subarray(from * dOut!, to * dOut!) }) };
    }
  }
}
