import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { availableParallelism, freemem } from 'node:os';
import * as path from 'node:path';
import process from 'node:process';
import { CochleaError } from '../errors.ts';
import { ensureAdapter } from './adapters.ts';
import { cacheFolder, files } from './files.ts';
import { openNativeGpu } from './native-gpu.ts';
import type { Runtime } from './types.ts';

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
    releaseGpu: () => {
      opened = undefined;
    },
    patiently: deno ? (work) => work : patiently,
    environment: (name) => process.env[name],
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
