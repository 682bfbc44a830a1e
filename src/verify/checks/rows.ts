/** What is done to frames row by row, and one number per batch or parameter: errors, losses, totals, Adam. */
import {
  adam, addRows, auxiliaryRows, errorRows, levelRows, meanCutoff, noLatent, prepareRows, recordFloats, removeProjection, residualRows, type rowNormalisations, stepTotals,
} from '../../kernels/index.ts';
import { type Bench, type Check, dIn, dSae, k, rows } from '../bench.ts';
import { add, divide, handedOver, minimum, multiply, type Rounded, squareRoot, subtract, sum, sumOfSquares } from '../rounding.ts';

type Operand = Rounded | number;

const inRows = (of: (row: number) => readonly Rounded[]): Rounded[] => Array.from({ length: rows }, (_, row) => of(row)).flat();
const rowOf = (matrix: Float32Array, row: number): number[] => [...matrix.subarray(row * dIn, (row + 1) * dIn)];
const exact = (value: number): Rounded => ({ value, error: 0 });
/** 2 / rows, times a gain. */
const slopeOf = (gain: Operand): Rounded => multiply(divide(2, rows), gain);

/** Gain and shift of every row [rows, 2]. */
function affine(bench: Bench) {
  const numbers = bench.numbers(rows * 2, 0.5, 2);
  return { rowAffine: bench.given('row affine', rows, 2, numbers), gain: (row: number) => numbers[2 * row]!, shift: (row: number) => numbers[2 * row + 1]! };
}

function prepared(normalise: Exclude<keyof typeof rowNormalisations, 'none'>): Check {
  return {
    family: 'rows', name: `frames under ${normalise}`, kind: 'rounded',
    run(bench) {
      const frames = bench.numbers(rows * dIn), centre = bench.numbers(dIn), b = bench.numbers(dIn), scale = 0.3;
      const out = { t: bench.made('t', rows, dIn), xc: bench.made('xc', rows, dIn), rowAffine: bench.made('row affine', rows, 2) };
      const tensors = { frames: bench.given('frames', rows, dIn, frames), centre: bench.given('centre', 1, dIn, centre), b_dec: bench.given('b_dec', 1, dIn, b), ...out };
      bench.record((rec) => prepareRows(rec, tensors, rows, { scale, normalise, subtractBDec: true }));
      const all = Array.from({ length: rows }, (_, row) => {
        const t = rowOf(frames, row).map((value, d) => multiply(subtract(value, centre[d]!), handedOver(scale)));
        const layer = normalise === 'layer_norm';
        const shift = layer ? divide(sum(t), dIn) : exact(0);
        const squares = sumOfSquares(t.map((value) => (layer ? subtract(value, shift) : value)));
        const gain = layer ? squareRoot(divide(squares, dIn - 1)) : undefined;
        const inverse = gain ? divide(1, add(gain, handedOver(1e-5))) : divide(squareRoot(dIn), squareRoot(squares));
        return { t, xc: t.map((value, d) => subtract(multiply(subtract(value, shift), inverse), b[d]!)), affine: [gain ?? divide(1, inverse), shift] };
      });
      return {
        t: { tensor: out.t, expected: inRows((row) => all[row]!.t) }, xc: { tensor: out.xc, expected: inRows((row) => all[row]!.xc) },
        affine: { tensor: out.rowAffine, expected: inRows((row) => all[row]!.affine) },
      };
    },
  };
}

