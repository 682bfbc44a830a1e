import { CochleaError } from '../errors.ts';
import { openNpy, openSafetensors, type Safetensors } from '../formats/index.ts';
import type { MatrixFile, TensorInfo } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import { fileHash, matrixSource } from './matrix-source.ts';
import type { ActivationInfo, FrameSource } from './types.ts';

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
 * their targets), so memory does not depend on the file. A .safetensors file may say more: its metadata the `model`, the `hook` and
 * the `frame_rate`, its tensors `clip` (numbers) and `time` (seconds), [rows] both, whose the rows are and when.
 * Without these tensors all rows belong to one clip with the name of the file, and `time` counts rows at the frame rate, 1 unless told.
 * Throws `file-missing`; `file-damaged` for a file or tensor that is no matrix, and for a target that has not the rows of
 * the frames; `usage` for another kind of file, and for a target in a .npy file.
 */
export async function openTensorSource(path: string, options: TensorOptions = {}): Promise<FrameSource & { close(): Promise<void> }> {
  const { tensor = 'x', target: targetName, info: given = {} } = options;
  const extension = runtime.paths.extname(path).toLowerCase();
  if (extension !== '.npy' && extension !== '.safetensors') {
    throw new CochleaError('usage', `${path} is neither a .safetensors nor a .npy file`);
  }
  if (extension === '.npy' && targetName !== undefined) {
    throw new CochleaError('usage', `${path} holds one tensor, the frames, and none for their targets`,
      `save both as tensors \`${tensor}\` and \`${targetName}\` of a .safetensors file`);
  }
  const file = extension === '.npy' ? await openNpy(path) : await openSafetensors(path);
  try {
    const frames = file.matrix(tensor);
    if (frames.rows === 0 || frames.columns === 0) {
      throw new CochleaError('file-damaged', `${path} holds no frames: its shape is [${frames.rows}, ${frames.columns}]`);
    }
    const target = targetName === undefined ? undefined : file.matrix(targetName);
    if (target && (target.rows !== frames.rows || target.columns === 0)) {
      throw new CochleaError('file-damaged',
        `tensor "${targetName}" of ${path} is [${target.rows}, ${target.columns}]: not a target for each of its ${frames.rows} frames`);
    }
    const name = runtime.paths.basename(path);
    const info: ActivationInfo = {
      model: '', modelSha256: '', hook: name, layer: null, frameRate: 1, sampleRate: 0, ...('tensors' in file ? toldBy(file) : {}), ...given,
      dIn: frames.columns, dataSha256: await fileHash(frames.handle),
    };
    return await matrixSource({
      name, path, frames: [frames], info, ...('tensors' in file ? rowLabels(file, frames) : {}), close: () => file.close(),
      ...(target && { target: { matrices: [target], info: { hook: `${name}: ${targetName}`, layer: null, dOut: target.columns } } }),
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What the metadata of a file tell of its frames. Throws `file-damaged` for a frame rate that is none. */
export function toldBy({ metadata, path }: Safetensors): Partial<ActivationInfo> {
  const { model, hook, frame_rate: rate } = metadata;
  if (rate !== undefined && !(Number(rate) > 0 && Number.isFinite(Number(rate)))) throw new CochleaError('file-damaged', `${path}: its metadata give the frame rate ${JSON.stringify(rate.slice(0, 80))}`);
  return { ...(model !== undefined && { model }), ...(hook !== undefined && { hook }), ...(rate !== undefined && { frameRate: Number(rate) }) };
}

/**
 * The tensors `clip` and `time` of a file that has both, as columns. Throws `file-damaged` when they are of other rows than the frames, and when
 * nobody says how many frames a second has.
 */
export function rowLabels({ tensors, metadata, path }: Safetensors, { handle, rows }: MatrixFile): { clip?: MatrixFile[]; time?: MatrixFile[] } {
  const [clip, time] = ['clip', 'time'].map((name) => tensors.get(name));
  if (!clip || !time) return {};
  const column = (name: string, { shape, dtype, begin }: TensorInfo): MatrixFile[] => {
    if (shape.length !== 1 || shape[0] !== rows) {
      throw new CochleaError('file-damaged', `tensor "${name}" of ${path} has shape [${shape.join(', ')}], not one number for each of its ${rows} frames`);
    }
    return [{ path, rows, columns: 1, dtype, handle, offset: begin }];
  };
  if (metadata['frame_rate'] === undefined) {
    throw new CochleaError('file-damaged', `${path} has times, but not the frame rate`, 'save it with metadata={"frame_rate": "50"}, or whatever it is');
  }
  return { clip: column('clip', clip), time: column('time', time) };
}
