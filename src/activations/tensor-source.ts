import { CochleaError } from '../errors.ts';
import { openNpy, openSafetensors, readMatrixRows } from '../formats/index.ts';
import type { MatrixFile } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import { readAhead } from './read-ahead.ts';
import { StatisticsAccumulator } from './statistics.ts';
import type { FrameStatistics } from './statistics.ts';
import type { ActivationInfo, FrameChunk, FrameSource } from './types.ts';

const chunkBytes = 8 << 20;

/**
 * Frames from a matrix [rows, dIn] that another program saved: the tensor `x` (or another name) of a .safetensors file,
 * or a .npy file. The file is read once on opening, for its SHA-256 (`info.dataSha256`); frames are read in chunks of
 * 8 MiB (as float32), so memory does not depend on the file. Such a file knows neither clips nor time: all rows belong to
 * one clip with the name of the file, and `time` counts rows unless `info` gives a frame rate.
 * Throws `file-missing`; `file-damaged` for a file or tensor that is no matrix; `usage` for another kind of file.
 */
export async function openTensorSource(
  path: string, options: { tensor?: string; info?: Partial<Omit<ActivationInfo, 'dIn' | 'dataSha256'>> } = {},
): Promise<FrameSource & { close(): Promise<void> }> {
  const matrix = await openMatrix(path, options.tensor ?? 'x');
  try {
    return await matrixSource(matrix, options.info ?? {});
  } catch (error) {
    await matrix.handle.close();
    throw error;
  }
}

async function openMatrix(path: string, tensor: string): Promise<MatrixFile> {
  const extension = runtime.paths.extname(path).toLowerCase();
  if (extension !== '.npy' && extension !== '.safetensors') {
    throw new CochleaError('usage', `${path} is neither a .safetensors nor a .npy file`);
  }
  const file = extension === '.npy' ? await openNpy(path) : await openSafetensors(path);
  try {
    const matrix = file.matrix(tensor);
    if (matrix.rows === 0 || matrix.columns === 0) {
      throw new CochleaError('file-damaged', `${path} holds no frames: its shape is [${matrix.rows}, ${matrix.columns}]`);
    }
    return matrix;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function matrixSource(matrix: MatrixFile, given: Partial<ActivationInfo>): Promise<FrameSource & { close(): Promise<void> }> {
  const { path, rows, columns: dIn } = matrix;
  const name = runtime.paths.basename(path);
  const info: ActivationInfo = {
    model: '', modelSha256: '', hook: name, layer: null, frameRate: 1, sampleRate: 0, ...given, dIn, dataSha256: await fileHash(matrix),
  };
  const chunkRows = Math.max(1, Math.floor(chunkBytes / (4 * dIn)));
  const chunkCount = Math.ceil(rows / chunkRows);

  const readChunk = async (number: number): Promise<FrameChunk> => {
    const first = number * chunkRows;
    const count = Math.min(chunkRows, rows - first);
    const x = await readMatrixRows(matrix, first, count);
    const time = Float32Array.from({ length: count }, (_, row) => (first + row) / info.frameRate);
    return { x, rows: count, clip: new Uint32Array(count), time, clips: [{ id: name, path, labels: {} }] };
  };

  let statistics: Promise<FrameStatistics> | undefined;
  const computeStatistics = async (): Promise<FrameStatistics> => {
    const accumulator = new StatisticsAccumulator(dIn);
    for (let number = 0; number < chunkCount; number++) {
      const { x, rows: count } = await readChunk(number);
      accumulator.add(x, count);
    }
    return accumulator.result();
  };

  return {
    dIn,
    info,
    rows,
    chunks: (options) => readAhead(chunkCount, readChunk, options),
    statistics: () => (statistics ??= computeStatistics()),
    close: () => matrix.handle.close(),
  };
}

async function fileHash({ handle }: MatrixFile): Promise<string> {
  const hash = runtime.sha256();
  for (let at = 0; at < handle.size; at += chunkBytes) hash.update(await handle.read(at, chunkBytes));
  return hash.hex();
}
