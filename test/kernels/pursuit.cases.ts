import { mergePicks, noLatent, pursue, pursuitGradients } from '../../src/kernels/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { dotBound } from '../oracle/matrix.ts';
import type { Case } from '../support/case.ts';
import { close, ok } from '../support/check.ts';
import { drawn, fuzzed, normals, onBothKinds, run, sameBits } from '../support/kernels.ts';
import { add, multiply, type Rounded, subtract, sum, within } from '../support/rounding.ts';

const shapes = [
  { rows: 1, firstRow: 0, dIn: 1, dSae: 1, picks: 3, cuts: [] },
  { rows: 3, firstRow: 2, dIn: 5, dSae: 7, picks: 4, cuts: [1, 4] },
  { rows: 5, firstRow: 0, dIn: 8, dSae: 64, picks: 12, cuts: [60] },
  { rows: 9, firstRow: 4, dIn: 33, dSae: 129, picks: 7, cuts: [128] },
  { rows: 2, firstRow: 0, dIn: 257, dSae: 40, picks: 5, cuts: [36, 12] },
  ...drawn(3, (from) => ({ rows: from(1, 12), firstRow: from(0, 3), dIn: from(2, 60), dSae: from(20, 90), picks: from(1, 14), cuts: [4 * from(1, 12)] })),
];

/** Rows of about unit length, as a dictionary's are. */
function dictionary(random: RandomStream, dSae: number, dIn: number): Float32Array {
  return normals(random, dSae * dIn, 1 / Math.sqrt(dIn));
}

const rowOf = (matrix: Float32Array, i: number, columns: number): Float32Array => matrix.subarray(i * columns, (i + 1) * columns);

/** Sum of products and of their sizes. */
function product(a: ArrayLike<number>, b: ArrayLike<number>): { value: number; size: number } {
  let value = 0, size = 0;
  for (let d = 0; d < a.length; d++) {
    value += a[d] * b[d];
    size += Math.abs(a[d] * b[d]);
  }
  return { value, size };
}

const stops = [
  { residualThreshold: 0, stopOnDuplicateSupport: false }, { residualThreshold: 0, stopOnDuplicateSupport: true }, { residualThreshold: 0.7, stopOnDuplicateSupport: true },
];

