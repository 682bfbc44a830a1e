import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream, streams } from '../../src/random.ts';
import { type BaseConfig, dense, type ParameterName, SAE, saeConfig, type Weights } from '../../src/sae/index.ts';
import type { JumpreluTranscoderConfig, TranscoderConfig } from '../../src/sae/architectures/transcoder.ts';
import { trainerConfig } from '../../src/training/config.ts';
import { inferenceForm } from '../../src/training/export.ts';
import { Trainer } from '../../src/training/trainer.ts';
import { globalNorm } from '../oracle/adam.ts';
import type { Tensors } from '../oracle/linear.ts';
import { matmulTransposeB, rowNorms } from '../oracle/matrix.ts';
import { normalize } from '../oracle/normalize.ts';
import { transcoderPass, transcoderRun, type TranscoderSparsity } from '../oracle/transcoder.ts';
import type { Case } from '../support/case.ts';
import { close, deepEqual, equal, ok, rejects } from '../support/check.ts';
import { runStep, type StepProblem } from '../support/form-step.ts';
import { fuzzed, normals, seed } from '../support/kernels.ts';

const relativeDistance = (a: ArrayLike<number>, b: Float64Array): number => globalNorm({ d: b.map((value, i) => a[i] - value) }) / globalNorm({ b });

interface Problem {
  architecture: TranscoderConfig['architecture'] | JumpreluTranscoderConfig['architecture'];
  sparsity: TranscoderSparsity;
  dIn: number;
  dOut: number;
  dSae: number;
  rows: number;
  normalise: 'none' | 'layer_norm';
  log?: boolean;
}

const jump = { kind: 'jumprelu', coefficient: 0.6, bandwidth: 0.3, tanhScale: 4, preActCoefficient: 0.3 } as const;
const sizes = { dIn: 9, dOut: 14, dSae: 40, rows: 35, normalise: 'none' } as const;
const problems: Problem[] = [
  { ...sizes, architecture: 'transcoder', sparsity: { kind: 'l1', coefficient: 0.7 } },
  { ...sizes, architecture: 'skip_transcoder', sparsity: { kind: 'l1', coefficient: 0.7 }, dOut: 3 },
  { ...sizes, architecture: 'transcoder', sparsity: { kind: 'topk', k: 4, auxLossCoefficient: 0.8 }, normalise: 'layer_norm' },
  { ...sizes, architecture: 'skip_transcoder', sparsity: { kind: 'topk', k: 3, auxLossCoefficient: 0.8 } },
  { ...sizes, architecture: 'skip_transcoder', sparsity: { kind: 'topk', k: 3, auxLossCoefficient: 0 }, dOut: 1 },
  { ...sizes, architecture: 'jumprelu_transcoder', sparsity: { ...jump, mode: 'step' }, log: true },
  { ...sizes, architecture: 'jumprelu_transcoder', sparsity: { ...jump, mode: 'tanh' }, dOut: 6 },
  { ...sizes, architecture: 'jumprelu_skip_transcoder', sparsity: { ...jump, mode: 'tanh' }, normalise: 'layer_norm' },
];

function configOf({ architecture, sparsity, dIn, dOut, dSae, normalise }: Problem): BaseConfig {
  const fields = { architecture, d_in: dIn, d_out: dOut, d_sae: dSae, normalize_activations: normalise };
  if (sparsity.kind === 'l1') return saeConfig<TranscoderConfig>({ ...fields, l1_coefficient: sparsity.coefficient } as TranscoderConfig);
  if (sparsity.kind === 'topk') return saeConfig<TranscoderConfig>({ ...fields, k: sparsity.k, aux_loss_coefficient: sparsity.auxLossCoefficient } as TranscoderConfig);
  return saeConfig<JumpreluTranscoderConfig>({
    ...fields, jumprelu_bandwidth: sparsity.bandwidth, jumprelu_sparsity_loss_mode: sparsity.mode, l0_coefficient: sparsity.coefficient,
    pre_act_loss_coefficient: sparsity.preActCoefficient, jumprelu_tanh_scale: sparsity.tanhScale,
  } as JumpreluTranscoderConfig);
}

