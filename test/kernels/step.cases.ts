import { type Gpu, padded } from '../../src/gpu/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { topk, topkConfig, type Weights } from '../../src/sae/index.ts';
import { globalNorm } from '../oracle/adam.ts';
import type { Tensors } from '../oracle/linear.ts';
import { columnSums } from '../oracle/matrix.ts';
import { explainedVariance, explainedVarianceLegacy } from '../oracle/metrics.ts';
import { topkPass, type TopkTrainingConfig } from '../oracle/topk-sae.ts';
import type { Case } from '../support/case.ts';
import { ok } from '../support/check.ts';
import { fuzzed, normals, sameBits } from '../support/kernels.ts';
import { decidedFrames, type Problem, randomTopk } from '../support/topk-problem.ts';

type Shape = Problem & { rows: number; dead: number; adapter: 'software' | 'images' | 'hardware' };

// d_in / 2 = 10 dead latents take the full auxiliary weight; fewer take their share.
const base = { adapter: 'software', rows: 33, dIn: 20, dSae: 60, k: 5, dead: 25, rescale: true, applyBDec: true, normalise: 'none', compatibility: 'corrected' } as const;
const shapes: Shape[] = [
  base,
  { ...base, compatibility: 'saelens-6.18' },
  { ...base, dead: 3, rescale: false },
  { ...base, dead: 3, compatibility: 'saelens-6.18', normalise: 'layer_norm' },
  { ...base, dead: 9, normalise: 'layer_norm', applyBDec: false },
  { ...base, normalise: 'constant_norm_rescale', rescale: false, applyBDec: false },
  { ...base, dead: 1, normalise: 'constant_norm_rescale', compatibility: 'saelens-6.18', applyBDec: false },
  { ...base, dead: 0, normalise: 'layer_norm' },
  { ...base, dead: 60, rescale: false, compatibility: 'saelens-6.18' }, // all
  { ...base, rows: 1, k: 1 },
  { ...base, rows: 70, dIn: 2, dSae: 7, k: 7, dead: 4 },
  { ...base, adapter: 'images' },
  // Few rows: a software adapter pays for the wide workgroups of the top-k for hardware.
  { ...base, rows: 3, adapter: 'hardware' },
  { ...base, rows: 2, adapter: 'hardware', dead: 3, rescale: false, compatibility: 'saelens-6.18', normalise: 'layer_norm' },
  { ...base, rows: 40, dIn: 29, dSae: 131, k: 17, dead: 50, normalise: 'layer_norm', rescale: false },
];

const double = (numbers: Float32Array): Float64Array => Float64Array.from(numbers);

/** Records one step on the GPU; its gradients and losses. */
async function gpuStep(gpu: Gpu, shape: Shape, weights: Weights, frames: Float32Array, centre: Float32Array, scale: number, dead: readonly number[], mayBeDead: boolean) {
  const { dIn, dSae, k, rows, rescale, applyBDec, normalise, compatibility } = shape;
  const config = topkConfig({ d_in: dIn, d_sae: dSae, k, rescale_acts_by_decoder_norm: rescale, apply_b_dec_to_input: applyBDec, normalize_activations: normalise, aux_loss_coefficient: 0.7 });
  const batch = rows + 3; // a batch may be smaller than what was allocated
  const inputs = { frames: gpu.tensor({ label: 'frames', dtype: 'f32', rows: batch, columns: dIn }), centre: gpu.tensor({ label: 'centre', dtype: 'f32', rows: 1, columns: dIn }) };
  const state = { dead: gpu.tensor({ label: 'dead', dtype: 'u32', rows: 1, columns: dSae + 1 }), flags: gpu.tensor({ label: 'flags', dtype: 'u32', rows: 1, columns: 1 }) };
  const form = topk.train!({ gpu, config, batch, inputs, state, compatibility });
  try {
    gpu.upload(inputs.frames, frames);
    gpu.upload(inputs.centre, centre);
    gpu.upload(state.dead, Uint32Array.of(dead.length, ...dead, ...new Uint32Array(dSae - dead.length)));
    for (const { name, value } of form.parameters) gpu.upload(value, weights[name]!);
    const rec = gpu.record();
    form.record(rec, { rows, scale, targetScale: 1, mayBeDead, time: 0, coefficients: {} });
    rec.submit();
    const gradients: Record<string, Float32Array> = {};
    for (const { name, gradient } of form.parameters) gradients[name] = await gpu.downloadFloats(gradient);
    const stats = await gpu.downloadFloats(form.results.stats), lossRows = await gpu.downloadFloats(form.results.lossRows);
    const mean = (values: Float32Array, stride: number, column = 0): number => values.subarray(0, rows * stride).reduce((sum, value, j) => (j % stride === column ? sum + value / rows : sum), 0);
    return {
      gradients,
      losses: { mse_loss: mean(stats, 4), auxiliary_reconstruction_loss: mayBeDead ? mean(lossRows, 1) : 0 },
      explained: [1 - mean(stats, 4) / mean(stats, 4, 1), 1 - mean(stats, 4, 2)],
      counts: await gpu.downloadIntegers(form.results.counts),
      flags: await gpu.downloadIntegers(state.flags),
    };
  } finally {
    form.dispose();
    for (const tensor of [...Object.values(inputs), ...Object.values(state)]) gpu.free(tensor);
  }
}

