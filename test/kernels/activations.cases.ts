import { padded, type Tensor } from '../../src/gpu/index.ts';
import {
  gatedActivate, gatedLatents, gatedRows, gatedTraits, jumpreluLatents, jumpreluRows, jumpreluTraits, latentSums, reluLatents, reluRows, sparsityModes, targetL0,
} from '../../src/kernels/index.ts';
import type { RandomStream } from '../../src/random.ts';
import type { Case } from '../support/case.ts';
import { close, equal } from '../support/check.ts';
import { type Bench, drawn, fuzzed, normals, onBothKinds, run, sameBits } from '../support/kernels.ts';

/** Rows firstRow ... of a batch that goes on behind them. */
const shapes = [
  { rows: 1, dSae: 1, firstRow: 0 }, { rows: 3, dSae: 5, firstRow: 2 }, { rows: 2, dSae: 63, firstRow: 0 }, { rows: 5, dSae: 65, firstRow: 1 }, { rows: 40, dSae: 130, firstRow: 0 },
  ...drawn(2, (from) => ({ rows: from(1, 50), dSae: from(1, 150), firstRow: from(0, 3) })),
];
type Shape = (typeof shapes)[number];

const behind = 2;
const batchOf = ({ rows, firstRow }: Shape): number => firstRow + rows + behind;
const chunkOf = (shape: Shape) => ({ firstRow: shape.firstRow, rows: shape.rows, batch: batchOf(shape) });

/** What stands in rows and columns that are not to be written. */
const untouched = 7;

/** Per row of the batch, filled. */
const perRow = (bench: Bench, label: string, shape: Shape, columns: number): Tensor => (
  bench.tensor(label, batchOf(shape), columns, { data: new Float32Array(batchOf(shape) * columns).fill(untouched), stride: columns })
);

/** The column of a tensor per row that should hold `values` in the chunk's rows, and what was there elsewhere. */
function column(shape: Shape, columns: number, at: number, values: ArrayLike<number>): number[] {
  const all = new Array<number>(batchOf(shape) * columns).fill(untouched);
  for (let row = 0; row < shape.rows; row++) all[(shape.firstRow + row) * columns + at] = values[row];
  return all;
}

/** Numbers that are sums of terms whose sizes add up to `sizes`, after so many roundings at most; exp, log and pow count as a hundred. */
function near(actual: ArrayLike<number>, expected: readonly number[], sizes: readonly number[], roundings: number, what: string): void {
  close(actual, expected, { absolute: sizes.map((size) => roundings * 2 ** -23 * size + 2 ** -120) }, what);
}

const sumOver = (count: number, term: (n: number) => number): number => Array.from({ length: count }, (_, n) => term(n)).reduce((a, b) => a + b, 0);
const latents = (dSae: number): number[] => Array.from({ length: dSae }, (_, i) => i);

/** Pre-activations and codes with whole numbers of zeros among them. */
function codes(random: RandomStream, { rows, dSae }: Shape): Float32Array {
  return Float32Array.from({ length: rows * dSae }, () => (random.below(6) === 0 ? 0 : random.normal()));
}

/** Sums so far: for the first chunk whatever lies there. */
const soFar = (random: RandomStream, { firstRow }: Shape, length: number): Float32Array => (firstRow > 0 ? normals(random, length) : new Float32Array(length).fill(NaN));
const countsSoFar = (random: RandomStream, { firstRow, dSae }: Shape): Uint32Array => Uint32Array.from({ length: dSae }, () => (firstRow > 0 ? random.below(9) : 0xffffffff));

/** before (if the chunk continues) + sum over its rows of term(row), and the sum of sizes. */
function continued(shape: Shape, before: number, term: (row: number) => number): { value: number; size: number } {
  const start = shape.firstRow > 0 ? before : 0;
  return { value: start + sumOver(shape.rows, term), size: Math.abs(start) + sumOver(shape.rows, (row) => Math.abs(term(row))) };
}

