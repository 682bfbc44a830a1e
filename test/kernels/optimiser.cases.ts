import { adam, type AdamOptions, recordFields, recordFloats, recordLosses, stepTotals } from '../../src/kernels/index.ts';
import { padded } from '../../src/gpu/index.ts';
import { adamState, adamStep, clipByGlobalNorm } from '../oracle/adam.ts';
import type { Case } from '../support/case.ts';
import { close, equal } from '../support/check.ts';
import { drawn, fuzzed, normals, run, sameBits } from '../support/kernels.ts';
import { add, divide, handedOver, minimum, multiply, type Rounded, squareRoot, subtract, sum, within } from '../support/rounding.ts';

const totals = fuzzed('step totals sum rows and gradients, and clip by the global norm', [
  { rows: 1, dSae: 1, dIn: 1, losses: 1, maxNorm: 1 }, { rows: 255, dSae: 257, dIn: 3, losses: 0, maxNorm: 1 }, { rows: 256, dSae: 64, dIn: 257, losses: 2, maxNorm: 0 },
  { rows: 300, dSae: 1000, dIn: 28, losses: recordLosses, maxNorm: 1e9 },
  ...drawn(2, (from) => ({ rows: from(1, 600), dSae: from(1, 900), dIn: from(1, 300), losses: from(0, 5), maxNorm: from(1, 9) })),
], async (gpu, random, { rows, dSae, dIn, losses, maxNorm }) => {
  const batch = rows + 5; // a batch may be smaller than what was allocated
  const stats = normals(random, batch * 4), lossRows = normals(random, batch * losses), gradBDec = normals(random, dIn);
  stats.fill(NaN, rows * 4);
  lossRows.fill(NaN, rows * losses);
  const squared = normals(random, 2 * padded(dSae)).map((value, i) => (i < padded(dSae) || i >= padded(dSae) + dSae ? NaN : value * value)); // squares behind the gradient of b_enc
  const dead = random.below(dSae + 1), flags = random.below(2), slot = random.below(4);
  const found = await run(gpu, [], (bench) => {
    const tensors = {
      stats: bench.tensor('stats', batch, 4, { data: stats }), lossRows: bench.tensor('loss rows', batch, Math.max(1, losses), losses ? { data: lossRows, stride: losses } : {}),
      squares: bench.tensor('grad b_enc', 1, 2 * padded(dSae), { data: squared }), gradBDec: bench.tensor('grad b_dec', 1, dIn, { data: gradBDec }),
      dead: bench.tensor('dead', 1, dSae + 1, { data: Uint32Array.of(dead, ...new Uint32Array(dSae)) }), flags: bench.tensor('flags', 1, 1, { data: Uint32Array.of(flags) }),
      record: bench.tensor('record', 4, recordFloats, { data: new Float32Array(4 * recordFloats) }), clip: bench.tensor('clip', 1, 1),
    };
    return { tensors, record: (rec) => stepTotals(rec, tensors, { rows, losses, firstSquare: padded(dSae), squareCount: dSae, slot, maxNorm }) };
  });

  const column = (c: number): number[] => Array.from({ length: rows }, (_, row) => stats[row * 4 + c]);
  const squares = [...squared.subarray(padded(dSae), padded(dSae) + dSae)];
  const norm = squareRoot(sum([...squares, ...Array.from(gradBDec, (value) => multiply(value, value))]));
  const exact = (value: number): Rounded => ({ value, error: 0 });
  const expected = {
    squaredError: sum(column(0)), spread: sum(column(1)), ratios: sum(column(2)), active: sum(column(3)),
    gradientNorm: norm, dead: exact(dead), flags: exact(flags), silence: exact(0), smallest: exact(0), // which others write
  } satisfies Record<(typeof recordFields)[number], Rounded>;
  const record = new Array<Rounded>(4 * recordFloats).fill(exact(0));
  recordFields.forEach((name, at) => {
    record[slot * recordFloats + at] = expected[name];
  });
  for (let loss = 0; loss < losses; loss++) {
    record[slot * recordFloats + recordFields.length + loss] = sum(Array.from({ length: rows }, (_, row) => lossRows[row * losses + loss]));
  }
  within(found.floats('record'), record, 'record');
  equal(found.integers('flags')[0], 0, 'flags are handed over and cleared');

  const clip = maxNorm > 0 ? minimum(1, divide(maxNorm, add(norm, handedOver(1e-6)))) : exact(1);
  const gradients = { squares: Float64Array.from(squares, Math.sqrt), b_dec: Float64Array.from(gradBDec) };
  const first = gradients.b_dec[0];
  close([clipByGlobalNorm(gradients, maxNorm > 0 ? maxNorm : Infinity)], [norm.value], { relative: 1e-12 }, 'norm, derived here');
  close([clip.value], [gradients.b_dec[0] / first], { relative: 1e-12 }, 'factor, derived here');
  within(found.floats('clip'), [clip], 'clipping factor');
});

