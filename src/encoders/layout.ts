/** What goes into a model, and where the frames lie in what comes out. */
import { CochleaError } from '../errors.ts';
import type { Family } from './families.ts';
import type { HookPoint } from './hooks.ts';
import type { RunOutput } from './session.ts';

/** How the frames of a window lie in an output. */
export type Layout = { dIn: number; rowsFirst: boolean };

/** Whether a tensor with `actual` rows has the frames of a window: AST's have tokens of no frame before them. */
const holds = (actual: number, rows: number, { order }: Family): boolean => actual >= rows && actual <= rows + (order?.mostBefore ?? 0);

/** Where a batch of one stands behind the frames, as in PyTorch's own attention, the numbers lie as if it stood before them. */
const batchFirst = (dims: readonly number[]): readonly number[] => (dims.length === 3 && dims[1] === 1 ? [1, dims[0]!, dims[2]!] : dims);

/** From the shape that the graph promises, where that leaves no doubt: [batch, frames, features], or [frames, batch, features]. */
export function promisedLayout(shape: readonly (number | string)[], family: Family): Layout | undefined {
  const [, middle, last] = shape;
  if (shape.length !== 3 || typeof last !== 'number' || middle === undefined) return undefined;
  if (typeof middle === 'number' && !(family.rowsPerWindow !== undefined && holds(middle, family.rowsPerWindow, family))) return undefined;
  return { dIn: last, rowsFirst: true };
}

/** From what the model makes of a little silence: the axis that is as long as there are frames. */
export function observedLayout(output: RunOutput, rows: number, hook: HookPoint, family: Family, file: string): Layout {
  const { dims } = output, placed = batchFirst(dims);
  const [secondLast = 0, last = 0] = placed.slice(-2);
  if (placed.slice(0, -2).every((d) => d === 1)) {
    if (holds(secondLast, rows, family)) return { dIn: last, rowsFirst: true };
    if (holds(last, rows, family) && secondLast > 0) return { dIn: secondLast, rowsFirst: false };
  }
  throw new CochleaError(
    'hook', `${file}: tensor '${hook.tensor}' is [${dims.join(', ')}] for ${rows} frames: not one vector per frame`, 'choose another hook',
  );
}

/** Rows of one window's output: those that are due, and maybe some before them. Throws `model` when it is anything else. */
export function rowsOf(dims: readonly number[], { dIn, rowsFirst }: Layout, rows: number, family: Family, file: string): number {
  const ends = batchFirst(dims).slice(-2), [actual = 0, width] = rowsFirst ? ends : ends.reverse();
  const whole = dims.reduce((product, d) => product * d, 1) === actual * dIn;
  if (dims.length >= 2 && width === dIn && whole && holds(actual, rows, family)) return actual;
  throw new CochleaError(
    'model', `${file}: it made [${dims.join(', ')}] where ${rows} frames of ${dIn} were due`,
    'its frame clock is not understood: please report the model',
  );
}

/** One window's output as [rows, dIn]. */
export function framesOf({ data, dims }: RunOutput, { dIn, rowsFirst }: Layout, rows: number, family: Family, file: string): Float32Array {
  const actual = rowsOf(dims, { dIn, rowsFirst }, rows, family, file);
  if (rowsFirst && !family.order) return data;
  const frames = new Float32Array(rows * dIn);
  for (let row = 0; row < rows; row++) {
    const place = family.order ? actual - rows + family.order.place(row) : row;
    for (let i = 0; i < dIn; i++) frames[row * dIn + i] = data[rowsFirst ? place * dIn + i : i * actual + place]!;
  }
  return frames;
}

export function checkSamples(samples: Float32Array, family: Family): void {
  if (samples.length < family.fewestSamples) {
    const milliseconds = ((1000 * family.fewestSamples) / family.sampleRate).toFixed(0);
    const need = `${family.fewestSamples} (${milliseconds} ms at ${family.sampleRate} Hz)`;
    throw new CochleaError('audio', `the clip has ${samples.length} samples, but one frame needs ${need}`, 'leave it out');
  }
  const bad = samples.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) {
    throw new CochleaError('audio', `sample ${bad} of the clip is ${samples[bad]}, not a number`, 'the recording is damaged: leave it out');
  }
}
