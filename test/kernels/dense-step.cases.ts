import { Gpu } from '../../src/gpu/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { type BaseConfig, type Compatibility, type ParameterName, saeConfig, type Weights } from '../../src/sae/index.ts';
import type { GatedConfig } from '../../src/sae/architectures/gated.ts';
import type { JumpreluConfig } from '../../src/sae/architectures/jumprelu.ts';
import type { StandardConfig } from '../../src/sae/architectures/standard.ts';
import { trainerConfig } from '../../src/training/config.ts';
import { Trainer } from '../../src/training/trainer.ts';
import { globalNorm } from '../oracle/adam.ts';
import { gatedPass } from '../oracle/gated-sae.ts';
import { jumpreluPass } from '../oracle/jumprelu-sae.ts';
import { encoderInput, type Pass, type PassContext, preActivations, subtractBDec, type Tensors } from '../oracle/linear.ts';
import { columnSums } from '../oracle/matrix.ts';
import { explainedVariance, explainedVarianceLegacy } from '../oracle/metrics.ts';
import { type Normalization } from '../oracle/normalize.ts';
import { standardPass } from '../oracle/standard-sae.ts';
import type { Case } from '../support/case.ts';
import { close, equal, ok } from '../support/check.ts';
import { runStep, type StepOutcome, type StepProblem } from '../support/form-step.ts';
import { fuzzed, normals, sameBits } from '../support/kernels.ts';

type Own = { architecture: 'standard'; lpNorm: number } | { architecture: 'gated' } | ({
  architecture: 'jumprelu'; mode: 'step' | 'tanh' | 'quadratic'; preAct?: number; target?: number; toInput?: boolean; compatibility?: Compatibility;
});

type Shape = Own & { rows: number; dIn: number; dSae: number; dead: number; applyBDec: boolean; normalise: Exclude<Normalization, 'expected_average_only_in'>; adapter: 'software' | 'images' | 'hardware' };

const base = { adapter: 'software', rows: 33, dIn: 20, dSae: 60, dead: 25, applyBDec: true, normalise: 'none' } as const;
const standard = { ...base, architecture: 'standard', lpNorm: 1 } as const;
const gated = { ...base, architecture: 'gated' } as const;
const jumprelu = { ...base, architecture: 'jumprelu', mode: 'step' } as const;
const shapes: Shape[] = [
  standard,
  { ...standard, lpNorm: 2, applyBDec: false, normalise: 'layer_norm' },
  { ...standard, lpNorm: 1.4, normalise: 'constant_norm_rescale', rows: 1 },
  { ...standard, adapter: 'hardware', rows: 70, dIn: 29, dSae: 131, normalise: 'layer_norm' },
  gated,
  { ...gated, applyBDec: false, normalise: 'constant_norm_rescale' },
  { ...gated, normalise: 'layer_norm', rows: 70, dIn: 3, dSae: 7 },
  { ...gated, adapter: 'images' },
  { ...gated, adapter: 'hardware', rows: 5, dIn: 29, dSae: 131, applyBDec: false },
  jumprelu,
  { ...jumprelu, compatibility: 'saelens-6.18', preAct: 0.3, normalise: 'layer_norm' },
  { ...jumprelu, mode: 'tanh', preAct: 0.3, toInput: true },
  { ...jumprelu, mode: 'tanh', compatibility: 'saelens-6.18', applyBDec: false, normalise: 'constant_norm_rescale' },
  { ...jumprelu, mode: 'quadratic', target: 9.5, toInput: true },
  { ...jumprelu, mode: 'quadratic', target: 50, preAct: 0.2, dead: 0, normalise: 'layer_norm', rows: 70, dIn: 29, dSae: 131, adapter: 'hardware' },
];

const coefficient = 0.7, bandwidth = 0.4, tanhScale = 3;