/** Every pick is checked against the residual that the picks before it leave, so that nothing depends on a close call. */
const pursued: Case[] = stops.map((options, n) => (
  fuzzed(`a pursuit takes the best latent of every residual, ${JSON.stringify(options)}`, n === 0 ? onBothKinds(shapes) : shapes, async (gpu, random, { rows, firstRow, dIn, dSae, picks, cuts }) => {
    const all = firstRow + rows;
    const W = dictionary(random, dSae, dIn), x = normals(random, all * dIn, 1 / Math.sqrt(dIn));
    const found = await run(gpu, cuts, (bench, shardRows) => {
      const compact = (label: string, dtype?: 'u32') => bench.tensor(label, all, picks, { stride: picks, ...(dtype ? { dtype } : {}) });
      const tensors = {
        W_dec: bench.tensor('W_dec', dSae, dIn, { data: W, shardRows }), residual: bench.tensor('residual', all, dIn, { data: x }),
        h: bench.tensor('h', rows, dSae, { stride: dSae }), noBias: bench.tensor('no bias', 1, dSae, { data: new Float32Array(dSae) }),
        done: bench.tensor('done', 1, all, { data: new Uint32Array(all) }), flags: bench.tensor('flags', 1, 1, { data: new Uint32Array(1) }),
        indices: compact('indices', 'u32'), values: compact('values'), firstSlots: compact('first slots', 'u32'),
      };
      return { tensors, record: (rec) => pursue(rec, tensors, firstRow, rows, options) };
    });
    const indices = found.integers('indices'), values = found.floats('values'), firstSlots = found.integers('firstSlots'), left = found.floats('residual');
    ok(found.integers('flags')[0] === 0, 'nothing is flagged');
    let stopped = 0;
    for (let row = firstRow; row < all; row++) {
      const residual = Float64Array.from(rowOf(x, row, dIn)), sizes = residual.map(Math.abs), taken: number[] = [];
      let done = false;
      for (let t = 0; t < picks; t++) {
        const what = `pick ${t} of row ${row}`;
        const at = row * picks + t;
        // How far the GPU's residual may lie from the one that its picks leave.
        const error = sizes.map((size) => dotBound(t + 1, size));
        const bounded = (i: number) => {
          const w = rowOf(W, i, dIn);
          const { value, size } = product(residual, w);
          return { value, error: dotBound(dIn + 1, size) + product(error, w.map(Math.abs)).value * 1.01 };
        };
        const norm = Math.sqrt(product(residual, residual).value);
        const normError = Math.sqrt(product(error, error).value) + norm * (dIn + 9) * 2 ** -23;
        const latent = indices[at];
        if (latent === noLatent) {
          const short = options.residualThreshold > 0 && t > 0 && norm < options.residualThreshold + normError;
          ok(done || short || Array.from({ length: dSae }, (_, i) => bounded(i)).every((one) => one.value <= one.error), `${what} is empty without a reason`);
          ok(values[at] === 0 && firstSlots[at] === t, `${what} is empty but not zero`);
          done = true;
          stopped++;
          continue;
        }
        ok(!done, `${what} was made after the row's end`);
        ok(options.residualThreshold === 0 || t === 0 || norm > options.residualThreshold - normError, `${what} was made on a short residual`);
        const own = bounded(latent);
        ok(values[at] > 0 && Math.abs(values[at] - own.value) <= own.error, `${what} took ${values[at]} of latent ${latent}, not ${own.value}`);
        for (let i = 0; i < dSae; i++) {
          const other = bounded(i);
          ok(other.value - other.error <= values[at], `${what} is latent ${latent} with ${values[at]}, though latent ${i} has ${other.value}`);
        }
        const first = taken.indexOf(latent);
        ok(firstSlots[at] === (first < 0 ? t : first), `${what}: first slot ${firstSlots[at]}`);
        done = options.stopOnDuplicateSupport && first >= 0;
        taken.push(latent);
        for (let d = 0; d < dIn; d++) {
          residual[d] -= values[at] * W[latent * dIn + d];
          sizes[d] += Math.abs(values[at] * W[latent * dIn + d]);
        }
      }
      close(rowOf(left, row, dIn), residual, { absolute: sizes.map((size) => dotBound(picks + 1, size)) }, `residual of row ${row}`);
    }
    ok(!options.stopOnDuplicateSupport || picks < 12 || stopped > 0, 'some row stops early');
  })
));

const pursuedTies: Case = fuzzed('equal products go to the smaller latent, and a row without any above zero picks nothing', [{ rows: 2 }], async (gpu, _, { rows }) => {
  const dIn = 2, dSae = 70, picks = 2;
  const W = new Float32Array(dSae * dIn);
  for (let i = 0; i < dSae; i++) W[i * dIn + (i % 2)] = 1;
  const found = await run(gpu, [35], (bench, shardRows) => {
    const tensors = {
      W_dec: bench.tensor('W_dec', dSae, dIn, { data: W, shardRows }), residual: bench.tensor('residual', rows, dIn, { data: Float32Array.of(0, 2, -1, -3) }),
      h: bench.tensor('h', rows, dSae, { stride: dSae }), noBias: bench.tensor('no bias', 1, dSae, { data: new Float32Array(dSae) }),
      done: bench.tensor('done', 1, rows, { data: new Uint32Array(rows) }), flags: bench.tensor('flags', 1, 1, { data: new Uint32Array(1) }),
      indices: bench.tensor('indices', rows, picks, { stride: picks, dtype: 'u32' }), values: bench.tensor('values', rows, picks, { stride: picks }),
      firstSlots: bench.tensor('first slots', rows, picks, { stride: picks, dtype: 'u32' }),
    };
    return { tensors, record: (rec) => pursue(rec, tensors, 0, rows, { residualThreshold: 0, stopOnDuplicateSupport: false }) };
  });
  sameBits(found.integers('indices'), Uint32Array.of(1, noLatent, noLatent, noLatent), 'indices');
  close(found.floats('values'), [2, 0, 0, 0], {}, 'values');
});

