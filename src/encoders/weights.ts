/**
 * Weights apart from the graph. ONNX Runtime's wasm build needs about three times the size of a model whose
 * weights lie inside the .onnx file, and 1.1 times when each comes as a file of its own; so every weight
 * is handed over as a virtual external file, and of real external files only the wanted ranges are read.
 */
import { CochleaError } from '../errors.ts';
import { runtime, type FileHandle } from '../runtime/index.ts';
import { parseModel, writeModel, type Initializer, type Model } from './graph.ts';
import { concatenate, readFields, writeField } from './wire.ts';

export interface DetachedModel {
  /** The ModelProto, its larger weights replaced by references. */
  readonly bytes: Uint8Array;
  readonly weights: readonly { readonly path: string; readonly data: Uint8Array }[];
}

/** Bits of one element by TensorProto.DataType; strings have none. */
const elementBits: Readonly<Record<number, number>> = {
  1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
  16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
};

/** Smaller tensors stay in the graph: among them are the shapes and axes that shape inference must see. */
const detachFrom = 1024;

/** The wasm build has 32-bit addresses. */
const mostWeightBytes = 3.75e9;

function expectedBytes(tensor: Initializer, file: string): number {
  const bits = elementBits[tensor.type];
  if (bits === undefined) throw new CochleaError('model', `${file}: tensor '${tensor.name}' has the unknown data type ${tensor.type}`);
  return Math.ceil((tensor.dims.reduce((product, d) => product * d, 1) * bits) / 8);
}

/** The file an external location names. It must lie in the model's folder: a model is data from a stranger. */
export function externalPath(location: string, folder: string, file: string): string {
  const parts = location.split(/[/\\]/);
  if (runtime.paths.isAbsolute(location) || /^[a-zA-Z]:|\0/.test(location) || parts[0] === '' || parts.includes('..')) {
    throw new CochleaError('model', `${file}: its weights are said to lie in '${location}', outside of the model's folder`);
  }
  return runtime.paths.join(folder, ...parts);
}

function externalLocations(tensors: readonly Initializer[]): string[] {
  return [...new Set(tensors.flatMap(({ data }) => (data.kind === 'external' ? [data.location] : [])))].sort();
}

async function readRange(handle: FileHandle, path: string, offset: number, length: number, name: string): Promise<Uint8Array> {
  if (offset + length > handle.size) {
    throw new CochleaError(
      'file-damaged', `${path}: tensor '${name}' should lie at bytes ${offset} to ${offset + length}, but the file has ${handle.size}`,
      'bring the file again',
    );
  }
  return handle.read(offset, length);
}

/**
 * Takes the weights out of a model, reading those in external files from `folder` (only their own bytes).
 * Throws CochleaError `model` when a tensor's data do not fit its shape or lie outside of the folder,
 * `file-missing` or `file-damaged` when an external file is absent or too short.
 */
export async function detachWeights(model: Model, folder: string): Promise<DetachedModel> {
  const { file } = model;
  const inner = model.nodes.find((node) => node.externalInside);
  if (inner) {
    throw new CochleaError(
      'model', `${file}: node '${inner.name}' keeps weights of its own in another file, which is not supported`,
      'save the model as one file',
    );
  }
  const total = model.initializers.reduce((sum, tensor) => sum + (tensor.data.kind === 'typed' ? 0 : expectedBytes(tensor, file)), 0);
  if (total > mostWeightBytes) {
    throw new CochleaError(
      'model', `${file}: ${(total / 1e9).toFixed(1)} GB of weights lie before the hook; at most 3.75 GB can be loaded`,
      'choose an earlier hook',
    );
  }

  const handles = new Map<string, FileHandle>();
  const weights: { path: string; data: Uint8Array }[] = [];
  const initializers: Initializer[] = [];
  try {
    for (const location of externalLocations(model.initializers)) {
      handles.set(location, await runtime.files.open(externalPath(location, folder, file)));
    }
    for (const tensor of model.initializers) {
      const { data } = tensor;
      if (data.kind === 'typed') {
        initializers.push(tensor);
        continue;
      }
      const length = expectedBytes(tensor, file);
      const stated = data.kind === 'raw' ? data.bytes.length : data.length ?? length;
      if (stated !== length) {
        throw new CochleaError('model', `${file}: tensor '${tensor.name}' of shape [${tensor.dims}] needs ${length} bytes and has ${stated}`);
      }
      if (data.kind === 'raw' && length < detachFrom) {
        initializers.push(tensor);
        continue;
      }
      const bytes = data.kind === 'raw' ? data.bytes
        : await readRange(handles.get(data.location)!, data.location, data.offset, length, tensor.name);
      const dataFields = [9, 13, 14];
      const kept = [...readFields(tensor.raw, file)].filter(({ number }) => !dataFields.includes(number)).map((field) => field.raw);
      if (length < detachFrom) kept.push(writeField(9, bytes));
      else {
        const path = `weight${weights.length}`;
        weights.push({ path, data: bytes });
        const entry = (key: string, value: string) => writeField(13, [writeField(1, key), writeField(2, value)]);
        kept.push(entry('location', path), entry('offset', '0'), entry('length', String(length)), writeField(14, 1));
      }
      initializers.push({ ...tensor, raw: concatenate(kept) });
    }
  } finally {
    for (const handle of handles.values()) await handle.close();
  }
  return { bytes: writeModel({ ...model, initializers }), weights };
}

/**
 * Reads a model file with the SHA-256 of everything that determines what it computes: of the file itself, and
 * after it of its external files in the order of their names. A model of one file has the sum of sha256sum.
 */
export async function readModel(path: string): Promise<{ model: Model; sha256: string }> {
  const bytes = await runtime.files.read(path);
  const model = parseModel(bytes, path);
  const hash = runtime.sha256();
  hash.update(bytes);
  for (const location of externalLocations(model.initializers)) {
    const handle = await runtime.files.open(externalPath(location, runtime.paths.dirname(path), path));
    try {
      for (let at = 0; at < handle.size; at += 1 << 24) hash.update(await handle.read(at, 1 << 24));
    } finally {
      await handle.close();
    }
  }
  return { model, sha256: hash.hex() };
}

/** The files beside a model in which it keeps weights, as it names them. Throws CochleaError `model` for one that would lie outside of its folder. */
export async function externalFiles(path: string): Promise<string[]> {
  const locations = externalLocations(parseModel(await runtime.files.read(path), path).initializers);
  for (const location of locations) externalPath(location, '', path);
  return locations;
}
