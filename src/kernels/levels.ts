/** What nested dictionaries (Matryoshka SAEs) need besides ranges of latents. */
import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectShape, groupsFor, type LatentRange, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/**
 * Turns an inner level's reconstruction r into the gradient that its own latents get, given that of the next wider level's, `outer`
 * (see level_rows.wgsl). t, r, outer [rows, d_in]; lossRows [rows, losses], of which `column` gets the squared errors.
 */
export function levelRows(rec: Recorder, tensors: { t: Tensor; rowAffine: Tensor; outer: Tensor; r: Tensor; lossRows: Tensor }, rows: number, column: number): void {
  const { t, rowAffine, outer, r, lossRows } = tensors;
  for (const tensor of [t, outer, r]) expectShape('level', tensor, rows, t.columns);
  expectShape('level', lossRows, rows, lossRows.columns);
  rec.dispatch(rec.gpu.kernel({ name: 'level_rows', text: shaders.level_rows.text }, { WG: rowWorkgroup(rec.gpu) }),
    { t, row_affine: rowAffine, outer, r, loss_rows: lossRows },
    { rows, d_in: t.columns, stride: t.stride, batch: rows, losses: lossRows.columns, column }, rows);
}

/** The latents of an ascending list that lie in a range. list, part [1, d_sae + 1]: a count and that many latents. */
export function listRange(rec: Recorder, tensors: { list: Tensor; part: Tensor }, { from, end }: LatentRange): void {
  const { list, part } = tensors;
  expectShape('list', part, 1, list.columns);
  rec.dispatch(rec.gpu.kernel({ name: 'list_range', text: shaders.list_range.text }), { list, part },
    { latents: list.columns - 1, first: from, end }, groupsFor(list.columns - 1));
}
