import { padded, type Recorder } from '../../src/gpu/index.ts';
import { decodeDense, denseGradients, errorRows, latentSquares, latentSums, residualRows } from '../../src/kernels/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { squaredError } from '../oracle/linear.ts';
import { dotBound, matmulTransposeA, rowNorms } from '../oracle/matrix.ts';
import type { Case } from '../support/case.ts';
import { close, ok } from '../support/check.ts';
import { drawn, fuzzed, magnitudes, normals, onAllKinds, run, sameBits } from '../support/kernels.ts';
import { add, divide, multiply, type Rounded, squareRoot, subtract, sumOfSquares, within } from '../support/rounding.ts';

// Around the tiles of weighted_rows_tiled, 64 rows x 64 columns x 16 terms, and the 32 columns of weighted_rows_direct.
const shapes = [
  { rows: 1, dIn: 1, dSae: 1, firstRow: 0, cuts: [] },
  { rows: 3, dIn: 5, dSae: 7, firstRow: 1, cuts: [1, 4] },
  { rows: 16, dIn: 32, dSae: 64, firstRow: 0, cuts: [63] },
  { rows: 17, dIn: 33, dSae: 65, firstRow: 2, cuts: [64] },
  { rows: 70, dIn: 28, dSae: 40, firstRow: 3, cuts: [39, 13] },
  { rows: 5, dIn: 261, dSae: 12, firstRow: 0, cuts: [5] },
  ...drawn(3, (from) => ({ rows: from(1, 90), dIn: from(1, 140), dSae: from(1, 140), firstRow: from(0, 4), cuts: [from(1, 60)] })),
];

/** Codes of which every `one in` is not zero; some latents and some rows have none. */
function sparseCodes(random: RandomStream, rows: number, dSae: number, oneIn: number): Float32Array {
  const silent = new Set([random.below(dSae), random.below(dSae)]);
  const empty = random.below(rows);
  return Float32Array.from({ length: rows * dSae }, (_, j) => (
    random.below(oneIn) > 0 || silent.has(j % dSae) || (rows > 2 && Math.floor(j / dSae) === empty) ? 0 : random.normal()
  ));
}

const weightGradients: Case[] = [1, 20].map((oneIn) => (
  fuzzed(`weight gradients of ${oneIn === 1 ? 'dense' : 'sparse'} codes are the rows weighted by them, begun or continued, in one piece and in shards`, onAllKinds(shapes), async (gpu, random, { rows, dIn, dSae, firstRow, cuts }) => {
    const a = sparseCodes(random, rows, dSae, oneIn), M = normals(random, rows * dIn), start = normals(random, dSae * dIn);
    const batch = new Float32Array((firstRow + rows) * dIn).fill(NaN); // rows before the first are not to be read
    batch.set(M, firstRow * dIn);
    const gradientOf = (keep: boolean, parts: readonly number[]) => run(gpu, cuts, (bench, shardRows) => {
      let first = 0;
      const pieces = parts.map((here) => {
        const codes = bench.tensor('codes', here, dSae, { data: a.slice(first * dSae, (first + here) * dSae), stride: dSae });
        first += here;
        return { codes, here, first: first - here };
      });
      const tensors = { M: bench.tensor('M', firstRow + rows, dIn, { data: batch }), gradient: bench.tensor('gradient', dSae, dIn, { ...(keep ? { data: start } : {}), shardRows }) };
      const record = (rec: Recorder): void => pieces.forEach(({ codes, here, first: at }) => (
        denseGradients(rec, { ...tensors, a: codes }, { firstRow: firstRow + at, rows: here, batch: firstRow + rows }, keep || at > 0)
      ));
      return { tensors, record };
    });
    const sum = matmulTransposeA(Float64Array.from(a), Float64Array.from(M), dSae, rows, dIn), size = matmulTransposeA(magnitudes(a), magnitudes(M), dSae, rows, dIn);
    for (const keep of [false, true]) {
      const found = await gradientOf(keep, [rows]);
      close(found.floats('gradient'), sum.map((value, j) => value + (keep ? start[j] : 0)),
        { absolute: size.map((sumAbs, j) => dotBound(rows + 1, sumAbs + (keep ? Math.abs(start[j]) : 0))) }, `gradient, ${keep ? 'continued' : 'begun'}`);
      if (rows < 3) continue;
      const middle = 1 + random.below(rows - 1);
      sameBits((await gradientOf(keep, [middle, rows - middle])).integers('gradient'), found.integers('gradient'), `the gradient of ${middle} rows, then of the others`);
    }
  })
));

