import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { openNpy, parseNpy, writeNpy } from '../../src/formats/npy.ts';
import { runtime } from '../../src/runtime/index.ts';

let folder = '';
before(async () => {
  folder = await runtime.files.temporaryFolder('cochlea-npy-');
});
after(() => runtime.files.remove(folder));

function npy(header: string, data: Uint8Array, version = 1): Uint8Array {
  const text = Uint8Array.from(header, (character) => character.charCodeAt(0));
  const start = version === 1 ? [text.length & 255, text.length >> 8] : [text.length & 255, (text.length >> 8) & 255, text.length >> 16, 0];
  return Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0, ...start, ...text, ...data);
}

const floats = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
// What numpy.save writes for numpy.arange(1, 7, dtype='f4').reshape(3, 2).
const saved = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }".padEnd(117) + '\n', floats);

describe('.npy files', () => {
  test('numpy\'s own bytes are read, whole and by rows, and written alike', async () => {
    const array = await parseNpy(saved, 'a.npy');
    assert.deepEqual([array.dtype, array.shape], ['F32', [3, 2]]);
    assert.deepEqual([...await array.readFloat32()], [1, 2, 3, 4, 5, 6]);
    assert.deepEqual([...await array.readFloat64()], [1, 2, 3, 4, 5, 6]);
    assert.deepEqual([...await array.readRows(1, 2)], [3, 4, 5, 6]);
    const path = runtime.paths.join(folder, 'a.npy');
    await writeNpy(path, [3, 2], Float32Array.of(1, 2, 3, 4, 5, 6));
    assert.deepEqual(await runtime.files.read(path), saved);
  });

  test('float16, float64, one dimension, none, and format version 2', async () => {
    for (const [shape, dtype] of [[[4], 'F16'], [[4], 'F64'], [[], 'F64'], [[0, 3], 'F32'], [[2, 1, 2], 'F16']] as const) {
      const path = runtime.paths.join(folder, 'b.npy');
      const values = Float64Array.from([0.5, -1, 2, 1024]).slice(0, (shape as readonly number[]).reduce((a, b) => a * b, 1));
      await writeNpy(path, shape, values, dtype);
      const array = await openNpy(path);
      assert.deepEqual([array.dtype, array.shape], [dtype, shape]);
      assert.deepEqual(await array.readFloat64(), values);
      await array.close();
    }
    const second = await parseNpy(npy("{'shape': (6,), 'fortran_order': False, 'descr': '<f4'}\n", floats, 2), 'v2.npy');
    assert.deepEqual([...await second.readFloat32()], [1, 2, 3, 4, 5, 6]);
    await assert.rejects(writeNpy(runtime.paths.join(folder, 'c.npy'), [3], new Float32Array(4)), CochleaError);
  });

  test('Fortran order is read whole, and refused where rows are asked for', async () => {
    const array = await parseNpy(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }\n", floats), 'f.npy');
    assert.deepEqual([...await array.read()], [1, 4, 2, 5, 3, 6]);
    await assert.rejects(array.readRows(0, 1), /Fortran order/);
    const flat = await parseNpy(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }\n", floats), 'f.npy');
    assert.deepEqual([...await flat.read()], [1, 2, 3, 4, 5, 6]);
  });

  const refusals: [string, Uint8Array, RegExp][] = [
    ['another type of file', new TextEncoder().encode('RIFF1234WAVE'), /does not begin/],
    ['an unknown version', npy('{}', floats, 9), /version 9\.0/],
    ['big endian', npy("{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }\n", floats), /">f4"/],
    ['pickled objects', npy("{'descr': '|O', 'fortran_order': False, 'shape': (3, 2), }\n", floats), /"\|O"/],
    ['too little data', npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2), }\n", floats), /needs 32 bytes, 24 follow/],
    ['too much data', npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", floats), /needs 16 bytes, 24 follow/],
    ['a shape that overflows', npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999, 9999999999), }\n", floats), /follow the header/],
    ['a header without a shape', npy("{'descr': '<f4', 'fortran_order': False}\n", floats), /its header says/],
    ['a header beyond the file', saved.subarray(0, 60), /claims 118 bytes/],
  ];
  for (const [name, bytes, message] of refusals) {
    test(`${name} is refused`, async () => {
      await assert.rejects(parseNpy(bytes, 'bad.npy'), (error: CochleaError) => {
        assert.equal(error.code, 'file-damaged');
        assert.match(error.message, message);
        return /bad\.npy/.test(error.message);
      });
    });
  }
});
