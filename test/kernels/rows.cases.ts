import { auxiliaryRows, prepareRows, residualRows, type rowNormalisations } from '../../src/kernels/index.ts';
import { squaredError, subtractBDec } from '../oracle/linear.ts';
import { denormalize, normalize } from '../oracle/normalize.ts';
import type { Case } from '../support/case.ts';
import { close } from '../support/check.ts';
import { drawn, fuzzed, keptPairs, type Layout, layouts, normals, onBothKinds, pairTensors, run, sameBits } from '../support/kernels.ts';
import { add, divide, handedOver, minimum, multiply, type Rounded, squareRoot, subtract, sum, sumOfSquares, within } from '../support/rounding.ts';

const shapes = [
  { rows: 1, dIn: 2 }, { rows: 3, dIn: 3 }, { rows: 2, dIn: 4 }, { rows: 5, dIn: 28 }, { rows: 2, dIn: 63 }, { rows: 2, dIn: 65 }, { rows: 3, dIn: 130 },
  ...drawn(3, (from) => ({ rows: from(1, 20), dIn: from(2, 90) })),
];

/** The twin of an oracle's numbers, whose errors only are of interest. */
function agree(twin: readonly Rounded[], oracle: Float64Array, what: string): void {
  close(twin.map(({ value }) => value), oracle, { absolute: 1e-12, relative: 1e-9 }, `${what}, derived here`);
}

const prepared = (['none', 'constant_norm_rescale', 'layer_norm'] as const).map((normalise: keyof typeof rowNormalisations): Case => (
  fuzzed(`prepare with ${normalise} centres, scales and normalises every row`, onBothKinds([...(normalise === 'layer_norm' ? [] : [{ rows: 2, dIn: 1 }]), ...shapes]), async (gpu, random, { rows, dIn }) => {
    const frames = normals(random, rows * dIn).map((value) => value + 3), centre = normals(random, dIn), b = normals(random, dIn);
    const scale = handedOver(0.3 + random.uniform());
    const subtractB = random.below(2);
    const found = await run(gpu, [], (bench) => {
      const tensors = {
        frames: bench.tensor('frames', rows, dIn, { data: frames }), centre: bench.tensor('centre', 1, dIn, { data: centre }), b_dec: bench.tensor('b_dec', 1, dIn, { data: b }),
        t: bench.tensor('t', rows, dIn), xc: bench.tensor('xc', rows, dIn), rowAffine: bench.tensor('affine', rows, 2, { stride: 2 }),
      };
      return { tensors, record: (rec) => prepareRows(rec, tensors, rows, { scale: scale.value, normalise, subtractBDec: subtractB === 1 }) };
    });

    const t = Array.from(frames, (value, j) => multiply(subtract(value, centre[j % dIn]), scale));
    const xc: Rounded[] = [], affine: Rounded[] = [];
    for (let row = 0; row < rows; row++) {
      const frame = t.slice(row * dIn, (row + 1) * dIn);
      let gain: Rounded = handedOver(1), shift: Rounded = handedOver(0), inverse: Rounded = gain;
      if (normalise === 'constant_norm_rescale') {
        inverse = divide(squareRoot(dIn), squareRoot(sumOfSquares(frame)));
        gain = divide(1, inverse);
      }
      if (normalise === 'layer_norm') {
        shift = divide(sum(frame), dIn);
        gain = squareRoot(divide(sumOfSquares(frame.map((value) => subtract(value, shift))), dIn - 1));
        inverse = divide(1, add(gain, handedOver(1e-5)));
      }
      affine.push(gain, shift);
      xc.push(...frame.map((value, d) => subtract(multiply(subtract(value, shift), inverse), subtractB * b[d])));
    }

    const target = Float64Array.from(t, ({ value }) => value);
    const oracle = normalize(target, dIn, normalise);
    const config = { dIn, dSae: 1, applyBDecToInput: subtractB === 1, normalizeActivations: normalise };
    agree(xc, subtractBDec({ b_dec: Float64Array.from(b) }, oracle.x, config), 'xc');
    agree(affine, Float64Array.from({ length: 2 * rows }, (_, j) => (j % 2 === 0 ? oracle.scale : oracle.shift)[j >> 1]), 'affine');
    within(found.floats('t'), t, 't');
    within(found.floats('xc'), xc, 'xc');
    within(found.floats('rowAffine'), affine, 'affine');
  })
));

