/** One file of a commit, from the Hub into blobs/: in pieces that are kept, checked before it gets its name. */
import { CochleaError } from '../errors.ts';
import { runtime, type WritableFile } from '../runtime/index.ts';
import { type Connection, interrupted, reasonOf, unreachable } from './connection.ts';
import type { RemoteFile } from './repository.ts';

const { files } = runtime;

/** A hash of the content as the Hub names it: SHA-256 of what lies in its large storage, git's SHA-1 of `blob SIZE\0` and the bytes of the rest. */
export function contentHash({ size, sha256 }: Pick<RemoteFile, 'size' | 'sha256'>): { update(bytes: Uint8Array): void; hex(): string } {
  if (sha256 !== undefined) return runtime.sha256();
  const hash = runtime.sha1();
  hash.update(new TextEncoder().encode(`blob ${size}\0`));
  return hash;
}

/** The name of a file's content in blobs/: the entity tag under which the Hub serves it. */
export const blobName = ({ oid, sha256 }: Pick<RemoteFile, 'oid' | 'sha256'>): string => sha256 ?? oid;

const pieceBytes = 4 << 20;

/** Hashes the first `size` bytes of what lies at a path. */
async function hashStart(hash: { update(bytes: Uint8Array): void }, path: string, size: number, signal: AbortSignal | undefined): Promise<void> {
  if (size === 0) return;
  const handle = await files.open(path);
  try {
    for (let at = 0; at < size; at += pieceBytes) {
      if (signal?.aborted) throw interrupted();
      hash.update(await handle.read(at, Math.min(pieceBytes, size - at)));
    }
  } finally {
    await handle.close();
  }
}

/** The file's bytes are not those that the Hub said they are. */
function damaged({ path, size }: RemoteFile, { host, repo }: Connection, what: string): CochleaError {
  return new CochleaError('file-damaged', `${path} of ${repo} (${size} bytes) did not come as ${host} lists it: ${what}`, 'it was removed; try again, and if it happens again, tell those who published it');
}

/**
 * Brings a file to `blob`. What came before lies beside it and is gone on with, also by another process: every piece is written at its own place, so
 * two that bring the same file write the same bytes. Only a file with the right hash gets the name.
 * Throws `fetch` when it cannot come (what came is kept), `file-damaged` when it is not what was listed (nothing is kept), `file-system`, `interrupted`.
 */
export async function downloadFile(connection: Connection, commit: string, file: RemoteFile, blob: string, onBytes: (done: number) => void): Promise<void> {
  // Not the name of Python's partial files: it appends to them under a lock that we cannot take.
  const partial = `${blob}.cochlea.incomplete`;
  const before = (await files.info(partial))?.size ?? 0;
  if (before > file.size) await files.remove(partial);
  const resumed = before > 0 && before <= file.size;
  try {
    let found = await bring(connection, commit, file, partial, onBytes);
    if (found !== blobName(file) && resumed) {
      // What lay there may have been damaged since.
      await files.remove(partial);
      found = await bring(connection, commit, file, partial, onBytes);
    }
    if (found !== blobName(file)) throw damaged(file, connection, `its ${file.sha256 === undefined ? 'git hash' : 'SHA-256'} is ${found}, not ${blobName(file)}`);
  } catch (error) {
    if (error instanceof CochleaError && error.code === 'file-damaged') await files.remove(partial);
    // Another process was first, and took the partial file away under its name.
    if (error instanceof CochleaError && error.code === 'file-missing' && (await files.info(blob))?.size === file.size) return;
    throw error;
  }
  await files.rename(partial, blob).catch(async (error) => {
    if ((await files.info(blob))?.size !== file.size) throw error; // another process was first
  });
}

/** Completes the partial file, in as many attempts as it takes while there is progress; returns its hash. */
async function bring(connection: Connection, commit: string, file: RemoteFile, partial: string, onBytes: (done: number) => void): Promise<string> {
  const out = await files.openToWrite(partial);
  try {
    const start = { hash: contentHash(file), at: Math.min(out.size, file.size) };
    await hashStart(start.hash, partial, start.at, connection.signal);
    let state = start;
    for (let attempt = 1; state.at < file.size;) {
      onBytes(state.at);
      const from = state.at;
      try {
        state = await transfer(connection, commit, file, out, state, onBytes);
      } catch (error) {
        if (!(error instanceof Broken)) throw error;
        state = error.state;
        // A connection that brought something counts as a first attempt.
        attempt = state.at > from ? 1 : attempt + 1;
        await connection.again(attempt, unreachable(connection.host, `${file.path} broke off after ${state.at} of ${file.size} bytes (${error.message})`, error));
      }
    }
    await out.sync();
    return state.hash.hex();
  } finally {
    await out.close();
  }
}

interface State {
  hash: { update(bytes: Uint8Array): void; hex(): string };
  at: number;
}

/** The connection ended before the file did. */
class Broken extends Error {
  readonly state: State;

  constructor(state: State, reason: string) {
    super(reason);
    this.state = state;
  }
}

/** One request for what is missing. Returns at the file's end, throws Broken before it. */
async function transfer(connection: Connection, commit: string, file: RemoteFile, out: WritableFile, state: State, onBytes: (done: number) => void): Promise<State> {
  const { endpoint, repo, signal, patience } = connection;
  const url = `${endpoint}/${repo}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`;
  // Compressed bytes could be neither counted nor gone on with.
  const headers = { 'Accept-Encoding': 'identity', ...(state.at > 0 ? { Range: `bytes=${state.at}-` } : {}) };
  const response = await connection.fetch(url, { headers });
  let { hash, at } = state;
  if (at > 0 && response.status !== 206) [hash, at] = [contentHash(file), 0]; // a server without ranges begins anew
  else if (at > 0 && !response.headers.get('content-range')?.startsWith(`bytes ${at}-`)) {
    await response.body?.cancel();
    throw damaged(file, connection, `asked for bytes from ${at} on, the answer has ${response.headers.get('content-range') ?? 'no range'}`);
  }
  const reader = response.body!.getReader();
  try {
    for (;;) {
      if (signal?.aborted) throw interrupted();
      const { done, value } = await within(reader.read(), patience).catch((error: Error) => {
        if (signal?.aborted) throw interrupted();
        throw new Broken({ hash, at }, reasonOf(error));
      });
      if (done) break;
      if (at + value.length > file.size) throw damaged(file, connection, 'more bytes came');
      await out.write(at, value);
      hash.update(value);
      at += value.length;
      onBytes(at);
    }
  } finally {
    await reader.cancel().catch(() => {}); // ends a connection that is of no more use; one that broke cannot be
  }
  if (at < file.size) throw new Broken({ hash, at }, 'the connection ended');
  return { hash, at };
}

async function within<T>(work: Promise<T>, seconds: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => timer = setTimeout(() => reject(new Error(`nothing came for ${seconds} s`)), 1000 * seconds));
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
