import { CochleaError } from '../errors.ts';
import { runtime } from './index.ts';

/**
 * Makes the folder `out`, which appears when `fill` has filled a hidden one beside it, or not at all; what is left of one that was stopped goes
 * with it. An empty folder at `out` is no hindrance. Of several processes that make the same folder the last to begin goes on: what others have
 * written goes, and they stop. Returns what `fill` returns. Throws `file-exists` when there is something at `out` or another process makes
 * it, and what `fill` throws.
 */
export async function writeWholeFolder<T>(out: string, fill: (folder: string) => Promise<T>): Promise<T> {
  const { files, paths } = runtime;
  /** Whether an empty folder is there. */
  const refuseTaken = async (): Promise<boolean> => {
    const there = await files.info(out);
    if (there && (!there.isDirectory || (await files.list(out)).length > 0)) throw new CochleaError('file-exists', `there is something at ${out} already`, 'choose another folder');
    return there !== undefined;
  };
  await refuseTaken();
  const whole = paths.resolve(out); // `.` cannot be removed under this name
  const partial = paths.join(paths.dirname(whole), `.${paths.basename(whole)}.partial`);
  const own = [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const folder = paths.join(partial, own), mark = paths.join(partial, `${own}.mark`);
  await files.remove(partial); // of one that was killed
  await files.write(mark, '');
  await files.makeFolder(folder);
  const isOurs = async (): Promise<boolean> => await files.info(mark) !== undefined;
  const other = (cause?: unknown): CochleaError => new CochleaError('file-exists', `another process has begun to write ${out}`, 'let it finish, or choose another folder', { cause });
  try {
    const result = await fill(folder);
    if (!await isOurs()) throw other();
    if (await refuseTaken()) await files.remove(whole);
    await files.rename(folder, whole);
    await files.remove(partial);
    return result;
  } catch (error) {
    const ours = await isOurs();
    await files.remove(folder);
    if (ours || (await files.info(partial) && (await files.list(partial)).length === 0)) await files.remove(partial);
    throw ours || (error instanceof CochleaError && error.code === 'interrupted') ? error : other(error);
  }
}
