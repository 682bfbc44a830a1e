/** Products with weights, and the sums over a batch that their gradients are. */
import type { Tensor } from '../../gpu/index.ts';
import {
  columnSums, decodeDense, decodeSparse, denseGradients, encode, gatheredGradients, invertPairs, keptGradients, latentGradients, latentSquares, noLatent, projectRows, rowNorms, rowSquares,
  scaleRows,
} from '../../kernels/index.ts';
import { type Bench, type Check, dIn, dSae, k, rows } from '../bench.ts';
import { add, divide, handedOver, multiply, type Rounded, squareRoot, subtract, sum, sumOfSquares } from '../rounding.ts';

type Numbers = ArrayLike<number>;

/** Row n of a matrix of so many columns. */
const rowOf = (matrix: Float32Array, n: number, columns: number): Float32Array => matrix.subarray(n * columns, (n + 1) * columns);
const dot = (a: Numbers, b: Numbers): Rounded => sum(Array.from(a, (value, n) => multiply(value, b[n]!)));
/** Element by element of a matrix [height, width]. */
const matrix = (height: number, width: number, element: (row: number, column: number) => Rounded): Rounded[] =>
  Array.from({ length: height * width }, (_, at) => element(Math.floor(at / width), at % width));

/** Kept pairs with gradients of their values, on the GPU and here, and their inverse index. */
function keptPairs(bench: Bench) {
  const { indices, values } = bench.pairs();
  const dz = bench.numbers(rows * k);
  const tensors = { indices: bench.given('indices', rows, k, indices), values: bench.given('values', rows, k, values), dz: bench.given('dz', rows, k, dz) };
  const index = {
    counts: bench.made('counts', 1, dSae, 'u32'), starts: bench.made('starts', 1, dSae + 1, 'u32'), entries: bench.made('entries', rows * k, 3, 'u32'),
    bitmap: bench.made('bitmap', dSae, 4 * Math.ceil(rows / 128), 'u32'), ranks: bench.made('ranks', dSae, Math.ceil(rows / 128), 'u32'),
  };
  /** Slots of a latent, rows ascending. */
  const slotsOf = (latent: number): number[] => [...indices.keys()].filter((slot) => indices[slot] === latent);
  return { indices, values, dz, tensors, index, slotsOf };
}

/** grad[i,:] = sum over the latent's slots of weight times the row of M. */
function gathered(slotsOf: (latent: number) => number[], weights: Float32Array, M: Float32Array): Rounded[] {
  return matrix(dSae, dIn, (i, d) => sum(slotsOf(i).map((slot) => multiply(weights[slot]!, M[Math.floor(slot / k) * dIn + d]!))));
}

const squaresOf = (grad: readonly Rounded[], i: number): Rounded => sumOfSquares(grad.slice(i * dIn, (i + 1) * dIn));

