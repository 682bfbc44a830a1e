/** Many SAEs on one stream: each is the one that it is alone. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type FrameSource, openTensorSource } from '../../src/activations/index.ts';
import { writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { type ManyOptions, type ManyProgress, planRun, trainerConfig, trainMany, trainRun } from '../../src/training/index.ts';
import { fails } from '../support/fails.ts';
import { freshSeed } from '../support/mutate.ts';
import { normals } from '../support/numbers.ts';
import { plantedFrames } from '../support/planted.ts';
import { smallSae } from '../support/small-sae.ts';
import { aloneOptions, dIn, dOut, manyOptions, rows, saes, steps } from './many-runs.ts';

const seed = freshSeed('many SAEs');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-many-'));
const place = (...parts: string[]): string => join(folder, ...parts);
const names = saes(seed).map(({ name }) => name);
const written = ['cfg.json', 'manifest.json', 'metrics.jsonl', 'run.json', 'sae_weights.safetensors', 'sparsity.safetensors'];

/** Everything that a folder of an SAE holds. run.json too: it says nothing of companions. */
const bytesOf = (path: string): Record<string, string> => Object.fromEntries(readdirSync(path).sort().map((name) => [name, createHash('sha256').update(readFileSync(join(path, name))).digest('hex')]));

