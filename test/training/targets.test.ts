/** Runs of transcoders: where targets come from, how they are centred and scaled, and what is kept and said of them. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type FrameSource, openTensorSource } from '../../src/activations/index.ts';
import { readSaelensFolder, writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { readCheckpoint } from '../../src/training/checkpoint.ts';
import { inputTransform, type RunOptions, trainerConfig, trainRun } from '../../src/training/index.ts';
import { until } from '../../src/training/run.ts';
import { columnSums, rowNorms } from '../oracle/matrix.ts';
import { fails } from '../support/fails.ts';
import { freshSeed } from '../support/mutate.ts';
import { normals } from '../support/numbers.ts';
import { smallSae } from '../support/small-sae.ts';

const seed = freshSeed('targets');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-targets-'));
const place = (...parts: string[]): string => join(folder, ...parts);
const dIn = 6, dOut = 4, rows = 300;
const random = new RandomStream(seed, 1650);
const x = new Float32Array(normals(random, rows * dIn).map((value, at) => 2 * value + (at % dIn)));
const y = new Float32Array(normals(random, rows * dOut).map((value, at) => 0.1 * value - (at % dOut) + x[Math.floor(at / dOut) * dIn]!));

let gpu: Gpu;
let source: FrameSource & { close(): Promise<void> };
before(async () => {
  gpu = await Gpu.open();
  await writeSafetensors(place('pair.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows, dIn], data: x }, { name: 'y', dtype: 'F32', shape: [rows, dOut], data: y }]);
  source = await openTensorSource(place('pair.safetensors'), { target: 'y' });
});
after(async () => {
  await source.close();
  gpu.dispose();
  rmSync(folder, { recursive: true });
});
const transcoder = (normalize: string) => smallSae('transcoder', { d_in: dIn, d_sae: 16, normalize_activations: normalize as 'none' }, dOut);
const options = (out: string, given: Partial<RunOptions> = {}): RunOptions => ({
  gpu, source, out: place(out), sae: transcoder('expected_average_only_in'), training: trainerConfig({ train_batch_size_samples: 30, total_training_samples: 240, lr: 1e-3, seed }),
  centre: true, bufferRows: 90, shuffle: true, ...given,
});

test('targets are centred and scaled by the rules of frames, with a mean and a scale of their own', async () => {
  const moments = (values: Float32Array, columns: number) => {
    const doubles = Float64Array.from(values);
    const mean = columnSums(doubles, rows, columns).map((sum) => sum / rows);
    const spread = doubles.reduce((sum, value, at) => sum + (value - mean[at % columns]!) ** 2, 0) / rows;
    return { mean, centredScale: Math.sqrt(columns / spread), scale: Math.sqrt(columns) / (rowNorms(doubles, rows, columns).reduce((sum, norm) => sum + norm, 0) / rows) };
  };
  const [frames, targets] = [moments(x, dIn), moments(y, dOut)];
  for (const [centre, normalize] of [[true, 'expected_average_only_in'], [false, 'expected_average_only_in'], [true, 'none'], [false, 'none'], [false, 'layer_norm']] as const) {
    const { target, ...input } = await inputTransform(source, transcoder(normalize), centre);
    for (const [found, wanted, columns] of [[input, frames, dIn], [target!, targets, dOut]] as const) {
      assert.equal(found.mean.length, columns);
      found.mean.forEach((value, d) => assert.ok(Math.abs(value - (centre ? wanted.mean[d]! : 0)) < 1e-5));
      const scale = normalize !== 'expected_average_only_in' ? 1 : centre ? wanted.centredScale : wanted.scale;
      assert.ok(Math.abs(found.scale / scale - 1) < 1e-6, `${centre} ${normalize}: ${found.scale}, not ${scale}`);
    }
  }
  const plain = await inputTransform(source, smallSae('topk', { d_in: dIn, d_sae: 16 }, dOut), true);
  assert.ok(!('target' in plain), 'an SAE that gives its own input has no use for targets');
});

test('what is written has the width of the source\'s targets and says where they come from', async () => {
  const wrong = { ...transcoder('none'), d_out: 99 } as never;
  await trainRun(options('whole', { sae: wrong }));
  const { config, tensors } = await readSaelensFolder(place('whole'));
  assert.deepEqual([config.architecture, config['d_out'], [...tensors.get('W_dec')!.shape]], ['transcoder', dOut, [16, dOut]]);
  assert.deepEqual([config.metadata['hook_name'], config.metadata['hook_name_out'], config.metadata['layer_out']], ['pair.safetensors', 'pair.safetensors: y', null]);
  const record = JSON.parse(readFileSync(place('whole', 'run.json'), 'utf8')) as { target: unknown };
  assert.deepEqual(record.target, { hook: 'pair.safetensors: y', layer: null, dOut });
  await trainRun(options('topk', { sae: smallSae('topk', { d_in: dIn, d_sae: 16 }, dOut) }));
  assert.ok(!('hook_name_out' in (await readSaelensFolder(place('topk'))).config.metadata));
});

test('a checkpoint keeps the mean and the scale of targets; a run on other targets does not go on from it', async () => {
  const stop = new AbortController();
  const stopped = trainRun(options('stopped', { signal: stop.signal, checkpointEvery: 2, onProgress: ({ metrics }) => metrics.step >= 3 && stop.abort() }));
  await assert.rejects(stopped, fails('interrupted', /./));
  const { checkpoint } = (await readCheckpoint(place('stopped')))!;
  assert.deepEqual(checkpoint.saes.get('')!.input, await inputTransform(source, transcoder('expected_average_only_in'), true));
  const others = await openTensorSource(place('pair.safetensors'), { target: 'x' });
  await assert.rejects(trainRun(options('stopped', { source: others, resume: true })), fails('config', /sae\.d_out was 4 and is 6; target\.hook was "pair\.safetensors: y" and is "pair\.safetensors: x"/));
  await others.close();
  await trainRun(options('stopped', { resume: true }));
  await trainRun(options('undisturbed'));
  for (const file of ['sae_weights.safetensors', 'metrics.jsonl', 'cfg.json']) assert.deepEqual(readFileSync(place('stopped', file)), readFileSync(place('undisturbed', file)), file);
});

test('frames without targets are refused before anything is read or written', async () => {
  const frames = await openTensorSource(place('pair.safetensors'));
  const unread: FrameSource = { ...frames, statistics: () => assert.fail('statistics'), chunks: () => assert.fail('chunks') };
  await assert.rejects(trainRun(options('none', { source: unread })), fails('config',
    /^a transcoder needs targets, and the frames of pair\.safetensors have none: extract them with --target-hook, or give a \.safetensors file with tensors `x` and `y`$/));
  await frames.close();
});

test('targets that are all alike are refused', async () => {
  await writeSafetensors(place('flat.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows, dIn], data: x }, { name: 'y', dtype: 'F32', shape: [rows, 2], data: new Float32Array(2 * rows).fill(3) }]);
  const flat = await openTensorSource(place('flat.safetensors'), { target: 'y' });
  await assert.rejects(trainRun(options('flat', { source: flat })), fails('config', /^the targets have a spread of 0: nothing can be learned from targets that are all alike$/));
  await flat.close();
});

test('a source that heeds a signal is in all else the source', async () => {
  const plain = await openTensorSource(place('pair.safetensors'));
  for (const one of [source, plain]) {
    const { close: _, ...members } = one;
    const wrapped = until(new AbortController().signal, one);
    assert.deepEqual(Object.keys(wrapped).sort(), Object.keys(members).sort());
    for (const name of ['dIn', 'dOut', 'info', 'targetInfo', 'rows'] as const) assert.equal(wrapped[name], one[name], name);
    assert.equal(await wrapped.statistics(), await one.statistics());
    assert.equal(await wrapped.targetStatistics?.(), await one.targetStatistics?.());
    const chunks = async (of: FrameSource) => {
      const found = [];
      for await (const chunk of of.chunks({ seed, epoch: 1, from: 0 })) found.push(chunk);
      return found;
    };
    assert.deepEqual(await chunks(wrapped), await chunks(one));
  }
  await plain.close();
});
