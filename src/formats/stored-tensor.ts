import { CochleaError } from '../errors.ts';
import { isReadable } from './dtype.ts';
import type { DType } from './dtype.ts';

/** A tensor that lies in a file: its header is known, its elements are read when asked for. */
export interface StoredTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** All elements, row-major, rounded to float32 where the type is wider. Throws `file-damaged`; `runtime` when they are too many for one array. */
  read(): Promise<Float32Array>;
  /** The same in float64: exact for every type but integers beyond 2^53. */
  readFloat64(): Promise<Float64Array>;
}

type Floats = Float32Array | Float64Array;

/**
 * A tensor whose elements `fill` reads: as many, one after the other, as the array it is given holds. Without `strides`
 * they lie row-major; with them, element [i, j, ...] is number i strides[0] + j strides[1] + ... of those.
 * `what` names the tensor and its file in messages.
 */
export function storedTensor(
  what: string, dtype: DType, shape: readonly number[], strides: readonly number[] | undefined, fill: (out: Floats) => Promise<void>,
): StoredTensor {
  const count = elementCount(shape);
  const readAs = async <T extends Floats>(make: (length: number) => T): Promise<T> => {
    if (!isReadable(dtype)) throw new CochleaError('file-damaged', `${what} holds ${dtype} elements, which stand for no single number each`);
    const array = (length: number): T => {
      try {
        return make(length);
      } catch (error) {
        throw new CochleaError('runtime', `${what} has ${length} elements, more than fit into one array here`, undefined, { cause: error });
      }
    };
    if (count === 0) return array(0);
    const order = strides === undefined || isRowMajor(shape, strides) ? undefined : strides;
    const flat = array(order === undefined ? count : viewSpan(shape, order));
    await fill(flat);
    if (order === undefined) return flat;
    const out = array(count);
    arrange(flat, shape, order, out);
    return out;
  };
  return {
    dtype,
    shape,
    read: () => readAs((length) => new Float32Array(length)),
    readFloat64: () => readAs((length) => new Float64Array(length)),
  };
}

/** Product of the sizes; Infinity rather than NaN when a huge shape also has a 0. */
export function elementCount(shape: readonly number[]): number {
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
}

/** How many consecutive elements a view of no zero size reaches over: 1 + sum (size - 1) stride. */
export function viewSpan(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((span, size, i) => span + (size - 1) * strides[i]!, 1);
}

/** The strides of Fortran order: the first index runs fastest. */
export function fortranStrides(shape: readonly number[]): number[] {
  let stride = 1;
  return shape.map((size) => {
    const own = stride;
    stride *= size;
    return own;
  });
}

function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return false;
    expected *= shape[i]!;
  }
  return true;
}

function arrange(flat: Floats, shape: readonly number[], strides: readonly number[], out: Floats): void {
  const inner = shape.at(-1)!;
  const step = strides.at(-1)!;
  const index = shape.map(() => 0);
  let from = 0;
  for (let at = 0; at < out.length; at += inner) {
    for (let i = 0; i < inner; i++) out[at + i] = flat[from + i * step]!;
    // The next row: count up the index above the last, like the wheels of an odometer.
    for (let axis = shape.length - 2; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= shape[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
}
