/** Clips encoded by several sessions side by side. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { collect } from '../../src/activations/index.ts';
import { CochleaError } from '../../src/errors.ts';
import { openAudio } from '../../src/jobs/recordings/audio.ts';
import { shareOut } from '../../src/jobs/recordings/clip-encoder.ts';
import { extractActivations, type ExtractOptions } from '../../src/jobs/extract.ts';
import { wav } from '../audio/sounds.ts';
import { makeRecordings, tinyHook } from '../support/recordings.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-workers-'));
after(() => rmSync(folder, { recursive: true }));
const { model, sound, manifest } = makeRecordings(folder, 12, { damaged: true });
const place = (name: string): string => join(folder, name);
const hashes = (out: string): Record<string, string> => Object.fromEntries(readdirSync(place(out)).map((name) => [name, createHash('sha256').update(readFileSync(join(place(out), name))).digest('hex')]));
const extract = (out: string, given: Partial<ExtractOptions>) => extractActivations({ model, hook: tinyHook, audio: [manifest], out: place(out), ...given });
const failing = (code: string, line: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof CochleaError, String(error));
  assert.deepEqual([error.code, line.test(error.line)], [code, true], error.line);
  return true;
};

describe('several workers', () => {
  // A long recording first, so that the clips behind it are done before it; clips cut from it; and what is no sound in between.
  writeFileSync(place('long.wav'), wav(Array.from({ length: 160_000 }, (_, t) => Math.round(9000 * Math.sin(t * t * 1e-5)))));
  const cuts = ['path,start,end', 'long.wav,,', 'long.wav,0.5,0.6', 'long.wav,9,11', 'long.wav,2,2.5'];
  writeFileSync(place('cuts.csv'), `${cuts.join('\n')}\n`);
  const audio = [place('cuts.csv'), sound];

  test('leave the bytes that one leaves, skip the same clips in the same order, and say what runs', async () => {
    const said: string[][] = [];
    for (const workers of [1, 2, 3]) {
      const notices: string[] = [], lines: string[] = [];
      const result = await extract(`by-${workers}`, { audio, workers, onNotice: (line) => notices.push(line), onEncoder: (line) => lines.push(line) });
      assert.deepEqual([result.clips, result.skipped.length], [15, 2]);
      assert.match(lines.join('\n'), new RegExp(`^encoder: onnxruntime-\\w+ [\\d.]+ \\(\\w+\\), ${workers === 1 ? '1 worker' : `${workers} workers of \\d threads?`}$`));
      said.push(notices);
    }
    assert.match(said[0]!.join('\n'), /^skipped .*long\.wav: lasts 10\.000 s.*\nskipped .*001-torn\.wav/);
    assert.deepEqual([said[1], said[2]], [said[0], said[0]]);
    assert.deepEqual(hashes('by-2'), hashes('by-1'));
    assert.deepEqual(hashes('by-3'), hashes('by-1'));
  });

  test('can be stopped, and any number goes on to the same bytes', async () => {
    const controller = new AbortController();
    const stopped = extract('stopped', { audio, workers: 2, signal: controller.signal, onProgress: ({ clipsDone }) => void (clipsDone === 6 && controller.abort()) });
    await assert.rejects(stopped, failing('interrupted', /^stopped after 6 of 17 clips: /));
    await extract('stopped', { audio, workers: 3, resume: true });
    assert.deepEqual(hashes('stopped'), hashes('by-1'));
  });

  test('tell which clip an error is about', async () => {
    await assert.rejects(extract('strict', { audio, workers: 2, strict: true }), failing('audio', /long\.wav: lasts 10\.000 s/));
    await assert.rejects(extract('torn', { audio: [sound], workers: 2, strict: true }), failing('audio', /001-torn\.wav/));
    await assert.rejects(extract('hookless', { hook: 'channel', workers: 2 }), failing('hook', /no strided convolution/));
  });

  test('are a source of frames and targets, also of the same tensor twice', async () => {
    const digests: string[] = [];
    for (const workers of [1, 2]) {
      const opened = await openAudio({ model, hook: tinyHook, targetHook: tinyHook, audio: [manifest], workers, poolSeconds: 0.002 });
      const { x, target, clips } = await collect(opened.source(), 1 << 20);
      assert.deepEqual([x, clips.length], [target, 12]);
      const { mean } = await opened.source().statistics();
      digests.push(createHash('sha256').update(x).update(mean).digest('hex'));
      await opened.close();
    }
    assert.equal(digests[1], digests[0]);
  });
});

describe('processors are shared out', () => {
  const much = { clips: 1000, bytes: 1e9, weights: 30e6 }, machine = { processors: 8, memory: 64e9 };

  test('to a session each; what is left over to their threads', () => {
    assert.deepEqual(shareOut({}, much, machine), { workers: 8, threads: 1 });
    assert.deepEqual(shareOut({ threads: 2 }, much, machine), { workers: 4, threads: 2 });
    assert.deepEqual(shareOut({ workers: 3 }, much, machine), { workers: 3, threads: 2 });
    assert.deepEqual(shareOut({ workers: 12, threads: 1 }, much, machine), { workers: 12, threads: 1 });
    assert.deepEqual(shareOut({}, { ...much, clips: 2 }, machine), { workers: 2, threads: 4 });
    assert.deepEqual(shareOut({}, much, { ...machine, processors: 1 }), { workers: 1, threads: undefined });
  });

  test('but a few short clips are one session\'s work, unless told', () => {
    assert.deepEqual(shareOut({}, { clips: 12, bytes: 50_000, weights: 30e6 }, machine), { workers: 1, threads: undefined });
    assert.deepEqual(shareOut({ threads: 2 }, { clips: 12, bytes: 50_000, weights: 30e6 }, machine), { workers: 1, threads: 2 });
    assert.deepEqual(shareOut({}, { clips: 12, bytes: 300_000, weights: 30e6 }, machine), { workers: 2, threads: 4 });
    assert.deepEqual(shareOut({ workers: 4 }, { clips: 12, bytes: 50_000, weights: 30e6 }, machine), { workers: 4, threads: 2 });
  });

  test('as far as the memory reaches, and that is said', () => {
    const notices: string[] = [];
    assert.deepEqual(shareOut({}, { ...much, weights: 2.5e9 }, { processors: 8, memory: 16e9 }, (line) => notices.push(line)), { workers: 2, threads: 4 });
    assert.deepEqual(shareOut({ workers: 8 }, { ...much, weights: 2.5e9 }, { processors: 8, memory: 4e9 }, (line) => notices.push(line)), { workers: 1, threads: undefined });
    assert.deepEqual(notices, [
      '2 of 8 workers: each takes about 5.5 GB of memory, and 16.0 GB are free', '1 of 8 workers: each takes about 5.5 GB of memory, and 4.0 GB are free',
    ]);
  });

  test('only by whole numbers', () => {
    for (const [given, line] of [[{ workers: 0 }, /^workers must be/], [{ threads: 1.5 }, /^threads must be/], [{ workers: 65 }, /not 65$/]] as const) {
      assert.throws(() => shareOut(given, much, machine), failing('usage', line));
    }
  });
});
