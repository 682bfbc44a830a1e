import { CochleaError } from '../errors.ts';
import type { FileHandle } from '../runtime/types.ts';
import { decodeElements, dtypeBytes, isReadable } from './dtype.ts';
import type { DType } from './dtype.ts';

/** Bytes that can be read at any offset: an open file, or a part of one. Whoever opened it closes it. */
export type ByteSource = Pick<FileHandle, 'size' | 'read'>;

/** Bytes in memory, read as a file is. */
export function bytesHandle(bytes: Uint8Array): FileHandle {
  return {
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    close: async () => {},
  };
}

/** Exactly `length` bytes at `offset`, or `file-damaged`. */
export async function readExactly(handle: ByteSource, file: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await handle.read(offset, length);
  if (bytes.length !== length) {
    throw new CochleaError('file-damaged', `${file} ends at byte ${offset + bytes.length}; ${offset + length} were expected`);
  }
  return bytes;
}

const pieceBytes = 8 << 20;

/** Fills `out` with the elements of type `dtype` that begin at byte `offset`; holds 8 MiB of the file at a time besides `out`. */
export async function readElements(
  handle: ByteSource, file: string, offset: number, dtype: DType, out: Float32Array | Float64Array,
): Promise<void> {
  if (!isReadable(dtype)) throw new CochleaError('file-damaged', `${file} holds ${dtype} elements, which stand for no single number each`);
  const size = dtypeBytes[dtype];
  const pieceElements = pieceBytes / size;
  for (let at = 0; at < out.length; at += pieceElements) {
    const count = Math.min(pieceElements, out.length - at);
    decodeElements(await readExactly(handle, file, offset + at * size, count * size), dtype, out, at);
  }
}

/** A row-major matrix in a file, read by ranges of rows. */
export interface MatrixFile {
  readonly path: string;
  readonly rows: number;
  readonly columns: number;
  readonly dtype: DType;
  /** The open file, and the byte at which row 0 begins. */
  readonly handle: FileHandle;
  readonly offset: number;
}

/** Rows `from` ... `from + count - 1` as float32 [count, columns]. */
export async function readMatrixRows(matrix: MatrixFile, from: number, count: number): Promise<Float32Array> {
  if (!Number.isInteger(from) || !Number.isInteger(count) || from < 0 || count < 0 || from + count > matrix.rows) {
    throw new CochleaError('usage', `rows ${from} to ${from + count} of ${matrix.path}, which has ${matrix.rows}`);
  }
  const out = new Float32Array(count * matrix.columns);
  await readElements(matrix.handle, matrix.path, matrix.offset + from * matrix.columns * dtypeBytes[matrix.dtype], matrix.dtype, out);
  return out;
}
