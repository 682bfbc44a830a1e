/**
 * What torch.save writes since PyTorch 1.6: a zip archive whose data.pkl describes nested data and whose data/KEY entries are the
 * storages that its tensors view. Opening reads the description alone, and through a restricted reader (pickle.ts): nothing of the file
 * is run. Format: PyTorch's torch/serialization.py and torch/_utils.py.
 */

import { CochleaError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { decodeElements, dtypeBytes } from './dtype.ts';
import type { DType } from './dtype.ts';
import { emptyDictionary, isDictionary, isTuple, pickleLimits, readPickle } from './pickle.ts';
import { elementCount, storedTensor, viewSpan } from './stored-tensor.ts';
import type { StoredTensor } from './stored-tensor.ts';
import { openZip, readEntry } from './zip.ts';
import type { Zip, ZipEntry } from './zip.ts';

/**
 * Plain data, as deep as it says. Dictionaries are objects without a prototype (integer keys become text), tuples are frozen arrays, a
 * torch.dtype is its name ("torch.float32"), a torch.device too; integers beyond 2^53 are bigints.
 */
export type PickleValue = null | boolean | number | bigint | string | StoredTensor | readonly PickleValue[] | { readonly [key: string]: PickleValue };

export interface TorchFile {
  value: PickleValue;
  /** Every tensor in `value` by its dotted path, e.g. `encoder.weight` or `state_dict.encoder.weight`; '' when the file is one tensor. */
  tensors: Map<string, StoredTensor>;
}

export const torchLimits = {
  depth: 64,
  /** Values, one that several others hold counted as often as they do. */
  values: 1 << 18,
  /** Characters of a tensor's dotted path. */
  path: 512,
  /** Dimensions of a tensor. */
  dimensions: 32,
  /** Elements of a view that repeats those of its storage. */
  repeatedElements: 1 << 24,
};

/** Names of torch's element types and of the storages that were named after them. */
export const torchDtypes: readonly (readonly [string, string | undefined, DType])[] = [
  ['float32', 'Float', 'F32'], ['float64', 'Double', 'F64'], ['float16', 'Half', 'F16'], ['bfloat16', 'BFloat16', 'BF16'],
  ['int64', 'Long', 'I64'], ['int32', 'Int', 'I32'], ['int16', 'Short', 'I16'], ['int8', 'Char', 'I8'], ['uint8', 'Byte', 'U8'], ['bool', 'Bool', 'BOOL'],
  ['uint16', undefined, 'U16'], ['uint32', undefined, 'U32'], ['uint64', undefined, 'U64'], ['float8_e5m2', undefined, 'F8_E5M2'],
  ['float8_e4m3fn', undefined, 'F8_E4M3'], ['float8_e5m2fnuz', undefined, 'F8_E5M2FNUZ'], ['float8_e4m3fnuz', undefined, 'F8_E4M3FNUZ'],
  ['float8_e8m0fnu', undefined, 'F8_E8M0'],
];
const dtypeOfName = new Map(torchDtypes.map(([name, , dtype]) => [`torch.${name}`, dtype]));

/** What a storage's class says: its element type, or that it is bytes. Instances pass through a pickle's stack and never out of it. */
class StorageType {
  readonly dtype: DType | undefined;
  constructor(dtype: DType | undefined) {
    this.dtype = dtype;
  }
}

class Storage {
  readonly entry: ZipEntry;
  readonly dtype: DType | undefined;
  constructor(entry: ZipEntry, dtype: DType | undefined) {
    this.entry = entry;
    this.dtype = dtype;
  }
}

const storageTypes = new Map<string, StorageType>([
  ['torch.storage.UntypedStorage', new StorageType(undefined)],
  ...torchDtypes.flatMap(([, storage, dtype]): [string, StorageType][] => (storage === undefined ? [] : [[`torch.${storage}Storage`, new StorageType(dtype)]])),
]);

/** Opens what torch.save wrote; no tensor is read until asked for. `name` stands for the file in messages. Throws `file-damaged`. */
export async function openTorch(source: ByteSource, name: string): Promise<TorchFile> {
  await refuseOldForms(source, name);
  const zip = await openZip(source, name);
  const descriptions = [...zip.entries.keys()].filter((entry) => /^[^/]+\/data\.pkl$/.test(entry));
  if (descriptions.length !== 1) throw new CochleaError('file-damaged', `${name} is not a torch file: its archive has ${descriptions.length} entries named FOLDER/data.pkl`);
  const folder = descriptions[0]!.slice(0, -'/data.pkl'.length);
  if (zip.entries.has(`${folder}/constants.pkl`)) {
    throw new CochleaError('file-damaged', `${name} is a TorchScript program, not data`, 'save the state dict of its module with torch.save');
  }
  const order = zip.entries.get(`${folder}/byteorder`);
  if (order !== undefined && new TextDecoder().decode(await readEntry(zip, order, 16, name)) !== 'little') {
    throw new CochleaError('file-damaged', `${name} was not written in little-endian byte order`, 'save it again with PyTorch on a little-endian machine');
  }
  const pickle = await readEntry(zip, zip.entries.get(descriptions[0]!)!, pickleLimits.bytes, name);
  return plainData(readPickle(pickle, name, torchNames(zip, folder, name)), name);
}

async function refuseOldForms(source: ByteSource, name: string): Promise<void> {
  const start = await source.read(0, 14);
  const begins = (...bytes: number[]): boolean => bytes.every((byte, i) => start[i] === byte);
  if (begins(0x50, 0x4b)) return;
  const again = 'load it with PyTorch and torch.save it again';
  // A pickled long, 0x1950a86a20f9469cfc6c, is the mark of the form before the zip archive.
  if (begins(0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19)) {
    throw new CochleaError('file-damaged', `${name} is in torch.save's form from before PyTorch 1.6 (or was saved with _use_new_zipfile_serialization=False)`, again);
  }
  if (begins(0x80)) throw new CochleaError('file-damaged', `${name} is a bare pickle, not a torch file`, again);
  throw new CochleaError('file-damaged', `${name} is not a torch file: it does not begin as a zip archive does`);
}

type Refuse = (what: string) => CochleaError;

/** The closed list: what each name of a state dict's pickle stands for. Everything on it is data or one of the functions below. */
function torchNames(zip: Zip, folder: string, file: string): { global(name: string): unknown; persistent(id: unknown): unknown } {
  const refuse: Refuse = (what) => new CochleaError('file-damaged', `the pickle in ${file} ${what}`);

  const rebuildTensor = (args: readonly unknown[], dtypeArgument?: number): StoredTensor => {
    const [storage, offset, shape, strides] = args;
    if (!(storage instanceof Storage)) throw refuse('makes a tensor of what is no storage');
    const dtype = dtypeArgument === undefined ? storage.dtype : dtypeOfName.get(args[dtypeArgument] as string);
    if (dtype === undefined) throw refuse('makes a tensor without a dtype that is read');
    if (!isCount(offset) || !isCounts(shape) || !isCounts(strides) || shape.length !== strides.length) throw refuse('makes a tensor of an impossible shape');
    const held = Math.floor(storage.entry.size / dtypeBytes[dtype]);
    const count = elementCount(shape);
    const reach = count === 0 ? 0 : viewSpan(shape, strides);
    const form = `shape [${shape.join(', ').slice(0, 80)}]`;
    if (offset + reach > held) throw refuse(`makes a tensor of ${form} that reaches to element ${offset + reach} of a storage of ${held}`);
    if (count > Math.max(held, torchLimits.repeatedElements)) throw refuse(`makes a tensor of ${form} by repeating ${reach} elements`);
    const begin = offset * dtypeBytes[dtype];
    return storedTensor(`the tensor of ${form} in ${file}`, dtype, [...shape], [...strides], async (out) => {
      let at = 0;
      for await (const block of zip.read(storage.entry, begin, begin + out.length * dtypeBytes[dtype])) {
        decodeElements(block, dtype, out, at);
        at += block.length / dtypeBytes[dtype];
      }
    });
  };
  const parameter = ([data]: readonly unknown[]): unknown => data;
  const functions = new Map<string, (args: readonly unknown[]) => unknown>([
    ['torch._utils._rebuild_tensor', (args) => rebuildTensor(args)], // storage, offset, size, stride
    ['torch._utils._rebuild_tensor_v2', (args) => rebuildTensor(args)], // ..., requires_grad, backward_hooks, metadata
    ['torch._utils._rebuild_tensor_v3', (args) => rebuildTensor(args, 6)], // ..., requires_grad, backward_hooks, dtype, metadata
    ['torch._utils._rebuild_parameter', parameter], // data, requires_grad, backward_hooks
    ['torch._utils._rebuild_parameter_with_state', parameter],
    ['torch.Size', ([sizes = Object.freeze([])]) => {
      if (!isTuple(sizes)) throw refuse('makes a torch.Size of what is no tuple');
      return sizes;
    }],
    ['torch.device', (args) => {
      if (!args.every((part) => typeof part === 'string' || typeof part === 'number')) throw refuse('names no device');
      return args.join(':');
    }],
    ['collections.OrderedDict', (args) => {
      if (args.length !== 0) throw refuse('makes a dictionary of more than nothing');
      return emptyDictionary();
    }],
  ]);

  return {
    global: (name) => functions.get(name) ?? storageTypes.get(name) ?? (dtypeOfName.has(name) ? name : undefined),
    persistent: (id) => {
      if (!isTuple(id) || id[0] !== 'storage' || !(id[1] instanceof StorageType) || typeof id[2] !== 'string' || !isCount(id[4])) {
        throw refuse('has a persistent id that names no storage');
      }
      const [, { dtype }, key, , elements] = id as [string, StorageType, string, unknown, number];
      const entry = zip.entries.get(`${folder}/data/${key}`);
      if (entry === undefined) throw refuse(`has a tensor whose storage ${JSON.stringify(key.slice(0, 80))} is not in the file`);
      const bytes = elements * (dtype === undefined ? 1 : dtypeBytes[dtype]);
      if (entry.size !== bytes) throw refuse(`gives storage ${JSON.stringify(key.slice(0, 80))} ${bytes} bytes, the file has ${entry.size}`);
      return new Storage(entry, dtype);
    },
  };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isCounts(value: unknown): value is readonly number[] {
  return isTuple(value) && value.length <= torchLimits.dimensions && value.every(isCount);
}

/** Checks that only data is left, that it ends (no cycles), and that walking all of it stays cheap; lists the tensors. */
function plainData(root: unknown, file: string): TorchFile {
  const tensors = new Map<string, StoredTensor>();
  const refuse: Refuse = (what) => new CochleaError('file-damaged', `the pickle in ${file} ${what}`);
  let values = 0;
  const walk = (value: unknown, path: string, depth: number): void => {
    if (++values > torchLimits.values) throw refuse(`holds more than ${torchLimits.values} values`);
    if (depth > torchLimits.depth) throw refuse(`is nested more than ${torchLimits.depth} deep, or holds itself`);
    const at = (key: string | number): string => (path === '' ? String(key) : `${path}.${key}`);
    if (Array.isArray(value)) value.forEach((item, i) => walk(item, at(i), depth + 1));
    else if (isDictionary(value)) for (const key in value) walk(value[key], at(key), depth + 1);
    else if (isTensor(value)) {
      if (path.length > torchLimits.path) throw refuse(`has a tensor whose name is longer than ${torchLimits.path} characters`);
      if (tensors.has(path)) throw refuse(`has two tensors at ${JSON.stringify(path.slice(0, 80))}`);
      tensors.set(path, value);
    } else if (typeof value === 'function' || value instanceof StorageType || value instanceof Storage) throw refuse('holds a function or a storage as data');
  };
  walk(root, '', 0);
  return { value: root as PickleValue, tensors };
}

/** Tells a tensor from the dictionaries of a torch file, which hold no functions. */
export function isTensor(value: unknown): value is StoredTensor {
  return typeof value === 'object' && value !== null && typeof (value as Partial<StoredTensor>).read === 'function';
}
