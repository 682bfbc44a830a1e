import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ActivationStore, ActivationWriter, collect, StatisticsAccumulator } from '../../src/activations/index.ts';
import type { ClipToStore, FrameChunk, StoreDType, WriterOptions } from '../../src/activations/index.ts';
import type { CochleaError } from '../../src/errors.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import { freshSeed, mutate } from '../support/mutate.ts';
import { clip, clipWithTarget, info, targetInfo } from './synthetic.ts';

const { join } = runtime.paths;
let top = '';
let count = 0;
before(async () => {
  top = await runtime.files.temporaryFolder('cochlea-store-');
});
after(() => runtime.files.remove(top));
const freshFolder = (): string => join(top, String(count++));

async function writeAll(folder: string, clips: ClipToStore[], options: Partial<WriterOptions> = {}): Promise<ActivationWriter> {
  const writer = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: false, shardBytes: 300, ...options });
  for (const one of clips) if (!writer.has(one.id)) await writer.addClip(one);
  await writer.finish();
  return writer;
}

async function contents(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of await runtime.files.list(folder)) {
    files[name] = createHash('sha256').update(await runtime.files.read(join(folder, name))).digest('hex');
  }
  return files;
}

function range(n: number, make = clip): ClipToStore[] {
  return Array.from({ length: n }, (_, i) => make(i));
}

/** Stores of one stream and of two are written and continued alike. Their shards have as many rows. */
const kinds = [
  { streams: 'one stream', make: clip, options: {}, rowBytes: 12 },
  { streams: 'two streams', make: clipWithTarget, options: { target: targetInfo }, rowBytes: 20 },
];

async function readAll(store: ActivationStore, epoch?: number, seed = 1, from = 0): Promise<FrameChunk[]> {
  const chunks: FrameChunk[] = [];
  for await (const chunk of store.chunks({ seed, epoch, from })) chunks.push(chunk);
  return chunks;
}

const fails = (code: string, message: RegExp) => (error: CochleaError): boolean => {
  assert.equal(error.code, code, String(error));
  assert.match(error.line, message);
  assert.ok(!error.line.includes('\n'));
  return true;
};

