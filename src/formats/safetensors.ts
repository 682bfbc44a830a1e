/**
 * Reading and writing safetensors: a little-endian u64 header length, a JSON header {name: {dtype, shape,
 * data_offsets}}, then the tensors' bytes, row-major, without gaps. Opening a file reads its header only.
 * Format: https://github.com/huggingface/safetensors#format
 */

import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { FileHandle } from '../runtime/types.ts';
import { bytesHandle, readElements, readExactly, readMatrixRows } from './byte-source.ts';
import type { MatrixFile } from './byte-source.ts';
import { dtypeBytes, encodeElements, isDType } from './dtype.ts';
import type { DType, FloatDType } from './dtype.ts';
import { elementCount, storedTensor } from './stored-tensor.ts';
import type { StoredTensor } from './stored-tensor.ts';

/** The limit of the reference implementation. */
const maxHeaderBytes = 100_000_000;

export interface TensorInfo extends StoredTensor {
  /** Byte range in the file. */
  readonly begin: number;
  readonly end: number;
}

export interface Safetensors {
  readonly path: string;
  /** In the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The strings under `__metadata__`; empty when there are none. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The whole tensor, row-major, rounded to float32 where its type is wider. */
  readFloat32(name: string): Promise<Float32Array>;
  readFloat64(name: string): Promise<Float64Array>;
  /** Rows `from` ... `from + count - 1` of a 2-D tensor, as float32 [count, columns]. */
  readTensorRows(name: string, from: number, count: number): Promise<Float32Array>;
  /** A 2-D tensor as a matrix that is read by rows. It shares this file: close it here. */
  matrix(name: string): MatrixFile;
  close(): Promise<void>;
}

/** Opens a file and checks its header; no tensor is read. Throws `file-missing`, `file-damaged`. */
export async function openSafetensors(path: string): Promise<Safetensors> {
  const handle = await runtime.files.open(path);
  try {
    return await readSafetensors(handle, path);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The same for a file whose bytes are in memory; `name` stands for it in messages. */
export function parseSafetensors(bytes: Uint8Array, name: string): Promise<Safetensors> {
  return readSafetensors(bytesHandle(bytes), name);
}

async function readSafetensors(handle: FileHandle, path: string): Promise<Safetensors> {
  const { tensors, metadata } = await readHeader(handle, path);

  const find = (name: string): TensorInfo => {
    const info = tensors.get(name);
    if (info) return info;
    const names = [...tensors.keys()];
    const listed = names.slice(0, 12).map(quote).join(', ') + (names.length > 12 ? ', ...' : '');
    throw new CochleaError('file-damaged', `${path} has no tensor ${quote(name)}; it has ${listed || 'none'}`);
  };
  const matrix = (name: string): MatrixFile => {
    const { shape, dtype, begin } = find(name);
    if (shape.length !== 2) {
      throw new CochleaError('file-damaged', `tensor ${quote(name)} of ${path} has shape [${shape.join(', ')}], not [rows, columns]`);
    }
    return { path, rows: shape[0]!, columns: shape[1]!, dtype, handle, offset: begin };
  };
  return {
    path,
    tensors,
    metadata,
    matrix,
    readFloat32: async (name) => find(name).read(),
    readFloat64: async (name) => find(name).readFloat64(),
    readTensorRows: (name, from, count) => readMatrixRows(matrix(name), from, count),
    close: () => handle.close(),
  };
}

type Header = Pick<Safetensors, 'tensors' | 'metadata'>;

async function readHeader(handle: FileHandle, path: string): Promise<Header> {
  const damaged = notWhole(path);
  if (handle.size < 8) throw damaged(`${handle.size} bytes are too few for a header`);
  const start = await readExactly(handle, path, 0, 8);
  const length = Number(new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true));
  if (length > maxHeaderBytes) throw damaged(`its header claims ${length} bytes, the format allows ${maxHeaderBytes}`);
  if (8 + length > handle.size) throw damaged(`its header claims ${length} bytes, the file has ${handle.size}`);

  let fields: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readExactly(handle, path, 8, length));
    checkKeys(text);
    fields = JSON.parse(text);
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw damaged(`its header is not the JSON of tensors (${(error as Error).message.replace(/\s+/g, ' ')})`);
  }
  if (!isObject(fields)) throw damaged('its header is not a JSON object');

  let metadata: Record<string, string> = {};
  const list: [string, TensorInfo][] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (name === '__metadata__') {
      if (!isObject(value) || !Object.values(value).every((text) => typeof text === 'string')) {
        throw damaged('__metadata__ holds more than strings');
      }
      metadata = value as Record<string, string>;
    } else {
      list.push([name, readTensorInfo(name, value, 8 + length, handle, path)]);
    }
  }
  list.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let position = 8 + length;
  for (const [name, { begin, end }] of list) {
    if (begin !== position) {
      throw damaged(`tensor ${quote(name)} begins at byte ${begin}, ${begin < position ? 'inside' : 'not right after'} the one before it`);
    }
    position = end;
  }
  if (position !== handle.size) throw damaged(`its tensors end at byte ${position}, the file at byte ${handle.size}`);
  return { tensors: new Map(list), metadata };
}

function notWhole(path: string): (what: string) => CochleaError {
  return (what) => new CochleaError('file-damaged', `${path} is not a whole safetensors file: ${what}`);
}

