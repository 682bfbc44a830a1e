/** What is told of a run's beginning: gamma, and how many latents are born dead. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type FrameSource, openTensorSource } from '../../src/activations/index.ts';
import { writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { topkConfig } from '../../src/sae/index.ts';
import { Trainer, type TrainerConfig, trainerConfig, trainRun } from '../../src/training/index.ts';
import type { Tensors } from '../oracle/linear.ts';
import { columnSums, rowNorms } from '../oracle/matrix.ts';
import { topkRun } from '../oracle/topk-sae.ts';
import { freshSeed } from '../support/mutate.ts';
import { normals } from '../support/numbers.ts';

const seed = freshSeed('beginnings');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-start-'));
const place = (...parts: string[]): string => join(folder, ...parts);
const dIn = 12, dSae = 200, batch = 128, k = 3;
const shift = 20; // of one dimension: an outlier
const x = new Float32Array(normals(new RandomStream(seed, 1640), 2 * batch * dIn).map((value, at) => value + (at % dIn === 0 ? shift : 0)));
const sae = topkConfig({ d_in: dIn, d_sae: dSae, k, decoder_init_norm: 1 });
const training = (fields: Partial<TrainerConfig> = {}): TrainerConfig => trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 4, lr: 1e-3, seed, ...fields });

let gpu: Gpu;
let source: FrameSource & { close(): Promise<void> };
before(async () => {
  gpu = await Gpu.open();
  await writeSafetensors(place('x.safetensors'), [{ name: 'x', dtype: 'F32', shape: [2 * batch, dIn], data: x }]);
  source = await openTensorSource(place('x.safetensors'));
});
after(async () => {
  await source.close();
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

/** Runs on frames in stored order, so that the first batch is known. */
async function run(out: string, centre: boolean, fields: Partial<TrainerConfig> = {}) {
  const notices: string[] = [];
  await trainRun({ gpu, source, out: place(out), sae, training: training(fields), centre, bufferRows: batch, shuffle: false, onNotice: (line) => notices.push(line) });
  const start = (file: string): unknown => (JSON.parse(readFileSync(place(out, file), 'utf8')) as Record<string, unknown>);
  const record = (start('run.json') as { start: Record<string, number> }).start;
  assert.deepEqual((start('cfg.json') as { metadata: { start: unknown } }).metadata.start, record);
  return { record, notices: notices.filter((line) => line.includes('gamma')) };
}

/** gamma and dead share of the first batch less `mean`, in float64. */
async function expected(mean: Float32Array): Promise<{ gamma: number; deadShare: number }> {
  const trainer = await Trainer.create({ gpu, sae, training: training() });
  const weights: Tensors = Object.fromEntries(Object.entries(await trainer.weights()).map(([name, tensor]: [string, Float32Array]) => [name, Float64Array.from(tensor)]));
  trainer.dispose();
  const frames = Float64Array.from(x.subarray(0, batch * dIn), (value, at) => value - mean[at % dIn]!);
  const mu = columnSums(frames, batch, dIn).map((sum) => sum / batch);
  const spread = Math.sqrt(frames.reduce((sum, value, at) => sum + (value - mu[at % dIn]!) ** 2, 0) / batch);
  const { featureActs } = topkRun(weights, frames, { dIn, dSae, k, applyBDecToInput: true, normalizeActivations: 'none', rescaleActsByDecoderNorm: true });
  const dead = Array.from({ length: dSae }, (_, i) => i).filter((i) => featureActs.every((value, at) => at % dSae !== i || value <= 0)).length;
  return { gamma: rowNorms(mu, 1, dIn)[0]! / spread, deadShare: dead / dSae };
}

describe('a run records how it began', () => {
  test('far from the origin: a large gamma, latents born dead, and a notice', async () => {
    const { record, notices } = await run('far', false);
    const { gamma, deadShare } = await expected(new Float32Array(dIn));
    assert.equal(record['frames'], batch);
    assert.ok(gamma > 5 && Math.abs(record['gamma']! / gamma - 1) < 1e-9 && record['gamma_centred'] === record['gamma'], `${JSON.stringify(record)}, not ${gamma}`);
    assert.ok(Math.abs(record['dead_share']! - deadShare) < 1.5 / dSae, `${record['dead_share']}, not ${deadShare}`);
    assert.deepEqual(notices, [`the frames lie far from the origin (gamma ${gamma.toFixed(1)}): many latents will be born dead, which centring prevents (arXiv 2605.31518)`]);
  });

  test('centred: the same gamma before, nearly none after, more latents alive, and nothing to say', async () => {
    const far = await run('far-again', false);
    const { record, notices } = await run('centred', true);
    const { gamma, deadShare } = await expected(Float32Array.from((await source.statistics()).mean));
    assert.equal(record['gamma'], far.record['gamma']);
    assert.ok(Math.abs(record['gamma_centred']! - gamma) < 1e-6 && gamma < 0.2, `${record['gamma_centred']}, not ${gamma}`);
    assert.ok(Math.abs(record['dead_share']! - deadShare) < 1.5 / dSae, `${record['dead_share']}, not ${deadShare}`);
    assert.ok(record['dead_share']! < far.record['dead_share']! - 0.1, `${record['dead_share']} of the latents are dead, ${far.record['dead_share']} without centring`);
    assert.deepEqual(notices, []);
  });

  test('with a b_dec that is taken off at the encoder and begins in the middle of the frames there is nothing to say either', async () => {
    const { record, notices } = await run('median', false, { b_dec_init_method: 'geometric_median' });
    assert.ok(record['gamma_centred']! > 5);
    assert.deepEqual(notices, []);
  });
});
