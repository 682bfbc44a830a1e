/** ReLU codes under an Lp penalty weighted by decoder norms. */
import type { Recorder, Tensor } from '../gpu/index.ts';
import { padded } from '../gpu/index.ts';
import { type Chunk, latentSums } from './dense.ts';
import { expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** p of the penalty's norm, its coefficient, and the column of lossRows that it fills. */
export interface LpPenalty {
  p: number;
  coefficient: number;
  column: number;
}

/** p as a constant of the shaders: 1 and 2 need no logarithms. */
const constantOf = (p: number): number => (p === 1 || p === 2 ? p : 0);

/**
 * f = relu(h) in place, with the rows' penalties and active latents (see relu_rows.wgsl). h [rows, d_sae] unpadded; norms [1, d_sae];
 * active, slopes [.., 1]; lossRows [.., losses]; flags as in topkRows.
 */
export function reluRows(rec: Recorder, tensors: { h: Tensor; norms: Tensor; active: Tensor; slopes: Tensor; lossRows: Tensor; flags: Tensor }, { firstRow, rows, batch }: Chunk,
  { p, coefficient, column }: LpPenalty): void {
  const { h, norms, active, slopes, lossRows, flags } = tensors;
  expectShape('relu', h, rows, norms.columns);
  for (const tensor of [active, slopes]) expectShape('relu', tensor, firstRow + rows, 1);
  rec.dispatch(rec.gpu.kernel({ name: 'relu_rows', text: shaders.relu_rows.text }, { WG: rowWorkgroup(rec.gpu), P: constantOf(p) }),
    { h, norms, l0: active, slopes, loss_rows: lossRows, flags },
    { rows, first_row: firstRow, latents: h.columns, batch, losses: lossRows.columns, column, p, coefficient }, rows);
}

/**
 * Turns the codes f of reluRows into the gradients of their pre-activations, and sums these per latent (see relu_latents.wgsl). df, f, and
 * `more`, which is added to what is left in f, [rows, d_sae] unpadded; sums [1, 3 padded(d_sae)] as in latentSquares; counts [1, d_sae].
 */
export function reluLatents(rec: Recorder, tensors: { df: Tensor; f: Tensor; slopes: Tensor; norms: Tensor; sums: Tensor; counts: Tensor; more?: Tensor }, { firstRow, rows }: Chunk,
  { p }: LpPenalty): void {
  const { df, f, slopes, norms, sums, counts, more } = tensors;
  const pitch = padded(f.columns);
  for (const tensor of [df, f, ...(more ? [more] : [])]) expectShape('relu gradients', tensor, rows, norms.columns);
  expectShape('relu gradients', sums, 1, latentSums * pitch);
  rec.dispatch(rec.gpu.kernel({ name: 'relu_latents', text: shaders.relu_latents.text }, { P: constantOf(p), ADD: more ? 1 : 0 }),
    { df, more: more ?? df, slopes, norms, f, sums, counts },
    { rows, first_row: firstRow, latents: f.columns, pitch, keep: firstRow > 0 ? 1 : 0, p }, groupsFor(f.columns));
}