/** Weights as the training form has them. */
function randomWeights(random: RandomStream, { architecture, sparsity, dIn, dOut, dSae, log }: Problem): Weights {
  const threshold = Float32Array.from({ length: dSae }, () => 0.1 + 0.3 * random.uniform());
  return {
    W_enc: normals(random, dSae * dIn, 1 / Math.sqrt(dIn)), W_dec: normals(random, dSae * dOut, 1 / Math.sqrt(dOut)), b_enc: normals(random, dSae, 0.3), b_dec: normals(random, dOut, 0.3),
    ...(architecture.includes('skip') ? { W_skip: normals(random, dOut * dIn, 1 / Math.sqrt(dIn)) } : {}),
    ...(sparsity.kind === 'jumprelu' ? (log ? { log_threshold: threshold.map(Math.log) } : { threshold }) : {}),
  };
}

/** As the oracle's pass takes them: thresholds by their logarithms. */
function passTensors(weights: Weights): Tensors {
  const tensors = Object.fromEntries(Object.entries(weights).map(([name, data]) => [name, Float64Array.from(data as Float32Array)]));
  if (!tensors.threshold) return tensors;
  const { threshold, ...rest } = tensors;
  return { ...rest, log_threshold: threshold.map(Math.log) };
}

const transformed = (data: Float32Array, { mean, scale }: { mean: Float32Array; scale: number }): Float64Array => (
  Float64Array.from(data, (value, j) => (value - mean[j % mean.length]) * scale)
);

/** Frames [rows, dIn] on which float32 and float64 agree about what is active, kept and in reach of the thresholds' kernel. */
function decidedFrames(random: RandomStream, problem: Problem, weights: Weights, input: { mean: Float32Array; scale: number }, dead: readonly number[]): Float32Array {
  const { dIn, dOut, dSae, rows, normalise, sparsity } = problem;
  const { W_enc, b_enc, W_dec, log_threshold } = passTensors(weights);
  const norms = rowNorms(W_dec, dSae, dOut), margin = 1e-4;
  const isDecided = (frame: Float32Array): boolean => {
    const h = matmulTransposeB(normalize(transformed(frame, input), dIn, normalise).x, W_enc, 1, dIn, dSae).map((value, i) => value + b_enc[i]);
    const scores = h.map((value, i) => value * norms[i]);
    const isClear = (latents: readonly number[], kept: number): boolean => {
      const ranked = latents.map((i) => scores[i]).sort((a, b) => b - a);
      return kept === 0 || kept >= ranked.length || ranked[kept - 1] - ranked[kept] > margin;
    };
    if (sparsity.kind === 'topk') return h.every((value) => Math.abs(value) > margin) && isClear([...scores.keys()], sparsity.k) && isClear(dead, Math.floor(dOut / 2));
    if (sparsity.kind === 'l1') return h.every((value) => Math.abs(value) > margin);
    return h.every((value, i) => {
      const distance = Math.abs(value - Math.exp(log_threshold[i]));
      return distance > margin && Math.abs(distance - sparsity.bandwidth / 2) > margin;
    });
  };
  const frames = new Float32Array(rows * dIn);
  for (let row = 0; row < rows; row++) {
    let frame = normals(random, dIn);
    while (!isDecided(frame)) frame = normals(random, dIn);
    frames.set(frame, row * dIn);
  }
  return frames;
}

const dead = [1, 4, 5, 17, 23, 24, 39];

function drawProblem(random: RandomStream, problem: Problem): StepProblem & { input: { mean: Float32Array; scale: number }; target: { mean: Float32Array; scale: number }; targets: Float32Array } {
  const { dIn, dOut, rows, normalise, sparsity } = problem;
  const input = normalise === 'none' ? { mean: normals(random, dIn), scale: 0.8 } : { mean: new Float32Array(dIn), scale: 1 };
  const weights = randomWeights(random, problem);
  return {
    config: configOf(problem), weights, input, target: { mean: normals(random, dOut), scale: 1.3 }, targets: normals(random, rows * dOut), dead, batch: rows + 2,
    frames: decidedFrames(random, problem, weights, input, dead), compatibility: problem.log ? 'saelens-6.18' : 'corrected',
    coefficients: sparsity.kind === 'topk' ? {} : { [sparsity.kind === 'l1' ? 'l1' : 'l0']: sparsity.coefficient },
  };
}

