/**
 * Whole TopK training steps beside the encoder's product that they hold: without dead latents, so that the auxiliary loss has nothing to do, and with
 * many. All run on the same rows in turns, so that their ratios are of one machine at one time.
 */
import { CochleaError } from '../src/errors.ts';
import type { Gpu, Tensor } from '../src/gpu/index.ts';
import { encode } from '../src/kernels/index.ts';
import { chunkRows, compactTensor, shardRows, vectorTensor, weightTensor } from '../src/sae/layout.ts';
import { topkConfig } from '../src/sae/index.ts';
import { Trainer, trainerConfig } from '../src/training/index.ts';
import { inTurns, noise, type Timing } from './timing.ts';

export interface Size {
  dIn: number;
  dSae: number;
  batch: number;
  k: number;
}

/** What can be run again and again, compiled already. */
export interface Work {
  run(): Promise<unknown>;
  dispose(): void;
}

/** Steps, or products of a whole batch, that are waited for together: waiting is to cost nothing beside them. */
export const repeatsOn = ({ adapter }: Gpu): number => (adapter.software ? 1 : 10);

/** The encoder's product of a whole batch, in the chunks of rows that a step takes. */
export async function encoderProduct(gpu: Gpu, { dIn, dSae, batch }: Size): Promise<Work> {
  const chunk = chunkRows(gpu, dSae, batch);
  const tensors = {
    xc: gpu.tensor({ label: 'frames', dtype: 'f32', rows: batch, columns: dIn }), W_enc: weightTensor(gpu, 'W_enc', dIn, dSae, shardRows(gpu, dIn, dSae, batch)),
    b_enc: vectorTensor(gpu, 'b_enc', dSae), h: compactTensor(gpu, 'pre-activations', chunk, dSae),
  };
  gpu.upload(tensors.xc, noise(batch * dIn, 1));
  gpu.upload(tensors.W_enc, noise(dSae * dIn, 2));
  const run = async (times: number): Promise<void> => {
    const rec = gpu.record();
    for (let time = 0; time < times; time++) {
      for (let first = 0; first < batch; first += chunk) encode(rec, tensors, first, Math.min(chunk, batch - first));
    }
    rec.submit();
    await gpu.readBuffer(tensors.h.buffer, 16);
  };
  await run(1);
  return { run: () => run(repeatsOn(gpu)), dispose: () => Object.values(tensors).forEach((tensor: Tensor) => gpu.free(tensor)) };
}

/** Pre-activations of latents with this bias are below all others here, so that they never fire; a step changes it by no more than the learning rate. */
const silent = -1;

/**
 * A trainer with exactly `dead` dead latents, on a batch that it has seen once. They are made by restoring a state in which their counters stand past the
 * window, as in a run of more than so many steps.
 */
export async function topkStep(gpu: Gpu, { dIn, dSae, batch, k }: Size, dead: number): Promise<Work> {
  const training = trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 10_000 });
  const trainer = await Trainer.create({ gpu, sae: topkConfig({ d_in: dIn, d_sae: dSae, k }), training });
  if (dead > 0) {
    const state = await trainer.state();
    state.tensors.get('since')!.fill(training.dead_feature_window + 1, dSae - dead);
    state.tensors.get('b_enc')!.fill(silent, dSae - dead);
    trainer.restore({ ...state, step: training.dead_feature_window + 1 });
  }
  const x = noise(batch * dIn, 1);
  const train = async (rows: number, steps: number): Promise<void> => {
    for (let n = 0; n < steps; n++) trainer.train({ x: x.subarray(0, rows * dIn) });
    const found = (await trainer.metrics()).at(-1)!.dead;
    if (found !== dead) throw new CochleaError('gpu-error', `a step was to have ${dead} dead latents and had ${found}`);
  };
  await train(Math.min(batch, 64), 1);
  return { run: () => train(batch, repeatsOn(gpu)), dispose: () => trainer.dispose() };
}

export interface StepResult extends Size {
  /** Rows a second by the clock. */
  rowsPerSecond: { idle: number; dead: number };
  deadLatents: number;
  /** Time of a step over that of its encoder product. */
  ratio: Record<'wall' | 'cpu', { idle: number; dead: number }>;
  timing: Record<'product' | 'idle' | 'dead', Timing>;
}

/** "Many" dead latents; of a small SAE three quarters. */
const manyDead = 2000;

export async function measureSteps(gpu: Gpu, size: Size, turns: { atLeast: number; budget: number }): Promise<StepResult> {
  const deadLatents = Math.min(manyDead, Math.floor(0.75 * size.dSae));
  const product = await encoderProduct(gpu, size), idle = await topkStep(gpu, size, 0), dead = await topkStep(gpu, size, deadLatents);
  const timing = await inTurns({ product: product.run, idle: idle.run, dead: dead.run }, { ...turns, software: gpu.adapter.software });
  for (const work of [product, idle, dead]) work.dispose();
  const over = (clock: 'wall' | 'cpu', which: 'idle' | 'dead'): number => timing[which][clock].median / timing.product[clock].median;
  const ratio = (clock: 'wall' | 'cpu') => ({ idle: over(clock, 'idle'), dead: over(clock, 'dead') });
  const rows = size.batch * repeatsOn(gpu);
  return {
    ...size, rowsPerSecond: { idle: rows / timing.idle.wall.median, dead: rows / timing.dead.wall.median }, deadLatents, ratio: { wall: ratio('wall'), cpu: ratio('cpu') }, timing,
  };
}

export interface ScalingResult {
  dIn: number;
  batch: number;
  k: number;
  sizes: { dSae: number; rowsPerSecond: number; /** Rows x d_sae a second by the clock, and a CPU second. */ work: { wall: number; cpu: number }; timing: Timing }[];
  /** Least over most of `work`: 1 where a step's time grows with d_sae alone. */
  evenness: { wall: number; cpu: number };
}

/** TopK steps of growing d_sae, all in turns. */
export async function measureScaling(gpu: Gpu, sizes: readonly Size[], turns: { atLeast: number; budget: number }): Promise<ScalingResult> {
  const works: Record<string, Work> = {};
  for (const size of sizes) works[size.dSae] = await topkStep(gpu, size, 0);
  const timing = await inTurns(Object.fromEntries(Object.entries(works).map(([name, { run }]) => [name, run])), { ...turns, software: gpu.adapter.software });
  Object.values(works).forEach((work) => work.dispose());
  const results = sizes.map(({ dSae, batch }) => {
    const { wall, cpu } = timing[dSae]!;
    const rows = batch * repeatsOn(gpu);
    return { dSae, rowsPerSecond: rows / wall.median, work: { wall: (rows * dSae) / wall.median, cpu: (rows * dSae) / cpu.median }, timing: { wall, cpu } };
  });
  const evenness = (clock: 'wall' | 'cpu'): number => {
    const values = results.map(({ work }) => work[clock]);
    return Math.min(...values) / Math.max(...values);
  };
  const { dIn, batch, k } = sizes[0]!;
  return { dIn, batch, k, sizes: results, evenness: { wall: evenness('wall'), cpu: evenness('cpu') } };
}
