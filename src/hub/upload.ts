/** Files of this disk into a repository of the Hub, in one commit that holds only what is not there already. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { connect, type Connection, type ConnectionOptions, interrupted, refusalOf } from './connection.ts';
import { contentHash } from './download.ts';
import { checkRepository, checkRevision, listCommit, type RemoteFile, resolveRevision } from './repository.ts';
import { hubSettings } from './settings.ts';

const { files } = runtime;

/** A file to be published: of this disk, or a text. */
export type LocalFile = { path: string } & ({ file: string } | { text: string });

export interface PlannedFile {
  path: string;
  /** Bytes. */
  size: number;
  sha256: string;
  /** `same`: the repository has these very bytes there, and they are not sent. */
  state: 'new' | 'changed' | 'same';
}

/** What a repository has on a branch. */
export interface RemoteState {
  /** Whether the repository is there. */
  exists: boolean;
  /** Of what is there; undefined where nothing is. */
  private?: boolean;
  /** The commit that the branch, or before it is made `main`, is at. */
  head?: string;
  hasBranch: boolean;
  files: ReadonlyMap<string, RemoteFile>;
}

export interface UploadOptions extends ConnectionOptions {
  /** `main` unless told; made where it is missing. */
  branch?: string | undefined;
}

const nothing: RemoteState = { exists: false, hasBranch: false, files: new Map() };

/** Looks at a repository, which need not be there. Throws `usage`, `fetch`, `interrupted`. */
export async function lookAt(repo: string, { branch = 'main', ...options }: UploadOptions = {}): Promise<RemoteState> {
  checkRepository(repo);
  checkRevision(branch);
  return look(connect(await hubSettings(), repo, options), branch);
}

async function look(connection: Connection, branch: string): Promise<RemoteState> {
  const at = async (revision: string): Promise<RemoteState | undefined> => {
    try {
      const { commit, named, private: isPrivate } = await resolveRevision(connection, revision);
      return { exists: true, private: isPrivate, head: commit, hasBranch: revision === branch, files: await listCommit(connection, commit, named) };
    } catch (error) {
      const refusal = refusalOf(error);
      // Without a token the Hub hides whether there is such a repository.
      if (refusal?.code === 'RevisionNotFound' || (refusal?.code === 'RepoNotFound' && (refusal.status === 404 || connection.token === undefined))) return undefined;
      throw error;
    }
  };
  return await at(branch) ?? (branch === 'main' ? undefined : await at('main')) ?? nothing;
}

/** The text of a small file of a repository; undefined where there is none. */
export async function remoteText(repo: string, { head, files: listed }: RemoteState, path: string, options: ConnectionOptions = {}): Promise<string | undefined> {
  const file = listed.get(path);
  if (!file || head === undefined) return undefined;
  if (file.size > 10 << 20) throw new CochleaError('fetch', `${path} of ${repo} has ${file.size} bytes`, 'it is too large to be a text');
  const { fetch, endpoint } = connect(await hubSettings(), repo, options);
  return (await fetch(`${endpoint}/${repo}/resolve/${head}/${path.split('/').map(encodeURIComponent).join('/')}`)).text();
}

/** What of `local` has to be sent. Reads and hashes every file. Throws `file-missing`, `file-system`, `interrupted`. */
export async function planUpload(local: readonly LocalFile[], remote: RemoteState, signal?: AbortSignal): Promise<PlannedFile[]> {
  const planned: PlannedFile[] = [];
  for (const one of local) {
    const size = await sizeOf(one);
    const there = remote.files.get(one.path);
    const hashes = [runtime.sha256(), ...(there && there.sha256 === undefined ? [contentHash({ size })] : [])];
    for await (const piece of pieces(one, signal)) for (const hash of hashes) hash.update(piece);
    const [sha256, git] = hashes.map((hash) => hash.hex());
    planned.push({ path: one.path, size, sha256: sha256!, state: !there ? 'new' : (there.sha256 ?? there.oid) === (there.sha256 === undefined ? git : sha256) ? 'same' : 'changed' });
  }
  return planned;
}

