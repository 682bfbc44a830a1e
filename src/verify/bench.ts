/** What a check of the canonical job works with: inputs that are the same bits everywhere, and tensors that are freed together. */
import type { Gpu, Recorder, Tensor } from '../gpu/index.ts';
import { noLatent } from '../kernels/index.ts';
import { RandomStream, streams } from '../random.ts';
import type { Rounded } from './rounding.ts';

/**
 * What results must be. `integer`: words that come from comparing and counting alone. `exact`: floats whose every intermediate result is a float, so that
 * no order of a sum and no rounding can change them. Both must be the same bits everywhere. `rounded`: within a bound of the float64 result.
 */
export type Kind = 'integer' | 'exact' | 'rounded';

export interface Output {
  tensor: Tensor;
  /** In float64, with what rounding may do to it; of every element, where the kind is `rounded`. */
  expected?: readonly Rounded[];
}

/** Some kernels of one family on fixed inputs. */
export interface Check {
  /** The file of src/kernels whose launchers it calls. */
  family: string;
  name: string;
  kind: Kind;
  run(bench: Bench): Record<string, Output>;
}

/** Shapes of all checks: rows of a batch, numbers in a frame, latents, latents kept per row. Multiples of four: tensors are then without padding. */
export const rows = 12, dIn = 20, dSae = 48, k = 4;

export class Bench {
  readonly #gpu: Gpu;
  readonly #random: RandomStream;
  readonly #tensors: Tensor[] = [];

  /** Inputs are those of stream (0, verification, `index`). */
  constructor(gpu: Gpu, index: number) {
    this.#gpu = gpu;
    this.#random = new RandomStream(0, streams.verification, index);
  }

  /** Multiples of 2^-14 from -2 to 2 (with `low` and `high` from low to high): floats that JavaScript's arithmetic makes without rounding. */
  numbers(length: number, low = -2, high = 2): Float32Array {
    return Float32Array.from({ length }, () => low + ((high - low) * (this.#random.word() >>> 16)) / 2 ** 16);
  }

  /** Whole numbers from -most to most. */
  wholes(length: number, most: number): Float32Array {
    return Float32Array.from({ length }, () => this.#random.below(2 * most + 1) - most);
  }

  /** Per row k latents, ascending, and their values above zero; every fifth row has one pair less. */
  pairs(): { indices: Uint32Array; values: Float32Array } {
    const indices = new Uint32Array(rows * k), values = this.numbers(rows * k, 2 ** -16, 2);
    for (let row = 0; row < rows; row++) indices.set(this.#random.permutation(dSae).subarray(0, k).sort(), row * k);
    for (let slot = k - 1; slot < rows * k; slot += 5 * k) [indices[slot], values[slot]] = [noLatent, 0];
    return { indices, values };
  }

  /** A matrix with these elements, without padding. */
  given(label: string, rowCount: number, columns: number, data: Float32Array | Uint32Array): Tensor {
    const tensor = this.made(label, rowCount, columns, data instanceof Float32Array ? 'f32' : 'u32');
    this.#gpu.upload(tensor, data);
    return tensor;
  }

  /** A matrix of zeros, without padding. */
  made(label: string, rowCount: number, columns: number, dtype: 'f32' | 'u32' = 'f32'): Tensor {
    const tensor = this.#gpu.tensor({ label: `verify ${label}`, dtype, rows: rowCount, columns, stride: columns });
    this.#tensors.push(tensor);
    return tensor;
  }

  /** A list as listDead writes it. */
  list(latents: readonly number[]): Tensor {
    return this.given('list', 1, dSae + 1, Uint32Array.of(latents.length, ...latents, ...new Uint32Array(dSae - latents.length)));
  }

  record(work: (rec: Recorder) => void): void {
    const rec = this.#gpu.record();
    work(rec);
    rec.submit();
  }

  free(): void {
    for (const tensor of this.#tensors) this.#gpu.free(tensor);
  }
}
