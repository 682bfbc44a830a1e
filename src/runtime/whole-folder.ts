import { CochleaError } from '../errors.ts';
import { runtime } from './index.ts';

/**
 * Makes the folder `out`, which appears when `fill` has filled a hidden one beside it, or not at all; what is left of one that was stopped goes
 * with it. An empty folder at `out` is no hindrance. Returns what `fill` returns. Throws `file-exists` when there is something at `out`, and
 * what `fill` throws.
 */
export async function writeWholeFolder<T>(out: string, fill: (folder: string) => Promise<T>): Promise<T> {
  const { files, paths } = runtime;
  const there = await files.info(out);
  if (there && (!there.isDirectory || (await files.list(out)).length > 0)) throw new CochleaError('file-exists', `there is something at ${out} already`, 'choose another folder');
  const whole = paths.resolve(out); // `.` cannot be removed under this name
  const partial = paths.join(paths.dirname(whole), `.${paths.basename(whole)}.partial`);
  await files.remove(partial); // of one that was killed
  await files.makeFolder(partial);
  try {
    const result = await fill(partial);
    if (there) await files.remove(whole);
    await files.rename(partial, whole);
    return result;
  } catch (error) {
    await files.remove(partial);
    throw error;
  }
}