const step: Case = fuzzed('losses, gradients and counters of transcoders are the oracle\'s', problems, async (gpu, random, problem) => {
  const { dIn, dOut, dSae, rows, normalise, sparsity } = problem;
  const given = drawProblem(random, problem);
  const deadMask = Uint8Array.from({ length: dSae }, (_, i) => (dead.includes(i) ? 1 : 0));
  const parameters = passTensors(given.weights);
  const expected = transcoderPass(parameters, transformed(given.frames, given.input), transformed(given.targets, given.target), { dIn, dOut, dSae, normalizeActivations: normalise },
    sparsity, { dead: deadMask });
  const found = await runStep(gpu, given);
  equal(found.flags, 0, 'flags');
  deepEqual(Object.keys(found.losses).map((name) => (name in expected.losses ? 1 : 0)), Object.keys(expected.losses).map(() => 1), 'names of the losses');
  for (const [name, loss] of Object.entries(expected.losses)) close([found.losses[name]], [loss], { relative: 1e-5 }, name);
  const gradients: Tensors = { ...expected.gradients };
  if (given.weights.threshold) {
    gradients.threshold = gradients.log_threshold.map((value, i) => value / Math.exp(parameters.log_threshold[i]));
    delete gradients.log_threshold;
  }
  equal(Object.keys(found.gradients).sort().join(), Object.keys(gradients).sort().join(), 'parameters');
  for (const [name, gradient] of Object.entries(gradients)) {
    const distance = relativeDistance(found.gradients[name as ParameterName]!, gradient);
    ok(distance < 1e-5, `gradient of ${name} deviates by ${distance}`);
  }
  close([found.gradientNorm], [globalNorm(gradients)], { relative: 1e-5 }, 'gradient norm');
  const each = (n: number) => [...Array(n).keys()];
  deepEqual(found.counts, each(dSae).map((i) => each(rows).filter((row) => expected.featureActs[row * dSae + i] !== 0).length), 'rows in which each latent fired');
  deepEqual(each(rows).map((row) => found.stats[row * 4 + 3]), each(rows).map((row) => each(dSae).filter((i) => expected.featureActs[row * dSae + i] !== 0).length), 'active latents');
  if (sparsity.kind !== 'topk') return equal(found.smallest, undefined, 'smallest');
  const cuts = each(rows).map((row) => [...expected.featureActs.subarray(row * dSae, (row + 1) * dSae)].sort((a, b) => b - a)[sparsity.k - 1]);
  close([found.smallest!], [cuts.reduce((sum, cut) => sum + cut / rows, 0)], { relative: 1e-5 }, 'mean cutoff');
});

const sharded: Case = {
  name: 'transcoders leave the same bits with weights in several shards and a few rows at a time',
  async run(gpu) {
    // The widest rows are those of three matrices of 300 latents: 3600 bytes.
    const small = await Gpu.open({ maxBindingBytes: 8960 });
    try {
      for (const problem of problems) {
        const wide = { ...problem, dSae: 300 };
        const given = drawProblem(new RandomStream(seed, 7), wide);
        const whole = await runStep(gpu, given), cut = await runStep(small, given);
        const what = `${problem.architecture} ${problem.sparsity.kind}`;
        equal(whole.shards, 1, `${what}: shards`);
        ok(cut.shards > 1, `${what}: ${cut.shards} shards on the small device`);
        for (const [name, gradient] of Object.entries(whole.gradients)) deepEqual(cut.gradients[name as ParameterName]!, gradient, `${what}: gradient of ${name}`);
        deepEqual(Object.values(cut.losses), Object.values(whole.losses), `${what}: losses`);
        deepEqual(cut.counts, whole.counts, `${what}: counts`);
        equal(cut.gradientNorm, whole.gradientNorm, `${what}: gradient norm`);
      }
    } finally {
      small.dispose();
    }
  },
};

