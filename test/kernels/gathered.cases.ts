import { padded } from '../../src/gpu/index.ts';
import { entryWords, gatheredGradients, type GatheredTerm, type InverseIndex, meanCutoff, noLatent, rowSquares } from '../../src/kernels/index.ts';
import type { Case } from '../support/case.ts';
import { drawn, fuzzed, keptPairs, normals, onBothKinds, run } from '../support/kernels.ts';
import { divide, multiply, type Rounded, sum, sumOfSquares, within } from '../support/rounding.ts';

const shapes = [
  { rows: 1, firstRow: 0, dIn: 1, dSae: 1, picks: 3, cuts: [] },
  { rows: 3, firstRow: 2, dIn: 5, dSae: 7, picks: 4, cuts: [1, 4] },
  { rows: 9, firstRow: 4, dIn: 33, dSae: 129, picks: 7, cuts: [128] },
  { rows: 2, firstRow: 0, dIn: 257, dSae: 40, picks: 5, cuts: [39, 13] },
  ...drawn(2, (from) => ({ rows: from(1, 12), firstRow: from(0, 3), dIn: from(2, 60), dSae: from(20, 90), picks: from(1, 14), cuts: [from(2, 50)] })),
];

const gathered: Case[] = (['value', 'dz', 'slot'] as const).flatMap((kind) => [false, true].map((addTo) => (
  fuzzed(`a weight's gradient by ${kind} ${addTo ? 'adds to what is there' : 'is gathered'}, in one piece and in shards`, onBothKinds(shapes), async (gpu, random, { rows, firstRow, dIn, dSae, picks, cuts }) => {
    // Pairs of every latent by row; with 'slot' only those of a span of rows count.
    const all = firstRow + rows + 2;
    const byLatent = Array.from({ length: dSae }, (): { row: number; value: number; dz: number }[] => []);
    for (let row = 0; row < all; row++) {
      for (const latent of random.permutation(dSae).subarray(0, Math.min(dSae, picks))) {
        const [value, dz] = normals(random, 2);
        byLatent[latent].push({ row, value, dz: kind === 'slot' ? random.below(picks) : dz });
      }
    }
    const count = byLatent.flat().length;
    const entries = new Uint32Array(count * entryWords);
    byLatent.flat().forEach(({ row, value, dz }, n) => {
      entries[n * entryWords] = row;
      entries.set(new Uint32Array(Float32Array.of(value, dz).buffer), n * entryWords + 1);
    });
    const starts = Uint32Array.of(0, ...byLatent.map((_, i) => byLatent.slice(0, i + 1).flat().length));
    const M = normals(random, (kind === 'slot' ? rows * picks : all) * dIn);
    const start = { grad: normals(random, dSae * dIn), sums: normals(random, 2 * padded(dSae)) };
    const term: GatheredTerm = kind === 'slot' ? { kind, picks, firstRow, rows } : { kind };
    const found = await run(gpu, cuts, (bench, shardRows) => {
      const tensors = {
        starts: bench.tensor('starts', 1, dSae + 1, { data: starts }), entries: bench.tensor('entries', count, entryWords, { data: entries, stride: entryWords }),
        M: bench.tensor('M', M.length / dIn, dIn, { data: M }), grad: bench.tensor('grad', dSae, dIn, { ...(addTo ? { data: start.grad } : {}), shardRows }),
        sums: bench.tensor('sums', 1, 2 * padded(dSae), { data: start.sums }),
      };
      return { tensors, record: (rec) => gatheredGradients(rec, tensors as unknown as InverseIndex, tensors, term, padded(dSae), addTo) };
    });
    const grad = found.floats('grad'), sums = found.floats('sums');
    byLatent.forEach((list, i) => {
      const pairs = kind === 'slot' ? list.filter(({ row }) => row >= firstRow && row < firstRow + rows) : list;
      const gradRow = Array.from({ length: dIn }, (_, d) => sum([
        ...(addTo ? [start.grad[i * dIn + d]] : []),
        ...pairs.map(({ row, value, dz }) => (kind === 'slot' ? M[((row - firstRow) * picks + dz) * dIn + d] : multiply(kind === 'value' ? value : dz, M[row * dIn + d]))),
      ]));
      within(grad.subarray(i * dIn, (i + 1) * dIn), gradRow, `gradient of latent ${i}`);
      const untouched = addTo && list.length === 0;
      const bias = kind === 'dz' && !untouched ? sum([...(addTo ? [start.sums[i]] : []), ...list.map(({ dz }) => dz)]) : { value: start.sums[i], error: 0 };
      within([sums[i]], [bias], `bias of latent ${i}`);
      const square = sumOfSquares([...grad.subarray(i * dIn, (i + 1) * dIn), ...(kind === 'dz' ? [sums[i]] : [])]);
      within([sums[padded(dSae) + i]], [untouched ? { value: start.sums[padded(dSae) + i], error: 0 } : square], `square of latent ${i}`);
    });
  })
)));

const squares = fuzzed('the squares of a matrix\'s rows are left from a place on, in one piece and in shards', onBothKinds(shapes), async (gpu, random, { dIn, dSae, firstRow, cuts }) => {
  const M = normals(random, dSae * dIn), start = normals(random, firstRow + dSae + 2);
  const found = await run(gpu, cuts, (bench, shardRows) => {
    const tensors = { M: bench.tensor('M', dSae, dIn, { data: M, shardRows }), squares: bench.tensor('squares', 1, start.length, { data: start }) };
    return { tensors, record: (rec) => rowSquares(rec, tensors, firstRow) };
  });
  within(found.floats('squares'), Array.from(start, (value, at): Rounded => {
    const i = at - firstRow;
    return i >= 0 && i < dSae ? sumOfSquares([...M.subarray(i * dIn, (i + 1) * dIn)]) : { value, error: 0 };
  }), 'squares');
});

const cutoffs = fuzzed('the mean cutoff is that of the smallest kept value of every row, zero where slots are empty',
  [{ rows: 1, k: 1, dSae: 1 }, { rows: 300, k: 3, dSae: 20 }, { rows: 7, k: 12, dSae: 12 }, { rows: 257, k: 1, dSae: 9 }], async (gpu, random, { rows, k, dSae }) => {
    const kept = keptPairs(random, rows, k, dSae), values = kept.values.map(Math.abs), norms = normals(random, dSae).map(Math.abs);
    const found = await run(gpu, [], (bench) => {
      const tensors = {
        indices: bench.tensor('indices', rows, k, { data: kept.indices, stride: k }), values: bench.tensor('values', rows, k, { data: values, stride: k }),
        norms: bench.tensor('norms', 1, dSae, { data: norms }), cutoff: bench.tensor('cutoff', 1, 1),
      };
      return { tensors, record: (rec) => meanCutoff(rec, tensors, rows) };
    });
    const cuts = Array.from({ length: rows }, (_, row): Rounded => {
      const products = Array.from({ length: k }, (__, j): Rounded => {
        const at = row * k + j;
        return kept.indices[at] === noLatent ? { value: 0, error: 0 } : multiply(values[at], norms[kept.indices[at]]);
      });
      return { value: Math.min(...products.map(({ value }) => value)), error: Math.max(...products.map(({ error }) => error)) };
    });
    within(found.floats('cutoff'), [divide(sum(cuts), rows)], 'cutoff');
  });

export const cases: Case[] = [...gathered, squares, cutoffs];
