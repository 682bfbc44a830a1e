/**
 * Matrices in Arrow IPC streams, as Hugging Face `datasets` saves them: a column whose cells are [rows, columns] floats, list<list<float>> or lists
 * of fixed size. Only the messages' headers and the lists' offsets are read; the values stay in the file and are given as places in it, so that
 * memory does not depend on how large a record batch its writer chose. Written for files that nobody vouches for: apache-arrow's own reader
 * believes the lengths that it finds. Format: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
 */

import { CochleaError } from '../errors.ts';
import type { FileHandle } from '../runtime/types.ts';
import { readExactly } from './byte-source.ts';
import type { MatrixFile } from './byte-source.ts';
import { dtypeBytes } from './dtype.ts';
import type { FloatDType } from './dtype.ts';
import { Table } from './flatbuffer.ts';

const maxMetadataBytes = 16 << 20;
const offsetsAtOnce = 1 << 18;

const headers = { schema: 1, dictionaryBatch: 2, recordBatch: 3 };
const types = { null: 1, float: 3, binary: 4, utf8: 5, list: 12, struct: 13, union: 14, fixedSizeList: 16, map: 17, largeBinary: 19, largeUtf8: 20, largeList: 21 };
const floats: readonly FloatDType[] = ['F16', 'F32', 'F64'];

/** A level of a nested column, outermost first. */
interface Field {
  name: string;
  type: number;
  /** Of a fixed-size list. */
  listSize: number;
  dtype: FloatDType | undefined;
  children: Field[];
  metadata: Map<string, string>;
  /** Buffers of this level alone. */
  buffers: number;
}

/** Where one column lies among the nodes and buffers of every record batch. */
interface Column {
  levels: [Field, Field, Field];
  dtype: FloatDType;
  node: number;
  buffer: number;
  /** Of all columns together. */
  nodes: number;
  buffers: number;
}

/**
 * The cells of `column`, which are all to be [rows, columns] = `shape`, below each other: a matrix for each record batch, in order. Checked: types,
 * extension metadata where there is some, that no cell is null, that every list has the length it must have, and that all lies in the file.
 * The file stays the caller's to close. Throws `file-damaged`.
 */
export async function readArrowMatrices(handle: FileHandle, path: string, column: string, shape: readonly [number, number]): Promise<MatrixFile[]> {
  const damaged = (what: string, hint?: string): CochleaError => new CochleaError('file-damaged', `${path} is not a whole Arrow stream: ${what}`, hint);
  const found: MatrixFile[] = [];
  let place: Column | undefined;
  try {
    for await (const { header, type, body, bodyLength } of messages(handle, path, damaged)) {
      if (type === headers.schema) {
        if (place) throw damaged('it has two schemas');
        place = findColumn(header, column, shape, path);
      } else if (type === headers.recordBatch) {
        if (!place) throw damaged('a record batch comes before the schema');
        const matrix = await batchMatrix(header, place, { handle, path, body, bodyLength }, shape, damaged);
        if (matrix.rows > 0) found.push(matrix);
      } else if (type !== headers.dictionaryBatch) throw damaged(`it has a message of type ${type}`);
    }
  } catch (error) {
    if (error instanceof RangeError) throw damaged(`a message points outside itself (${error.message})`);
    throw error;
  }
  if (!place) throw damaged('it has no schema');
  return found;
}

