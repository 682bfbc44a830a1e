/** The files of one SAE in a local folder, under names relative to it. No name from a file is ever used as a path. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { FileHandle } from '../runtime/types.ts';

export interface FileSet {
  readonly folder: string;
  /** The names of the folder and of those that it lies in, outermost first, whatever it was asked for by: some families tell by these alone what an SAE is. */
  readonly place: readonly string[];
  /** The file that the SAE was asked for by, where a folder holds many, one SAE per file. */
  readonly main: string | undefined;
  /** Names of files in the folder and in its folder `checkpoints`. */
  readonly names: ReadonlySet<string>;
  path(name: string): string;
  open(name: string): Promise<FileHandle>;
}

/** Configuration files are a few kilobytes; more is no configuration. */
const maxConfigBytes = 1 << 20;

/**
 * The SAE `id` of a folder, or the folder or file itself. Throws `file-missing`; `usage` for an id that leaves the folder.
 */
export async function openFileSet(path: string, id?: string): Promise<FileSet> {
  const { paths, files } = runtime;
  if (id !== undefined && !isInside(id)) throw new CochleaError('usage', `${JSON.stringify(id.slice(0, 80))} is no SAE of ${path}`, 'an id is a path below the folder');
  const at = id === undefined ? path : paths.join(path, ...id.split('/'));
  const info = await files.info(at);
  if (!info) throw new CochleaError('file-missing', id === undefined ? `there is nothing at ${path}` : `${path} has no ${id}`);
  const folder = info.isDirectory ? at : paths.dirname(at);
  const names = new Set<string>();
  for (const name of await files.list(folder)) {
    if (!(await files.info(paths.join(folder, name)))?.isDirectory) names.add(name);
    else if (name === 'checkpoints') for (const inner of await files.list(paths.join(folder, name))) names.add(`${name}/${inner}`);
  }
  const pathOf = (name: string): string => paths.join(folder, ...name.split('/'));
  const place = paths.resolve(folder).split(/[\\/]/).filter((part) => part !== '');
  return { folder, place, main: info.isDirectory ? undefined : paths.basename(at), names, path: pathOf, open: (name) => files.open(pathOf(name)) };
}

/** Whether a relative path with '/' stays where it begins, on every platform. */
export function isInside(path: string): boolean {
  return !/^[a-z]:/i.test(path) && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\\0]/.test(part));
}

/** The text of a small file. Throws `file-damaged` for a large one. */
export async function readSmallText(files: FileSet, name: string): Promise<string> {
  const size = (await runtime.files.info(files.path(name)))?.size ?? 0;
  if (size > maxConfigBytes) throw new CochleaError('file-damaged', `${files.path(name)} has ${size} bytes, a configuration at most ${maxConfigBytes}`);
  return runtime.files.readText(files.path(name));
}
