/** Whole steps of the architectures that keep few latents, but for topk itself (step.cases.ts), against the oracle and on a small device. */
import { Gpu } from '../../src/gpu/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { type BaseConfig, saeConfig } from '../../src/sae/index.ts';
import { globalNorm } from '../oracle/adam.ts';
import { batchtopkPass } from '../oracle/batchtopk-sae.ts';
import type { Pass, PassContext, Tensors } from '../oracle/linear.ts';
import { matryoshkaPass } from '../oracle/matryoshka-sae.ts';
import { columnSums } from '../oracle/matrix.ts';
import { abstopkPass, groupmaxPass, topkPass, type TopkTrainingConfig } from '../oracle/topk-sae.ts';
import type { Case } from '../support/case.ts';
import { close, equal, ok } from '../support/check.ts';
import { runStep, type StepOutcome } from '../support/form-step.ts';
import { fuzzed, sameBits } from '../support/kernels.ts';
import { decidedFamilyFrames, type FamilyProblem, kOf, widthsOf } from '../support/topk-family-problem.ts';
import { type LinearWeights, randomTopk } from '../support/topk-problem.ts';

type Shape = FamilyProblem & { rows: number; dead: number; adapter?: 'software' | 'images' | 'hardware' };

const base: Shape = { member: 'batchtopk', rows: 33, dIn: 20, dSae: 60, k: 5.4, dead: 25, rescale: true, applyBDec: true, normalise: 'none', compatibility: 'corrected' };
const nested: Shape = { ...base, member: 'matryoshka_batchtopk', widths: [7, 20, 60] };
const shapes: Shape[] = [
  base,
  { ...base, compatibility: 'saelens-6.18', normalise: 'layer_norm', dead: 3 },
  { ...base, rescale: false, applyBDec: false, normalise: 'constant_norm_rescale', dead: 0 },
  { ...base, rows: 1, k: 0.5, dead: 2 }, // keeps nothing
  { ...base, rows: 3, k: 60, dead: 2 }, // keeps all that is above zero
  { ...base, rows: 7, adapter: 'hardware' },
  { ...base, rows: 40, dIn: 29, dSae: 131, k: 17, dead: 50, normalise: 'layer_norm', rescale: false },
  nested,
  { ...nested, compatibility: 'saelens-6.18', normalise: 'layer_norm', dead: 3 },
  { ...nested, widths: [1, 59, 60], rescale: false, applyBDec: false, normalise: 'constant_norm_rescale' },
  { ...nested, widths: [60], dead: 0 },
  { ...nested, widths: [30], rows: 5, adapter: 'hardware' }, // d_sae is added
  { ...nested, rows: 40, adapter: 'images' },
  { ...nested, perLevel: true },
  { ...nested, perLevel: true, widths: [20, 21, 60], normalise: 'layer_norm', rescale: false, dead: 40 },
  { ...nested, perLevel: true, normalise: 'constant_norm_rescale', applyBDec: false, dead: 2, compatibility: 'saelens-6.18' },
  { ...nested, perLevel: true, rows: 4, adapter: 'hardware' },
  { ...base, member: 'abstopk', k: 5 },
  { ...base, member: 'abstopk', k: 9, rescale: false, normalise: 'layer_norm', dead: 4 },
  { ...base, member: 'abstopk', k: 4, rows: 3, adapter: 'hardware' },
  { ...base, member: 'groupmax', k: 6 },
  { ...base, member: 'groupmax', k: 60, rescale: false, normalise: 'constant_norm_rescale', dead: 7 },
  { ...base, member: 'topk', k: 3, anneal: { start: 20, steps: 10, time: 0 } },
  { ...base, member: 'topk', k: 3, anneal: { start: 20.4, steps: 7, time: 5 } },
  { ...base, member: 'topk', k: 3, anneal: { start: 20, steps: 10, time: 10 } },
  { ...base, member: 'topk', k: 3, rows: 3, adapter: 'hardware', anneal: { start: 30, steps: 10, time: 4 } },
  { ...base, anneal: { start: 21.3, steps: 10, time: 3 } },
  { ...nested, anneal: { start: 31, steps: 10, time: 20 } },
];

const double = (numbers: Float32Array): Float64Array => Float64Array.from(numbers);

function configOf(shape: Shape): BaseConfig {
  const { member, dIn, dSae, k, rescale, applyBDec, normalise, widths, perLevel = false, anneal } = shape;
  return saeConfig<BaseConfig & Record<string, unknown>>({
    architecture: member === 'groupmax' ? 'topk' : member, d_in: dIn, d_sae: dSae, k, rescale_acts_by_decoder_norm: rescale, apply_b_dec_to_input: applyBDec,
    normalize_activations: normalise, aux_loss_coefficient: 0.7, ...(member === 'groupmax' ? { activation: 'groupmax' } : {}),
    ...(widths ? { matryoshka_widths: widths, use_matryoshka_aux_loss: perLevel } : {}), ...(anneal ? { k_anneal_start: anneal.start, k_anneal_steps: anneal.steps } : {}),
  });
}

function oracle(shape: Shape, parameters: Tensors, x: Float64Array, context: PassContext): Pass {
  const { member, dIn, dSae, rescale, applyBDec, normalise, compatibility, perLevel = false } = shape;
  const config: TopkTrainingConfig = {
    dIn, dSae, k: kOf(shape), applyBDecToInput: applyBDec, normalizeActivations: normalise, rescaleActsByDecoderNorm: rescale, auxLossCoefficient: 0.7, compatibility, auxiliaryPerLevel: perLevel,
  };
  switch (member) {
    case 'topk': return topkPass(parameters, x, config, context);
    case 'groupmax': return groupmaxPass(parameters, x, config, context);
    case 'abstopk': return abstopkPass(parameters, x, config, context);
    case 'batchtopk': return batchtopkPass(parameters, x, config, context);
    case 'matryoshka_batchtopk': return matryoshkaPass(parameters, x, { ...config, matryoshkaWidths: widthsOf(shape) }, context);
  }
}

