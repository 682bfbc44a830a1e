import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import type { ByteSource } from '../../src/formats/byte-source.ts';
import { npyHeader } from '../../src/formats/npy.ts';
import { openNpz, openSafetensors, openTorch } from '../../src/formats/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { global, int, long, pickle, start, tensor, text, tuple } from '../support/pickle-file.ts';
import { type Entry, zipFile } from '../support/zip-file.ts';

const rows = 1 << 20;
const columns = 5120;
/** 20 GiB of zeros, which a sparse file does not store. */
const hole = rows * columns * 4;
const megabyte = 1 << 20;

let folder = '';
/** Why there are no such files here, if so. */
let missing: string | undefined;
before(async () => {
  folder = await runtime.files.temporaryFolder('cochlea-sparse-');
  const probe = runtime.paths.join(folder, 'probe');
  try {
    await fs.writeFile(probe, '');
    await fs.truncate(probe, 64 * megabyte);
    if ((await fs.stat(probe)).blocks * 512 > megabyte) missing = 'this file system has no sparse files';
  } catch (error) {
    missing = `no sparse file can be made: ${(error as Error).message}`;
  }
});
after(() => runtime.files.remove(folder));

/** A file of `before`, 20 GiB of zeros, and `behind`. */
async function makeSparse(name: string, before: Uint8Array, behind: Uint8Array): Promise<string> {
  const path = runtime.paths.join(folder, name);
  await fs.writeFile(path, before);
  await fs.truncate(path, before.length + hole);
  const file = await fs.open(path, 'r+');
  await file.write(behind, 0, behind.length, before.length + hole);
  await file.close();
  assert.ok((await fs.stat(path)).blocks * 512 < megabyte);
  return path;
}

/** An open file that counts what is read of it. */
async function counting(path: string): Promise<ByteSource & { bytes: number; close(): Promise<void> }> {
  const handle = await runtime.files.open(path);
  const source = {
    size: handle.size,
    bytes: 0,
    read: (offset: number, length: number): Promise<Uint8Array> => {
      source.bytes += length;
      return handle.read(offset, length);
    },
    close: () => handle.close(),
  };
  return source;
}

/** An archive whose first entry is `head` and 20 GiB of zeros, in two parts around the zeros. */
function archiveAround(name: string, head: Uint8Array, others: readonly Entry[]): [Uint8Array, Uint8Array] {
  const first = { name, data: head, wide: true, crc: 0, size: head.length + hole, packed: head.length + hole };
  // The other entries and the directory are laid out without the zeros and then said to lie behind them.
  const shell = zipFile([{ ...first, begin: 0 }, ...others.map((entry) => ({ ...entry, wide: true }))], { wide: true });
  const cut = 30 + name.length + 20 + head.length;
  const behind = shell.slice(cut);
  const view = new DataView(behind.buffer);
  const moved = (at: number): void => view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(hole), true);
  let entry = 0;
  for (let at = 0; at + 4 <= behind.length; at++) {
    const mark = view.getUint32(at, true);
    if (mark === 0x02014b50 && entry++ > 0) moved(at + 46 + view.getUint16(at + 28, true) + 4 + 16);
    if (mark === 0x06064b50) moved(at + 48);
    if (mark === 0x07064b50) moved(at + 8);
  }
  return [shell.slice(0, cut), behind];
}

describe('files of 20 GiB are opened without being read', () => {
  test('safetensors: a tensor behind and rows within the large one', async (t) => {
    if (missing) return t.skip(missing);
    const header = JSON.stringify({
      W_dec: { dtype: 'F32', shape: [rows, columns], data_offsets: [0, hole] }, b_dec: { dtype: 'F32', shape: [2], data_offsets: [hole, hole + 8] },
    });
    const front = new Uint8Array(8 + header.length);
    new DataView(front.buffer).setBigUint64(0, BigInt(header.length), true);
    front.set(new TextEncoder().encode(header), 8);
    const path = await makeSparse('large.safetensors', front, new Uint8Array(Float32Array.of(1, -2).buffer));
    const resident = runtime.residentBytes();
    const file = await openSafetensors(path);
    assert.deepEqual([...file.tensors].map(([name, { shape }]) => [name, shape]), [['W_dec', [rows, columns]], ['b_dec', [2]]]);
    assert.deepEqual([...await file.readFloat32('b_dec')], [1, -2]);
    assert.deepEqual(await file.readTensorRows('W_dec', rows - 3, 2), new Float32Array(2 * columns));
    await file.close();
    assert.ok(runtime.residentBytes() - resident < 64 * megabyte);
  });

  test('npz: an array behind the large one', async (t) => {
    if (missing) return t.skip(missing);
    const small = Uint8Array.from([...npyHeader([2], 'F32'), ...new Uint8Array(Float32Array.of(1, -2).buffer)]);
    const source = await counting(await makeSparse('large.npz', ...archiveAround('W_dec.npy', npyHeader([rows, columns], 'F32'), [{ name: 'b_dec.npy', data: small }])));
    const arrays = await openNpz(source, 'large.npz');
    assert.deepEqual([...arrays].map(([name, { shape }]) => [name, shape]), [['W_dec', [rows, columns]], ['b_dec', [2]]]);
    assert.deepEqual([...await arrays.get('b_dec')!.read()], [1, -2]);
    await source.close();
    assert.ok(source.bytes < megabyte, `${source.bytes} bytes were read`);
  });

  test('torch: a tensor behind the large one', async (t) => {
    if (missing) return t.skip(missing);
    const stored = (key: string, elements: number): Parameters<typeof tensor>[0] => [
      tuple(text('storage'), global('torch', 'FloatStorage'), text(key), text('cpu'), long(BigInt(elements))), 'Q',
    ];
    const description = pickle(start, '}(', text('W_dec'), tensor(stored('0', rows * columns), int(0), [int(rows), int(columns)], [int(columns), int(1)]),
      text('b_dec'), tensor(stored('1', 2), int(0), [int(2)], [int(1)]), 'u.');
    const others = [{ name: 'a/data.pkl', data: description }, { name: 'a/data/1', data: new Uint8Array(Float32Array.of(1, -2).buffer) }];
    const source = await counting(await makeSparse('large.pt', ...archiveAround('a/data/0', new Uint8Array(0), others)));
    const { tensors } = await openTorch(source, 'large.pt');
    assert.deepEqual([...tensors].map(([name, { shape }]) => [name, shape]), [['W_dec', [rows, columns]], ['b_dec', [2]]]);
    assert.deepEqual([...await tensors.get('b_dec')!.read()], [1, -2]);
    await source.close();
    assert.ok(source.bytes < megabyte, `${source.bytes} bytes were read`);
  });
});
