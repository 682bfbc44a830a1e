import { CochleaError } from '../errors.ts';
import { openNpy, openSafetensors, readMatrixRows } from '../formats/index.ts';
import type { MatrixFile } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import { readAhead } from './read-ahead.ts';
import { chunkStatistics } from './statistics.ts';
import type { ActivationInfo, FrameChunk, FrameSource, TargetInfo } from './types.ts';

const chunkBytes = 8 << 20;

export interface TensorOptions {
  /** Name of the tensor with the frames: `x` unless told. */
  tensor?: string;
  /** Name of the tensor [rows, dOut] with the target of each frame, when there is to be one. */
  target?: string;
  info?: Partial<Omit<ActivationInfo, 'dIn' | 'dataSha256'>>;
}

/**
 * Frames from a matrix [rows, dIn] that another program saved: a tensor of a .safetensors file, or a .npy file. The file
 * is read once on opening, for its SHA-256 (`info.dataSha256`); frames are read in chunks of 8 MiB (as float32, with
 * their targets), so memory does not depend on the file. Such a file knows neither clips nor time: all rows belong to
 * one clip with the name of the file, and `time` counts rows unless `info` gives a frame rate.
 * Throws `file-missing`; `file-damaged` for a file or tensor that is no matrix, and for a target that has not the rows of
 * the frames; `usage` for another kind of file, and for a target in a .npy file.
 */
export async function openTensorSource(path: string, options: TensorOptions = {}): Promise<FrameSource & { close(): Promise<void> }> {
  const extension = runtime.paths.extname(path).toLowerCase();
  if (extension !== '.npy' && extension !== '.safetensors') {
    throw new CochleaError('usage', `${path} is neither a .safetensors nor a .npy file`);
  }
  if (extension === '.npy' && options.target !== undefined) {
    throw new CochleaError('usage', `${path} holds one tensor, the frames, and none for their targets`,
      `save both as tensors \`${options.tensor ?? 'x'}\` and \`${options.target}\` of a .safetensors file`);
  }
  const file = extension === '.npy' ? await openNpy(path) : await openSafetensors(path);
  try {
    const matrix = file.matrix(options.tensor ?? 'x');
    if (matrix.rows === 0 || matrix.columns === 0) {
      throw new CochleaError('file-damaged', `${path} holds no frames: its shape is [${matrix.rows}, ${matrix.columns}]`);
    }
    const target = options.target === undefined ? undefined : file.matrix(options.target);
    if (target && (target.rows !== matrix.rows || target.columns === 0)) {
      throw new CochleaError('file-damaged',
        `tensor "${options.target}" of ${path} is [${target.rows}, ${target.columns}]: not a target for each of its ${matrix.rows} frames`);
    }
    return await matrixSource(matrix, target, options);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function matrixSource(
  matrix: MatrixFile, target: MatrixFile | undefined, { target: targetName = '', info: given = {} }: TensorOptions,
): Promise<FrameSource & { close(): Promise<void> }> {
  const { path, rows, columns: dIn } = matrix;
  const name = runtime.paths.basename(path);
  const info: ActivationInfo = {
    model: '', modelSha256: '', hook: name, layer: null, frameRate: 1, sampleRate: 0, ...given, dIn, dataSha256: await fileHash(matrix),
  };
  const targetInfo: TargetInfo | undefined = target && { hook: `${name}: ${targetName}`, layer: null, dOut: target.columns };
  const chunkRows = Math.max(1, Math.floor(chunkBytes / (4 * (dIn + (target?.columns ?? 0)))));
  const chunkCount = Math.ceil(rows / chunkRows);

  const readChunk = async (number: number): Promise<FrameChunk> => {
    const first = number * chunkRows;
    const count = Math.min(chunkRows, rows - first);
    const x = await readMatrixRows(matrix, first, count);
    const time = Float32Array.from({ length: count }, (_, row) => (first + row) / info.frameRate);
    const chunk: FrameChunk = { x, rows: count, clip: new Uint32Array(count), time, clips: [{ id: name, path, labels: {} }] };
    return target ? { ...chunk, target: await readMatrixRows(target, first, count) } : chunk;
  };
  const chunks: FrameSource['chunks'] = (options) => readAhead(chunkCount, readChunk, options);

  let computed: ReturnType<typeof chunkStatistics> | undefined;
  const compute = (): ReturnType<typeof chunkStatistics> =>
    (computed ??= chunkStatistics(chunks({ seed: 0, epoch: undefined, from: 0 }), dIn, target?.columns));

  return {
    dIn,
    info,
    rows,
    chunks,
    statistics: async () => (await compute()).frames,
    close: () => matrix.handle.close(),
    ...(targetInfo && { dOut: targetInfo.dOut, targetInfo, targetStatistics: async () => (await compute()).target! }),
  };
}

async function fileHash({ handle }: MatrixFile): Promise<string> {
  const hash = runtime.sha256();
  for (let at = 0; at < handle.size; at += chunkBytes) hash.update(await handle.read(at, chunkBytes));
  return hash.hex();
}
