import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { architectureOf, dense, SAE, saeConfig, type Weights } from '../../src/sae/index.ts';
import type { MatchingPursuitConfig } from '../../src/sae/architectures/matching-pursuit.ts';
import { trainerConfig } from '../../src/training/config.ts';
import { inferenceForm } from '../../src/training/export.ts';
import { Trainer } from '../../src/training/trainer.ts';
import { globalNorm } from '../oracle/adam.ts';
import { encoderInput, type Tensors } from '../oracle/linear.ts';
import { type MatchingPursuitConfig as OracleConfig, matchingPursuitPass, matchingPursuitRun, pursue } from '../oracle/matching-pursuit-sae.ts';
import type { Case } from '../support/case.ts';
import { close, deepEqual, equal, ok, rejects } from '../support/check.ts';
import { runStep } from '../support/form-step.ts';
import { fuzzed, normals, seed } from '../support/kernels.ts';

const relativeDistance = (a: ArrayLike<number>, b: Float64Array): number => globalNorm({ d: b.map((value, i) => a[i] - value) }) / globalNorm({ b });

interface Problem {
  dIn: number;
  dSae: number;
  rows: number;
  picks: number;
  applyBDec: boolean;
  normalise: 'none' | 'layer_norm' | 'constant_norm_rescale';
  threshold: number;
  stop: boolean;
}

const configOf = ({ dIn, dSae, picks, applyBDec, normalise, threshold, stop }: Problem): MatchingPursuitConfig => saeConfig<MatchingPursuitConfig>({
  architecture: 'matching_pursuit', d_in: dIn, d_sae: dSae, max_iterations: picks, residual_threshold: threshold, stop_on_duplicate_support: stop,
  apply_b_dec_to_input: applyBDec, normalize_activations: normalise,
});

const oracleConfig = ({ dIn, dSae, picks, applyBDec, normalise, threshold, stop }: Problem): OracleConfig => ({
  dIn, dSae, applyBDecToInput: applyBDec, normalizeActivations: normalise, maxIterations: picks, residualThreshold: threshold, stopOnDuplicateSupport: stop,
});

/** A dictionary whose rows have left unit length a little, so that latents come again. */
function randomPursuit(random: RandomStream, { dIn, dSae }: Problem): Weights {
  const W_dec = normals(random, dSae * dIn);
  for (let i = 0; i < dSae; i++) {
    const row = W_dec.subarray(i * dIn, (i + 1) * dIn);
    const norm = Math.hypot(...row) * (0.85 + 0.25 * random.uniform());
    row.forEach((value, d) => row[d] = value / norm);
  }
  return { W_dec, b_dec: normals(random, dIn, 0.2) };
}

const float64 = (weights: Weights): Tensors => ({ W_dec: Float64Array.from(weights.W_dec), b_dec: Float64Array.from(weights.b_dec) });

