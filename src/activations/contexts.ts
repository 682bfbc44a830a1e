import type { ClipSpan } from './clip-table.ts';
import { runs } from './runs.ts';
import type { ClipLabel, FrameSource } from './types.ts';

/** Contexts one after the other: [count, context, dIn] and so on. Valid until the next ones are asked for. */
export interface Cells {
  count: number;
  x: Float32Array;
  target?: Float32Array;
  /** [cells, context]: 1 for a frame, 0 for padding. */
  ids: Int32Array<ArrayBuffer>;
}

export interface ContextOptions {
  context: number;
  /** Contexts that are given at once. */
  cells: number;
  pad: boolean;
  signal?: AbortSignal;
  /** Counted up. */
  counts: { frames: number; padding: number; dropped: number };
  /** Told of the rows of each context that hold frames. */
  clips(span: ClipSpan): Promise<void>;
}

/** The frames of a source in contexts of neighbours from one clip. What is left at the end of a clip is padded with zeros, or dropped and counted. */
export async function* contextCells(source: FrameSource, { context, cells, pad, signal, counts, clips }: ContextOptions): AsyncGenerator<Cells> {
  const { dIn, dOut } = source;
  const x = new Float32Array(cells * context * dIn), target = dOut === undefined ? undefined : new Float32Array(cells * context * dOut);
  const ids = new Int32Array(cells * context);
  let count = 0; // whole contexts
  let filled = 0; // frames in the one after them
  let clip: ClipLabel | undefined, firstFrame = 0; // whose they are
  let done = 0; // rows given before

  const close = async (): Promise<void> => {
    if (filled === 0) return;
    if (filled < context && !pad) {
      counts.dropped += filled;
    } else {
      const row = count * context;
      x.fill(0, (row + filled) * dIn, (row + context) * dIn);
      target?.fill(0, (row + filled) * dOut!, (row + context) * dOut!);
      ids.fill(1, row, row + filled).fill(0, row + filled, row + context);
      await clips({ id: clip!.id, path: clip!.path, labels: clip!.labels, first_frame: firstFrame, first_row: done + row, rows: filled });
      counts.frames += filled;
      counts.padding += context - filled;
      count++;
    }
    filled = 0;
  };
  const given = (): Cells => {
    const cellsGiven = { count, x: x.subarray(0, count * context * dIn), ids, ...(target && { target: target.subarray(0, count * context * dOut!) }) };
    done += count * context;
    count = 0;
    return cellsGiven;
  };

  for await (const run of runs(source, signal)) {
    if (filled > 0 && (clip!.id !== run.clip.id || firstFrame + filled !== run.firstFrame)) await close();
    for (let row = 0; row < run.rows;) {
      if (count === cells) yield given();
      if (filled === 0) [clip, firstFrame] = [run.clip, run.firstFrame + row];
      const taken = Math.min(context - filled, run.rows - row);
      const at = count * context + filled;
      x.set(run.x.subarray(row * dIn, (row + taken) * dIn), at * dIn);
      target?.set(run.target!.subarray(row * dOut!, (row + taken) * dOut!), at * dOut!);
      filled += taken;
      row += taken;
      if (filled === context) await close();
    }
  }
  await close();
  if (count > 0) yield given();
}
