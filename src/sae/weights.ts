/**
 * An SAE's parameters in host memory, latent-major as on the GPU: W_enc and W_dec are both [d_sae, d_in], row i being
 * latent i. Files keep W_enc as [d_in, d_sae]; the transposition happens here and nowhere else.
 */
import { CochleaError } from '../errors.ts';
import type { SaelensTensor } from '../formats/index.ts';

export interface Weights {
  W_enc: Float32Array;
  W_dec: Float32Array;
  b_enc: Float32Array;
  b_dec: Float32Array;
  /** JumpReLU's thresholds; none for other architectures. */
  threshold?: Float32Array;
}

/** [rows, columns] to [columns, rows], in blocks that stay in cache. */
export function transpose(matrix: ArrayLike<number>, rows: number, columns: number): Float32Array {
  const result = new Float32Array(rows * columns);
  const block = 32;
  for (let r0 = 0; r0 < rows; r0 += block) {
    for (let c0 = 0; c0 < columns; c0 += block) {
      const r1 = Math.min(r0 + block, rows), c1 = Math.min(c0 + block, columns);
      for (let c = c0; c < c1; c++) {
        for (let r = r0; r < r1; r++) result[c * rows + r] = matrix[r * columns + c]!;
      }
    }
  }
  return result;
}

/** Weights of a SAELens file's tensors. */
export function weightsFromTensors(tensors: ReadonlyMap<string, SaelensTensor>): Weights {
  const take = (name: string): SaelensTensor => {
    const tensor = tensors.get(name);
    if (!tensor) throw new CochleaError('file-damaged', `the SAE has no tensor ${name}`);
    return tensor;
  };
  const floats = (name: string): Float32Array => Float32Array.from(take(name).data);
  const W_enc = take('W_enc');
  const weights: Weights = {
    W_enc: transpose(W_enc.data, W_enc.shape[0]!, W_enc.shape[1]!),
    W_dec: floats('W_dec'), b_enc: floats('b_enc'), b_dec: floats('b_dec'),
  };
  if (tensors.has('threshold')) weights.threshold = floats('threshold');
  return weights;
}

/** The tensors of a SAELens file. */
export function tensorsFromWeights(weights: Weights): Map<string, SaelensTensor> {
  const dSae = weights.b_enc.length, dIn = weights.b_dec.length;
  const tensors = new Map<string, SaelensTensor>([
    ['W_enc', { shape: [dIn, dSae], data: transpose(weights.W_enc, dSae, dIn) }],
    ['W_dec', { shape: [dSae, dIn], data: weights.W_dec }],
    ['b_enc', { shape: [dSae], data: weights.b_enc }],
    ['b_dec', { shape: [dIn], data: weights.b_dec }],
  ]);
  if (weights.threshold) tensors.set('threshold', { shape: [dSae], data: weights.threshold });
  return tensors;
}

/**
 * Folds x' = (x - mean) * scale into the weights, so that the SAE takes and gives raw frames x. Pre-activations
 * do not change:
 *
 *   W_enc' = scale W_enc,   W_dec' = W_dec / scale,   b_dec' = b_dec / scale + mean
 *   b_enc' = b_enc - scale W_enc mean      where b_dec is not subtracted from the input; else b_enc
 *
 * Decoder norms become norms / scale: folding those in afterwards gives activations 1 / scale times the trained ones.
 * Computed in float64.
 */
export function foldInputTransform(weights: Weights, mean: ArrayLike<number>, scale: number, applyBDecToInput: boolean): Weights {
  const dIn = weights.b_dec.length, dSae = weights.b_enc.length;
  const b_enc = Float32Array.from(weights.b_enc);
  if (!applyBDecToInput) {
    for (let i = 0; i < dSae; i++) {
      let shift = 0;
      for (let d = 0; d < dIn; d++) shift += weights.W_enc[i * dIn + d]! * mean[d]!;
      b_enc[i] = weights.b_enc[i]! - scale * shift;
    }
  }
  return {
    ...weights, b_enc,
    W_enc: weights.W_enc.map((value) => value * scale),
    W_dec: weights.W_dec.map((value) => value / scale),
    b_dec: weights.b_dec.map((value, d) => value / scale + mean[d]!),
  };
}

/**
 * Gives every decoder row unit length and the encoder row the length it had: f_i = h_i |W_dec_i| (SAELens fold_W_dec_norm). Norms are kept
 * from zero by 1e-8, as SAELens does since 6.22.3.
 */
export function foldDecoderNorms(weights: Weights): Weights {
  const dIn = weights.b_dec.length;
  const norms = decoderNorms(weights);
  const byRow = (matrix: Float32Array, factor: (norm: number) => number): Float32Array =>
    matrix.map((value, at) => value * factor(norms[Math.floor(at / dIn)]!));
  const folded: Weights = {
    ...weights,
    W_enc: byRow(weights.W_enc, (norm) => norm),
    W_dec: byRow(weights.W_dec, (norm) => 1 / norm),
    b_enc: weights.b_enc.map((value, i) => value * norms[i]!),
  };
  if (weights.threshold) folded.threshold = weights.threshold.map((value, i) => value * norms[i]!);
  return folded;
}

function decoderNorms(weights: Weights): Float64Array {
  const dIn = weights.b_dec.length;
  return Float64Array.from(weights.b_enc, (_, i) => {
    let squares = 0;
    for (let d = 0; d < dIn; d++) squares += weights.W_dec[i * dIn + d]! ** 2;
    return Math.max(Math.sqrt(squares), 1e-8);
  });
}
