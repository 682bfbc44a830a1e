import type { Gpu, Tensor } from '../../src/gpu/index.ts';
import { groupmaxRows, noLatent, topkRows, type TopkTensors } from '../../src/kernels/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { rowTopK, rowTopKAmong } from '../oracle/topk.ts';
import type { Case } from '../support/case.ts';
import { close, equal, ok } from '../support/check.ts';
import { drawn, fuzzed, normals, onBothKinds, run, sameBits } from '../support/kernels.ts';

interface Problem {
  h: Float32Array;
  rows: number;
  k: number;
  /** Rows of the output before the first that is written. */
  firstRow?: number;
  norms?: Float32Array;
  list?: readonly number[];
  absolute?: boolean;
  /** Slots of a row, more than k. */
  slots?: number;
  /** With the largest score of every eight latents, as encode leaves them. */
  tops?: boolean;
}

/** The largest score of every eight latents of each row; a NaN where one is not finite. */
function topsOf({ h, rows, norms, absolute }: Problem): Float32Array {
  const dSae = h.length / rows, eights = Math.ceil(dSae / 8);
  return Float32Array.from({ length: rows * eights }, (_, at) => {
    const row = Math.floor(at / eights), first = (at % eights) * 8;
    const scores = Array.from(h.subarray(row * dSae + first, row * dSae + Math.min(first + 8, dSae)), (value, n) => Math.fround(value * (norms?.[first + n] ?? 1)));
    return scores.every(Number.isFinite) ? Math.max(...scores.map((score) => (absolute ? Math.abs(score) : score))) : NaN;
  });
}

async function select(gpu: Gpu, problem: Problem) {
  const { h, rows, k, firstRow = 0, norms, list, absolute, slots = k } = problem;
  const dSae = h.length / rows;
  const listed = list && Uint32Array.of(list.length, ...list, ...new Uint32Array(dSae - list.length).fill(noLatent));
  const found = await run(gpu, [], (bench) => {
    const tensors: TopkTensors & Record<string, Tensor> = {
      h: bench.tensor('h', rows, dSae, { data: h, stride: dSae }),
      indices: bench.tensor('indices', firstRow + rows, slots, { dtype: 'u32', stride: slots }),
      values: bench.tensor('values', firstRow + rows, slots, { stride: slots }),
      flags: bench.tensor('flags', 1, 1, { data: Uint32Array.of(4) }),
      ...(norms ? { norms: bench.tensor('norms', 1, dSae, { data: norms }) } : {}),
      ...(problem.tops ? { tops: bench.tensor('tops', rows, Math.ceil(dSae / 8), { data: topsOf(problem), stride: Math.ceil(dSae / 8) }) } : {}),
      ...(listed ? { list: bench.tensor('list', 1, dSae + 1, { data: listed }) } : {}),
    };
    return { tensors, record: (rec) => topkRows(rec, tensors, firstRow, rows, k, absolute) };
  });
  const untouched = found.integers('indices').subarray(0, firstRow * slots);
  ok(untouched.every((word) => word === untouched[0]), 'rows before the first were written');
  return { indices: found.integers('indices').subarray(firstRow * slots), values: found.floats('values').subarray(firstRow * slots), flag: found.integers('flags')[0] - 4 };
}

/** Compares with the oracle: the same latents, ascending, and the values kept. `scores` are what is ranked, in float64. */
async function checkAgainstOracle(gpu: Gpu, problem: Problem, scores = Float64Array.from(problem.h)): Promise<void> {
  const { h, rows, k, list, absolute = false, slots = k } = problem;
  const dSae = h.length / rows;
  const chosen = list ? rowTopKAmong(scores, rows, dSae, k, [...list]) : rowTopK(scores, rows, dSae, k);
  const indices = new Uint32Array(rows * slots).fill(noLatent);
  const values = new Float32Array(rows * slots);
  chosen.forEach((latents, row) => {
    indices.set(latents, row * slots);
    values.set(latents.map((i) => (list || absolute ? h[row * dSae + i] : Math.max(h[row * dSae + i], 0))), row * slots);
  });
  const found = await select(gpu, problem);
  sameBits(found.indices, indices, 'kept latents');
  close(found.values, values, {}, 'kept values');
  equal(found.flag, 0, 'flag');
  if (gpu.adapter.software && !list && !problem.tops) await checkTops(gpu, problem, scores);
}

