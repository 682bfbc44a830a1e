import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import * as path from 'node:path';
import process from 'node:process';
import { CochleaError } from '../errors.ts';
import type { FileHandle, FileSystem, WritableFile } from './types.ts';

/** What looking for something gives where nothing is, also below a file. */
const nothingThere = ['ENOENT', 'ENOTDIR'];

const making = ['write', 'append to', 'create'];

/** The part of a path that is a file where a folder should be. */
function fileOnTheWay(whole: string): string | undefined {
  for (let part = whole, above = path.dirname(part); ; part = above, above = path.dirname(above)) {
    try {
      return statSync(part).isDirectory() ? undefined : part;
    } catch {
      if (above === part) return undefined;
    }
  }
}

function explain(error: unknown, path: string, doing: string): CochleaError {
  const code = (error as { code?: string }).code ?? '';
  const inTheWay = ['ENOTDIR', 'EEXIST'].includes(code) && making.includes(doing) ? fileOnTheWay(path) : undefined;
  if (inTheWay !== undefined) return new CochleaError('file-system', `cannot ${doing} ${path}: ${inTheWay} is a file, not a folder`, undefined, { cause: error });
  if (code === 'ENOENT' && making.includes(doing)) return new CochleaError('file-system', `cannot ${doing} ${path}: no folder can be made there`, 'choose another place', { cause: error });
  if (nothingThere.includes(code)) return new CochleaError('file-missing', `no such file or folder: ${path}`, undefined, { cause: error });
  const why: Record<string, string> = {
    EACCES: 'permission denied', EPERM: 'permission denied', EROFS: 'the file system is read-only', ENOSPC: 'the disk is full',
    EDQUOT: 'the disk quota is used up', EISDIR: 'it is a folder', EMFILE: 'too many files are open', EEXIST: 'it exists already',
  };
  return new CochleaError('file-system', `cannot ${doing} ${path}: ${why[code] ?? (error as Error).message}`, undefined, { cause: error });
}

async function attempt<T>(path: string, doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw explain(error, path, doing);
  }
}

/** Makes a folder and those above it that are missing. Node's own never returns where none can be made, as below /proc: it makes the parent again and again. */
export async function makeFolders(folder: string): Promise<void> {
  const make = (): Promise<void> => fs.mkdir(folder).catch(async (error: { code?: string }) => {
    if (!await fs.stat(folder).then((found) => found.isDirectory(), () => false)) throw error;
  });
  try {
    await make();
  } catch (error) {
    const above = path.dirname(folder);
    if ((error as { code?: string }).code !== 'ENOENT' || above === folder) throw error;
    await makeFolders(above);
    await make();
  }
}

async function syncFolder(folder: string): Promise<void> {
  // Not every platform lets a folder be opened; the rename itself is atomic without it.
  try {
    const handle = await fs.open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {}
}

const hour = 3_600_000;

const partialName = (base: string, tag: string): string => `.${base}.${tag}.partial`;

/** The file that a partial one was to become; undefined for what is none. */
const baseOfPartial = (name: string): string | undefined => /^\.(.+)\.[0-9a-f]{12}\.partial$/.exec(name)?.[1];

/** Removes what killed processes left beside a target: partial files that nobody has written to for an hour. */
async function removeAbandoned(folder: string, base: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    if (baseOfPartial(name) !== base) continue;
    const partial = path.join(folder, name);
    const { mtimeMs } = await fs.stat(partial);
    if (mtimeMs < Date.now() - hour) await fs.rm(partial, { force: true });
  }
}

