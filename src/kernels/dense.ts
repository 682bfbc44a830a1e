/** Codes that are given as matrices: sums of rows weighted by them, and what their gradients leave per latent. */
import type { Recorder, Shard, Tensor } from '../gpu/index.ts';
import { maxGroups, padded } from '../gpu/index.ts';
import { expectSameShards, expectShape, groupsFor, imageLanes, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** Rows firstRow ... of a batch, as many as `rows`; codes of these rows begin at row 0 of their tensors. */
export interface Chunk {
  firstRow: number;
  rows: number;
  batch: number;
}

/** Where the terms of a sum begin and how far they lie apart, in a matrix of codes. */
interface Weights {
  codes: Tensor;
  first: number;
  row: number;
  term: number;
}

/** C (+)= A B: see weighted_rows_tiled.wgsl. B and C from their rows bFirst and cFirst on. In pieces of rows where it would keep the adapter busy for too long. */
function weightedRows(rec: Recorder, A: Weights, B: Tensor | Shard, C: Tensor | Shard, start: 'kept' | 'zero' | { bias: Tensor },
  { rows, c_first: cFirst, ...shape }: { rows: number; terms: number; stride: number; b_first: number; c_first: number }): void {
  const { gpu } = rec;
  const tensors = { A: A.codes, B, bias: typeof start === 'object' ? start.bias : B, C };
  const columns = shape.stride / 4;
  // Where a buffer's loads are so dear that rows are gathered from images, weights stay with the lanes; elsewhere passing over zeros wins.
  const LANES = imageLanes(gpu);
  const variant = LANES ? 'resident' : gpu.adapter.software ? 'direct' : 'tiled';
  const ALONG = A.row === 1 ? 1 : 0;
  const kernel = gpu.kernel({ name: `weighted_rows_${variant}`, text: shaders[`weighted_rows_${variant}`].text },
    { ...(LANES && { LANES }), ...(variant !== 'direct' && { ALONG }) });
  const gridOf = (here: number): number | [number, number] => (
    LANES ? [groupsFor(columns, 2 * LANES), groupsFor(here, 512)] : variant === 'direct' ? groupsFor(here * Math.ceil(columns / 8)) : [groupsFor(columns, 16), groupsFor(here, 64)]
  );
  const atATime = Math.min(64 * maxGroups, Math.max(64, Math.floor(gpu.dispatchFlops / (2 * shape.terms * shape.stride) / 64) * 64));
  for (let first = 0; first < rows; first += atATime) {
    const here = Math.min(atATime, rows - first);
    rec.dispatch(kernel, tensors,
      { ...shape, rows: here, c_first: cFirst + first, start: start === 'kept' ? 0 : start === 'zero' ? 1 : 2, a_first: A.first + first * A.row, a_row: A.row, a_term: A.term },
      gridOf(here));
  }
}

/** r[firstRow + b, :] = b_dec + sum over latents of f[b, i] W_dec[i, :]; without b_dec, added to what is there. f [rows, d_sae] unpadded, W_dec [d_sae, d_in], b_dec [1, d_in], r [.., d_in]. */
export function decodeDense(rec: Recorder, tensors: { f: Tensor; W_dec: Tensor; b_dec?: Tensor; r: Tensor }, rows: number, firstRow = 0): void {
  const { f, W_dec, b_dec, r } = tensors;
  expectShape('decode', f, rows, W_dec.rows);
  expectShape('decode', r, firstRow + rows, W_dec.columns);
  if (b_dec) expectShape('decode', b_dec, 1, W_dec.columns);
  W_dec.shards.forEach((shard, n) => {
    weightedRows(rec, { codes: f, first: shard.first, row: f.stride, term: 1 }, shard, r, n === 0 && b_dec ? { bias: b_dec } : 'kept',
      { rows, terms: shard.rows, stride: W_dec.stride, b_first: 0, c_first: firstRow });
  });
}

/**
 * gradient[i, :] (+)= sum over the chunk's rows of a[b, i] M[firstRow + b, :], `keep` adding to what is there; rows in order, so the bits are
 * those of all rows at once. a [rows, d_sae] unpadded, M [.., d_in], gradient [d_sae, d_in].
 */
export function denseGradients(rec: Recorder, tensors: { a: Tensor; M: Tensor; gradient: Tensor }, { firstRow, rows }: Chunk, keep: boolean): void {
  const { a, M, gradient } = tensors;
  expectShape('weight gradients', a, rows, gradient.rows);
  expectShape('weight gradients', M, firstRow + rows, gradient.columns);
  for (const shard of gradient.shards) {
    weightedRows(rec, { codes: a, first: shard.first, row: 1, term: a.stride }, M, shard, keep ? 'kept' : 'zero',
      { rows: shard.rows, terms: rows, stride: gradient.stride, b_first: firstRow, c_first: 0 });
  }
}

/** Per latent, `latentSums` numbers in a row of padded(d_sae) each: the gradient of its bias, its squared gradient norm, the gradient of its decoder norm. */
export const latentSums = 3;

/**
 * Adds what reaches W_dec through its row norms (with `norms`) and sums each latent's squares (see latent_squares.wgsl). W_dec, gradWDec
 * [d_sae, d_out]; gradWEnc [d_sae, d_in]; sums [1, 3 padded(d_sae)]; up to two other gradients [1, d_sae] that count among the squares.
 */
export function latentSquares(rec: Recorder, tensors: { W_dec: Tensor; gradWDec: Tensor; gradWEnc: Tensor; sums: Tensor }, others: readonly Tensor[], norms: boolean): void {
  const { W_dec, gradWDec, gradWEnc, sums } = tensors;
  expectSameShards('latent squares', gradWDec, W_dec);
  expectSameShards('latent squares', gradWEnc, W_dec);
  const pitch = padded(W_dec.rows);
  expectShape('latent squares', sums, 1, latentSums * pitch);
  const kernel = rec.gpu.kernel({ name: 'latent_squares', text: shaders.latent_squares.text }, { WG: rowWorkgroup(rec.gpu), NORMS: norms ? 1 : 0, VECTORS: 1 + others.length });
  W_dec.shards.forEach((shard, n) => {
    rec.dispatch(kernel, { W_dec: shard, grad_W_enc: gradWEnc.shards[n]!, one: others[0] ?? W_dec.shards[n]!, other: others[1] ?? W_dec.shards[n]!, sums, grad_W_dec: gradWDec.shards[n]! },
      { latents: shard.rows, first_latent: shard.first, stride: W_dec.stride, enc_stride: gradWEnc.stride, pitch }, shard.rows);
  });
}

/** Turns r into the gradient of its squared error against t, a mean over the batch (see error_rows.wgsl). t, r [.., d_in]; lossRows [.., losses]. */
export function errorRows(rec: Recorder, tensors: { t: Tensor; r: Tensor; lossRows: Tensor }, { firstRow, rows, batch }: Chunk, column: number): void {
  const { t, r, lossRows } = tensors;
  for (const tensor of [t, r]) expectShape('error', tensor, firstRow + rows, t.columns);
  rec.dispatch(rec.gpu.kernel({ name: 'error_rows', text: shaders.error_rows.text }, { WG: rowWorkgroup(rec.gpu) }), { t, r, loss_rows: lossRows },
    { rows, first_row: firstRow, d_in: t.columns, stride: t.stride, batch, losses: lossRows.columns, column }, rows);
}