function readTensorInfo(name: string, value: unknown, dataStart: number, handle: FileHandle, path: string): TensorInfo {
  const damaged = notWhole(path);
  const { dtype, shape, data_offsets: offsets } = isObject(value) ? value : {};
  if (!isDType(dtype)) throw damaged(`tensor ${quote(name)} has the unknown dtype ${quote(dtype)}`);
  if (!isCounts(shape)) throw damaged(`tensor ${quote(name)} has the impossible shape ${quote(shape)}`);
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    throw damaged(`tensor ${quote(name)} has the impossible offsets ${quote(offsets)}`);
  }
  const begin = dataStart + offsets[0]!;
  const end = dataStart + offsets[1]!;
  if (elementCount(shape) * dtypeBytes[dtype] !== end - begin) {
    throw damaged(`tensor ${quote(name)} of shape [${shape.join(', ').slice(0, 80)}] and dtype ${dtype} cannot lie in ${end - begin} bytes`);
  }
  const stored = storedTensor(`tensor ${quote(name)} of ${path}`, dtype, shape, undefined, (out) => readElements(handle, path, begin, dtype, out));
  return { ...stored, begin, end };
}

/** What a header says, for a message: one line, and not all of it when it is long. */
function quote(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 80);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** JSON.parse would silently keep the last of two equal keys, and would build any depth of nesting; a header has three levels. */
function checkKeys(json: string): void {
  const objects: Set<string>[] = [];
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === '{' || character === '[') {
      if (++depth > 3) throw new Error('nested too deeply');
      if (character === '{') objects.push(new Set());
    } else if (character === '}' || character === ']') {
      depth--;
      if (character === '}') objects.pop();
    } else if (character === '"') {
      let end = i + 1;
      while (end < json.length && json[end] !== '"') end += json[end] === '\\' ? 2 : 1;
      const literal = json.slice(i, end + 1);
      i = end;
      let next = end + 1;
      while (json[next] === ' ' || json[next] === '\n' || json[next] === '\t' || json[next] === '\r') next++;
      if (json[next] !== ':') continue;
      const key = JSON.parse(literal) as string;
      const keys = objects.at(-1);
      if (keys?.has(key)) throw new Error(`the name ${quote(key)} appears twice`);
      keys?.add(key);
    }
  }
}

export interface TensorToWrite {
  name: string;
  dtype: DType;
  shape: readonly number[];
  /**
   * All elements, at once or piece by piece: floats are converted to `dtype` on the way (which must then be a
   * float type), bytes are written as they are.
   */
  data: TensorPiece | Iterable<TensorPiece> | AsyncIterable<TensorPiece>;
}

export type TensorPiece = Float32Array | Float64Array | Uint8Array;

/**
 * The bytes of a safetensors file, as the reference implementation lays them out: header padded with spaces
 * to a multiple of 8, tensors by falling dtype, then by name. Converts at most 4 MiB at a time.
 */
export async function* safetensorsPieces(tensors: Iterable<TensorToWrite>, metadata?: Record<string, string>): AsyncGenerator<Uint8Array> {
  const order = Object.keys(dtypeBytes);
  const byName = (a: TensorToWrite, b: TensorToWrite): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  const sorted = [...tensors].sort((a, b) => order.indexOf(b.dtype) - order.indexOf(a.dtype) || byName(a, b));
  const header: [string, unknown][] = metadata ? [['__metadata__', metadata]] : [];
  const seen = new Set(['__metadata__']);
  let position = 0;
  for (const { name, dtype, shape } of sorted) {
    if (seen.has(name)) throw new CochleaError('config', `two tensors are named "${name}"`);
    seen.add(name);
    const begin = position;
    position += byteLength(dtype, shape);
    header.push([name, { dtype, shape, data_offsets: [begin, position] }]);
  }
  // Built by hand: an object would move integer-like names to its front.
  const json = `{${header.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`;
  const text = new TextEncoder().encode(json);
  const bytes = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(text, 8);
  yield bytes;
  for (const tensor of sorted) yield* tensorBytes(tensor);
}

/** Writes a safetensors file: whole or not at all. Pieces are asked for one by one, so a big weight is never held twice. */
export function writeSafetensors(path: string, tensors: Iterable<TensorToWrite>, metadata?: Record<string, string>): Promise<void> {
  return runtime.files.write(path, safetensorsPieces(tensors, metadata));
}

function byteLength(dtype: DType, shape: readonly number[]): number {
  return elementCount(shape) * dtypeBytes[dtype];
}

const conversionElements = 1 << 19;

/** The elements of one tensor as bytes of its dtype, 4 MiB at a time. Throws `config` when they are not as many as its shape says. */
export async function* tensorBytes({ name, dtype, shape, data }: TensorToWrite): AsyncGenerator<Uint8Array> {
  const expected = byteLength(dtype, shape);
  let written = 0;
  for await (const piece of ArrayBuffer.isView(data) ? [data] : data) {
    if (piece instanceof Uint8Array) {
      written += piece.length;
      yield piece;
      continue;
    }
    if (!isFloatDType(dtype)) throw new CochleaError('config', `tensor "${name}" of dtype ${dtype} was given floats`);
    for (let at = 0; at < piece.length; at += conversionElements) {
      const bytes = encodeElements(piece.subarray(at, at + conversionElements), dtype);
      written += bytes.length;
      yield bytes;
    }
  }
  if (written !== expected) {
    const what = `tensor "${name}" of shape [${shape.join(', ')}] and dtype ${dtype}`;
    throw new CochleaError('config', `${what} needs ${expected} bytes and was given ${written}`);
  }
}

function isFloatDType(dtype: DType): dtype is FloatDType {
  return dtype === 'F16' || dtype === 'BF16' || dtype === 'F32' || dtype === 'F64';
}
