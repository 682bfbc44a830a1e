import { zipFile } from './zip-file.ts';

/** Opcodes of Python's pickle language as bytes, one function per opcode that the tests write; text between them stands for itself. */
export type Part = string | number | readonly Part[];

export function pickle(...parts: readonly Part[]): Uint8Array {
  const out: number[] = [];
  const add = (part: Part): void => {
    if (typeof part === 'number') out.push(part);
    else if (typeof part === 'string') for (let i = 0; i < part.length; i++) out.push(part.charCodeAt(i));
    else part.forEach(add);
  };
  parts.forEach(add);
  return Uint8Array.from(out);
}

const little = (bytes: number, value: number | bigint): number[] => Array.from({ length: bytes }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 255n));

export const start = [0x80, 2];
export const text = (value: string, claimed = value.length): Part => ['X', little(4, claimed), value];
export const int = (value: number): Part => ['J', little(4, value)];
export const long = (value: bigint): Part => [0x8a, 8, little(8, value)];
export const wideLength = (opcode: number, length: number | bigint): Part => [opcode, little(8, length)];
export const longLength = (opcode: string, length: number): Part => [opcode, little(4, length)];
export const global = (module: string, name: string): Part => ['c', module, '\n', name, '\n'];
export const tuple = (...items: Part[]): Part => ['(', items, 't'];
export const storage = (key: string, elements: number, type = 'FloatStorage'): Part => [tuple(text('storage'), global('torch', type), text(key), text('cpu'), int(elements)), 'Q'];
export const tensor = (from: Part, offset: Part, sizes: readonly Part[], strides: readonly Part[]): Part =>
  [global('torch._utils', '_rebuild_tensor_v2'), tuple(from, offset, tuple(...sizes), tuple(...strides), 0x89, [global('collections', 'OrderedDict'), ')R']), 'R'];

/** What torch.save would have written around a pickle; storage '0' holds the float32 numbers 0 ... 23. */
export function torchFile(description: Uint8Array, others: Record<string, Uint8Array> = {}): Uint8Array {
  const numbers = new Uint8Array(Float32Array.from({ length: 24 }, (_, i) => i).buffer);
  const contents = { 'data.pkl': description, 'data/0': numbers, version: Uint8Array.of(0x33, 0x0a), ...others };
  return zipFile(Object.entries(contents).map(([name, data]) => ({ name: `archive/${name}`, data })));
}
