import { maxGroups, type Recorder, type Tensor } from '../gpu/index.ts';
import { expectShape, groupsFor } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** Rows of one block of a column sum; shards of anything that is summed begin at multiples of it. */
export const columnBlock = 128;

/**
 * total[d] = (keep ? total[d] : 0) + factor * sum over rows of weight_row M[row, d].
 * M [rows, columns], possibly sharded; weights one number per row (all ones without it); total [1, columns];
 * partial [at least ceil(rows / 128), columns] is scratch. Blocks of 128 rows, then blocks in order.
 */
export function columnSums(rec: Recorder, tensors: { M: Tensor; total: Tensor; partial: Tensor; weights?: Tensor }, rows: number, factor: number, keep: boolean): void {
  const { M, total, partial, weights } = tensors;
  const blocks = Math.ceil(rows / columnBlock);
  expectShape('column sums', partial, blocks, M.columns);
  expectShape('column sums', total, 1, M.columns);
  const kernel = rec.gpu.kernel({ name: 'column_sums', text: shaders.column_sums.text }, { WEIGHTED: weights ? 1 : 0 });
  for (const shard of M.shards) {
    const here = Math.min(shard.rows, rows - shard.first);
    if (here <= 0) continue;
    const own = Math.ceil(here / columnBlock);
    for (let begin = 0; begin < own; begin += maxGroups) {
      const some = Math.min(maxGroups, own - begin);
      rec.dispatch(kernel, { M: shard, weights: weights ?? total, partial },
        { rows: here, first_row: shard.first, begin_block: begin, stride: M.stride }, [some, groupsFor(M.stride / 4)], some / own);
    }
  }
  rec.dispatch(rec.gpu.kernel({ name: 'column_total', text: shaders.column_total.text }), { partial, total },
    { blocks, stride: M.stride, factor, keep: keep ? 1 : 0 }, [groupsFor(M.stride), 1]);
}
