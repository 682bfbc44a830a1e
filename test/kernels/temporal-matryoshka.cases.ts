import { Gpu } from '../../src/gpu/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { saeConfig } from '../../src/sae/index.ts';
import type { TemporalMatryoshkaConfig } from '../../src/sae/architectures/temporal-matryoshka.ts';
import { globalNorm } from '../oracle/adam.ts';
import { decoderNorms, encoderInput, preActivations, type Tensors } from '../oracle/linear.ts';
import { columnSums } from '../oracle/matrix.ts';
import { temporalMatryoshkaPass, type TemporalMatryoshkaConfig as OracleConfig } from '../oracle/temporal-matryoshka-sae.ts';
import type { Case } from '../support/case.ts';
import { equal, ok } from '../support/check.ts';
import { runStep } from '../support/form-step.ts';
import { fuzzed, normals, sameBits } from '../support/kernels.ts';
import { type LinearWeights, randomTopk } from '../support/topk-problem.ts';

interface Shape {
  adapter?: 'software' | 'hardware' | undefined;
  rows: number;
  dIn: number;
  dSae: number;
  k: number;
  dead: number;
  fraction: number;
  similarity: 'cosine' | 'inner_product';
  rescale: boolean;
  applyBDec: boolean;
  normalise: 'none' | 'layer_norm' | 'constant_norm_rescale';
}

const base: Shape = { adapter: 'software', rows: 33, dIn: 20, dSae: 60, k: 5, dead: 25, fraction: 0.2, similarity: 'cosine', rescale: true, applyBDec: true, normalise: 'none' };
const shapes: Shape[] = [
  base,
  { ...base, similarity: 'inner_product', dead: 0 },
  { ...base, rescale: false, normalise: 'layer_norm', fraction: 0.9, dead: 3 },
  { ...base, applyBDec: false, k: 2.5, similarity: 'inner_product', normalise: 'constant_norm_rescale', dead: 0 },
  { ...base, rows: 1, dead: 0 },
  { ...base, rows: 3, adapter: 'hardware', fraction: 0.5 },
  { ...base, rows: 40, dIn: 29, dSae: 131, k: 17, dead: 50, fraction: 0.35 },
];

const parametersOf = (weights: LinearWeights): Tensors => Object.fromEntries((['W_enc', 'W_dec', 'b_enc', 'b_dec'] as const).map((name) => [name, Float64Array.from(weights[name])]));

function configs({ dIn, dSae, k, fraction, similarity, rescale, applyBDec, normalise }: Shape) {
  const config = saeConfig<TemporalMatryoshkaConfig>({
    architecture: 'temporal_matryoshka_batchtopk', d_in: dIn, d_sae: dSae, k, high_level_fraction: fraction, contrastive_similarity: similarity, contrastive_coefficient: 3,
    rescale_acts_by_decoder_norm: rescale, apply_b_dec_to_input: applyBDec, normalize_activations: normalise, aux_loss_coefficient: 0.7,
  });
  const oracle: OracleConfig = {
    dIn, dSae, k, highLevel: Math.floor(fraction * dSae), similarity, contrastiveCoefficient: 3, rescaleActsByDecoderNorm: rescale, applyBDecToInput: applyBDec,
    normalizeActivations: normalise, auxLossCoefficient: 0.7, compatibility: 'corrected',
  };
  return { config, oracle };
}

/** A step and its transformed frames, whose selections no rounding changes. */
function drawStep(random: RandomStream, shape: Shape) {
  const { rows, dIn, dSae, k } = shape;
  const { oracle } = configs(shape);
  const weights = randomTopk(random, shape);
  const dead = [...random.permutation(dSae).subarray(0, shape.dead).sort()];
  const input = { mean: normals(random, dIn), scale: Math.fround(0.4 + random.uniform()) };
  const seen = (frames: Float32Array): Float64Array => Float64Array.from(frames, (value, j) => (value - input.mean[j % dIn]) * input.scale);
  const margin = 1000 * 2 ** -23;
  const parameters = parametersOf(weights);
  const norms = shape.rescale ? decoderNorms(parameters, oracle) : new Float64Array(dSae).fill(1);
  const isClear = (scores: readonly number[], kept: number): boolean => {
    const ranked = [...scores].sort((a, b) => b - a);
    return kept === 0 || kept >= ranked.length || ranked[kept - 1] - ranked[kept] > margin;
  };
  const isDecided = (frames: Float32Array): boolean => {
    const scores = preActivations(encoderInput(parameters, seen(frames), oracle).centred, parameters['W_enc'], parameters['b_enc'], oracle).map((value, j) => value * norms[j % dSae]);
    return isClear([...scores], Math.floor(k * rows))
      && Array.from({ length: rows }, (_, row) => isClear(dead.map((i) => scores[row * dSae + i]), Math.floor(dIn / 2))).every(Boolean);
  };
  for (;;) {
    const previous = normals(random, rows * dIn);
    const frames = previous.map((value) => value + 0.5 * random.normal());
    if (isDecided(frames) && isDecided(previous)) return { weights, dead, input, frames, previous, x: seen(frames), before: seen(previous), oracle, parameters };
  }
}

