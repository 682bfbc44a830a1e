import { imageWidth, type Recorder, type Tensor } from '../gpu/index.ts';
import { decodeSparse } from './decode.ts';
import { keptGradients } from './gradients.ts';
import { expectPairs, type KeptPairs } from './pairs.ts';
import { dispatchInPieces } from './pieces.ts';
import { residualRows } from './rows.ts';
import { expectShape, imageLanes } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** Pairs of a row that a lane can hold what it gathered of: with more, the code of reconstruct_image.wgsl no longer fits an instruction cache. */
const mostPairs = 32;

export interface ReconstructTensors extends KeptPairs {
  W_dec: Tensor;
  /** [1, d_in], like `mean`; gathered. */
  b_dec: Tensor;
  /** The batch's mean of t. */
  mean: Tensor;
  /** The target [rows, d_in]. */
  t: Tensor;
  /** As prepareRows leaves them [rows, 2]. */
  rowAffine: Tensor;
  /** Out: the reconstruction [rows, d_in]; written at least where `keepOut` says that somebody reads it. */
  out: Tensor;
  /** Out: its error's gradient [rows, d_in]. */
  g: Tensor;
  /** Out: per row, as residualRows gives them [rows, 4]. */
  stats: Tensor;
}

/**
 * decodeSparse, residualRows and keptGradients one after the other: from kept pairs to the gradients of their values (zero where a value is not
 * positive if `relu`). In one kernel, to the same bits, where rows of W_dec are gathered from an image and what is gathered of a row's pairs can be kept.
 */
export function reconstructRows(rec: Recorder, tensors: ReconstructTensors, rows: number, { relu, keepOut }: { relu: boolean; keepOut: boolean }): void {
  const { indices, values, offsets, dz, W_dec, b_dec, mean, t, rowAffine, out, g, stats } = tensors;
  const LANES = imageLanes(rec.gpu), k = indices.columns;
  if (!LANES || offsets || k > mostPairs || W_dec.shards.length > 1) {
    decodeSparse(rec, { ...tensors, r: out }, rows, 1);
    residualRows(rec, { ...tensors, r: out }, rows);
    keptGradients(rec, tensors, rows, relu);
    return;
  }
  expectPairs('reconstruction', tensors, rows);
  for (const tensor of [t, out, g]) expectShape('reconstruction', tensor, rows, W_dec.columns);
  for (const vector of [b_dec, mean]) expectShape('reconstruction', vector, 1, W_dec.columns);
  expectShape('reconstruction', dz, rows, k);
  expectShape('reconstruction', rowAffine, rows, 2);
  expectShape('reconstruction', stats, rows, 4);
  const kernel = rec.gpu.kernel({ name: 'reconstruct_image', text: shaders.reconstruct_image.text },
    { LANES, PAIRS: 8 * Math.ceil(k / 8), RELU: relu ? 1 : 0, IMAGE_WIDTH: imageWidth });
  dispatchInPieces(rec, kernel, { indices, values, W_dec, b_dec, mean, t, row_affine: rowAffine, out, g, dz, stats },
    { rows, k, latents: W_dec.rows, d_in: W_dec.columns, stride: W_dec.stride, batch: rows, keep_out: keepOut ? 1 : 0 }, rows);
}
