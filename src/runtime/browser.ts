import { CochleaError } from '../errors.ts';
import type { FileSystem, Paths, Runtime } from './types.ts';

function unavailable(what: string): never {
  throw new CochleaError('runtime', `${what} is not available in a browser tab`);
}

function refusing<T extends object>(what: string): T {
  return new Proxy({} as T, { get: () => () => unavailable(what) });
}

/** A page: it has a GPU and no files. */
export function createBrowserRuntime(): Runtime {
  const brand = /(Chrome|Firefox|Version)\/([\d.]+)/.exec(globalThis.navigator?.userAgent ?? '');
  return {
    name: 'browser',
    version: brand ? `${brand[1] === 'Version' ? 'Safari' : brand[1]} ${brand[2]}` : 'browser',
    files: refusing<FileSystem>('the file system'),
    paths: refusing<Paths>('the file system'),
    gpu: async () => globalThis.navigator?.gpu,
    unlistedFeatures: [],
    likeAPage: async () => {},
    releaseGpu: () => {},
    patiently: (work) => work,
    environment: () => undefined,
    startWorker: () => unavailable('a thread of encoders'),
    answerRequests: () => unavailable('a thread of encoders'),
    optionalPackage: async () => undefined,
    processors: globalThis.navigator?.hardwareConcurrency ?? 1,
    cacheFolder: () => unavailable('a cache folder'),
    run: () => unavailable('running programs'),
    sha256: () => unavailable('incremental SHA-256'),
    sha1: () => unavailable('incremental SHA-1'),
    residentBytes: () => 0,
    freeMemory: () => Infinity,
  };
}
