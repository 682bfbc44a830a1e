/**
 * The Hub on this machine: as much of its API as models need, on two origins as in life (the site, and the storage of large files), with every
 * request recorded and with faults on demand. Written from the Hub's documented endpoints, not from our client.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Recorded {
  method: string;
  /** Path and query. */
  url: string;
  range: string | undefined;
  authorization: string | undefined;
  /** Bytes of the request's body. */
  received: number;
  /** Bytes of the answer's body that were sent. */
  sent: number;
}

/** What to do to a request in place of, or on top of, answering it. */
export interface Fault {
  /** Answer with this. */
  status?: number;
  headers?: Record<string, string>;
  json?: unknown;
  /** Answer with this text, as JSON. */
  text?: string;
  /** Close the connection after so many bytes of the answer's body. */
  cutAfter?: number;
  /** Close the connection before the request's body is read. */
  refuseBody?: boolean;
  /** Say nothing more after so many bytes. */
  stallAfter?: number;
  /** Send these bytes in place of the file's. */
  content?: Uint8Array;
  /** Take no notice of Range. */
  noRanges?: boolean;
}

interface Stored {
  bytes: Uint8Array;
  lfs: boolean;
}

interface Repository {
  private: boolean;
  gated: boolean;
  card: Record<string, unknown>;
  branches: Map<string, string>;
  commits: Map<string, Map<string, Stored>>;
}