const decoding: Case = fuzzed('dense decoding writes the rows that it is told to', onAllKinds(shapes), async (gpu, random, { rows, dIn, dSae, firstRow, cuts }) => {
  const f = sparseCodes(random, rows, dSae, 4), W = normals(random, dSae * dIn), b = normals(random, dIn), before = normals(random, (firstRow + rows) * dIn);
  const decoded = async (first: number) => (await run(gpu, cuts, (bench, shardRows) => {
    const tensors = {
      f: bench.tensor('f', rows, dSae, { data: f, stride: dSae }), W_dec: bench.tensor('W_dec', dSae, dIn, { data: W, shardRows }),
      b_dec: bench.tensor('b_dec', 1, dIn, { data: b }), r: bench.tensor('r', first + rows, dIn, { data: before.subarray(0, (first + rows) * dIn) }),
    };
    return { tensors, record: (rec) => decodeDense(rec, tensors, rows, first) };
  })).floats('r');
  const below = await decoded(firstRow);
  close(below.subarray(0, firstRow * dIn), before.subarray(0, firstRow * dIn), {}, 'rows before the first');
  close(below.subarray(firstRow * dIn), await decoded(0), {}, 'r');
});

const squares: Case[] = [0, 1, 2].map((others) => (
  fuzzed(`squares of a latent's gradients, ${others} of vectors besides its bias, and what reaches the decoder through its norm`,
    onAllKinds(shapes.map(({ dIn, dSae, cuts }, n) => ({ dIn, dSae, cuts, norms: n % 3 !== 1 }))), async (gpu, random, { dIn, dSae, cuts, norms }) => {
      const W = normals(random, dSae * dIn), dec = normals(random, dSae * dIn), enc = normals(random, dSae * dIn);
      if (dSae > 2) W.fill(0, dIn, 2 * dIn); // a row without a direction
      const pitch = padded(dSae);
      const sums = new Float32Array(latentSums * pitch).fill(NaN);
      const bias = normals(random, dSae), stretch = normals(random, dSae), vectors = [normals(random, dSae), normals(random, dSae)];
      sums.set(bias);
      if (norms) sums.set(stretch, 2 * pitch);
      const found = await run(gpu, cuts, (bench, shardRows) => {
        const weight = (label: string, data: Float32Array) => bench.tensor(label, dSae, dIn, { data, shardRows });
        const tensors = { W_dec: weight('W_dec', W), gradWDec: weight('grad W_dec', dec), gradWEnc: weight('grad W_enc', enc), sums: bench.tensor('sums', 1, latentSums * pitch, { data: sums }) };
        const extra = vectors.slice(0, others).map((data, n) => bench.tensor(`vector ${n}`, 1, dSae, { data }));
        return { tensors, record: (rec) => latentSquares(rec, tensors, extra, norms) };
      });
      const oracle = rowNorms(Float64Array.from(W), dSae, dIn);
      const gradient = Array.from(dec, (value, j): Rounded => {
        const i = Math.floor(j / dIn);
        if (!norms || oracle[i] === 0) return { value, error: 0 };
        const norm = squareRoot(sumOfSquares([...W.subarray(i * dIn, (i + 1) * dIn)]));
        ok(Math.abs(norm.value - oracle[i]) <= 1e-9 * oracle[i], 'the norm, derived here');
        return add(value, multiply(divide(stretch[i], norm), W[j]));
      });
      within(found.floats('gradWDec'), gradient, 'grad W_dec');
      const written = found.floats('gradWDec');
      within(found.floats('sums').subarray(pitch, pitch + dSae), Array.from({ length: dSae }, (_, i) => (
        sumOfSquares([...written.subarray(i * dIn, (i + 1) * dIn), ...enc.subarray(i * dIn, (i + 1) * dIn), bias[i], ...vectors.slice(0, others).map((vector) => vector[i])])
      )), 'squares');
      close(found.floats('sums').subarray(0, dSae), bias, {}, 'grad bias');
    })
));

