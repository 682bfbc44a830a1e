import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { dtypeBytes } from './dtype.ts';
import { tensorBytes } from './safetensors.ts';
import type { TensorToWrite } from './safetensors.ts';
import { elementCount } from './stored-tensor.ts';
import { torchDtypes } from './torch.ts';
import { zipPieces } from './zip-writer.ts';
import type { ZipEntryToWrite } from './zip-writer.ts';

/** Plain data with tensors in it. Whole numbers become Python's int, others float. */
export type TorchToWrite =
  null | boolean | number | string | Omit<TensorToWrite, 'name'> | readonly TorchToWrite[] | { readonly [key: string]: TorchToWrite };

const folder = 'archive';

/**
 * Writes what `torch.load(path, weights_only=True)` reads: dictionaries, lists, text, numbers, and each tensor in a storage of its own.
 * Whole or not at all; the same values give the same bytes. Throws `config` for a dtype that no torch storage is named after.
 */
export async function writeTorch(path: string, value: TorchToWrite): Promise<void> {
  const storages: ZipEntryToWrite[] = [];
  const pickle = new PickleWriter();
  writeValue(pickle, value, '', storages);
  const description = pickle.finish();
  const text = (name: string, content: string): ZipEntryToWrite => (
    { name: `${folder}/${name}`, size: content.length, pieces: [new TextEncoder().encode(content)] });
  await runtime.files.write(path, zipPieces([
    { name: `${folder}/data.pkl`, size: description.length, pieces: [description] },
    text('byteorder', 'little'),
    ...storages,
    text('version', '3\n'),
  ]));
}

function writeValue(pickle: PickleWriter, value: TorchToWrite, path: string, storages: ZipEntryToWrite[]): void {
  const at = (key: string | number): string => (path === '' ? String(key) : `${path}.${key}`);
  if (value === null) pickle.opcode('N');
  else if (typeof value === 'boolean') pickle.boolean(value);
  else if (typeof value === 'number') pickle.number(value);
  else if (typeof value === 'string') pickle.text(value);
  else if (isTensorToWrite(value)) writeTensor(pickle, { name: path, ...value }, storages);
  else if (isList(value)) {
    pickle.opcode('](');
    value.forEach((item, i) => writeValue(pickle, item, at(i), storages));
    pickle.opcode('e');
  } else {
    pickle.opcode('}(');
    for (const [key, item] of Object.entries(value)) {
      pickle.text(key);
      writeValue(pickle, item, at(key), storages);
    }
    pickle.opcode('u');
  }
}

/** torch._utils._rebuild_tensor_v2(storage, offset 0, size, stride, requires_grad False, backward_hooks OrderedDict()). */
function writeTensor(pickle: PickleWriter, tensor: TensorToWrite, storages: ZipEntryToWrite[]): void {
  const storage = torchDtypes.find(([, , dtype]) => dtype === tensor.dtype)?.[1];
  if (storage === undefined) throw new CochleaError('config', `torch has no storage of ${tensor.dtype} elements for tensor "${tensor.name}"`);
  const elements = elementCount(tensor.shape);
  const key = String(storages.length);
  storages.push({ name: `${folder}/data/${key}`, size: elements * dtypeBytes[tensor.dtype], pieces: tensorBytes(tensor) });
  pickle.global('torch._utils', '_rebuild_tensor_v2');
  pickle.opcode('((');
  pickle.text('storage');
  pickle.global('torch', `${storage}Storage`);
  pickle.text(key);
  pickle.text('cpu');
  pickle.number(elements);
  pickle.opcode('tQ'); // a tuple, and what it persists as
  pickle.number(0);
  pickle.numbers(tensor.shape);
  pickle.numbers(tensor.shape.map((_, i) => elementCount(tensor.shape.slice(i + 1))));
  pickle.boolean(false);
  pickle.global('collections', 'OrderedDict');
  pickle.opcode(')RtR');
}

/** Plain data has no typed arrays, nor anything to iterate over but lists. */
function isTensorToWrite(value: object): value is Omit<TensorToWrite, 'name'> {
  const { data } = value as { data?: unknown };
  if (typeof data !== 'object' || data === null) return false;
  if (Array.isArray(data)) return data.length > 0 && data.every(ArrayBuffer.isView);
  return Symbol.iterator in data || Symbol.asyncIterator in data;
}

function isList(value: TorchToWrite & object): value is readonly TorchToWrite[] {
  return Array.isArray(value);
}

/** Protocol 2, in the opcodes that torch.load(weights_only=True) knows. */
class PickleWriter {
  readonly #parts: Uint8Array[] = [Uint8Array.of(0x80, 2)];

  /** Opcodes without arguments. */
  opcode(characters: string): void {
    this.#parts.push(new TextEncoder().encode(characters));
  }

  boolean(value: boolean): void {
    this.#parts.push(Uint8Array.of(value ? 0x88 : 0x89));
  }

  number(value: number): void {
    const bytes = new Uint8Array(10);
    const view = new DataView(bytes.buffer);
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      bytes[0] = 0x47; // BINFLOAT
      view.setFloat64(1, value);
      this.#parts.push(bytes.subarray(0, 9));
    } else if (value === (value | 0)) {
      bytes[0] = 0x4a; // BININT
      view.setInt32(1, value, true);
      this.#parts.push(bytes.subarray(0, 5));
    } else {
      bytes.set([0x8a, 8]); // LONG1
      view.setBigInt64(2, BigInt(value), true);
      this.#parts.push(bytes);
    }
  }

  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    const start = new Uint8Array(5);
    start[0] = 0x58; // BINUNICODE
    new DataView(start.buffer).setUint32(1, bytes.length, true);
    this.#parts.push(start, bytes);
  }

  /** A tuple of integers. */
  numbers(values: readonly number[]): void {
    this.opcode('(');
    for (const value of values) this.number(value);
    this.opcode('t');
  }

  global(module: string, name: string): void {
    this.opcode(`c${module}\n${name}\n`);
  }

  finish(): Uint8Array {
    this.opcode('.');
    const out = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}
