/** The kernels that measure an adapter do all the work that their costs count. */
import { peakBandwidth, peakCompute, peakLaunch, peakWorkgroup } from '../../src/kernels/index.ts';
import type { Case } from '../support/case.ts';
import { deepEqual, ok } from '../support/check.ts';
import { fuzzed, normals, run } from '../support/kernels.ts';

export const cases: Case[] = [
  fuzzed('the triad adds half of c to b, however many vec4s an invocation takes', [
    { rows: 1, columns: 4, per: 1 }, { rows: 7, columns: 36, per: 1 }, { rows: 7, columns: 36, per: 4 }, { rows: 33, columns: 68, per: 16 },
  ], async (gpu, random, { rows, columns, per }) => {
    const b = normals(random, rows * columns), c = normals(random, rows * columns);
    const found = await run(gpu, [], (bench) => {
      const tensors = { a: bench.tensor('a', rows, columns), b: bench.tensor('b', rows, columns, { data: b }), c: bench.tensor('c', rows, columns, { data: c }) };
      return { tensors, record: (rec) => peakBandwidth(rec, tensors, per) };
    });
    // Half of c is exact, so one rounding is left, to either neighbour.
    found.floats('a').forEach((value, n) => {
      const exact = b[n]! + 0.5 * c[n]!;
      ok(Math.abs(value - exact) <= 2 ** -23 * Math.abs(exact), `a[${n}] is ${value}, not ${exact}`);
    });
  }),
  fuzzed('chains of multiply-adds are carried out to their end', [{ groups: 1, rounds: 0 }, { groups: 2, rounds: 1 }, { groups: 3, rounds: 3 }], async (gpu, _, { groups, rounds }) => {
    const found = await run(gpu, [], (bench) => {
      const sums = bench.tensor('sums', groups * peakWorkgroup, 4);
      return { tensors: { sums }, record: (rec) => peakCompute(rec, sums, groups, rounds) };
    });
    // Each chain takes 16 of a round's 192 steps, and comes nearer to 1, where a = 0.999 a + 0.001 stays, by 0.999 at each.
    const steps = 16 * rounds;
    found.floats('sums').forEach((value, n) => {
      const start = Math.floor(n / 4) % peakWorkgroup;
      const exact = [0, 1, 2].reduce((sum, more) => sum + 1 + (start + more - 1) * 0.999 ** steps, 0);
      // Two roundings a step of numbers up to 66, of factors that are rounded themselves.
      ok(Math.abs(value - exact) <= 3 * 66 * (4 * steps + 2) * 2 ** -23, `sum ${n} is ${value}, not ${exact}`);
    });
  }),
  fuzzed('an empty launch changes nothing', [{}], async (gpu) => {
    const found = await run(gpu, [], (bench) => {
      const out = bench.tensor('out', 1, 4, { data: Float32Array.of(1, 2, 3, 4) });
      return { tensors: { out }, record: (rec) => peakLaunch(rec, out) };
    });
    deepEqual([...found.floats('out')], [1, 2, 3, 4], 'out');
  }),
];