const errors: Case = fuzzed('a reconstruction becomes the gradient of its squared error', onAllKinds(shapes), async (gpu, random, { rows, dIn, firstRow }) => {
  const batch = firstRow + rows + 1;
  const t = normals(random, batch * dIn), r = normals(random, batch * dIn);
  const found = await run(gpu, [], (bench) => {
    const tensors = {
      t: bench.tensor('t', batch, dIn, { data: t }), r: bench.tensor('r', batch, dIn, { data: r }),
      lossRows: bench.tensor('loss rows', batch, 3, { data: new Float32Array(batch * 3).fill(7), stride: 3 }),
    };
    return { tensors, record: (rec) => errorRows(rec, tensors, { firstRow, rows, batch }, 2) };
  });
  const isMine = (row: number): boolean => row >= firstRow && row < firstRow + rows;
  const error = Array.from(r, (value, j) => subtract(value, t[j]));
  const gradient = error.map((e, j): Rounded => (isMine(Math.floor(j / dIn)) ? multiply(divide(2, batch), e) : { value: r[j], error: 0 }));
  const oracle = squaredError(Float64Array.from(r), Float64Array.from(t), dIn);
  close(gradient.filter((_, j) => isMine(Math.floor(j / dIn))).map(({ value }) => value), oracle.gradient.subarray(firstRow * dIn, (firstRow + rows) * dIn), { relative: 1e-12 }, 'g, derived here');
  within(found.floats('r'), gradient, 'g');
  within(found.floats('lossRows'), Array.from({ length: batch * 3 }, (_, j) => {
    const row = Math.floor(j / 3);
    return j % 3 === 2 && isMine(row) ? sumOfSquares(error.slice(row * dIn, (row + 1) * dIn)) : { value: 7, error: 0 };
  }), 'losses');
});

const residuals: Case = fuzzed('residuals of a chunk are those of its rows, with as many active latents as they are told', onAllKinds(shapes), async (gpu, random, { rows, dIn, firstRow }) => {
  const batch = firstRow + rows + 2, active = Float32Array.from({ length: batch }, () => random.below(50));
  const data = { t: normals(random, batch * dIn), r: normals(random, batch * dIn), g: normals(random, batch * dIn), rowAffine: normals(random, batch * 2), stats: normals(random, batch * 4) };
  const mean = normals(random, dIn);
  const residualOf = async (from: number, to: number, chunk: { firstRow: number; batch: number }) => {
    const found = await run(gpu, [], (bench) => {
      const part = (name: keyof typeof data, columns: number, stride?: number) => bench.tensor(name, to - from, columns, { data: data[name].subarray(from * columns, to * columns), ...(stride ? { stride } : {}) });
      const tensors = {
        t: part('t', dIn), r: part('r', dIn), g: part('g', dIn), rowAffine: part('rowAffine', 2, 2), stats: part('stats', 4, 4), mean: bench.tensor('mean', 1, dIn, { data: mean }),
        active: bench.tensor('active', to - from, 1, { data: active.subarray(from, to), stride: 1 }),
      };
      return { tensors, record: (rec) => residualRows(rec, tensors, rows, chunk) };
    });
    return { r: found.floats('r'), g: found.floats('g'), stats: found.floats('stats') };
  };
  const whole = await residualOf(0, batch, { firstRow, batch }), alone = await residualOf(firstRow, firstRow + rows, { firstRow: 0, batch });
  for (const [name, columns] of [['r', dIn], ['g', dIn], ['stats', 4]] as const) {
    const expected = data[name].slice();
    expected.set(alone[name], firstRow * columns);
    close(whole[name], expected, {}, name);
  }
  close(whole.stats.filter((_, at) => at % 4 === 3).subarray(firstRow, firstRow + rows), active.subarray(firstRow, firstRow + rows), {}, 'active latents');
});

export const cases: Case[] = [...weightGradients, decoding, ...squares, errors, residuals];