/** Codes of file systems, and of people, that make no links. */
const linkless = ['EPERM', 'EACCES', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'];

/** Writes a whole file beside `p` and has it put in place; nothing is left of it when that fails. */
async function placeWhole(p: string, content: Parameters<FileSystem['write']>[1], place: (beside: string) => Promise<void>): Promise<void> {
  const folder = path.dirname(p);
  await makeFolders(folder);
  const beside = path.join(folder, partialName(path.basename(p), randomBytes(6).toString('hex')));
  try {
    const handle = await fs.open(beside, 'wx');
    try {
      if (typeof content === 'string' || content instanceof Uint8Array) await handle.writeFile(content);
      else for await (const piece of content) await handle.writeFile(piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await place(beside);
  } catch (error) {
    await fs.rm(beside, { force: true });
    throw error;
  }
  await syncFolder(folder);
  await removeAbandoned(folder, path.basename(p)).catch(() => {}); // the file itself is written
}

export const files: FileSystem = {
  read: (p) => attempt(p, 'read', async () => {
    const buffer = await fs.readFile(p);
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }),
  readText: (p) => attempt(p, 'read', () => fs.readFile(p, 'utf8')),
  open: (p) => attempt(p, 'open', async (): Promise<FileHandle> => {
    const handle = await fs.open(p, 'r');
    const { size } = await handle.stat();
    return {
      size,
      read: (offset, length) => attempt(p, 'read', async () => {
        const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
        let filled = 0;
        while (filled < bytes.length) {
          const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, offset + filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
        return bytes.subarray(0, filled);
      }),
      close: () => handle.close(),
    };
  }),
  fillNow: (bytes, p, offset) => {
    try {
      const handle = openSync(p, 'r');
      try {
        for (let filled = 0; filled < bytes.length;) {
          const read = readSync(handle, bytes, filled, bytes.length - filled, offset + filled);
          if (read === 0) throw new CochleaError('file-damaged', `${p} ends before byte ${offset + bytes.length}`, 'bring the file again');
          filled += read;
        }
      } finally {
        closeSync(handle);
      }
    } catch (error) {
      throw error instanceof CochleaError ? error : explain(error, p, 'read');
    }
  },
  info: (p) => attempt(p, 'look at', async () => {
    try {
      const s = await fs.stat(p);
      return { isDirectory: s.isDirectory(), isFile: s.isFile(), size: s.size, modified: s.mtimeMs };
    } catch (error) {
      if (nothingThere.includes((error as { code?: string }).code ?? '')) return undefined;
      throw error;
    }
  }),
  list: (p) => attempt(p, 'list', async () => (await fs.readdir(p)).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))),
  removePartials: (p, of = () => true) => attempt(p, 'clean up', async () => {
    for (const name of await fs.readdir(p).catch((error: { code?: string }) => {
      if (nothingThere.includes(error.code ?? '')) return [];
      throw error;
    })) {
      const base = baseOfPartial(name);
      if (base !== undefined && of(base)) await fs.rm(path.join(p, name), { force: true });
    }
  }),
  makeFolder: (p) => attempt(p, 'create', () => makeFolders(p)),
  write: (p, content) => attempt(p, 'write', async () => {
    await placeWhole(p, content, (beside) => fs.rename(beside, p));
  }),
  writeNew: (p, content) => attempt(p, 'write', async () => {
    let placed = true;
    await placeWhole(p, content, async (beside) => {
      try {
        await fs.link(beside, p);
      } catch (error) {
        const { code = '' } = error as { code?: string };
        if (code === 'EEXIST') placed = false;
        else if (!linkless.includes(code)) throw error;
        else if (await fs.stat(p).then(() => true, () => false)) placed = false; // as good as it gets where nothing can be linked
        else await fs.copyFile(beside, p);
      }
      await fs.rm(beside, { force: true });
    });
    return placed;
  }),
  openToWrite: (p) => attempt(p, 'write', async (): Promise<WritableFile> => {
    await makeFolders(path.dirname(p));
    const handle = await fs.open(p, fs.constants.O_RDWR | fs.constants.O_CREAT);
    const { size } = await handle.stat();
    return {
      size,
      write: (offset, bytes) => attempt(p, 'write', async () => {
        for (let done = 0; done < bytes.length;) {
          const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
          done += bytesWritten;
        }
      }),
      sync: () => attempt(p, 'write', () => handle.sync()),
      close: () => handle.close(),
    };
  }),
  link: (p, target) => attempt(p, 'create', async () => {
    const folder = path.dirname(p);
    await makeFolders(folder);
    const beside = path.join(folder, partialName(path.basename(p), randomBytes(6).toString('hex')));
    try {
      await fs.symlink(path.relative(folder, target), beside).catch((error: { code?: string }) => {
        if (!linkless.includes(error.code ?? '')) throw error;
        return fs.copyFile(target, beside);
      });
      await fs.rename(beside, p);
    } catch (error) {
      await fs.rm(beside, { force: true });
      throw error;
    }
  }),
  append: (p, content) => attempt(p, 'append to', async () => {
    await makeFolders(path.dirname(p));
    const handle = await fs.open(p, 'a');
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }),
  rename: (from, to) => attempt(from, 'rename', () => fs.rename(from, to)),
  remove: (p) => attempt(p, 'remove', () => fs.rm(p, { recursive: true, force: true }).catch((error: { code?: string }) => {
    if (!nothingThere.includes(error.code ?? '')) throw error;
  })),
  temporaryFolder: (prefix) => attempt(tmpdir(), 'create a folder in', () => fs.mkdtemp(path.join(tmpdir(), prefix))),
};

/** COCHLEA_CACHE, else the platform's own place for caches. */
export function cacheFolder(): string {
  const chosen = process.env['COCHLEA_CACHE'];
  if (chosen) return path.resolve(chosen);
  if (process.platform === 'win32') return path.join(process.env['LOCALAPPDATA'] ?? path.join(homedir(), 'AppData', 'Local'), 'cochlea', 'cache');
  if (process.platform === 'darwin') return path.join(homedir(), 'Library', 'Caches', 'cochlea');
  return path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'cochlea');
}
