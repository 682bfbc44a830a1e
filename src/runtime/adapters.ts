/**
 * Which GPU the program runs on: a real one, else lavapipe (Mesa's software adapter), else the SwiftShader
 * that lies in the npm package @sparticuz/chromium. COCHLEA_ADAPTER asks for one: `gpu`, `lavapipe`,
 * `swiftshader`, or a part of an adapter's name.
 */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import * as path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { CochleaError } from '../errors.ts';
import { cacheFolder, makeFolders } from './files.ts';
import type { GpuSetup } from './native-gpu.ts';
import type { ProbeReport } from './probe.ts';
import { readTar } from './tar.ts';
import { installFolder } from './unpack.ts';

/** The adapter that this process runs on. */
export interface AdapterChoice {
  /** E.g. `NVIDIA H200`, `SwiftShader`. */
  readonly name: string;
  /** A software adapter: the same code, slow. */
  readonly software: boolean;
  /** The one line that tells a person. */
  readonly line: string;
  /** What was looked at before and why it was passed over, one line each. */
  readonly tried: readonly string[];
  readonly setup: GpuSetup;
}

/** A folder with a Vulkan loader and SwiftShader's driver, or why there is none. */
export type SoftwareAdapter = { loader: string; driver: string } | { reason: string };

const bundlePackage = '@sparticuz/chromium';

/** The folder `bin` and the version of the package with the software adapter; undefined when it is not installed. */
export async function bundleLocation(): Promise<{ bin: string; version: string } | undefined> {
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(bundlePackage);
  } catch {
    return undefined;
  }
  const root = entry.slice(0, entry.lastIndexOf(path.normalize(bundlePackage)) + bundlePackage.length);
  const { version } = JSON.parse(await fs.readFile(path.join(root, 'package.json'), 'utf8')) as { version: string };
  return { bin: path.join(root, 'bin'), version };
}

/** Unpacks some files of a brotli-compressed tar archive into a folder. Throws `file-damaged` when one is not in it. */
export async function unpackArchive(archive: string, names: readonly string[], folder: string): Promise<void> {
  const entries = readTar(await promisify(brotliDecompress)(await fs.readFile(archive)).catch((error: Error) => {
    throw new CochleaError('file-damaged', `${archive} cannot be decompressed: ${error.message}`, 'run npm ci', { cause: error });
  }));
  for (const name of names) {
    const content = entries.get(name);
    if (!content) throw new CochleaError('file-damaged', `${archive} holds no ${name}`, 'run npm ci');
    await makeFolders(path.dirname(path.join(folder, name)));
    await fs.writeFile(path.join(folder, name), content, { mode: 0o755 });
  }
}

/** Brings SwiftShader into the cache folder. Only Linux on x64 has one. Throws `file-damaged` or `file-system`. */
export async function unpackSoftwareAdapter(): Promise<SoftwareAdapter> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return { reason: `none is bundled for ${process.platform}-${process.arch}` };
  const bundle = await bundleLocation();
  if (!bundle) return { reason: `the npm package ${bundlePackage} is not installed` };
  const folder = path.join(cacheFolder(), 'adapter', bundle.version);
  const [loader, driver, library] = ['libvulkan.so.1', 'vk_swiftshader_icd.json', 'libvk_swiftshader.so'] as const;
  await installFolder(folder, (beside) => unpackArchive(path.join(bundle.bin, 'swiftshader.tar.br'), [loader, driver, library], beside));
  return { loader: path.join(folder, loader), driver: path.join(folder, driver) };
}

/** The driver files (ICDs) of this machine, also where only containers keep them. */
async function findDrivers(): Promise<string[]> {
  const chosen = process.env['VK_DRIVER_FILES'] ?? process.env['VK_ICD_FILENAMES'];
  if (chosen) return chosen.split(path.delimiter);
  const data = process.env['XDG_DATA_DIRS']?.split(path.delimiter) ?? ['/usr/local/share', '/usr/share'];
  const folders = [...data, '/etc', path.join(homedir(), '.local/share'), '/usr/local/nvidia/share', '/run/opengl-driver/share'];
  const found: string[] = [];
  for (const folder of new Set(folders)) {
    const names = await fs.readdir(path.join(folder, 'vulkan/icd.d')).catch(() => []);
    found.push(...names.filter((name) => /^(?!.*i[36]86).*\.json$/.test(name)).sort().map((name) => path.join(folder, 'vulkan/icd.d', name)));
  }
  return found;
}

async function runProbe(setup: GpuSetup, wanted: string | undefined): Promise<ProbeReport> {
  const program = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? 'probe.ts' : 'probe.js', import.meta.url));
  const flags = 'Deno' in globalThis ? ['run', '-A', '--no-lock', program] : [program];
  const args = [...flags, JSON.stringify(setup), ...(wanted === undefined ? [] : [wanted])];
  const seconds = 60; // a driver's first start compiles its own kernels
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: 1000 * seconds, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      const answer = stdout.trimEnd().split('\n').at(-1) ?? '';
      if (answer.startsWith('{')) resolve(JSON.parse(answer) as ProbeReport);
      else if (error?.killed) resolve({ failed: `the driver did not answer within ${seconds} seconds` });
      else if (error?.signal) resolve({ failed: `the driver crashed (${error.signal})` });
      else resolve({ failed: `the probe ended with code ${error?.code ?? 0}: ${stderr.trim().split('\n').at(-1)}` });
    });
  });
}

/** The machine as `choose` sees it. */
export interface Machine {
  /** What COCHLEA_ADAPTER says. */
  wanted: string | undefined;
  /** Environment variables that hold whatever is chosen. */
  env: Record<string, string>;
  /** Driver files. */
  drivers: string[];
  software(): Promise<SoftwareAdapter>;
  probe(setup: GpuSetup, wanted: string | undefined): Promise<ProbeReport>;
}

