/** What the house needs from a runtime. Everything above floor 0 sees only this. */

export type RuntimeName = 'node' | 'deno' | 'browser';

export interface FileInfo {
  isDirectory: boolean;
  /** False for folders, and for pipes, sockets and devices: reading those may wait for ever. */
  isFile: boolean;
  /** Bytes. */
  size: number;
  /** Milliseconds since 1970. */
  modified: number;
}

/** A file opened for reading at any offset. */
export interface FileHandle {
  readonly size: number;
  /** Reads up to `length` bytes at `offset`; shorter only at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file that is written piece by piece and keeps what it has when that ends half-way. */
export interface WritableFile {
  /** Bytes it had when it was opened. */
  readonly size: number;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Resolves when the disk has all that was written. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface FileSystem {
  /** Throws CochleaError `file-missing` when there is nothing at the path, `file-system` otherwise; so do all below. */
  read(path: string): Promise<Uint8Array>;
  readText(path: string): Promise<string>;
  open(path: string): Promise<FileHandle>;
  /** Undefined when nothing is there. */
  info(path: string): Promise<FileInfo | undefined>;
  /** Fills `bytes` from a file while the caller waits, for code that cannot wait otherwise. Throws `file-damaged` when the file ends before. */
  fillNow(bytes: Uint8Array, path: string, offset: number): void;
  /** Names in a folder, sorted by code unit. */
  list(path: string): Promise<string[]>;
  /** Removes what killed processes left of unfinished writes in a folder that is the caller's alone: of all files, or of those that `of` says yes to. Nothing for a folder that is not there. */
  removePartials(path: string, of?: (name: string) => boolean): Promise<void>;
  makeFolder(path: string): Promise<void>;
  /**
   * Writes beside the target, fsyncs and renames: the target is either what it was or the whole new file.
   * Creates missing parent folders. A list of pieces is written one after the other.
   */
  write(path: string, content: string | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>;
  /** Writes a whole file as `write` does, where there is none; false, and nothing changed, where there is. Of several processes that do so one succeeds. */
  writeNew(path: string, content: string | Uint8Array): Promise<boolean>;
  /** Opens a file to write into, with what it holds; creates it and its parent folders where they are missing. */
  openToWrite(path: string): Promise<WritableFile>;
  /** Puts a symbolic link to `target`, by a relative path, at `path` in place of what is there; a copy where the platform lets nobody make links. */
  link(path: string, target: string): Promise<void>;
  /** Appends and fsyncs. A torn last line after a crash is the reader's to ignore. */
  append(path: string, content: string | Uint8Array): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a whole folder; nothing there is no error. */
  remove(path: string): Promise<void>;
  /** A fresh empty folder below the system's temporary folder. */
  temporaryFolder(prefix: string): Promise<string>;
}

/** Path arithmetic of the runtime's own platform. */
export interface Paths {
  join(...parts: string[]): string;
  resolve(...parts: string[]): string;
  relative(from: string, to: string): string;
  dirname(path: string): string;
  basename(path: string, extension?: string): string;
  extname(path: string): string;
  isAbsolute(path: string): boolean;
}

export interface ProcessResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** A module in a thread of its own. */
export interface WorkerThread {
  /** What the module answers. Rejects with what it throws, `runtime` when the thread dies, `interrupted` when it is ended before. Transferred buffers are gone here. */
  ask(content: unknown, transfer?: readonly ArrayBuffer[]): Promise<unknown>;
  /** Ends the thread, whatever it is doing. */
  end(): Promise<void>;
}

export type Answer = (content: unknown) => Promise<{ content: unknown; transfer?: readonly ArrayBuffer[] }>;

/** A package that may be installed beside this one. */
export interface OptionalPackage {
  readonly version: string;
  readonly exports: unknown;
}

export interface Runtime {
  readonly name: RuntimeName;
  /** E.g. `node 20.20.2`, `deno 2.9.6`, `Chrome 147`. */
  readonly version: string;
  readonly files: FileSystem;
  readonly paths: Paths;
  /** The GPU entry point (Dawn in Node, wgpu in Deno, the page's own in a browser); undefined when there is none. */
  gpu(): Promise<GPU | undefined>;
  /** Features that a device of gpu() can be asked for though its adapter does not list them. */
  readonly unlistedFeatures: readonly string[];
  /**
   * Makes this runtime's WebGPU, and a device of it, do for a program that is written for a page: ONNX Runtime looks for navigator.gpu, writes to buffers out of
   * shared memory, and uses subgroups as pages have them where a device says that it has some. What a runtime has of it is left alone.
   */
  likeAPage(device: GPUDevice): Promise<void>;
  /** Frees what gpu() holds, so that the process can end. */
  releaseGpu(): void;
  /**
   * The same promise, waited for with a pause of a millisecond between looks where a runtime looks without one: Dawn's binding for Node takes a whole core
   * while a promise of the GPU is pending.
   */
  patiently<T>(work: Promise<T>): Promise<T>;
  environment(name: string): string | undefined;
  /**
   * Starts the module `name` (`./x`, without extension) beside the module at `from` (its import.meta.url) in a thread, where it calls `answerRequests`.
   * Only a thread that is asked something keeps the process alive.
   */
  startWorker(name: string, from: string): WorkerThread;
  /** Called by a module that startWorker started: `answer` is called for every request as it comes. */
  answerRequests(answer: Answer): void;
  /**
   * A package of native code that is not among the dependencies: from the folder that the environment variable `variable` names, else from where
   * this package's own dependencies are found, never from the working folder. Undefined when it is not there. Throws `runtime` when it is and cannot be loaded.
   */
  optionalPackage(name: string, variable: string): Promise<OptionalPackage | undefined>;
  /** Logical processors. */
  readonly processors: number;
  /** Where downloaded models and unpacked adapters are kept: COCHLEA_CACHE, else the platform's cache folder. */
  cacheFolder(): string;
  /** Runs a program to its end without a shell. */
  run(program: string, args: readonly string[], options?: { cwd?: string; env?: Record<string, string> }): Promise<ProcessResult>;
  /** SHA-256 in lower-case hex, incrementally. */
  sha256(): { update(bytes: Uint8Array): void; hex(): string };
  /** SHA-1, which names what git keeps, likewise. */
  sha1(): { update(bytes: Uint8Array): void; hex(): string };
  /** Resident memory of this process in bytes, 0 where unknown. */
  residentBytes(): number;
  /** Bytes of memory that this process could still be given, by the machine and by what confines it; Infinity where unknown. */
  freeMemory(): number;
}
