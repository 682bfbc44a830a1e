/** Frames for other programs: a dataset of Hugging Face as SAELens trains on, .safetensors or .npy files. */
import { CochleaError } from '../errors.ts';
import { type ArrowColumn, arrowWriter, cellsPerBatch } from '../formats/arrow-writer.ts';
import { encodeElements } from '../formats/dtype.ts';
import { writeSafetensors } from '../formats/index.ts';
import { npyHeader } from '../formats/npy.ts';
import { runtime } from '../runtime/index.ts';
import { writeWholeFolder } from '../runtime/whole-folder.ts';
import { type ClipSpan, clipTableWriter } from './clip-table.ts';
import { type Cells, contextCells } from './contexts.ts';
import { writeDatasetFiles } from './dataset-folder.ts';
import { clipTableName, type FramesRecord, writeFramesRecord } from './frames-folder.ts';
import { isFiniteRow } from './halves.ts';
import { runs } from './runs.ts';
import { elementType, type StoreDType } from './shard.ts';
import type { FrameSource } from './types.ts';

const { files, paths } = runtime;

export const exportForms = ['datasets', 'safetensors', 'npy'] as const;

export interface ExportOptions {
  to: (typeof exportForms)[number];
  dtype: StoreDType;
  /** Of a dataset: frames per row. Frames at a clip's end that do not fill one are left out and counted, unless `pad`. */
  context?: number;
  /** Fill the last context of a clip with zeros; `token_ids` says 1 for frames and 0 for these. */
  pad?: boolean;
  /** Bytes of a file's frames at most, about; 512 MiB unless told. */
  fileBytes?: number;
  signal?: AbortSignal;
  onProgress?: (progress: { frames: number; of: number | undefined }) => void;
}

export interface ExportResult {
  out: string;
  /** Frames written, those left out, and rows of zeros. */
  frames: number;
  dropped: number;
  padding: number;
  /** Rows with NaN or infinity, of frames and of targets; they are written as they are. */
  notFinite: number;
  /** Clips, or parts of clips where frames are missing. */
  clips: number;
  files: readonly string[];
}

/**
 * Writes all frames of a source, in stored order, to a new folder: the files of the form, clips.jsonl, frames.json. The folder appears whole when all
 * is written; what is left of an export that was stopped goes with it. Memory: a chunk of the source and about 16 MiB. Throws `file-exists`
 * when there is something at `out`, `not-finite` for a number beyond float16 in an export of float16, `config` when no clip fills a context
 * or a context is too long, `interrupted` when the signal aborts.
 */
export async function exportFrames(source: FrameSource, out: string, options: ExportOptions): Promise<ExportResult> {
  return writeWholeFolder(out, async (folder) => {
    const clips = spanWriter(paths.join(folder, clipTableName));
    const tally: Tally = { notFinite: 0 };
    const written = await (options.to === 'datasets' ? exportDataset : exportTensors)(source, folder, options, clips, tally);
    const { info, targetInfo } = source;
    await clips.finish();
    await writeFramesRecord(folder, { info, ...(targetInfo && { target: targetInfo }), dtype: options.dtype, ...written });
    const { frames, dropped, padding } = written;
    return { out, frames, dropped, padding, ...tally, clips: clips.count, files: written.files.flatMap(({ file, target }) => (target === undefined ? [file] : [file, target])) };
  });
}

/** Counted up while values are looked at. */
type Tally = Pick<ExportResult, 'notFinite'>;

type Written = Pick<FramesRecord, 'frames' | 'padding' | 'dropped' | 'context' | 'files'>;

interface SpanWriter {
  /** Rows of the files that hold neighbouring frames of a clip; they join the span before them where they continue it. */
  add(span: ClipSpan): Promise<void>;
  finish(): Promise<void>;
  readonly count: number;
}

