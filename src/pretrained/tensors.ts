/** Tensors of a file under the names that its family gives them, checked against the shapes that the family says. */
import { CochleaError } from '../errors.ts';
import { openNpz, openSafetensors, openTorch, type PickleValue, type StoredTensor } from '../formats/index.ts';
import { transpose } from '../sae/index.ts';
import type { FileSet } from './files.ts';

export interface Tensors {
  readonly path: string;
  /** What a .pt file holds beside tensors; undefined for other files. */
  readonly value: PickleValue | undefined;
  readonly names: readonly string[];
  has(name: string): boolean;
  /** Rows and columns of a matrix that must be there. */
  matrixShape(name: string): [rows: number, columns: number];
  shape(name: string): readonly number[];
  /** Row-major, as it lies in the file. */
  matrix(name: string, rows: number, columns: number): Promise<Float32Array>;
  /** [rows, columns] in the file, [columns, rows] here. */
  transposed(name: string, rows: number, columns: number): Promise<Float32Array>;
  vector(name: string, length: number): Promise<Float32Array>;
  /** A single number, of shape [] or [1]. */
  scalar(name: string): Promise<number>;
  /** Everything, whatever its shape. */
  all(name: string): Promise<Float32Array>;
  /** The configuration's dtype for weights kept as this tensor is. */
  dtype(name: string): string;
  /** Throws `file-damaged` for tensors that are neither named here nor begin with one of `prefixes`: what they would change is not known. */
  only(names: readonly string[], prefixes?: readonly string[]): void;
}

/** Opens a .safetensors, .npz or .pt file, hands its tensors on, and closes it. */
export async function withTensors<T>(files: FileSet, name: string, use: (tensors: Tensors) => Promise<T>): Promise<T> {
  const path = files.path(name);
  if (!files.names.has(name)) throw new CochleaError('file-missing', `${files.folder} has no ${name}`);
  if (name.endsWith('.safetensors')) {
    const file = await openSafetensors(path);
    try {
      const stored = new Map([...file.tensors].map(([key, { dtype, shape }]): [string, StoredTensor] => (
        [key, { dtype, shape, read: () => file.readFloat32(key), readFloat64: () => file.readFloat64(key) }])));
      return await use(tensorsOf(path, stored, undefined));
    } finally {
      await file.close();
    }
  }
  const handle = await files.open(name);
  try {
    if (name.endsWith('.npz')) return await use(tensorsOf(path, await openNpz(handle, path), undefined));
    const { value, tensors } = await openTorch(handle, path);
    return await use(tensorsOf(path, tensors, value));
  } finally {
    await handle.close();
  }
}

const dtypeNames: Readonly<Record<string, string>> = { F16: 'float16', BF16: 'bfloat16' };

function tensorsOf(path: string, stored: ReadonlyMap<string, StoredTensor>, value: PickleValue | undefined): Tensors {
  const damaged = (what: string): never => {
    throw new CochleaError('file-damaged', `${path}: ${what}`);
  };
  const find = (name: string): StoredTensor => {
    const found = stored.get(name);
    if (found) return found;
    const names = [...stored.keys()].slice(0, 12).map((key) => JSON.stringify(key.slice(0, 60))).join(', ');
    return damaged(`there is no tensor ${name}; it has ${names || 'none'}`);
  };
  const shaped = (name: string, shape: readonly number[]): StoredTensor => {
    const found = find(name);
    return found.shape.join() === shape.join() ? found : damaged(`${name} has shape [${found.shape.join(', ')}], not [${shape.join(', ')}]`);
  };
  return {
    path, value, names: [...stored.keys()],
    has: (name) => stored.has(name),
    shape: (name) => find(name).shape,
    matrixShape(name) {
      const { shape } = find(name);
      return shape.length === 2 && shape.every((size) => size > 0) ? [shape[0]!, shape[1]!] : damaged(`${name} has shape [${shape.join(', ')}], not that of a matrix`);
    },
    matrix: async (name, rows, columns) => shaped(name, [rows, columns]).read(),
    transposed: async (name, rows, columns) => transpose(await shaped(name, [rows, columns]).read(), rows, columns),
    vector: async (name, length) => shaped(name, [length]).read(),
    async scalar(name) {
      const found = find(name);
      if (found.shape.some((size) => size !== 1)) damaged(`${name} has shape [${found.shape.join(', ')}], not that of one number`);
      return (await found.readFloat64())[0]!;
    },
    all: (name) => find(name).read(),
    dtype: (name) => dtypeNames[find(name).dtype] ?? 'float32',
    only(names, prefixes = []) {
      const strange = [...stored.keys()].find((name) => !names.includes(name) && !prefixes.some((prefix) => name.startsWith(prefix)));
      if (strange !== undefined) damaged(`the tensor ${JSON.stringify(strange.slice(0, 60))} does not belong to this kind of SAE`);
    },
  };
}
