import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { bytesHandle } from '../../src/formats/byte-source.ts';
import { crc32 } from '../../src/formats/crc32.ts';
import { openZip, readEntry, zipLimits } from '../../src/formats/zip.ts';
import { zipPieces } from '../../src/formats/zip-writer.ts';
import { type End, type Entry, checksum, zipFile } from '../support/zip-file.ts';

const bytes = (length: number, step = 1): Uint8Array => Uint8Array.from({ length }, (_, i) => i * step);
const small: Entry[] = [{ name: 'a', data: bytes(10) }, { name: 'b/c', data: bytes(300, 3), deflate: true }, { name: 'empty', data: bytes(0) }];

async function readAll(file: Uint8Array): Promise<Map<string, Uint8Array>> {
  const zip = await openZip(bytesHandle(file), 'x.zip');
  const out = new Map<string, Uint8Array>();
  for (const entry of zip.entries.values()) out.set(entry.name, await readEntry(zip, entry, 1 << 24, 'x.zip'));
  return out;
}

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const out: number[] = [];
  for await (const piece of pieces) for (const byte of piece) out.push(byte);
  return Uint8Array.from(out);
}

describe('zip archives', () => {
  test('checksums are those of the definition, in one piece and in several', () => {
    assert.equal(crc32(new TextEncoder().encode('123456789')), 0xcbf43926);
    for (const length of [0, 1, 7, 8, 9, 1000]) {
      const data = bytes(length, 31);
      assert.equal(crc32(data), checksum(data));
      assert.equal(crc32(data.subarray(length >> 1), crc32(data.subarray(0, length >> 1))), checksum(data));
    }
  });

  test('stored and deflated entries, wide records, a comment', async () => {
    for (const end of [{}, { wide: true }, { comment: 'made by PK\x05\x06 and others' }]) {
      for (const wide of [false, true]) {
        const found = await readAll(zipFile(small.map((entry) => ({ ...entry, wide })), end));
        assert.deepEqual([...found], small.map(({ name, data }) => [name, data]));
      }
    }
    assert.equal((await readAll(zipFile([]))).size, 0);
  });

  test('ranges of an entry, before and after all of it was seen, and blocks larger than a piece', async () => {
    const data = bytes(1_200_001, 7);
    for (const deflate of [false, true]) {
      const zip = await openZip(bytesHandle(zipFile([{ name: 'a', data, deflate }])), 'x.zip');
      const entry = zip.entries.get('a')!;
      assert.deepEqual(await zip.head(entry, 100), data.slice(0, 100));
      for (const [begin, end] of [[0, 0], [5, 9], [1_000_000, 1_199_999], [0, data.length], [5, 9], [1_199_000, 1_200_001]] as const) {
        assert.deepEqual(Buffer.compare(Buffer.from(await collect(zip.read(entry, begin, end))), Buffer.from(data.subarray(begin, end))), 0, `${begin} to ${end}`);
      }
    }
  });

  test('what is written is read, aligned, and always the same bytes', async () => {
    const write = (): Promise<Uint8Array> => collect(zipPieces(small.map(({ name, data }) => ({ name, size: data.length, pieces: [data.subarray(0, 3), data.subarray(3)] }))));
    const file = await write();
    assert.deepEqual([...await readAll(file)], small.map(({ name, data }) => [name, data]));
    assert.deepEqual(await write(), file);
    const at = Buffer.from(file).indexOf(Buffer.from(small[1]!.data));
    assert.equal(at % 64, 0);
    await assert.rejects(collect(zipPieces([{ name: 'a', size: 5, pieces: [bytes(4)] }])), /5 bytes and was given 4/);
  });

  const bomb = new Uint8Array(1 << 20);
  const one = (entry: Partial<Entry>): Entry[] => [{ name: 'a', data: bytes(100), ...entry }, { name: 'b', data: bytes(100) }];
  const refusals: [string, Entry[], End, RegExp][] = [
    ['encryption', one({ flags: 1 }), {}, /entry "a" is encrypted/],
    ['another compression', one({ method: 14 }), {}, /compressed by method 14/],
    ['a split archive', one({}), { disk: 1 }, /split archive/],
    ['an entry of another part', one({ disk: 2 }), {}, /split archive/],
    ['a name that appears twice', [...one({}), ...one({})], {}, /"a" appears twice/],
    ['a path that climbs', one({ name: 'x/../../etc/passwd' }), {}, /leads out of the archive/],
    ['a path from the root', one({ name: '/etc/passwd' }), {}, /leads out of the archive/],
    ['a path of Windows', one({ name: 'C:evil' }), {}, /leads out of the archive/],
    ['a backslash', one({ name: '..\\evil' }), {}, /leads out of the archive/],
    ['a name of control characters', one({ name: 'a\nb' }), {}, /"a\\nb" leads/],
    ['an entry over another', [{ name: 'a', data: bytes(100) }, { name: 'b', data: bytes(100), begin: 20 }], {}, /reaches into what follows/],
    ['one entry for two names', [{ name: 'a', data: bytes(100) }, { name: 'b', data: bytes(100), begin: 0 }], {}, /reaches into what follows/],
    ['an entry over the directory', one({ size: 900, packed: 900 }), {}, /reaches into what follows/],
    ['an entry beyond the file', one({ begin: 0xfffffff0 }), {}, /reaches into what follows/],
    ['an entry of 2^63 bytes', one({ wide: true, size: 2 ** 63, packed: 2 ** 63 }), {}, /reaches into what follows/],
    ['a stored entry of two sizes', one({ size: 99 }), {}, /stored in 100 bytes and claims 99/],
    ['another name in the entry itself', one({ localName: 'z' }), {}, /another name/],
    ['a wrong checksum', one({ crc: 7 }), {}, /checksum of entry "a" is wrong/],
    ['an inflated checksum', one({ crc: 7, deflate: true }), {}, /checksum of entry "a" is wrong/],
    ['a bomb that admits it', [{ name: 'a', data: bytes(100), method: 8, size: 5 * 2 ** 30, packed: 100, wide: true }], {}, /claims to inflate/],
    ['a bomb that denies it', [{ name: 'a', data: bomb, deflate: true, size: 1000 }], {}, /inflates to more than the 1000 bytes/],
    ['an entry that inflates to less', [{ name: 'a', data: bytes(100), deflate: true, size: 101 }], {}, /inflates to 100 bytes, it claims 101/],
    ['bytes that are not deflated', [{ name: 'a', data: bytes(100, 91), method: 8, size: 100 }], {}, /cannot be inflated|inflates to/],
    ['more entries than there are', one({}), { count: 3 }, /ends after 2 of 3/],
    ['fewer entries than there are', one({}), { count: 1 }, /bytes after its 1 entries/],
    ['too many entries', one({}), { count: zipLimits.entries + 1, wide: true }, /at most 65536 are read/],
    ['a huge directory', one({}), { length: 2 ** 40, wide: true }, /does not end at/],
    ['a directory elsewhere', one({}), { begin: 3 }, /does not end at/],
  ];
  for (const [name, entries, end, message] of refusals) {
    test(`refuses ${name}`, async () => {
      await assert.rejects(readAll(zipFile(entries, end)), (error: CochleaError) => {
        assert.ok(error instanceof CochleaError && error.code === 'file-damaged', String(error.stack));
        assert.match(error.message, message);
        return /x\.zip/.test(error.message);
      });
    });
  }

  test('an empty file, a cut one and one with bytes in front are refused', async () => {
    const file = zipFile(small);
    const longer = Uint8Array.from([...bytes(7), ...file]);
    for (const bad of [bytes(0), file.slice(0, -1), file.slice(0, 100), file.slice(10), longer]) {
      await assert.rejects(readAll(bad), (error: CochleaError) => error instanceof CochleaError && error.code === 'file-damaged');
    }
  });
});
