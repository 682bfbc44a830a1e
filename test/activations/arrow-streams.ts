/** Arrow streams of datasets, written by apache-arrow's own builders: what pyarrow would write, by other code than ours. */
import { type DataType, Field, Float16, Float32, List, FixedSizeList, makeData, RecordBatch, RecordBatchStreamWriter, Schema, Struct, tableFromIPC, type Data } from 'apache-arrow';
import { encodeFloat16 } from '../../src/formats/index.ts';

export type Lists = 'list' | 'fixed';

export interface Stream {
  hook: string;
  shape: [number, number];
  /** Cells per record batch. */
  batches: number[];
  lists?: [Lists, Lists];
  dtype?: 'float32' | 'float16';
  /** As datasets writes it; undefined for none. */
  metadata?: Map<string, string>;
  /** Columns in front and behind, of the types that text datasets have. */
  others?: (cells: number) => { name: string; data: Data }[];
  /** An outer offset is wrong in the last batch. */
  ragged?: boolean;
  /** Cells before the first one that the batch's offsets point to, as a slice has them. */
  skipped?: number;
  nulls?: boolean;
}

/** Number `i` of all numbers of a stream: exact in float16. */
export const numberAt = (i: number): number => ((i * 37) % 401) / 8 - 25;

const offsets = (count: number, size: number, skipped = 0): Int32Array => Int32Array.from({ length: count + 1 }, (_, i) => (skipped + i) * size);

/** The bytes of a stream whose numbers are numberAt(0), numberAt(1), ... cell by cell. */
export function arrowStream({ hook, shape, batches, lists = ['list', 'list'], dtype = 'float32', metadata, others, ragged = false, skipped = 0, nulls = false }: Stream): Uint8Array {
  const [rows, columns] = shape;
  const leaf = dtype === 'float16' ? new Float16() : new Float32();
  const listOf = (kind: Lists, size: number, type: DataType): DataType => {
    const item = new Field('item', type, true);
    return kind === 'fixed' ? new FixedSizeList(size, item) : new List(item);
  };
  const inner = listOf(lists[1], columns, leaf), outer = listOf(lists[0], rows, inner);
  let at = 0;
  const made = batches.map((cells, n) => {
    const before = skipped * rows * columns;
    const values = Float32Array.from({ length: before + cells * rows * columns }, (_, i) => (i < before ? 999 : numberAt(at + i - before)));
    at += cells * rows * columns;
    const halves = new Uint16Array(values.length);
    encodeFloat16(values, halves);
    const leafData = makeData({ type: leaf as Float32, length: values.length, nullCount: 0, data: (dtype === 'float16' ? halves : values) as Float32Array });
    const list = (kind: Lists, type: DataType, count: number, size: number, child: Data, isOuter: boolean): Data => {
      if (kind === 'fixed') return makeData({ type: type as FixedSizeList, length: count, nullCount: 0, child });
      const valueOffsets = offsets(count, size, isOuter ? skipped : 0);
      if (ragged && isOuter && n === batches.length - 1) valueOffsets[count - 1]! -= 1;
      return makeData({ type: type as List, length: count, nullCount: nulls && isOuter ? 1 : 0, ...(nulls && isOuter && { nullBitmap: new Uint8Array(8).fill(0xfe) }), valueOffsets, child });
    };
    const outerData = list(lists[0], outer, cells, rows, list(lists[1], inner, (skipped + cells) * rows, columns, leafData, false), true);
    const columnsMade = others?.(cells) ?? [];
    const fields = [...columnsMade.slice(0, 1).map(({ name, data }) => new Field(name, data.type, true)), new Field(hook, outer, true, metadata), ...columnsMade.slice(1).map(({ name, data }) => new Field(name, data.type, true))];
    const children = [...columnsMade.slice(0, 1).map(({ data }) => data), outerData, ...columnsMade.slice(1).map(({ data }) => data)];
    const schema = new Schema(fields);
    return new RecordBatch(schema, makeData({ type: new Struct(fields), length: cells, nullCount: 0, children }));
  });
  return RecordBatchStreamWriter.writeAll(made).toUint8Array(true);
}

/** All floats of a column, in order, by apache-arrow's own reader, and the metadata of its field. */
export function readColumn(bytes: Uint8Array, name: string): { values: ArrayLike<number>; metadata: Map<string, string>; type: string; cells: number } {
  const table = tableFromIPC(bytes);
  const field = table.schema.fields.find((one) => one.name === name)!;
  const parts: number[] = [];
  let cells = 0;
  for (const chunk of table.getChild(name)!.data) {
    let data = chunk as Data, from = 0, to = chunk.length;
    cells += to;
    while (data.children.length > 0) {
      [from, to] = [Number(data.valueOffsets![from]), Number(data.valueOffsets![to])];
      data = data.children[0]!;
    }
    for (let i = from; i < to; i++) parts.push((data.values as ArrayLike<number>)[i]!);
  }
  return { values: parts, metadata: field.metadata, type: String(field.type), cells };
}