const notFinite: Case = fuzzed('a pursuit flags frames with NaN and infinities', [NaN, Infinity, -Infinity].map((bad) => ({ bad: String(bad) })), async (gpu, random, { bad }) => {
  const dIn = 3, dSae = 9, picks = 2;
  const found = await run(gpu, [], (bench) => {
    const tensors = {
      W_dec: bench.tensor('W_dec', dSae, dIn, { data: dictionary(random, dSae, dIn) }), residual: bench.tensor('residual', 1, dIn, { data: Float32Array.of(1, Number(bad), 1) }),
      h: bench.tensor('h', 1, dSae, { stride: dSae }), noBias: bench.tensor('no bias', 1, dSae, { data: new Float32Array(dSae) }),
      done: bench.tensor('done', 1, 1, { data: new Uint32Array(1) }), flags: bench.tensor('flags', 1, 1, { data: new Uint32Array(1) }),
      indices: bench.tensor('indices', 1, picks, { stride: picks, dtype: 'u32' }), values: bench.tensor('values', 1, picks, { stride: picks }),
      firstSlots: bench.tensor('first slots', 1, picks, { stride: picks, dtype: 'u32' }),
    };
    return { tensors, record: (rec) => pursue(rec, tensors, 0, 1, { residualThreshold: 0, stopOnDuplicateSupport: false }) };
  });
  ok(found.integers('flags')[0] === 1, 'bit 0 is set');
});

/** Picks as a pursuit leaves them: latents that may come again, then perhaps empty ones. */
function drawnPicks(random: RandomStream, rows: number, picks: number, dSae: number): { indices: Uint32Array; values: Float32Array; firstSlots: Uint32Array } {
  const indices = new Uint32Array(rows * picks).fill(noLatent), values = new Float32Array(rows * picks), firstSlots = new Uint32Array(rows * picks);
  const few = Math.min(dSae, Math.max(1, Math.ceil(picks * 0.8))); // few enough for repetitions
  for (let row = 0; row < rows; row++) {
    const among = random.permutation(dSae).subarray(0, few);
    const count = random.below(3) === 0 ? random.below(picks + 1) : picks;
    for (let t = 0; t < picks; t++) {
      const at = row * picks + t;
      firstSlots[at] = t;
      if (t >= count) continue;
      indices[at] = among[random.below(few)];
      values[at] = 0.1 + Math.abs(random.normal());
      firstSlots[at] = indices.subarray(row * picks, at).includes(indices[at]) ? indices.subarray(row * picks, at).indexOf(indices[at]) : t;
    }
  }
  return { indices, values, firstSlots };
}