function spanWriter(path: string): SpanWriter {
  const table = clipTableWriter(path);
  let open: ClipSpan | undefined, count = 0;
  const close = async (): Promise<void> => {
    if (open) await table.add(open);
  };
  return {
    async add(span) {
      if (open?.id === span.id && open.first_frame + open.rows === span.first_frame && open.first_row + open.rows === span.first_row) {
        open.rows += span.rows;
        return;
      }
      await close();
      open = span;
      count++;
    },
    async finish() {
      await close();
      await table.finish();
    },
    get count() {
      return count;
    },
  };
}

const numbered = (name: string, n: number, of: number, extension: string): string => `${name}-${String(n).padStart(5, '0')}-of-${String(of).padStart(5, '0')}.${extension}`;

/** Of a dataset's row, as float32: it is held whole, and Arrow counts in 32 bits. */
const mostRowBytes = 2 ** 30;

async function exportDataset(source: FrameSource, folder: string, options: ExportOptions, clips: SpanWriter, tally: Tally): Promise<Written> {
  const { dtype, context = 16, pad = false, fileBytes = 512 << 20 } = options;
  const { info, targetInfo, rows } = source;
  const element = elementType(dtype);
  const columns: ArrowColumn[] = [
    { name: info.hook, shape: [context, source.dIn], dtype: element },
    ...(targetInfo ? [{ name: targetInfo.hook, shape: [context, targetInfo.dOut], dtype: element }] : []),
    ...(pad ? [{ name: 'token_ids', shape: [context], dtype: 'I32' as const }] : []),
  ];
  const cellBytes = columns.reduce((sum, { shape, dtype: type }) => sum + shape.reduce((product, size) => product * size, type === 'F16' ? 2 : 4), 0);
  const cells = Math.max(1, Math.min(cellsPerBatch(columns[0]!), Math.floor(fileBytes / cellBytes)));
  const batchesPerFile = Math.max(1, Math.floor(fileBytes / (cells * cellBytes)));
  const most = Math.floor(mostRowBytes / (4 * (source.dIn + (targetInfo?.dOut ?? 0))));
  if (context > most) throw new CochleaError('config', `a context of ${context} frames is more than a row of a dataset can hold here`, `${most} are possible`);
  const writer = await arrowWriter(columns);
  const hash = runtime.sha256();
  const counts = { frames: 0, padding: 0, dropped: 0 };
  const batches = contextCells(source, { context, cells, pad, counts, clips: (span) => clips.add(span), ...(options.signal && { signal: options.signal }) });
  const encoded = ({ x, target, ids, count }: Cells): Uint8Array[] => [
    encodeElements(checked(x, source.dIn, dtype, tally), element), ...(target ? [encodeElements(checked(target, targetInfo!.dOut, dtype, tally), element)] : []),
    ...(pad ? [new Uint8Array(ids.buffer, 0, count * context * 4)] : []),
  ];

  let count = 0;
  try {
    let next = await batches.next();
    if (next.done) throw new CochleaError('config', `no clip has ${context} frames`, 'take a smaller --context, or --pad');
    const oneFile = async function* (): AsyncGenerator<Uint8Array> {
      yield writer.begin;
      for (let n = 0; n < batchesPerFile && !next.done; n++) {
        for (const piece of writer.batch(next.value.count, encoded(next.value))) {
          hash.update(piece);
          yield piece;
        }
        options.onProgress?.({ frames: counts.frames + counts.dropped, of: rows });
        next = await batches.next();
      }
      yield writer.end;
    };
    for (; !next.done; count++) await files.write(paths.join(folder, `${count}.arrow`), oneFile());
  } finally {
    await batches.return(undefined);
  }
  const names = Array.from({ length: count }, (_, n) => numbered('data', n, count, 'arrow'));
  for (const [n, name] of names.entries()) await files.rename(paths.join(folder, `${n}.arrow`), paths.join(folder, name));
  await writeDatasetFiles(folder, columns, names, hash.hex().slice(0, 16));
  return { ...counts, context, files: names.map((file) => ({ file })) };
}