describe('an activation store', () => {
  for (const dtype of ['f16', 'f32'] as const) {
    test(`gives back every row with its clip and time (${dtype})`, async () => {
      const folder = freshFolder();
      const clips = range(30);
      await writeAll(folder, clips, { dtype });
      const store = await ActivationStore.open(folder);
      const all = await collect(store, Infinity);
      const rows = clips.reduce((sum, one) => sum + one.rows, 0);
      assert.deepEqual([store.rows, all.rows, store.dIn, store.manifest.clips], [rows, rows, 6, 30]);
      let at = 0;
      for (const { id, path, labels, rows: clipRows, frames } of clips) {
        for (let row = 0; row < clipRows; row++, at++) {
          assert.deepEqual(all.clips[all.clip[at]!], { id, path, labels });
          assert.equal(all.time[at], Math.fround(row / info.frameRate));
          assert.deepEqual(all.x.subarray(at * 6, at * 6 + 6), frames.subarray(row * 6, row * 6 + 6));
        }
      }
      const accumulator = new StatisticsAccumulator(6);
      accumulator.add(all.x, rows);
      const [found, expected] = [await store.statistics(), accumulator.result()];
      assert.equal(found.rows, rows);
      for (const key of ['meanNorm', 'meanSquaredNorm', 'gamma'] as const) assert.ok(Math.abs(found[key] / expected[key] - 1) < 1e-12, key);
      found.mean.forEach((value, d) => assert.ok(Math.abs(value - expected.mean[d]!) < 1e-12));
      found.variance.forEach((value, d) => assert.ok(Math.abs(value - expected.variance[d]!) < 1e-10));
    });
  }

  test('has a manifest that people can read and a line for every shard', async () => {
    const folder = freshFolder();
    const clips = range(30);
    await writeAll(folder, clips);
    const text = await runtime.files.readText(join(folder, 'manifest.json'));
    const manifest = JSON.parse(text);
    const dataSha256 = createHash('sha256').update(clips.map(({ id, sha256 }) => `${JSON.stringify([id, sha256])}\n`).join('')).digest('hex');
    assert.deepEqual(manifest.info, { ...info, dataSha256 });
    assert.deepEqual([manifest.complete, manifest.dtype, manifest.clips, manifest.rowsPerShard], [true, 'f16', 30, 25]);
    assert.match(text, /\n    "mean": \[ [-\d., e]+ \],\n/, 'numbers of a list on one line');
    const lines = (await runtime.files.readText(join(folder, 'shards.jsonl'))).trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.equal(lines.length, manifest.shards);
    const files = await contents(folder);
    for (const line of lines) assert.equal(files[line.file], line.sha256);
    assert.deepEqual(lines.flatMap((line) => line.clips.map(([id]: [string]) => id)), clips.map(({ id }) => id));
    assert.equal(lines.slice(0, -1).every((line) => line.rows === 25), true, 'shards are full but for the last');
    assert.equal(Object.keys(files).length, lines.length + 2);
  });

  test('the order of shards depends on seed and epoch alone and can begin anywhere', async () => {
    const folder = freshFolder();
    await writeAll(folder, range(60));
    const store = await ActivationStore.open(folder);
    const firsts = async (epoch?: number, seed?: number, from?: number): Promise<string[]> =>
      (await readAll(store, epoch, seed, from)).map((chunk) => `${chunk.clips[0]!.id} ${chunk.time[0]}`);
    const stored = await firsts();
    const epoch0 = await firsts(0);
    assert.deepEqual(await firsts(0), epoch0);
    assert.deepEqual([...epoch0].sort(), [...stored].sort());
    assert.notDeepEqual(epoch0, stored);
    assert.notDeepEqual(await firsts(1), epoch0);
    assert.notDeepEqual(await firsts(0, 2), epoch0);
    assert.deepEqual(await firsts(0, 1, 5), epoch0.slice(5));
    assert.deepEqual(await firsts(0, 1, 1000), []);
  });

  test('an empty one and clips without rows are no errors', async () => {
    const folder = freshFolder();
    await writeAll(folder, [clip(5)]);
    const store = await ActivationStore.open(folder);
    assert.deepEqual([store.rows, store.manifest.clips, (await readAll(store)).length], [0, 1, 1]);
    await writeAll(freshFolder(), []);
  });
});