const values = (sums: readonly { value: number }[]): number[] => sums.map(({ value }) => value);
const sizes = (sums: readonly { size: number }[]): number[] => sums.map(({ size }) => size);

const relu: Case[] = [1, 2, 1.5, 0.5].flatMap((p) => [
  fuzzed(`relu codes and their L${p} penalty`, onBothKinds(shapes), async (gpu, random, shape) => {
    const { rows, dSae } = shape;
    const h = codes(random, shape), norms = normals(random, dSae).map((value) => Math.abs(value) + 0.1), coefficient = 0.5;
    if (rows > 1) h.fill(-1, 0, dSae); // a row with nothing active
    const found = await run(gpu, [], (bench) => {
      const tensors = {
        h: bench.tensor('h', rows, dSae, { data: h, stride: dSae }), norms: bench.tensor('norms', 1, dSae, { data: norms }), active: perRow(bench, 'active', shape, 1),
        slopes: perRow(bench, 'slopes', shape, 1), lossRows: perRow(bench, 'loss rows', shape, 3), flags: bench.tensor('flags', 1, 1, { data: new Uint32Array(1) }),
      };
      return { tensors, record: (rec) => reluRows(rec, tensors, chunkOf(shape), { p, coefficient, column: 1 }) };
    });
    const f = h.map((value) => Math.max(value, 0));
    const norm = Array.from({ length: rows }, (_, b) => sumOver(dSae, (i) => (f[b * dSae + i] === 0 ? 0 : (f[b * dSae + i] * norms[i]) ** p)) ** (1 / p));
    close(found.floats('h'), f, {}, 'f');
    close(found.floats('active'), column(shape, 1, 0, norm.map((_, b) => f.subarray(b * dSae, (b + 1) * dSae).filter((value) => value > 0).length)), {}, 'active latents');
    const losses = column(shape, 3, 1, norm.map((size) => coefficient * size)), slopes = column(shape, 1, 0, norm.map((size) => (size === 0 ? 0 : (coefficient / batchOf(shape)) * size ** (1 - p))));
    near(found.floats('lossRows'), losses, losses, 2 * dSae + 300, 'losses');
    near(found.floats('slopes'), slopes, slopes, 2 * dSae + 300, 'slopes');
    equal(found.integers('flags')[0], 0, 'flags');
  }),
  ...[false, true].map((addMore) => (
    fuzzed(`gradients of relu codes under their L${p} penalty${addMore ? ', added to others' : ''}`, onBothKinds(shapes), async (gpu, random, shape) => {
      const { rows, dSae } = shape;
      const pitch = padded(dSae);
      const f = codes(random, shape).map((value) => Math.max(value, 0)), df = normals(random, rows * dSae), more = normals(random, rows * dSae);
      const norms = normals(random, dSae).map((value) => Math.abs(value) + 0.1), slopes = normals(random, batchOf(shape)).map(Math.abs);
      const sums = soFar(random, shape, latentSums * pitch), counts = countsSoFar(random, shape);
      const found = await run(gpu, [], (bench) => {
        const matrix = (label: string, data: Float32Array): Tensor => bench.tensor(label, rows, dSae, { data, stride: dSae });
        const tensors = {
          df: matrix('df', df), f: matrix('f', f), slopes: bench.tensor('slopes', batchOf(shape), 1, { data: slopes, stride: 1 }), norms: bench.tensor('norms', 1, dSae, { data: norms }),
          sums: bench.tensor('sums', 1, latentSums * pitch, { data: sums }), counts: bench.tensor('counts', 1, dSae, { data: counts }), ...(addMore ? { more: matrix('more', more) } : {}),
        };
        return { tensors, record: (rec) => reluLatents(rec, tensors, chunkOf(shape), { p, coefficient: NaN, column: 0 }) };
      });
      const dw = (row: number, i: number): number => (f[row * dSae + i] > 0 ? slopes[shape.firstRow + row] * (f[row * dSae + i] * norms[i]) ** (p - 1) : 0);
      const dh = (row: number, i: number): number => (f[row * dSae + i] > 0 ? df[row * dSae + i] + dw(row, i) * norms[i] : 0);
      const cell = (at: number): [number, number] => [Math.floor(at / dSae), at % dSae];
      near(found.floats('f'), [...f.keys()].map((at) => dh(...cell(at)) + (addMore ? more[at] : 0)),
        [...f.keys()].map((at) => Math.abs(df[at]) + Math.abs(dw(...cell(at))) * norms[at % dSae] + Math.abs(more[at])), 120, 'dh');
      const bias = latents(dSae).map((i) => continued(shape, sums[i], (row) => dh(row, i)));
      const biasSizes = bias.map(({ size }, i) => size + sumOver(rows, (row) => Math.abs(dw(row, i)) * norms[i] + Math.abs(df[row * dSae + i])));
      near(found.floats('sums').subarray(0, dSae), values(bias), biasSizes, rows + 120, 'grad bias');
      const stretch = latents(dSae).map((i) => continued(shape, sums[2 * pitch + i], (row) => dw(row, i) * f[row * dSae + i]));
      near(found.floats('sums').subarray(2 * pitch, 2 * pitch + dSae), values(stretch), sizes(stretch), rows + 120, 'gradients of the norms');
      sameBits(found.integers('counts'), counts.map((before, i) => continued(shape, before, (row) => (f[row * dSae + i] > 0 ? 1 : 0)).value), 'counts');
    })
  )),
]);

