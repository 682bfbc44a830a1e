/** Random TopK SAEs, and frames on which float32 and float64 keep the same latents. */
import type { RandomStream } from '../../src/random.ts';
import type { Compatibility, Weights } from '../../src/sae/index.ts';
import { decoderNorms, encoderInput, preActivations, type Tensors } from '../oracle/linear.ts';
import type { Normalization } from '../oracle/normalize.ts';
import { normals } from './kernels.ts';

export interface Problem {
  dIn: number;
  dSae: number;
  k: number;
  rescale: boolean;
  applyBDec: boolean;
  normalise: Exclude<Normalization, 'expected_average_only_in'>;
  compatibility: Compatibility;
}

/** What SAEs with one encoder and one bias have. */
export type LinearWeights = Weights & Required<Pick<Weights, 'W_enc' | 'b_enc'>>;

/** Weights of which no latent dominates; the biases are large enough to matter. */
export function randomTopk(random: RandomStream, { dIn, dSae }: Pick<Problem, 'dIn' | 'dSae'>): LinearWeights {
  const scale = 1 / Math.sqrt(dIn);
  return { W_enc: normals(random, dSae * dIn, scale), W_dec: normals(random, dSae * dIn, scale), b_enc: normals(random, dSae, 0.3), b_dec: normals(random, dIn, 0.3) };
}

/** Far more than rounding moves a pre-activation of order one: a thousand roundings. */
const margin = 1000 * 2 ** -23;

/**
 * Frames [rows, dIn], each drawn again until the best k scores, the best d_in / 2 among the dead and the signs of what is kept are clear
 * by a margin. `transform` makes of a frame what the SAE sees.
 */
export function decidedFrames(random: RandomStream, { dIn, dSae, k, rescale, applyBDec, normalise }: Problem, weights: Weights, rows: number,
  transform: (frame: Float32Array) => Float64Array = (frame) => Float64Array.from(frame), dead: readonly number[] = []): Float32Array {
  const config = { dIn, dSae, applyBDecToInput: applyBDec, normalizeActivations: normalise };
  const parameters: Tensors = { W_dec: Float64Array.from(weights.W_dec), b_dec: Float64Array.from(weights.b_dec) };
  const W_enc = Float64Array.from(weights.W_enc!), b_enc = Float64Array.from(weights.b_enc!);
  const norms = rescale ? decoderNorms(parameters, config) : new Float64Array(dSae).fill(1);
  const isClear = (scores: Float64Array, latents: number[], kept: number): boolean => {
    const ranked = latents.map((i) => scores[i]).sort((a, b) => b - a);
    return kept >= ranked.length || ranked[kept - 1] - ranked[kept] > margin;
  };
  const isDecided = (frame: Float32Array): boolean => {
    const h = preActivations(encoderInput(parameters, transform(frame), config).centred, W_enc, b_enc, config);
    const scores = h.map((value, i) => value * norms[i]);
    return isClear(scores, [...scores.keys()], k) && isClear(scores, [...dead], Math.max(1, Math.floor(dIn / 2))) && h.every((value) => Math.abs(value) > margin);
  };
  const frames = new Float32Array(rows * dIn);
  for (let row = 0; row < rows; row++) {
    let frame = normals(random, dIn);
    while (!isDecided(frame)) frame = normals(random, dIn);
    frames.set(frame, row * dIn);
  }
  return frames;
}