describe('writing', () => {
  test('refuses what has no place in the store, and takes nothing of it', async () => {
    const folder = freshFolder();
    const writer = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: false, shardBytes: 300 });
    await writer.addClip(clip(1));
    const spoilt = (value: number): ClipToStore => ({ ...clip(4), frames: clip(4).frames.map((x, i) => (i === 20 * 6 + 3 ? value : x)) });
    await assert.rejects(writer.addClip(spoilt(NaN)), fails('not-finite', /NaN or infinity at 0\.40 s of clip "clip-4" \(speech\/4\.wav\)/));
    await assert.rejects(writer.addClip(spoilt(-Infinity)), fails('not-finite', /clip-4/));
    await assert.rejects(writer.addClip(spoilt(65520)), fails('not-finite', /6\.552e\+4 at 0\.40 s .* does not fit float16: store as f32/));
    await assert.rejects(writer.addClip(clip(1)), fails('config', /two clips have the id "clip-1"/));
    await assert.rejects(writer.addClip({ ...clip(2), rows: 3 }), fails('config', /not 3 rows of 6/));
    assert.ok(!writer.has('clip-4'));
    await writer.addClip(spoilt(65519));
    await writer.finish();
    const all = await collect(await ActivationStore.open(folder), Infinity);
    assert.deepEqual([all.rows, all.x[(8 + 20) * 6 + 3]], [8 + 29, 65504]);
  });

  test('a folder with activations is not overwritten, and only the same activations go on in it', async () => {
    const folder = freshFolder();
    const begun = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: true });
    await begun.addClip(clip(1));
    await assert.rejects(ActivationWriter.open(folder, info, { dtype: 'f16', resume: false }), fails('file-exists', /holds activations already/));
    const reopen = (change: object, dtype: StoreDType = 'f16'): Promise<unknown> =>
      ActivationWriter.open(folder, { ...info, ...change }, { dtype, resume: true });
    await assert.rejects(reopen({ hook: 'encoder.layers.3' }), fails('config', /hook "encoder\.layers\.2", not "encoder\.layers\.3"/));
    await assert.rejects(reopen({ modelSha256: 'x' }), fails('config', /model file "abab/));
    await assert.rejects(reopen({}, 'f32'), fails('config', /dtype f16, not f32/));
    await assert.rejects(ActivationStore.open(folder), fails('file-damaged', /not complete.*resume/));
    await assert.rejects(ActivationStore.open(join(top, 'nowhere')), fails('file-missing', /no activations in/));

    const writer = await writeAll(folder, range(5), { resume: true });
    assert.ok(writer.complete);
    const files = await contents(folder);
    const again = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: true });
    assert.ok(again.complete && again.has('clip-4') && !again.has('clip-5'));
    await assert.rejects(again.addClip(clip(5)), fails('file-exists', /is complete/));
    await again.finish();
    assert.deepEqual(await contents(folder), files);
  });

  test('resuming inside a clip needs that clip next', async () => {
    const folder = freshFolder();
    const writer = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: false, shardBytes: 120 });
    await writer.addClip(clip(4)); // 29 rows, shards of 10
    const resumed = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: true });
    assert.ok(!resumed.has('clip-4'));
    await assert.rejects(resumed.addClip(clip(2)), fails('config', /ends inside clip "clip-4", but "clip-2"/));
    await assert.rejects(resumed.addClip({ ...clip(4), sha256: 'other' }), fails('config', /ends inside clip "clip-4"/));
    await assert.rejects(resumed.finish(), fails('config', /was not given again/));
    await resumed.addClip(clip(4));
    await resumed.finish();
    assert.equal((await ActivationStore.open(folder)).rows, 29);
  });

  for (const { streams, make, options: given, rowBytes } of kinds) test(`stopped at any file operation, in the middle of it or after it, a store of ${streams} is continued to the same bytes`, async () => {
    const clips = range(12, make); // 198 rows; some clips span three shards of 20
    const options = { ...given, shardBytes: 20 * rowBytes };
    const whole = freshFolder();
    await writeAll(whole, clips, options);
    const expected = await contents(whole);
    const { write, append } = runtime.files;
    let crashes = 0;
    for (let stop = 0; ; stop++) {
      const folder = freshFolder();
      let operation = 0;
      const crash = async (path: string, half: () => Promise<void>, full: () => Promise<void>): Promise<void> => {
        if (operation++ !== stop) return full();
        await [async () => {}, half, full][stop % 3]!();
        throw new Error(`crash at ${path}`);
      };
      runtime.files.write = (path, content) => crash(path, async () => {
        const partial = join(runtime.paths.dirname(path), `.${runtime.paths.basename(path)}.0123456789ab.partial`); // as write names what it has not put in place yet
        await write(partial, 'half of it');
      }, () => write(path, content));
      runtime.files.append = (path, content) => crash(path, () => append(path, content.slice(0, content.length / 2)), () => append(path, content));
      let crashed = false;
      try {
        const writer = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: true, ...options });
        for (const one of clips) await writer.addClip(one);
        await writer.finish();
      } catch (error) {
        assert.match(String(error), /crash at/);
        crashed = true;
        crashes++;
      } finally {
        Object.assign(runtime.files, { write, append });
      }
      if (crashed) await writeAll(folder, clips, { ...options, resume: true });
      assert.deepEqual(await contents(folder), expected, `stopped at operation ${stop}`);
      await runtime.files.remove(folder);
      if (!crashed) break;
    }
    assert.equal(crashes, 2 + 2 * 10);
  });

  test('of two writers in one folder the second to write a shard stops, and the store stays whole', async () => {
    const folder = freshFolder(), options = { dtype: 'f16', shardBytes: 300 } as const;
    const first = await ActivationWriter.open(folder, info, { ...options, resume: false });
    for (const one of range(10)) await first.addClip(one);
    const second = await ActivationWriter.open(folder, info, { ...options, resume: true });
    const left = range(30).filter(({ id }) => !second.has(id));
    for (const one of range(30).slice(10)) await first.addClip(one);
    const stops = fails('file-exists', /another process writes to .*: .*shards\.jsonl has \d+ bytes, not \d+: let it finish, or end it and resume/);
    await assert.rejects((async () => {
      for (const one of left) await second.addClip(one);
    })(), stops);
    await assert.rejects(second.finish(), stops);
    const { rows } = await first.finish();
    assert.equal((await collect(await ActivationStore.open(folder), Infinity)).rows, rows);
  });

  test('a writer whose write failed takes no more', async () => {
    const folder = freshFolder();
    const writer = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: false, shardBytes: 120 });
    const { append } = runtime.files;
    runtime.files.append = () => Promise.reject(new Error('the disk is full'));
    await assert.rejects(writer.addClip(clip(4)), /disk is full/);
    Object.assign(runtime.files, { append });
    await assert.rejects(writer.addClip(clip(2)), /disk is full/);
    await assert.rejects(writer.finish(), /disk is full/);
  });

  for (const { streams, make, options, rowBytes } of kinds) test(`killed at random moments, a process with ${streams} continues to the same bytes as one never killed`, async () => {
    const random = new RandomStream(freshSeed('kill'), 0);
    const clips = 200;
    const whole = freshFolder();
    await writeAll(whole, range(clips, make), { ...options, shardBytes: 25 * rowBytes });
    const expected = await contents(whole);
    const folder = freshFolder();
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    const script = fileURLToPath(new URL(`./writer-child${extension}`, import.meta.url));
    const args = [...('Deno' in globalThis ? ['run', '-A', '--no-check'] : []), script, folder, String(clips), String(25 * rowBytes), 'target' in options ? 'targets' : ''];
    let kills = 0;
    for (let run = 0; ; run++) {
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      const exit = once(child, 'exit');
      await once(child.stdout!, 'data');
      if (run < 4) setTimeout(() => child.kill('SIGKILL'), random.below(60));
      const [code, signal] = await exit;
      if (signal === 'SIGKILL') {
        kills++;
        continue;
      }
      assert.equal(code, 0);
      break;
    }
    console.log(`killed ${kills} times`);
    assert.deepEqual(await contents(folder), expected);
  });
});

