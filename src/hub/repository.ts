/** A model repository of the Hub: its name, the commit that a revision means, and what is in it. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { Connection } from './connection.ts';

const { files, paths } = runtime;

/** A file as the Hub lists it. */
export interface RemoteFile {
  /** Below the repository's root, with slashes. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** What git calls the file, or the pointer that stands for it: a SHA-1. */
  readonly oid: string;
  /** SHA-256 of the content of a large file, which git does not keep itself. */
  readonly sha256?: string;
  /** What the Hub's newer storage calls it; kept for other readers of the cache. */
  readonly xetHash?: string;
}

const isCommit = (text: string): boolean => /^[0-9a-f]{40}$/.test(text);

/** Throws `usage` for what cannot be the name of a repository: it becomes a part of addresses and of folders. */
export function checkRepository(name: string): void {
  if (/^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9_][\w.-]*)?$/.test(name) && !/--|\.\.|\.git$/.test(name) && name.length <= 193) return;
  throw new CochleaError('usage', `${JSON.stringify(name)} is no name of a repository`, 'it is ORGANISATION/NAME, of letters, digits, -, _ and .');
}

/** Throws `usage` for what cannot be a branch, tag or commit: it becomes a file below refs/. */
export function checkRevision(revision: string): void {
  if (/^[\w.+-]+(\/[\w.+-]+)*$/.test(revision) && !revision.split('/').some((part) => /^\.+$/.test(part))) return;
  throw new CochleaError('usage', `${JSON.stringify(revision)} is no revision`, 'it is a branch, a tag or a commit');
}

/** The folder that the Hub's libraries keep a repository in. */
export function repositoryFolder(cacheFolder: string, repo: string): string {
  return paths.join(cacheFolder, `models--${repo.replaceAll('/', '--')}`);
}

/** Why a path from the Hub must not be put on a disk; undefined for a harmless one. The same everywhere, whatever this platform would do. */
function escape(path: string): string | undefined {
  if (path === '') return 'is empty';
  if (/\p{Cc}/u.test(path)) return 'has a control character';
  if (path.includes('\\')) return 'has a backslash';
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'leads out of its folder or through it';
  if (parts.some((part) => /^[A-Za-z]:/.test(part))) return 'names a drive';
  return undefined;
}

/** Checks a listing's entry. Throws `fetch` for one that could do harm. */
function checked(file: RemoteFile, where: string): RemoteFile {
  const { path, size, oid, sha256, xetHash } = file;
  const wrong = (what: string): CochleaError => new CochleaError('fetch', `${where} lists a file whose ${what}: ${JSON.stringify(path).slice(0, 200)}`, 'nothing of it was written');
  if (typeof path !== 'string') throw wrong('name is no text');
  const why = escape(path);
  if (why !== undefined) throw wrong(`name ${why}`);
  if (!Number.isSafeInteger(size) || size < 0) throw wrong('size is no number of bytes');
  // Both become names of files in blobs/.
  if (typeof oid !== 'string' || !isCommit(oid)) throw wrong('git hash is none');
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256)) throw wrong('SHA-256 is none');
  return { path, size, oid, ...(sha256 === undefined ? {} : { sha256 }), ...(typeof xetHash === 'string' ? { xetHash } : {}) };
}

export interface Revision {
  commit: string;
  /** As its card says. */
  licence?: string;
  private: boolean;
}

/** The commit that a revision means now. */
export async function resolveRevision({ endpoint, fetch, repo }: Connection, revision: string): Promise<Revision & { named: readonly string[] }> {
  const { modelInfo } = await import('@huggingface/hub');
  const info = await understood(`${repo} at ${revision}`, () => modelInfo({ name: repo, revision, hubUrl: endpoint, fetch, additionalFields: ['sha', 'cardData', 'filePaths'] }));
  if (typeof info.sha !== 'string' || !isCommit(info.sha)) throw new CochleaError('fetch', `the Hub names no commit for ${repo} at ${revision}`, 'try again');
  const licence = (info.cardData as { license?: unknown } | undefined)?.license;
  return { commit: info.sha, private: info.private === true, named: info.filePaths, ...(typeof licence === 'string' ? { licence } : {}) };
}

