import { activate, encode, encodeVariants } from '../../src/kernels/index.ts';
import { preActivations } from '../oracle/linear.ts';
import { dotBound } from '../oracle/matrix.ts';
import type { Case } from '../support/case.ts';
import { close, equal } from '../support/check.ts';
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

const products = (['direct', 'resident', 'tiled', 'wide'] as const).map((variant) => fuzzed(`encode gives x W^T + b within the rounding of its sums, in one piece and in shards: ${variant}`, shapes, async (gpu, random, { rows, dIn, dSae: latents, firstRow, cuts: anyCuts }) => {
  const inFours = (n: number): number => (variant === 'resident' ? Math.ceil(n / 4) * 4 : n);
  const dSae = inFours(latents), cuts = anyCuts.map(inFours).filter((cut) => cut < dSae);
  if (!encodeVariants(gpu, dSae).includes(variant)) return; // no subgroups here
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
  const expected = preActivations(Float64Array.from(x), Float64Array.from(W), Float64Array.from(b), config);
  const size = preActivations(magnitudes(x), magnitudes(W), magnitudes(b), config);
  close(found.floats('h'), expected, { absolute: size.map((sumAbs) => dotBound(dIn + 1, sumAbs)) }, 'h');
}));

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

export const cases: Case[] = [...products, ...activations];