async function sizeOf(local: LocalFile): Promise<number> {
  if ('text' in local) return new TextEncoder().encode(local.text).length;
  const info = await files.info(local.file);
  if (!info) throw new CochleaError('file-missing', `no such file: ${local.file}`);
  return info.size;
}

async function* pieces(local: LocalFile, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  if ('text' in local) return yield new TextEncoder().encode(local.text);
  const handle = await files.open(local.file);
  try {
    for (let at = 0; at < handle.size; at += 4 << 20) {
      if (signal?.aborted) throw interrupted();
      yield await handle.read(at, 4 << 20);
    }
  } finally {
    await handle.close();
  }
}

export interface CommitOptions extends UploadOptions {
  /** Of a repository that is made for this; one that is there keeps what it has. */
  visibility: 'private' | 'public';
  message: string;
  onProgress?: ((progress: { path: string; share: number; state: 'hashing' | 'uploading' | 'error' }) => void) | undefined;
}

/**
 * Makes the repository and the branch where they are missing, and commits the files that `planned` says are new or changed. Large files go up first,
 * each under its hash: after an interruption those that arrived are not sent again. The commit is made on what `remote` saw, or not at all.
 * Returns undefined when there is nothing to commit. Throws `config` without a token, `fetch`, `interrupted`.
 */
export async function commitFiles(
  repo: string, local: readonly LocalFile[], planned: readonly PlannedFile[], remote: RemoteState, options: CommitOptions,
): Promise<{ commit: string; url: string } | undefined> {
  const { branch = 'main', visibility, message, onProgress, signal } = options;
  const settings = await hubSettings();
  const { endpoint: hubUrl, fetch, token: accessToken } = connect(settings, repo, options);
  if (accessToken === undefined) throw new CochleaError('config', 'publishing needs a token of the Hub that may write', 'set HF_TOKEN, or log in with `hf auth login`; tokens are made at https://huggingface.co/settings/tokens');
  const { createRepo, createBranch, commitIter } = await import('@huggingface/hub');
  const target = { repo, hubUrl, fetch, accessToken };
  if (!remote.exists) await createRepo({ ...target, visibility });
  if (!remote.hasBranch && branch !== 'main') await createBranch({ ...target, branch });
  const states = new Map(planned.map(({ path, state }) => [path, state]));
  const operations = local.filter(({ path }) => states.get(path) !== 'same').map((one) => (
    { operation: 'addOrUpdate' as const, path: one.path, content: 'text' in one ? new Blob([one.text]) : fileUrl(one.file) }));
  if (operations.length === 0) return undefined;
  try {
    const work = commitIter({
      ...target, branch, title: message, operations, ...(remote.head === undefined ? {} : { parentCommit: remote.head }), ...(signal ? { abortSignal: signal } : {}),
    });
    for (;;) {
      const { done, value } = await work.next();
      if (done) return { commit: value!.commit.oid, url: `${hubUrl}/${repo}${branch === 'main' ? '' : `/tree/${branch}`}` };
      if (value.event === 'fileProgress') onProgress?.({ path: value.path, share: value.progress, state: value.state });
    }
  } catch (error) {
    if (signal?.aborted) throw interrupted();
    if (error instanceof CochleaError) throw error;
    throw new CochleaError('fetch', `the upload to ${repo} failed: ${(error as Error).message.replace(/\s+/g, ' ')}`, 'run the command again: what has arrived is not sent again', { cause: error });
  }
}

/** The library reads files piece by piece when it is given their address. */
function fileUrl(path: string): URL {
  const whole = runtime.paths.resolve(path).replaceAll('\\', '/');
  return new URL(`file://${whole.startsWith('/') ? '' : '/'}${whole.split('/').map((part, n) => (n === 0 && /^[A-Za-z]:$/.test(part) ? part : encodeURIComponent(part))).join('/')}`);
}