const digest = (algorithm: string, ...parts: (string | Uint8Array)[]): string => {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

export const sha256 = (bytes: Uint8Array): string => digest('sha256', bytes);
export const gitHash = (bytes: Uint8Array): string => digest('sha1', `blob ${bytes.length}\0`, bytes);
const pointer = (bytes: Uint8Array): Uint8Array => new TextEncoder().encode(`version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(bytes)}\nsize ${bytes.length}\n`);

const isLarge = (path: string): boolean => /\.(safetensors|npz|pt|bin|onnx|onnx_data)$/.test(path);

export class HubServer {
  endpoint = '';
  storage = '';
  readonly requests: Recorded[] = [];
  readonly objects = new Map<string, Uint8Array>();
  /** Tokens and what they may do. */
  readonly tokens = new Map<string, 'read' | 'write'>();
  /** Asked of every request; what it returns happens. */
  fault: (request: { method: string; url: string; range: string | undefined }) => Fault | undefined = () => undefined;
  /** Entries on one page of a listing. */
  pageSize = 1000;
  /** Bytes of a part of a large upload; 0 for uploads in one. */
  partBytes = 0;
  /** Changes listings: entries as they are sent. */
  relist: (entries: Record<string, unknown>[]) => Record<string, unknown>[] = (entries) => entries;
  readonly #repositories = new Map<string, Repository>();
  readonly #parts = new Map<string, Uint8Array[]>();
  readonly #servers: Server[] = [];
  #commits = 0;

  async start(): Promise<this> {
    this.endpoint = await this.#listen((...pair) => this.#site(...pair));
    this.storage = await this.#listen((...pair) => this.#store(...pair));
    return this;
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    })));
  }

  /** Puts a repository there as if somebody had pushed it; returns its commit. */
  put(name: string, files: Record<string, Uint8Array | string>, { branch = 'main', ...options }: Partial<Repository> & { branch?: string } = {}): string {
    const repository = this.#repositories.get(name) ?? { private: false, gated: false, card: {}, branches: new Map(), commits: new Map(), ...options };
    this.#repositories.set(name, repository);
    const tree = new Map(Object.entries(files).map(([path, content]): [string, Stored] => {
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
      if (isLarge(path)) this.objects.set(sha256(bytes), bytes);
      return [path, { bytes, lfs: isLarge(path) }];
    }));
    return this.#commit(repository, branch, tree);
  }

  /** The files of a branch. */
  files(name: string, branch = 'main'): Map<string, Uint8Array> {
    const repository = this.#repositories.get(name)!;
    return new Map([...repository.commits.get(repository.branches.get(branch)!)!].map(([path, { bytes }]) => [path, bytes]));
  }

  isPrivate(name: string): boolean | undefined {
    return this.#repositories.get(name)?.private;
  }

  #commit(repository: Repository, branch: string, tree: Map<string, Stored>): string {
    const id = digest('sha1', `commit ${++this.#commits}`);
    repository.commits.set(id, tree);
    repository.branches.set(branch, id);
    return id;
  }

  async #listen(answer: (request: IncomingMessage, response: ServerResponse, body: Uint8Array, record: Recorded, fault: Fault) => void): Promise<string> {
    const server = createServer(async (request, response) => {
      const { method = 'GET', url = '/', headers } = request;
      const record: Recorded = { method, url, range: headers.range, authorization: headers.authorization, received: 0, sent: 0 };
      this.requests.push(record);
      request.on('error', () => {});
      response.on('error', () => {});
      const fault = this.fault({ method, url, range: headers.range }) ?? {};
      if (fault.refuseBody) return void request.socket.destroy();
      const pieces: Uint8Array[] = [];
      try {
        for await (const piece of request) {
          pieces.push(piece as Uint8Array);
          record.received += (piece as Uint8Array).length;
        }
      } catch {
        return;
      }
      if (fault.status !== undefined) return void this.#json(response, fault.status, fault.json ?? {}, fault.headers);
      if (fault.text !== undefined) return void response.writeHead(200, { 'Content-Type': 'application/json' }).end(fault.text);
      answer(request, response, new Uint8Array(Buffer.concat(pieces)), record, fault);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#servers.push(server);
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  #json(response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}): void {
    response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', ...headers });
    response.end(JSON.stringify(value));
  }

  #refuse(response: ServerResponse, status: number, code: string, message: string): void {
    this.#json(response, status, { error: message }, { 'X-Error-Code': code, 'X-Error-Message': message });
  }

  /** The repository, when the request may have it; answers itself when not. */
  #permitted(request: IncomingMessage, response: ServerResponse, name: string, write: boolean): Repository | undefined {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const right = token === undefined ? undefined : this.tokens.get(token);
    if (token !== undefined && right === undefined) return void this.#refuse(response, 401, '', 'Invalid credentials in Authorization header');
    const repository = this.#repositories.get(name);
    if (!repository || (repository.private && !right)) return void this.#refuse(response, right ? 404 : 401, 'RepoNotFound', 'Repository not found');
    if (repository.gated && right !== 'write') return void this.#refuse(response, 403, 'GatedRepo', `Access to model ${name} is restricted.`);
    if (write && right !== 'write') return void this.#refuse(response, right ? 403 : 401, '', 'You need write access');
    return repository;
  }

  #commitOf(repository: Repository, revision: string): string | undefined {
    return repository.branches.get(revision === 'HEAD' ? 'main' : revision) ?? (repository.commits.has(revision) ? revision : undefined);
  }

  #site(request: IncomingMessage, response: ServerResponse, body: Uint8Array, record: Recorded, fault: Fault): void {
    const url = new URL(request.url!, this.endpoint);
    const path = decodeURIComponent(url.pathname);
    const text = (): string => new TextDecoder().decode(body);
    let match: RegExpExecArray | null;
    if (path === '/api/repos/create') return this.#create(request, response, JSON.parse(text()));
    if ((match = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree|preupload|commit|branch)\/(.+)$/.exec(path))) {
      const [, name, verb, revision] = match as unknown as [string, string, string, string];
      const repository = this.#permitted(request, response, name, ['preupload', 'commit', 'branch'].includes(verb));
      if (!repository) return;
      if (verb === 'branch') {
        repository.branches.set(revision, repository.branches.get('main')!);
        return this.#json(response, 200, {});
      }
      const commit = this.#commitOf(repository, revision);
      if (commit === undefined) return this.#refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
      const tree = repository.commits.get(commit)!;
      if (verb === 'revision') {
        return this.#json(response, 200, {
          _id: '1', id: name, sha: commit, private: repository.private, gated: false, likes: 0, downloads: 0, lastModified: '2026-01-01T00:00:00.000Z',
          cardData: repository.card, siblings: [...tree.keys()].map((rfilename) => ({ rfilename })),
        });
      }
      if (verb === 'tree') return this.#tree(response, url, tree, record, fault);
      if (verb === 'preupload') {
        const { files } = JSON.parse(text()) as { files: { path: string }[] };
        return this.#json(response, 200, { files: files.map(({ path: file }) => ({ path: file, uploadMode: isLarge(file) ? 'lfs' : 'regular', shouldIgnore: false })) });
      }
      return this.#takeCommit(response, name, repository, revision, text());
    }
    if ((match = /^\/([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/.exec(path))) {
      if (this.#permitted(request, response, match[1]!, true)) this.#batch(response, JSON.parse(text()));
      return;
    }
    if ((match = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path))) {
      const repository = this.#permitted(request, response, match[1]!, false);
      if (!repository) return;
      const commit = this.#commitOf(repository, match[2]!);
      const file = commit === undefined ? undefined : repository.commits.get(commit)!.get(match[3]!);
      if (!file) return this.#refuse(response, 404, 'EntryNotFound', 'Entry not found');
      if (!file.lfs) return this.#send(request, response, file.bytes, record, fault, { ETag: `"${gitHash(file.bytes)}"`, 'X-Repo-Commit': commit! });
      response.writeHead(302, {
        Location: `${this.storage}/lfs/${sha256(file.bytes)}`, 'X-Repo-Commit': commit!, 'X-Linked-Etag': `"${sha256(file.bytes)}"`, 'X-Linked-Size': String(file.bytes.length),
      });
      return void response.end();
    }
    this.#refuse(response, 404, '', `no such endpoint: ${request.method} ${path}`);
  }

  #create(request: IncomingMessage, response: ServerResponse, wanted: { name: string; organization: string; visibility?: string }): void {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (this.tokens.get(token) !== 'write') return this.#refuse(response, this.tokens.has(token) ? 403 : 401, '', 'You don\'t have the rights to create a model under this namespace');
    const name = `${wanted.organization}/${wanted.name}`;
    if (this.#repositories.has(name)) return this.#refuse(response, 409, '', 'You already created this model repo');
    this.put(name, { '.gitattributes': '*.safetensors filter=lfs diff=lfs merge=lfs -text\n' }, { private: wanted.visibility === 'private' });
    this.#json(response, 200, { url: `${this.endpoint}/${name}`, name, id: '2' });
  }

  #tree(response: ServerResponse, url: URL, tree: Map<string, Stored>, record: Recorded, fault: Fault): void {
    const folders = new Set([...tree.keys()].flatMap((path) => path.split('/').slice(0, -1).map((_, n, parts) => parts.slice(0, n + 1).join('/'))));
    const entries = this.relist([
      ...[...folders].map((path) => ({ type: 'directory', path, size: 0, oid: digest('sha1', path) })),
      ...[...tree].map(([path, { bytes, lfs }]) => ({
        type: 'file', path, size: bytes.length, oid: gitHash(lfs ? pointer(bytes) : bytes),
        ...(lfs ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: pointer(bytes).length } } : {}),
      })),
    ]);
    const from = Number(url.searchParams.get('cursor') ?? 0);
    url.searchParams.set('cursor', String(from + this.pageSize));
    const next: Record<string, string> = from + this.pageSize < entries.length ? { Link: `<${url}>; rel="next"` } : {};
    const bytes = new TextEncoder().encode(JSON.stringify(entries.slice(from, from + this.pageSize)));
    response.writeHead(200, { 'Content-Type': 'application/json', ...next });
    this.#body(response, bytes, record, fault);
  }

  #store(request: IncomingMessage, response: ServerResponse, body: Uint8Array, record: Recorded, fault: Fault): void {
    const [, kind, oid = '', part] = request.url!.split('/');
    const keep = (bytes: Uint8Array): void => {
      if (sha256(bytes) !== oid) return this.#refuse(response, 422, '', 'wrong content');
      this.objects.set(oid, bytes);
      response.writeHead(200, { ETag: `"${oid}"` }).end();
    };
    if (request.method === 'GET') {
      const bytes = this.objects.get(oid);
      if (!bytes) return this.#refuse(response, 404, '', 'no such object');
      return this.#send(request, response, bytes, record, fault, { ETag: `"${oid}"` });
    }
    if (kind === 'lfs') return keep(body);
    if (kind === 'part') {
      const parts = this.#parts.get(oid) ?? [];
      this.#parts.set(oid, parts);
      parts[Number(part) - 1] = body;
      return void response.writeHead(200, { ETag: `"${digest('md5', body)}"` }).end();
    }
    keep(new Uint8Array(Buffer.concat(this.#parts.get(oid) ?? [])));
  }

  #send(request: IncomingMessage, response: ServerResponse, whole: Uint8Array, record: Recorded, fault: Fault, headers: Record<string, string>): void {
    const content = fault.content ?? whole;
    const range = fault.noRanges ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    if (!range) {
      response.writeHead(200, { ...headers, 'Content-Length': content.length, 'Accept-Ranges': 'bytes' });
      return this.#body(response, content, record, fault);
    }
    const from = Number(range[1]), to = range[2] === '' ? content.length - 1 : Math.min(Number(range[2]), content.length - 1);
    if (from > to) return void response.writeHead(416, { 'Content-Range': `bytes */${content.length}` }).end();
    response.writeHead(206, { ...headers, 'Content-Length': to - from + 1, 'Content-Range': `bytes ${from}-${to}/${content.length}` });
    this.#body(response, content.subarray(from, to + 1), record, fault);
  }

  #body(response: ServerResponse, bytes: Uint8Array, record: Recorded, { cutAfter, stallAfter }: Fault): void {
    const limit = cutAfter ?? stallAfter;
    if (limit === undefined) {
      record.sent = bytes.length;
      return void response.end(bytes);
    }
    record.sent = Math.min(limit, bytes.length);
    response.write(bytes.subarray(0, limit), () => {
      if (cutAfter !== undefined) setTimeout(() => response.destroy(), 20);
    });
  }

  #batch(response: ServerResponse, { objects }: { objects: { oid: string; size: number }[] }): void {
    this.#json(response, 200, {
      transfer: this.partBytes > 0 ? 'multipart' : 'basic',
      objects: objects.map(({ oid, size }) => {
        if (this.objects.has(oid)) return { oid, size };
        if (this.partBytes === 0) return { oid, size, actions: { upload: { href: `${this.storage}/lfs/${oid}` } } };
        const count = Math.ceil(size / this.partBytes);
        const parts = Object.fromEntries(Array.from({ length: count }, (_, n) => [String(n + 1).padStart(5, '0'), `${this.storage}/part/${oid}/${n + 1}`]));
        return { oid, size, actions: { upload: { href: `${this.storage}/complete/${oid}`, header: { chunk_size: String(this.partBytes), ...parts } } } };
      }),
    });
  }

  #takeCommit(response: ServerResponse, name: string, repository: Repository, branch: string, ndjson: string): void {
    const head = repository.branches.get(branch);
    if (head === undefined) return this.#refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${branch}`);
    const tree = new Map(repository.commits.get(head)!);
    for (const line of ndjson.trim().split('\n')) {
      const { key, value } = JSON.parse(line) as { key: string; value: Record<string, string> };
      if (key === 'header' && value['parentCommit'] !== undefined && value['parentCommit'] !== head) return this.#refuse(response, 412, '', 'A commit has happened since');
      if (key === 'file') tree.set(value['path']!, { bytes: new Uint8Array(Buffer.from(value['content']!, 'base64')), lfs: false });
      if (key === 'lfsFile') {
        const bytes = this.objects.get(value['oid']!);
        if (!bytes) return this.#refuse(response, 400, '', `LFS object ${value['oid']} is not there`);
        tree.set(value['path']!, { bytes, lfs: true });
      }
    }
    const oid = this.#commit(repository, branch, tree);
    this.#json(response, 200, { success: true, commitOid: oid, commitUrl: `${this.endpoint}/${name}/commit/${oid}`, hookOutput: '' });
  }
}
