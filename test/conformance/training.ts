/** A training case of the fixtures against the GPU trainer: gradients, losses, parameters, counters. */
import type { Gpu } from '../../src/gpu/index.ts';
import { architectureOf, type BaseConfig, type ParameterName, saeConfig } from '../../src/sae/index.ts';
import { trainerConfig, type TrainerConfig } from '../../src/training/config.ts';
import { Trainer } from '../../src/training/trainer.ts';
import * as check from '../support/check.ts';
import { type ReadFile, readJson, readTensors, relativeDistance, type Tensors, type TrainingRecord, weightsOf } from './cases.ts';

const tolerances = { gradient: 1e-5, loss: 1e-5, parameter: 1e-4 };

/** Checks one case; returns the worst deviation of each kind. */
export async function checkTraining(gpu: Gpu, read: ReadFile, name: string): Promise<Record<string, number>> {
  const record = await readJson<TrainingRecord>(read, `train/${name}/case.json`);
  const init = await readTensors(read, `train/${name}/init.safetensors`);
  const { batches, dead_mask: dead } = await readTensors(read, 'train/batches.safetensors');
  const size = record.batch * record.sae_cfg.d_in;
  const scale = Math.fround(record.batch_scale);
  const batch = (step: number): Float32Array => Float32Array.from(batches!.data.subarray(step * size, (step + 1) * size), (value) => value * scale);
  const config = saeConfig(record.sae_cfg as unknown as BaseConfig);
  const worst: Record<string, number> = {};
  const compare = (kind: keyof typeof tolerances, what: string, deviation: number): void => {
    worst[kind] = Math.max(worst[kind] ?? 0, deviation);
    check.ok(deviation <= tolerances[kind], `${name}: ${what} deviates by ${deviation.toExponential(2)}, more than ${tolerances[kind]}`);
  };
  await checkSingleStep(gpu, config, record, init, batch(0), dead!.data, await readTensors(read, `train/${name}/grads.safetensors`), compare);
  await checkRun(gpu, config, record, init, batch, await readTensors(read, `train/${name}/steps.safetensors`), compare);
  return worst;
}

type Compare = (kind: keyof typeof tolerances, what: string, deviation: number) => void;

/** Every loss that one of the two sides names. */
function compareLosses(found: Record<string, number>, wanted: Record<string, number>, deviation: (a: number, b: number) => number, where: string, compare: Compare): void {
  check.ok(Object.keys(found).sort().join() === Object.keys(wanted).sort().join(), `the losses of ${where} are ${Object.keys(found).join(', ')}, not ${Object.keys(wanted).join(', ')}`);
  for (const [name, value] of Object.entries(wanted)) compare('loss', `${name} of ${where}`, deviation(found[name]!, value));
}

async function checkSingleStep(gpu: Gpu, config: BaseConfig, record: TrainingRecord, init: Tensors, x: Float32Array, deadMask: Float64Array, expected: Tensors, compare: Compare): Promise<void> {
  const { d_in: dIn, d_sae: dSae } = config;
  const rows = record.batch;
  const inputs = {
    frames: gpu.tensor({ label: 'frames', dtype: 'f32', rows, columns: dIn }),
    centre: gpu.tensor({ label: 'centre', dtype: 'f32', rows: 1, columns: dIn }),
  };
  const state = {
    dead: gpu.tensor({ label: 'dead', dtype: 'u32', rows: 1, columns: dSae + 1 }),
    flags: gpu.tensor({ label: 'flags', dtype: 'u32', rows: 1, columns: 1 }),
  };
  const form = architectureOf(config.architecture).train!({ gpu, config, batch: rows, inputs, state, compatibility: 'saelens-6.18' });
  const weights = weightsOf(init);
  for (const { name, value } of form.parameters) gpu.upload(value, weights[name]!);
  const latents = [...deadMask.keys()].filter((i) => deadMask[i] !== 0);
  const list = new Uint32Array(dSae + 1);
  list[0] = latents.length;
  list.set(latents, 1);
  gpu.upload(state.dead, list);
  gpu.upload(inputs.frames, x);
  const rec = gpu.record();
  form.record(rec, { rows, scale: 1, targetScale: 1, mayBeDead: true, time: 0, coefficients: record.single_step.coefficients });
  rec.submit();
  const stats = await gpu.downloadFloats(form.results.stats);
  const lossRows = await gpu.downloadFloats(form.results.lossRows);
  const { losses } = form.results;
  const mean = (values: Float32Array, stride: number, column: number): number => Array.from({ length: rows }, (_, row) => values[row * stride + column]!).reduce((sum, value) => sum + value / rows, 0);
  const found = { mse_loss: mean(stats, 4, 0), ...Object.fromEntries(losses.map((name, n) => [name, mean(lossRows, losses.length, n)])) };
  compareLosses(found, record.single_step.losses_f64, (a, b) => Math.abs(a / b - 1), 'the single step', compare);
  const gradients = weightsOf(expected, 'grad.');
  for (const { name, gradient } of form.parameters) {
    const wanted = gradients[name]!;
    compare('gradient', `gradient of ${name}`, relativeDistance((await gpu.downloadFloats(gradient)).subarray(0, wanted.length), wanted));
  }
  check.deepEqual(await gpu.downloadIntegers(form.results.counts), Uint32Array.from(expected['fired_per_latent']!.data), 'rows in which each latent fired');
  form.dispose();
  for (const tensor of [...Object.values(inputs), ...Object.values(state)]) gpu.free(tensor);
}

