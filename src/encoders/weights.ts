/**
 * Weights apart from the graph. ONNX Runtime's wasm build needs about three times the size of a model whose
 * weights lie inside the .onnx file, and hardly more than its size when each comes as a file of its own and is read when it is asked for;
 * so every weight is handed over as a virtual external file, and of real files only the wanted ranges are read, one at a time.
 */
import { CochleaError } from '../errors.ts';
import { runtime, type FileHandle } from '../runtime/index.ts';
import { parseModel, writeModel, type Initializer, type Model } from './graph.ts';
import { concatenate, readFields, writeField } from './wire.ts';

/** A stretch of a file. */
export interface StoredRange {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

/** A weight under the path that the graph refers to: in memory, or where it lies on the disk. */
export interface Weight {
  readonly path: string;
  readonly data: Uint8Array | StoredRange;
}

/** Plain data, which can be given to other threads. */
export interface DetachedModel {
  /** The ModelProto, its larger weights replaced by references. */
  readonly bytes: Uint8Array;
  readonly weights: readonly Weight[];
  /** Bytes of all weights. */
  readonly size: number;
  /** Where external files lie that the graph still refers to by their own names; undefined when there are none. */
  readonly folder: string | undefined;
}

export const isStored = (data: Weight['data']): data is StoredRange => !(data instanceof Uint8Array);

/** The bytes of a weight, read now if they are not in memory. */
export function weightBytes({ data }: Weight): Uint8Array {
  if (!isStored(data)) return data;
  const bytes = new Uint8Array(data.length);
  runtime.files.fillNow(bytes, data.file, data.offset);
  return bytes;
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

function checkRange(handle: FileHandle, path: string, offset: number, length: number, name: string): void {
  if (offset + length > handle.size) {
    throw new CochleaError(
      'file-damaged', `${path}: tensor '${name}' should lie at bytes ${offset} to ${offset + length}, but the file has ${handle.size}`,
      'bring the file again',
    );
  }
}

export interface DetachOptions {
  /**
   * Leaves external files to ONNX Runtime, which must then read them by itself: its native build maps them into memory. It takes files or weights in memory, not
   * both: where there are files, all other weights stay in the graph.
   */
  keepExternal?: boolean;
}

/**
 * Takes the weights out of a model. Those in external files, in `folder`, are not read yet, but their places are known to be there.
 * Throws CochleaError `model` when a tensor's data do not fit its shape or lie outside of the folder, or when they are more than the wasm build can
 * address, `file-missing` or `file-damaged` when an external file is absent or too short.
 */
export async function detachWeights(model: Model, folder: string, { keepExternal = false }: DetachOptions = {}): Promise<DetachedModel> {
  const { file } = model;
  const inner = model.nodes.find((node) => node.externalInside);
  if (inner) {
    throw new CochleaError(
      'model', `${file}: node '${inner.name}' keeps weights of its own in another file, which is not supported`,
      'save the model as one file',
    );
  }
  const total = model.initializers.reduce((sum, tensor) => sum + (tensor.data.kind === 'typed' ? 0 : expectedBytes(tensor, file)), 0);
  if (total > mostWeightBytes && !keepExternal) {
    throw new CochleaError(
      'model', `${file}: ${(total / 1e9).toFixed(1)} GB of weights lie before the hook; at most 3.75 GB can be loaded`,
      'choose an earlier hook, or install onnxruntime-node',
    );
  }

  const handles = new Map<string, FileHandle>();
  const weights: Weight[] = [];
  const initializers: Initializer[] = [];
  const locations = externalLocations(model.initializers), keep = keepExternal && locations.length > 0;
  try {
    for (const location of locations) {
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
      if (data.kind === 'external') checkRange(handles.get(data.location)!, data.location, data.offset, length, tensor.name);
      if (keep || (data.kind === 'raw' && length < detachFrom)) {
        initializers.push(tensor);
        continue;
      }
      const dataFields = [9, 13, 14];
      const fields = [...readFields(tensor.raw, file)].filter(({ number }) => !dataFields.includes(number)).map((field) => field.raw);
      if (data.kind === 'external' && length < detachFrom) fields.push(writeField(9, await handles.get(data.location)!.read(data.offset, length)));
      else {
        const path = `weight${weights.length}`;
        weights.push({ path, data: data.kind === 'raw' ? data.bytes : { file: externalPath(data.location, folder, file), offset: data.offset, length } });
        const entry = (key: string, value: string) => writeField(13, [writeField(1, key), writeField(2, value)]);
        fields.push(entry('location', path), entry('offset', '0'), entry('length', String(length)), writeField(14, 1));
      }
      initializers.push({ ...tensor, raw: concatenate(fields) });
    }
  } finally {
    for (const handle of handles.values()) await handle.close();
  }
  return { bytes: writeModel({ ...model, initializers }), weights, size: total, folder: keep ? folder : undefined };
}

/** The same model with the weights that are views of `bytes`, the content of the file `path`, left there to be read when they are needed. */
export function leaveStored(model: DetachedModel, bytes: Uint8Array, path: string): DetachedModel {
  const weights = model.weights.map((weight): Weight => {
    const { data } = weight;
    if (isStored(data) || data.buffer !== bytes.buffer) return weight;
    const offset = data.byteOffset - bytes.byteOffset;
    return offset < 0 || offset + data.length > bytes.length ? weight : { path: weight.path, data: { file: path, offset, length: data.length } };
  });
  return { ...model, weights };
}

/** A model in memory, with the SHA-256 of its bytes. */
export async function takeModel(bytes: Uint8Array, name: string): Promise<{ model: Model; sha256: string; bytes: Uint8Array }> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return { model: parseModel(bytes, name), sha256: [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join(''), bytes };
}

/**
 * Reads a model file with the SHA-256 of everything that determines what it computes: of the file itself, and
 * after it of its external files in the order of their names. A model of one file has the sum of sha256sum.
 */
export async function readModel(path: string): Promise<{ model: Model; sha256: string; bytes: Uint8Array }> {
  const bytes = await runtime.files.read(path);
  const model = parseModel(bytes, path);
  const hash = runtime.sha256();
  hash.update(bytes);
  const room = new Uint8Array(1 << 22);
  for (const location of externalLocations(model.initializers)) {
    const file = externalPath(location, runtime.paths.dirname(path), path);
    const { size, close } = await runtime.files.open(file);
    await close();
    for (let at = 0; at < size; at += room.length) {
      const piece = room.subarray(0, Math.min(room.length, size - at));
      runtime.files.fillNow(piece, file, at);
      hash.update(piece);
    }
  }
  return { model, sha256: hash.hex(), bytes };
}

/** The files beside a model in which it keeps weights, as it names them. Throws CochleaError `model` for one that would lie outside of its folder. */
export async function externalFiles(path: string): Promise<string[]> {
  const locations = externalLocations(parseModel(await runtime.files.read(path), path).initializers);
  for (const location of locations) externalPath(location, '', path);
  return locations;
}