/** (exp(r_mag), b_mag, b_gate, 0) of every latent. */
const randomTraits = (random: RandomStream, dSae: number): Float32Array => Float32Array.from({ length: 4 * dSae }, (_, at) => [Math.exp(0.3 * random.normal()), random.normal() / 3, random.normal() / 3, 0][at % 4]);

const gated: Case[] = [
  fuzzed('traits of gated latents', shapes, async (gpu, random, { dSae }) => {
    const r = normals(random, dSae), b = normals(random, dSae), gate = normals(random, dSae);
    const found = await run(gpu, [], (bench) => {
      const vector = (label: string, data: Float32Array): Tensor => bench.tensor(label, 1, dSae, { data });
      const tensors = { r_mag: vector('r_mag', r), b_mag: vector('b_mag', b), b_gate: vector('b_gate', gate), traits: bench.tensor('traits', 1, 4 * dSae) };
      return { tensors, record: (rec) => gatedTraits(rec, tensors) };
    });
    const expected = latents(dSae).flatMap((i) => [Math.exp(r[i]), b[i], gate[i], 0]);
    near(found.floats('traits'), expected, expected.map((value, at) => (at % 4 === 0 ? value : 0)), 20, 'traits');
  }),
  fuzzed('gated codes pass relu of the magnitude through an open gate, in training and in place', onBothKinds(shapes), async (gpu, random, shape) => {
    const { rows, dSae } = shape;
    const gates = codes(random, shape), traits = randomTraits(random, dSae);
    const found = await run(gpu, [], (bench) => {
      const flags = bench.tensor('flags', 1, 1, { data: new Uint32Array(1) });
      const tensors = {
        gates: bench.tensor('gates', rows, dSae, { data: gates, stride: dSae }), h: bench.tensor('in place', rows, dSae, { data: gates, stride: dSae }),
        traits: bench.tensor('traits', 1, 4 * dSae, { data: traits }), f: bench.tensor('f', rows, dSae, { stride: dSae }), active: perRow(bench, 'active', shape, 1), flags,
      };
      return {
        tensors,
        record(rec) {
          gatedRows(rec, tensors, chunkOf(shape));
          gatedActivate(rec, tensors, rows);
        },
      };
    });
    const m = Array.from(gates, (pi, at) => (pi - traits[4 * (at % dSae) + 2]) * traits[4 * (at % dSae)] + traits[4 * (at % dSae) + 1]);
    const f = m.map((value, at) => (gates[at] > 0 ? Math.max(value, 0) : 0));
    const size = Array.from(gates, (pi, at) => (Math.abs(pi) + Math.abs(traits[4 * (at % dSae) + 2])) * traits[4 * (at % dSae)] + Math.abs(traits[4 * (at % dSae) + 1]));
    near(found.floats('f'), f, size.map((value, at) => (gates[at] > 0 ? value : 0)), 4, 'f'); // what the gate stops is zero, not nearly
    close(found.floats('h'), found.floats('f'), {}, 'f in place');
    close(found.floats('active'), column(shape, 1, 0, Array.from({ length: rows }, (_, b) => found.floats('f').subarray(b * dSae, (b + 1) * dSae).filter((value) => value > 0).length)), {}, 'active latents');
    equal(found.integers('flags')[0], 0, 'flags');
  }),
  fuzzed('gradients of gated codes flow through the magnitudes of those that fired', onBothKinds(shapes), async (gpu, random, shape) => {
    const { rows, dSae } = shape;
    const gates = codes(random, shape), traits = randomTraits(random, dSae), df = normals(random, rows * dSae);
    const before = { gradBMag: soFar(random, shape, dSae), gradRMag: soFar(random, shape, dSae), pulls: soFar(random, shape, dSae) }, counts = countsSoFar(random, shape);
    const found = await run(gpu, [], (bench) => {
      const vector = (name: keyof typeof before): Tensor => bench.tensor(name, 1, dSae, { data: before[name] });
      const tensors = {
        gates: bench.tensor('gates', rows, dSae, { data: gates, stride: dSae }), traits: bench.tensor('traits', 1, 4 * dSae, { data: traits }), df: bench.tensor('df', rows, dSae, { data: df, stride: dSae }),
        gradBMag: vector('gradBMag'), gradRMag: vector('gradRMag'), pulls: vector('pulls'), counts: bench.tensor('counts', 1, dSae, { data: counts }),
      };
      return { tensors, record: (rec) => gatedLatents(rec, tensors, chunkOf(shape)) };
    });
    const h = (row: number, i: number): number => gates[row * dSae + i] - traits[4 * i + 2];
    const fires = (row: number, i: number): boolean => gates[row * dSae + i] > 0 && h(row, i) * traits[4 * i] + traits[4 * i + 1] > 0;
    const dm = (row: number, i: number): number => (fires(row, i) ? df[row * dSae + i] : 0);
    const dh = (row: number, i: number): number => dm(row, i) * traits[4 * i];
    const expected = [...df.keys()].map((at) => dh(Math.floor(at / dSae), at % dSae));
    near(found.floats('df'), expected, expected.map(Math.abs), 2, 'dh');
    const checkSum = (name: keyof typeof before, term: (row: number, i: number) => number, size = term): void => {
      const sums = latents(dSae).map((i) => continued(shape, before[name][i], (row) => term(row, i)));
      near(found.floats(name), values(sums), sizes(latents(dSae).map((i) => continued(shape, before[name][i], (row) => Math.abs(size(row, i))))), rows + 5, name);
    };
    checkSum('gradBMag', dm);
    checkSum('gradRMag', (row, i) => dh(row, i) * h(row, i), (row, i) => Math.abs(dh(row, i)) * (Math.abs(gates[row * dSae + i]) + Math.abs(traits[4 * i + 2])));
    checkSum('pulls', dh);
    sameBits(found.integers('counts'), counts.map((number, i) => continued(shape, number, (row) => (fires(row, i) ? 1 : 0)).value), 'counts');
  }),
];