describe('damage', () => {
  async function damaged(change: (folder: string) => Promise<void>): Promise<() => Promise<unknown>> {
    const folder = freshFolder();
    await writeAll(folder, range(12));
    await change(folder);
    return async () => readAll(await ActivationStore.open(folder));
  }
  const edit = (name: string, change: (bytes: Uint8Array) => Uint8Array) => async (folder: string): Promise<void> =>
    runtime.files.write(join(folder, name), change(await runtime.files.read(join(folder, name))));
  const editText = (name: string, from: string | RegExp, to: string) => edit(name, (bytes) => {
    const before = new TextDecoder().decode(bytes);
    const afterwards = before.replace(from, to);
    assert.notEqual(afterwards, before);
    return new TextEncoder().encode(afterwards);
  });

  test('a shard with a changed bit, cut short or missing is named', async () => {
    const flipped = await damaged(edit('shard-000003.msgpack', (bytes) => bytes.with(100, bytes[100]! ^ 1)));
    await assert.rejects(flipped, fails('file-damaged', /shard-000003\.msgpack is damaged: its checksum/));
    const cut = await damaged(edit('shard-000003.msgpack', (bytes) => bytes.slice(0, -1)));
    await assert.rejects(cut, fails('file-damaged', /shard-000003\.msgpack has \d+ bytes, not/));
    const removed = await damaged((folder) => runtime.files.remove(join(folder, 'shard-000003.msgpack')));
    await assert.rejects(removed, fails('file-missing', /shard-000003/));
  });

  test('a manifest or an index that does not fit the rest is refused', async () => {
    const cases: [string, string | RegExp, string, RegExp][] = [
      ['manifest.json', '"rows": 198', '"rows": 199', /statistics that cannot be/],
      ['manifest.json', '"shards": 8', '"shards": 9', /lists 8 shards .* says 9/],
      ['manifest.json', '"version": 1', '"version": 2', /format version 2.*newer cochlea/],
      ['manifest.json', '"dIn": 6', '"dIn": 0', /cannot be/],
      ['manifest.json', '"format": "', '"format": "not ', /not the manifest/],
      ['manifest.json', '{', '', /not JSON/],
      ['shards.jsonl', 'shard-000002.msgpack', '../../etc/passwd', /line 3 of .* does not describe shard-000002/],
      ['shards.jsonl', /[^\n]*\n/, '', /line 1 of/],
      ['shards.jsonl', /\n$/, '', /lists 7 shards/],
    ];
    for (const [name, from, to, message] of cases) await assert.rejects(await damaged(editText(name, from, to)), fails('file-damaged', message));
  });

  test('a last shard that is damaged cannot be resumed on', async () => {
    const folder = freshFolder();
    const writer = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: false, shardBytes: 120 });
    await writer.addClip(clip(4));
    await edit('shard-000001.msgpack', (bytes) => bytes.with(50, bytes[50]! ^ 8))(folder);
    await assert.rejects(ActivationWriter.open(folder, info, { dtype: 'f16', resume: true }), fails('file-damaged', /shard-000001.*checksum/));
  });

  test('a store that lost a shard before the last cannot be resumed on', async () => {
    const resumed = async (spoil: (shard: string) => Promise<void>): Promise<void> => {
      const folder = freshFolder();
      const writer = await ActivationWriter.open(folder, info, { dtype: 'f16', resume: false, shardBytes: 120 });
      await writer.addClip(clip(4));
      await spoil(join(folder, 'shard-000000.msgpack'));
      await ActivationWriter.open(folder, info, { dtype: 'f16', resume: true });
    };
    await assert.rejects(resumed((shard) => runtime.files.remove(shard)),
      fails('file-damaged', /shard-000000\.msgpack is not there, although .*shards\.jsonl lists it: bring it back/));
    await assert.rejects(resumed((shard) => runtime.files.write(shard, 'truncated')), fails('file-damaged', /shard-000000\.msgpack has 9 bytes, not \d+, although/));
  });

  test('200 stores with mutated readable files are read or refused', async () => {
    const random = new RandomStream(freshSeed('hostile stores'), 0);
    const folder = freshFolder();
    await writeAll(folder, range(4, clipWithTarget), { target: targetInfo });
    for (const name of ['manifest.json', 'shards.jsonl']) {
      const path = join(folder, name);
      const valid = await runtime.files.read(path);
      for (let i = 0; i < 100; i++) {
        await writeFile(path, mutate(valid, random));
        await ActivationStore.open(folder).then((store) => readAll(store)).catch((error: CochleaError) => {
          assert.ok(['file-damaged', 'file-missing'].includes(error.code), String(error));
        });
      }
      await runtime.files.write(path, valid);
    }
  });

  test('a reader that stops early leaves no failure behind', async () => {
    const folder = freshFolder();
    await writeAll(folder, range(12));
    await edit('shard-000001.msgpack', (bytes) => bytes.slice(1))(folder);
    for await (const chunk of (await ActivationStore.open(folder)).chunks({ seed: 0, epoch: undefined, from: 0 })) {
      assert.equal(chunk.rows, 25);
      break;
    }
  });
});
