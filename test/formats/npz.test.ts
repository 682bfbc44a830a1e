import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { bytesHandle } from '../../src/formats/byte-source.ts';
import { openNpz, type StoredTensor, writeNpz } from '../../src/formats/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { fixture } from '../support/paths.ts';
import { zipFile } from '../support/zip-file.ts';

let folder = '';
before(async () => {
  folder = await runtime.files.temporaryFolder('cochlea-npz-');
});
after(() => runtime.files.remove(folder));

const open = (bytes: Uint8Array): Promise<Map<string, StoredTensor>> => openNpz(bytesHandle(bytes), 'x.npz');
const saved = (name: string): Uint8Array => new Uint8Array(readFileSync(fixture('tensor-files', name)));
const quarters = (count: number): number[] => Array.from({ length: count }, (_, i) => i / 4);

describe('.npz files', () => {
  for (const name of ['stored.npz', 'deflated.npz']) {
    test(`numpy's ${name}: every type, Fortran order, no dimensions, no elements`, async () => {
      const expected: [string, string, number[], number[]][] = [
        ['W_enc', 'F32', [3, 4], quarters(12)], ['fortran', 'F32', [2, 3, 4], quarters(24)], ['f2', 'F16', [3], [1, -0.5, 65504]],
        ['f8', 'F64', [2, 1], [0.1, -1e300]], ['scalar', 'F32', [], [2.5]], ['i1', 'I8', [2], [-128, 127]], ['u1', 'U8', [2], [0, 255]],
        ['i2', 'I16', [1], [-32768]], ['u2', 'U16', [1], [65535]], ['i4', 'I32', [1], [-(2 ** 31)]], ['u4', 'U32', [1], [2 ** 32 - 1]],
        ['i8', 'I64', [1], [-(2 ** 52)]], ['u8', 'U64', [1], [2 ** 53]], ['b1', 'BOOL', [2], [1, 0]], ['empty', 'F32', [0, 3], []],
      ];
      if (name === 'deflated.npz') expected.push(['zeros', 'F32', [4096], new Array(4096).fill(0)]);
      const arrays = await open(saved(name));
      assert.deepEqual([...arrays.keys()], expected.map(([array]) => array));
      for (const [array, dtype, shape, values] of expected) {
        const found = arrays.get(array)!;
        assert.deepEqual([found.dtype, found.shape, [...await found.readFloat64()]], [dtype, shape, values], array);
        assert.deepEqual([...await found.read()], values.map(Math.fround), array);
      }
    });
  }

  test('what is written is read, and is always the same bytes', async () => {
    const path = runtime.paths.join(folder, 'a.npz');
    const arrays = [
      { name: 'w', dtype: 'F32', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }, { name: 'half', dtype: 'F16', shape: [2], data: Float32Array.of(1, -2) },
      { name: 'k', dtype: 'I64', shape: [], data: new Uint8Array(BigInt64Array.of(-3n).buffer) },
    ] as const;
    await writeNpz(path, arrays);
    const bytes = await runtime.files.read(path);
    await writeNpz(path, arrays);
    assert.deepEqual(await runtime.files.read(path), bytes);
    const found = await open(bytes);
    assert.deepEqual(await Promise.all([...found].map(async ([name, { dtype, shape, read }]) => [name, dtype, shape, [...await read()]])), [
      ['w', 'F32', [2, 3], [1, 2, 3, 4, 5, 6]], ['half', 'F16', [2], [1, -2]], ['k', 'I64', [], [-3]],
    ]);
    await assert.rejects(writeNpz(path, [{ name: 'b', dtype: 'BF16', shape: [1], data: Float32Array.of(1) }]), /no element type BF16/);
    await assert.rejects(writeNpz(path, [arrays[0], arrays[0]]), /two arrays are named "w"/);
  });

  test('pickled objects, other entries and arrays that do not fit their entry are refused', async () => {
    const header = Buffer.from(saved('stored.npz')).subarray(0);
    const npy = header.subarray(header.indexOf('\x93NUMPY', 0, 'latin1'), header.indexOf('\x93NUMPY', 0, 'latin1') + 128 + 48);
    assert.deepEqual([...await (await open(zipFile([{ name: 'x.npy', data: npy }]))).get('x')!.read()], quarters(12));
    const cases: [Uint8Array, RegExp][] = [
      [saved('objects.npz'), /x\.npy in x\.npz is not a readable \.npy file: its elements are "\|O"/],
      [zipFile([{ name: 'x.txt', data: npy }]), /has an entry "x\.txt"/],
      [zipFile([{ name: 'x.npy', data: npy.subarray(0, 150) }]), /needs 48 bytes, 22 follow/],
      [zipFile([{ name: '../x.npy', data: npy }]), /leads out of the archive/],
      [saved('state-dict.pt'), /has an entry "state-dict\/data\.pkl"/],
    ];
    for (const [bytes, message] of cases) await assert.rejects(open(bytes), (error: CochleaError) => error instanceof CochleaError && message.test(error.message));
  });
});