function configOf(shape: Shape): BaseConfig {
  const common = { d_in: shape.dIn, d_sae: shape.dSae, apply_b_dec_to_input: shape.applyBDec, normalize_activations: shape.normalise };
  switch (shape.architecture) {
    case 'standard': return saeConfig<StandardConfig>({ ...common, architecture: 'standard', lp_norm: shape.lpNorm, l1_coefficient: coefficient });
    case 'gated': return saeConfig<GatedConfig>({ ...common, architecture: 'gated', l1_coefficient: coefficient });
    case 'jumprelu': return saeConfig<JumpreluConfig>({
      ...common, architecture: 'jumprelu', l0_coefficient: coefficient, jumprelu_bandwidth: bandwidth, jumprelu_tanh_scale: tanhScale, jumprelu_sparsity_loss_mode: shape.mode,
      pre_act_loss_coefficient: shape.preAct ?? null, target_l0: shape.target ?? null, jumprelu_ste_to_input: shape.toInput ?? false,
    });
  }
}

function randomWeights(random: RandomStream, shape: Shape): Weights {
  const { dIn, dSae } = shape;
  const scale = 1 / Math.sqrt(dIn);
  const linear = { W_enc: normals(random, dSae * dIn, scale), W_dec: normals(random, dSae * dIn, scale), b_dec: normals(random, dIn, 0.3) };
  const vector = (): Float32Array => normals(random, dSae, 0.3);
  if (shape.architecture === 'gated') return { ...linear, b_gate: vector(), b_mag: vector(), r_mag: vector() };
  if (shape.architecture === 'standard') return { ...linear, b_enc: vector() };
  // Some thresholds are below zero, where there are no logarithms.
  const threshold = Float32Array.from({ length: dSae }, () => 0.1 + 0.4 * random.uniform());
  if (shape.compatibility === 'saelens-6.18') return { ...linear, b_enc: vector(), log_threshold: threshold.map(Math.log) };
  return { ...linear, b_enc: vector(), threshold: threshold.map((value, i) => (i % 7 === 3 ? -value : value)) };
}

const oracleConfig = ({ dIn, dSae, applyBDec, normalise }: Shape) => ({ dIn, dSae, applyBDecToInput: applyBDec, normalizeActivations: normalise });

function oraclePass(shape: Shape, parameters: Tensors, x: Float64Array, context: PassContext): Pass {
  const config = oracleConfig(shape);
  switch (shape.architecture) {
    case 'standard': return standardPass(parameters, x, { ...config, lpNorm: shape.lpNorm }, context);
    case 'gated': return gatedPass(parameters, x, config, context);
    case 'jumprelu': return jumpreluPass(parameters, x, {
      ...config, bandwidth, tanhScale, sparsityMode: shape.mode, ...(shape.preAct === undefined ? {} : { preActCoefficient: shape.preAct }),
      ...(shape.target === undefined ? {} : { targetL0: shape.target }), steToInput: shape.toInput ?? false,
    }, context);
  }
}

/** Whatever a frame's decisions depend on, zero where they turn. */
function decisions(shape: Shape, parameters: Tensors, x: Float64Array): number[] {
  const config = oracleConfig(shape);
  const product = (input: Float64Array, bias: Float64Array): Float64Array => preActivations(input, parameters.W_enc, bias, config);
  const centred = encoderInput(parameters, x, config).centred;
  if (shape.architecture === 'standard') return [...product(centred, parameters.b_enc)];
  if (shape.architecture === 'gated') {
    const pi = product(centred, parameters.b_gate);
    const magnitudes = pi.map((value, i) => (value - parameters.b_gate[i]) * Math.exp(parameters.r_mag[i]) + parameters.b_mag[i]);
    return [...pi, ...magnitudes, ...product(subtractBDec(parameters, x, config), parameters.b_gate)];
  }
  const theta = parameters.log_threshold?.map(Math.exp) ?? parameters.threshold.map((value) => Math.max(value, 0));
  const distance = product(centred, parameters.b_enc).map((value, i) => value - theta[i]);
  return [...distance, ...distance.map((value) => Math.abs(value) - bandwidth / 2)];
}

/** Far more than rounding moves a pre-activation of order one. */
const margin = 1e-4;

