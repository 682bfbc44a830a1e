import { addRows, attend, removeProjection } from '../../src/kernels/index.ts';
import { causalAttention } from '../oracle/temporal-sae.ts';
import type { Case } from '../support/case.ts';
import { close, equal } from '../support/check.ts';
import { drawn, fuzzed, normals, onBothKinds, run } from '../support/kernels.ts';
import { add, divide, exponential, handedOver, multiply, type Rounded, squareRoot, subtract, sum, sumOfSquares, within } from '../support/rounding.ts';

interface Shape {
  heads: number;
  width: number;
  depth: number;
  /** Frames of the earlier blocks, and of the one that is attended from. */
  blocks: number[];
  /** Rows that the weights' scratch holds. */
  atOnce: number;
  /** How large scores are. */
  spread: number;
}

const shapes: Shape[] = [
  { heads: 1, width: 1, depth: 1, blocks: [1], atOnce: 1, spread: 1 },
  { heads: 3, width: 2, depth: 5, blocks: [9], atOnce: 4, spread: 1 },
  { heads: 2, width: 3, depth: 33, blocks: [4, 4], atOnce: 4, spread: 2 },
  { heads: 2, width: 7, depth: 8, blocks: [6, 6, 5], atOnce: 3, spread: 8 }, // one key may outweigh all others
  { heads: 1, width: 12, depth: 70, blocks: [66, 66, 17], atOnce: 9, spread: 1 },
  ...drawn(3, (from): Shape => ({ heads: from(1, 4), width: from(1, 9), depth: from(1, 20), blocks: Array.from({ length: from(1, 3) }, () => 13), atOnce: from(1, 13), spread: from(1, 4) })),
];

const attention = fuzzed('attention through blocks of keys is attention over all that came before', onBothKinds(shapes), async (gpu, random, { heads, width, depth, blocks, atOnce, spread }) => {
  const inner = heads * width, outer = heads * depth;
  const block = Math.max(...blocks), rows = blocks.at(-1)!, before = blocks.slice(0, -1).reduce((total, n) => total + n, 0);
  const q = normals(random, rows * inner, spread), keyBias = normals(random, inner), valueBias = normals(random, outer);
  const k = normals(random, (before + rows) * inner), v = normals(random, (before + rows) * outer);
  const found = await run(gpu, [], (bench) => {
    const part = (matrix: Float32Array, columns: number, n: number): Float32Array => {
      const padded = new Float32Array(block * columns).fill(NaN); // what lies behind a block's keys is not to be read
      padded.set(matrix.subarray(n * block * columns, (n * block + blocks[n]) * columns));
      return padded;
    };
    const keys = blocks.map((_, n) => bench.tensor(`k${n}`, block, inner, { data: part(k, inner, n) }));
    const values = blocks.map((_, n) => bench.tensor(`v${n}`, block, outer, { data: part(v, outer, n) }));
    const tensors = {
      q: bench.tensor('q', rows, inner, { data: q }), keyBias: bench.tensor('key bias', 1, inner, { data: keyBias }), valueBias: bench.tensor('value bias', 1, outer, { data: valueBias }),
      o: bench.tensor('o', rows, outer), weights: bench.tensor('weights', atOnce * heads, block, { stride: block }), running: bench.tensor('running', rows, 2 * heads, { stride: 2 * heads }),
      carry: bench.tensor('carry', rows, heads, { stride: heads }), flags: bench.tensor('flags', 1, 1, { data: Uint32Array.of(4) }), // other bits stay
    };
    return {
      tensors,
      record: (rec) => blocks.forEach((count, n) => {
        const own = n === blocks.length - 1;
        attend(rec, { ...tensors, k: keys[n], v: values[n] }, rows, { heads, keys: count, first: n === 0, last: own, own });
      }),
    };
  });

  // The oracle's row t sees rows 0 ... t of the context, of which row 0 is empty: its key and value are the biases.
  const shifted = (bias: Float32Array, matrix: Float32Array): Float64Array => Float64Array.of(...bias, ...matrix.subarray(0, matrix.length - bias.length));
  const queries = new Float64Array((before + rows) * inner);
  queries.set(q, before * inner);
  const oracle = causalAttention(queries, shifted(keyBias, k), shifted(valueBias, v), before + rows, heads).subarray(before * outer);

  const expected: Rounded[] = [];
  const scale = handedOver(1 / Math.sqrt(width));
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < heads; head++) {
      const score = (key: (d: number) => number): Rounded => (
        multiply(sum(Array.from({ length: width }, (_, d) => multiply(q[row * inner + head * width + d], key(head * width + d)))), scale)
      );
      const seen = before + row;
      const scores = [score((d) => keyBias[d]), ...Array.from({ length: seen }, (_, j) => score((d) => k[j * inner + d]))];
      // A weight is made relative to the largest score so far, then shrunk at each later block at most once more: as exp of the sum of the exponents.
      const largest = scores.reduce((most, one) => (one.value > most.value ? one : most));
      const weights = scores.map((one) => {
        const exact = exponential(subtract(one, largest));
        return { value: exact.value, error: exact.error + exact.value * blocks.length * 2 ** -23 * (8 + 2 * 2 * Math.abs(one.value - largest.value) + 4 * spread * Math.sqrt(width)) };
      });
      const total = sum(weights);
      for (let d = head * depth; d < (head + 1) * depth; d++) {
        expected.push(divide(sum(weights.map((weight, j) => multiply(weight, j === 0 ? valueBias[d] : v[(j - 1) * outer + d]))), total));
      }
    }
  }
  close(expected.map(({ value }) => value), oracle, { absolute: 1e-12, relative: 1e-9 }, 'attention, derived here');
  within(found.floats('o'), expected, 'attention');
  equal(found.integers('flags')[0], 4, 'flags');
});

