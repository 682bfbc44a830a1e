import { padded } from '../../src/gpu/index.ts';
import { entryWords, keptGradients, latentGradients, type LatentRange, noLatent } from '../../src/kernels/index.ts';
import { dotBound, matmulTransposeA, matmulTransposeB } from '../oracle/matrix.ts';
import type { Case } from '../support/case.ts';
import { close } from '../support/check.ts';
import { drawn, fuzzed, keptPairs, layouts, magnitudes, normals, onAllKinds, pairTensors, run, sameBits } from '../support/kernels.ts';
import { sumOfSquares, within } from '../support/rounding.ts';

const shapes = [
  { rows: 1, k: 1, dIn: 1, dSae: 1, cuts: [] },
  { rows: 3, k: 2, dIn: 5, dSae: 7, cuts: [1, 4] },
  { rows: 2, k: 8, dIn: 31, dSae: 8, cuts: [5] }, // as many pairs as hardware takes at a time, k = d_sae
  { rows: 5, k: 9, dIn: 32, dSae: 64, cuts: [63] },
  { rows: 33, k: 4, dIn: 257, dSae: 129, cuts: [128] },
  { rows: 70, k: 17, dIn: 28, dSae: 40, cuts: [39, 13] },
  ...drawn(3, (from) => ({ rows: from(1, 60), k: from(1, 25), dIn: from(1, 70), dSae: from(25, 90), cuts: [from(2, 50)] })),
];

const keptPairGradients: Case[] = [true, false].map((relu) => (
  fuzzed(`kept gradients are g . W_dec of every kept pair${relu ? ', zero where its value is not positive' : ''}`, onAllKinds(shapes), async (gpu, random, { rows, k, dIn, dSae, cuts }) => {
    const g = normals(random, rows * dIn), W = normals(random, dSae * dIn);
    const all = matmulTransposeB(Float64Array.from(g), Float64Array.from(W), rows, dIn, dSae);
    const sizes = matmulTransposeB(magnitudes(g), magnitudes(W), rows, dIn, dSae);
    const middle = random.below(dSae + 1);
    for (const layout of layouts(keptPairs(random, rows, k, dSae), rows)) {
      const { shape: [pairRows, columns], indices, values, slots } = layout;
      const dz = async (ranges: (LatentRange | undefined)[]) => (await run(gpu, cuts, (bench, shardRows) => {
        const tensors = {
          ...pairTensors(bench, layout), dz: bench.tensor('dz', pairRows, columns, { stride: columns }),
          g: bench.tensor('g', rows, dIn, { data: g }), W_dec: bench.tensor('W_dec', dSae, dIn, { data: W, shardRows }),
        };
        return { tensors, record: (rec) => ranges.forEach((range) => keptGradients(rec, tensors, rows, relu, range)) };
      })).floats('dz');
      const found = await dz([undefined]);
      const entry = ({ slot, row }: { slot: number; row: number }): number => row * dSae + indices[slot];
      // Nobody reads the gradient of an empty slot.
      close(slots.map(({ slot }) => found[slot]), slots.map((pair) => (relu && values[pair.slot] <= 0 ? 0 : all[entry(pair)])),
        { absolute: slots.map((pair) => dotBound(dIn, sizes[entry(pair)])) }, 'dz');
      const halves = await dz([{ from: 0, end: middle }, { from: middle, end: dSae }]);
      close(slots.map(({ slot }) => halves[slot]), slots.map(({ slot }) => found[slot]), {}, `dz of latents below ${middle}, then of the others`);
    }
  })
));

