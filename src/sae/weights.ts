/**
 * An SAE's parameters in host memory, latent-major as on the GPU: W_enc is [d_sae, d_in] and W_dec [d_sae, d_out], row i being
 * latent i. Files keep W_enc as [d_in, d_sae]; the transposition happens here and nowhere else.
 */
import { CochleaError } from '../errors.ts';
import type { SaelensTensor } from '../formats/index.ts';

/** What an architecture has of these is its own business; all have a decoder. */
export interface Weights {
  W_dec: Float32Array;
  b_dec: Float32Array;
  W_enc?: Float32Array;
  b_enc?: Float32Array;
  /** JumpReLU's thresholds, linear; trained as logarithms in the form of SAELens 6.18. */
  threshold?: Float32Array;
  log_threshold?: Float32Array;
  /** Gated SAEs'. */
  b_gate?: Float32Array;
  r_mag?: Float32Array;
  b_mag?: Float32Array;
  /** Transcoders' direct path [d_out, d_in]. */
  W_skip?: Float32Array;
  /** Temporal SAEs' attention layers, by their names in the file (`attn_layers.0.k_ctx.weight`, ...). */
  attention?: Record<string, { shape: readonly number[]; data: Float32Array }>;
}

/** Weights that are plain arrays of numbers: those that are trained. */
export type ParameterName = Exclude<keyof Weights, 'attention'>;

/** Tensors of a file that have one number per latent. */
const latentVectors = ['b_enc', 'threshold', 'log_threshold', 'b_gate', 'r_mag', 'b_mag'] as const;

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

/** Weights of a SAELens file's tensors. A training form's scalar `topk_threshold` is not among them. */
export function weightsFromTensors(tensors: ReadonlyMap<string, SaelensTensor>): Weights {
  const floats = (name: string): Float32Array => {
    const tensor = tensors.get(name);
    if (!tensor) throw new CochleaError('file-damaged', `the SAE has no tensor ${name}`);
    return Float32Array.from(tensor.data);
  };
  const weights: Weights = { W_dec: floats('W_dec'), b_dec: floats('b_dec') };
  const W_enc = tensors.get('W_enc');
  if (W_enc) weights.W_enc = transpose(W_enc.data, W_enc.shape[0]!, W_enc.shape[1]!);
  for (const name of [...latentVectors, 'W_skip'] as const) if (tensors.has(name)) weights[name] = floats(name);
  const attention = [...tensors.keys()].filter((name) => name.startsWith('attn_layers.'));
  if (attention.length > 0) weights.attention = Object.fromEntries(attention.map((name) => [name, { shape: tensors.get(name)!.shape, data: floats(name) }]));
  return weights;
}

/** The tensors of a SAELens file. */
export function tensorsFromWeights(weights: Weights): Map<string, SaelensTensor> {
  const { W_enc, W_dec, b_dec, W_skip } = weights;
  const dOut = b_dec.length, dSae = W_dec.length / dOut;
  const tensors = new Map<string, SaelensTensor>();
  if (W_enc) tensors.set('W_enc', { shape: [W_enc.length / dSae, dSae], data: transpose(W_enc, dSae, W_enc.length / dSae) });
  tensors.set('W_dec', { shape: [dSae, dOut], data: W_dec });
  for (const name of latentVectors) if (weights[name]) tensors.set(name, { shape: [dSae], data: weights[name] });
  tensors.set('b_dec', { shape: [dOut], data: b_dec });
  for (const [name, tensor] of Object.entries(weights.attention ?? {})) tensors.set(name, tensor);
  if (W_skip) tensors.set('W_skip', { shape: [dOut, W_skip.length / dOut], data: W_skip });
  return tensors;
}

/**
 * Folds x' = (x - mean) * scale into the weights, so that the SAE takes and gives raw frames x. Pre-activations
 * do not change:
 *
 *   W_enc' = scale W_enc,   W_dec' = W_dec / scale,   b_dec' = b_dec / scale + mean
 *   b' = b - factor scale W_enc mean      where b_dec is not subtracted from the input; else b
 *
 * with the biases b_enc and b_gate (factor 1) and b_mag (factor exp(r_mag)). Decoder norms become norms / scale: folding
 * those in afterwards gives activations 1 / scale times the trained ones. Computed in float64.
 */
export function foldInputTransform(weights: Weights, mean: ArrayLike<number>, scale: number, applyBDecToInput: boolean): Weights {
  const { W_enc, W_dec, b_dec, r_mag } = weights;
  const folded: Weights = { ...weights, W_dec: W_dec.map((value) => value / scale), b_dec: b_dec.map((value, d) => value / scale + mean[d]!) };
  if (!W_enc) return folded;
  folded.W_enc = W_enc.map((value) => value * scale);
  if (applyBDecToInput) return folded;
  const shift = (i: number): number => scale * rowProduct(W_enc, i, mean);
  for (const name of ['b_enc', 'b_gate'] as const) if (weights[name]) folded[name] = weights[name].map((bias, i) => bias - shift(i));
  if (weights.b_mag && r_mag) folded.b_mag = weights.b_mag.map((bias, i) => bias - Math.exp(r_mag[i]!) * shift(i));
  return folded;
}

/** Row i of a latent-major matrix times a vector. */
export function rowProduct(matrix: Float32Array, i: number, vector: ArrayLike<number>): number {
  let sum = 0;
  for (let d = 0, n = vector.length; d < n; d++) sum += matrix[i * n + d]! * vector[d]!;
  return sum;
}

/**
 * Gives every decoder row unit length and the encoder row the length it had: f_i = h_i |W_dec_i| (SAELens fold_W_dec_norm). Norms are kept
 * from zero by 1e-8, as SAELens does since 6.22.3.
 */
export function foldDecoderNorms(weights: Weights): Weights {
  const norms = decoderNorms(weights).map((norm) => Math.max(norm, 1e-8));
  const byRow = (matrix: Float32Array, factor: (norm: number) => number): Float32Array => {
    const columns = matrix.length / norms.length;
    return matrix.map((value, at) => value * factor(norms[Math.floor(at / columns)]!));
  };
  const folded: Weights = { ...weights, W_dec: byRow(weights.W_dec, (norm) => 1 / norm) };
  if (weights.W_enc) folded.W_enc = byRow(weights.W_enc, (norm) => norm);
  for (const name of ['b_enc', 'b_gate', 'b_mag', 'threshold'] as const) if (weights[name]) folded[name] = weights[name].map((value, i) => value * norms[i]!);
  if (weights.log_threshold) folded.log_threshold = weights.log_threshold.map((value, i) => value + Math.log(norms[i]!));
  return folded;
}

/** Lengths of the decoder's rows [d_sae]. */
export function decoderNorms({ W_dec, b_dec }: Weights): Float64Array {
  const dOut = b_dec.length;
  return Float64Array.from({ length: W_dec.length / dOut }, (_, i) => {
    let squares = 0;
    for (let d = 0; d < dOut; d++) squares += W_dec[i * dOut + d]! ** 2;
    return Math.sqrt(squares);
  });
}
