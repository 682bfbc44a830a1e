import type { Gpu } from '../../src/gpu/index.ts';
import { batchTopk, histogramBins, noLatent, partsOfRow } from '../../src/kernels/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { batchTopK } from '../oracle/topk.ts';
import type { Case } from '../support/case.ts';
import { close, equal, ok } from '../support/check.ts';
import { drawn, fuzzed, normals, onBothKinds, run, sameBits } from '../support/kernels.ts';

interface Problem {
  h: Float32Array;
  rows: number;
  keep: number;
  /** Rows of h in one tensor. */
  chunk: number;
  norms?: Float32Array;
}

/** What is kept: a row's pairs from offsets[row] on, in tensors with more room and for more rows than there are. */
async function select(gpu: Gpu, { h, rows, keep, chunk, norms }: Problem) {
  const dSae = h.length / rows, batch = rows + 2, room = keep + 3;
  const found = await run(gpu, [], (bench) => {
    const chunks = Array.from({ length: Math.ceil(batch / chunk) }, (_, n) => {
      const capacity = Math.min(chunk, batch - n * chunk);
      const data = new Float32Array(capacity * dSae).fill(NaN); // rows behind the last are not to be looked at
      data.set(h.subarray(n * chunk * dSae, (n + 1) * chunk * dSae));
      return bench.tensor(`h ${n}`, capacity, dSae, { data, stride: dSae });
    });
    const words = (label: string, columns: number) => bench.tensor(label, 1, columns, { dtype: 'u32', stride: columns });
    const scratch = {
      histogram: bench.tensor('histogram', 1, histogramBins, { data: new Uint32Array(histogramBins) }), selection: words('selection', 3),
      counts: words('counts', 2 * partsOfRow * batch), starts: words('starts', 2 * partsOfRow * batch + 1),
    };
    const tensors = {
      offsets: words('offsets', batch + 1), indices: words('indices', room), values: bench.tensor('values', 1, room, { stride: room }),
      smallest: bench.tensor('smallest', 1, 1), flags: bench.tensor('flags', 1, 1, { data: Uint32Array.of(4) }),
      ...(norms ? { norms: bench.tensor('norms', 1, dSae, { data: norms }) } : {}),
    };
    return { tensors, record: (rec) => batchTopk(rec, { ...tensors, ...scratch, h: chunks }, rows, keep) };
  });
  return {
    offsets: found.integers('offsets').subarray(0, rows + 1), indices: found.integers('indices'), values: found.floats('values'),
    smallest: found.floats('smallest')[0], flag: found.integers('flags')[0] - 4,
  };
}

/** The same pairs as the oracle's, whose scores may be given in float64, without zeros. */
async function checkAgainstOracle(gpu: Gpu, problem: Problem, scores = Float64Array.from(problem.h)): Promise<void> {
  const { h, rows, keep } = problem;
  const dSae = h.length / rows;
  const chosen = batchTopK(scores.map((score) => Math.max(score, 0)), keep).filter((position) => scores[position] > 0);
  const found = await select(gpu, problem);
  sameBits(found.offsets, Uint32Array.from({ length: rows + 1 }, (_, row) => chosen.filter((position) => position < row * dSae).length), 'offsets');
  const indices = new Uint32Array(found.indices.length).fill(noLatent);
  indices.set(chosen.map((position) => position % dSae));
  sameBits(found.indices, indices, 'kept latents');
  close(found.values.subarray(0, chosen.length), chosen.map((position) => h[position]), {}, 'kept values');
  equal(found.smallest, Math.min(...chosen.map((position) => scores[position])), 'the smallest score that is kept');
  equal(found.flag, 0, 'flag');
}

const sizes = [
  { rows: 1, dSae: 1, keep: 1, chunk: 1 }, { rows: 3, dSae: 2, keep: 2, chunk: 1 }, { rows: 5, dSae: 3, keep: 15, chunk: 2 }, { rows: 4, dSae: 257, keep: 100, chunk: 4 },
  { rows: 33, dSae: 100, keep: 181, chunk: 10 }, { rows: 7, dSae: 1031, keep: 1, chunk: 100 }, { rows: 2, dSae: 4099, keep: 700, chunk: 1 }, { rows: 3, dSae: 50, keep: 0, chunk: 3 },
  ...drawn(3, (from) => ({ rows: from(1, 40), dSae: from(2, 300), keep: from(0, 500), chunk: from(1, 40) })),
].map((size) => ({ ...size, keep: Math.min(size.keep, size.rows * size.dSae) }));
const fewSizes = sizes.slice(2, 6);