const broken = fuzzed('attention raises the flag at a query, a key or a bias that is not finite, and not at one that no row sees',
  [{ where: 'q', flag: 1 }, { where: 'k', flag: 1 }, { where: 'bias', flag: 1 }, { where: 'unseen', flag: 0 }], async (gpu, random, { where, flag }) => {
    const q = normals(random, 12), k = normals(random, 12), bias = normals(random, 3);
    if (where === 'q') q[11] = Infinity;
    if (where === 'k') k[7] = NaN;
    if (where === 'bias') bias[1] = -Infinity;
    if (where === 'unseen') k[10] = NaN; // the last frame's key is for the frames after it
    const found = await run(gpu, [], (bench) => {
      const tensors = {
        q: bench.tensor('q', 4, 3, { data: q }), k: bench.tensor('k', 4, 3, { data: k }), v: bench.tensor('v', 4, 2, { data: normals(random, 8) }),
        keyBias: bench.tensor('key bias', 1, 3, { data: bias }), valueBias: bench.tensor('value bias', 1, 2, { data: normals(random, 2) }), o: bench.tensor('o', 4, 2),
        weights: bench.tensor('weights', 4, 4, { stride: 4 }), running: bench.tensor('running', 4, 2, { stride: 2 }), carry: bench.tensor('carry', 4, 1, { stride: 1 }),
        flags: bench.tensor('flags', 1, 1, { data: Uint32Array.of(0) }),
      };
      return { tensors, record: (rec) => attend(rec, tensors, 4, { heads: 1, keys: 4, first: true, last: true, own: true }) };
    });
    equal(found.integers('flags')[0], flag, 'flags');
  });

const rowShapes = [{ rows: 1, columns: 1 }, { rows: 3, columns: 5 }, { rows: 2, columns: 64 }, { rows: 7, columns: 131 }, ...drawn(2, (from) => ({ rows: from(1, 30), columns: from(1, 90) }))];

const projections = [true, false].map((first): Case => (
  fuzzed(`what points along another row is taken out and ${first ? 'kept' : 'added to what was taken before'}`, onBothKinds(rowShapes), async (gpu, random, { rows, columns }) => {
    const a = normals(random, rows * columns), x = normals(random, rows * columns), taken = normals(random, rows * columns);
    if (rows > 1) a.fill(0, columns, 2 * columns); // nothing points along a zero row
    const found = await run(gpu, [], (bench) => {
      const tensors = { a: bench.tensor('a', rows, columns, { data: a }), x: bench.tensor('x', rows, columns, { data: x }), taken: bench.tensor('taken', rows, columns, first ? {} : { data: taken }) };
      return { tensors, record: (rec) => removeProjection(rec, tensors, rows, first) };
    });
    const rest: Rounded[] = [], out: Rounded[] = [];
    for (let row = 0; row < rows; row++) {
      const [along, from] = [a, x].map((matrix) => [...matrix.subarray(row * columns, (row + 1) * columns)]);
      const length = add(squareRoot(sumOfSquares(along)), handedOver(1e-6));
      const share = divide(sum(along.map((value, d) => multiply(value, from[d]))), multiply(length, length));
      along.forEach((value, d) => {
        const part = multiply(share, value);
        rest.push(subtract(from[d], part));
        out.push(first ? part : add(taken[row * columns + d], part));
      });
    }
    within(found.floats('x'), rest, 'what is left');
    within(found.floats('taken'), out, 'what was taken');
  })
));

const sums = fuzzed('rows are added and scaled', rowShapes, async (gpu, random, { rows, columns }) => {
  const a = normals(random, rows * columns), b = normals(random, rows * columns), factor = handedOver(0.3 + random.uniform());
  const found = await run(gpu, [], (bench) => {
    const tensors = { a: bench.tensor('a', rows, columns, { data: a }), b: bench.tensor('b', rows, columns, { data: b }) };
    return { tensors, record: (rec) => addRows(rec, tensors, rows, factor.value) };
  });
  within(found.floats('a'), Array.from(a, (value, j) => multiply(factor, add(value, b[j]))), 'the sum');
});

export const cases: Case[] = [attention, broken, ...projections, sums];
