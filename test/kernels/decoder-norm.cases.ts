import { projectRows } from '../../src/kernels/index.ts';
import type { Case } from '../support/case.ts';
import { close, ok } from '../support/check.ts';
import { drawn, fuzzed, normals, onBothKinds, run } from '../support/kernels.ts';
import { divide, multiply, type Rounded, subtract, sum, sumOfSquares, within } from '../support/rounding.ts';

const shapes = onBothKinds([
  { dIn: 1, dSae: 1, cuts: [] }, { dIn: 3, dSae: 300, cuts: [128] }, { dIn: 257, dSae: 70, cuts: [] },
  ...drawn(2, (from) => ({ dIn: from(1, 300), dSae: from(1, 260), cuts: [128] })),
]);

export const cases: Case[] = [
  fuzzed('a projected gradient has lost what lies along its row, and the squares what that weighed, in one piece and in shards', shapes, async (gpu, random, { dIn, dSae, cuts }) => {
    const W = normals(random, dSae * dIn), gradient = normals(random, dSae * dIn), firstSquare = random.below(9);
    if (dSae > 2) {
      W.fill(0, dIn, 2 * dIn); // a row without a direction keeps its gradient
      gradient.set(W.subarray(2 * dIn, 3 * dIn), 2 * dIn); // nothing is left of one that is parallel
    }
    const rowOf = (M: Float32Array, i: number): number[] => [...M.subarray(i * dIn, (i + 1) * dIn)];
    // Of other gradients of the latent there is something in the squares too.
    const others = Float32Array.from({ length: dSae }, () => random.uniform());
    const squares = new Float32Array(firstSquare + dSae + 3).fill(7);
    for (let i = 0; i < dSae; i++) squares[firstSquare + i] = rowOf(gradient, i).reduce((total, value) => total + value * value, others[i]!);
    const found = await run(gpu, cuts, (bench, shardRows) => {
      const tensors = {
        W: bench.tensor('W', dSae, dIn, { data: W, shardRows }), gradient: bench.tensor('gradient', dSae, dIn, { data: gradient, shardRows }),
        squares: bench.tensor('squares', 1, squares.length, { data: squares }),
      };
      return { tensors, record: (rec) => projectRows(rec, tensors, firstSquare) };
    });

    const expected: Rounded[] = [], left: Rounded[] = Array.from(squares, (value) => ({ value, error: 0 }));
    for (let i = 0; i < dSae; i++) {
      const w = rowOf(W, i), g = rowOf(gradient, i);
      const length = sumOfSquares(w);
      if (length.value === 0) {
        expected.push(...g.map((value) => ({ value, error: 0 })));
        continue;
      }
      const along = sum(g.map((value, d) => multiply(value, w[d]!)));
      const c = divide(along, length);
      expected.push(...g.map((value, d) => subtract(value, multiply(c, w[d]!))));
      left[firstSquare + i] = subtract(squares[firstSquare + i]!, multiply(c, along));
    }
    within(found.floats('gradient'), expected, 'gradient');
    within(found.floats('squares'), left, 'squares');
    ok(found.floats('squares').every((value) => value >= 0), 'a square is negative');
    const after = found.floats('gradient');
    for (let i = 0; i < dSae; i++) {
      const w = rowOf(W, i), lengths = Math.hypot(...w) * Math.hypot(...rowOf(gradient, i));
      close([rowOf(after, i).reduce((total, value, d) => total + value * w[d]!, 0)], [0], { absolute: 2 ** -20 * (dIn + 4) * lengths }, `what is left along row ${i}`);
    }
  }),
];