type Found = Exclude<ProbeReport, { failed: string }>;

interface Candidate {
  label: string;
  setup: GpuSetup;
  report: () => Promise<ProbeReport>;
}

/** In the order of trying; what costs something is done only when a candidate is asked for. */
async function* candidates(machine: Machine, wanted: string | undefined): AsyncGenerator<Candidate, void, void> {
  const part = wanted === 'gpu' ? undefined : wanted === 'lavapipe' ? 'llvmpipe' : wanted;
  const probed = (label: string, setup: GpuSetup): Candidate => ({ label, setup, report: () => machine.probe(setup, part) });
  if (wanted !== 'swiftshader') yield probed('as the machine is', { env: machine.env });
  const label = 'the bundled software adapter';
  const software = await machine.software().catch((error: Error) => ({ reason: error instanceof CochleaError ? error.line : error.message }));
  if ('reason' in software) {
    if (wanted !== 'gpu') yield { label, setup: { env: {} }, report: async () => ({ failed: software.reason, absent: true }) };
    return;
  }
  const under = (...files: string[]): GpuSetup => ({ env: { ...machine.env, VK_DRIVER_FILES: files.join(path.delimiter) }, loader: software.loader });
  if (wanted !== 'swiftshader') {
    // The bundled loader helps where there is none, and where a container keeps its drivers in a place of its own.
    const hardware = machine.drivers.filter((file) => !/lvp|swiftshader/.test(path.basename(file)));
    if (hardware.length > 0) yield probed('with the bundled Vulkan loader', under(...hardware));
    if (part !== undefined) for (const file of machine.drivers) yield probed(`with ${file} alone`, under(file));
  }
  // Ours, and the same everywhere: nothing to look at.
  if (wanted !== 'gpu') yield { label, setup: under(software.driver), report: async () => ({ name: 'SwiftShader', driver: 'bundled', software: true }) };
}

const isLavapipe = (found: Found) => /llvmpipe|lavapipe/i.test(found.name);

/**
 * 0 is a GPU. Before Mesa 24 lavapipe lacks features that Dawn asks for and is the last resort; wgpu does
 * not say which Mesa it is.
 */
function rank(found: Found): number {
  if (!found.software) return 0;
  if (isLavapipe(found)) return Number(/Mesa (\d+)/.exec(found.driver)?.[1] ?? 0) >= 24 ? 1 : 3;
  return 2;
}

function accepts(wanted: string | undefined, found: Found): boolean {
  if (wanted === undefined) return true;
  if (wanted === 'gpu') return !found.software;
  if (wanted === 'lavapipe') return isLavapipe(found);
  return `${found.name} ${found.driver}`.toLowerCase().includes(wanted);
}

const backendNames: Record<string, string> = { vulkan: 'Vulkan', metal: 'Metal', d3d12: 'Direct3D 12', d3d11: 'Direct3D 11' };

function line(found: Found, wanted: string | undefined, failures: readonly string[]): string {
  if (!found.software) return `GPU: ${found.name}${found.backend === undefined ? '' : ` (${backendNames[found.backend] ?? found.backend})`}`;
  const why = wanted !== undefined ? '' : failures.length > 0 ? `no working GPU (${failures[0]}): ` : 'no GPU found: ';
  return `${why}running on the ${found.driver === 'bundled' ? 'bundled ' : ''}software adapter ${found.name} (slow, same code)`;
}

/** Decides what to run on. Throws `gpu-missing` with all that was tried. */
export async function choose(machine: Machine): Promise<AdapterChoice> {
  const wanted = machine.wanted?.trim().toLowerCase() || undefined;
  const tried: string[] = [];
  const failures: string[] = [];
  let best: { found: Found; setup: GpuSetup } | undefined;
  for await (const { label, setup, report } of candidates(machine, wanted)) {
    const found = await report();
    if ('failed' in found) {
      tried.push(`${label}: ${found.failed}`);
      if (!found.absent) failures.push(found.failed);
      continue;
    }
    tried.push(`${label}: ${found.name}`);
    if (!accepts(wanted, found)) continue;
    if (!best || rank(found) < rank(best.found)) best = { found, setup };
    if (wanted !== undefined || rank(found) === 0) break;
  }
  if (!best) {
    const what = wanted === undefined ? 'there is no GPU and no software adapter' : `no adapter is what COCHLEA_ADAPTER=${machine.wanted} asks for`;
    throw new CochleaError('gpu-missing', `${what} (tried ${tried.join('; ')})`,
      wanted === undefined ? 'install a GPU driver' : 'unset COCHLEA_ADAPTER to let the program choose');
  }
  const { found, setup } = best;
  return {
    name: found.name, software: found.software, line: line(found, wanted, failures), tried,
    setup: found.adapter === undefined ? setup : { ...setup, adapter: found.adapter },
  };
}

let chosen: Promise<AdapterChoice> | undefined;

/**
 * The adapter of this process, chosen once: the first call looks at the machine, in child processes that a
 * crashing driver may take down. runtime.gpu() opens what this chose. Throws `gpu-missing`.
 */
export function ensureAdapter(): Promise<AdapterChoice> {
  return chosen ??= (async () => {
    const linux = process.platform === 'linux';
    // Left to itself wgpu may take OpenGL, which it supports only in part.
    const env: Record<string, string> = linux && 'Deno' in globalThis ? { DENO_WEBGPU_BACKEND: process.env['DENO_WEBGPU_BACKEND'] ?? 'vulkan' } : {};
    return choose({ wanted: process.env['COCHLEA_ADAPTER'], env, drivers: linux ? await findDrivers() : [], software: unpackSoftwareAdapter, probe: runProbe });
  })();
}