async function* messages(handle: FileHandle, path: string, damaged: (what: string, hint?: string) => CochleaError): AsyncGenerator<{ header: Table; type: number; body: number; bodyLength: number }> {
  for (let at = 0; at < handle.size;) {
    const start = await handle.read(at, 8);
    if (at === 0 && new TextDecoder().decode(start.subarray(0, 6)) === 'ARROW1') throw damaged('it is of the Arrow file form', 'datasets saves streams: save_to_disk writes them');
    if (start.length < 4) throw damaged(`it ends at byte ${handle.size}, inside a message`);
    const view = new DataView(start.buffer, start.byteOffset, start.length);
    const marked = view.getUint32(0, true) === 0xffffffff; // streams from before Arrow 0.15 have no mark
    if (marked && start.length < 8) throw damaged(`it ends at byte ${handle.size}, inside a message`);
    const length = view.getInt32(marked ? 4 : 0, true);
    if (length === 0) return;
    const metadata = at + (marked ? 8 : 4);
    if (length < 0 || length > maxMetadataBytes || metadata + length > handle.size) throw damaged(`the message at byte ${at} claims ${length} bytes`);
    const message = Table.root(await readExactly(handle, path, metadata, length));
    const body = metadata + length, bodyLength = message.count(3);
    const header = message.table(2);
    if (!header) throw damaged(`the message at byte ${at} is empty`);
    if (body + bodyLength > handle.size) throw damaged(`the message at byte ${at} has a body of ${bodyLength} bytes, ${handle.size - body} follow`);
    yield { header, type: message.byte(1), body, bodyLength };
    at = body + bodyLength;
  }
  throw damaged('its end is missing: it was cut off, or its writer never closed it');
}