/** The same with tops, which only leave a multiple of four latents: the latents up to there. */
async function checkTops(gpu: Gpu, problem: Problem, scores: Float64Array): Promise<void> {
  const { rows, k } = problem;
  const dSae = problem.h.length / rows, width = dSae - (dSae % 4);
  if (width === 0) return;
  const inside = (_: number, at: number) => at % dSae < width;
  await checkAgainstOracle(gpu, { ...problem, h: problem.h.filter(inside), k: Math.min(k, width), tops: true, ...(problem.norms ? { norms: problem.norms.subarray(0, width) } : {}) }, scores.filter(inside));
}

// Hardware's fast way takes k up to 4 invocations' worth of groups and 768 candidates; past these its radix select works. A software adapter's
// lanes have room for 256 candidates each; past that they count in the row itself. Here k asks for 16, 64 and 256 groups of a lane.
const sizes = [
  { rows: 1, dSae: 1, k: 1 }, { rows: 3, dSae: 2, k: 1 }, { rows: 2, dSae: 7, k: 7 }, { rows: 5, dSae: 255, k: 1 }, { rows: 2, dSae: 1023, k: 32 },
  { rows: 3, dSae: 129, k: 129 }, { rows: 2, dSae: 257, k: 256 }, { rows: 2, dSae: 1025, k: 1024 }, { rows: 2, dSae: 1031, k: 1031 }, { rows: 1, dSae: 1500, k: 1025 },
  { rows: 1, dSae: 1200, k: 800 }, { rows: 3, dSae: 4099, k: 20 },
  ...drawn(2, (from) => ({ rows: from(1, 4), dSae: from(300, 2000), k: from(1, 32) })), ...drawn(1, (from) => ({ rows: 2, dSae: from(300, 2000), k: from(129, 256) })),
];
const fewSizes = [{ rows: 3, dSae: 40, k: 5 }, { rows: 2, dSae: 1300, k: 200 }, { rows: 2, dSae: 1031, k: 1031 }];

const against = (name: string, shapes: typeof sizes, draw: (random: RandomStream, column: number) => number): Case => (
  fuzzed(`top-k of ${name}`, onBothKinds(shapes), async (gpu, random, { rows, dSae, k }) => {
    const h = Float32Array.from({ length: rows * dSae }, (_, j) => draw(random, j % dSae));
    await checkAgainstOracle(gpu, { h, rows, k, firstRow: 2 });
  })
);

const distributions: Case[] = [
  against('normal deviates', sizes, (random) => random.normal()),
  against('seven distinct values, zeros of either sign among them', sizes, (random) => [-2, -1, -0, 0, 1, 2, 3][random.below(7)]),
  against('one value', fewSizes, () => 1.5),
  against('zeros of either sign', fewSizes, (random) => [-0, 0][random.below(2)]),
  against('negative numbers', fewSizes, (random) => -1 - Math.abs(random.normal())),
  against('ascending rows', fewSizes, (_, column) => column / 7 - 5),
  against('the largest floats and the smallest normal ones', fewSizes, (random) => [3.4028234663852886e38, -3.4028234663852886e38, 2 ** -126, -(2 ** -126)][random.below(4)]),
];

// A list is walked like a row of its own: with none in it, fewer than k, more than the groups. A software adapter's lanes hold up to 2,048 or 4,096
// latents of it, by their number; longer ones have another kernel.
const listSizes = [
  { dSae: 9, count: 0, k: 3 }, { dSae: 9, count: 1, k: 3 }, { dSae: 30, count: 30, k: 30 }, { dSae: 300, count: 256, k: 20 }, { dSae: 1300, count: 1100, k: 1050 },
  { dSae: 700, count: 17, k: 600 }, { dSae: 3072, count: 2000, k: 192 }, { dSae: 5000, count: 4500, k: 40 },
];