export const rowWork: Check[] = [
  prepared('constant_norm_rescale'),
  prepared('layer_norm'),
  {
    family: 'rows', name: 'errors of reconstructions', kind: 'rounded',
    run(bench) {
      const t = bench.numbers(rows * dIn), r = bench.numbers(rows * dIn), mean = bench.numbers(dIn), active = bench.wholes(rows, 9).map(Math.abs), { rowAffine, gain, shift } = affine(bench);
      const out = { r: bench.given('r', rows, dIn, r), g: bench.made('g', rows, dIn), stats: bench.made('stats', rows, 4) };
      const tensors = { t: bench.given('t', rows, dIn, t), mean: bench.given('mean', 1, dIn, mean), rowAffine, active: bench.given('active', rows, 1, active) };
      bench.record((rec) => residualRows(rec, { ...tensors, ...out }, rows));
      const all = Array.from({ length: rows }, (_, row) => {
        const given = rowOf(r, row).map((value) => add(multiply(value, gain(row)), shift(row)));
        const e = given.map((value, d) => subtract(value, t[row * dIn + d]!));
        const squares = sumOfSquares(e), spread = sumOfSquares(rowOf(t, row).map((value, d) => subtract(value, mean[d]!)));
        return { given, g: e.map((value) => multiply(slopeOf(gain(row)), value)), stats: [squares, spread, divide(squares, spread), exact(active[row]!)] };
      });
      return {
        r: { tensor: out.r, expected: inRows((row) => all[row]!.given) }, g: { tensor: out.g, expected: inRows((row) => all[row]!.g) },
        stats: { tensor: out.stats, expected: inRows((row) => all[row]!.stats) },
      };
    },
  },
  {
    family: 'rows', name: 'the auxiliary loss', kind: 'rounded',
    run(bench) {
      const t = bench.numbers(rows * dIn), out = bench.numbers(rows * dIn), r = bench.numbers(rows * dIn), { rowAffine, gain, shift } = affine(bench);
      const rAux = bench.given('r_aux', rows, dIn, r), lossRows = bench.made('losses', rows, 2), kAux = 10, coefficient = 0.7;
      const tensors = { t: bench.given('t', rows, dIn, t), out: bench.given('out', rows, dIn, out), rowAffine, dead: bench.list([1, 2, 9, 20, 33, 40, 41]) };
      bench.record((rec) => auxiliaryRows(rec, { ...tensors, rAux, lossRows }, rows, { kAux, coefficient, affine: true, column: 1 }));
      const weight = multiply(handedOver(coefficient), minimum(divide(7, kAux), 1));
      const all = Array.from({ length: rows }, (_, row) => {
        const difference = rowOf(r, row).map((value, d) => subtract(add(multiply(value, gain(row)), shift(row)), subtract(t[row * dIn + d]!, out[row * dIn + d]!)));
        const slope = multiply(divide(multiply(weight, 2), rows), gain(row));
        return { g: difference.map((value) => multiply(slope, value)), losses: [exact(0), multiply(weight, sumOfSquares(difference))] };
      });
      return { g: { tensor: rAux, expected: inRows((row) => all[row]!.g) }, losses: { tensor: lossRows, expected: inRows((row) => all[row]!.losses) } };
    },
  },
  {
    family: 'levels', name: 'errors of an inner level', kind: 'rounded',
    run(bench) {
      const t = bench.numbers(rows * dIn), outer = bench.numbers(rows * dIn), given = bench.numbers(rows * dIn), { rowAffine, gain, shift } = affine(bench);
      const r = bench.given('r', rows, dIn, given), lossRows = bench.made('losses', rows, 1);
      bench.record((rec) => levelRows(rec, { t: bench.given('t', rows, dIn, t), rowAffine, outer: bench.given('outer', rows, dIn, outer), r, lossRows }, rows, 0));
      const errors = Array.from({ length: rows }, (_, row) => rowOf(given, row).map((value, d) => subtract(add(multiply(value, gain(row)), shift(row)), t[row * dIn + d]!)));
      return {
        r: { tensor: r, expected: inRows((row) => errors[row]!.map((e, d) => add(outer[row * dIn + d]!, multiply(slopeOf(gain(row)), e)))) },
        losses: { tensor: lossRows, expected: errors.map((e) => sumOfSquares(e)) },
      };
    },
  },
  {
    family: 'dense', name: 'a reconstruction\'s error', kind: 'rounded',
    run(bench) {
      const t = bench.numbers(rows * dIn), given = bench.numbers(rows * dIn), r = bench.given('r', rows, dIn, given), lossRows = bench.made('losses', rows, 1);
      bench.record((rec) => errorRows(rec, { t: bench.given('t', rows, dIn, t), r, lossRows }, { firstRow: 0, rows, batch: rows }, 0));
      const errors = Array.from({ length: rows }, (_, row) => rowOf(given, row).map((value, d) => subtract(value, t[row * dIn + d]!)));
      return { r: { tensor: r, expected: errors.flat().map((e) => multiply(divide(2, rows), e)) }, losses: { tensor: lossRows, expected: errors.map((e) => sumOfSquares(e)) } };
    },
  },
  {
    family: 'cutoff', name: 'where rows are cut', kind: 'rounded',
    run(bench) {
      const { indices, values } = bench.pairs(), norms = bench.numbers(dSae, 0.5, 2), cutoff = bench.made('cutoff', 1, 1);
      bench.record((rec) => meanCutoff(rec, { indices: bench.given('indices', rows, k, indices), values: bench.given('values', rows, k, values), norms: bench.given('norms', 1, dSae, norms), cutoff }, rows));
      const reported = (slot: number): Rounded => (indices[slot] === noLatent ? exact(0) : multiply(values[slot]!, norms[indices[slot]!]!));
      const least = Array.from({ length: rows }, (_, row) => [0, 1, 2, 3].map((j) => reported(row * k + j)).reduce((a, b) => minimum(a, b)));
      return { cutoff: { tensor: cutoff, expected: [divide(sum(least), rows)] } };
    },
  },
  {
    family: 'optimiser', name: 'totals of a step', kind: 'rounded',
    run(bench) {
      const stats = bench.numbers(rows * 4), losses = bench.numbers(rows * 2), squares = bench.numbers(dSae, 0, 2), g = bench.numbers(dIn);
      const record = bench.made('record', 1, recordFloats), clip = bench.made('clip', 1, 1);
      const tensors = {
        stats: bench.given('stats', rows, 4, stats), lossRows: bench.given('losses', rows, 2, losses), squares: bench.given('squares', 1, dSae, squares), gradBDec: bench.given('grad b_dec', 1, dIn, g),
        dead: bench.list([2, 3, 5]), flags: bench.made('flags', 1, 1, 'u32'), record, clip,
      };
      bench.record((rec) => stepTotals(rec, tensors, { rows, losses: 2, firstSquare: 0, squareCount: dSae, slot: 0, maxNorm: 1 }));
      const column = (of: Float32Array, columns: number, n: number): Rounded => sum(Array.from({ length: rows }, (_, row) => of[row * columns + n]!));
      const norm = squareRoot(sum([...squares, ...[...g].map((value) => multiply(value, value))]));
      const totals = [0, 1, 2, 3].map((n) => column(stats, 4, n)), others = [0, 1].map((n) => column(losses, 2, n));
      const expected = [...totals, norm, exact(3), exact(0), exact(0), exact(0), ...others];
      return {
        record: { tensor: record, expected: [...expected, ...Array.from({ length: recordFloats - expected.length }, () => exact(0))] },
        clip: { tensor: clip, expected: [minimum(1, divide(1, add(norm, handedOver(1e-6))))] },
      };
    },
  },
  {
    family: 'optimiser', name: 'Adam', kind: 'rounded',
    run(bench) {
      const size = dSae * dIn, options = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, time: 1 };
      const given = { parameter: bench.numbers(size), grad: bench.numbers(size), m: bench.numbers(size), v: bench.numbers(size, 0, 2) }, factor = 0.625;
      const { parameter, grad, m, v } = Object.fromEntries(Object.entries(given).map(([name, data]) => [name, bench.given(name, dSae, dIn, data)])) as Record<keyof typeof given, ReturnType<Bench['given']>>;
      bench.record((rec) => adam(rec, { parameter, grad, m, v, clip: bench.given('clip', 1, 1, Float32Array.of(factor)) }, options));
      const [beta1, beta2, keep1, keep2, rate, root, epsilon] = [0.9, 0.999, 1 - 0.9, 1 - 0.999, 0.01 / (1 - 0.9), 1 / Math.sqrt(1 - 0.999), 1e-8].map(handedOver) as [Rounded, Rounded, Rounded, Rounded, Rounded, Rounded, Rounded];
      const all = Array.from(given.grad, (value, n) => {
        const gradient = multiply(factor, value);
        const mean = add(multiply(beta1, given.m[n]!), multiply(keep1, gradient)), square = add(multiply(beta2, given.v[n]!), multiply(multiply(keep2, gradient), gradient));
        return { mean, square, after: subtract(given.parameter[n]!, divide(multiply(rate, mean), add(multiply(squareRoot(square), root), epsilon))) };
      });
      return {
        m: { tensor: m, expected: all.map(({ mean }) => mean) }, v: { tensor: v, expected: all.map(({ square }) => square) }, parameter: { tensor: parameter, expected: all.map(({ after }) => after) },
      };
    },
  },
  {
    family: 'attention', name: 'projections of frames', kind: 'rounded',
    run(bench) {
      const data = { a: bench.numbers(rows * dIn), x: bench.numbers(rows * dIn), taken: bench.numbers(rows * dIn) }, factor = 0.3;
      const a = bench.given('a', rows, dIn, data.a), x = bench.given('x', rows, dIn, data.x), taken = bench.given('taken', rows, dIn, data.taken);
      bench.record((rec) => {
        removeProjection(rec, { a, x, taken }, rows, false);
        addRows(rec, { a, b: x }, rows, factor);
      });
      const all = Array.from({ length: rows }, (_, row) => {
        const own = rowOf(data.a, row), length = add(squareRoot(sumOfSquares(own)), handedOver(1e-6));
        const share = divide(sum(own.map((value, d) => multiply(value, data.x[row * dIn + d]!))), multiply(length, length));
        const left = own.map((value, d) => subtract(data.x[row * dIn + d]!, multiply(share, value)));
        return { left, taken: own.map((value, d) => add(data.taken[row * dIn + d]!, multiply(share, value))), added: own.map((value, d) => multiply(handedOver(factor), add(value, left[d]!))) };
      });
      return {
        x: { tensor: x, expected: inRows((row) => all[row]!.left) }, taken: { tensor: taken, expected: inRows((row) => all[row]!.taken) }, sum: { tensor: a, expected: inRows((row) => all[row]!.added) },
      };
    },
  },
];
