/**
 * NumPy's .npy files, versions 1 to 3: little-endian float16, float32 and float64 in C order. Fortran order,
 * big endian and other types are refused with the numpy call that converts them.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */

import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { FileHandle } from '../runtime/types.ts';
import { bytesHandle, readElements, readExactly, readMatrixRows } from './byte-source.ts';
import type { MatrixFile } from './byte-source.ts';
import { dtypeBytes, encodeElements } from './dtype.ts';
import type { FloatDType } from './dtype.ts';

const maxHeaderBytes = 1 << 16;
const descriptions = new Map<string, FloatDType>([['<f2', 'F16'], ['<f4', 'F32'], ['<f8', 'F64']]);

export interface Npy {
  readonly path: string;
  readonly dtype: FloatDType;
  readonly shape: readonly number[];
  readFloat32(): Promise<Float32Array>;
  readFloat64(): Promise<Float64Array>;
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
  const { dtype, shape, offset } = await readHeader(handle, path);
  const elements = (handle.size - offset) / dtypeBytes[dtype];
  const matrix = (): MatrixFile => {
    if (shape.length !== 2) throw new CochleaError('file-damaged', `${path} has shape [${shape.join(', ')}], not [rows, columns]`);
    return { path, rows: shape[0]!, columns: shape[1]!, dtype, handle, offset };
  };
  return {
    path,
    dtype,
    shape,
    matrix,
    readFloat32: async () => {
      const out = new Float32Array(elements);
      await readElements(handle, path, offset, dtype, out);
      return out;
    },
    readFloat64: async () => {
      const out = new Float64Array(elements);
      await readElements(handle, path, offset, dtype, out);
      return out;
    },
    readRows: (from, count) => readMatrixRows(matrix(), from, count),
    close: () => handle.close(),
  };
}

async function readHeader(handle: FileHandle, path: string): Promise<{ dtype: FloatDType; shape: number[]; offset: number }> {
  const damaged = (what: string, hint?: string): CochleaError =>
    new CochleaError('file-damaged', `${path} is not a readable .npy file: ${what}`, hint);
  const start = await handle.read(0, 12);
  if (start.length < 10 || String.fromCharCode(...start.subarray(0, 6)) !== '\x93NUMPY') {
    throw damaged('it does not begin with the mark of one');
  }
  const version = start[6]!;
  if (version < 1 || version > 3 || start[7] !== 0) throw damaged(`format version ${version}.${start[7]} is unknown`);
  const view = new DataView(start.buffer, start.byteOffset, start.length);
  if (version > 1 && start.length < 12) throw damaged('it ends inside its header');
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const offset = (version === 1 ? 10 : 12) + length;
  if (length > maxHeaderBytes || offset > handle.size) throw damaged(`its header claims ${length} bytes`);
  const header = String.fromCharCode(...await readExactly(handle, path, offset - length, length));

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
  if (order === 'True') throw damaged('its elements lie in Fortran order', 'save it with numpy.ascontiguousarray(array)');
  const shape = sizes.split(',').map((size) => size.trim()).filter((size) => size !== '').map(Number);
  const expected = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
  if (expected !== handle.size - offset) {
    throw damaged(`shape [${shape.join(', ')}] of ${description} needs ${expected} bytes, ${handle.size - offset} follow the header`);
  }
  return { dtype, shape, offset };
}

/** Writes a version 1 file in C order: whole or not at all. float32 data may be written as float16. */
export async function writeNpy(
  path: string, shape: readonly number[], data: Float32Array | Float64Array,
  dtype: FloatDType = data instanceof Float32Array ? 'F32' : 'F64',
): Promise<void> {
  const description = [...descriptions].find(([, type]) => type === dtype)?.[0];
  if (description === undefined) throw new CochleaError('config', `.npy has no element type ${dtype}`);
  const elements = shape.reduce((product, size) => product * size, 1);
  if (elements !== data.length) {
    throw new CochleaError('config', `an array of shape [${shape.join(', ')}] has ${elements} elements, not ${data.length}`);
  }
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const header = `{'descr': '${description}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10;
  const start = new Uint8Array(10 + length);
  start.set(Uint8Array.from(`\x93NUMPY\x01\x00\x00\x00${header.padEnd(length - 1)}\n`, (character) => character.charCodeAt(0)));
  new DataView(start.buffer).setUint16(8, length, true);
  await runtime.files.write(path, [start, encodeElements(data, dtype)]);
}
