/** What all SAEs of a run see of a batch, on the GPU once however many they are. */
import type { FrameArray, HalfFormat } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import type { Gpu, Tensor } from '../gpu/index.ts';
import { unpackRows } from '../kernels/index.ts';

/** One batch: frames [rows, d_in], and what else there is of them. */
export interface TrainingBatch {
  x: FrameArray;
  /** [rows, d_out] */
  target?: FrameArray;
  /** [rows, d_in] */
  previous?: FrameArray;
  /** What arrays that do not hold numbers are patterns of. */
  format?: HalfFormat;
}

export interface StreamShape {
  dIn: number;
  /** The most rows of a batch. */
  batch: number;
  /** Numbers in a target, where there are targets. */
  dOut?: number | undefined;
  /** Whether there are previous frames. */
  previous?: boolean;
  /** Whether batches come as patterns of 16 bits, which the GPU unpacks. */
  packed?: boolean;
}

export class StreamInputs {
  readonly frames: Tensor;
  readonly targets: Tensor | undefined;
  readonly previous: Tensor | undefined;
  /** Patterns of one of these at a time, two to a word. */
  readonly #packed: Tensor | undefined;
  readonly #gpu: Gpu;

  constructor(gpu: Gpu, { dIn, batch, dOut, previous, packed }: StreamShape) {
    const rows = (label: string, columns: number): Tensor => gpu.tensor({ label, dtype: 'f32', rows: batch, columns });
    this.#gpu = gpu;
    this.frames = rows('frames', dIn);
    this.targets = dOut === undefined ? undefined : rows('targets', dOut);
    this.previous = previous ? rows('previous frames', dIn) : undefined;
    if (packed) this.#packed = gpu.tensor({ label: 'packed frames', dtype: 'u32', rows: Math.ceil((batch * Math.max(dIn, dOut ?? 0)) / 2), columns: 1, stride: 1 });
  }

  /** Uploads a batch for the steps that are recorded from now on. Throws `config` for one that is not whole rows, or not as many as there is room for. */
  upload({ x, target, previous, format }: TrainingBatch): void {
    const { rows: most, columns } = this.frames;
    const rows = x.length / columns;
    if (!Number.isInteger(rows) || rows < 1 || rows > most) throw new CochleaError('config', `a batch of ${x.length} numbers is not 1 to ${most} rows of d_in ${columns}`);
    for (const [what, tensor, data] of [['targets', this.targets, target], ['previous frames', this.previous, previous]] as const) {
      if (!tensor) continue;
      if (data?.length !== rows * tensor.columns) throw new CochleaError('config', `a batch needs ${what}: ${rows} rows of ${tensor.columns} numbers, not ${data?.length ?? 'none'}`);
      this.#put(tensor, data, rows, format);
    }
    this.#put(this.frames, x, rows, format);
  }

  #put(frames: Tensor, data: FrameArray, rows: number, format: HalfFormat | undefined): void {
    if (data instanceof Float32Array) return this.#gpu.upload(frames, data);
    if (!this.#packed || !format) throw new CochleaError('config', 'a batch of 16 bits came to a stream of numbers');
    this.#gpu.upload(this.#packed, words(data));
    const rec = this.#gpu.record();
    unpackRows(rec, { packed: this.#packed, frames }, rows, format);
    rec.submit();
  }

  dispose(): void {
    for (const tensor of [this.frames, this.targets, this.previous, this.#packed]) if (tensor) this.#gpu.free(tensor);
  }
}

/** Patterns two to a word, the first in the lower half. */
function words(patterns: Uint16Array): Uint32Array {
  if (patterns.length % 2 === 0 && patterns.byteOffset % 4 === 0) return new Uint32Array(patterns.buffer, patterns.byteOffset, patterns.length / 2);
  const padded = new Uint16Array(patterns.length + (patterns.length % 2));
  padded.set(patterns);
  return new Uint32Array(padded.buffer);
}
