/** From recordings to a store and to an SAE, as commands. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { ActivationStore } from '../../src/activations/index.ts';
import { cochlea, complaint, start } from '../support/cli.ts';
import { makeRecordings, tinyHook, tinyWidth } from '../support/recordings.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-extract-'));
after(() => rmSync(folder, { recursive: true }));
const place = (name: string): string => join(folder, name);
const { model, sound, manifest } = makeRecordings(place('few'), 10, { damaged: true });
const extract = (out: string, audio: string, ...more: string[]): string[] => ['extract', '--audio', audio, '--model', model, '--hook', tinyHook, '--out', place(out), ...more];
const hashes = (out: string): Record<string, string> => Object.fromEntries(readdirSync(place(out)).map((name) => [name, createHash('sha256').update(readFileSync(join(place(out), name))).digest('hex')]));

test('extract names and counts what it skips, and writes what info and train read', async () => {
  const { code, stdout, stderr } = await cochlea(extract('store', sound));
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^skipped .*001-torn\.wav/m);
  assert.match(stdout, /^\d+ frames of 10 clips in .*store \([\d.]+ s of sound in [\d.]+ s\)\nmean norm [\d.]+, gamma = \|mean\| \/ spread = [\d.]+\n1 skipped, each named above\n$/);
  const store = await ActivationStore.open(place('store'));
  assert.deepEqual([store.dIn, store.manifest.clips, store.rows], [tinyWidth, 10, Number(/^\d+/.exec(stdout)![0])]);
  const info = await cochlea(['info', place('store')]);
  assert.match(info.stdout, /^hook +encoder\.layers\.0$/m);
});

test('extract --target-hook stores two hook points, which info shows, and refuses hooks that do not pair', async () => {
  const { code, stdout, stderr } = await cochlea(extract('two', manifest, '--target-hook', 'encoder.layers.1'));
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^\d+ frames of 10 clips in .*two \([^\n]+\)\nmean norm [\d.]+, gamma = [^\n]+\ntargets: mean norm [\d.]+, gamma = \|mean\| \/ spread = [\d.]+\n$/);
  const store = await ActivationStore.open(place('two'));
  assert.deepEqual(store.targetInfo, { hook: 'encoder.layers.1', layer: 1, dOut: tinyWidth });
  const info = await cochlea(['info', place('two')]);
  assert.match(info.stdout, /^an activation store of two hook points\n[^]*^hook +encoder\.layers\.0\n[^]*^target hook +encoder\.layers\.1\ntarget layer +1\ntarget dOut +4\n[^]*^target mean norm +[\d.]+\ntarget gamma +[\d.]+$/m);
  const json = JSON.parse((await cochlea(['info', place('two'), '--json'])).stdout) as Record<string, { hook: string; mean: number[] }>;
  assert.deepEqual([json['targetInfo']!.hook, json['statistics']!.mean.length, json['targetStatistics']!.mean.length], ['encoder.layers.1', tinyWidth, tinyWidth]);
  const unknown = await cochlea(extract('none', manifest, '--target-hook', 'encoder.layers.9', '--quiet'));
  assert.match(complaint(unknown), /has no hook point or tensor 'encoder\.layers\.9': near it are /);
  const early = await cochlea(extract('early', manifest, '--target-hook', 'channel', '--quiet'));
  assert.match(complaint(early), /no strided convolution before the hook says how long a frame is: choose a later hook$/);
});

test('--strict stops at the recording that is damaged, with one line and code 1', async () => {
  const outcome = await cochlea(extract('strict', sound, '--strict', '--quiet'));
  assert.match(complaint(outcome), /001-torn\.wav/);
  assert.equal(outcome.code, 1);
});

test('names of files move no cursor, in notices, errors and results', async () => {
  const odd = '\u001b[2J\u202e\rx';
  writeFileSync(place('few/odd.jsonl'), [{ path: `${odd}\ny.wav` }, { path: 'sound/even/000.wav', id: `${odd}\nz` }].map((row) => JSON.stringify(row)).join('\n'));
  const shown = '\\\\u001b\\[2J\\\\u202e\\\\u000dx';
  const { code, stderr } = await cochlea(extract('odd', place('few/odd.jsonl')));
  assert.equal(code, 0, stderr);
  assert.match(stderr, new RegExp(`^skipped .*odd\\.jsonl, line 1: no such file: ${shown}\\\\u000ay\\.wav$`, 'm'));
  assert.ok(!/[\r\u001b\u202e]/.test(stderr));
  assert.match(complaint(await cochlea(extract('odder', place('few/odd.jsonl'), '--strict', '--quiet'))), new RegExp(`no such file: ${shown} y\\.wav: mend it`));
});

test('--quiet prints nothing, --json one line', async () => {
  assert.deepEqual(await cochlea(extract('quiet', manifest, '--quiet')), { code: 0, signal: null, stdout: '', stderr: '' });
  const { stdout } = await cochlea(extract('json', manifest, '--dtype', 'f16', '--select', 'voice=high', '--json', '--quiet'));
  assert.equal(stdout.split('\n').length, 2);
  const result = JSON.parse(stdout) as { clips: number; skipped: string[]; statistics: { mean: number[] } };
  assert.deepEqual([result.clips, result.skipped, result.statistics.mean.length], [5, [], tinyWidth]);
  assert.equal((await ActivationStore.open(place('json'))).manifest.dtype, 'f16');
});

test('Ctrl-C and SIGKILL leave a store that --resume completes to the same bytes', async (t) => {
  const { sound: many } = makeRecordings(place('many'), 300);
  const whole = await cochlea(extract('whole', many, '--quiet'));
  assert.equal(whole.code, 0, whole.stderr);
  const stopped = start(extract('stopped', many, '--quiet'));
  while (!stopped.hasEnded && !existsSync(join(place('stopped'), 'manifest.json'))) await wait(2);
  stopped.kill('SIGINT');
  const { code, stderr } = await stopped.ended;
  if (code === 0) t.diagnostic?.('it was done before it could be stopped');
  else {
    assert.equal(code, 130, stderr);
    assert.match(stderr, /^cochlea: stopped after \d+ of 300 clips: the same command with --resume goes on from here\n$/m);
  }
  const killed = start(extract('stopped', many, '--quiet', '--resume'));
  await wait(700);
  killed.kill('SIGKILL');
  await killed.ended;
  const resumed = await cochlea(extract('stopped', many, '--quiet', '--resume'));
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.deepEqual(hashes('stopped'), hashes('whole'));
});

test('train and eval take recordings as well', async () => {
  const audio = ['--audio', manifest, '--model', model, '--hook', tinyHook];
  const trained = await cochlea(['train', ...audio, '--out', place('sae'), '--d-sae', '16', '--k', '2', '--batch-size', '64', '--steps', '3', '--mixing-buffer', '128', '--json', '--quiet']);
  assert.equal(trained.code, 0, trained.stderr);
  const result = JSON.parse(trained.stdout) as { steps: number; d_in: number; d_sae: number; skipped: string[] };
  assert.deepEqual([result.steps, result.d_in, result.d_sae, result.skipped], [3, tinyWidth, 16, []]);
  const { metadata } = JSON.parse(readFileSync(join(place('sae'), 'cfg.json'), 'utf8')) as { metadata: Record<string, unknown> };
  assert.deepEqual([metadata['model_name'], metadata['hook_name'], metadata['layer'], metadata['frame_rate'], metadata['sample_rate']], ['tiny', tinyHook, 0, 8000, 16000]);
  // The hook comes from the SAE.
  const scored = await cochlea(['eval', place('sae'), '--audio', manifest, '--model', model, '--json', '--quiet']);
  assert.equal(scored.code, 0, scored.stderr);
  const { frames, clips } = JSON.parse(scored.stdout) as { frames: number; clips: number };
  const store = await ActivationStore.open(place('quiet'));
  assert.deepEqual([frames, clips], [store.rows, 10]);
});
