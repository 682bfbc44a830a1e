import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { CochleaError } from '../errors.ts';
import { makeFolders } from './files.ts';

const contentsName = 'contents.json';
const hour = 3_600_000;

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(piece as Uint8Array);
  return hash.digest('hex');
}

async function isWhole(folder: string): Promise<boolean> {
  try {
    const contents = JSON.parse(await fs.readFile(path.join(folder, contentsName), 'utf8')) as Record<string, string>;
    for (const [name, hash] of Object.entries(contents)) {
      if (await sha256(path.join(folder, name)) !== hash) return false;
    }
    return true;
  } catch {
    return false;
  }
}

async function place(beside: string, target: string): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      await fs.rename(beside, target);
      return;
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes((error as { code?: string }).code ?? '')) throw error;
    }
    if (await isWhole(target)) return; // another process was first
    await fs.rename(target, path.join(beside, 'damaged')).catch(() => {});
    await fs.rm(path.join(beside, 'damaged'), { recursive: true, force: true });
  }
  throw new CochleaError('file-system', `cannot put a whole folder in the place of ${target}`, 'remove that folder and try again');
}

/**
 * Makes `target` a folder that `fill` has filled, once: a folder whose files still have the hashes they were
 * written with is left alone, a missing or damaged one is filled beside its place and renamed into it. Any
 * number of processes may do so at a time. `fill` gets an empty folder and writes plain files into it.
 */
export async function installFolder(target: string, fill: (folder: string) => Promise<void>): Promise<void> {
  if (await isWhole(target)) return;
  const parent = path.dirname(target);
  const prefix = `.${path.basename(target)}.partial-`;
  try {
    await makeFolders(parent);
    for (const name of await fs.readdir(parent)) {
      const abandoned = path.join(parent, name);
      if (!name.startsWith(prefix)) continue;
      const age = await fs.stat(abandoned).then((info) => Date.now() - info.mtimeMs, () => 0);
      if (age > hour) await fs.rm(abandoned, { recursive: true, force: true });
    }
    const beside = await fs.mkdtemp(path.join(parent, prefix));
    try {
      await fill(beside);
      const contents: Record<string, string> = {};
      for (const entry of await fs.readdir(beside, { withFileTypes: true, recursive: true })) {
        if (!entry.isFile()) continue;
        const file = path.join(entry.parentPath ?? (entry as { path?: string }).path ?? beside, entry.name);
        contents[path.relative(beside, file)] = await sha256(file);
      }
      await fs.writeFile(path.join(beside, contentsName), JSON.stringify(contents));
      await place(beside, target);
    } finally {
      await fs.rm(beside, { recursive: true, force: true });
    }
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw new CochleaError('file-system', `cannot unpack into ${target}: ${(error as Error).message}`, 'set COCHLEA_CACHE to a folder that can be written', { cause: error });
  }
}
