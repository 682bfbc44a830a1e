import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, freemem } from 'node:os';
import * as path from 'node:path';
import process from 'node:process';
import { CochleaError } from '../errors.ts';
import { ensureAdapter } from './adapters.ts';
import { cacheFolder, files } from './files.ts';
import { likeAPage, openNativeGpu } from './native-gpu.ts';
import { answerRequests, startWorker } from './threads.ts';
import type { OptionalPackage, Runtime } from './types.ts';

// Dawn frees everything when the object that create() returned is collected, even while a device is in
// use; it must stay reachable until releaseGpu().
let opened: GPU | undefined;

async function openGpu(): Promise<GPU> {
  const { setup } = await ensureAdapter();
  return opened ??= await openNativeGpu(setup);
}

function incremental(algorithm: 'sha1' | 'sha256'): { update(bytes: Uint8Array): void; hex(): string } {
  const hash = createHash(algorithm);
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

const never = new Int32Array(new SharedArrayBuffer(4));

async function patiently<T>(work: Promise<T>): Promise<T> {
  let pending = true;
  const settled = work.finally(() => {
    pending = false;
  });
  settled.catch(() => {}); // it is awaited below
  while (pending) {
    Atomics.wait(never, 0, 0, 1);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return settled;
}

async function optionalPackage(name: string, variable: string): Promise<OptionalPackage | undefined> {
  const folder = process.env[variable];
  const require = createRequire(folder ? path.join(path.resolve(folder), 'index.js') : import.meta.url);
  // Asked for by the manifest: that of a package need not be among its exports.
  const place = (require.resolve.paths(name) ?? []).map((modules) => path.join(modules, name)).find((at) => existsSync(path.join(at, 'package.json')));
  if (place === undefined) {
    if (folder) throw new CochleaError('runtime', `${variable} is ${folder}, and ${name} is not installed there`, `run npm install ${name} in it, or unset ${variable}`);
    return undefined;
  }
  try {
    const { version } = JSON.parse(readFileSync(path.join(place, 'package.json'), 'utf8')) as { version: string };
    return { version, exports: require(place) };
  } catch (error) {
    throw new CochleaError('runtime', `${name} in ${place} cannot be loaded: ${(error as Error).message.split('\n')[0]}`, undefined, { cause: error });
  }
}

/** Node and Deno: both speak `node:`; they differ in where the GPU comes from. */
export function createServerRuntime(): Runtime {
  const deno = (globalThis as { Deno?: { version: { deno: string } } }).Deno;
  return {
    name: deno ? 'deno' : 'node',
    version: deno ? `deno ${deno.version.deno}` : `node ${process.versions.node}`,
    files,
    paths: path,
    gpu: openGpu,
    unlistedFeatures: deno ? ['subgroups'] : [], // wgpu
    likeAPage: async (device) => likeAPage(device, await openGpu()),
    releaseGpu: () => {
      opened = undefined;
    },
    patiently: deno ? (work) => work : patiently,
    environment: (name) => process.env[name],
    startWorker,
    answerRequests,
    optionalPackage,
    processors: availableParallelism(),
    cacheFolder,
    run: (program, args, options = {}) => new Promise((resolve, reject) => {
      execFile(program, [...args], { cwd: options.cwd, env: { ...process.env, ...options.env }, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
        if (error && typeof error.code === 'string') reject(new CochleaError('runtime', `cannot run ${program}: ${error.message}`, undefined, { cause: error }));
        else resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr });
      });
    }),
    sha256: () => incremental('sha256'),
    sha1: () => incremental('sha1'),
    residentBytes: () => process.memoryUsage.rss(),
    freeMemory: () => Math.min(freemem(), process.availableMemory?.() ?? Infinity), // Node has the second since 20.13
  };
}