/** Python's own bound is the memory; ours is beyond any repository that can be used. */
const mostFiles = 500_000;

/** All files of a commit. `named`: what the Hub said elsewhere that there is, to notice a listing that ends early. */
export async function listCommit({ endpoint, fetch, repo }: Connection, commit: string, named: readonly string[]): Promise<Map<string, RemoteFile>> {
  const { listFiles } = await import('@huggingface/hub');
  const where = `${repo} at ${commit.slice(0, 8)}`;
  const found = new Map<string, RemoteFile>();
  await understood(where, async () => {
    for await (const { type, path, size, oid, lfs, xetHash } of listFiles({ repo, revision: commit, recursive: true, hubUrl: endpoint, fetch })) {
      if (type !== 'file') continue;
      found.set(path, checked({ path, size: lfs?.size ?? size, oid: oid!, ...(lfs ? { sha256: lfs.oid } : {}), ...(xetHash ? { xetHash } : {}) }, where));
      if (found.size > mostFiles) throw new CochleaError('fetch', `${where} lists more than ${mostFiles} files`);
    }
  });
  const missing = named.filter((path) => !found.has(path));
  if (missing.length > 0) throw new CochleaError('fetch', `the listing of ${where} ends early: ${missing.length} of its files are not in it, such as ${JSON.stringify(missing[0])}`, 'try again');
  return found;
}

/** What the library cannot read is the Hub's or a proxy's fault. */
async function understood<T>(where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw new CochleaError('fetch', `the Hub's answer on ${where} cannot be read: ${(error as Error).message.replace(/\s+/g, ' ')}`, 'try again', { cause: error });
  }
}

/** The form in which Python's huggingface_hub keeps listings, which never change: trees/COMMIT.json beside blobs/. */
interface StoredTree {
  format_version: 1;
  files: Record<string, { size: number; blob_id: string; lfs_sha256?: string; lfs_size?: number; xet_hash?: string }>;
}

const treePath = (folder: string, commit: string): string => paths.join(folder, 'trees', `${commit}.json`);

/** The files of a commit as they were listed before; undefined when they were not, or what is there cannot be used. */
export async function readTree(folder: string, commit: string): Promise<Map<string, RemoteFile> | undefined> {
  const path = treePath(folder, commit);
  if (!await files.info(path)) return undefined;
  try {
    const { format_version: version, files: listed } = JSON.parse(await files.readText(path)) as StoredTree;
    if (version !== 1) return undefined;
    return new Map(Object.entries(listed).map(([name, { size, blob_id: oid, lfs_sha256: sha256, lfs_size, xet_hash: xetHash }]) =>
      [name, checked({ path: name, size: lfs_size ?? size, oid, ...(sha256 == null ? {} : { sha256 }), ...(xetHash == null ? {} : { xetHash }) }, path)]));
  } catch {
    return undefined;
  }
}

export async function writeTree(folder: string, commit: string, listed: ReadonlyMap<string, RemoteFile>): Promise<void> {
  const tree: StoredTree = { format_version: 1, files: {} };
  for (const path of [...listed.keys()].sort()) {
    const { size, oid, sha256, xetHash } = listed.get(path)!;
    tree.files[path] = { size, blob_id: oid, ...(sha256 === undefined ? {} : { lfs_sha256: sha256, lfs_size: size }), ...(xetHash === undefined ? {} : { xet_hash: xetHash }) };
  }
  await files.write(treePath(folder, commit), JSON.stringify(tree, null, 1));
}

/** The commit that a branch or tag meant when something of it was last downloaded, by whichever library. */
export async function readRef(folder: string, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const path = paths.join(folder, 'refs', ...revision.split('/'));
  const info = await files.info(path);
  if (!info || info.isDirectory) return undefined;
  const commit = (await files.readText(path)).trim();
  return isCommit(commit) ? commit : undefined;
}

export async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  if (revision !== commit && await readRef(folder, revision) !== commit) await files.write(paths.join(folder, 'refs', ...revision.split('/')), commit);
}