const folded: Case = fuzzed('what is written takes raw frames and gives raw targets', problems.filter(({ sparsity, normalise }) => sparsity.kind !== 'topk' && normalise === 'none'), async (gpu, random, problem) => {
  const { dIn, dOut, dSae, rows, log } = problem;
  const { config, weights, input, target, frames } = drawProblem(random, problem);
  const parameters = passTensors(weights);
  const trained = transcoderRun({ ...parameters, ...(parameters.log_threshold ? { threshold: parameters.log_threshold.map(Math.exp) } : {}) }, transformed(frames, input),
    { dIn, dOut, dSae, normalizeActivations: 'none' });
  const written = inferenceForm(config, weights, { ...input, target }, {});
  equal(written.config.architecture, problem.architecture, 'architecture');
  equal(written.config['d_out'], dOut, 'd_out');
  equal(written.config.apply_b_dec_to_input, false, 'apply_b_dec_to_input');
  ok(!('log_threshold' in written.weights) && ('threshold' in written.weights) === (log !== undefined || 'threshold' in weights), 'thresholds are linear');
  const sae = await SAE.create(gpu, written.config, written.weights);
  try {
    const { recon, acts } = await sae.run(frames);
    equal(recon.length, rows * dOut, 'numbers in the output');
    ok(relativeDistance(dense(acts, dSae), trained.featureActs) < 1e-5, 'activations');
    ok(relativeDistance(recon, trained.out.map((value, j) => value / target.scale + target.mean[j % dOut])) < 1e-5, 'outputs');
  } finally {
    sae.dispose();
  }
});

const learns: Case = {
  learns: true,
  name: 'a skip transcoder with TopK learns a layer, and as JumpReLU keeps as many latents on average',
  async run(gpu) {
    const random = new RandomStream(seed, 8);
    const dIn = 8, dOut = 6, dSae = 48, rows = 64, k = 4, steps = 250;
    const config = saeConfig<TranscoderConfig>({ architecture: 'skip_transcoder', d_in: dIn, d_out: dOut, d_sae: dSae, k, topk_threshold_lr: 0.05 });
    // A layer with a linear part and a hidden ReLU, far from zero on both sides.
    const hidden = normals(random, 24 * dIn), inner = normals(random, dOut * 24, 0.4), linear = normals(random, dOut * dIn, 0.5), shift = normals(random, dOut, 4), centre = normals(random, dIn, 3);
    const layer = (x: Float32Array): Float32Array => Float32Array.from({ length: dOut }, (_, o) => {
      let sum = shift[o];
      for (let d = 0; d < dIn; d++) sum += linear[o * dIn + d] * (x[d] - centre[d]);
      for (let n = 0; n < 24; n++) {
        let pre = -1.5;
        for (let d = 0; d < dIn; d++) pre += hidden[n * dIn + d] * (x[d] - centre[d]);
        sum += inner[o * 24 + n] * Math.max(pre, 0);
      }
      return sum;
    });
    const batch = () => {
      const x = normals(random, rows * dIn).map((value, j) => value + centre[j % dIn]), target = new Float32Array(rows * dOut);
      for (let row = 0; row < rows; row++) target.set(layer(x.subarray(row * dIn, (row + 1) * dIn)), row * dOut);
      return { x, target };
    };
    const input = { mean: centre, scale: 0.5, target: { mean: shift, scale: 0.25 } };
    const training = trainerConfig({ train_batch_size_samples: rows, total_training_samples: rows * steps, lr: 0.01, seed });
    const trainer = await Trainer.create({ gpu, sae: config, training, input });
    const metrics = [];
    for (let n = 0; n < steps; n++) {
      trainer.train(batch());
      if (n % 50 === 49) metrics.push(...(await trainer.metrics()));
    }
    const weights = await trainer.weights(), threshold = trainer.threshold;
    trainer.dispose();
    const last = metrics.at(-1)!;
    ok(last.explainedVariance > 0.9, `explained variance ${last.explainedVariance}`);
    ok(weights.W_skip!.some((value) => Math.abs(value) > 0.05), 'the skip path is used');
    const written = inferenceForm(config, weights, input, {}, threshold);
    equal(written.config.architecture, 'jumprelu_skip_transcoder', 'architecture');
    ok(written.weights.threshold!.every((value) => value === Math.fround(threshold) && value > 0), 'one threshold');
    const { x, target } = batch();
    const sae = await SAE.create(gpu, written.config, written.weights);
    const { recon, acts } = await sae.run(x);
    sae.dispose();
    const l0 = acts.indices.length / rows;
    ok(Math.abs(l0 - k) < 0.25 * k, `${l0} latents on average, not about ${k}`);
    let error = 0, spread = 0;
    for (let j = 0; j < target.length; j++) {
      error += (recon[j] - target[j]) ** 2;
      spread += (target[j] - shift[j % dOut]) ** 2;
    }
    ok(1 - error / spread > 0.9, `explained variance of the written transcoder: ${1 - error / spread}`);
  },
};