function draw(random: RandomStream, shape: Shape): { weights: LinearWeights; dead: number[]; frames: Float32Array } {
  const dead = [...random.permutation(shape.dSae).subarray(0, shape.dead).sort()];
  const weights = randomTopk(random, shape);
  return { weights, dead, frames: decidedFamilyFrames(random, shape, weights, shape.rows, { dead }) };
}

/** See step.cases.ts; inner levels add up. */
function tolerance(shape: Shape): number {
  const { rows, dIn, dSae } = shape;
  return 2 ** -23 * widthsOf(shape).length * Math.max(50, 2 * dIn + Math.max(Math.min(2 * kOf(shape), dSae), dIn / 2) + rows + 10);
}

const steps: Case = fuzzed('losses and gradients of a whole step of the TopK family are those of the oracle', shapes, async (gpu, random, shape) => {
  const { rows, dIn, dSae, compatibility, anneal } = shape;
  const { weights, dead, frames } = draw(random, shape);
  const found = await runStep(gpu, { config: configOf(shape), weights, frames, batch: rows + 3, dead, compatibility, time: anneal?.time ?? 0 });
  const parameters: Tensors = { W_enc: double(weights.W_enc), W_dec: double(weights.W_dec), b_enc: double(weights.b_enc), b_dec: double(weights.b_dec) };
  const expected = oracle(shape, parameters, double(frames), { dead: Uint8Array.from({ length: dSae }, (_, i) => (dead.includes(i) ? 1 : 0)), coefficients: {} });

  const allowed = tolerance(shape);
  const near = (deviation: number, size: number, what: string): void => ok(deviation <= allowed * size, `${what} deviates by ${(deviation / size).toExponential(2)} of its size, more than ${allowed.toExponential(2)}`);
  equal(Object.keys(found.losses).sort().join(), Object.keys(expected.losses).sort().join(), 'losses');
  for (const [name, loss] of Object.entries(found.losses)) near(Math.abs(loss - expected.losses[name]), expected.losses[name], name);
  for (const [name, gradient] of Object.entries(expected.gradients)) {
    const difference = gradient.map((value, j) => value - found.gradients[name as 'W_dec']![j]);
    near(globalNorm({ difference }), Math.max(globalNorm({ gradient }), Number.MIN_VALUE), `the gradient of ${name}`);
  }
  near(Math.abs(found.gradientNorm - globalNorm(expected.gradients)), globalNorm(expected.gradients), 'the global gradient norm');
  const active = expected.featureActs.map((f) => (f !== 0 ? 1 : 0));
  sameBits(found.counts, Uint32Array.from(columnSums(active, rows, dSae)), 'rows in which each latent fired');
  close(Array.from({ length: rows }, (_, row) => found.stats[4 * row + 3]), Array.from({ length: rows }, (_, row) => active.subarray(row * dSae, (row + 1) * dSae).reduce((sum, one) => sum + one, 0)), {}, 'active latents of each row');
  equal(found.smallest !== undefined, /batch/.test(shape.member), 'a smallest activation');
  if (found.smallest !== undefined) close([found.smallest], [expected.featureActs.reduce((least, f) => (f > 0 && f < least ? f : least), Infinity)], { relative: (dIn + 10) * 2 ** -20 }, 'the smallest activation');
  equal(found.flags, 0, 'flags');
});

const onSmallDevice: Case = {
  name: 'steps of nested levels leave the same bits with weights in four shards and four rows of pre-activations at a time',
  async run(gpu) {
    // Weights take 48 bytes a latent, pre-activations 2000 bytes a row, the histogram 8192 bytes.
    const small = await Gpu.open({ maxBindingBytes: 8448 });
    try {
      await fuzzed('', [false, true].map((perLevel): Shape => ({ ...nested, perLevel, widths: [100, 130, 500], dIn: 9, dSae: 500, rows: 30, dead: 200 })), async (_, random, shape) => {
        const { weights, dead, frames } = draw(random, shape);
        const problem = { config: configOf(shape), weights, frames, dead, batch: 40 };
        const whole = await runStep(gpu, problem), cut = await runStep(small, problem);
        equal(`${whole.shards} ${cut.shards}`, '1 4', 'shards');
        const bits = ({ gradients, losses, smallest }: StepOutcome): Uint32Array[] => [...Object.values(gradients).map((gradient) => new Uint32Array(gradient.slice().buffer)), new Uint32Array(Float64Array.of(...Object.values(losses), smallest ?? 0).buffer)];
        bits(cut).forEach((words, n) => sameBits(words, bits(whole)[n], `number ${n}`));
      }).run(gpu);
    } finally {
      small.dispose();
    }
  },
};

const notFinite: Case = fuzzed('a frame that is not finite is flagged', (['batchtopk', 'abstopk', 'groupmax'] as const).map((member): Shape => ({ ...base, member, k: 5 })), async (gpu, random, shape) => {
  const { weights, dead, frames } = draw(random, shape);
  frames[7] = NaN;
  equal((await runStep(gpu, { config: configOf(shape), weights, frames, dead })).flags, 1, 'flags');
});

export const cases: Case[] = [steps, onSmallDevice, notFinite];
