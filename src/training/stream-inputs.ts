/** What all SAEs of a run see of a batch, on the GPU once however many they are. */
import { CochleaError } from '../errors.ts';
import type { Gpu, Tensor } from '../gpu/index.ts';

/** One batch: frames [rows, d_in], and what else there is of them. */
export interface TrainingBatch {
  x: Float32Array;
  /** [rows, d_out] */
  target?: Float32Array;
  /** [rows, d_in] */
  previous?: Float32Array;
}

export interface StreamShape {
  dIn: number;
  /** The most rows of a batch. */
  batch: number;
  /** Numbers in a target, where there are targets. */
  dOut?: number | undefined;
  /** Whether there are previous frames. */
  previous?: boolean;
}

export class StreamInputs {
  readonly frames: Tensor;
  readonly targets: Tensor | undefined;
  readonly previous: Tensor | undefined;
  readonly #gpu: Gpu;

  constructor(gpu: Gpu, { dIn, batch, dOut, previous }: StreamShape) {
    const rows = (label: string, columns: number): Tensor => gpu.tensor({ label, dtype: 'f32', rows: batch, columns });
    this.#gpu = gpu;
    this.frames = rows('frames', dIn);
    this.targets = dOut === undefined ? undefined : rows('targets', dOut);
    this.previous = previous ? rows('previous frames', dIn) : undefined;
  }

  /** Uploads a batch for the steps that are recorded from now on. Throws `config` for one that is not whole rows, or not as many as there is room for. */
  upload({ x, target, previous }: TrainingBatch): void {
    const { rows: most, columns } = this.frames;
    const rows = x.length / columns;
    if (!Number.isInteger(rows) || rows < 1 || rows > most) throw new CochleaError('config', `a batch of ${x.length} numbers is not 1 to ${most} rows of d_in ${columns}`);
    for (const [what, tensor, data] of [['targets', this.targets, target], ['previous frames', this.previous, previous]] as const) {
      if (!tensor) continue;
      if (data?.length !== rows * tensor.columns) throw new CochleaError('config', `a batch needs ${what}: ${rows} rows of ${tensor.columns} numbers, not ${data?.length ?? 'none'}`);
      this.#gpu.upload(tensor, data);
    }
    this.#gpu.upload(this.frames, x);
  }

  dispose(): void {
    for (const tensor of [this.frames, this.targets, this.previous]) if (tensor) this.#gpu.free(tensor);
  }
}
