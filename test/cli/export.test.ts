/** Frames out to a dataset, and a dataset in to training, by the command line. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ActivationWriter } from '../../src/activations/index.ts';
import { writeSafetensors } from '../../src/formats/index.ts';
import { cochlea, complaint } from '../support/cli.ts';
import { clip, info } from '../activations/synthetic.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-export-'));
const place = (name: string): string => join(folder, name);
const clips = Array.from({ length: 30 }, (_, i) => clip(i));
before(async () => {
  const writer = await ActivationWriter.open(place('store'), info, { dtype: 'f32', resume: false });
  for (const one of clips) await writer.addClip(one);
  await writer.finish();
  const total = clips.reduce((sum, { rows }) => sum + rows, 0);
  await writeSafetensors(place('x.safetensors'), [{ name: 'x', dtype: 'F32', shape: [total, info.dIn], data: clips.map(({ frames }) => frames) }]);
});
after(() => rmSync(folder, { recursive: true }));

describe('export', () => {
  test('says what it wrote and what it left out; its dataset trains as the store does, with an event file when asked for', async () => {
    const total = clips.reduce((sum, { rows }) => sum + rows, 0);
    const dropped = clips.reduce((sum, { rows }) => sum + rows % 4, 0);
    const { code, stdout, stderr } = await cochlea(['export', place('store'), place('dataset'), '--to', 'datasets', '--context', '4', '--quiet', '--json']);
    assert.deepEqual([code, stderr], [0, '']);
    const { frames, dropped: said, files } = JSON.parse(stdout) as { frames: number; dropped: number; files: string[] };
    assert.deepEqual([frames, said, files], [total - dropped, dropped, ['data-00000-of-00001.arrow']]);
    const whole = await cochlea(['export', place('store'), place('whole'), '--to', 'datasets', '--context', '1']);
    assert.match(whole.stdout, new RegExp(`^${total} frames of ${clips.filter(({ rows }) => rows > 0).length} clips in 1 file: .*whole\\n$`));
    const train = async (from: string, out: string, ...more: string[]): Promise<Buffer> => {
      const outcome = await cochlea(['train', '--activations', place(from), '--out', place(out), '--d-sae', '16', '--k', '2', '--batch-size', '32', '--steps', '3', '--mixing-buffer', '64', '--quiet', ...more]);
      assert.equal(outcome.code, 0, outcome.stderr);
      return readFileSync(join(place(out), 'metrics.jsonl'));
    };
    assert.deepEqual(await train('whole', 'from-dataset', '--tensorboard'), await train('x.safetensors', 'from-tensors'));
    const events = (name: string): string[] => readdirSync(place(name)).filter((file) => file.includes('tfevents'));
    assert.deepEqual([events('from-dataset').length, events('from-tensors').length], [1, 0]);
    assert.match((await cochlea(['tensorboard', place('from-tensors')])).stdout, /tfevents.*\ntensorboard --logdir .*from-tensors shows them\n$/);
    assert.equal(events('from-tensors').length, 1);
  });

  test('refuses what cannot be in one line', async () => {
    const refuse = async (args: string[], code: number, line: RegExp): Promise<void> => {
      const outcome = await cochlea(['export', ...args]);
      assert.match(complaint(outcome), line);
      assert.equal(outcome.code, code);
    };
    await refuse([place('store'), place('out')], 2, /required option '--to <form>' not specified/);
    await refuse([place('store'), place('out'), '--to', 'npy', '--context', '4'], 2, /^cochlea: --context is for --to datasets: other files have a frame per row$/);
    await refuse([place('store'), place('store'), '--to', 'npy'], 1, /^cochlea: there is something at .*store already: choose another folder$/);
    await refuse([place('store'), place('out'), '--to', 'datasets', '--pad', '--context', '100000000000'], 2, /^cochlea: a context of 100000000000 frames is more than a row of a dataset can hold here: 44739242 are possible$/);
    await refuse([place('store'), place('out'), '--to', 'datasets', '--context', '500'], 2, /^cochlea: no clip has 500 frames: take a smaller --context, or --pad$/);
    assert.deepEqual(readdirSync(folder).filter((name) => name.includes('out')), []);
  });

  test('counts rows that are not finite, which it writes as they are', async () => {
    const x = Float32Array.of(1, NaN, 2, 3, 4, -Infinity, 5, 6);
    await writeSafetensors(place('nan.safetensors'), [{ name: 'x', dtype: 'F32', shape: [4, 2], data: x }]);
    const { code, stdout } = await cochlea(['export', place('nan.safetensors'), place('nan'), '--to', 'npy']);
    assert.equal(code, 0);
    assert.match(stdout, /^4 frames of 1 clip in 1 file: .*\n2 rows hold NaN or infinity, and were written so: train stops at the first, or leaves them out with --drop-non-finite\n$/);
  });

  test('goes into the folder that it was called in', async () => {
    mkdirSync(place('here'));
    const { code, stderr } = await cochlea(['export', place('x.safetensors'), '.', '--to', 'npy', '--quiet'], { cwd: place('here') });
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(readdirSync(place('here')), ['activations-00000-of-00001.npy', 'clips.jsonl', 'frames.json']);
  });
});