const lists = [true, false].map((ties) => (
  fuzzed(`top-k among a list of latents keeps negative values as they are, ${ties ? 'with' : 'without'} ties`, onBothKinds(listSizes), async (gpu, random, { dSae, count, k }) => {
    const rows = 3;
    const list = [...random.permutation(dSae).subarray(0, count).sort()];
    const listed = new Set(list);
    // What is not listed is not to be looked at, whatever it holds.
    const h = Float32Array.from({ length: rows * dSae }, (_, j) => (!listed.has(j % dSae) ? NaN : ties ? random.below(4) - 2 : random.normal()));
    await checkAgainstOracle(gpu, { h, rows, k, list }, Float64Array.from(h));
  })
));

/** Small whole numbers, whose products float32 holds exactly: scores tie across different norms. */
const wholeNumbers = (random: RandomStream, length: number, low: number, high: number): Float32Array => Float32Array.from({ length }, () => low + random.below(high - low + 1));

const scaledSizes = [{ dSae: 5, k: 2 }, { dSae: 200, k: 30 }, { dSae: 1600, k: 1100 }];

const scaled: Case[] = [
  fuzzed('top-k by value times norm keeps the unscaled values', onBothKinds(scaledSizes.flatMap((size) => [{ ...size, listed: false }, { ...size, listed: true }])),
    async (gpu, random, { dSae, k, listed }) => {
      const rows = 2;
      const h = wholeNumbers(random, rows * dSae, -9, 9), norms = wholeNumbers(random, dSae, 1, 6);
      const list = listed ? [...random.permutation(dSae).subarray(0, Math.ceil(dSae * 0.8)).sort()] : undefined;
      await checkAgainstOracle(gpu, { h, rows, k, norms, ...(list ? { list } : {}) }, Float64Array.from(h, (value, j) => value * norms[j % dSae]));
    }),
  fuzzed('no score that is left out exceeds one that is kept by more than the rounding of a product', onBothKinds([{ dSae: 600, k: 30 }, { dSae: 2000, k: 1030 }]), async (gpu, random, { dSae, k }) => {
    const h = normals(random, dSae), norms = normals(random, dSae).map(Math.abs);
    const { indices } = await select(gpu, { h, rows: 1, k, norms });
    ok(indices.every((latent, j) => latent < dSae && (j === 0 || latent > indices[j - 1])), `ascending latents: ${indices.join(' ')}`);
    const kept = new Set(indices);
    const least = Math.min(...[...indices].map((i) => h[i] * norms[i]));
    const most = Math.max(...[...h.keys()].filter((i) => !kept.has(i)).map((i) => h[i] * norms[i]));
    ok(least >= most - Math.abs(most) * 2 ** -22, `kept ${least}, left out ${most}`);
  }),
];

/** Ranked by size, values with their signs; also with room for more than is kept. */
const absolute: Case[] = [
  fuzzed('top-k by size keeps values of either sign', onBothKinds([{ dSae: 7, k: 3 }, { dSae: 1300, k: 200 }, { dSae: 1031, k: 1031 }]), async (gpu, random, { dSae, k }) => {
    const rows = 3;
    const h = normals(random, rows * dSae), norms = wholeNumbers(random, dSae, 1, 6);
    await checkAgainstOracle(gpu, { h, rows, k, absolute: true, firstRow: 1 }, Float64Array.from(h, Math.abs));
    const whole = wholeNumbers(random, rows * dSae, -9, 9); // with ties
    const list = [...random.permutation(dSae).subarray(0, Math.ceil(dSae * 0.6)).sort()];
    const scores = Float64Array.from(whole, (value, j) => Math.abs(value) * norms[j % dSae]);
    await checkAgainstOracle(gpu, { h: whole, rows, k, norms, absolute: true }, scores);
    await checkAgainstOracle(gpu, { h: whole, rows, k, norms, absolute: true, list }, scores);
  }),
  fuzzed('a NaN or an infinity raises the flag of a top-k by size', onBothKinds([{ value: NaN }, { value: -Infinity }]), async (gpu, random, { value }) => {
    const h = normals(random, 300);
    h[100] = value;
    equal((await select(gpu, { h, rows: 1, k: 20, absolute: true })).flag, 1, 'flag');
  }),
  fuzzed('top-k in a row with more slots leaves those behind empty', onBothKinds([{ dSae: 60, k: 3, slots: 20 }, { dSae: 1300, k: 30, slots: 400 }]), async (gpu, random, { dSae, k, slots }) => {
    await checkAgainstOracle(gpu, { h: normals(random, 4 * dSae), rows: 4, k, slots, firstRow: 2 });
  }),
];