export const products: Check[] = [
  {
    family: 'encode', name: 'pre-activations', kind: 'rounded',
    run(bench) {
      const x = bench.numbers(rows * dIn), W = bench.numbers(dSae * dIn), b = bench.numbers(dSae);
      const h = bench.made('h', rows, dSae);
      const tensors = { xc: bench.given('xc', rows, dIn, x), W_enc: bench.given('W_enc', dSae, dIn, W), b_enc: bench.given('b_enc', 1, dSae, b), h };
      bench.record((rec) => encode(rec, tensors, 0, rows));
      return { h: { tensor: h, expected: matrix(rows, dSae, (row, i) => sum([...Array.from(rowOf(x, row, dIn), (value, d) => multiply(value, W[i * dIn + d]!)), b[i]!])) } };
    },
  },
  {
    family: 'decode', name: 'reconstructions of kept pairs', kind: 'rounded',
    run(bench) {
      const { indices, values, tensors } = keptPairs(bench);
      const W = bench.numbers(dSae * dIn), b = bench.numbers(dIn), r = bench.made('r', rows, dIn);
      bench.record((rec) => decodeSparse(rec, { ...tensors, W_dec: bench.given('W_dec', dSae, dIn, W), b_dec: bench.given('b_dec', 1, dIn, b), r }, rows, 1));
      const terms = (row: number, d: number) => [0, 1, 2, 3].map((j) => row * k + j).filter((slot) => indices[slot] !== noLatent).map((slot) => multiply(values[slot]!, W[indices[slot]! * dIn + d]!));
      return { r: { tensor: r, expected: matrix(rows, dIn, (row, d) => sum([b[d]!, ...terms(row, d)])) } };
    },
  },
  {
    family: 'dense', name: 'products with dense codes', kind: 'rounded',
    run(bench) {
      const f = bench.numbers(rows * dSae).map((value) => Math.max(value, 0)), W = bench.numbers(dSae * dIn), b = bench.numbers(dIn), M = bench.numbers(rows * dIn);
      const codes = bench.given('f', rows, dSae, f), r = bench.made('r', rows, dIn), gradient = bench.made('gradient', dSae, dIn);
      bench.record((rec) => {
        decodeDense(rec, { f: codes, W_dec: bench.given('W_dec', dSae, dIn, W), b_dec: bench.given('b_dec', 1, dIn, b), r }, rows);
        denseGradients(rec, { a: codes, M: bench.given('M', rows, dIn, M), gradient }, { firstRow: 0, rows, batch: rows }, false);
      });
      return {
        r: { tensor: r, expected: matrix(rows, dIn, (row, d) => sum([b[d]!, ...Array.from(rowOf(f, row, dSae), (value, i) => multiply(value, W[i * dIn + d]!))])) },
        gradient: { tensor: gradient, expected: matrix(dSae, dIn, (i, d) => sum(Array.from({ length: rows }, (_, row) => multiply(f[row * dSae + i]!, M[row * dIn + d]!)))) },
      };
    },
  },
  {
    family: 'gradients', name: 'gradients of kept values', kind: 'rounded',
    run(bench) {
      const { indices, tensors } = keptPairs(bench);
      const g = bench.numbers(rows * dIn), W = bench.numbers(dSae * dIn);
      const dz = bench.made('dz of pairs', rows, k);
      bench.record((rec) => keptGradients(rec, { ...tensors, dz, g: bench.given('g', rows, dIn, g), W_dec: bench.given('W_dec', dSae, dIn, W) }, rows, true));
      const expected = matrix(rows, k, (row, j) => (indices[row * k + j] === noLatent ? sum([]) : dot(rowOf(g, row, dIn), rowOf(W, indices[row * k + j]!, dIn))));
      return { dz: { tensor: dz, expected } };
    },
  },
  {
    family: 'gradients', name: 'gradients of weights', kind: 'rounded',
    run(bench) {
      const { values, dz, tensors, index, slotsOf } = keptPairs(bench);
      const g = bench.numbers(rows * dIn), xc = bench.numbers(rows * dIn);
      const out = { W_dec: bench.made('grad W_dec', dSae, dIn), W_enc: bench.made('grad W_enc', dSae, dIn), b_enc: bench.made('grad b_enc', 1, 2 * dSae) };
      bench.record((rec) => {
        invertPairs(rec, tensors, index, rows, false);
        latentGradients(rec, index, { g: bench.given('g', rows, dIn, g), xc: bench.given('xc', rows, dIn, xc) }, out, false);
      });
      const dec = gathered(slotsOf, values, g), enc = gathered(slotsOf, dz, xc);
      const bias = Array.from({ length: dSae }, (_, i) => sum(slotsOf(i).map((slot) => dz[slot]!)));
      const squares = bias.map((value, i) => sum([squaresOf(dec, i), squaresOf(enc, i), multiply(value, value)]));
      return { W_dec: { tensor: out.W_dec, expected: dec }, W_enc: { tensor: out.W_enc, expected: enc }, b_enc: { tensor: out.b_enc, expected: [...bias, ...squares] } };
    },
  },
  {
    family: 'gathered', name: 'gradients of one weight', kind: 'rounded',
    run(bench) {
      const { values, dz, tensors, index, slotsOf } = keptPairs(bench);
      const M = bench.numbers(rows * dIn), given = bench.given('M', rows, dIn, M);
      const weight = (label: string): { grad: Tensor; sums: Tensor } => ({ grad: bench.made(label, dSae, dIn), sums: bench.made(`${label}, sums`, 1, 2 * dSae) });
      const byValue = weight('by value'), byDz = weight('by dz');
      bench.record((rec) => {
        invertPairs(rec, tensors, index, rows, false);
        gatheredGradients(rec, index, { M: given, ...byValue }, { kind: 'value' }, dSae, false);
        gatheredGradients(rec, index, { M: given, ...byDz }, { kind: 'dz' }, dSae, false);
        rowSquares(rec, { M: given, squares: byValue.sums }, 0);
      });
      const values1 = gathered(slotsOf, values, M), dz1 = gathered(slotsOf, dz, M), latents = Array.from({ length: dSae }, (_, i) => i);
      const bias = latents.map((i) => sum(slotsOf(i).map((slot) => dz[slot]!)));
      const zero: Rounded = { value: 0, error: 0 };
      const rowSums = latents.map((i) => (i < rows ? sumOfSquares([...rowOf(M, i, dIn)]) : zero));
      return {
        'by value': { tensor: byValue.grad, expected: values1 }, 'by dz': { tensor: byDz.grad, expected: dz1 },
        'sums by value': { tensor: byValue.sums, expected: [...rowSums, ...latents.map((i) => squaresOf(values1, i))] },
        'sums by dz': { tensor: byDz.sums, expected: [...bias, ...latents.map((i) => add(squaresOf(dz1, i), multiply(bias[i]!, bias[i]!)))] },
      };
    },
  },
  {
    family: 'columns', name: 'sums of columns', kind: 'rounded',
    run(bench) {
      const M = bench.numbers(dSae * dIn), weights = bench.numbers(dSae), before = bench.numbers(dIn), factor = 1 / 3;
      const total = bench.given('total', 1, dIn, before);
      bench.record((rec) => columnSums(rec, { M: bench.given('M', dSae, dIn, M), weights: bench.given('weights', 1, dSae, weights), total, partial: bench.made('partial', 1, dIn) }, dSae, factor, true));
      return { total: { tensor: total, expected: matrix(1, dIn, (_, d) => add(before[d]!, multiply(handedOver(factor), sum(Array.from(weights, (weight, i) => multiply(weight, M[i * dIn + d]!)))))) } };
    },
  },
  {
    family: 'latents', name: 'norms and lengths of rows', kind: 'rounded',
    run(bench) {
      const data = bench.numbers(dSae * dIn), W = bench.given('W', dSae, dIn, data), norms = bench.made('norms', 1, dSae), length = 0.1;
      bench.record((rec) => {
        rowNorms(rec, { W, norms });
        scaleRows(rec, { W, norms }, length);
      });
      const expected = Array.from({ length: dSae }, (_, i) => squareRoot(sumOfSquares([...rowOf(data, i, dIn)])));
      return { norms: { tensor: norms, expected }, W: { tensor: W, expected: matrix(dSae, dIn, (i, d) => multiply(data[i * dIn + d]!, divide(handedOver(length), expected[i]!))) } };
    },
  },
  {
    family: 'decoder-norm', name: 'projections of gradients', kind: 'rounded',
    run(bench) {
      const w = bench.numbers(dSae * dIn), g = bench.numbers(dSae * dIn), before = bench.numbers(dSae, 40, 80);
      const gradient = bench.given('gradient', dSae, dIn, g), squares = bench.given('squares', 1, dSae, before);
      bench.record((rec) => projectRows(rec, { W: bench.given('W', dSae, dIn, w), gradient, squares }, 0));
      const along = Array.from({ length: dSae }, (_, i) => dot(rowOf(g, i, dIn), rowOf(w, i, dIn)));
      const share = along.map((value, i) => divide(value, sumOfSquares([...rowOf(w, i, dIn)])));
      return {
        gradient: { tensor: gradient, expected: matrix(dSae, dIn, (i, d) => subtract(g[i * dIn + d]!, multiply(share[i]!, w[i * dIn + d]!))) },
        squares: { tensor: squares, expected: share.map((value, i) => subtract(before[i]!, multiply(value, along[i]!))) },
      };
    },
  },
  {
    family: 'dense', name: 'squares of latents\' gradients', kind: 'rounded',
    run(bench) {
      const w = bench.numbers(dSae * dIn), dec = bench.numbers(dSae * dIn), enc = bench.numbers(dSae * dIn), given = bench.numbers(3 * dSae), one = bench.numbers(dSae);
      const gradWDec = bench.given('grad W_dec', dSae, dIn, dec), sums = bench.given('sums', 1, 3 * dSae, given);
      bench.record((rec) => latentSquares(rec, { W_dec: bench.given('W_dec', dSae, dIn, w), gradWDec, gradWEnc: bench.given('grad W_enc', dSae, dIn, enc), sums }, [bench.given('one', 1, dSae, one)], true));
      const latents = Array.from({ length: dSae }, (_, i) => i);
      const pull = latents.map((i) => divide(given[2 * dSae + i]!, squareRoot(sumOfSquares([...rowOf(w, i, dIn)]))));
      const pulled = matrix(dSae, dIn, (i, d) => add(dec[i * dIn + d]!, multiply(pull[i]!, w[i * dIn + d]!)));
      const exact = (values: Float32Array): Rounded[] => Array.from(values, (value) => ({ value, error: 0 }));
      const squares = latents.map((i) => sum([squaresOf(pulled, i), sumOfSquares([...rowOf(enc, i, dIn)]), multiply(given[i]!, given[i]!), multiply(one[i]!, one[i]!)]));
      return {
        'grad W_dec': { tensor: gradWDec, expected: pulled },
        sums: { tensor: sums, expected: [...exact(given.subarray(0, dSae)), ...squares, ...exact(given.subarray(2 * dSae))] },
      };
    },
  },
];