async function checkRun(gpu: Gpu, config: BaseConfig, record: TrainingRecord, init: Tensors, batch: (step: number) => Float32Array, expected: Tensors, compare: Compare): Promise<void> {
  const training = trainerConfig(record.trainer_cfg as unknown as Partial<TrainerConfig>);
  const input = { mean: new Float32Array(config.d_in), scale: record.activation_scaling_factor ?? 1 };
  const trainer = await Trainer.create({ gpu, sae: config, training, input, compatibility: 'saelens-6.18', weights: weightsOf(init) });
  for (let step = 0; step < record.n_steps; step++) {
    trainer.train({ x: batch(step) });
    const [metrics] = await trainer.metrics();
    const wanted = record.steps[step]!;
    const relative = (a: number, b: number): number => Math.abs(a - b) / Math.max(1, Math.abs(b));
    check.close([metrics!.learningRate], [wanted.lr_used], { relative: 1e-12 }, `learning rate of step ${step + 1}`);
    check.ok(metrics!.dead === wanted.n_dead_at_start, `step ${step + 1}: ${metrics!.dead} dead latents, not ${wanted.n_dead_at_start}`);
    check.ok(metrics!.l0 === wanted.l0, `step ${step + 1}: l0 is ${metrics!.l0}, not ${wanted.l0}`);
    for (const [name, value] of Object.entries(wanted.coefficients_used)) check.close([metrics!.coefficients[name]!], [value], { relative: 1e-12 }, `coefficient ${name} of step ${step + 1}`);
    compareLosses(metrics!.losses, wanted.losses, relative, `step ${step + 1}`, compare);
    if (typeof wanted.topk_threshold_after === 'number') compare('parameter', `threshold after step ${step + 1}`, relative(trainer.threshold, wanted.topk_threshold_after));
    compare('loss', `explained variance of step ${step + 1}`, relative(metrics!.explainedVariance, wanted.explained_variance));
    compare('loss', `legacy explained variance of step ${step + 1}`, relative(metrics!.explainedVarianceLegacy, wanted.explained_variance_legacy));
    compare('gradient', `gradient norm of step ${step + 1}`, relative(metrics!.gradientNorm, wanted.grad_norm_before_clip));
    if (!expected[`step${step + 1}.W_dec`]) continue;
    const parameters = weightsOf(expected, `step${step + 1}.`);
    const found = await trainer.weights();
    for (const [name, wantedTensor] of Object.entries(parameters) as [ParameterName, Float32Array][]) {
      compare('parameter', `${name} after step ${step + 1}`, relativeDistance(found[name]!, wantedTensor));
    }
  }
  const { tensors, firedRows } = await trainer.state();
  check.deepEqual(tensors.get('since')!, Uint32Array.from(expected['n_forward_passes_since_fired']!.data), 'n_forward_passes_since_fired');
  check.deepEqual(tensors.get('fired')!, Uint32Array.from(expected['act_freq_scores']!.data), 'act_freq_scores');
  check.ok(firedRows === record.n_frac_active_samples_end, `n_frac_active_samples is ${firedRows}, not ${record.n_frac_active_samples_end}`);
  trainer.dispose();
}
