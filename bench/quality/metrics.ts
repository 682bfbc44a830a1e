/** What an SAE is worth where the dictionary is known: how well it reconstructs, with how many latents, and how many true features it found. */
import type { SparseActs } from '../../src/sae/index.ts';

/** Under the names that the peer's results have. */
export interface Quality {
  /** 1 - mean |x - x'|^2 / mean |x - mean x|^2. */
  ev: number;
  /** Mean over rows of 1 - |x - x'|^2 / |x - mean x|^2. */
  ev_legacy: number;
  /** Mean over rows of |x - x'|^2. */
  mse: number;
  /** Active latents per row. */
  l0: number;
  /** Share of latents that no row activates. */
  dead_frac: number;
  /** Mean over true features of the largest cosine with a decoder row ("mean max cosine similarity"). */
  mmcs_true: number;
  mmcs_true_roots: number;
  mmcs_true_children: number;
  /** Share of true features whose largest cosine exceeds 0.9. */
  'recovered_0.9': number;
  'recovered_0.95': number;
  /** Mean over latents that are not dead of the largest cosine with a true feature. */
  mmcs_learned_alive: number;
}

type Reconstruction = Pick<Quality, 'ev' | 'ev_legacy' | 'mse'>;
type Sparsity = Pick<Quality, 'l0' | 'dead_frac'>;
type Dictionary = Omit<Quality, keyof Reconstruction | keyof Sparsity>;

const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
const mean = (values: ArrayLike<number>): number => sum(values) / values.length;

/** Of frames x and their reconstructions, both [rows, dIn]. */
export function reconstructionQuality(x: Float32Array, recon: Float32Array, dIn: number): Reconstruction {
  const rows = x.length / dIn;
  const centre = new Float64Array(dIn);
  for (let at = 0; at < x.length; at++) centre[at % dIn]! += x[at]! / rows;
  let errors = 0, spreads = 0, ratios = 0;
  for (let row = 0; row < rows; row++) {
    let error = 0, spread = 0;
    for (let d = 0, at = row * dIn; d < dIn; d++, at++) {
      error += (x[at]! - recon[at]!) ** 2;
      spread += (x[at]! - centre[d]!) ** 2;
    }
    errors += error;
    spreads += spread;
    ratios += error / spread;
  }
  return { ev: 1 - errors / spreads, ev_legacy: 1 - ratios / rows, mse: errors / rows };
}

/** Of activations of latents 0 ... dSae - 1; `alive` is 1 where a latent is active anywhere. */
export function sparsityQuality(acts: SparseActs, dSae: number): { quality: Sparsity; alive: Uint8Array } {
  const alive = new Uint8Array(dSae);
  let active = 0;
  acts.indices.forEach((latent, at) => {
    if (acts.values[at] === 0) return;
    alive[latent] = 1;
    active++;
  });
  return { quality: { l0: active / acts.rows, dead_frac: 1 - mean(alive) }, alive };
}

/** Of decoder rows W_dec [dSae, dIn] beside true features [features, dIn], the first `roots` of which are roots. */
export function dictionaryQuality(truth: Float32Array, W_dec: Float32Array, alive: Uint8Array, shape: { dIn: number; roots: number }): Dictionary {
  const { dIn, roots } = shape;
  const a = unitRows(truth, dIn), b = unitRows(W_dec, dIn);
  const features = truth.length / dIn, latents = W_dec.length / dIn;
  const ofTrue = new Float64Array(features).fill(-Infinity), ofLearned = new Float64Array(latents).fill(-Infinity);
  for (let f = 0; f < features; f++) {
    for (let i = 0; i < latents; i++) {
      let cosine = 0;
      for (let d = 0; d < dIn; d++) cosine += a[f * dIn + d]! * b[i * dIn + d]!;
      ofTrue[f] = Math.max(ofTrue[f]!, cosine);
      ofLearned[i] = Math.max(ofLearned[i]!, cosine);
    }
  }
  const above = (limit: number): number => mean(ofTrue.map((cosine) => (cosine > limit ? 1 : 0)));
  return {
    mmcs_true: mean(ofTrue), mmcs_true_roots: mean(ofTrue.subarray(0, roots)), mmcs_true_children: mean(ofTrue.subarray(roots)),
    'recovered_0.9': above(0.9), 'recovered_0.95': above(0.95),
    mmcs_learned_alive: mean(ofLearned.filter((_, i) => alive[i] === 1)),
  };
}

/** Rows brought to length one; a row of zeros stays one. */
function unitRows(matrix: Float32Array, columns: number): Float64Array {
  const unit = Float64Array.from(matrix);
  for (let first = 0; first < unit.length; first += columns) {
    const row = unit.subarray(first, first + columns);
    const length = Math.sqrt(sum(row.map((value) => value * value)));
    if (length > 0) row.forEach((value, d) => row[d] = value / length);
  }
  return unit;
}
