import { CochleaError } from '../errors.ts';
import { readElements } from '../formats/byte-source.ts';
import { dtypeBytes } from '../formats/dtype.ts';
import type { MatrixFile } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import type { FileHandle } from '../runtime/types.ts';
import { type ClipSpan, type ClipTable, openClipTable } from './clip-table.ts';
import { readAhead } from './read-ahead.ts';
import { chunkStatistics } from './statistics.ts';
import type { ActivationInfo, FrameChunk, FrameSource, TargetInfo } from './types.ts';

const chunkBytes = 8 << 20;

/** Frames that lie in matrices of files, below each other. */
export interface MatrixFrames {
  /** Of the file or folder, for messages and for clips that have no other name. */
  name: string;
  path: string;
  frames: readonly MatrixFile[];
  info: ActivationInfo;
  target?: { matrices: readonly MatrixFile[]; info: TargetInfo };
  /** clips.jsonl. */
  clipTable?: string;
  /** [rows, 1], where there is no such table: the number of each row's clip, and its seconds in it. */
  clip?: readonly MatrixFile[];
  time?: readonly MatrixFile[];
  close(): Promise<void>;
}

/** The rows of a piece that are frames, where each lies, and whose it is. */
interface Labelled extends Pick<FrameChunk, 'clip' | 'time' | 'clips'> {
  kept: readonly { from: number; rows: number }[];
}

/**
 * A source over matrices. A chunk is 8 MiB of them (as float32, with their targets), so that memory does not depend on how large the files are. Throws
 * `file-damaged` when they do not fit together.
 */
export async function matrixSource(given: MatrixFrames): Promise<FrameSource & { close(): Promise<void> }> {
  const { info, target, path } = given;
  const { dIn } = info;
  const frames = joined(given.frames, dIn, path);
  const columns = { target: target && joined(target.matrices, target.info.dOut, path), clip: given.clip && joined(given.clip, 1, path), time: given.time && joined(given.time, 1, path) };
  if (frames.rows === 0) throw new CochleaError('file-damaged', `${path} holds no frames`);
  for (const [what, column] of Object.entries(columns)) {
    if (column && column.rows !== frames.rows) throw new CochleaError('file-damaged', `${path} has a ${what} for ${column.rows} rows, not for each of its ${frames.rows} frames`);
  }
  const chunkRows = Math.max(1, Math.floor(chunkBytes / (4 * (dIn + (target?.info.dOut ?? 0)))));
  const table = given.clipTable === undefined ? undefined : await openClipTable(given.clipTable, frames.rows, chunkRows);

  const label = async (number: number, first: number, count: number): Promise<Labelled> => {
    if (table) return fromTable(await table.spans(number), first, count, info.frameRate);
    const time = columns.time ? Float32Array.from(await columns.time.read(first, count, new Float64Array(count))) : Float32Array.from({ length: count }, (_, row) => (first + row) / info.frameRate);
    const kept = [{ from: 0, rows: count }];
    if (!columns.clip) return { kept, time, clip: new Uint32Array(count), clips: [{ id: given.name, path, labels: {} }] };
    return { kept, time, ...fromNumbers(await columns.clip.read(first, count, new Float64Array(count)), given.name, path) };
  };
  const readChunk = async (number: number): Promise<FrameChunk> => {
    const first = number * chunkRows;
    const count = Math.min(chunkRows, frames.rows - first);
    const { kept, ...labels } = await label(number, first, count);
    const compact = async ({ read, width }: Joined): Promise<Float32Array> => packed(await read(first, count, new Float32Array(count * width)), width, kept);
    return { x: await compact(frames), rows: labels.clip.length, ...labels, ...(columns.target && { target: await compact(columns.target) }) };
  };
  const chunks: FrameSource['chunks'] = (options) => readAhead(Math.ceil(frames.rows / chunkRows), readChunk, options);

  let computed: ReturnType<typeof chunkStatistics> | undefined;
  const compute = (): ReturnType<typeof chunkStatistics> => (computed ??= chunkStatistics(chunks({ seed: 0, epoch: undefined, from: 0 }), dIn, target?.info.dOut));
  return {
    dIn,
    info,
    rows: (table as ClipTable | undefined)?.rows ?? frames.rows,
    chunks,
    statistics: async () => (await compute()).frames,
    close: () => given.close(),
    ...(target && { dOut: target.info.dOut, targetInfo: target.info, targetStatistics: async () => (await compute()).target! }),
  };
}

