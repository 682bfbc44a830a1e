import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { openSafetensors, parseSafetensors, safetensorsPieces, writeSafetensors } from '../../src/formats/safetensors.ts';
import type { TensorToWrite } from '../../src/formats/safetensors.ts';
import { runtime } from '../../src/runtime/index.ts';

let folder = '';
before(async () => {
  folder = await runtime.files.temporaryFolder('cochlea-safetensors-');
});
after(() => runtime.files.remove(folder));

async function bytesOf(tensors: TensorToWrite[], metadata?: Record<string, string>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of safetensorsPieces(tensors, metadata)) pieces.push(piece.slice());
  return new Uint8Array(Buffer.concat(pieces));
}

/** A file with the given header text and so many bytes of data. */
function file(header: string, dataBytes: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const example: TensorToWrite[] = [
  { name: 'b_dec', dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) },
  { name: 'threshold', dtype: 'F64', shape: [], data: Float64Array.of(0.1) },
  { name: 'W_dec', dtype: 'F32', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
  { name: 'half', dtype: 'F16', shape: [2], data: Float32Array.of(0.5, 65504) },
  { name: 'mask', dtype: 'BOOL', shape: [5], data: Uint8Array.of(1, 0, 1, 0, 1) },
  { name: 'empty', dtype: 'I64', shape: [0, 4], data: new Uint8Array(0) },
];

describe('writing', () => {
  test('lays a file out as the reference implementation does, byte for byte', async () => {
    // The example of the format's own test suite.
    const bytes = await bytesOf([{ name: 'attn0', dtype: 'F32', shape: [1, 1, 2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) }]);
    const header = '{"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}'.padEnd(72);
    assert.deepEqual(bytes, new Uint8Array([72, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode(header),
      0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 64, 0, 0, 160, 64]));
    assert.equal(new TextDecoder().decode(await bytesOf([], { framework: 'pt' })).slice(8), '{"__metadata__":{"framework":"pt"}}     ');
  });

  test('orders tensors by falling dtype, then by name', async () => {
    const parsed = await parseSafetensors(await bytesOf(example), 'example');
    assert.deepEqual([...parsed.tensors.keys()], ['empty', 'threshold', 'W_dec', 'b_dec', 'half', 'mask']);
    assert.deepEqual(parsed.metadata, {});
  });

  test('takes tensors in pieces and refuses a wrong total, leaving nothing behind', async () => {
    const path = runtime.paths.join(folder, 'pieces.safetensors');
    async function* pieces(count: number): AsyncGenerator<Float32Array> {
      for (let i = 0; i < count; i++) yield Float32Array.of(i, i + 0.5);
    }
    await writeSafetensors(path, [{ name: 'x', dtype: 'F16', shape: [3, 2], data: pieces(3) }]);
    const opened = await openSafetensors(path);
    assert.deepEqual([...await opened.readFloat32('x')], [0, 0.5, 1, 1.5, 2, 2.5]);
    await opened.close();

    const before = await runtime.files.read(path);
    await assert.rejects(writeSafetensors(path, [{ name: 'x', dtype: 'F32', shape: [3, 2], data: pieces(2) }]), /needs 24 bytes and was given 16/);
    assert.deepEqual(await runtime.files.read(path), before);
    assert.deepEqual(await runtime.files.list(folder), ['pieces.safetensors']);
    await assert.rejects(bytesOf([{ name: 'i', dtype: 'I32', shape: [1], data: Float32Array.of(1) }]), CochleaError);
    await assert.rejects(bytesOf([example[0]!, example[0]!]), /two tensors are named "b_dec"/);
  });
});

describe('reading', () => {
  test('gives back what was written, as float32 and float64, whole and by rows', async () => {
    const parsed = await parseSafetensors(await bytesOf(example, { a: 'b' }), 'example');
    assert.deepEqual(parsed.metadata, { a: 'b' });
    assert.deepEqual([...await parsed.readFloat64('threshold')], [0.1]);
    assert.deepEqual([...await parsed.readFloat32('threshold')], [Math.fround(0.1)]);
    assert.deepEqual([...await parsed.readFloat32('half')], [0.5, 65504]);
    assert.deepEqual([...await parsed.readFloat32('mask')], [1, 0, 1, 0, 1]);
    assert.deepEqual([...await parsed.readTensorRows('W_dec', 1, 1)], [4, 5, 6]);
    assert.deepEqual([...await parsed.readTensorRows('W_dec', 2, 0)], []);
    await assert.rejects(async () => parsed.readTensorRows('W_dec', 1, 2), CochleaError);
    await assert.rejects(async () => parsed.readTensorRows('b_dec', 0, 1), /not \[rows, columns\]/);
    await assert.rejects(parsed.readFloat32('W_enc'), /has no tensor "W_enc"; it has "empty"/);
  });

  test('accepts foreign files: any order, no padding, metadata', async () => {
    const header = '{"b":{"shape":[1],"data_offsets":[4,8],"dtype":"F32"},"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}';
    const bytes = file(header, 8);
    new DataView(bytes.buffer).setFloat32(bytes.length - 4, 7, true);
    assert.deepEqual([...await (await parseSafetensors(bytes, 'foreign')).readFloat32('b')], [7]);
  });

  test('a file of 20 GB opens at once and gives any row', async () => {
    const path = runtime.paths.join(folder, 'big.safetensors');
    const rows = 5_000_000;
    const header = file(`{"x":{"dtype":"F32","shape":[${rows},1000],"data_offsets":[0,${rows * 4000}]}}`, 0);
    const handle = await fs.open(path, 'w');
    await handle.write(header);
    await handle.write(new Uint8Array(Float32Array.of(42).buffer), 0, 4, header.length + (rows - 1) * 4000 + 3996);
    await handle.close();
    const start = performance.now();
    const opened = await openSafetensors(path);
    const row = await opened.readTensorRows('x', rows - 1, 1);
    const milliseconds = performance.now() - start;
    await opened.close();
    await runtime.files.remove(path);
    assert.equal(row[999], 42);
    assert.equal(row[0], 0);
    assert.ok(milliseconds < 1000, `took ${milliseconds} ms`);
  });

  const tensor = (fields: string): string => `{"x":{${fields}}}`;
  const damages: [string, Uint8Array, RegExp][] = [
    ['an empty file', new Uint8Array(0), /too few/],
    ['a header longer than the file', file('{}', 0).subarray(0, 9), /claims 2 bytes/],
    ['a header of 2^63 bytes', Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128), /format allows/],
    ['a header that is no JSON', file('{"x"', 0), /not the JSON/],
    ['a header that is no UTF-8', new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe]), /not the JSON/],
    ['a header that is a list', file('[]', 0), /not a JSON object/],
    ['deep nesting', file(`{"x":${'['.repeat(100)}${']'.repeat(100)}}`, 0), /nested too deeply/],
    ['an unknown dtype', file(tensor('"dtype":"F7","shape":[1],"data_offsets":[0,4]'), 4), /unknown dtype "F7"/],
    ['a dtype of Object.prototype', file(tensor('"dtype":"constructor","shape":[1],"data_offsets":[0,4]'), 4), /unknown dtype/],
    ['a negative size', file(tensor('"dtype":"F32","shape":[-1],"data_offsets":[0,4]'), 4), /impossible shape/],
    ['a fractional size', file(tensor('"dtype":"F32","shape":[0.5],"data_offsets":[0,2]'), 2), /impossible shape/],
    ['sizes whose product overflows', file(tensor('"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]'), 4), /cannot lie in 4 bytes/],
    ['offsets that go back', file(tensor('"dtype":"F32","shape":[0],"data_offsets":[4,0]'), 4), /impossible offsets/],
    ['offsets beyond the file', file(tensor('"dtype":"F32","shape":[2],"data_offsets":[0,8]'), 4), /tensors end at byte/],
    ['bytes after the tensors', file(tensor('"dtype":"F32","shape":[1],"data_offsets":[0,4]'), 5), /tensors end at byte/],
    ['a size that does not fit', file(tensor('"dtype":"F32","shape":[2],"data_offsets":[0,4]'), 4), /cannot lie in 4 bytes/],
    ['a gap', file('{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}', 3), /not right after/],
    ['an overlap', file('{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', 3), /inside/],
    ['a name that appears twice', file('{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0078":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), /appears twice/],
    ['a tensor that is null', file('{"x":null}', 0), /unknown dtype nothing/],
    ['metadata that is not strings', file('{"__metadata__":{"a":1}}', 0), /more than strings/],
  ];
  for (const [name, bytes, message] of damages) {
    test(`refuses ${name}`, async () => {
      await assert.rejects(parseSafetensors(bytes, 'damaged.safetensors'), (error: CochleaError) => {
        assert.ok(error instanceof CochleaError && error.code === 'file-damaged', String(error));
        assert.match(error.message, message);
        assert.match(error.message, /damaged\.safetensors/);
        return true;
      });
    });
  }

  test('types that stand for no single number each are listed, measured in bits and not read', async () => {
    const tensors = { c: ['C64', [2], 0, 16], f4: ['F4', [2, 4], 16, 20], f6: ['F6_E3M2', [8], 20, 26], x: ['F8_E5M2', [1], 26, 27] } as const;
    const header = Object.fromEntries(Object.entries(tensors).map(([name, [dtype, shape, begin, end]]) => [name, { dtype, shape, data_offsets: [begin, end] }]));
    const parsed = await parseSafetensors(file(JSON.stringify(header), 27), 'packed.safetensors');
    assert.deepEqual([...parsed.tensors].map(([name, { dtype, shape }]) => [name, dtype, shape]), Object.entries(tensors).map(([name, [dtype, shape]]) => [name, dtype, shape]));
    assert.deepEqual([...await parsed.readFloat32('x')], [0]);
    for (const name of ['c', 'f4', 'f6']) {
      await assert.rejects(parsed.readFloat32(name), (error: CochleaError) => error.code === 'file-damaged' && /packed\.safetensors holds \S+ elements/.test(error.message));
    }
    await assert.rejects(parsed.readTensorRows('f4', 0, 1), CochleaError);
    await assert.rejects(parseSafetensors(file('{"x":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}', 2), 'odd'), /cannot lie in 2 bytes/);
  });

  test('a missing file is named, and a file that shrinks after opening is noticed', async () => {
    await assert.rejects(openSafetensors(runtime.paths.join(folder, 'none.safetensors')), (error: CochleaError) => error.code === 'file-missing');
    const path = runtime.paths.join(folder, 'shrinks.safetensors');
    await writeSafetensors(path, example);
    const opened = await openSafetensors(path);
    await fs.truncate(path, (await fs.stat(path)).size - 30);
    await assert.rejects(opened.readFloat32('W_dec'), (error: CochleaError) => error.code === 'file-damaged');
    await opened.close();
  });
});
