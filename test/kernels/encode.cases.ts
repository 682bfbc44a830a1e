import type { Gpu } from '../../src/gpu/index.ts';
import { activate, encode, type EncodeOptions, type EncodeVariant, encodeVariants, halfVariants, topkRows } from '../../src/kernels/index.ts';
import { nearestFloat16 } from '../oracle/halves.ts';
import { preActivations } from '../oracle/linear.ts';
import { dotBound } from '../oracle/matrix.ts';
import type { Case } from '../support/case.ts';
import { close, deepEqual, equal, ok } from '../support/check.ts';
import { drawn, fuzzed, magnitudes, normals, run } from '../support/kernels.ts';

// Around the tiles of encode_tiled, 64 rows x 64 latents x 16 columns, of encode_wide, 128 x 128, of encode_direct, 128 x 128 in pieces of 16 x 16, and of encode_resident, 512 x 32 or 64 in pieces of 64 columns.
const shapes = [
  { rows: 1, dIn: 1, dSae: 1, firstRow: 0, cuts: [] },
  { rows: 2, dIn: 3, dSae: 5, firstRow: 1, cuts: [1, 2] },
  { rows: 7, dIn: 5, dSae: 31, firstRow: 0, cuts: [4, 29] },
  { rows: 9, dIn: 28, dSae: 33, firstRow: 2, cuts: [32] },
  { rows: 63, dIn: 15, dSae: 65, firstRow: 0, cuts: [64] },
  { rows: 64, dIn: 16, dSae: 64, firstRow: 0, cuts: [32] },
  { rows: 65, dIn: 17, dSae: 63, firstRow: 65, cuts: [] },
  { rows: 17, dIn: 9, dSae: 47, firstRow: 0, cuts: [15, 16] },
  { rows: 130, dIn: 64, dSae: 257, firstRow: 3, cuts: [128, 101] },
  { rows: 5, dIn: 769, dSae: 13, firstRow: 0, cuts: [] },
  ...drawn(3, (from) => ({ rows: from(1, 140), dIn: from(1, 90), dSae: from(1, 140), firstRow: from(0, 5), cuts: [from(1, 70)] })),
];

const variants: EncodeVariant[] = ['direct', 'resident', 'tiled', 'wide', ...halfVariants.keys()];

/** The operands as a variant multiplies them, and the largest sizes that they may have: an adapter may flush subnormal float16 or round them either way. */
function seenBy(variant: EncodeVariant, operands: Float32Array): { seen: Float64Array; largest: Float64Array } {
  if (!halfVariants.has(variant)) return { seen: Float64Array.from(operands), largest: magnitudes(operands) };
  const seen = Float64Array.from(operands, nearestFloat16);
  const isSubnormal = (n: number): boolean => operands[n] !== 0 && Math.abs(operands[n]!) < 2 ** -14;
  return { seen, largest: seen.map((value, n) => Math.abs(value) + (isSubnormal(n) ? Math.max(Math.abs(value), 2 ** -24) : 0)) };
}

/** Whether an adapter runs it is told by the case. */
const needing = (variant: EncodeVariant, one: Case): Case => {
  const needs = halfVariants.get(variant);
  return needs ? { ...one, needs } : one;
};

const products = variants.map((variant) => needing(variant, fuzzed(`encode gives x W^T + b within the rounding of its sums, in one piece and in shards: ${variant}`, shapes, async (gpu, random, { rows, dIn, dSae: latents, firstRow, cuts: anyCuts }) => {
  const inFours = (n: number): number => (variant === 'resident' ? Math.ceil(n / 4) * 4 : n);
  const dSae = inFours(latents), cuts = anyCuts.map(inFours).filter((cut) => cut < dSae);
  if (variant === 'resident' && !encodeVariants(gpu, dSae).includes(variant)) return; // no subgroups here
  const x = normals(random, rows * dIn), W = normals(random, dSae * dIn), b = normals(random, dSae);
  const batch = new Float32Array((firstRow + rows) * dIn).fill(NaN); // rows before the first are not to be read
  batch.set(x, firstRow * dIn);
  const found = await run(gpu, cuts, (bench, shardRows) => {
    const tensors = {
      xc: bench.tensor('x', firstRow + rows, dIn, { data: batch }),
      W_enc: bench.tensor('W_enc', dSae, dIn, { data: W, shardRows }),
      b_enc: bench.tensor('b_enc', 1, dSae, { data: b }),
      h: bench.tensor('h', rows, dSae, { stride: dSae }),
    };
    return { tensors, record: (rec) => encode(rec, tensors, firstRow, rows, { variant }) };
  });
  const config = { dIn, dSae, applyBDecToInput: false, normalizeActivations: 'none' as const };
  const xs = seenBy(variant, x), Ws = seenBy(variant, W);
  const expected = preActivations(xs.seen, Ws.seen, Float64Array.from(b), config);
  const size = preActivations(magnitudes(xs.seen), magnitudes(Ws.seen), magnitudes(b), config), largest = preActivations(xs.largest, Ws.largest, magnitudes(b), config);
  close(found.floats('h'), expected, { absolute: largest.map((sumAbs, n) => dotBound(dIn + 1, sumAbs) + sumAbs - size[n]!) }, 'h');
})));

