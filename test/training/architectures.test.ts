/**
 * What holds for every architecture of the registry, whoever adds one: it is in the documentation's table, its defaults are a configuration, a run
 * of it can be stopped and goes on to the same bytes, what it saves is a SAELens folder that loads, and gives on raw frames a
 * reconstruction as good as the training said.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type FrameSource, openTensorSource } from '../../src/activations/index.ts';
import { CochleaError } from '../../src/errors.ts';
import { readSaelensFolder, writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { architectures, type BaseConfig, dense, inferenceArchitectures, SAE, trainedArchitectures } from '../../src/sae/index.ts';
import { type RunOptions, trainerConfig, trainMany, trainRun } from '../../src/training/index.ts';
import { freshSeed } from '../support/mutate.ts';
import { repo } from '../support/paths.ts';
import { plantedFrames } from '../support/planted.ts';
import { smallSae } from '../support/small-sae.ts';

const dIn = 8, dOut = 6, dSae = 48, batch = 64, steps = 60, rows = 1500;
const seed = freshSeed('architectures');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-architectures-'));
const place = (name: string): string => join(folder, name);
const frames = plantedFrames({ seed, dIn, features: 20, active: 2 }, rows);
/** A linear map of the frames and a shift: what a transcoder can learn. */
const targets = Float32Array.from({ length: rows * dOut }, (_, at) => {
  const row = Math.floor(at / dOut), d = at % dOut;
  return 1 + frames[row * dIn + d]! - 0.5 * frames[row * dIn + ((d + 3) % dIn)]!;
});

let gpu: Gpu;
let source: FrameSource & { close(): Promise<void> };
before(async () => {
  gpu = await Gpu.open();
  await writeSafetensors(place('x.safetensors'), [
    { name: 'x', dtype: 'F32', shape: [rows, dIn], data: frames }, { name: 'y', dtype: 'F32', shape: [rows, dOut], data: targets },
  ]);
  source = await openTensorSource(place('x.safetensors'), { target: 'y' });
});
after(async () => {
  await source.close();
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

const small = (name: string): BaseConfig => smallSae(name, { d_in: dIn, d_sae: dSae, normalize_activations: 'expected_average_only_in' }, dOut);

function options(out: string, sae: BaseConfig, given: Partial<RunOptions> = {}): RunOptions {
  return {
    gpu, source, out: place(out), sae,
    training: trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * steps, lr: 1e-2, dead_feature_window: 20, feature_sampling_window: 40, seed }),
    centre: true, bufferRows: 512, shuffle: true, logEvery: 1, checkpointEvery: 25, ...given,
  };
}

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
const bytesOf = (out: string): string[] => ['cfg.json', 'metrics.jsonl', 'sae_weights.safetensors', 'sparsity.safetensors'].map((name) => digest(join(place(out), name)));

function explained(x: Float32Array, recon: Float32Array, columns: number): number {
  const mean = new Float64Array(columns);
  x.forEach((value, at) => mean[at % columns]! += value / (x.length / columns));
  let error = 0, spread = 0;
  x.forEach((value, at) => {
    error += (value - recon[at]!) ** 2;
    spread += (value - mean[at % columns]!) ** 2;
  });
  return 1 - error / spread;
}

for (const name of trainedArchitectures) {
  describe(name, () => {
    test('a run that was stopped goes on to the same bytes', async () => {
      const sae = small(name);
      const whole = await trainRun(options(`${name}-whole`, sae));
      assert.ok(Number.isFinite(whole.final.overallLoss));
      const stop = new AbortController();
      const stopped = options(`${name}-stopped`, sae, { signal: stop.signal, onProgress: ({ metrics }) => metrics.step >= 30 && stop.abort() });
      await assert.rejects(trainRun(stopped), (error: unknown) => error instanceof CochleaError && error.code === 'interrupted');
      await trainRun(options(`${name}-stopped`, sae, { resume: true }));
      assert.deepEqual(bytesOf(`${name}-stopped`), bytesOf(`${name}-whole`));
    });

    test('what it saves loads, and explains raw frames as well as the training said', async (t) => {
      const { config } = await readSaelensFolder(place(`${name}-whole`));
      assert.ok(inferenceArchitectures.includes(config.architecture), config.architecture);
      assert.deepEqual(Object.keys(config.metadata['training_architecture_details'] as object), Object.keys(architectures.get(name)!.fields));
      const sae = await SAE.load(gpu, place(`${name}-whole`));
      const { recon, acts } = await sae.run(frames);
      const isTranscoder = architectures.get(name)!.needs === 'targets';
      const found = explained(isTranscoder ? targets : frames, recon, sae.dOut);
      const lines = readFileSync(join(place(`${name}-whole`), 'metrics.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, number>);
      const trained = lines.slice(-10).reduce((sum, line) => sum + line['metrics/explained_variance']! / 10, 0);
      t.diagnostic?.(`explained variance ${found.toFixed(3)}, in training ${trained.toFixed(3)}, L0 ${(acts.indices.length / rows).toFixed(1)}`);
      assert.ok(trained > 0.3, `it learns nothing: explained variance ${trained}`);
      assert.ok(Math.abs(found - trained) < 0.1, `raw frames: ${found}, training: ${trained}`);
      if (!isTranscoder && !sae.config.architecture.startsWith('temporal')) {
        const decoded = await sae.decode(dense(acts, dSae));
        assert.ok(decoded.every((value, at) => Math.abs(value - recon[at]!) < 1e-4 * Math.max(1, Math.abs(recon[at]!))), 'decode(encode(x)) is forward(x)');
      }
      sae.dispose();
    });
  });
}

test('all of them trained on one stream leave what each leaves alone', async () => {
  // A temporal one takes frames out of the batches, so that it comes by itself with one that is given the same.
  const temporal = trainedArchitectures.filter((name) => architectures.get(name)!.needs === 'previous');
  for (const names of [trainedArchitectures.filter((name) => !temporal.includes(name)), [...temporal, 'topk']]) {
    const out = `many-${names[0]}`;
    const { sae: _, training, centre, ...stream } = options(out, small('topk'));
    const { onProgress: __, ...rest } = stream;
    await trainMany({ ...rest, mixingSeed: seed, saes: names.map((name) => ({ name, sae: small(name), training, centre })) });
    const compared = names.some((name) => temporal.includes(name)) ? temporal : names;
    for (const name of compared) assert.deepEqual(bytesOf(join(out, name)), bytesOf(`${name}-whole`), name);
  }
});

test('the documentation lists what each architecture can do', () => {
  const table = readFileSync(repo('docs', 'architectures.md'), 'utf8').split('\n').filter((line) => line.startsWith('| `'));
  const rowsOf = new Map(table.map((line) => line.split('|').map((cell) => cell.trim())).map((cells) => [cells[1]!.replaceAll('`', ''), cells.slice(2)]));
  assert.deepEqual([...rowsOf.keys()].sort(), [...architectures.keys()].sort());
  for (const name of architectures.keys()) {
    const [inference, training] = rowsOf.get(name)!;
    assert.equal(!training!.startsWith('-'), trainedArchitectures.includes(name), `${name}: training`);
    assert.equal(inference!.startsWith('yes'), inferenceArchitectures.includes(name), `${name}: inference under its own name`);
  }
});