function findColumn(schema: Table, column: string, [rows, columns]: readonly [number, number], path: string): Column {
  if (schema.short(0) !== 0) throw new CochleaError('file-damaged', `${path} is big endian`, 'save it on a little-endian machine');
  const fields = schema.tables(1).map((field) => readField(field, 0));
  const before = fields.findIndex(({ name }) => name === column);
  if (before < 0) throw new CochleaError('file-damaged', `${path} has no column ${JSON.stringify(column)}; it has ${fields.map(({ name }) => JSON.stringify(name)).join(', ').slice(0, 200) || 'none'}`);
  const outer = fields[before]!, inner = outer.children[0], leaf = inner?.children[0];
  const isList = (field: Field | undefined): boolean => field !== undefined && (field.type === types.list || field.type === types.fixedSizeList) && field.children.length === 1;
  if (!isList(outer) || !isList(inner) || !leaf?.dtype) throw new CochleaError('file-damaged', `column ${JSON.stringify(column)} of ${path} does not hold matrices of floats`, 'its feature must be Array2D of float16, float32 or float64');
  const claims = outer.metadata.get('ARROW:extension:metadata');
  const declared = /^\s*\[\s*\[\s*(\d+)\s*,\s*(\d+)\s*\]\s*,/.exec(claims ?? '');
  if (declared && (Number(declared[1]) !== rows || Number(declared[2]) !== columns)) {
    throw new CochleaError('file-damaged', `column ${JSON.stringify(column)} of ${path} holds matrices of [${declared[1]}, ${declared[2]}], dataset_info.json says [${rows}, ${columns}]`);
  }
  const nodes = fields.map(nodesOf), buffers = fields.map(buffersOf);
  const sum = (counts: number[], end?: number): number => counts.slice(0, end).reduce((total, count) => total + count, 0);
  return {
    levels: [outer, inner!, leaf], dtype: leaf.dtype, node: sum(nodes, before), buffer: sum(buffers, before), nodes: sum(nodes), buffers: sum(buffers),
  };
}

function readField(table: Table, depth: number): Field {
  if (depth > 8) throw new RangeError('a column nested too deeply');
  const type = table.byte(2), description = table.table(3);
  const encoded = table.table(4) !== undefined; // a column of indices into a dictionary
  const metadata = new Map(table.tables(6).map((entry): [string, string] => [entry.text(0), entry.text(1)]));
  return {
    name: table.text(0), type: encoded ? 0 : type, metadata, children: encoded ? [] : table.tables(5).map((child) => readField(child, depth + 1)),
    listSize: type === types.fixedSizeList ? description?.int(0) ?? 0 : 0,
    dtype: type === types.float && !encoded ? floats[description?.short(0) ?? 0] : undefined,
    buffers: encoded ? 2 : ownBuffers(type, description),
  };
}

/** Buffers of a type by the columnar format: validity, then offsets and values as far as it has them. */
function ownBuffers(type: number, description: Table | undefined): number {
  if (type > types.largeList) throw new RangeError(`a column of type ${type}`); // views and run ends: their count is told elsewhere
  if (type === types.null) return 0;
  if (type === types.union) return description?.short(0) === 1 ? 2 : 1;
  if (type === types.struct || type === types.fixedSizeList) return 1;
  return [types.binary, types.utf8, types.largeBinary, types.largeUtf8].includes(type) ? 3 : 2;
}

const nodesOf = (field: Field): number => field.children.reduce((sum, child) => sum + nodesOf(child), 1);

const buffersOf = (field: Field): number => field.children.reduce((sum, child) => sum + buffersOf(child), field.buffers);

interface Body {
  handle: FileHandle;
  path: string;
  body: number;
  bodyLength: number;
}

async function batchMatrix(batch: Table, place: Column, body: Body, shape: readonly [number, number], damaged: (what: string, hint?: string) => CochleaError): Promise<MatrixFile> {
  const { handle, path } = body;
  const { levels, dtype } = place;
  if (batch.table(3)) throw damaged('its record batches are compressed', 'datasets saves them plain: save it anew by save_to_disk');
  const nodes = batch.pairs(1), buffers = batch.pairs(2), cells = batch.count(0);
  if (nodes.length !== place.nodes || buffers.length !== place.buffers) throw damaged(`a record batch has ${nodes.length} nodes and ${buffers.length} buffers, its schema asks for ${place.nodes} and ${place.buffers}`);
  const [rows, columns] = shape;
  let count = cells; // lists of the level, then numbers
  let first = 0, buffer = place.buffer;
  for (const [depth, field] of levels.entries()) {
    const [length, nulls] = nodes[place.node + depth]!;
    const name = ['cells', 'rows', 'numbers'][depth]!;
    if (nulls !== 0) throw damaged(`${nulls} ${name} are null`);
    if (length < first + count) throw damaged(`a record batch has ${length} ${name} where ${first + count} are needed`);
    if (depth === 2) break;
    const size = shape[depth]!;
    if (field.type === types.fixedSizeList) {
      if (field.listSize !== size) throw damaged(`its ${name} are lists of ${field.listSize}, not of ${size}`);
      first *= size;
    } else first = await listStart(body, buffers[buffer + 1]!, { first, count, size, name }, damaged);
    count *= size;
    buffer += field.buffers;
  }
  const [at, bytes] = inBody(buffers[buffer + 1]!, body, damaged);
  const size = dtypeBytes[dtype];
  if ((first + count) * size > bytes) throw damaged(`a record batch has ${bytes} bytes of numbers where ${(first + count) * size} are needed`);
  return { path, rows: cells * rows, columns, dtype, handle, offset: at + first * size };
}

function inBody([offset, length]: [number, number], { body, bodyLength }: Body, damaged: (what: string) => CochleaError): [number, number] {
  if (offset + length > bodyLength) throw damaged(`a buffer ends at byte ${offset + length} of a body of ${bodyLength}`);
  return [body + offset, length];
}

/** Checks that lists `first` ... `first + count - 1` have `size` elements each; returns where the first one begins. */
async function listStart(
  body: Body, buffer: [number, number], { first, count, size, name }: { first: number; count: number; size: number; name: string }, damaged: (what: string) => CochleaError,
): Promise<number> {
  const [at, bytes] = inBody(buffer, body, damaged);
  if (count === 0) return 0;
  if ((first + count + 1) * 4 > bytes) throw damaged(`${first + count} ${name} have ${bytes} bytes of offsets`);
  let begin = -1;
  for (let done = 0; done <= count; done += offsetsAtOnce) {
    const length = Math.min(offsetsAtOnce, count + 1 - done);
    const block = await readExactly(body.handle, body.path, at + 4 * (first + done), 4 * length);
    const view = new DataView(block.buffer, block.byteOffset, block.length);
    if (begin < 0) begin = view.getInt32(0, true);
    for (let i = 0; i < length; i++) {
      if (begin < 0 || view.getInt32(4 * i, true) !== begin + (done + i) * size) throw damaged(`not all of its ${name} have ${size} elements`);
    }
  }
  return begin;
}
