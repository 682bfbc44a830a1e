import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Packr, Unpackr } from 'msgpackr';
import { decodeFrames, packShard, plainMessagePackFault, unpackShard } from '../../src/activations/shard.ts';
import type { Shard } from '../../src/activations/shard.ts';
import { CochleaError } from '../../src/errors.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import { freshSeed, mutate } from '../support/mutate.ts';

const shard: Shard = {
  dIn: 2, dtype: 'f16', rows: 3,
  clips: [
    { id: 'a', path: 'a.wav', labels: { word: 'да' }, sha256: '00', seconds: 0.04, clipRows: 5, firstRow: 3, rows: 2 },
    { id: 'b', path: 'b.wav', labels: {}, sha256: '11', seconds: 1e-9, clipRows: 1, firstRow: 0, rows: 1 },
  ],
  statisticsSoFar: { rows: 6, mean: [0.1, 2], squares: [1e-300, 3], normSum: 4.5, squaredNormSum: 7 },
  frames: new Uint8Array(Uint16Array.of(0x3c00, 0xc000, 0, 0x7bff, 1, 0x8000).buffer),
};

const paired: Shard = {
  ...shard,
  target: {
    dOut: 1, statisticsSoFar: { rows: 6, mean: [-1], squares: [0.5], normSum: 8, squaredNormSum: 9 },
    frames: new Uint8Array(Uint16Array.of(0xbc00, 0x4000, 0x3800).buffer),
  },
};

function bytesOf(value: Shard): Uint8Array {
  return new Uint8Array(Buffer.concat(packShard(value)));
}

