/**
 * input_mean.safetensors of an SAE's folder: `mean` [d_in], what was subtracted from every frame before training, which is the mean of the training
 * frames. The weights have it folded in, so that it cannot be had from them; mean ablation and the SAE as it was before its first step need it.
 */
import { CochleaError } from '../errors.ts';
import { openSafetensors, writeSafetensors } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';

export const inputMeanFile = 'input_mean.safetensors';

const fileOf = (folder: string): string => runtime.paths.join(folder, inputMeanFile);

export function writeInputMean(folder: string, mean: Float32Array): Promise<void> {
  return writeSafetensors(fileOf(folder), [{ name: 'mean', dtype: 'F32', shape: [mean.length], data: mean }]);
}

/** Undefined where the folder has none: the frames were not centred, or the SAE was trained elsewhere. Throws `file-damaged` for one of another d_in. */
export async function readInputMean(folder: string, dIn: number): Promise<Float32Array | undefined> {
  const path = fileOf(folder);
  if (!await runtime.files.info(path)) return undefined;
  const file = await openSafetensors(path);
  try {
    const mean = await file.readFloat32('mean');
    if (mean.length !== dIn) throw new CochleaError('file-damaged', `${path} is the mean of frames of d_in ${mean.length}, the SAE beside it has d_in ${dIn}`);
    return mean;
  } finally {
    await file.close();
  }
}