const options = { learningRate: 3e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
const steps = 50;

/** One update in float32 with its rounding; host constants are computed in float64 and handed over. */
function roundedAdam(state: { p: Rounded; m: Rounded; v: Rounded }, gradient: Rounded, { learningRate, beta1, beta2, epsilon, time }: AdamOptions): void {
  state.m = add(multiply(handedOver(beta1), state.m), multiply(handedOver(1 - beta1), gradient));
  state.v = add(multiply(handedOver(beta2), state.v), multiply(multiply(handedOver(1 - beta2), gradient), gradient));
  const step = multiply(handedOver(learningRate / (1 - beta1 ** time)), state.m);
  const spread = add(multiply(squareRoot(state.v), handedOver(1 / Math.sqrt(1 - beta2 ** time))), handedOver(epsilon));
  state.p = subtract(state.p, divide(step, spread));
}

const adams: Case[] = [
  fuzzed(`${steps} steps of Adam, in one piece and in shards`, [
    { rows: 1, columns: 1, cuts: [] }, { rows: 7, columns: 3, cuts: [1, 5] }, { rows: 65, columns: 5, cuts: [64] }, { rows: 1, columns: 259, cuts: [] }, { rows: 33, columns: 28, cuts: [32, 9] },
  ], async (gpu, random, { rows, columns, cuts }) => {
    const start = normals(random, rows * columns);
    const grads = Array.from({ length: steps }, () => normals(random, rows * columns, 0.01));
    for (const grad of grads) grad[0] = 0; // a parameter that never gets a gradient does not move
    const clip = Math.fround(0.37);
    const found = await run(gpu, cuts, (bench, shardRows) => {
      const like = (label: string, data: Float32Array) => bench.tensor(label, rows, columns, { data, shardRows });
      const zeros = new Float32Array(rows * columns);
      const state = { parameter: like('parameter', start), m: like('m', zeros), v: like('v', zeros) };
      const gradients = grads.map((grad, n) => like(`gradient ${n + 1}`, grad));
      const clipping = bench.tensor('clip', 1, 1, { data: Float32Array.of(clip) });
      return {
        tensors: state,
        record: (rec) => gradients.forEach((grad, n) => adam(rec, { ...state, grad, clip: clipping }, { ...options, time: n + 1 })),
      };
    });

    const oracle = { p: Float64Array.from(start) };
    const state = adamState(oracle);
    const twins = Array.from(start, (value) => ({ p: { value, error: 0 }, m: { value: 0, error: 0 }, v: { value: 0, error: 0 } }));
    grads.forEach((grad, n) => {
      adamStep(oracle, { p: Float64Array.from(grad, (g) => clip * g) }, state, options.learningRate, { beta1: options.beta1, beta2: options.beta2, eps: options.epsilon });
      twins.forEach((twin, j) => roundedAdam(twin, multiply(clip, grad[j]), { ...options, time: n + 1 }));
    });
    close(twins.map(({ p }) => p.value), oracle.p, { absolute: 1e-12 }, 'parameters, derived here');
    within(found.floats('parameter'), twins.map(({ p }) => p), 'parameters');
    within(found.floats('m'), twins.map(({ m }) => m), 'first moments');
    within(found.floats('v'), twins.map(({ v }) => v), 'second moments');
    equal(found.floats('parameter')[0], start[0], 'the parameter without a gradient');
  }),
  fuzzed('Adam reads only the beginning of a wider gradient', [{ columns: 5 }, { columns: 64 }], async (gpu, random, { columns }) => {
    const grad = normals(random, 2 * padded(columns)), p = normals(random, columns);
    const update = async (width: number) => (await run(gpu, [], (bench) => {
      const zeros = { data: new Float32Array(columns) };
      const tensors = { parameter: bench.tensor('p', 1, columns, { data: p }), m: bench.tensor('m', 1, columns, zeros), v: bench.tensor('v', 1, columns, zeros) };
      const others = { grad: bench.tensor('grad', 1, width, { data: grad.map((g, j) => (j >= columns && width === columns ? 0 : g)).subarray(0, width) }), clip: bench.tensor('clip', 1, 1, { data: Float32Array.of(1) }) };
      return { tensors, record: (rec) => adam(rec, { ...tensors, ...others }, { ...options, time: 1 }) };
    })).integers('parameter');
    grad.fill(0, columns, padded(columns)); // the padding of the gradient is zero, as is its parameter's
    sameBits(await update(2 * padded(columns)), await update(columns), 'parameter');
  }),
];

export const cases: Case[] = [totals, ...adams];