/** Thresholds, norms, loss coefficients of the dead, derivatives; and pre-activations on, near and far from the thresholds. */
function jumpreluProblem(random: RandomStream, { rows, dSae }: Shape) {
  const traits = Float32Array.from({ length: 4 * dSae }, (_, at) => [random.below(5) === 0 ? 0 : Math.abs(random.normal()) / 2, 0.1 + Math.abs(random.normal()), random.below(3) === 0 ? 0.4 : 0, 0.5 + random.uniform()][at % 4]);
  const h = Float32Array.from({ length: rows * dSae }, (_, at) => (random.below(8) === 0 ? traits[4 * (at % dSae)] : random.normal()));
  const of = (at: number) => {
    const [theta, norm, lambda, derivative] = traits.subarray(4 * (at % dSae));
    return { value: h[at], theta, norm, lambda, derivative, fires: h[at] > theta };
  };
  return { traits, h, of };
}

const tanhScale = 2, coefficient = 0.6, bandwidth = 0.75;

const jumprelu: Case[] = [
  ...[false, true].map((log) => (
    fuzzed(`traits of JumpReLU latents whose thresholds are learned ${log ? 'as logarithms' : 'directly'}`, [0, 1, 3, 999].flatMap((dead) => [1, 70, 131].map((dSae) => ({ dead: Math.min(dead, dSae), dSae }))),
      async (gpu, random, { dead, dSae }) => {
        const list = [...random.permutation(dSae).subarray(0, dead).sort()];
        const threshold = normals(random, dSae), norms = normals(random, dSae), lambda = 0.25;
        threshold[0] = 0;
        const found = await run(gpu, [], (bench) => {
          const tensors = {
            threshold: bench.tensor('threshold', 1, dSae, { data: threshold }), norms: bench.tensor('norms', 1, dSae, { data: norms }),
            dead: bench.tensor('dead', 1, dSae + 1, { data: Uint32Array.of(dead, ...list, ...new Uint32Array(dSae - dead)) }), traits: bench.tensor('traits', 1, 4 * dSae),
          };
          return { tensors, record: (rec) => jumpreluTraits(rec, tensors, { log, lambda }) };
        });
        const expected = latents(dSae).flatMap((i) => {
          const theta = log ? Math.exp(threshold[i]) : Math.max(threshold[i], 0);
          return [theta, norms[i], list.includes(i) ? lambda : 0, log ? theta : threshold[i] > 0 ? 1 : 0];
        });
        near(found.floats('traits'), expected, expected.map((value, at) => (log && at % 4 !== 1 && at % 4 !== 2 ? value : 0)), 20, 'traits');
      })
  )),
  ...sparsityModes.flatMap((sparsity) => [false, true].flatMap((preAct) => [
    fuzzed(`JumpReLU codes and their penalties: ${sparsity}${preAct ? ', and that of dead latents' : ''}`, onBothKinds(shapes), async (gpu, random, shape) => {
      const { rows, dSae } = shape;
      const { traits, h, of } = jumpreluProblem(random, shape);
      const columns = preAct ? 2 : 1;
      const found = await run(gpu, [], (bench) => {
        const tensors = {
          h: bench.tensor('h', rows, dSae, { data: h, stride: dSae }), traits: bench.tensor('traits', 1, 4 * dSae, { data: traits }), f: bench.tensor('f', rows, dSae, { stride: dSae }),
          active: perRow(bench, 'active', shape, 1), lossRows: perRow(bench, 'loss rows', shape, columns), flags: bench.tensor('flags', 1, 1, { data: new Uint32Array(1) }),
        };
        return { tensors, record: (rec) => jumpreluRows(rec, tensors, chunkOf(shape), { sparsity, preAct, coefficient, tanhScale }) };
      });
      close(found.floats('f'), [...h.keys()].map((at) => (of(at).fires ? h[at] : 0)), {}, 'f');
      const active = Array.from({ length: rows }, (_, b) => sumOver(dSae, (i) => (of(b * dSae + i).fires ? 1 : 0)));
      close(found.floats('active'), column(shape, 1, 0, active), {}, 'active latents');
      const tanh = active.map((_, b) => sumOver(dSae, (i) => (of(b * dSae + i).fires ? Math.tanh(tanhScale * h[b * dSae + i] * of(i).norm) : 0)));
      const below = active.map((_, b) => sumOver(dSae, (i) => of(b * dSae + i).lambda * Math.max(of(i).theta - h[b * dSae + i], 0) * of(i).norm));
      const first = { step: active.map((count) => coefficient * count), tanh: tanh.map((value) => coefficient * value), quadratic: active.map(() => untouched) }[sparsity];
      const losses = column(shape, columns, 0, first);
      if (preAct) below.forEach((value, b) => (losses[(shape.firstRow + b) * 2 + 1] = value));
      // tanh is a difference of numbers up to one.
      near(found.floats('lossRows'), losses, losses.map((value) => value + (sparsity === 'tanh' ? coefficient * dSae : 0)), dSae + 30, 'losses');
      equal(found.integers('flags')[0], 0, 'flags');
    }),
    ...[false, true].map((toInput) => (
      fuzzed(`gradients of JumpReLU codes under the ${sparsity} penalty${preAct ? ' and that of dead latents' : ''}${toInput ? ', reaching the input' : ''}`, shapes, async (gpu, random, shape) => {
        const { rows, dSae } = shape;
        const { traits, h, of } = jumpreluProblem(random, shape);
        const pitch = padded(dSae), df = normals(random, rows * dSae), slope = 0.375;
        const sums = soFar(random, shape, latentSums * pitch), thresholds = soFar(random, shape, dSae), counts = countsSoFar(random, shape);
        const found = await run(gpu, [], (bench) => {
          const tensors = {
            h: bench.tensor('h', rows, dSae, { data: h, stride: dSae }), traits: bench.tensor('traits', 1, 4 * dSae, { data: traits }), slope: bench.tensor('slope', 1, 1, { data: Float32Array.of(slope) }),
            df: bench.tensor('df', rows, dSae, { data: df, stride: dSae }), sums: bench.tensor('sums', 1, latentSums * pitch, { data: sums }),
            gradThreshold: bench.tensor('grad threshold', 1, dSae, { data: thresholds }), counts: bench.tensor('counts', 1, dSae, { data: counts }),
          };
          return { tensors, record: (rec) => jumpreluLatents(rec, tensors, chunkOf(shape), { sparsity, preAct, coefficient, tanhScale, bandwidth, toInput }) };
        });
        const share = coefficient / batchOf(shape);
        const pressure = { step: share, tanh: 0, quadratic: slope }[sparsity];
        /** What every pre-activation gives: its gradient, its threshold's, its norm's; and how large the numbers are that these are made of. */
        const parts = [...h.keys()].map((at) => {
          const { value, theta, norm, lambda, derivative, fires } = of(at);
          const u = fires && sparsity === 'tanh' ? Math.tanh(tanhScale * value * norm) : 0;
          const steep = sparsity === 'tanh' ? share * tanhScale * (1 - u * u) : 0;
          const reaching = df[at] + steep * norm;
          const inWindow = Math.abs(value - theta) < bandwidth / 2 ? 1 / bandwidth : 0;
          const estimate = inWindow * (theta * reaching + pressure);
          const rise = preAct && theta > value ? lambda / batchOf(shape) : 0;
          return {
            dh: (fires ? reaching : 0) + (toInput ? estimate : 0) - rise * norm, lift: derivative * (rise * norm - estimate), stretch: (fires ? steep * value : 0) + rise * (theta - value),
            size: (1 + theta) * (Math.abs(df[at]) + share * tanhScale * norm + pressure) * (1 + 1 / bandwidth) + rise * (norm + theta + Math.abs(value)) + share * tanhScale * Math.abs(value),
          };
        });
        near(found.floats('df'), parts.map(({ dh }) => dh), parts.map(({ size }) => size), 120, 'dh');
        const checkSum = (actual: Float32Array, before: Float32Array, name: 'dh' | 'lift' | 'stretch'): void => {
          const expected = latents(dSae).map((i) => continued(shape, before[i], (row) => parts[row * dSae + i][name]).value);
          near(actual, expected, latents(dSae).map((i) => continued(shape, Math.abs(before[i]), (row) => 2 * parts[row * dSae + i].size).value), rows + 120, name);
        };
        checkSum(found.floats('sums').subarray(0, dSae), sums, 'dh');
        checkSum(found.floats('sums').subarray(2 * pitch, 2 * pitch + dSae), sums.subarray(2 * pitch), 'stretch');
        checkSum(found.floats('gradThreshold'), thresholds, 'lift');
        sameBits(found.integers('counts'), counts.map((before, i) => continued(shape, before, (row) => (of(row * dSae + i).fires ? 1 : 0)).value), 'counts');
      })
    )),
  ])),
  fuzzed('the quadratic penalty and its slope are those of the batch\'s mean L0', [1, 2, 255, 256, 257, 700].map((rows) => ({ rows })), async (gpu, random, { rows }) => {
    const active = Float32Array.from({ length: rows }, () => random.below(40)), goal = 12.5;
    const found = await run(gpu, [], (bench) => {
      const tensors = { active: bench.tensor('active', rows, 1, { data: active, stride: 1 }), slope: bench.tensor('slope', 1, 1), lossRows: bench.tensor('loss rows', rows, 2, { data: new Float32Array(2 * rows).fill(untouched), stride: 2 }) };
      return { tensors, record: (rec) => targetL0(rec, tensors, rows, { goal, coefficient }) };
    });
    const ratio = active.reduce((sum, count) => sum + count, 0) / rows / goal;
    // ratio - 1 may cancel: an error in the ratio is one of the slope.
    near(found.floats('lossRows'), Array.from({ length: 2 * rows }, (_, at) => (at % 2 === 0 ? coefficient * (ratio - 1) ** 2 : untouched)),
      Array.from({ length: 2 * rows }, (_, at) => (at % 2 === 0 ? coefficient * (ratio + 1) ** 2 : 0)), 20, 'losses');
    near(found.floats('slope'), [(2 * coefficient * (ratio - 1)) / (goal * rows)], [(2 * coefficient * (ratio + 1)) / (goal * rows)], 20, 'slope');
  }),
];