const against = (name: string, shapes: typeof sizes, draw: (random: RandomStream, position: number) => number): Case => (
  fuzzed(`the largest of a batch: ${name}`, onBothKinds(shapes), async (gpu, random, { rows, dSae, keep, chunk }) => {
    await checkAgainstOracle(gpu, { h: Float32Array.from({ length: rows * dSae }, (_, j) => draw(random, j)), rows, keep, chunk });
  })
);

/** Small whole numbers, whose products float32 holds exactly: scores tie across different norms. */
const wholeNumbers = (random: RandomStream, length: number, low: number, high: number): Float32Array => Float32Array.from({ length }, () => low + random.below(high - low + 1));

export const cases: Case[] = [
  against('normal deviates', sizes, (random) => random.normal()),
  against('five distinct values, zeros of either sign among them', sizes, (random) => [-2, -0, 0, 1, 3][random.below(5)]),
  against('one value', fewSizes, () => 1.5),
  against('nothing above zero', fewSizes, (random) => [-0, 0, -1][random.below(3)]),
  against('fewer above zero than are asked for', fewSizes, (random) => (random.below(9) === 0 ? 1 + random.uniform() : -random.uniform())),
  against('values that differ in their last bits', fewSizes, (random) => 1 + random.below(300) * 2 ** -23),
  against('ascending values', fewSizes, (_, position) => position / 7 - 5),
  against('the largest floats and the smallest normal ones', fewSizes, (random) => [3.4028234663852886e38, -3.4028234663852886e38, 2 ** -126, -(2 ** -126)][random.below(4)]),
  fuzzed('the largest of a batch by value times norm, with the values kept unscaled', onBothKinds(fewSizes), async (gpu, random, { rows, dSae, keep, chunk }) => {
    const h = wholeNumbers(random, rows * dSae, -9, 9), norms = wholeNumbers(random, dSae, 1, 6);
    await checkAgainstOracle(gpu, { h, rows, keep, chunk, norms }, Float64Array.from(h, (value, j) => value * norms[j % dSae]));
  }),
  fuzzed('the smallest kept score of a batch is no smaller than any that is left out, in the rounding of a product', onBothKinds([{ rows: 9, dSae: 130, keep: 60 }]), async (gpu, random, { rows, dSae, keep }) => {
    const h = normals(random, rows * dSae), norms = normals(random, dSae).map(Math.abs);
    const { smallest, values, indices, offsets } = await select(gpu, { h, rows, keep, chunk: 4, norms });
    equal(offsets[rows], keep, 'kept pairs');
    const scores = Array.from(values.subarray(0, keep), (value, at) => value * norms[indices[at]]);
    ok(Math.abs(Math.min(...scores) - smallest) <= smallest * 2 ** -22, 'the smallest is among them');
    ok(h.filter((value, j) => value * norms[j % dSae] > smallest * (1 + 2 ** -22)).length <= keep, 'none that is larger is left out');
  }),
  fuzzed('a NaN or an infinity anywhere in a batch raises the flag', onBothKinds([{ value: NaN, at: 0 }, { value: Infinity, at: 700 }, { value: -Infinity, at: 1110 }, { value: NaN, at: 1110 }]),
    async (gpu, random, { value, at }) => {
      const h = normals(random, 1111);
      h[at] = value;
      equal((await select(gpu, { h, rows: 11, keep: 40, chunk: 5 })).flag, 1, 'flag');
    }),
  fuzzed('a product of value and norm that overflows raises the flag of a batch', onBothKinds([{}]), async (gpu) => {
    equal((await select(gpu, { h: Float32Array.of(1, 1e30, 2), rows: 1, keep: 2, chunk: 1, norms: Float32Array.of(1, 1e30, 1) })).flag, 1, 'flag');
  }),
];