const groups: Case[] = [true, false].map((scale) => (
  fuzzed(`group maxima ${scale ? 'by value times norm' : 'by value'}, the first of equal ones`, [{ rows: 1, k: 1, size: 1 }, { rows: 3, k: 5, size: 1 }, { rows: 2, k: 1, size: 90 }, { rows: 9, k: 17, size: 6 }],
    async (gpu, random, { rows, k, size }) => {
      const dSae = k * size, firstRow = 2;
      const h = wholeNumbers(random, rows * dSae, -4, 3), norms = wholeNumbers(random, dSae, 1, 3);
      const maxima = async () => {
        const found = await run(gpu, [], (bench) => {
          const tensors: TopkTensors & Record<string, Tensor> = {
            h: bench.tensor('h', rows, dSae, { data: h, stride: dSae }), flags: bench.tensor('flags', 1, 1, { data: Uint32Array.of(4) }),
            indices: bench.tensor('indices', firstRow + rows, k, { dtype: 'u32', stride: k }), values: bench.tensor('values', firstRow + rows, k, { stride: k }),
            ...(scale ? { norms: bench.tensor('norms', 1, dSae, { data: norms }) } : {}),
          };
          return { tensors, record: (rec) => groupmaxRows(rec, tensors, firstRow, rows, k) };
        });
        return { indices: found.integers('indices').subarray(firstRow * k), values: found.floats('values').subarray(firstRow * k), flag: found.integers('flags')[0] - 4 };
      };
      const scores = Float64Array.from(h, (value, j) => value * (scale ? norms[j % dSae] : 1));
      const chosen = rowTopK(scores, rows * k, size, 1).map(([best], group) => (group % k) * size + best);
      const found = await maxima();
      sameBits(found.indices, Uint32Array.from(chosen), 'kept latents');
      close(found.values, chosen.map((latent, group) => Math.max(h[Math.floor(group / k) * dSae + latent], 0)), {}, 'kept values');
      equal(found.flag, 0, 'flag');
      h[h.length - 1] = NaN;
      equal((await maxima()).flag, 1, 'flag of a NaN');
    })
));

const properties: Case[] = [
  fuzzed('permuting the latents permutes what is kept', onBothKinds([{ k: 3 }, { k: 200 }, { k: 1100 }]), async (gpu, random, { k }) => {
    const dSae = 1301;
    const order = random.permutation(dSae);
    const h = Float32Array.from(random.permutation(dSae), (value) => value - 400.5); // all different
    const before = await select(gpu, { h, rows: 1, k }), after = await select(gpu, { h: h.map((_, i) => h[order[i]]), rows: 1, k });
    sameBits(after.indices.map((i) => order[i]).sort(), before.indices, 'latents');
  }),
  fuzzed('a NaN or an infinity anywhere in a row raises the flag, and other rows are as they were', onBothKinds([
    { value: NaN, at: 0, k: 5 }, { value: Infinity, at: 130, k: 20 }, { value: -Infinity, at: 1110, k: 200 }, { value: NaN, at: 1110, k: 1100 }, { value: Infinity, at: 0, k: 1100 },
  ]), async (gpu, random, { value, at, k }) => {
    const dSae = 1111;
    const h = normals(random, 3 * dSae);
    const before = await select(gpu, { h, rows: 3, k });
    equal(before.flag, 0, 'flag before');
    h[dSae + at] = value;
    const after = await select(gpu, { h, rows: 3, k });
    equal(after.flag, 1, 'flag');
    for (const row of [0, 2]) sameBits(after.indices.subarray(row * k, (row + 1) * k), before.indices.subarray(row * k, (row + 1) * k), `row ${row}`);
  }),
  fuzzed('a product of value and norm that overflows raises the flag', onBothKinds([{ k: 2 }]), async (gpu, _, { k }) => {
    const found = await select(gpu, { h: Float32Array.of(1, 1e30, 2), rows: 1, k, norms: Float32Array.of(1, 1e30, 1) });
    equal(found.flag, 1, 'flag');
  }),
];

export const cases: Case[] = [...distributions, ...lists, ...scaled, ...absolute, ...groups, ...properties];
