import { contrast } from '../../src/kernels/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { contrastiveLoss } from '../oracle/temporal-matryoshka-sae.ts';
import type { Case } from '../support/case.ts';
import { close, equal } from '../support/check.ts';
import { drawn, fuzzed, normals, onBothKinds, run } from '../support/kernels.ts';
import { add, divide, exponential, handedOver, logarithm, multiply, type Rounded, squareRoot, subtract, sum, sumOfSquares, within } from '../support/rounding.ts';

interface Shape {
  rows: number;
  /** More rows than the batch has may have been allocated. */
  spare: number;
  latents: number;
  high: number;
  /** Most pairs of a row. */
  most: number;
  similarity: 'cosine' | 'inner_product';
  scaled: boolean;
}

const plain: Shape = { rows: 9, spare: 0, latents: 20, high: 7, most: 6, similarity: 'cosine', scaled: true };
const shapes: Shape[] = [
  { ...plain, rows: 1 },
  plain,
  { ...plain, similarity: 'inner_product' },
  { ...plain, spare: 3 },
  { ...plain, scaled: false, similarity: 'inner_product', rows: 21 },
  { ...plain, rows: 66, latents: 150, high: 130, most: 90, spare: 7 }, // more pairs of a row than hardware takes at a time
  { ...plain, rows: 259, latents: 12, high: 5, most: 3, scaled: false }, // over one tile
  { ...plain, high: 20, rows: 4 }, // all are compared
  ...drawn(3, (from): Shape => ({ rows: from(1, 40), spare: from(0, 2), latents: from(10, 60), high: from(1, 9), most: from(1, 10), similarity: from(0, 1) ? 'cosine' : 'inner_product', scaled: from(0, 1) === 1 })),
];

/** One side: values above zero at latents ascending, rows of any number of them. */
function drawSide(random: RandomStream, { rows, latents, most }: Shape) {
  const kept = Array.from({ length: rows }, () => {
    const count = random.below(4) === 0 ? random.below(most + 1) : most;
    const size = random.below(8) === 0 ? 1e-10 : 1; // codes are not divided by a length below 1e-8
    return [...random.permutation(latents).subarray(0, count).sort()].map((latent) => ({ latent, value: Math.fround(size * (0.1 + Math.abs(random.normal()))), dz: Math.fround(random.normal()) }));
  });
  const room = rows * most;
  const indices = new Uint32Array(room).fill(0xffffffff), values = new Float32Array(room), dz = new Float32Array(room);
  const offsets = Uint32Array.of(0, ...kept.map((_, row) => kept.slice(0, row + 1).reduce((count, list) => count + list.length, 0)));
  kept.forEach((list, row) => list.forEach((pair, n) => {
    const at = offsets[row] + n;
    [indices[at], values[at], dz[at]] = [pair.latent, pair.value, pair.dz];
  }));
  return { kept, indices, values, dz, offsets };
}

