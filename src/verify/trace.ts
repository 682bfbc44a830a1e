/** What every dispatch wrote: a digest of all that a kernel may write to, behind each of its dispatches. */
import { type Gpu, type Recorder, type Shard, Tensor } from '../gpu/index.ts';
import { chained, digest, noDigest } from '../kernels/index.ts';

/** Dispatches, in order, by the names of their kernels. */
export interface Dispatch {
  kernel: string;
  /** Slots of the digests of what it may write. */
  slots: readonly number[];
}

const slots = 8192;

export class Trace {
  readonly #gpu: Gpu;
  readonly #digests: Tensor;
  #used = 0;
  #words: Uint32Array | undefined;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    this.#digests = gpu.tensor({ label: 'digests of dispatches', dtype: 'u32', rows: 1, columns: 2 * slots });
  }

  /** Runs work and gives its dispatches. The bits are those of the same work unwatched: digests read, and write what is theirs. */
  async watch<T>(work: () => T | Promise<T>): Promise<{ result: T; dispatches: Dispatch[] }> {
    const gpu = this.#gpu;
    const dispatches: Dispatch[] = [];
    const record = gpu.record; // the one door through which all work is recorded
    gpu.record = () => this.#watched(record.call(gpu), dispatches);
    try {
      return { result: await work(), dispatches };
    } finally {
      gpu.record = record;
    }
  }

  #watched(rec: Recorder, dispatches: Dispatch[]): Recorder {
    const dispatch = rec.dispatch.bind(rec);
    rec.dispatch = (kernel, tensors, ...rest) => {
      dispatch(kernel, tensors, ...rest);
      if (kernel.name === 'digest') return;
      const written = kernel.bindings.filter(({ kind }) => kind === 'written').flatMap(({ name }) => buffersOf(tensors[name]!));
      const first = this.#used;
      for (const buffer of written) digest(rec, { tensor: whole(buffer), digests: this.#digests }, this.#used++);
      dispatches.push({ kernel: kernel.name, slots: written.map((_, n) => first + n) });
    };
    return rec;
  }

  /** The digests of dispatches that were watched before the first of these calls, in 32 bits: a chain tells whether all is the same, these tell where it is not. */
  async digestsOf(dispatches: readonly Dispatch[]): Promise<string[]> {
    const words = this.#words ??= await this.#gpu.downloadIntegers(this.#digests);
    return dispatches.map(({ slots }) => chained(noDigest, slots.flatMap((slot) => [words[2 * slot]!, words[2 * slot + 1]!])).slice(0, 8));
  }

  dispose(): void {
    this.#gpu.free(this.#digests);
  }
}

const buffersOf = (bound: Tensor | Shard): GPUBuffer[] => (bound instanceof Tensor ? bound.shards.map(({ buffer }) => buffer) : [bound.buffer]);

/** A buffer's words, padding and all, as one row. */
function whole(buffer: GPUBuffer): Tensor {
  const columns = buffer.size / 4;
  return new Tensor({ label: 'words', dtype: 'u32', rows: 1, columns, stride: columns }, [{ buffer, first: 0, rows: 1, of: 1 }]);
}
