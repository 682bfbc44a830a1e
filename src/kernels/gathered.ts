/** Weight gradients that go by themselves: of weights whose rows are not of one length, and of tied ones. */
import type { Recorder, Tensor } from '../gpu/index.ts';
import type { InverseIndex } from './gradients.ts';
import { dispatchInPieces } from './pieces.ts';
import { expectShape, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** What a pair contributes: its value or its dz times the row of M; or, of a matrix with a row for every pick, the row of its slot. */
export type GatheredTerm = { kind: 'value' } | { kind: 'dz' } | { kind: 'slot'; picks: number; firstRow: number; rows: number };

/**
 * Gathers one weight's gradient through the inverse index; `add` adds to what is there. `sums` gets the squared norms of the rows from
 * `squaresAt` on, and with 'dz' the bias' gradient at its beginning (see gathered_gradients.wgsl).
 */
export function gatheredGradients(rec: Recorder, index: InverseIndex, tensors: { M: Tensor; grad: Tensor; sums: Tensor }, term: GatheredTerm, squaresAt: number, add: boolean): void {
  const { M, grad, sums } = tensors;
  expectShape('gathered gradients', M, 1, grad.columns);
  const TERM = { value: 0, dz: 1, slot: 2 }[term.kind];
  const kernel = rec.gpu.kernel({ name: 'gathered_gradients', text: shaders.gathered_gradients.text }, { WG: rowWorkgroup(rec.gpu), ADD: add ? 1 : 0, TERM });
  const { picks, firstRow, rows } = term.kind === 'slot' ? term : { picks: 0, firstRow: 0, rows: 0 };
  for (const shard of grad.shards) {
    dispatchInPieces(rec, kernel, { starts: index.starts, entries: index.entries, M, grad: shard, sums },
      { latents: shard.rows, first_latent: shard.first, stride: grad.stride, squares_at: squaresAt, picks, first_row: firstRow, rows }, shard.rows);
  }
}

/** squares[at + i] = |M[i, :]|^2. M [n, ..], possibly sharded; squares [1, at + n or more]. */
export function rowSquares(rec: Recorder, tensors: { M: Tensor; squares: Tensor }, at: number): void {
  const { M, squares } = tensors;
  const kernel = rec.gpu.kernel({ name: 'row_norms', text: shaders.row_norms.text }, { WG: rowWorkgroup(rec.gpu), SQUARED: 1 });
  for (const shard of M.shards) {
    rec.dispatch(kernel, { W: shard, norms: squares }, { latents: shard.rows, first_latent: at + shard.first, stride: M.stride }, shard.rows);
  }
}