const losses = fuzzed('the contrastive loss and its gradients are those of the oracle', onBothKinds(shapes), async (gpu, random, shape) => {
  const { rows, spare, latents, high, most, similarity, scaled } = shape;
  const drawnSides = [drawSide(random, shape), drawSide(random, shape)] as const;
  const norms = normals(random, latents).map((value) => 0.2 + Math.abs(value));
  const coefficient = handedOver(0.5 + 20 * random.uniform());
  const found = await run(gpu, [], (bench) => {
    const sideOf = ({ indices, values, dz, offsets }: (typeof drawnSides)[number], name: string) => {
      const pair = (label: string, data: Float32Array | Uint32Array) => bench.tensor(`${name} ${label}`, 1, rows * most, { data, stride: rows * most });
      return {
        pairs: { indices: pair('indices', indices), values: pair('values', values), dz: pair('dz', dz), offsets: bench.tensor(`${name} offsets`, 1, rows + 1, { data: offsets }) },
        codes: pair('codes', new Float32Array(rows * most)), byLatent: bench.tensor(`${name} by latent`, high, rows + spare, { data: new Float32Array(high * (rows + spare)) }),
        ofRow: bench.tensor(`${name} of row`, rows + spare, 4, { data: new Float32Array(4 * (rows + spare)), stride: 4 }),
      };
    };
    const sides = [sideOf(drawnSides[0], 'now'), sideOf(drawnSides[1], 'before')] as const;
    const lossRows = bench.tensor('losses', rows, 3, { data: new Float32Array(3 * rows).fill(7), stride: 3 }), flags = bench.tensor('flags', 1, 1, { data: Uint32Array.of(4) });
    const given = scaled ? { norms: bench.tensor('norms', 1, latents, { data: norms }) } : {};
    // Clearing reaches behind the end of a buffer, where the bench has its canaries: the matrices are zero as they are.
    return {
      tensors: { lossRows, flags, dz0: sides[0].pairs.dz, dz1: sides[1].pairs.dz },
      record: (rec) => {
        rec.clear = () => {};
        contrast(rec, { sides, lossRows, flags, ...given }, rows, { similarity, coefficient: coefficient.value, column: 1 });
      },
    };
  });

  const sides = drawnSides.map(({ kept }) => kept.map((list) => {
    const pairs = list.filter(({ latent }) => latent < high).map(({ latent, value }) => ({ latent, f: scaled ? multiply(value, norms[latent]) : { value, error: 0 } }));
    const norm = squareRoot(sumOfSquares(pairs.map(({ f }) => f)));
    const length = similarity === 'inner_product' ? { value: 1, error: 0 } : norm.value < 1e-8 ? handedOver(1e-8) : norm;
    return { length, codes: new Map(pairs.map(({ latent, f }) => [latent, divide(f, length)])) };
  }));
  const zero: Rounded = { value: 0, error: 0 };
  const scores = sides[0].map((row) => sides[1].map((other) => sum([...row.codes].map(([latent, code]) => multiply(code, other.codes.get(latent) ?? zero)))));
  const turned = sides[1].map((_, j) => scores.map((row) => row[j]));
  const logarithms = [scores, turned].map((matrix) => matrix.map((row) => {
    const largest = row.reduce((most, one) => (one.value > most.value ? one : most));
    const range = largest.value - Math.min(...row.map(({ value }) => value));
    const total = sum(row.map((score) => exponential(subtract(score, largest))));
    // Each score is joined to what a thread has so far, a few joins more make one of all threads; each costs two exponentials of at most the range.
    const joined = { value: total.value, error: total.error + total.value * (row.length + 8) * (8 + 4 * range) * 2 ** -23 };
    return add(largest, logarithm(joined));
  }));
  const weight = divide(coefficient, rows);
  const twin = [scores, turned].map((matrix, n) => matrix.map((row, b) => {
    const slopes = row.map((score, j) => (
      multiply(weight, subtract(add(exponential(subtract(score, logarithms[n][b])), exponential(subtract(score, logarithms[1 - n][j]))), j === b ? 2 : 0))
    ));
    const along = sum(slopes.map((slope, j) => multiply(slope, row[j])));
    return drawnSides[n].kept[b].map(({ latent, dz }) => {
      const code = sides[n][b].codes.get(latent);
      if (!code) return { value: dz, error: 0 };
      const factor = scaled ? multiply(divide(1, sides[n][b].length), norms[latent]) : divide(1, sides[n][b].length);
      const through = sum(slopes.map((slope, j) => multiply(slope, sides[1 - n][j].codes.get(latent) ?? zero)));
      const reached = add(dz, multiply(factor, through));
      return similarity === 'cosine' ? subtract(reached, multiply(multiply(factor, code), along)) : reached;
    });
  }));

  // The twin's values are the oracle's.
  const dense = drawnSides.map(({ kept }) => {
    const codes = new Float64Array(rows * high);
    kept.forEach((list, row) => list.forEach(({ latent, value }) => {
      if (latent < high) codes[row * high + latent] = scaled ? value * norms[latent] : value;
    }));
    return codes;
  });
  const oracle = contrastiveLoss(dense[0], dense[1], rows, high, similarity);
  [oracle.dz, oracle.dzBefore].forEach((df, n) => {
    const reached = (row: number, latent: number): number => (latent < high ? coefficient.value * df[row * high + latent] * (scaled ? norms[latent] : 1) : 0);
    const expected = drawnSides[n].kept.map((list, row) => list.map(({ latent, dz }) => dz + reached(row, latent)));
    close(twin[n].flat().map(({ value }) => value), expected.flat(), { absolute: 1e-11, relative: 1e-9 }, 'gradient, derived here');
    const dz = found.floats(n === 0 ? 'dz0' : 'dz1');
    within(twin[n].flatMap((list, row) => list.map((_, j) => dz[drawnSides[n].offsets[row] + j])), twin[n].flat(), `dz of side ${n}`);
  });
  const lossTwin = scores.map((row, b) => multiply(coefficient, add(subtract(logarithms[0][b], row[b]), subtract(logarithms[1][b], row[b]))));
  close([lossTwin.reduce((total, { value }) => total + value / rows, 0)], [coefficient.value * oracle.loss], { relative: 1e-9, absolute: 1e-12 }, 'loss, derived here');
  const rowsOfLosses = found.floats('lossRows');
  within(rowsOfLosses.filter((_, at) => at % 3 === 1), lossTwin, 'loss');
  close(rowsOfLosses.filter((_, at) => at % 3 !== 1), new Float32Array(2 * rows).fill(7), {}, 'other losses');
  equal(found.integers('flags')[0], 4, 'flags');
});

const broken = fuzzed('the contrastive loss raises the flag at a code that is not finite, and not at one of a latent that is not compared',
  [{ latent: 1, flag: 1 }, { latent: 3, flag: 0 }], async (gpu, _, { latent, flag }) => {
  const found = await run(gpu, [], (bench) => {
    const side = (name: string, value: number) => ({
      pairs: {
        indices: bench.tensor(`${name} indices`, 1, 2, { data: Uint32Array.of(0, latent), stride: 2 }), values: bench.tensor(`${name} values`, 1, 2, { data: Float32Array.of(1, value), stride: 2 }),
        dz: bench.tensor(`${name} dz`, 1, 2, { data: new Float32Array(2), stride: 2 }), offsets: bench.tensor(`${name} offsets`, 1, 3, { data: Uint32Array.of(0, 1, 2) }),
      },
      codes: bench.tensor(`${name} codes`, 1, 2, { data: new Float32Array(2), stride: 2 }), byLatent: bench.tensor(`${name} by latent`, 2, 2, { data: new Float32Array(4) }),
      ofRow: bench.tensor(`${name} of row`, 2, 4, { data: new Float32Array(8), stride: 4 }),
    });
    const tensors = { lossRows: bench.tensor('losses', 2, 1, { stride: 1 }), flags: bench.tensor('flags', 1, 1, { data: Uint32Array.of(0) }) };
    const sides = [side('now', Infinity), side('before', 1)] as const;
    return {
      tensors,
      record: (rec) => {
        rec.clear = () => {};
        contrast(rec, { sides, ...tensors }, 2, { similarity: 'inner_product', coefficient: 1, column: 0 });
      },
    };
  });
  equal(found.integers('flags')[0], flag, 'flags');
});

export const cases: Case[] = [losses, broken];
