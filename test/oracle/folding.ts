/**
 * Rewriting an SAE so that it computes the same on other units. All functions return new tensors. They know the
 * biases b_enc (or b_gate and b_mag) and `threshold`, in the linear space of pre-activations.
 */

import { rowNorms } from './matrix.ts';
import type { Tensors } from './linear.ts';

const pick = (tensors: Tensors, names: string[]) => names.filter((name) => name in tensors);

export interface CentreScale {
  /** [dIn] */
  mean: Float64Array;
  scale: number;
  /** Whether the SAE subtracts b_dec from its input. */
  applyBDecToInput: boolean;
}

/**
 * An SAE on (x - mean) scale becomes one on x with the same pre-activations and out = out' / scale + mean:
 * W_enc' = scale W_enc, W_dec' = W_dec / scale, b_dec' = b_dec / scale + mean. The mean is taken off by b_dec' where
 * that is applied to the input; otherwise bias' = bias - W_enc' mean (for b_mag with W_enc' exp(r_mag)).
 */
export function foldCentreScale(tensors: Tensors, { mean, scale, applyBDecToInput }: CentreScale): Tensors {
  const dIn = mean.length;
  const folded: Tensors = {
    ...tensors,
    W_enc: tensors.W_enc.map((w) => w * scale),
    W_dec: tensors.W_dec.map((w) => w / scale),
    b_dec: tensors.b_dec.map((b, d) => b / scale + mean[d]),
  };
  if (!applyBDecToInput) {
    for (const name of pick(tensors, ['b_enc', 'b_gate', 'b_mag'])) {
      folded[name] = tensors[name].map((b, i) => {
        const row = folded.W_enc.subarray(i * dIn, (i + 1) * dIn);
        const dot = row.reduce((sum, w, d) => sum + w * mean[d], 0);
        return b - dot * (name === 'b_mag' ? Math.exp(tensors.r_mag[i]) : 1);
      });
    }
  }
  return folded;
}

/**
 * Unit decoder rows: n_i = max(||W_dec_i||, 1e-8); W_dec_i / n_i, and W_enc_i, biases and threshold times n_i, so that
 * activations grow by n_i and the reconstruction stays.
 */
export function foldDecoderNorms(tensors: Tensors, dIn: number): Tensors {
  const norms = rowNorms(tensors.W_dec, tensors.W_dec.length / dIn, dIn).map((norm) => Math.max(norm, 1e-8));
  const folded: Tensors = {
    ...tensors,
    W_enc: tensors.W_enc.map((w, j) => w * norms[Math.floor(j / dIn)]),
    W_dec: tensors.W_dec.map((w, j) => w / norms[Math.floor(j / dIn)]),
  };
  for (const name of pick(tensors, ['b_enc', 'b_gate', 'b_mag', 'threshold'])) {
    folded[name] = tensors[name].map((value, i) => value * norms[i]);
  }
  return folded;
}

/**
 * A trained BatchTopK SAE as a JumpReLU SAE: decoder norms folded (when activations are rescaled by them) and the
 * running threshold, which is in those units already, for every latent. A scale folded before this has divided the
 * norms, so a threshold that bounds rescaled activations must be divided, too (SAELens 6.18 leaves it); folding the
 * scale afterwards needs no such care.
 */
export function batchtopkToJumprelu(tensors: Tensors, topkThreshold: number, dIn: number, rescaleActsByDecoderNorm: boolean): Tensors {
  const folded = rescaleActsByDecoderNorm ? foldDecoderNorms(tensors, dIn) : tensors;
  return { ...folded, threshold: new Float64Array(tensors.b_enc.length).fill(topkThreshold) };
}