const steps: Case = fuzzed('losses and gradients of a whole T-SAE step are those of the oracle', shapes, async (gpu, random, shape) => {
  const { rows, dIn, dSae, k } = shape;
  const { weights, dead, input, frames, previous, x, before, oracle, parameters } = drawStep(random, shape);
  const found = await runStep(gpu, { config: configs(shape).config, weights, frames, previous, input, dead, batch: rows + 3 });
  const expected = temporalMatryoshkaPass(parameters, x, before, oracle, { dead: Uint8Array.from({ length: dSae }, (_, i) => (dead.includes(i) ? 1 : 0)), coefficients: {} });

  // As for a TopK step (step.cases.ts), and the contrastive loss sums over the batch once more.
  const allowed = 2 ** -23 * Math.max(50, 2 * dIn + Math.max(k, dIn / 2) + 3 * rows + 20);
  const near = (deviation: number, size: number, what: string): void => ok(deviation <= allowed * size, `${what} deviates by ${(deviation / size).toExponential(2)} of its size, more than ${allowed.toExponential(2)}`);
  equal(Object.keys(found.losses).sort().join(), Object.keys(expected.losses).sort().join(), 'losses');
  for (const [name, loss] of Object.entries(found.losses)) near(Math.abs(loss - expected.losses[name]), Math.max(Math.abs(expected.losses[name]), 1e-3), name);
  for (const name of ['W_enc', 'W_dec', 'b_enc', 'b_dec'] as const) {
    const gradient = expected.gradients[name];
    near(globalNorm({ difference: gradient.map((value, j) => value - found.gradients[name]![j]) }), globalNorm({ gradient }), `the gradient of ${name}`);
  }
  near(Math.abs(found.gradientNorm - globalNorm(expected.gradients)), globalNorm(expected.gradients), 'the global gradient norm');
  sameBits(found.counts, Uint32Array.from(columnSums(expected.featureActs.map((f) => (f !== 0 ? 1 : 0)), rows, dSae)), 'rows in which each latent fired');
  equal(found.flags, 0, 'flags');
});

const sharded: Case = {
  name: 'with weights in shards and pre-activations in chunks a T-SAE step gives the same bits',
  async run(gpu) {
    const small = await Gpu.open({ maxBindingBytes: 24 * 1024 }); // 400 latents of d_in 20 take 32
    try {
      await fuzzed('', [{ ...base, adapter: undefined, dSae: 400, rows: 24, dead: 0 }], async (_, random, shape) => {
        const { weights, input, frames, previous } = drawStep(random, shape);
        const problem = { config: configs(shape).config, weights, frames, previous, input };
        const [whole, cut] = [await runStep(gpu, problem), await runStep(small, problem)];
        ok(whole.shards === 1 && cut.shards > 1, 'one is in shards');
        for (const name of ['W_enc', 'W_dec', 'b_enc', 'b_dec'] as const) sameBits(new Uint32Array(cut.gradients[name]!.slice().buffer), new Uint32Array(whole.gradients[name]!.slice().buffer), `the gradient of ${name}`);
        equal(cut.losses['temporal_contrastive_loss'], whole.losses['temporal_contrastive_loss'], 'contrastive loss');
      }).run(small);
    } finally {
      small.dispose();
    }
  },
};

const afterAnother: Case = fuzzed('nothing of a T-SAE step reaches the next one', [{ ...base, dead: 0 }], async (gpu, random, shape) => {
  const { weights, input, frames, previous } = drawStep(random, shape);
  const problem = { config: configs(shape).config, weights, frames, previous, input };
  const alone = await runStep(gpu, problem);
  const after = await runStep(gpu, { ...problem, earlier: { frames: frames.map((value) => -value), previous: frames } });
  for (const name of ['W_enc', 'W_dec', 'b_enc', 'b_dec'] as const) {
    sameBits(new Uint32Array(after.gradients[name]!.slice().buffer), new Uint32Array(alone.gradients[name]!.slice().buffer), `the gradient of ${name}`);
  }
  equal(after.losses['temporal_contrastive_loss'], alone.losses['temporal_contrastive_loss'], 'contrastive loss');
});

const notFinite: Case = fuzzed('a frame before that is not finite is flagged', [{ ...base, dead: 0 }], async (gpu, random, shape) => {
  const { weights, input, frames, previous } = drawStep(random, shape);
  previous[7] = NaN;
  equal((await runStep(gpu, { config: configs(shape).config, weights, frames, previous, input })).flags, 1, 'flags');
});

export const cases: Case[] = [steps, sharded, afterAnother, notFinite];