/** Frames [rows, dIn] whose pursuit, in float64, makes no choice that float32 could make otherwise. */
function decidedFrames(random: RandomStream, problem: Problem, weights: Weights, transform: (frame: Float32Array) => Float64Array = (frame) => Float64Array.from(frame)): Float32Array {
  const { dIn, dSae, rows, picks, threshold } = problem;
  const config = oracleConfig(problem), parameters = float64(weights), margin = 1e-4;
  const isDecided = (frame: Float32Array): boolean => {
    const { picks: made, residuals } = pursue(parameters.W_dec, encoderInput(parameters, transform(frame), config).centred, config);
    return residuals.every((residual, t) => {
      if (t === picks) return true;
      if (threshold > 0 && t > 0 && Math.abs(Math.hypot(...residual) - threshold) < margin) return false;
      const products = Array.from({ length: dSae }, (_, i) => residual.reduce((sum, r, d) => sum + r * parameters.W_dec[i * dIn + d], 0)).sort((a, b) => b - a);
      return Math.abs(products[0]) > margin && (t >= made.length || products[0] - products[1] > margin);
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

const problems: Problem[] = [
  { dIn: 9, dSae: 40, rows: 70, picks: 6, applyBDec: true, normalise: 'none', threshold: 0.01, stop: true },
  { dIn: 9, dSae: 40, rows: 33, picks: 12, applyBDec: true, normalise: 'none', threshold: 0.5, stop: false },
  { dIn: 12, dSae: 30, rows: 20, picks: 5, applyBDec: false, normalise: 'none', threshold: 0, stop: true },
  { dIn: 10, dSae: 64, rows: 31, picks: 8, applyBDec: true, normalise: 'layer_norm', threshold: 0.3, stop: true },
  { dIn: 7, dSae: 21, rows: 12, picks: 1, applyBDec: true, normalise: 'constant_norm_rescale', threshold: 0.01, stop: true },
];

const step: Case = fuzzed('losses, gradients and counters of matching pursuit are the oracle\'s, also with sharded weights and few rows at a time', problems, async (gpu, random, problem) => {
  const { dIn, dSae, rows } = problem;
  const weights = randomPursuit(random, problem), config = configOf(problem);
  const input = problem.normalise === 'none' ? { mean: normals(random, dIn), scale: 0.8 } : { mean: new Float32Array(dIn), scale: 1 };
  const transformed = (frame: Float32Array) => Float64Array.from(frame, (value, j) => (value - input.mean[j % dIn]) * input.scale);
  const frames = decidedFrames(random, problem, weights, transformed);
  const expected = matchingPursuitPass(float64(weights), transformed(frames), oracleConfig(problem));
  const given = { config, weights, frames, input, batch: rows + 3 };
  const found = await runStep(gpu, given);
  equal(found.flags, 0, 'flags');
  close([found.losses.mse_loss], [expected.loss], { relative: 1e-5 }, 'mse_loss');
  equal(Object.keys(found.losses).join(), 'mse_loss', 'losses');
  ok(relativeDistance(found.gradients.W_dec!, expected.gradients.W_dec) < 1e-5, `gradient of W_dec deviates by ${relativeDistance(found.gradients.W_dec!, expected.gradients.W_dec)}`);
  if (problem.applyBDec) ok(relativeDistance(found.gradients.b_dec!, expected.gradients.b_dec) < 1e-5, `gradient of b_dec deviates by ${relativeDistance(found.gradients.b_dec!, expected.gradients.b_dec)}`);
  else ok(found.gradients.b_dec!.every((g) => g === 0), 'b_dec has no gradient');
  close([found.gradientNorm], [globalNorm(expected.gradients)], { relative: 1e-5 }, 'gradient norm');
  const active = (latent: number, row: number): boolean => expected.featureActs[row * dSae + latent] !== 0;
  const rowsOf = [...Array(rows).keys()], latents = [...Array(dSae).keys()];
  deepEqual(found.counts, latents.map((i) => rowsOf.filter((row) => active(i, row)).length), 'rows in which each latent fired');
  deepEqual(rowsOf.map((row) => found.stats[row * 4 + 3]), rowsOf.map((row) => latents.filter((i) => active(i, row)).length), 'active latents');

  // A row of products is 4 dSae bytes; the bitmap and the weights decide the shards.
  const small = await Gpu.open({ maxBindingBytes: Math.max(128 * 4 * Math.ceil(dIn / 4) * 4, 4 * problem.picks * (rows + 3) * 3, problem.picks * Math.ceil(dIn / 4) * 16) });
  try {
    const cut = await runStep(small, given);
    deepEqual(cut.gradients.W_dec!, found.gradients.W_dec!, 'W_dec\'s gradient with small bindings');
    deepEqual(cut.gradients.b_dec!, found.gradients.b_dec!, 'b_dec\'s gradient with small bindings');
  } finally {
    small.dispose();
  }
});

const sharded: Case = {
  name: 'matching pursuit leaves the same bits with weights in several shards and a few rows at a time',
  async run(gpu) {
    const random = new RandomStream(seed, 5);
    const problem: Problem = { dIn: 9, dSae: 300, rows: 40, picks: 5, applyBDec: true, normalise: 'none', threshold: 0.01, stop: false };
    const weights = randomPursuit(random, problem), frames = normals(random, problem.rows * problem.dIn);
    const small = await Gpu.open({ maxBindingBytes: 6400 }); // 133 latents, 5 rows of products, 26 rows of picks' gradients
    try {
      const given = { config: configOf(problem), weights, frames };
      const whole = await runStep(gpu, given), cut = await runStep(small, given);
      equal(whole.shards, 1, 'shards');
      equal(cut.shards, 3, 'shards of the small device');
      for (const name of ['W_dec', 'b_dec'] as const) deepEqual(cut.gradients[name]!, whole.gradients[name]!, `gradient of ${name}`);
      deepEqual(cut.counts, whole.counts, 'counts');
      deepEqual(cut.stats, whole.stats, 'statistics');
    } finally {
      small.dispose();
    }
  },
};

const inference: Case = fuzzed('a matching pursuit SAE gives the oracle\'s activations and reconstructions', problems, async (gpu, random, problem) => {
  const { dIn, dSae, rows } = problem;
  const weights = randomPursuit(random, problem);
  const frames = decidedFrames(random, problem, weights);
  const expected = matchingPursuitRun(float64(weights), Float64Array.from(frames), oracleConfig(problem));
  const { config } = inferenceForm(configOf(problem), weights, { mean: new Float32Array(dIn), scale: 1 }, {});
  const sae = await SAE.create(gpu, { ...config, apply_b_dec_to_input: problem.applyBDec }, weights);
  try {
    const { recon, acts } = await sae.run(frames);
    const f = dense(acts, dSae);
    deepEqual(f.map((value) => (value === 0 ? 0 : 1)), expected.featureActs.map((value) => (value === 0 ? 0 : 1)), 'which latents fire');
    ok(relativeDistance(f, expected.featureActs) < 1e-5, 'activations');
    ok(relativeDistance(recon, expected.out) < 1e-5, `reconstructions deviate by ${relativeDistance(recon, expected.out)}`);
    if (problem.normalise === 'none') ok(relativeDistance(await sae.decode(f), expected.out) < 1e-5, 'decoding the activations');
    equal(recon.length, rows * dIn, 'numbers in the reconstruction');
  } finally {
    sae.dispose();
  }
});

const trained: Case = {
  learns: true,
  name: 'matching pursuit learns a dictionary, and what is exported takes raw frames and gives raw frames',
  async run(gpu) {
    for (const applyBDec of [true, false]) {
      const random = new RandomStream(seed, 6);
      const problem: Problem = { dIn: 12, dSae: 24, rows: 64, picks: 4, applyBDec, normalise: 'none', threshold: 0.05, stop: true };
      // Frames of three out of sixteen directions, far from zero.
      const planted = randomPursuit(random, { ...problem, dSae: 16 }).W_dec, mean = normals(random, problem.dIn, 3);
      const batch = (): Float32Array => {
        const x = new Float32Array(problem.rows * problem.dIn);
        for (let row = 0; row < problem.rows; row++) {
          for (const i of random.permutation(16).subarray(0, 3)) {
            const size = 2 + random.uniform();
            for (let d = 0; d < problem.dIn; d++) x[row * problem.dIn + d] += size * planted[i * problem.dIn + d];
          }
          for (let d = 0; d < problem.dIn; d++) x[row * problem.dIn + d] += mean[d];
        }
        return x;
      };
      const config = configOf(problem), input = { mean, scale: 0.4 };
      const training = trainerConfig({ train_batch_size_samples: problem.rows, total_training_samples: problem.rows * 150, lr: 0.01, seed });
      const trainer = await Trainer.create({ gpu, sae: config, training, input });
      const losses: number[] = [];
      for (let n = 0; n < 150; n++) {
        trainer.train({ x: batch() });
        if (n % 50 === 49) losses.push(...(await trainer.metrics()).map(({ overallLoss }) => overallLoss));
      }
      const weights = await trainer.weights();
      trainer.dispose();
      ok(losses.at(-1)! < 0.5 * losses[0], `the loss falls: ${losses[0]} to ${losses.at(-1)}`);
      const frames = decidedFrames(random, problem, weights, (frame) => Float64Array.from(frame, (value, d) => (value - mean[d]) * input.scale));
      const transformed = Float64Array.from(frames, (value, j) => (value - mean[j % problem.dIn]) * input.scale);
      const expected = matchingPursuitRun(float64(weights), transformed, oracleConfig(problem));
      const written = inferenceForm(config, weights, input, {});
      close([written.config['residual_threshold'] as number], [0.05 / 0.4], { relative: 1e-12 }, 'residual_threshold');
      const sae = await SAE.create(gpu, written.config, written.weights);
      const { recon, acts } = await sae.run(frames);
      sae.dispose();
      close(dense(acts, problem.dSae), expected.featureActs.map((f) => f / input.scale), { absolute: 1e-4 }, 'activations');
      close(recon, expected.out.map((value, j) => value / input.scale + mean[j % problem.dIn]), { absolute: 1e-4 }, 'reconstructions');
    }
  },
};

const refused: Case = {
  name: 'matching pursuit refuses decoder rows of another length and iterations that are no number',
  async run(gpu) {
    const fields = { architecture: 'matching_pursuit', d_in: 4, d_sae: 8 } as const;
    await rejects(() => saeConfig<MatchingPursuitConfig>({ ...fields, decoder_init_norm: 0.1 }), /decoder_init_norm is 0.1/);
    await rejects(() => saeConfig<MatchingPursuitConfig>({ ...fields, max_iterations: 0 }), /max_iterations is 0/);
    const config = saeConfig<MatchingPursuitConfig>(fields);
    equal(config.decoder_init_norm, 1, 'decoder_init_norm');
    const weights = { W_dec: new Float32Array(32), b_dec: new Float32Array(4) };
    const { config: written } = inferenceForm(config, weights, { mean: new Float32Array(4), scale: 1 }, {});
    await rejects(() => SAE.create(gpu, { ...written, max_iterations: 1.5 }, weights), /max_iterations is 1.5/);
    ok(architectureOf('matching_pursuit').title.length > 0, 'it has a title');
  },
};

export const cases: Case[] = [step, sharded, inference, trained, refused];
