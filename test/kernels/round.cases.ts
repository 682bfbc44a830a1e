import { roundBias } from '../../src/kernels/index.ts';
import type { Case } from '../support/case.ts';
import { deepEqual } from '../support/check.ts';
import { drawn, fuzzed, normals, run } from '../support/kernels.ts';

/** To 8 significant bits, ties to the even one, by arithmetic alone. */
function toBfloat16(value: number): number {
  if (value === 0 || !Number.isFinite(value)) return value;
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(value))) - 7);
  const below = Math.floor(value / unit), rest = value / unit - below;
  return (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below) * unit;
}

export const cases: Case[] = [
  fuzzed('adding a bias in bfloat16 rounds before and after, ties to even', [
    { rows: 1, columns: 1 }, { rows: 3, columns: 5 }, { rows: 17, columns: 64 }, { rows: 5, columns: 66 }, ...drawn(3, (from) => ({ rows: from(1, 40), columns: from(1, 90) })),
  ], async (gpu, random, { rows, columns }) => {
    // Every fourth number lies exactly between two bfloat16.
    const a = normals(random, rows * columns, 3).map((value, n) => (n % 4 === 0 ? toBfloat16(value) * (1 + 2 ** -8) : value));
    const bias = normals(random, columns);
    const found = await run(gpu, [], (bench) => {
      const tensors = { a: bench.tensor('a', rows, columns, { data: a }), bias: bench.tensor('bias', 1, columns, { data: bias }) };
      return { tensors, record: (rec) => roundBias(rec, tensors, rows) };
    });
    const expected = a.map((value, n) => toBfloat16(Math.fround(toBfloat16(value) + bias[n % columns]!)));
    deepEqual(found.floats('a').subarray(0, a.length), expected, 'a');
  }),
];
