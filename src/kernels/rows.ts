import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** SAELens' normalize_activations as far as the SAE itself acts on it; expected_average_only_in is the trainer's scale. */
export const rowNormalisations = { none: 0, constant_norm_rescale: 1, layer_norm: 2 } as const;

export interface PrepareTensors {
  /** The raw batch [rows, d_in]. */
  frames: Tensor;
  /** What is subtracted from every frame [1, d_in]. */
  centre: Tensor;
  b_dec: Tensor;
  /** Out: the reconstruction's target [rows, d_in]. */
  t: Tensor;
  /** Out: the encoder's input [rows, d_in]. */
  xc: Tensor;
  /** Out: (gain, shift) per row [rows, 2]. */
  rowAffine: Tensor;
}

/** Centres, scales and normalises a batch, and subtracts b_dec where the SAE does so (see prepare_rows.wgsl). */
export function prepareRows(rec: Recorder, tensors: PrepareTensors, rows: number,
  options: { scale: number; normalise: keyof typeof rowNormalisations; subtractBDec: boolean }): void {
  const { frames, centre, b_dec, t, xc, rowAffine } = tensors;
  for (const tensor of [frames, t, xc]) expectShape('prepare', tensor, rows, frames.columns);
  expectShape('prepare', rowAffine, rows, 2);
  rec.dispatch(rec.gpu.kernel({ name: 'prepare_rows', text: shaders.prepare_rows.text }, { WG: rowWorkgroup(rec.gpu), NORMALISE: rowNormalisations[options.normalise] }),
    { frames, centre, b_dec, t, xc, row_affine: rowAffine },
    { rows, d_in: frames.columns, stride: frames.stride, scale: options.scale, subtract: options.subtractBDec ? 1 : 0 }, rows);
}

/**
 * Turns r into the output, and writes g = d mse / d r and per-row statistics (see residual_rows.wgsl), for rows firstRow ... of all tensors.
 * t, r, g [.., d_in]; mean [1, d_in]; stats [.., 4]. Active latents are counted in the kept `values` [.., k], ragged with `offsets`,
 * or given as `active` [.., 1]. The mse is a mean over `batch` rows.
 */
export function residualRows(rec: Recorder,
  tensors: { t: Tensor; mean: Tensor; rowAffine: Tensor; r: Tensor; g: Tensor; stats: Tensor } & ({ values: Tensor; offsets?: Tensor } | { active: Tensor }),
  rows: number, { firstRow, batch }: { firstRow: number; batch: number } = { firstRow: 0, batch: rows }): void {
  const { t, mean, rowAffine, r, g, stats } = tensors;
  for (const tensor of [t, r, g]) expectShape('residual', tensor, firstRow + rows, t.columns);
  expectShape('residual', stats, firstRow + rows, 4);
  const counted = 'active' in tensors ? undefined : tensors;
  const values = 'active' in tensors ? tensors.active : tensors.values;
  const offsets = counted?.offsets;
  const kernel = rec.gpu.kernel({ name: 'residual_rows', text: shaders.residual_rows.text }, { WG: rowWorkgroup(rec.gpu), RAGGED: offsets ? 1 : 0, COUNT: counted ? 1 : 0 });
  rec.dispatch(kernel, { t, mean, row_affine: rowAffine, values, offsets: offsets ?? values, r, g, stats },
    { rows, first_row: firstRow, d_in: t.columns, stride: t.stride, k: values.columns, batch }, rows);
}

/**
 * The auxiliary loss of the dead latents and its gradient, written over rAux (see auxiliary_rows.wgsl).
 * `affine` undoes the row normalisation on the auxiliary reconstruction too, as SAELens 6.18 does. lossRows [rows, losses], of which `column` is written
 * or, with `add`, added to. `raw` says that `out` is a reconstruction whose row normalisation has not been undone.
 */
export function auxiliaryRows(rec: Recorder, tensors: { t: Tensor; out: Tensor; rowAffine: Tensor; dead: Tensor; rAux: Tensor; lossRows: Tensor }, rows: number,
  options: { kAux: number; coefficient: number; affine: boolean; column: number; add?: boolean; raw?: boolean }): void {
  const { t, out, rowAffine, dead, rAux, lossRows } = tensors;
  for (const tensor of [t, out, rAux]) expectShape('auxiliary', tensor, rows, t.columns);
  const variant = { AFFINE: options.affine ? 1 : 0, RAW: options.raw ? 1 : 0, ADD: options.add ? 1 : 0 };
  rec.dispatch(rec.gpu.kernel({ name: 'auxiliary_rows', text: shaders.auxiliary_rows.text }, { WG: rowWorkgroup(rec.gpu), ...variant }),
    { t, out, row_affine: rowAffine, dead, r_aux: rAux, loss_rows: lossRows },
    { rows, d_in: t.columns, stride: t.stride, k_aux: options.kAux, batch: rows, coefficient: options.coefficient, losses: lossRows.columns, column: options.column }, rows);
}

/** f = relu(h) where h > threshold, else 0, in place. h [rows, d_sae], threshold [1, d_sae]; flags as in topkRows. */
export function activate(rec: Recorder, tensors: { h: Tensor; flags: Tensor; threshold: Tensor }, rows: number): void {
  const { h, threshold } = tensors;
  expectShape('activate', threshold, 1, h.columns);
  const elements = rows * h.stride; // padding stays zero
  rec.dispatch(rec.gpu.kernel({ name: 'activate', text: shaders.activate.text }), tensors, { elements, latents: h.stride }, groupsFor(elements));
}

/** a = R(R(a) + bias) with R rounding to bfloat16 (see round_bias.wgsl). a [rows, n], bias [1, n]. */
export function roundBias(rec: Recorder, tensors: { a: Tensor; bias: Tensor }, rows: number): void {
  const { a, bias } = tensors;
  expectShape('round', bias, 1, a.columns);
  rec.dispatch(rec.gpu.kernel({ name: 'round_bias', text: shaders.round_bias.text }), tensors,
    { rows, columns: a.columns, stride: a.stride }, groupsFor(rows * a.columns));
}
