import { levelRows, listRange, noLatent } from '../../src/kernels/index.ts';
import { squaredError } from '../oracle/linear.ts';
import { denormalize } from '../oracle/normalize.ts';
import type { Case } from '../support/case.ts';
import { close } from '../support/check.ts';
import { drawn, fuzzed, normals, onBothKinds, run, sameBits } from '../support/kernels.ts';
import { add, divide, multiply, type Rounded, subtract, sumOfSquares, within } from '../support/rounding.ts';

const shapes = [
  { rows: 1, dIn: 1 }, { rows: 3, dIn: 3 }, { rows: 2, dIn: 28 }, { rows: 5, dIn: 65 }, { rows: 2, dIn: 130 }, ...drawn(2, (from) => ({ rows: from(1, 20), dIn: from(2, 90) })),
];

export const cases: Case[] = [
  fuzzed('an inner level gives its error and adds its gradient to that of the wider level', onBothKinds(shapes), async (gpu, random, { rows, dIn }) => {
    const t = normals(random, rows * dIn), r = normals(random, rows * dIn), outer = normals(random, rows * dIn), affine = normals(random, rows * 2);
    const given = normals(random, rows * 3), column = random.below(3);
    const found = await run(gpu, [], (bench) => {
      const tensors = {
        t: bench.tensor('t', rows, dIn, { data: t }), rowAffine: bench.tensor('affine', rows, 2, { data: affine, stride: 2 }), outer: bench.tensor('outer', rows, dIn, { data: outer }),
        r: bench.tensor('r', rows, dIn, { data: r }), lossRows: bench.tensor('losses', rows, 3, { data: given, stride: 3 }),
      };
      return { tensors, record: (rec) => levelRows(rec, tensors, rows, column) };
    });
    const gain = (j: number): number => affine[2 * Math.floor(j / dIn)], shift = (j: number): number => affine[2 * Math.floor(j / dIn) + 1];
    const error = Array.from(r, (value, j) => subtract(add(multiply(value, gain(j)), shift(j)), t[j]));
    const g = error.map((e, j) => add(outer[j], multiply(multiply(divide(2, rows), gain(j)), e)));
    const losses = Array.from(given, (value, j): Rounded => {
      const row = Math.floor(j / 3);
      return j % 3 === column ? sumOfSquares(error.slice(row * dIn, (row + 1) * dIn)) : { value, error: 0 };
    });
    const scaling = { x: new Float64Array(0), scale: Float64Array.from({ length: rows }, (_, b) => affine[2 * b]), shift: Float64Array.from({ length: rows }, (_, b) => affine[2 * b + 1]) };
    const { gradient } = squaredError(denormalize(Float64Array.from(r), dIn, scaling), Float64Array.from(t), dIn);
    close(g.map(({ value }) => value), gradient.map((value, j) => outer[j] + value * gain(j)), { absolute: 1e-12, relative: 1e-9 }, 'g, derived here');
    within(found.floats('r'), g, 'g');
    within(found.floats('lossRows'), losses, 'losses');
  }),

  fuzzed('the part of a list that lies in a range keeps its order', [
    { dSae: 1, count: 1, from: 0, end: 1 }, { dSae: 9, count: 0, from: 0, end: 9 }, { dSae: 70, count: 70, from: 3, end: 69 }, { dSae: 200, count: 90, from: 0, end: 100 },
    { dSae: 200, count: 90, from: 100, end: 200 }, { dSae: 300, count: 4, from: 120, end: 121 },
  ], async (gpu, random, { dSae, count, from, end }) => {
    const list = [...random.permutation(dSae).subarray(0, count).sort()];
    const expected = list.filter((latent) => latent >= from && latent < end);
    const found = await run(gpu, [], (bench) => {
      const tensors = {
        list: bench.tensor('list', 1, dSae + 1, { data: Uint32Array.of(count, ...list, ...new Uint32Array(dSae - count).fill(noLatent)) }),
        part: bench.tensor('part', 1, dSae + 1, { dtype: 'u32' }),
      };
      return { tensors, record: (rec) => listRange(rec, tensors, { from, end }) };
    });
    sameBits(found.integers('part').subarray(0, expected.length + 1), Uint32Array.of(expected.length, ...expected), 'part');
  }),
];
