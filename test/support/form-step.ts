/** One step of a training form, read back: losses, gradients and counters. */
import type { Gpu } from '../../src/gpu/index.ts';
import { architectureOf, type BaseConfig, type Compatibility, type ParameterName, type Weights } from '../../src/sae/index.ts';

export interface StepProblem {
  config: BaseConfig;
  weights: Weights;
  /** [rows, d_in] */
  frames: Float32Array;
  /** Room for more rows than the step has, as after a short last batch. */
  batch?: number;
  input?: { mean: Float32Array; scale: number };
  /** What a transcoder is to give [rows, d_out]. */
  targets?: Float32Array;
  target?: { mean: Float32Array; scale: number };
  /** The frame before each [rows, d_in]. */
  previous?: Float32Array;
  /** Another batch of as many rows, of which the form has recorded a step before. */
  earlier?: { frames: Float32Array; previous?: Float32Array };
  dead?: readonly number[];
  coefficients?: Record<string, number>;
  compatibility?: Compatibility;
  /** Steps done before; default 0. */
  time?: number;
}

export interface StepOutcome {
  losses: Record<string, number>;
  gradients: Partial<Record<ParameterName, Float32Array>>;
  /** The norm of all gradients, from the squares that the form leaves and b_dec's gradient. */
  gradientNorm: number;
  counts: Uint32Array;
  /** [rows, 4] */
  stats: Float32Array;
  smallest: number | undefined;
  flags: number;
  /** Shards of W_dec. */
  shards: number;
}

export async function runStep(gpu: Gpu, problem: StepProblem): Promise<StepOutcome> {
  const { config, weights, frames, targets } = problem;
  const { d_in: dIn, d_sae: dSae } = config;
  const rows = frames.length / dIn, batch = problem.batch ?? rows, dOut = targets ? targets.length / rows : dIn;
  const vector = (label: string, columns: number, dtype: 'f32' | 'u32' = 'f32') => gpu.tensor({ label, dtype, rows: 1, columns });
  const inputs = {
    frames: gpu.tensor({ label: 'frames', dtype: 'f32', rows: batch, columns: dIn }), centre: vector('centre', dIn),
    ...(problem.previous ? { previous: gpu.tensor({ label: 'previous', dtype: 'f32', rows: batch, columns: dIn }) } : {}),
    ...(targets ? { targets: gpu.tensor({ label: 'targets', dtype: 'f32', rows: batch, columns: dOut }), targetCentre: vector('target centre', dOut) } : {}),
  };
  const state = { dead: vector('dead', dSae + 1, 'u32'), flags: vector('flags', 1, 'u32') };
  const form = architectureOf(config.architecture).train!({ gpu, config, batch, inputs, state, compatibility: problem.compatibility ?? 'corrected' });
  for (const { name, value } of form.parameters) gpu.upload(value, weights[name]!);
  if (problem.input) gpu.upload(inputs.centre, problem.input.mean);
  if (inputs.targets) gpu.upload(inputs.targets, targets!);
  if (inputs.targetCentre && problem.target) gpu.upload(inputs.targetCentre, problem.target.mean);
  const dead = problem.dead ?? [];
  gpu.upload(state.dead, Uint32Array.of(dead.length, ...dead, ...new Uint32Array(dSae - dead.length)));
  for (const { frames: x, previous } of problem.earlier ? [problem.earlier, problem] : [problem]) {
    gpu.upload(inputs.frames, x);
    if (inputs.previous) gpu.upload(inputs.previous, previous!);
    const rec = gpu.record();
    form.record(rec, {
      rows, scale: problem.input?.scale ?? 1, targetScale: problem.target?.scale ?? 1, mayBeDead: dead.length > 0, time: problem.time ?? 0, coefficients: problem.coefficients ?? {},
    });
    rec.submit();
  }

  const { stats, losses: names, lossRows, squares, gradBDec, counts, smallest } = form.results;
  const statistics = await gpu.downloadFloats(stats), rowsOfLosses = await gpu.downloadFloats(lossRows);
  const mean = (values: Float32Array, stride: number, column: number): number => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += values[row * stride + column]!;
    return sum / rows;
  };
  const gradients: StepOutcome['gradients'] = {};
  for (const { name, value, gradient } of form.parameters) gradients[name] = (await gpu.downloadFloats(gradient)).subarray(0, value.rows * value.columns);
  const squareSum = (await gpu.downloadFloats(squares.tensor)).subarray(squares.first, squares.first + squares.count).reduce((sum, square) => sum + square, 0);
  const bias = await gpu.downloadFloats(gradBDec);
  const outcome: StepOutcome = {
    losses: { mse_loss: mean(statistics, 4, 0), ...Object.fromEntries(names.map((name, n) => [name, mean(rowsOfLosses, names.length, n)])) },
    gradients, gradientNorm: Math.sqrt(squareSum + bias.reduce((sum, g) => sum + g * g, 0)), counts: await gpu.downloadIntegers(counts),
    stats: statistics.subarray(0, rows * 4), smallest: smallest ? (await gpu.downloadFloats(smallest))[0] : undefined, flags: (await gpu.downloadIntegers(state.flags))[0]!,
    shards: form.parameters.find(({ name }) => name === 'W_dec')!.value.shards.length,
  };
  form.dispose();
  for (const tensor of [...Object.values(inputs), ...Object.values(state)]) gpu.free(tensor);
  return outcome;
}