/** A step on which float32 and float64 decide alike, as the oracle and as the GPU take it. */
function drawStep(random: RandomStream, shape: Shape): { given: StepProblem; parameters: Tensors; x: Float64Array; context: PassContext } {
  const { rows, dIn, dSae } = shape;
  const dead = [...random.permutation(dSae).subarray(0, Math.min(shape.dead, dSae)).sort()];
  const weights = randomWeights(random, shape);
  const parameters = Object.fromEntries(Object.entries(weights).map(([name, data]) => [name, Float64Array.from(data as Float32Array)]));
  const mean = normals(random, dIn), scale = Math.fround(0.4 + random.uniform());
  const transformed = (frames: Float32Array): Float64Array => Float64Array.from(frames, (value, at) => (value - mean[at % dIn]) * scale);
  const frames = new Float32Array(rows * dIn);
  for (let row = 0; row < rows; row++) {
    let frame = normals(random, dIn);
    while (decisions(shape, parameters, transformed(frame)).some((value) => Math.abs(value) < margin)) frame = normals(random, dIn);
    frames.set(frame, row * dIn);
  }
  const coefficients = { [shape.architecture === 'jumprelu' ? 'l0' : 'l1']: coefficient };
  return {
    given: {
      config: configOf(shape), weights, frames, batch: rows + 3, input: { mean, scale }, dead, coefficients,
      compatibility: shape.architecture === 'jumprelu' ? shape.compatibility ?? 'corrected' : 'corrected',
    },
    parameters, x: transformed(frames), context: { dead: Uint8Array.from({ length: dSae }, (_, i) => (dead.includes(i) ? 1 : 0)), coefficients },
  };
}

/**
 * A gradient is a sum over the batch of products whose factors are sums over d_in and over active latents: every term passes through at most so
 * many roundings of relative size 2^-23, and a few functions. Over a whole tensor, compared in the Euclidean norm, that is not reached.
 */
const tolerance = ({ rows, dIn, dSae }: Shape): number => 2 ** -23 * (2 * dIn + dSae + rows + 60);

function checkStep(shape: Shape, found: StepOutcome, { losses, gradients, out, featureActs }: Pass, x: Float64Array): void {
  const { rows, dIn, dSae } = shape;
  const allowed = tolerance(shape);
  const isNear = (deviation: number, size: number, what: string): void => ok(deviation <= allowed * size, `${what} deviates by ${(deviation / size).toExponential(2)} of its size, more than ${allowed.toExponential(2)}`);
  equal(found.flags, 0, 'flags');
  equal(Object.keys(found.losses).sort().join(), Object.keys(losses).sort().join(), 'losses');
  for (const [name, loss] of Object.entries(losses)) isNear(Math.abs(found.losses[name] - loss), loss, name);
  equal(Object.keys(found.gradients).sort().join(), Object.keys(gradients).sort().join(), 'parameters');
  for (const [name, gradient] of Object.entries(gradients)) {
    isNear(globalNorm({ difference: gradient.map((value, at) => value - found.gradients[name as ParameterName]![at]) }), globalNorm({ gradient }), `the gradient of ${name}`);
  }
  isNear(Math.abs(found.gradientNorm - globalNorm(gradients)), globalNorm(gradients), 'the global gradient norm');
  const mean = (column: number): number => Array.from({ length: rows }, (_, row) => found.stats[row * 4 + column]).reduce((sum, value) => sum + value / rows, 0);
  const fired = featureActs.map((value) => (value !== 0 ? 1 : 0));
  close([mean(3)], [fired.reduce((sum, one) => sum + one, 0) / rows], { relative: 1e-6 }, 'l0');
  // One frame has no spread to explain.
  if (rows > 1) [explainedVariance(x, out, dIn), explainedVarianceLegacy(x, out, dIn)].forEach((value, n) => isNear(Math.abs([1 - mean(0) / mean(1), 1 - mean(2)][n] - value), 1 + Math.abs(value), 'explained variance'));
  sameBits(found.counts, Uint32Array.from(columnSums(fired, rows, dSae)), 'rows in which each latent fired');
}