let gpu: Gpu;
let source: FrameSource & { close(): Promise<void> };
const alone = new Map<string, Record<string, string>>();
before(async () => {
  gpu = await Gpu.open();
  const x = plantedFrames({ seed, dIn, features: 20, active: 2 }, rows);
  const noise = normals(new RandomStream(seed, 1630), rows * dOut, 0.01);
  const y = Float32Array.from(noise, (value, at) => value + 2 * x[Math.floor(at / dOut) * dIn + (at % dOut)]! - x[Math.floor(at / dOut) * dIn + dOut]! + 1);
  await writeSafetensors(place('x.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows, dIn], data: x }, { name: 'y', dtype: 'F32', shape: [rows, dOut], data: y }]);
  source = await openTensorSource(place('x.safetensors'), { target: 'y' });
  for (const name of names) {
    const { final } = await trainRun(aloneOptions(seed, name, { gpu, source, out: place('alone', name) }));
    assert.ok(Number.isFinite(final.overallLoss));
    alone.set(name, bytesOf(place('alone', name)));
  }
});
after(async () => {
  await source.close();
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

function assertAsAlone(out: string): void {
  assert.deepEqual(readdirSync(place(out)).sort(), [...names].sort());
  for (const name of names) assert.deepEqual(bytesOf(place(out, name)), alone.get(name), name);
}
const options = (out: string): ManyOptions => manyOptions(seed, { gpu, source, out: place(out) });

test('each leaves the bytes that it leaves alone, whatever the others are', async () => {
  assert.equal(new Set([...alone.values()].map((bytes) => bytes['sae_weights.safetensors'])).size, names.length, 'two of the runs are the same');
  const seen: ManyProgress[] = [];
  const notices: string[] = [];
  const result = await trainMany({ ...options('together'), onProgress: (progress) => seen.push(progress), onNotice: (line) => notices.push(line) });
  assertAsAlone('together');
  const centred = new Set(saes(seed).filter(({ centre }) => centre).map(({ name }) => name));
  for (const name of names) assert.deepEqual(readdirSync(place('together', name)).sort(), [...written, ...(centred.has(name) ? ['input_mean.safetensors'] : [])].sort());
  assert.deepEqual([result.steps, result.trained, result.dropped], [steps, steps, 0]);
  assert.deepEqual(result.saes.map(({ name, out, final }) => [name, out, final.step]), names.map((name) => [name, place('together', name), steps]));
  assert.deepEqual(seen.map(({ saes: all }) => all.map(({ name, metrics }) => [name, metrics.step])), Array.from({ length: steps }, (_, n) => names.map((name) => [name, n + 1])));
  assert.deepEqual(seen.at(-1)!.saes.map(({ metrics }) => metrics), result.saes.map(({ final }) => final));
  assert.ok(notices.some((line) => /^narrow-unit: step 7: \d+ dead latents begin anew$/.test(line)), notices.join('; '));

  const two = options('two');
  await trainMany({ ...two, saes: [two.saes[4]!, two.saes[1]!] });
  for (const name of ['twin', 'narrow-unit']) assert.deepEqual(bytesOf(place('two', name)), alone.get(name), `${name} in other company`);
});

test('the raw batch is on the GPU once, and everything is freed in the end', async () => {
  const before = gpu.allocatedBytes;
  let most = 0;
  await trainMany({ ...options('memory'), onProgress: () => void (most = Math.max(most, gpu.allocated.get('frames')! )) });
  assert.equal(most, 32 * dIn * 4);
  assert.equal(gpu.allocatedBytes, before);
});

test('a run that is stopped leaves one checkpoint of all, and goes on from it to the same bytes', async () => {
  const stops = [3, 7, 8, 15];
  for (const step of stops) {
    const stop = new AbortController();
    const run = trainMany({ ...options('stopped'), resume: true, signal: stop.signal, onProgress: ({ saes: [first] }) => first!.metrics.step >= step && stop.abort() });
    await assert.rejects(run, fails('interrupted', /^stopped after step \d+ of 24: the same command with --resume goes on from here$/));
    const newest = readdirSync(place('stopped', 'checkpoints')).at(-1)!;
    assert.deepEqual(readdirSync(place('stopped', 'checkpoints', newest)).sort(), [...names.map((name) => `${name}.safetensors`), 'state.json'].sort());
    for (const name of names) assert.ok(!existsSync(place('stopped', name, 'cfg.json')));
  }
  writeFileSync(place('stopped', names[0]!, '.manifest.json.0123456789ab.partial'), 'what a kill in the middle of a write leaves');
  await trainMany({ ...options('stopped'), resume: true });
  assertAsAlone('stopped');
  const { trained } = await trainMany({ ...options('stopped'), resume: true });
  assert.equal(trained, 0);
  assertAsAlone('stopped');
});

test('SIGKILL at random moments does not change a byte', async (t) => {
  const random = new RandomStream(seed, 1631);
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  const script = fileURLToPath(new URL(`./many-child${extension}`, import.meta.url));
  const args = [...('Deno' in globalThis ? ['run', '-A', '--no-check', '--no-lock'] : []), script, place('x.safetensors'), place('killed'), String(seed)];
  const moments: string[] = [];
  for (let kills = 0; kills < ('Deno' in globalThis ? 1 : 3); kills++) {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    const [step] = await once(child.stdout!, 'data') as [Buffer];
    const delay = random.below(80);
    await wait(delay);
    child.kill('SIGKILL');
    moments.push(`${delay} ms behind step ${String(step).trim().split('\n').at(-1)}`);
    assert.equal((await ended)[1], 'SIGKILL', `the run ended before it could be killed: ${moments.join(', ')}`);
  }
  t.diagnostic?.(`killed ${moments.join(', ')}`);
  await trainMany({ ...options('killed'), resume: true });
  assertAsAlone('killed');
});

describe('a checkpoint of many', () => {
  before(async () => {
    const stop = new AbortController();
    await assert.rejects(trainMany({ ...options('half'), signal: stop.signal, onProgress: ({ saes: [first] }) => first!.metrics.step >= 9 && stop.abort() }), fails('interrupted', /./));
  });

  test('belongs to these SAEs with these settings', async () => {
    const given = options('half');
    const changed: [ManyOptions['saes'], RegExp][] = [
      [given.saes.map((one) => (one.name === 'twin' ? { ...one, training: trainerConfig({ ...one.training, lr: 1 }) } : one)), /other settings: twin\.training\.lr was 0\.003 and is 1:/],
      [given.saes.slice(0, 4), /other settings: twin was \{.*\} and is undefined:/],
      [given.saes.map((one) => (one.name === 'twin' ? { ...one, name: 'double' } : one)), /twin was .* and is undefined; double was undefined and is /],
    ];
    for (const [others, message] of changed) await assert.rejects(trainMany({ ...given, saes: others, resume: true }), fails('config', message));
    await assert.rejects(trainMany({ ...given, mixingSeed: seed + 1, resume: true }), fails('config', new RegExp(`Wide\\.mixing_seed was ${seed} and is ${seed + 1}; narrow-unit\\.mixing_seed`)));
    await assert.rejects(trainMany(given), fails('file-exists', /half holds a run already/));
  });

  test('is passed over when one SAE in it is damaged', async () => {
    const [older, newest] = readdirSync(place('half', 'checkpoints'));
    const path = place('half', 'checkpoints', newest!, 'across.safetensors');
    const bytes = readFileSync(path);
    bytes[bytes.length - 3]! ^= 4;
    writeFileSync(path, bytes);
    const notices: string[] = [];
    await trainMany({ ...options('half'), resume: true, onNotice: (line) => notices.push(line) });
    assert.match(notices[0]!, new RegExp(`^passed over a damaged checkpoint: .*${newest}.*across\\.safetensors does not have the checksum`));
    assert.equal(notices[1], `going on after step ${Number(older!.slice(5))}`);
    assertAsAlone('half');
  });
});

test('a run that was killed while it saved its SAEs saves them all again', async () => {
  const given = options('saving');
  await trainMany(given);
  // As a kill between the third and the fourth leaves it, without a checkpoint since the run was young.
  for (const name of names.slice(3)) rmSync(place('saving', name, 'cfg.json'));
  await assert.rejects(trainMany(given), fails('file-exists', /./));
  await trainMany({ ...given, resume: true });
  assertAsAlone('saving');
});

test('one that compares frames with those before is what it is alone, and the others with `pairs`', async () => {
  const training = trainerConfig({ train_batch_size_samples: 32, total_training_samples: 320, lr: 3e-3, seed });
  const given = ['temporal_matryoshka_batchtopk', 'topk'].map((name) => ({ name, sae: smallSae(name, { d_in: dIn, d_sae: 32 }, dOut), training, centre: true }));
  const stream = { gpu, source, bufferRows: 128, shuffle: true, mixingSeed: seed };
  await trainMany({ ...stream, out: place('pairs'), saes: given });
  await trainRun({ ...stream, ...given[0]!, out: place('first') });
  await trainRun({ ...stream, ...given[1]!, out: place('second'), pairs: true });
  await trainRun({ ...stream, ...given[1]!, out: place('third') });
  assert.deepEqual(bytesOf(place('pairs', 'temporal_matryoshka_batchtopk')), bytesOf(place('first')));
  assert.deepEqual(bytesOf(place('pairs', 'topk')), bytesOf(place('second')));
  assert.notEqual(bytesOf(place('third'))['sae_weights.safetensors'], bytesOf(place('second'))['sae_weights.safetensors']);
});

describe('trainMany refuses', () => {
  const named = (...given: string[]): ManyOptions => ({ ...options('refused'), saes: given.map((name) => ({ ...saes(seed)[0]!, name })) });
  test('names that are no folders, or one folder', async () => {
    for (const name of ['', '.', '../x', 'a/b', 'checkpoints', 'Checkpoints', '-x', 'ä']) await assert.rejects(trainMany(named(name)), fails('config', /^an SAE cannot have the name ".*": it becomes a folder: /), name);
    await assert.rejects(trainMany(named('a', 'A')), fails('config', /^two SAEs have the name A: each needs a folder of its own$/));
    await assert.rejects(trainMany(named()), fails('config', /^there is no SAE to train$/));
  });

  test('SAEs that cannot share batches', async () => {
    const given = options('refused');
    const other = { ...given.saes[1]!, training: trainerConfig({ ...given.saes[1]!.training, train_batch_size_samples: 16 }) };
    await assert.rejects(trainMany({ ...given, saes: [given.saes[0]!, other] }), fails('config', /^train_batch_size_samples of narrow-unit is 16, of Wide 32: SAEs on one stream share their batches$/));
  });

  test('an SAE whose k is still falling at the end', async () => {
    const given = options('refused');
    const falling = (k_anneal_steps: number): ManyOptions => ({ ...given, saes: [given.saes[0]!, { ...given.saes[1]!, sae: { ...given.saes[1]!.sae, k_anneal_start: 8, k_anneal_steps } as never }] });
    await assert.rejects(trainMany(falling(steps)), fails('config', new RegExp(`^narrow-unit: k_anneal_steps is ${steps}: it must be below the run's ${steps} steps, so that some are trained with k$`)));
    assert.ok(planRun(falling(steps - 1)).gpuBytes > 0);
  });

  test('to go on when one blows up, and names it', async () => {
    const given = options('blown-up');
    const saesWithOne = given.saes.map((one) => (one.name === 'twin' ? { ...one, training: trainerConfig({ ...one.training, lr: 1e38, lr_warm_up_steps: 0 }) } : one));
    await assert.rejects(trainMany({ ...given, checkpointEvery: 0, saes: saesWithOne }), fails('not-finite', /^twin: step \d+: the loss, a gradient or a pre-activation is NaN or infinite: /));
    for (const name of names) assert.ok(!existsSync(place('blown-up', name, 'cfg.json')));
  });
});