async function exportTensors(
  source: FrameSource, folder: string, { to, dtype, fileBytes = 512 << 20, signal, onProgress }: ExportOptions, clips: SpanWriter, tally: Tally,
): Promise<Written> {
  const { dIn, dOut = 0, rows } = source;
  if (rows === undefined) throw new CochleaError('usage', `how many frames there are is not known before they are computed`, 'export them from a store');
  const element = elementType(dtype);
  const rowsPerFile = Math.max(1, Math.floor(fileBytes / (Math.max(dIn, dOut) * (dtype === 'f16' ? 2 : 4))));
  const count = Math.ceil(rows / rowsPerFile);
  let frames = 0;
  async function* frameValues(): AsyncGenerator<Float32Array> {
    for await (const { clip: { id, path, labels }, firstFrame, rows: here, x } of runs(source, signal)) {
      await clips.add({ id, path, labels, first_frame: firstFrame, first_row: frames, rows: here });
      frames += here;
      onProgress?.({ frames, of: rows });
      yield checked(x, dIn, dtype, tally);
    }
  }
  async function* targetValues(): AsyncGenerator<Float32Array> {
    for await (const { target } of runs(source, signal)) yield checked(target!, dOut, dtype, tally);
  }

  const write = async (name: string, tensor: string, width: number, values: AsyncGenerator<Float32Array>): Promise<string[]> => {
    const names: string[] = [];
    try {
      const take = taker(values);
      for (let n = 0; n < count; n++) {
        const shape = [Math.min(rowsPerFile, rows - n * rowsPerFile), width] as const;
        const file = numbered(name, n, count, to), path = paths.join(folder, file);
        const data = take(shape[0] * width);
        if (to === 'safetensors') await writeSafetensors(path, [{ name: tensor, dtype: element, shape, data }]);
        else await files.write(path, npyPieces(shape, element, data));
        names.push(file);
      }
      if (!(await values.next()).done) throw new CochleaError('file-damaged', `the source has more than the ${rows} frames that it says`);
    } finally {
      await values.return(undefined);
    }
    return names;
  };
  const frameFiles = await write('activations', 'x', dIn, frameValues());
  const targetFiles = dOut > 0 ? await write('targets', 'y', dOut, targetValues()) : [];
  return { frames, padding: 0, dropped: 0, files: frameFiles.map((file, n) => ({ file, ...(dOut > 0 && { target: targetFiles[n]! }) })) };
}

async function* npyPieces(shape: readonly number[], element: 'F16' | 'F32', data: AsyncIterable<Float32Array>): AsyncGenerator<Uint8Array> {
  yield npyHeader(shape, element);
  for await (const piece of data) yield encodeElements(piece, element);
}

/** Gives a stream out in portions of so many numbers, each piece by piece. Throws when it ends too early. */
function taker(values: AsyncGenerator<Float32Array>): (count: number) => AsyncGenerator<Float32Array> {
  let rest = new Float32Array(0);
  return async function* (count) {
    for (let wanted = count; wanted > 0;) {
      if (rest.length === 0) {
        const next = await values.next();
        if (next.done) throw new CochleaError('file-damaged', `the source ends ${wanted} numbers too early`);
        rest = next.value as Float32Array<ArrayBuffer>;
      }
      const piece = rest.subarray(0, wanted);
      rest = rest.subarray(piece.length);
      wanted -= piece.length;
      yield piece;
    }
  };
}

/** The values, none of which float16 would make infinite; rows that are not finite already are counted. */
function checked(values: Float32Array, width: number, dtype: StoreDType, tally: Tally): Float32Array {
  for (let row = 0, rows = values.length / width; row < rows; row++) if (!isFiniteRow(values, undefined, row, width)) tally.notFinite++;
  if (dtype === 'f32') return values;
  const bad = values.findIndex((value) => Math.abs(value) >= 65520 && Number.isFinite(value)); // halfway to the next power of two
  if (bad >= 0) throw new CochleaError('not-finite', `activation ${values[bad]!.toPrecision(4)} in dimension ${bad % width} does not fit float16`, 'export as f32');
  return values;
}
