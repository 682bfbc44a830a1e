import { entryWords, invertPairs } from '../../src/kernels/index.ts';
import { inverseIndex } from '../oracle/inverse-index.ts';
import type { Case } from '../support/case.ts';
import { ok } from '../support/check.ts';
import { drawn, fuzzed, keptPairs, layouts, normals, pairTensors, run, sameBits } from '../support/kernels.ts';

// Words of the bitmap hold 32 rows; the scan takes 1024 latents at a time.
const shapes = [
  { rows: 1, k: 1, dSae: 1, cuts: [] },
  { rows: 31, k: 3, dSae: 5, cuts: [1, 2] },
  { rows: 32, k: 2, dSae: 2, cuts: [] }, // every row keeps every latent
  { rows: 33, k: 5, dSae: 1023, cuts: [1000] },
  { rows: 129, k: 7, dSae: 1024, cuts: [128, 257] },
  { rows: 65, k: 1, dSae: 1025, cuts: [1024] }, // most latents are empty
  { rows: 257, k: 9, dSae: 40, cuts: [7] }, // three times 128 rows, the last begun
  { rows: 8, k: 64, dSae: 3001, cuts: [999] },
  ...drawn(3, (from) => ({ rows: from(1, 200), k: from(1, 20), dSae: from(20, 2500), cuts: [from(16, 900)] })),
];

export const cases: Case[] = [false, true].map((keepAll) => (
  fuzzed(`the inverse index lists every latent's pairs by row, ${keepAll ? 'all' : 'those that are not zero'}, in one piece and in shards`, shapes, async (gpu, random, { rows, k, dSae, cuts }) => {
    for (const layout of layouts(keptPairs(random, rows, k, dSae), rows)) {
      const [pairRows, columns] = layout.shape;
      const dz = normals(random, layout.indices.length);
      const found = await run(gpu, cuts, (bench, shardRows) => {
        const tensors = {
          ...pairTensors(bench, layout), dz: bench.tensor('dz', pairRows, columns, { data: dz, stride: columns }),
          counts: bench.tensor('counts', 1, dSae, { data: new Uint32Array(dSae) }), starts: bench.tensor('starts', 1, dSae + 1, { dtype: 'u32' }),
          entries: bench.tensor('entries', pairRows * columns, entryWords, { dtype: 'u32', stride: entryWords }),
          bitmap: bench.tensor('bitmap', dSae, Math.ceil(rows / 32), { data: new Uint32Array(dSae * Math.ceil(rows / 32)), shardRows }),
          ranks: bench.tensor('ranks', dSae, Math.ceil(rows / 128), { dtype: 'u32', shardRows }),
        };
        return { tensors, record: (rec) => invertPairs(rec, tensors, tensors, rows, keepAll) };
      });

      // The kept pairs that count, row by row.
      const pairs = layout.slots.filter(({ slot }) => keepAll || layout.values[slot] !== 0);
      const offsets = Array.from({ length: rows + 1 }, (_, row) => pairs.filter((pair) => pair.row < row).length);
      const expected = inverseIndex({ offsets, indices: pairs.map(({ slot }) => layout.indices[slot]) }, dSae);

      sameBits(found.integers('starts'), Uint32Array.from(expected.offsets), 'starts');
      sameBits(found.integers('counts'), Uint32Array.from({ length: dSae }, (_, i) => expected.offsets[i + 1] - expected.offsets[i]), 'counts');
      const order = expected.positions.map((position) => pairs[position].slot);
      ok(order.length === pairs.length && new Set(order).size === pairs.length, 'every pair is listed once');
      const bits = new Uint32Array(Float32Array.from(order.flatMap((slot) => [layout.values[slot], dz[slot]])).buffer);
      sameBits(found.integers('entries').subarray(0, pairs.length * entryWords),
        Uint32Array.from(order.flatMap((_, n) => [expected.rows[n], bits[2 * n], bits[2 * n + 1]])), 'entries');
      const words = Math.ceil(rows / 32), bitmap = found.integers('bitmap');
      expected.rows.forEach((row, at) => {
        const latent = layout.indices[order[at]];
        ok((bitmap[latent * words + (row >>> 5)] >>> (row & 31)) & 1, `bit of latent ${latent} and row ${row}`);
      });
    }
  })
));
