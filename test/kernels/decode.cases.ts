import { decodeDense, decodeSparse } from '../../src/kernels/index.ts';
import { decode } from '../oracle/linear.ts';
import { dotBound } from '../oracle/matrix.ts';
import type { Case } from '../support/case.ts';
import { close } from '../support/check.ts';
import { denseCodes, drawn, fuzzed, keptPairs, type Layout, layouts, magnitudes, normals, onAllKinds, pairTensors, run, sameBits } from '../support/kernels.ts';

const shapes = [
  { rows: 1, k: 1, dIn: 1, dSae: 1, cuts: [] },
  { rows: 3, k: 2, dIn: 3, dSae: 5, cuts: [1, 3] },
  { rows: 5, k: 7, dIn: 28, dSae: 7, cuts: [2] }, // k = d_sae
  { rows: 2, k: 16, dIn: 255, dSae: 64, cuts: [63] },
  { rows: 2, k: 3, dIn: 256, dSae: 65, cuts: [64] },
  { rows: 9, k: 33, dIn: 261, dSae: 127, cuts: [7, 126] }, // more vec4 columns than invocations
  ...drawn(3, (from) => ({ rows: from(1, 20), k: from(1, 30), dIn: from(1, 80), dSae: from(30, 90), cuts: [from(1, 40)] })),
];

export const cases: Case[] = [
  fuzzed('decode gives the kept rows of W_dec and b_dec within the rounding of their sum; so does its dense form', onAllKinds(shapes), async (gpu, random, { rows, k, dIn, dSae, cuts }) => {
    const kept = keptPairs(random, rows, k, dSae);
    const codes = denseCodes(kept, rows, dSae);
    const W = normals(random, dSae * dIn), b = normals(random, dIn);
    // Rows that no frame keeps are not to be looked at.
    for (let i = 0; i < dSae; i++) if (codes.every((value, j) => j % dSae !== i || value === 0) && !kept.indices.includes(i)) W.fill(NaN, i * dIn, (i + 1) * dIn);
    const finite = Float64Array.from(W, (value) => (Number.isNaN(value) ? 0 : value));
    const middle = random.below(dSae + 1);
    const decoded = async (layout: Layout, bias: 0 | 1, inHalves: boolean) => (await run(gpu, cuts, (bench, shardRows) => {
      const tensors = {
        ...pairTensors(bench, layout), W_dec: bench.tensor('W_dec', dSae, dIn, { data: W, shardRows }), b_dec: bench.tensor('b_dec', 1, dIn, { data: b }),
        before: bench.tensor('what the lower half gives', rows, dIn, { data: new Float32Array(rows * dIn) }), r: bench.tensor('r', rows, dIn),
      };
      const { before, ...whole } = tensors;
      return {
        tensors,
        record(rec) {
          if (!inHalves) return decodeSparse(rec, whole, rows, bias);
          decodeSparse(rec, { ...whole, r: before }, rows, bias, { from: 0, end: middle });
          decodeSparse(rec, tensors, rows, 1, { from: middle, end: dSae });
        },
      };
    })).floats('r');
    const skipsZeros = gpu.adapter.software && !gpu.gathersImages; // others multiply them
    const dense = (await run(gpu, cuts, (bench, shardRows) => {
      const tensors = {
        f: bench.tensor('f', rows, dSae, { data: Float32Array.from(codes), stride: dSae }),
        W_dec: bench.tensor('W_dec', dSae, dIn, { data: skipsZeros ? W : Float32Array.from(finite), shardRows }), b_dec: bench.tensor('b_dec', 1, dIn, { data: b }), r: bench.tensor('r', rows, dIn),
      };
      return { tensors, record: (rec) => decodeDense(rec, tensors, rows) };
    })).floats('r');

    const config = { dIn, dSae, applyBDecToInput: false, normalizeActivations: 'none' as const };
    for (const bias of [0, 1] as const) {
      const b_dec = Float64Array.from(b, (value) => bias * value);
      const expected = decode({ W_dec: finite, b_dec }, codes, config);
      const size = decode({ W_dec: magnitudes(finite), b_dec: magnitudes(b_dec) }, magnitudes(codes), config);
      const bound = { absolute: size.map((sumAbs) => dotBound(k + 1, sumAbs)) };
      const [slots, ragged] = layouts(kept, rows);
      const found = await decoded(slots, bias, false);
      close(found, expected, bound, `r with bias ${bias}`);
      close(await decoded(ragged, bias, false), found, {}, 'r of as many pairs as a row has');
      // A range that holds no latent records nothing.
      if (middle > 0 && middle < dSae) close(await decoded(ragged, bias, true), found, {}, `r of latents below ${middle}, then of the others`);
      if (bias === 0) continue;
      close(dense, expected, bound, 'r of the dense form');
      // Where the dense form skips zeros, adding a kept zero is all that the two do differently, and x + 0 = x but for the sign of a zero.
      const bits = (r: Float32Array): Uint32Array => new Uint32Array(r.map((value) => value + 0).buffer);
      if (skipsZeros) sameBits(bits(dense), bits(found), 'the dense form');
    }
  }),
];
