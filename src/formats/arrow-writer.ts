/** Arrow IPC streams as Hugging Face `datasets` reads them: columns of matrices (its Array2D), and of lists of int32. */

import { dtypeBytes } from './dtype.ts';

export interface ArrowColumn {
  name: string;
  /** Of a cell: [rows, columns] of floats, or [length] of int32. */
  shape: readonly number[];
  dtype: 'F16' | 'F32' | 'I32';
}

export interface ArrowWriter {
  /** The schema: what a stream begins with. */
  readonly begin: Uint8Array;
  /** A record batch of `cells` cells as the pieces of its message; `data` has the elements of each column, little endian. Nothing is copied. */
  batch(cells: number, data: readonly Uint8Array[]): Uint8Array[];
  /** What a stream ends with. */
  readonly end: Uint8Array;
}

/** Loads apache-arrow, which encodes the messages, when it is called. */
export async function arrowWriter(columns: readonly ArrowColumn[]): Promise<ArrowWriter> {
  const { Field, Float16, Float32, Int32, List, Message, Schema } = await import('apache-arrow');
  const { BufferRegion, FieldNode, RecordBatch } = await import('apache-arrow/ipc/metadata/message');

  const leaves = { F16: () => new Float16(), F32: () => new Float32(), I32: () => new Int32() };
  const fields = columns.map(({ name, shape, dtype }) => {
    // pyarrow names a list's elements `item` and lets them be null.
    let type: InstanceType<typeof List> | ReturnType<(typeof leaves)[keyof typeof leaves]> = leaves[dtype]();
    for (const _ of shape) type = new List(new Field('item', type, true));
    return new Field(name, type, true, extension(shape, dtype));
  });

  const batch: ArrowWriter['batch'] = (cells, data) => {
    const nodes: InstanceType<typeof FieldNode>[] = [], regions: InstanceType<typeof BufferRegion>[] = [], body: Uint8Array[] = [];
    let at = 0;
    const put = (bytes: Uint8Array): void => {
      const rest = -bytes.length & 7;
      regions.push(new BufferRegion(at, bytes.length));
      body.push(bytes, ...(rest > 0 ? [new Uint8Array(rest)] : []));
      at += bytes.length + rest;
    };
    const none = new Uint8Array(0); // no validity bits where nothing is null
    for (const [n, { shape }] of columns.entries()) {
      let count = cells;
      for (const size of shape) {
        nodes.push(new FieldNode(count, 0));
        put(none);
        put(new Uint8Array(Int32Array.from({ length: count + 1 }, (_, i) => i * size).buffer));
        count *= size;
      }
      nodes.push(new FieldNode(count, 0));
      put(none);
      put(data[n]!);
    }
    return [framed(Message.encode(Message.from(new RecordBatch(cells, nodes, regions, null), at))), ...body];
  };
  return { begin: framed(Message.encode(Message.from(new Schema(fields)))), batch, end: Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0) };
}

/** How many cells a record batch may have: offsets are int32, and about 8 MiB of data at once. */
export function cellsPerBatch({ shape, dtype }: ArrowColumn): number {
  return Math.max(1, Math.floor((8 << 20) / (shape.reduce((product, size) => product * size, dtypeBytes[dtype]))));
}

/** What makes pyarrow give a column to datasets as its Array2D. */
function extension(shape: readonly number[], dtype: ArrowColumn['dtype']): Map<string, string> {
  if (shape.length !== 2) return new Map();
  return new Map([
    ['ARROW:extension:metadata', `[[${shape.join(', ')}], "${dtype === 'F16' ? 'float16' : 'float32'}"]`],
    ['ARROW:extension:name', 'datasets.features.features.Array2DExtensionType'],
  ]);
}

/** The mark, the length, and the message padded so that its body begins at a multiple of 8. */
function framed(message: Uint8Array): Uint8Array {
  const length = Math.ceil(message.length / 8) * 8;
  const bytes = new Uint8Array(8 + length);
  new DataView(bytes.buffer).setInt32(0, -1, true);
  new DataView(bytes.buffer).setInt32(4, length, true);
  bytes.set(message, 8);
  return bytes;
}