/** Draws a step whose selection no rounding changes, as the oracle and as the GPU take it. */
function drawStep(random: RandomStream, shape: Shape) {
  const { rows, dIn, dSae } = shape;
  const dead = [...random.permutation(dSae).subarray(0, shape.dead).sort()];
  const weights = randomTopk(random, shape);
  const centre = normals(random, dIn), scale = Math.fround(0.4 + random.uniform());
  const transform = (frame: Float32Array): Float64Array => double(frame).map((value, d) => (value - centre[d]) * scale);
  const frames = decidedFrames(random, shape, weights, rows, transform, dead);
  const x = Float64Array.from({ length: rows * dIn }, (_, j) => (frames[j] - centre[j % dIn]) * scale);
  return { dead, weights, centre, scale, frames, x };
}

/**
 * A gradient is a sum over the batch of products whose factors are sums over d_in (pre-activation, dz) and over k or k_aux (reconstruction).
 * Every term passes through at most so many roundings of relative size 2^-23; over a whole tensor, which is compared in the Euclidean
 * norm, the bound is not reached, and what cancels in single elements does not count.
 */
function tolerance({ rows, dIn, k }: Shape): number {
  const fewest = 50; // small problems average over little
  return 2 ** -23 * Math.max(fewest, 2 * dIn + Math.max(k, dIn / 2) + rows + 10);
}

const steps: Case = fuzzed('losses and gradients of a whole TopK step are those of the oracle', shapes, async (gpu, random, shape) => {
  const { rows, dIn, dSae, k, rescale, applyBDec, normalise, compatibility } = shape;
  const { dead, weights, centre, scale, frames, x } = drawStep(random, shape);
  const found = await gpuStep(gpu, shape, weights, frames, centre, scale, dead, true);
  const config: TopkTrainingConfig = {
    dIn, dSae, k, applyBDecToInput: applyBDec, normalizeActivations: normalise, rescaleActsByDecoderNorm: rescale, auxLossCoefficient: 0.7, compatibility,
  };
  const isDead = Uint8Array.from({ length: dSae }, (_, i) => (dead.includes(i) ? 1 : 0));
  const parameters: Tensors = { W_enc: double(weights.W_enc), W_dec: double(weights.W_dec), b_enc: double(weights.b_enc), b_dec: double(weights.b_dec) };
  const expected = topkPass(parameters, x, config, { dead: isDead, coefficients: {} });

  const allowed = tolerance(shape);
  const near = (deviation: number, size: number, what: string): void => ok(deviation <= allowed * size, `${what} deviates by ${(deviation / size).toExponential(2)} of its size, more than ${allowed.toExponential(2)}`);
  for (const [name, loss] of Object.entries(found.losses)) near(Math.abs(loss - expected.losses[name]), expected.losses[name], name);
  for (const [name, gradient] of Object.entries(expected.gradients)) {
    const difference = gradient.map((value, j) => value - found.gradients[name][j]);
    near(globalNorm({ difference }), globalNorm({ gradient }), `the gradient of ${name}`);
  }
  const squares = found.gradients['b_enc'].subarray(padded(dSae), padded(dSae) + dSae);
  const norm = Math.sqrt(squares.reduce((sum, value) => sum + value, 0) + globalNorm({ b_dec: double(found.gradients['b_dec']) }) ** 2);
  near(Math.abs(norm - globalNorm(expected.gradients)), globalNorm(expected.gradients), 'the global gradient norm');
  // One frame has no spread to explain.
  if (rows > 1) [explainedVariance(x, expected.out, dIn), explainedVarianceLegacy(x, expected.out, dIn)].forEach((value, n) => near(Math.abs(found.explained[n] - value), 1 + Math.abs(value), 'explained variance'));
  sameBits(found.counts, Uint32Array.from(columnSums(expected.featureActs.map((f) => (f !== 0 ? 1 : 0)), rows, dSae)), 'rows in which each latent fired');
  ok(found.flags[0] === 0, 'nothing is flagged');
});

const withoutDead: Case = fuzzed('with no dead latent the auxiliary loss is zero and leaves the gradients as they are', shapes.slice(0, 2).map((shape) => ({ ...shape, dead: 0 })), async (gpu, random, shape) => {
  const { weights, centre, scale, frames } = drawStep(random, shape);
  const without = await gpuStep(gpu, shape, weights, frames, centre, scale, [], false);
  const withAuxiliary = await gpuStep(gpu, shape, weights, frames, centre, scale, [], true);
  ok(withAuxiliary.losses.auxiliary_reconstruction_loss === 0, 'the auxiliary loss is zero');
  for (const [name, gradient] of Object.entries(without.gradients)) sameBits(new Uint32Array(withAuxiliary.gradients[name].buffer), new Uint32Array(gradient.buffer), `gradient of ${name}`);
});

export const cases: Case[] = [steps, withoutDead];
