/** Recordings through a model into a store, and the frames of recordings as a source. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ActivationStore, ActivationWriter, collect, type FrameChunk } from '../../src/activations/index.ts';
import { listClips, loadClip } from '../../src/audio/index.ts';
import { openEncoder, openMultiEncoder } from '../../src/encoders/index.ts';
import { openActivations } from '../../src/jobs/activations.ts';
import { openAudio } from '../../src/jobs/recordings/audio.ts';
import { extractActivations, type ExtractOptions } from '../../src/jobs/extract.ts';
import { fails } from '../support/fails.ts';
import { makeRecordings, tinyHook, tinyWidth } from '../support/recordings.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-extract-'));
const { model, sound, manifest } = makeRecordings(folder, 12, { damaged: true });
after(() => rmSync(folder, { recursive: true }));

const place = (name: string): string => join(folder, name);
const options = (out: string, given: Partial<ExtractOptions> = {}): ExtractOptions => ({ model, hook: tinyHook, audio: [manifest], out: place(out), ...given });
const hashes = (out: string): Record<string, string> => Object.fromEntries(readdirSync(place(out)).map((name) => [name, createHash('sha256').update(readFileSync(join(place(out), name))).digest('hex')]));

describe('extractActivations', () => {
  test('stores of every clip what the encoder makes of it, in order, with labels and times', async () => {
    const progress: number[] = [];
    const result = await extractActivations(options('whole', { onProgress: ({ clipsDone }) => progress.push(clipsDone) }));
    assert.deepEqual([result.clips, result.skipped, progress], [12, [], Array.from({ length: 12 }, (_, n) => n + 1)]);
    const store = await ActivationStore.open(place('whole'));
    assert.deepEqual([store.info.hook, store.info.layer, store.dIn, store.info.frameRate, store.info.model], [tinyHook, 0, tinyWidth, 8000, 'tiny']);
    const stored = await collect(store, 1 << 20);
    const encoder = await openEncoder({ model, hook: tinyHook });
    let row = 0;
    const { clips } = await listClips([manifest]);
    for (const [n, clip] of clips.entries()) {
      const { samples } = await loadClip(clip, encoder.sampleRate);
      const { frames, valid } = await encoder.encode(samples);
      assert.deepEqual(stored.x.slice(row * tinyWidth, (row + valid) * tinyWidth), frames.slice(0, valid * tinyWidth), clip.id);
      assert.deepEqual(stored.clips[stored.clip[row]!]!.labels, { voice: n % 2 === 0 ? 'low' : 'high' });
      assert.deepEqual([stored.time[row], stored.time[row + 8]], [0, Math.fround(8 / 8000)]);
      row += valid;
    }
    await encoder.close();
    assert.deepEqual([row, result.frames], [stored.rows, stored.rows]);
    assert.ok(result.seconds > 0 && Math.abs(result.statistics!.gamma) >= 0);
  });

  test('goes on after an interruption to the same bytes', async () => {
    for (const stop of [1, 7, 12]) {
      const controller = new AbortController();
      const out = `stopped-${stop}`;
      const stopped = extractActivations(options(out, { signal: controller.signal, onProgress: ({ clipsDone }) => void (clipsDone === stop && controller.abort()) }));
      if (stop < 12) {
        await assert.rejects(stopped, fails('interrupted', new RegExp(`^stopped after ${stop} of 12 clips: the same command with --resume goes on from here$`)));
        await assert.rejects(openActivations(place(out)), fails('file-damaged', /is not complete: writing it was interrupted: resume it first$/));
        await extractActivations(options(out, { resume: true }));
      } else await stopped;
      assert.deepEqual(hashes(out), hashes('whole'), `stopped after ${stop}`);
    }
  });

  test('says after an interruption how long the clips take that are left, by those of this call', async () => {
    const audio = await openAudio({ model, hook: tinyHook, audio: [manifest] }), { dataSha256: _, ...info } = audio.info;
    const writer = await ActivationWriter.open(place('part'), info, { dtype: 'f32', resume: false, shardBytes: 1024 });
    for (const clip of audio.clips.slice(0, 9)) await writer.addClip((await audio.load(clip))!); // the last rows of the ninth are in no shard yet
    await audio.close();
    const ratios: number[] = [];
    await extractActivations(options('part', { resume: true, onProgress: ({ seconds, speed, secondsLeft }) => ratios.push(secondsLeft / (seconds / speed)) }));
    assert.deepEqual(ratios.map((ratio) => Math.round(1e6 * ratio) / 1e6), [3, 1, 0.333333, 0]);
  });

  test('of a store that is there is refused without resume; with it, says that it is complete and what it lacks', async () => {
    await assert.rejects(extractActivations(options('whole')), fails('file-exists', /whole holds activations already/));
    const before = hashes('whole');
    const notices: string[] = [];
    const same = await extractActivations(options('whole', { resume: true, onNotice: (line) => notices.push(line) }));
    assert.deepEqual([same.clips, same.seconds], [12, 0]);
    const { sound: more } = makeRecordings(place('more'), 14);
    await extractActivations(options('whole', { resume: true, audio: [manifest, more], onNotice: (line) => notices.push(line) }));
    assert.match(notices[0]!, /whole was complete already$/);
    assert.match(notices[1]!, /whole was complete already; 14 of these 26 clips are not in it$/);
    assert.deepEqual(hashes('whole'), before);
    await assert.rejects(extractActivations(options('whole', { resume: true, hook: 'encoder.layers.1' })), fails('config', /cannot resume .*hook "encoder\.layers\.0", not "encoder\.layers\.1"; layer 0, not 1/));
  });

  test('skips, names and counts what is no sound; strict stops there', async () => {
    const notices: string[] = [];
    const result = await extractActivations(options('skipping', { audio: [sound], onNotice: (line) => notices.push(line) }));
    assert.deepEqual([result.clips, result.skipped.length], [12, 1]);
    assert.match(result.skipped[0]!, /001-torn\.wav/);
    assert.deepEqual(notices, [`skipped ${result.skipped[0]}`]);
    await assert.rejects(extractActivations(options('strict', { audio: [sound], strict: true })), fails('audio', /001-torn\.wav/));
    // What came before it is there to go on from, without --strict or without the file.
    assert.equal((await extractActivations(options('strict', { audio: [sound], resume: true }))).clips, 12);
    assert.deepEqual(hashes('strict'), hashes('skipping'));
  });

  test('goes on after a file that is there and cannot be read', async () => {
    const { model: own, sound: theirs } = makeRecordings(place('unreadable'), 3);
    const path = join(theirs, 'odd', '001.wav');
    const given = { model: own, audio: [theirs], onEncoder: () => { // after the listing
      rmSync(path, { recursive: true });
      mkdirSync(path);
    } };
    const { clips, skipped } = await extractActivations(options('unreadable-skipped', given));
    assert.deepEqual([clips, skipped], [2, [`cannot read ${path}: it is a folder`]]);
    rmSync(path, { recursive: true });
    cpSync(join(theirs, 'even', '000.wav'), path);
    await assert.rejects(extractActivations(options('unreadable-strict', { ...given, strict: true })), fails('file-system', /^cannot read .*001\.wav: it is a folder/));
  });

  test('of nothing usable is an error that says why', async () => {
    writeFileSync(place('one.wav'), 'no sound');
    await assert.rejects(extractActivations(options('nothing', { audio: [place('one.wav')] })), fails('audio', /^none of 1 clips could be used: .*one\.wav/));
    // Mended, it goes on in the same folder.
    cpSync(join(sound, 'even', '000.wav'), place('one.wav'));
    assert.equal((await extractActivations(options('nothing', { audio: [place('one.wav')], resume: true }))).clips, 1);
    await assert.rejects(extractActivations(options('none', { select: { voice: 'none' } })), fails('file-missing', /^none of 12 clips has voice=none: look at the labels in the manifest$/));
    await assert.rejects(extractActivations(options('hookless', { hook: 'encoder.layers.7' })), fails('hook', /encoder\.layers\.7/));
  });

  test('takes clips by label, and so many of them, spread evenly', async () => {
    const chosen = async (given: Partial<ExtractOptions>): Promise<string[]> => {
      const audio = await openAudio(options('unused', given));
      await audio.close();
      return audio.clips.map(({ path }) => path.slice(-7, -4));
    };
    assert.deepEqual(await chosen({ select: { voice: 'high' } }), ['001', '003', '005', '007', '009', '011']);
    assert.deepEqual(await chosen({ take: 3 }), ['000', '004', '008']);
    assert.deepEqual(await chosen({ select: { voice: 'low' }, take: 2 }), ['000', '006']);
    assert.deepEqual((await chosen({ take: 99 })).length, 12);
  });
});

describe('extractActivations of two hook points', () => {
  const mlp = '/encoder/layers.0/mlp/MatMul_output_0'; // a tensor by its own name
  const two = { targetHook: mlp };

  test('stores of every clip what one pass gives at both, and x as if it were alone', async () => {
    const result = await extractActivations(options('two', two));
    const store = await ActivationStore.open(place('two'));
    assert.deepEqual([store.info.hook, store.targetInfo, result.clips], [tinyHook, { hook: mlp, layer: null, dOut: tinyWidth }, 12]);
    const stored = await collect(store, 1 << 20);
    assert.deepEqual(stored.x, (await collect(await ActivationStore.open(place('whole')), 1 << 20)).x);
    assert.equal(store.info.dataSha256, (await ActivationStore.open(place('whole'))).info.dataSha256);
    const encoder = await openMultiEncoder({ model, hooks: [mlp] });
    let row = 0;
    for (const clip of (await listClips([manifest])).clips) {
      const { frames: [frames], valid } = await encoder.encode((await loadClip(clip, encoder.sampleRate)).samples);
      assert.deepEqual(stored.target!.slice(row * tinyWidth, (row + valid) * tinyWidth), frames!.slice(0, valid * tinyWidth), clip.id);
      row += valid;
    }
    await encoder.close();
    assert.equal(row, stored.rows);
    assert.deepEqual(result.targetStatistics, await store.targetStatistics!());
    assert.notDeepEqual(result.targetStatistics!.mean, result.statistics!.mean);
  });

  test('goes on after an interruption to the same bytes, and only with the same hooks', async () => {
    const controller = new AbortController();
    await assert.rejects(
      extractActivations(options('two-stopped', { ...two, signal: controller.signal, onProgress: ({ clipsDone }) => void (clipsDone === 5 && controller.abort()) })),
      fails('interrupted', /^stopped after 5 of 12 clips/),
    );
    await assert.rejects(extractActivations(options('two-stopped', { resume: true })), fails('config', /cannot resume .*target hook ".*MatMul_output_0" with dOut 4, not no target hook/));
    await assert.rejects(extractActivations(options('two-stopped', { targetHook: 'encoder.layers.1', resume: true })), fails('config', /with dOut 4, not target hook "encoder\.layers\.1"/));
    await extractActivations(options('two-stopped', { ...two, resume: true }));
    assert.deepEqual(hashes('two-stopped'), hashes('two'));
  });

  test('is read with its targets, which a store of one hook point does not have', async () => {
    const source = await openActivations(place('two'), { target: true });
    assert.deepEqual([source.dOut, source.targetInfo!.hook, (await source.targetStatistics!()).rows], [tinyWidth, mlp, source.rows]);
    const { target, rows } = await collect(source, 10);
    assert.equal(target!.length, rows * tinyWidth);
    await source.close();
    await assert.rejects(openActivations(place('whole'), { target: true }), fails('config', /the activations in .*whole have no targets: extract them with --target-hook$/));
    assert.equal((await openActivations(place('whole'))).dOut, undefined);
  });

  test('gives recordings as a source of both, a skipped clip having neither', async () => {
    const audio = await openAudio({ model, hook: tinyHook, ...two, audio: [sound] });
    const source = audio.source();
    assert.deepEqual([source.dOut, source.targetInfo], [tinyWidth, audio.targetInfo]);
    await extractActivations(options('two-skipping', { ...two, audio: [sound] }));
    const stored = await collect(await ActivationStore.open(place('two-skipping')), 1 << 20);
    const digest = ({ x, target }: FrameChunk): string => createHash('sha256').update(x).update(target!).digest('hex');
    for (let epoch = 0; epoch < 2; epoch++) assert.equal(digest(await collect(source, 1 << 20)), digest(stored), `pass ${epoch}`);
    assert.equal(audio.skipped.length, 1);
    const statistics = await source.targetStatistics!();
    assert.deepEqual([statistics.rows, (await source.statistics()).rows], [stored.rows, stored.rows]);
    await audio.close();
  });
});

test('clips as a source give the frames of the store, and a clip that is skipped is named once', async () => {
  const notices: string[] = [];
  const audio = await openAudio({ model, hook: tinyHook, audio: [sound], onNotice: (line) => notices.push(line) });
  const source = audio.source();
  const store = await ActivationStore.open(place('skipping'));
  for (let epoch = 0; epoch < 2; epoch++) {
    const live: number[] = [], clips: string[] = [];
    for await (const chunk of source.chunks({ seed: 1, epoch: undefined, from: 0 })) {
      live.push(...chunk.x);
      if (chunk.rows > 0) clips.push(chunk.clips[0]!.id);
    }
    const stored = await collect(store, 1 << 20);
    assert.deepEqual(Float32Array.from(live), stored.x);
    assert.deepEqual(clips, stored.clips.map(({ id }) => id));
  }
  assert.equal(notices.length, 1);
  assert.deepEqual([audio.info.hook, audio.info.dIn, source.rows], [tinyHook, tinyWidth, undefined]);
  const { mean, rows } = await source.statistics();
  assert.deepEqual([rows, mean.length], [store.rows, tinyWidth]);
  await audio.close();
});