interface Joined {
  rows: number;
  width: number;
  /** Fills `out` with rows `first` ... `first + count - 1`. */
  read<T extends Float32Array | Float64Array>(first: number, count: number, out: T): Promise<T>;
}

function joined(matrices: readonly MatrixFile[], width: number, path: string): Joined {
  const ends = new Float64Array(matrices.length);
  let rows = 0;
  for (const [n, matrix] of matrices.entries()) {
    if (matrix.columns !== width) throw new CochleaError('file-damaged', `${matrix.path} has rows of ${matrix.columns} numbers, others of ${path} have ${width}`);
    ends[n] = rows += matrix.rows;
  }
  return {
    rows, width,
    async read(first, count, out) {
      let at = first;
      for (let n = firstAbove(ends, first); at < first + count; n++) {
        const { handle, path: file, dtype, offset, rows: ofMatrix } = matrices[n]!;
        const row = at - (ends[n]! - ofMatrix);
        const taken = Math.min(ofMatrix - row, first + count - at);
        const part = out.subarray((at - first) * width, (at - first + taken) * width) as typeof out;
        await readElements(handle, file, offset + row * width * dtypeBytes[dtype], dtype, part);
        at += taken;
      }
      return out;
    },
  };
}

/** Index of the first value of an ascending list that is above `value`. */
function firstAbove(ascending: Float64Array, value: number): number {
  let low = 0, high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

function fromTable(spans: readonly ClipSpan[], first: number, count: number, frameRate: number): Labelled {
  const kept = spans.map(({ first_row, rows }) => {
    const from = Math.max(first_row, first);
    return { from: from - first, rows: Math.min(first_row + rows, first + count) - from };
  });
  const total = kept.reduce((sum, { rows }) => sum + rows, 0);
  const clip = new Uint32Array(total), time = new Float32Array(total);
  let at = 0;
  for (const [n, { from, rows }] of kept.entries()) {
    const frame = spans[n]!.first_frame + first + from - spans[n]!.first_row;
    for (let r = 0; r < rows; r++, at++) {
      clip[at] = n;
      time[at] = (frame + r) / frameRate;
    }
  }
  return { kept, clip, time, clips: spans.map(({ id, path, labels }) => ({ id, path, labels })) };
}

function fromNumbers(numbers: Float64Array, name: string, path: string): Pick<Labelled, 'clip' | 'clips'> {
  const indices = new Map<number, number>();
  const clip = Uint32Array.from(numbers, (number) => {
    if (!indices.has(number)) indices.set(number, indices.size);
    return indices.get(number)!;
  });
  return { clip, clips: [...indices.keys()].map((number) => ({ id: `${name} ${number}`, path, labels: {} })) };
}

/** The kept rows, moved together. */
function packed(values: Float32Array, width: number, kept: Labelled['kept']): Float32Array {
  let at = 0;
  for (const { from, rows } of kept) {
    if (from !== at) values.copyWithin(at * width, from * width, (from + rows) * width);
    at += rows;
  }
  return at * width === values.length ? values : values.slice(0, at * width);
}

/** A file that is opened for each read alone, so that a folder may have any number of them. Throws `file-damaged` once its size is another. */
export async function closedFile(path: string): Promise<FileHandle> {
  const { size } = await runtime.files.info(path) ?? {};
  if (size === undefined) throw new CochleaError('file-missing', `no such file: ${path}`);
  return {
    size,
    read: async (offset, length) => {
      const handle = await runtime.files.open(path);
      try {
        if (handle.size !== size) throw new CochleaError('file-damaged', `${path} was changed while it was read`);
        return await handle.read(offset, length);
      } finally {
        await handle.close();
      }
    },
    close: async () => {},
  };
}

/** SHA-256 of a file. */
export async function fileHash(handle: Pick<FileHandle, 'size' | 'read'>): Promise<string> {
  const hash = runtime.sha256();
  for (let at = 0; at < handle.size; at += chunkBytes) hash.update(await handle.read(at, chunkBytes));
  return hash.hex();
}

/** SHA-256 over one line `["<file>","<sha256>"]` for each of some files, in order. */
export async function filesHash(paths: readonly string[]): Promise<string> {
  const hash = runtime.sha256();
  for (const path of paths) hash.update(new TextEncoder().encode(`${JSON.stringify([runtime.paths.basename(path), await fileHash(await closedFile(path))])}\n`));
  return hash.hex();
}