const halves: Case[] = [...halfVariants.keys()].flatMap((variant) => [
  fuzzed(`encode rounds its operands to the nearest float16, of two the even one: ${variant}`, [{ of: 'x' }, { of: 'W' }], async (gpu, random, { of }) => {
    // Of either sign and every size that float16 has, every second one halfway between two of them.
    const numbers = Float32Array.from({ length: 200 }, (_, n) => (random.below(2) ? 1 : -1) * 2 ** (n % 30 - 14) * (1 + (random.below(1023) + (n % 2 ? 0.5 : random.uniform())) / 1024));
    const one = Float32Array.of(1);
    const { h } = await flagged(gpu, { variant }, { x: of === 'x' ? numbers : one, W: of === 'x' ? one : numbers, dIn: 1 });
    deepEqual(h, Float32Array.from(numbers, nearestFloat16), 'h');
  }),
  fuzzed(`what float16 cannot hold leaves no finite number of its row or latent, and raises the flag: ${variant}`,
    [65519.99, 65520, -65520, 7e4, -3e38, Infinity, NaN].flatMap((value) => [{ value, of: 'x' }, { value, of: 'W' }]), async (gpu, random, { value, of }) => {
      const rows = 70, dIn = 20, dSae = 67, place = random.below(67);
      const x = normals(random, rows * dIn), W = normals(random, dSae * dIn);
      W.subarray(3 * dIn, 4 * dIn).fill(0); // times infinity nothing either
      (of === 'x' ? x : W)[place * dIn + random.below(dIn)] = value;
      const { h, flags } = await flagged(gpu, { variant }, { x, W, dIn });
      const overflows = !(Math.abs(value) < 65520);
      h.forEach((one, at) => {
        const touched = (of === 'x' ? Math.floor(at / dSae) : at % dSae) === place;
        equal(Number.isFinite(one), !(touched && overflows), `h[${at}] = ${one} is finite`);
      });
      equal(flags, overflows ? 1 : 0, 'flags');
    }),
  fuzzed(`where ${variant} is asked for, what may not be rounded runs by the same shader in float32`, [{}], async (gpu, random) => {
    const operands = { x: normals(random, 40), W: normals(random, 60), dIn: 4 };
    const of = async (options: EncodeOptions): Promise<Float32Array> => (await flagged(gpu, options, operands)).h;
    gpu.variants.set('encode', variant);
    const [rounded, whole] = [await of({ roundable: true }), await of({})];
    deepEqual(rounded, await of({ variant }), 'rounded');
    deepEqual(whole, await of({ variant: variant.slice(0, -4) as EncodeVariant }), 'not rounded');
    ok(whole.some((value, n) => value !== rounded[n]), 'rounding changed nothing');
  }),
].map((one) => needing(variant, one)));

/** x W^T, and the flags that a selection from it leaves. */
async function flagged(gpu: Gpu, options: EncodeOptions, { x, W, dIn }: { x: Float32Array; W: Float32Array; dIn: number }): Promise<{ h: Float32Array; flags: number }> {
  const rows = x.length / dIn, dSae = W.length / dIn;
  const found = await run(gpu, [], (bench) => {
    const tensors = {
      xc: bench.tensor('x', rows, dIn, { data: x }), W_enc: bench.tensor('W_enc', dSae, dIn, { data: W }), b_enc: bench.tensor('b_enc', 1, dSae, { data: new Float32Array(dSae) }),
      h: bench.tensor('h', rows, dSae, { stride: dSae }), indices: bench.tensor('indices', rows, 1, { dtype: 'u32', stride: 1 }), values: bench.tensor('values', rows, 1, { stride: 1 }),
      flags: bench.tensor('flags', 1, 1, { data: new Uint32Array(1) }),
    };
    return {
      tensors,
      record(rec) {
        encode(rec, tensors, 0, rows, options);
        topkRows(rec, tensors, 0, rows, 1);
      },
    };
  });
  return { h: found.floats('h'), flags: found.integers('flags')[0]! };
}

const activations: Case[] = [
  fuzzed('activate keeps what is positive and above its threshold', [
    { rows: 1, dSae: 1 }, { rows: 3, dSae: 5 }, { rows: 1, dSae: 64 }, { rows: 13, dSae: 127 }, ...drawn(2, (from) => ({ rows: from(1, 40), dSae: from(1, 200) })),
  ], async (gpu, random, { rows, dSae }) => {
    const threshold = normals(random, dSae, 0.5); // thresholds below zero as well: relu still holds
    const h = normals(random, rows * dSae);
    h.forEach((_, j) => {
      if (random.below(4) === 0) h[j] = threshold[j % dSae]; // not above
      if (random.below(9) === 0) h[j] = 0;
    });
    const found = await run(gpu, [], (bench) => {
      const tensors = {
        h: bench.tensor('h', rows, dSae, { data: h, stride: dSae }),
        threshold: bench.tensor('threshold', 1, dSae, { data: threshold }),
        flags: bench.tensor('flags', 1, 1, { data: new Uint32Array(1) }),
      };
      return { tensors, record: (rec) => activate(rec, tensors, rows) };
    });
    const expected = h.map((value, j) => (value > threshold[j % dSae] ? Math.max(value, 0) : 0));
    close(found.floats('h'), expected, {}, 'f');
    equal(found.integers('flags')[0], 0, 'flags');
  }),
  fuzzed('activate raises the flag at a NaN or an infinity anywhere', [NaN, Infinity, -Infinity].flatMap((value) => [0, 64, 130].map((at) => ({ value, at }))), async (gpu, random, { value, at }) => {
    const h = normals(random, 131);
    h[at] = value;
    const found = await run(gpu, [], (bench) => {
      const tensors = {
        h: bench.tensor('h', 1, 131, { data: h, stride: 131 }),
        threshold: bench.tensor('threshold', 1, 131, { data: new Float32Array(131) }),
        flags: bench.tensor('flags', 1, 1, { data: Uint32Array.of(4) }), // other bits stay
      };
      return { tensors, record: (rec) => activate(rec, tensors, 1) };
    });
    equal(found.integers('flags')[0], 5, 'flags');
  }),
];

export const cases: Case[] = [...products, ...halves, ...activations];