const flags: Case[] = [NaN, Infinity, -Infinity].map((wrong) => (
  fuzzed(`${wrong} anywhere raises the flag, in relu, gated and JumpReLU codes`, onBothKinds([0, 64, 129].map((at) => ({ at }))), async (gpu, random, { at }) => {
    const shape = { rows: 1, dSae: 130, firstRow: 0 };
    const { dSae } = shape;
    const h = normals(random, dSae);
    h[at] = wrong;
    const found = await run(gpu, [], (bench) => {
      const flag = (name: string): Tensor => bench.tensor(name, 1, 1, { data: Uint32Array.of(4) }); // other bits stay
      const matrix = (label: string): Tensor => bench.tensor(label, 1, dSae, { data: h, stride: dSae });
      const tensors = { relu: flag('relu'), gated: flag('gated'), activate: flag('activate'), jumprelu: flag('jumprelu') };
      const relus = matrix('relu codes'), gates = matrix('gates'), inPlace = matrix('in place'), f = bench.tensor('f', 1, dSae, { stride: dSae });
      const norms = bench.tensor('norms', 1, dSae, { data: normals(random, dSae) }), traits = bench.tensor('traits', 1, 4 * dSae, { data: randomTraits(random, dSae) });
      const active = perRow(bench, 'active', shape, 1), slopes = perRow(bench, 'slopes', shape, 1), lossRows = perRow(bench, 'loss rows', shape, 1);
      return {
        tensors,
        record(rec) {
          gatedRows(rec, { gates, traits, f, active, flags: tensors.gated }, chunkOf(shape));
          gatedActivate(rec, { h: inPlace, traits, flags: tensors.activate }, 1);
          jumpreluRows(rec, { h: gates, traits, f, active, lossRows, flags: tensors.jumprelu }, chunkOf(shape), { sparsity: 'step', preAct: false, coefficient, tanhScale });
          reluRows(rec, { h: relus, norms, active, slopes, lossRows, flags: tensors.relu }, chunkOf(shape), { p: 1, coefficient, column: 0 });
        },
      };
    });
    for (const name of ['relu', 'gated', 'activate', 'jumprelu'] as const) equal(found.integers(name)[0], 5, `flags of ${name}`);
  })
));

export const cases: Case[] = [...relu, ...gated, ...jumprelu, ...flags];
