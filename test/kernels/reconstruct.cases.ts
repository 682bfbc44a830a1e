import { type KeptPairs, noLatent, reconstructRows } from '../../src/kernels/index.ts';
import { decode, squaredError } from '../oracle/linear.ts';
import { matmulTransposeB } from '../oracle/matrix.ts';
import { denormalize } from '../oracle/normalize.ts';
import type { Case } from '../support/case.ts';
import { close } from '../support/check.ts';
import { denseCodes, drawn, fuzzed, keptPairs, layouts, normals, onAllKinds, pairTensors, run } from '../support/kernels.ts';
import { add, divide, multiply, type Rounded, subtract, sum, sumOfSquares, within } from '../support/rounding.ts';

const shapes = [
  { rows: 1, k: 1, dIn: 1, dSae: 1, cuts: [] },
  { rows: 3, k: 2, dIn: 3, dSae: 5, cuts: [1, 3] }, // of two shards, which takes three kernels
  { rows: 4, k: 8, dIn: 31, dSae: 8, cuts: [] }, // k = d_sae
  { rows: 5, k: 9, dIn: 32, dSae: 64, cuts: [] },
  { rows: 3, k: 24, dIn: 257, dSae: 65, cuts: [] },
  { rows: 6, k: 32, dIn: 33, dSae: 127, cuts: [] },
  { rows: 2, k: 33, dIn: 28, dSae: 40, cuts: [] }, // more pairs than one kernel holds
  ...drawn(3, (from) => ({ rows: from(1, 20), k: from(1, 32), dIn: from(2, 80), dSae: from(32, 90), cuts: [] })),
];

const single = (value: number): Rounded => ({ value, error: 0 });

export const cases: Case[] = [true, false].map((relu) => (
  fuzzed(`from kept pairs to the output, its error's gradient, statistics and the values' gradients${relu ? ', zero where a value is not positive' : ''}`,
    onAllKinds(shapes), async (gpu, random, { rows, k, dIn, dSae, cuts }) => {
      const kept = keptPairs(random, rows, k, dSae), [layout] = layouts(kept, rows);
      const W = normals(random, dSae * dIn), b = normals(random, dIn), t = normals(random, rows * dIn), mean = normals(random, dIn, 0.3), affine = normals(random, rows * 2);
      const found = await run(gpu, cuts, (bench, shardRows) => {
        const vector = (label: string, data: Float32Array) => bench.tensor(label, 1, dIn, { data });
        const tensors = {
          ...pairTensors(bench, layout!), dz: bench.tensor('dz', rows, k, { data: new Float32Array(rows * k), stride: k }), W_dec: bench.tensor('W_dec', dSae, dIn, { data: W, shardRows }),
          b_dec: vector('b_dec', b), mean: vector('mean', mean), t: bench.tensor('t', rows, dIn, { data: t }), rowAffine: bench.tensor('affine', rows, 2, { data: affine, stride: 2 }),
          out: bench.tensor('out', rows, dIn), g: bench.tensor('g', rows, dIn, { data: new Float32Array(rows * dIn) }), stats: bench.tensor('stats', rows, 4, { stride: 4 }),
        };
        return { tensors, record: (rec) => reconstructRows(rec, tensors as typeof tensors & KeptPairs, rows, { relu, keepOut: true }) };
      });

      // The equations, with what rounding may make of them.
      const row = (j: number): number => Math.floor(j / dIn);
      const pairs = [...kept.indices.keys()].filter((slot) => kept.indices[slot] !== noLatent);
      const r = Array.from({ length: rows * dIn }, (_, j) => sum([
        single(b[j % dIn]!), ...pairs.filter((slot) => Math.floor(slot / k) === row(j)).map((slot) => multiply(kept.values[slot]!, W[kept.indices[slot]! * dIn + (j % dIn)]!)),
      ]));
      const out = r.map((value, j) => add(multiply(value, affine[2 * row(j)]!), affine[2 * row(j) + 1]!));
      const error = out.map((value, j) => subtract(value, t[j]!));
      const deviation = Array.from(t, (value, j) => subtract(value, mean[j % dIn]!));
      const g = error.map((e, j) => multiply(multiply(divide(2, rows), affine[2 * row(j)]!), e));
      const squaresOf = (numbers: Rounded[], of: number): Rounded => sumOfSquares(numbers.slice(of * dIn, (of + 1) * dIn));
      const stats = Array.from({ length: rows }, (_, of) => {
        const active = pairs.filter((slot) => Math.floor(slot / k) === of && kept.values[slot] !== 0).length;
        return [squaresOf(error, of), squaresOf(deviation, of), divide(squaresOf(error, of), squaresOf(deviation, of)), single(active)];
      }).flat();
      const dz = pairs.map((slot): Rounded => {
        const of = Math.floor(slot / k), latent = kept.indices[slot]!;
        if (relu && kept.values[slot]! <= 0) return single(0);
        return sum(Array.from({ length: dIn }, (_, d) => multiply(g[of * dIn + d]!, W[latent * dIn + d]!)));
      });

      // The same by the oracle, whose words are others.
      const config = { dIn, dSae, applyBDecToInput: false, normalizeActivations: 'none' as const };
      const codes = denseCodes(kept, rows, dSae), scaling = { x: new Float64Array(0), scale: Float64Array.from({ length: rows }, (_, of) => affine[2 * of]!), shift: Float64Array.from({ length: rows }, (_, of) => affine[2 * of + 1]!) };
      const given = denormalize(decode({ W_dec: Float64Array.from(W), b_dec: Float64Array.from(b) }, codes, config), dIn, scaling);
      const upstream = squaredError(given, Float64Array.from(t), dIn).gradient.map((value, j) => value * affine[2 * row(j)]!);
      const products = matmulTransposeB(upstream, Float64Array.from(W), rows, dIn, dSae);
      const agree = (twin: readonly Rounded[], oracle: ArrayLike<number>, what: string): void => close(twin.map(({ value }) => value), oracle, { absolute: 1e-10, relative: 1e-9 }, `${what}, derived here`);
      agree(out, given, 'out');
      agree(g, upstream, 'g');
      agree(dz, pairs.map((slot) => (relu && kept.values[slot]! <= 0 ? 0 : products[Math.floor(slot / k) * dSae + kept.indices[slot]!]!)), 'dz');

      within(found.floats('out'), out, 'out');
      within(found.floats('g'), g, 'g');
      within(found.floats('stats'), stats, 'stats');
      const gradients = found.floats('dz');
      within(pairs.map((slot) => gradients[slot]!), dz, 'dz');
    })
));
