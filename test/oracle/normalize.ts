import { rowNorms } from './matrix.ts';

/**
 * What is done to a frame before encoding and undone after decoding (SAELens `normalize_activations`).
 * 'expected_average_only_in' is a factor on the whole data set that the training loop applies: nothing here.
 */
export type Normalization = 'none' | 'expected_average_only_in' | 'constant_norm_rescale' | 'layer_norm';

export interface Normalized {
  /** [rows, dIn]: what the encoder sees. */
  x: Float64Array;
  /** [rows]: undoing it on a reconstruction r is r * scale + shift. */
  scale: Float64Array;
  /** [rows] */
  shift: Float64Array;
}

export function normalize(x: Float64Array, dIn: number, how: Normalization): Normalized {
  const rows = x.length / dIn;
  const scale = new Float64Array(rows).fill(1);
  const shift = new Float64Array(rows);
  let epsilon = 0;
  if (how === 'constant_norm_rescale') {
    // x sqrt(dIn) / ||x||
    scale.set(rowNorms(x, rows, dIn).map((norm) => norm / Math.sqrt(dIn)));
  } else if (how === 'layer_norm') {
    // (x - mean) / (sd + 1e-5), sd with Bessel's correction; undone with sd alone
    epsilon = 1e-5;
    for (let row = 0; row < rows; row++) {
      const frame = x.subarray(row * dIn, (row + 1) * dIn);
      const mean = frame.reduce((sum, value) => sum + value, 0) / dIn;
      shift[row] = mean;
      scale[row] = Math.sqrt(frame.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (dIn - 1));
    }
  }
  const normalized = x.map((value, i) => {
    const row = Math.floor(i / dIn);
    return (value - shift[row]) / (scale[row] + epsilon);
  });
  return { x: normalized, scale, shift };
}

/** A reconstruction [rows, dIn] back in the units of the input. */
export function denormalize(recon: Float64Array, dIn: number, { scale, shift }: Normalized): Float64Array {
  return recon.map((value, i) => value * scale[Math.floor(i / dIn)] + shift[Math.floor(i / dIn)]);
}