const residual = fuzzed('residual gives the output, the gradient of the error and the row statistics', onBothKinds([{ rows: 2, dIn: 1 }, ...shapes].map((shape, n) => ({ ...shape, k: [1, 7, 70][n % 3] }))),
  async (gpu, random, { rows, dIn, k }) => {
    const t = normals(random, rows * dIn), mean = normals(random, dIn, 0.3), r = normals(random, rows * dIn), affine = normals(random, rows * 2);
    const [slots, ragged] = layouts(keptPairs(random, rows, k, k), rows);
    const residualOf = (layout: Layout) => run(gpu, [], (bench) => {
      const { indices: _, ...kept } = pairTensors(bench, layout);
      const tensors = {
        ...kept, t: bench.tensor('t', rows, dIn, { data: t }), mean: bench.tensor('mean', 1, dIn, { data: mean }), rowAffine: bench.tensor('affine', rows, 2, { data: affine, stride: 2 }),
        r: bench.tensor('r', rows, dIn, { data: r }), g: bench.tensor('g', rows, dIn, { data: new Float32Array(rows * dIn) }), stats: bench.tensor('stats', rows, 4, { stride: 4 }),
      };
      return { tensors, record: (rec) => residualRows(rec, tensors, rows) };
    });
    const found = await residualOf(slots), alike = await residualOf(ragged);
    for (const name of ['r', 'g', 'stats'] as const) sameBits(alike.integers(name), found.integers(name), `${name} with as many values as a row has`);

    const row = (j: number): number => Math.floor(j / dIn);
    const out = Array.from(r, (value, j) => add(multiply(value, affine[2 * row(j)]), affine[2 * row(j) + 1]));
    const error = out.map((value, j) => subtract(value, t[j]));
    const deviation = Array.from(t, (value, j) => subtract(value, mean[j % dIn]));
    const g = error.map((e, j) => multiply(multiply(divide(2, rows), affine[2 * row(j)]), e));
    const stats = Array.from({ length: rows }, (_, b) => {
      const squares = (numbers: Rounded[]): Rounded => sumOfSquares(numbers.slice(b * dIn, (b + 1) * dIn));
      const active = slots.slots.filter(({ slot, row: owner }) => owner === b && slots.values[slot] !== 0).length;
      return [squares(error), squares(deviation), divide(squares(error), squares(deviation)), { value: active, error: 0 }];
    }).flat();

    const scaling = { x: new Float64Array(0), scale: Float64Array.from({ length: rows }, (_, b) => affine[2 * b]), shift: Float64Array.from({ length: rows }, (_, b) => affine[2 * b + 1]) };
    const oracle = denormalize(Float64Array.from(r), dIn, scaling);
    const { loss, gradient } = squaredError(oracle, Float64Array.from(t), dIn);
    agree(out, oracle, 'out');
    agree(g, gradient.map((value, j) => value * affine[2 * row(j)]), 'g');
    close([stats.reduce((total, { value }, j) => total + (j % 4 === 0 ? value / rows : 0), 0)], [loss], { relative: 1e-9 }, 'loss, derived here');
    within(found.floats('r'), out, 'out');
    within(found.floats('g'), g, 'g');
    within(found.floats('stats'), stats, 'stats');
  });

const auxiliary = [{ affine: false }, { affine: true }, { affine: false, raw: true, add: true }].map(({ affine, raw = false, add: adds = false }): Case => (
  fuzzed(`the auxiliary loss and its gradient ${affine ? 'undo the row normalisation' : 'are of the bare reconstruction'}${raw ? ', beside a reconstruction as it is in training, added to a loss' : ''}`,
    onBothKinds([{ rows: 2, dIn: 1, dead: 5, kAux: 3 }, ...shapes.map((shape, n) => ({ ...shape, dead: [0, 2, 9, 50][n % 4], kAux: 9 }))]), async (gpu, random, { rows, dIn, dead, kAux }) => {
      const t = normals(random, rows * dIn), out = normals(random, rows * dIn), rAux = normals(random, rows * dIn), rowAffine = normals(random, rows * 2);
      const coefficient = handedOver(0.1 + random.uniform());
      const found = await run(gpu, [], (bench) => {
        const tensors = {
          t: bench.tensor('t', rows, dIn, { data: t }), out: bench.tensor('out', rows, dIn, { data: out }), rowAffine: bench.tensor('affine', rows, 2, { data: rowAffine, stride: 2 }),
          dead: bench.tensor('dead', 1, 60, { data: Uint32Array.of(dead, ...new Uint32Array(59)) }), rAux: bench.tensor('r_aux', rows, dIn, { data: rAux }),
          lossRows: bench.tensor('loss rows', rows, 3, { data: new Float32Array(rows * 3).fill(7), stride: 3 }),
        };
        return { tensors, record: (rec) => auxiliaryRows(rec, tensors, rows, { kAux, coefficient: coefficient.value, affine, column: 1, raw, add: adds }) };
      });

      const weight = multiply(coefficient, minimum(divide(dead, kAux), 1));
      const gain = (j: number): number => (affine ? rowAffine[2 * Math.floor(j / dIn)] : 1);
      const shift = (j: number): number => (affine ? rowAffine[2 * Math.floor(j / dIn) + 1] : 0);
      const given = Array.from(out, (value, j) => (raw ? add(multiply(value, rowAffine[2 * Math.floor(j / dIn)]), rowAffine[2 * Math.floor(j / dIn) + 1]) : value));
      const difference = Array.from(rAux, (value, j) => subtract(add(multiply(value, gain(j)), shift(j)), subtract(t[j], given[j])));
      const g = difference.map((value, j) => multiply(multiply(divide(multiply(weight, 2), rows), gain(j)), value));
      const losses = Array.from({ length: rows }, (_, b) => multiply(weight, sumOfSquares(difference.slice(b * dIn, (b + 1) * dIn))));

      const scaling = { x: new Float64Array(0), scale: Float64Array.from({ length: rows }, (_, b) => gain(b * dIn)), shift: Float64Array.from({ length: rows }, (_, b) => shift(b * dIn)) };
      const { loss, gradient } = squaredError(denormalize(Float64Array.from(rAux), dIn, scaling), Float64Array.from(t, (value, j) => subtract(value, given[j]).value), dIn);
      agree(g, gradient.map((value, j) => weight.value * value * gain(j)), 'g');
      close([losses.reduce((total, { value }) => total + value, 0) / rows], [weight.value * loss], { relative: 1e-9 }, 'loss, derived here');
      within(found.floats('rAux'), g, 'g');
      within(found.floats('lossRows'), losses.flatMap((loss) => [{ value: 7, error: 0 }, adds ? add(7, loss) : loss, { value: 7, error: 0 }]), 'losses');
    })
));

export const cases: Case[] = [...prepared, residual, ...auxiliary];
