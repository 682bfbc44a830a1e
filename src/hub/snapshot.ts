/** A commit of a repository on this disk, in the cache that Python's huggingface_hub and others share. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { connect, type ConnectionOptions, interrupted } from './connection.ts';
import { blobName, downloadFile } from './download.ts';
import { checkRepository, checkRevision, listCommit, readRef, readTree, type RemoteFile, repositoryFolder, resolveRevision, writeRef, writeTree } from './repository.ts';
import { type HubSettings, hubSettings } from './settings.ts';

const { files, paths } = runtime;

export interface ListingOptions extends ConnectionOptions {
  /** A branch, tag or commit; `main` unless told. */
  revision?: string | undefined;
  /** Ask nobody: take what is in the cache. HF_HUB_OFFLINE=1 says the same. */
  offline?: boolean | undefined;
}

export interface Listing {
  /** The commit that the revision meant. */
  revision: string;
  /** As the repository's card says; undefined when it does not, or was not asked. */
  licence: string | undefined;
  files: readonly RemoteFile[];
}

/**
 * What a repository holds. Offline these are the files of the commit as they were listed once, or else those that lie in the cache.
 * Throws `usage`, `fetch`, `file-missing` (offline, and never seen), `interrupted`.
 */
export async function listRepository(repo: string, options: ListingOptions = {}): Promise<Listing> {
  const { commit, licence, listed } = await open(repo, options);
  return { revision: commit, licence, files: [...listed.values()] };
}

interface Opened extends Pick<Listing, 'licence'> {
  settings: HubSettings;
  folder: string;
  commit: string;
  listed: ReadonlyMap<string, RemoteFile>;
}

async function open(repo: string, { revision = 'main', offline = false, ...options }: ListingOptions): Promise<Opened> {
  checkRepository(repo);
  checkRevision(revision);
  const settings = await hubSettings();
  const folder = repositoryFolder(settings.cacheFolder, repo);
  if (offline || settings.offline) {
    const commit = await readRef(folder, revision);
    const listed = commit === undefined ? undefined : await readTree(folder, commit) ?? await walk(paths.join(folder, 'snapshots', commit));
    if (commit === undefined || listed === undefined) {
      throw new CochleaError('file-missing', `${repo} at ${revision} is not in ${settings.cacheFolder}, and no network is to be used`, 'pull it once without --offline (and without HF_HUB_OFFLINE)');
    }
    return { settings: { ...settings, offline: true }, folder, commit, licence: undefined, listed };
  }
  const connection = connect(settings, repo, options);
  const known = await readRef(folder, revision) === revision ? await readTree(folder, revision) : undefined;
  if (known) return { settings, folder, commit: revision, licence: undefined, listed: known };
  const { commit, licence, named } = await resolveRevision(connection, revision);
  let listed = await readTree(folder, commit);
  if (!listed) {
    listed = await listCommit(connection, commit, named);
    await writeTree(folder, commit, listed);
  }
  return { settings, folder, commit, licence, listed };
}

/** The files of a snapshot that somebody else brought, without their hashes; undefined when there is none. */
async function walk(snapshot: string): Promise<Map<string, RemoteFile> | undefined> {
  if (!await files.info(snapshot)) return undefined;
  const found = new Map<string, RemoteFile>();
  const visit = async (folder: string, prefix: string): Promise<void> => {
    for (const name of await files.list(folder)) {
      const info = await files.info(paths.join(folder, name));
      if (info?.isDirectory) await visit(paths.join(folder, name), `${prefix}${name}/`);
      else if (info) found.set(prefix + name, { path: prefix + name, size: info.size, oid: '' });
    }
  };
  await visit(snapshot, '');
  return found;
}

export interface SnapshotOptions extends ListingOptions {
  /** Files, and folders with all below them; everything unless told. */
  paths?: readonly string[] | undefined;
  /** Chooses from all files, in the place of `paths`. */
  select?: ((files: readonly RemoteFile[]) => readonly RemoteFile[]) | undefined;
  onProgress?: ((progress: SnapshotProgress) => void) | undefined;
}

export interface SnapshotProgress {
  /** What is coming. */
  path: string;
  /** Bytes of all files that had to come. */
  done: number;
  total: number;
}

export interface Snapshot extends Listing {
  /** Holds the files under their paths in the repository. */
  folder: string;
  /** Bytes of the files whose content was not there before. */
  downloaded: number;
}

/**
 * Files of a repository at one commit, brought into the cache where they are missing: models--ORG--NAME/snapshots/COMMIT in HF_HUB_CACHE, with links
 * into blobs/, as Python's library keeps them. A download that was stopped goes on where it was; every file is compared with its hash before it gets
 * its name. Throws `usage`, `fetch`, `file-damaged`, `file-system`, `file-missing` (a path that is not in the repository, or offline not in the
 * cache), `interrupted`.
 */
export async function snapshot(repo: string, options: SnapshotOptions = {}): Promise<Snapshot> {
  const { revision = 'main', signal, onProgress } = options;
  const { settings, folder, commit, licence, listed } = await open(repo, options);
  const chosen = choose(listed, options, `${repo} at ${revision}${settings.offline ? ', as far as the cache knows it,' : ''}`);
  const snapshotFolder = paths.join(folder, 'snapshots', commit);
  const placed = (file: RemoteFile): string => paths.join(snapshotFolder, ...file.path.split('/'));
  const missing: RemoteFile[] = [];
  for (const file of chosen) if ((await files.info(placed(file)))?.size !== file.size) missing.push(file);
  if (settings.offline && missing.length > 0) {
    const names = missing.slice(0, 20).map(({ path, size }) => `${path} (${size} bytes)`).join(', ');
    throw new CochleaError('file-missing', `${repo} at ${revision} is in the cache without ${names}${missing.length > 20 ? ` and ${missing.length - 20} more` : ''}, and no network is to be used`,
      'pull it once without --offline (and without HF_HUB_OFFLINE)');
  }
  const connection = connect(settings, repo, options);
  const total = missing.reduce((sum, { size }) => sum + size, 0);
  let before = 0, downloaded = 0;
  for (const file of missing) {
    if (signal?.aborted) throw interrupted();
    const blob = paths.join(folder, 'blobs', blobName(file));
    if ((await files.info(blob))?.size !== file.size) {
      await downloadFile(connection, commit, file, blob, (done) => onProgress?.({ path: file.path, done: before + done, total }));
      downloaded += file.size;
    }
    await files.link(placed(file), blob);
    before += file.size;
  }
  if (!settings.offline) await writeRef(folder, revision, commit);
  return { folder: snapshotFolder, revision: commit, licence, files: chosen, downloaded };
}

function choose(listed: ReadonlyMap<string, RemoteFile>, { paths: wanted, select }: SnapshotOptions, where: string): readonly RemoteFile[] {
  const all = [...listed.values()];
  if (select) return select(all);
  if (!wanted) return all;
  const below = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);
  const lost = wanted.find((one) => !all.some(({ path }) => below(path, one)));
  if (lost !== undefined) throw new CochleaError('file-missing', `${where} has no ${JSON.stringify(lost)}`, 'cochlea pull REPOSITORY --list shows what is there');
  return all.filter(({ path }) => wanted.some((one) => below(path, one)));
}
