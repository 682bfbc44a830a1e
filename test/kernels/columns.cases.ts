import { columnBlock, columnSums } from '../../src/kernels/index.ts';
import type { Case } from '../support/case.ts';
import { drawn, fuzzed, normals, run } from '../support/kernels.ts';
import { add, handedOver, multiply, type Rounded, sum, within } from '../support/rounding.ts';

const shapes = [
  { rows: 1, of: 1, columns: 1, cuts: [] },
  { rows: 5, of: 9, columns: 3, cuts: [] },
  { rows: 127, of: 127, columns: 5, cuts: [] },
  { rows: 128, of: 128, columns: 28, cuts: [] },
  { rows: 129, of: 300, columns: 64, cuts: [128] }, // the last shard holds no row that counts
  { rows: 500, of: 500, columns: 7, cuts: [128, 256, 384] },
  { rows: 257, of: 257, columns: 261, cuts: [128] }, // more vec4 columns than one workgroup takes
  ...drawn(2, (from) => ({ rows: from(1, 600), of: 600, columns: from(1, 50), cuts: [columnBlock * from(1, 4)] })),
];

const variants = [
  { weighted: false, keep: false, factor: 1 },
  { weighted: false, keep: true, factor: 1 / 3 },
  { weighted: true, keep: true, factor: -1 },
];

export const cases: Case[] = variants.map(({ weighted, keep, factor }) => (
  fuzzed(`${weighted ? 'weighted ' : ''}column sums times ${factor.toFixed(2)}${keep ? ' on top of a total' : ''}, in one piece and in shards`, shapes, async (gpu, random, { rows, of, columns, cuts }) => {
    const M = normals(random, of * columns), total = normals(random, columns), weights = normals(random, of);
    M.fill(NaN, rows * columns); // rows that do not count
    weights.fill(NaN, rows);
    const found = await run(gpu, cuts, (bench, shardRows) => {
      const tensors = {
        M: bench.tensor('M', of, columns, { data: M, shardRows }),
        total: bench.tensor('total', 1, columns, keep ? { data: total } : {}),
        partial: bench.tensor('partial', Math.ceil(of / columnBlock), columns),
        ...(weighted ? { weights: bench.tensor('weights', 1, of, { data: weights }) } : {}),
      };
      return { tensors, record: (rec) => columnSums(rec, tensors, rows, factor, keep) };
    });
    const expected = Array.from({ length: columns }, (_, d): Rounded => {
      const terms = Array.from({ length: rows }, (_, row) => multiply(weighted ? weights[row] : 1, M[row * columns + d]));
      return add(keep ? total[d] : 0, multiply(handedOver(factor), sum(terms)));
    });
    within(found.floats('total'), expected, 'total');
  })
));