const steps: Case = fuzzed('losses, gradients and counters of a whole standard, gated and JumpReLU step are those of the oracle', shapes, async (gpu, random, shape) => {
  const { given, parameters, x, context } = drawStep(random, shape);
  checkStep(shape, await runStep(gpu, given), oraclePass(shape, parameters, x, context), x);
});

// Weights of 300 latents take three shards, and few rows of activations fit.
const wide = { rows: 11, dSae: 300, dead: 100 };
const cutShapes: Shape[] = [
  { ...standard, ...wide }, { ...jumprelu, ...wide }, { ...jumprelu, ...wide, mode: 'quadratic', target: 30, preAct: 0.1 }, { ...gated, ...wide }, { ...gated, ...wide, normalise: 'layer_norm' },
];

const cut: Case = {
  name: 'a step whose weights are in three shards and whose rows go a few at a time is the same',
  async run(gpu) {
    const small = await Gpu.open({ maxBindingBytes: 128 * 20 * 4 });
    try {
      await fuzzed('', cutShapes, async (_, random, shape) => {
        const { given, parameters, x, context } = drawStep(random, shape);
        small.adapter.software = gpu.adapter.software; // the shape's kind of adapter
        small.gathersImages = gpu.gathersImages;
        const whole = await runStep(gpu, given), found = await runStep(small, given);
        equal(whole.shards, 1, 'shards');
        equal(found.shards, 3, 'shards of the small device');
        checkStep(shape, found, oraclePass(shape, parameters, x, context), x);
        // A gated SAE adds two products to the same gradients, chunk by chunk: in another order.
        if (shape.architecture === 'gated') return;
        const same = (a: Float32Array, b: Float32Array, what: string): void => sameBits(new Uint32Array(a.slice().buffer), new Uint32Array(b.slice().buffer), what);
        for (const [name, gradient] of Object.entries(whole.gradients)) same(found.gradients[name as ParameterName]!, gradient, `gradient of ${name}`);
        same(found.stats, whole.stats, 'row statistics');
      }).run(gpu);
    } finally {
      small.dispose();
    }
  },
};

const learning: Case = { learns: true, ...fuzzed('a JumpReLU SAE with a quadratic penalty learns to have the L0 that it is given', [{ target: 3 }, { target: 12 }], async (gpu, random, { target }) => {
  const dIn = 12, dSae = 48, batch = 64, total = 250;
  const dictionary = Array.from({ length: 24 }, () => normals(random, dIn));
  const frames = (): Float32Array => Float32Array.from({ length: batch }).reduce((x: Float32Array, _, row) => {
    for (let n = 0; n < 3; n++) dictionary[random.below(24)].forEach((value, d) => (x[row * dIn + d] += (0.5 + random.uniform()) * value));
    return x;
  }, new Float32Array(batch * dIn));
  const sae = saeConfig<JumpreluConfig>({ architecture: 'jumprelu', d_in: dIn, d_sae: dSae, jumprelu_sparsity_loss_mode: 'quadratic', target_l0: target, l0_coefficient: 30, jumprelu_bandwidth: 0.5, jumprelu_init_threshold: 0.1 });
  const trainer = await Trainer.create({ gpu, sae, training: trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * total, lr: 0.01 }) });
  try {
    let last = NaN, first = NaN;
    for (let step = 0; step < total; step++) {
      trainer.train({ x: frames() });
      if (step === 0) first = (await trainer.metrics())[0].losses['mse_loss'];
      else if (step % 50 === 49) last = (await trainer.metrics()).slice(-20).reduce((sum, { l0 }) => sum + l0 / 20, 0);
    }
    ok(Math.abs(last - target) < 0.15 * target, `the L0 is ${last}, to be ${target}`);
    trainer.train({ x: frames() });
    const { mse_loss: error } = (await trainer.metrics())[0].losses;
    ok(error < 0.5 * first, `the error falls from ${first} to ${error}`);
  } finally {
    trainer.dispose();
  }
}) };

export const cases: Case[] = [steps, cut, learning];
