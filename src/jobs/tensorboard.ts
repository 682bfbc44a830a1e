import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { exportEvents } from '../training/index.ts';

/**
 * Writes an event file of TensorBoard beside the metrics.jsonl of a run, or beside each one in a run of many SAEs. Returns their paths. Throws
 * `file-missing` when there is none.
 */
export async function writeEventFiles(run: string): Promise<string[]> {
  const { files, paths } = runtime;
  const folders = [run, ...((await files.info(run))?.isDirectory ? (await files.list(run)).map((name) => paths.join(run, name)) : [])];
  const written: string[] = [];
  for (const folder of folders) {
    const metrics = paths.join(folder, 'metrics.jsonl');
    if (await files.info(metrics)) written.push(await exportEvents(metrics));
  }
  if (written.length === 0) throw new CochleaError('file-missing', `there is no training run in ${run}: no metrics.jsonl`, 'name the --out of `cochlea train`');
  return written;
}
