/** Problems of the TopK family, and frames on which float32 and float64 keep the same latents. */
import type { RandomStream } from '../../src/random.ts';
import { decoderNorms, encoderInput, preActivations, type Tensors } from '../oracle/linear.ts';
import { annealedK } from '../oracle/topk-sae.ts';
import { normals } from './kernels.ts';
import type { LinearWeights, Problem } from './topk-problem.ts';

export interface FamilyProblem extends Problem {
  member: 'topk' | 'groupmax' | 'abstopk' | 'batchtopk' | 'matryoshka_batchtopk';
  /** Of nested levels; d_sae is added. */
  widths?: number[];
  /** Auxiliary losses of levels. */
  perLevel?: boolean;
  anneal?: { start: number; steps: number; time: number };
}

/** k of the step. */
export function kOf({ member, k, anneal }: FamilyProblem): number {
  const now = anneal ? annealedK(k, anneal.start, anneal.steps, anneal.time) : k;
  return member === 'topk' ? Math.round(now) : now;
}

export function widthsOf({ widths = [], dSae }: FamilyProblem): number[] {
  return widths.at(-1) === dSae ? widths : [...widths, dSae];
}

/** Far more than rounding moves a pre-activation of order one. */
const margin = 1000 * 2 ** -23;

/** Whether the best `kept` of the scores are clear of the others. */
function isClear(scores: number[], kept: number): boolean {
  const ranked = scores.sort((a, b) => b - a);
  return kept < 1 || kept >= ranked.length || ranked[kept - 1]! - ranked[kept]! > margin;
}

/**
 * Frames [rows, d_in], each drawn again until its own selections and the signs of its pre-activations are clear by a margin, and all of them until
 * the batch's selection is. `transform` makes of a frame what the SAE sees.
 */
export function decidedFamilyFrames(random: RandomStream, problem: FamilyProblem, weights: LinearWeights, rows: number,
  { dead = [], transform = (frame) => Float64Array.from(frame) }: { dead?: readonly number[]; transform?: (frame: Float32Array) => Float64Array } = {}): Float32Array {
  const { member, dIn, dSae, rescale, applyBDec, normalise, perLevel } = problem;
  const config = { dIn, dSae, applyBDecToInput: applyBDec, normalizeActivations: normalise };
  const parameters: Tensors = { W_dec: Float64Array.from(weights.W_dec), b_dec: Float64Array.from(weights.b_dec) };
  const W_enc = Float64Array.from(weights.W_enc), b_enc = Float64Array.from(weights.b_enc);
  const norms = rescale ? decoderNorms(parameters, config) : new Float64Array(dSae).fill(1);
  const k = kOf(problem), widths = widthsOf(problem), ofBatch = member === 'batchtopk' || member === 'matryoshka_batchtopk';
  const latents = Array.from({ length: dSae }, (_, i) => i);
  // What is selected among what: for a row itself, and for its auxiliary losses.
  const own = ofBatch ? [] : member === 'groupmax' ? latents.slice(0, k).map((j) => ({ kept: 1, among: latents.slice((j * dSae) / k, ((j + 1) * dSae) / k) })) : [{ kept: k, among: latents }];
  const lists = perLevel ? widths.map((width, l) => dead.filter((i) => i < width && i >= (widths[l - 1] ?? 0))) : [dead];
  const selections = [...own, ...lists.map((among) => ({ kept: Math.floor(dIn / 2), among }))];

  for (;;) {
    const frames = new Float32Array(rows * dIn), batchScores: number[] = [];
    for (let row = 0; row < rows;) {
      const frame = normals(random, dIn);
      const h = preActivations(encoderInput(parameters, transform(frame), config).centred, W_enc, b_enc, config);
      const scores = h.map((value, i) => (member === 'abstopk' ? Math.abs(value) : value) * norms[i]!);
      if (h.some((value) => Math.abs(value) <= margin) || !selections.every(({ kept, among }) => isClear(among.map((i) => scores[i]!), kept))) continue;
      frames.set(frame, row++ * dIn);
      if (ofBatch) batchScores.push(...scores.map((score) => Math.max(score, 0)));
    }
    if (isClear(batchScores, Math.floor(k * rows))) return frames;
  }
}