const weightGradients: Case[] = [false, true].map((addTo) => (
  fuzzed(`weight gradients ${addTo ? 'add to what is there' : 'sum the pairs of every latent'}, in one piece and in shards`, onAllKinds(shapes), async (gpu, random, { rows, k, dIn, dSae, cuts }) => {
    const { indices } = keptPairs(random, rows, k, dSae);
    const g = normals(random, rows * dIn), xc = normals(random, rows * dIn);
    const start = { W_dec: normals(random, dSae * dIn), W_enc: normals(random, dSae * dIn), b_enc: normals(random, 2 * padded(dSae)) };

    // Entries (row, value, dz) by latent, and their values and slopes as matrices [rows, dSae].
    const byLatent = Array.from({ length: dSae }, (): { row: number; value: number; dz: number }[] => []);
    const values = new Float64Array(rows * dSae), slopes = new Float64Array(rows * dSae);
    indices.forEach((latent, pair) => {
      if (latent === noLatent) return;
      const row = Math.floor(pair / k);
      const [value, dz] = normals(random, 2);
      byLatent[latent].push({ row, value, dz });
      values[row * dSae + latent] = value;
      slopes[row * dSae + latent] = dz;
    });
    const starts = Uint32Array.of(0, ...byLatent.map((_, i) => byLatent.slice(0, i + 1).reduce((count, list) => count + list.length, 0)));
    const entries = new Uint32Array(rows * k * entryWords).fill(noLatent);
    byLatent.flat().forEach(({ row, value, dz }, n) => {
      entries[n * entryWords] = row;
      entries.set(new Uint32Array(Float32Array.of(value, dz).buffer), n * entryWords + 1);
    });

    const gradientsOf = (ranges: (LatentRange | undefined)[]) => run(gpu, cuts, (bench, shardRows) => {
      const given = (name: keyof typeof start) => (addTo ? { data: start[name] } : {});
      const tensors = {
        counts: bench.tensor('counts', 1, dSae, { dtype: 'u32' }), starts: bench.tensor('starts', 1, dSae + 1, { data: starts }),
        entries: bench.tensor('entries', rows * k, entryWords, { data: entries, stride: entryWords }), bitmap: bench.tensor('bitmap', 1, 1, { dtype: 'u32' }), ranks: bench.tensor('ranks', 1, 1, { dtype: 'u32' }),
        g: bench.tensor('g', rows, dIn, { data: g }), xc: bench.tensor('xc', rows, dIn, { data: xc }),
        W_dec: bench.tensor('grad W_dec', dSae, dIn, { ...given('W_dec'), shardRows }), W_enc: bench.tensor('grad W_enc', dSae, dIn, { ...given('W_enc'), shardRows }),
        b_enc: bench.tensor('grad b_enc', 1, 2 * padded(dSae), given('b_enc')),
      };
      const { g: upstream, xc: input } = tensors;
      return { tensors, record: (rec) => ranges.forEach((range) => latentGradients(rec, tensors, { g: upstream, xc: input }, tensors, addTo, range)) };
    });
    const found = await gradientsOf([undefined]);
    const middle = random.below(dSae + 1);
    const halves = await gradientsOf([{ from: 0, end: middle }, { from: middle, end: dSae }]);
    for (const name of ['W_dec', 'W_enc', 'b_enc'] as const) sameBits(halves.integers(name), found.integers(name), `gradient of ${name} for latents below ${middle}, then for the others`);

    const check = (name: 'W_dec' | 'W_enc' | 'b_enc', sum: (codes: (matrix: Float64Array) => Float64Array) => Float64Array): void => {
      const before = Float64Array.from(start[name], (value) => (addTo ? value : 0));
      const total = sum((matrix) => matrix), size = sum((matrix) => matrix.map(Math.abs));
      const terms = (j: number): number => byLatent[Math.floor(j / (total.length / dSae))].length + 1;
      close(found.floats(name).subarray(0, total.length), total.map((value, j) => before[j] + value),
        { absolute: size.map((sumAbs, j) => (terms(j) === 1 ? 0 : dotBound(terms(j), sumAbs + Math.abs(before[j])))) }, `gradient of ${name}`);
    };
    const times = (m: Float64Array, x: Float32Array, columns: number) => (codes: (matrix: Float64Array) => Float64Array): Float64Array => (
      matmulTransposeA(codes(m), codes(Float64Array.from(x)), dSae, rows, columns)
    );
    check('W_dec', times(values, g, dIn));
    check('W_enc', times(slopes, xc, dIn));
    check('b_enc', times(slopes, new Float32Array(rows).fill(1), 1));

    // The squares are of the float32 gradients that were written.
    const [dec, enc, bias] = (['W_dec', 'W_enc', 'b_enc'] as const).map((name) => found.floats(name));
    byLatent.forEach((list, i) => {
      const row = (matrix: Float32Array): number[] => [...matrix.subarray(i * dIn, (i + 1) * dIn)];
      const square = bias[padded(dSae) + i];
      if (addTo && list.length === 0) close([square], [start.b_enc[padded(dSae) + i]], {}, `square of latent ${i}, which has no pairs`);
      else within([square], [sumOfSquares([...row(dec), ...row(enc), bias[i]])], `square of latent ${i}`);
    });
  })
));

export const cases: Case[] = [...keptPairGradients, ...weightGradients];
