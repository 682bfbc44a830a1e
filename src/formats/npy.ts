/**
 * NumPy's .npy files, versions 1 to 3: little-endian floats, integers and booleans, in C or in Fortran order. Big endian and other types
 * are refused with the numpy call that converts them.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */

import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { FileHandle } from '../runtime/types.ts';
import { bytesHandle, readElements, readMatrixRows } from './byte-source.ts';
import type { MatrixFile } from './byte-source.ts';
import { dtypeBytes, encodeElements } from './dtype.ts';
import type { DType, FloatDType } from './dtype.ts';
import { elementCount, fortranStrides, storedTensor } from './stored-tensor.ts';
import type { StoredTensor } from './stored-tensor.ts';

const maxHeaderBytes = 1 << 16;
/** What a reader needs of the beginning of a file to find the array's elements. */
export const npyHeadBytes = 12 + maxHeaderBytes;
const maxDimensions = 64;
const descriptions = new Map<string, DType>([
  ['<f2', 'F16'], ['<f4', 'F32'], ['<f8', 'F64'], ['|b1', 'BOOL'], ['|i1', 'I8'], ['|u1', 'U8'], ['<i2', 'I16'], ['<u2', 'U16'], ['<i4', 'I32'],
  ['<u4', 'U32'], ['<i8', 'I64'], ['<u8', 'U64'],
]);

export interface Npy extends StoredTensor {
  readonly path: string;
  /** Another name of read(). */
  readFloat32(): Promise<Float32Array>;
  /** Rows `from` ... `from + count - 1` of a 2-D array, as float32 [count, columns]. */
  readRows(from: number, count: number): Promise<Float32Array>;
  /** A 2-D array as a matrix that is read by rows. It shares this file: close it here. */
  matrix(): MatrixFile;
  close(): Promise<void>;
}

/** Opens a file and checks its header; no element is read. Throws `file-missing`, `file-damaged`. */
export async function openNpy(path: string): Promise<Npy> {
  const handle = await runtime.files.open(path);
  try {
    return await readNpy(handle, path);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The same for a file whose bytes are in memory; `name` stands for it in messages. */
export function parseNpy(bytes: Uint8Array, name: string): Promise<Npy> {
  return readNpy(bytesHandle(bytes), name);
}

async function readNpy(handle: FileHandle, path: string): Promise<Npy> {
  const { dtype, shape, strides, offset } = readNpyHeader(await handle.read(0, npyHeadBytes), handle.size, path);
  const matrix = (): MatrixFile => {
    if (shape.length !== 2) throw new CochleaError('file-damaged', `${path} has shape [${shape.join(', ')}], not [rows, columns]`);
    if (strides !== undefined) {
      throw new CochleaError('file-damaged', `${path} lies in Fortran order: no row is in one place`, 'save it with numpy.ascontiguousarray(array)');
    }
    return { path, rows: shape[0]!, columns: shape[1]!, dtype, handle, offset };
  };
  const stored = storedTensor(`the array in ${path}`, dtype, shape, strides, (out) => readElements(handle, path, offset, dtype, out));
  return {
    ...stored,
    path,
    matrix,
    readFloat32: stored.read,
    readRows: async (from, count) => readMatrixRows(matrix(), from, count),
    close: () => handle.close(),
  };
}

export interface NpyHeader {
  dtype: DType;
  shape: readonly number[];
  /** In elements, when they are not row-major. */
  strides: readonly number[] | undefined;
  /** The byte at which the elements begin; they fill the rest of the file. */
  offset: number;
}

/** Reads the header of a file of `size` bytes that begins with `head` (`npyHeadBytes` of it suffice). Throws `file-damaged`. */
export function readNpyHeader(head: Uint8Array, size: number, path: string): NpyHeader {
  const damaged = (what: string, hint?: string): CochleaError =>
    new CochleaError('file-damaged', `${path} is not a readable .npy file: ${what}`, hint);
  if (head.length < 10 || String.fromCharCode(...head.subarray(0, 6)) !== '\x93NUMPY') {
    throw damaged('it does not begin with the mark of one');
  }
  const version = head[6]!;
  if (version < 1 || version > 3 || head[7] !== 0) throw damaged(`format version ${version}.${head[7]} is unknown`);
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  if (version > 1 && head.length < 12) throw damaged('it ends inside its header');
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const offset = (version === 1 ? 10 : 12) + length;
  if (length > maxHeaderBytes || offset > size) throw damaged(`its header claims ${length} bytes`);
  const header = new TextDecoder('latin1').decode(head.subarray(offset - length, offset));

  // A Python dict literal, as numpy writes it: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
  const fields = /^\{([^{}]*)\}\s*$/.exec(header)?.[1] ?? '';
  const description = /'descr'\s*:\s*'([^']*)'/.exec(fields)?.[1];
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(fields)?.[1];
  const sizes = /'shape'\s*:\s*\(([\d,\s]*)\)/.exec(fields)?.[1];
  if (description === undefined || order === undefined || sizes === undefined) {
    throw damaged(`its header says ${JSON.stringify(header.slice(0, 80))}`);
  }
  const dtype = descriptions.get(description);
  if (dtype === undefined) {
    throw damaged(`its elements are ${JSON.stringify(description.slice(0, 80))}`, `save it with array.astype('<f4')`);
  }
  const shape = sizes.split(',').map((count) => count.trim()).filter((count) => count !== '').map(Number);
  if (shape.length > maxDimensions) throw damaged(`it claims ${shape.length} dimensions`);
  const expected = elementCount(shape) * dtypeBytes[dtype];
  if (expected !== size - offset) {
    throw damaged(`shape [${shape.join(', ').slice(0, 80)}] of ${description} needs ${expected} bytes, ${size - offset} follow the header`);
  }
  return { dtype, shape, strides: order === 'True' && shape.length > 1 ? fortranStrides(shape) : undefined, offset };
}

/** What a version 1 file of elements in C order begins with, padded as numpy does. Throws `config` for a type that numpy does not have. */
export function npyHeader(shape: readonly number[], dtype: DType): Uint8Array {
  const description = [...descriptions].find(([, type]) => type === dtype)?.[0];
  if (description === undefined) throw new CochleaError('config', `.npy has no element type ${dtype}`);
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const header = `{'descr': '${description}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10;
  const start = new Uint8Array(10 + length);
  start.set(Uint8Array.from(`\x93NUMPY\x01\x00\x00\x00${header.padEnd(length - 1)}\n`, (character) => character.charCodeAt(0)));
  new DataView(start.buffer).setUint16(8, length, true);
  return start;
}

/** Writes a version 1 file in C order: whole or not at all. float32 data may be written as float16. */
export async function writeNpy(
  path: string, shape: readonly number[], data: Float32Array | Float64Array,
  dtype: FloatDType = data instanceof Float32Array ? 'F32' : 'F64',
): Promise<void> {
  const elements = elementCount(shape);
  if (elements !== data.length) {
    throw new CochleaError('config', `an array of shape [${shape.join(', ')}] has ${elements} elements, not ${data.length}`);
  }
  await runtime.files.write(path, [npyHeader(shape, dtype), encodeElements(data, dtype)]);
}