const begins: Case = {
  name: 'a transcoder\'s training begins with independent uniform weights, no skip path, biases zero',
  async run(gpu) {
    const dIn = 5, dOut = 7, dSae = 60;
    for (const norm of [null, 0.1]) {
      const sae = saeConfig<JumpreluTranscoderConfig>({ architecture: 'jumprelu_skip_transcoder', d_in: dIn, d_out: dOut, d_sae: dSae, decoder_init_norm: norm, jumprelu_init_threshold: 0.02 });
      const trainer = await Trainer.create({ gpu, sae, training: trainerConfig({ train_batch_size_samples: 4, total_training_samples: 4, seed }) });
      const { W_enc, W_dec, W_skip, b_enc, b_dec, threshold } = await trainer.weights();
      trainer.dispose();
      const drawn = (substream: number, count: number, bound: number): Float64Array => {
        const host = new RandomStream(seed, streams.initialisation, substream);
        return Float64Array.from({ length: count }, () => (2 * host.uniform() - 1) * bound);
      };
      const uniform = drawn(0, dSae * dOut, Math.sqrt(6 / dOut)), norms = rowNorms(uniform, dSae, dOut);
      close(W_dec, uniform.map((value, j) => (norm === null ? value : (norm * value) / norms[Math.floor(j / dOut)])), { relative: 2 ** -23 * (dOut + 20) }, 'W_dec');
      close(W_enc!, drawn(1, dSae * dIn, Math.sqrt(6 / dSae)), { relative: 2 ** -22 }, 'W_enc');
      ok([W_skip!, b_enc!, b_dec].every((tensor) => tensor.every((value) => value === 0)), 'the rest is zero');
      ok(threshold!.every((value) => value === Math.fround(0.02)), 'thresholds');
    }
  },
};

const refused: Case = {
  name: 'a transcoder refuses b_dec at its input, a k beyond d_sae, a target of no width and batches without targets',
  async run(gpu) {
    const fields = { architecture: 'transcoder', d_in: 4, d_out: 3, d_sae: 8 } as const;
    await rejects(() => saeConfig<TranscoderConfig>({ ...fields, apply_b_dec_to_input: true }), /apply_b_dec_to_input is true/);
    await rejects(() => saeConfig<TranscoderConfig>({ ...fields, k: 9 }), /k is 9/);
    await rejects(() => saeConfig<TranscoderConfig>({ architecture: 'transcoder', d_in: 4, d_sae: 8 }), /d_out is null/);
    await rejects(() => saeConfig<JumpreluTranscoderConfig>({ architecture: 'jumprelu_transcoder', d_in: 4, d_out: 3, d_sae: 8, jumprelu_sparsity_loss_mode: 'quadratic' }), /target_l0 is null/);
    const trainer = await Trainer.create({ gpu, sae: saeConfig<TranscoderConfig>(fields), training: trainerConfig({ train_batch_size_samples: 4, total_training_samples: 4, seed }) });
    await rejects(() => trainer.train({ x: new Float32Array(16) }), /needs targets/);
    trainer.dispose();
  },
};

export const cases: Case[] = [step, sharded, folded, learns, begins, refused];