const merged = fuzzed('picks are merged into pairs with latents ascending', shapes, async (gpu, random, { rows, dSae, picks }) => {
  const drawnOnes = drawnPicks(random, rows, picks, dSae);
  const found = await run(gpu, [], (bench) => {
    const compact = (label: string, data?: Float32Array | Uint32Array, dtype?: 'u32') => bench.tensor(label, rows, picks, { stride: picks, ...(data ? { data } : {}), ...(dtype ? { dtype } : {}) });
    const tensors = {
      indices: compact('indices', drawnOnes.indices), values: compact('values', drawnOnes.values), firstSlots: compact('first slots', drawnOnes.firstSlots),
      keptIndices: compact('kept indices', undefined, 'u32'), keptValues: compact('kept values'), slots: compact('slots'),
    };
    return { tensors, record: (rec) => mergePicks(rec, { ...tensors, kept: { indices: tensors.keptIndices, values: tensors.keptValues, dz: tensors.slots } }, rows) };
  });
  for (let row = 0; row < rows; row++) {
    const of = <T extends Float32Array | Uint32Array>(data: T): T => data.subarray(row * picks, (row + 1) * picks) as T;
    const own = of(drawnOnes.indices), latents = [...new Set(own)].filter((i) => i !== noLatent).sort((a, b) => a - b);
    sameBits(of(found.integers('keptIndices')), Uint32Array.from({ length: picks }, (_, n) => latents[n] ?? noLatent), `latents of row ${row}`);
    const sums = latents.map((latent) => sum([...of(drawnOnes.values)].filter((_, t) => own[t] === latent)));
    within(of(found.floats('keptValues')), Array.from({ length: picks }, (_, n) => sums[n] ?? { value: 0, error: 0 }), `values of row ${row}`);
    close(of(found.floats('slots')).subarray(0, latents.length), latents.map((latent) => own.indexOf(latent)), {}, `slots of row ${row}`);
  }
});

const walkedBack = fuzzed('the backward pass walks every row\'s picks from the last to the first', onBothKinds(shapes), async (gpu, random, { rows, firstRow, dIn, dSae, picks, cuts }) => {
  const all = firstRow + rows;
  const drawnOnes = drawnPicks(random, all, picks, dSae);
  const W = dictionary(random, dSae, dIn), g = normals(random, all * dIn), leftOver = normals(random, all * dIn, 0.1);
  const found = await run(gpu, cuts, (bench, shardRows) => {
    const compact = (label: string, data: Float32Array | Uint32Array) => bench.tensor(label, all, picks, { stride: picks, data });
    const tensors = {
      indices: compact('indices', drawnOnes.indices), values: compact('values', drawnOnes.values), firstSlots: compact('first slots', drawnOnes.firstSlots),
      W_dec: bench.tensor('W_dec', dSae, dIn, { data: W, shardRows }), q: bench.tensor('q', all, dIn, { data: g }), residual: bench.tensor('residual', all, dIn, { data: leftOver }),
      shares: bench.tensor('shares', rows * picks, dIn, { data: new Float32Array(rows * picks * dIn) }),
    };
    return { tensors, record: (rec) => pursuitGradients(rec, tensors, firstRow, rows) };
  });
  const shares = Array.from({ length: rows * picks * dIn }, (): Rounded => ({ value: 0, error: 0 }));
  for (let row = 0; row < rows; row++) {
    const from = (firstRow + row) * dIn;
    let q: (Rounded | number)[] = [...g.subarray(from, from + dIn)], r: (Rounded | number)[] = [...leftOver.subarray(from, from + dIn)];
    for (let t = picks - 1; t >= 0; t--) {
      const pick = (firstRow + row) * picks + t;
      if (drawnOnes.indices[pick] === noLatent) continue;
      const w = rowOf(W, drawnOnes.indices[pick], dIn), v = drawnOnes.values[pick];
      const c = sum(q.map((value, d) => multiply(value, w[d])));
      const before = r.map((value, d) => add(value, multiply(v, w[d])));
      q.forEach((value, d) => {
        const at = (row * picks + drawnOnes.firstSlots[pick]) * dIn + d;
        shares[at] = add(shares[at], add(multiply(v, value), multiply(c, before[d])));
      });
      q = q.map((value, d) => subtract(value, multiply(c, w[d])));
      r = before;
    }
    const exact = (values: (Rounded | number)[]): Rounded[] => values.map((value) => (typeof value === 'number' ? { value, error: 0 } : value));
    within(found.floats('q').subarray(from, from + dIn), exact(q), `q of row ${row}`);
    within(found.floats('residual').subarray(from, from + dIn), exact(r), `residual of row ${row}`);
  }
  within(found.floats('shares'), shares, 'shares');
});

export const cases: Case[] = [...pursued, pursuedTies, notFinite, merged, walkedBack];