describe('shards', () => {
  test('come back as they were, from any offset in memory', () => {
    const bytes = bytesOf(shard);
    for (const shift of [0, 1, 3]) {
      const moved = new Uint8Array(bytes.length + shift);
      moved.set(bytes, shift);
      const read = unpackShard(moved.subarray(shift), 'shard');
      assert.deepEqual({ ...read, frames: Uint8Array.from(read.frames) }, shard);
      assert.deepEqual([...decodeFrames(read.frames, read.dtype)], [1, -2, 0, 65504, 2 ** -24, -0]);
    }
  });

  test('with a target come back as they were, from any offset in memory', () => {
    const bytes = bytesOf(paired);
    for (const shift of [0, 1, 3]) {
      const moved = new Uint8Array(bytes.length + shift);
      moved.set(bytes, shift);
      const { target, ...read } = unpackShard(moved.subarray(shift), 'shard');
      assert.deepEqual({ ...read, frames: Uint8Array.from(read.frames) }, shard);
      assert.deepEqual({ ...target, frames: Uint8Array.from(target!.frames) }, paired.target);
      assert.deepEqual([...decodeFrames(target!.frames, read.dtype)], [-1, 2, 0.5]);
    }
    const value = new Unpackr({ useRecords: false }).unpack(bytes);
    assert.deepEqual(Object.keys(value), ['dIn', 'dtype', 'rows', 'clips', 'statisticsSoFar', 'frames', 'target']);
    assert.deepEqual(value.target.frames.length, 6);
    assert.equal(plainMessagePackFault(bytes), undefined);
  });

  test('are one MessagePack map that any reader understands', () => {
    const value = new Unpackr({ useRecords: false }).unpack(bytesOf(shard));
    assert.deepEqual(Object.keys(value), ['dIn', 'dtype', 'rows', 'clips', 'statisticsSoFar', 'frames']);
    assert.equal(plainMessagePackFault(bytesOf(shard)), undefined);
  });

  test('large and empty frames are packed alike', () => {
    for (const rows of [0, 70000]) {
      const clips = [{ ...shard.clips[0]!, clipRows: rows, firstRow: 0, rows }];
      const read = unpackShard(bytesOf({ ...shard, rows, clips, frames: new Uint8Array(rows * 4).fill(7) }), 'shard');
      assert.equal(read.frames.length, rows * 4);
      assert.ok(read.frames.every((byte) => byte === 7));
    }
  });

  test('fields that contradict each other are refused', () => {
    const changes: [object, RegExp][] = [
      [{ rows: 4 }, /not 4 rows of 2/], [{ dIn: 0 }, /no counts/], [{ rows: -1 }, /no counts/], [{ dtype: 'f64' }, /neither f16 nor f32/],
      [{ dtype: 'f32' }, /not 3 rows/], [{ frames: 'text' }, /not 3 rows/], [{ clips: [] }, /as many rows/], [{ clips: [1] }, /table of clips/],
      [{ clips: [{ ...shard.clips[0]!, labels: { a: 1 } }] }, /table of clips/], [{ clips: [{ ...shard.clips[0]!, clipRows: 4 }] }, /table of clips/],
      [{ statisticsSoFar: { ...shard.statisticsSoFar, mean: [1] } }, /statistics/], [{ statisticsSoFar: { ...shard.statisticsSoFar, normSum: NaN } }, /statistics/],
    ];
    for (const [change, message] of [
      [null, /target has no dOut/], [{ dOut: 0 }, /target has no dOut/], [{ dOut: 2 }, /target is not 3 rows of 2/], [{ frames: 'text' }, /target is not 3 rows/],
      [{ statisticsSoFar: shard.statisticsSoFar }, /statistics of its target/],
    ] as const) changes.push([{ target: change && { ...paired.target, ...change } }, message]);
    const packr = new Packr({ useRecords: false, variableMapSize: true });
    for (const [change, message] of changes) {
      assert.throws(() => unpackShard(packr.pack({ ...shard, ...change }), 'the-shard'), (error: CochleaError) => {
        assert.ok(error instanceof CochleaError && error.code === 'file-damaged', String(error));
        assert.match(error.message, message);
        return /the-shard/.test(error.message);
      });
    }
    assert.throws(() => unpackShard(packr.pack([1, 2]), 'list'), CochleaError);
  });

  test('nothing that msgpackr would execute or construct reaches it', () => {
    const hostile: [string, unknown, object?][] = [
      ['records', [{ a: 1 }, { a: 2 }, { a: 3 }], { useRecords: true }],
      ['dates', new Date(0)], ['regular expressions', /x/, { moreTypes: true }], ['sets', new Set([1]), { moreTypes: true }],
      ['errors', new Error('x'), { moreTypes: true }], ['typed arrays', new Float32Array(2), { moreTypes: true }], ['big numbers', 2n ** 80n, { useBigIntExtension: true }],
    ];
    for (const [name, value, options] of hostile) {
      const bytes = new Packr({ useRecords: false, ...options }).pack(value);
      assert.match(plainMessagePackFault(bytes) ?? '', /extension/, name);
      assert.throws(() => unpackShard(bytes, 'x'), CochleaError);
    }
    assert.match(plainMessagePackFault(Uint8Array.of(0xc1)) ?? '', /reserved/);
  });

  test('small files that claim much are refused before anything is built', () => {
    const cases: [number[], RegExp][] = [
      [[], /too early/], [[0xdd, 0xff, 0xff, 0xff, 0xff], /too early/], [[0xdf, 0xff, 0xff, 0xff, 0xff], /too early/],
      [[0xc6, 0xff, 0xff, 0xff, 0xff, 1], /too early|follow/], [[0xdb, 0x7f, 0xff, 0xff, 0xff], /too early|follow/],
      [new Array(100).fill(0x91), /nested too deeply/], [[0xc0, 0xc0], /1 bytes follow/], [[0xcb, 0, 0], /too early|follow/], [[0xd9], /too early|follow/],
    ];
    for (const [bytes, message] of cases) assert.match(plainMessagePackFault(Uint8Array.from(bytes)) ?? '', message, String(bytes));
    const many = new Uint8Array(5 + (1 << 23)).fill(0x80);
    many.set([0xdd, 0x00, 0x80, 0x00, 0x00]);
    assert.match(plainMessagePackFault(many) ?? '', /more than 4194304 values/);
  });

  test('the check agrees with msgpackr on 2000 mutated files, which are read or refused in one line', () => {
    const random = new RandomStream(freshSeed('hostile shards'), 0);
    const valid = [bytesOf(shard), bytesOf(paired)];
    const resident = runtime.residentBytes();
    const plain = new Unpackr({ useRecords: false, int64AsType: 'number' });
    let refused = 0;
    for (let i = 0; i < 2000; i++) {
      const bytes = mutate(valid[i % 2]!, random);
      if (plainMessagePackFault(bytes) === undefined) {
        // Well-formed by our account: msgpackr may still refuse a key that is no text, and nothing else.
        try {
          plain.unpack(Uint8Array.from(bytes));
        } catch (error) {
          assert.match(String(error), /Invalid property type/);
        }
      }
      try {
        const read = unpackShard(bytes, 'hostile');
        for (const { frames } of [read, ...(read.target ? [read.target] : [])]) assert.ok(decodeFrames(frames, read.dtype).byteLength <= 2 * bytes.length);
      } catch (error) {
        assert.ok(error instanceof CochleaError && error.code === 'file-damaged', String(error));
        assert.ok(!error.line.includes('\n') && error.line.length < 500, error.line);
        refused++;
      }
    }
    assert.ok(refused > 500 && refused < 2000, `${refused} refused`);
    assert.ok(runtime.residentBytes() - resident < 256 << 20);
  });
});
