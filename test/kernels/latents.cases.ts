import { countFirings, listDead, randomUniform, recordFields, recordFloats, rowNorms, scaleRows, shaders } from '../../src/kernels/index.ts';
import { RandomStream } from '../../src/random.ts';
import { rowNorms as oracleRowNorms } from '../oracle/matrix.ts';
import { streamWord } from '../oracle/random.ts';
import type { Case } from '../support/case.ts';
import { close, equal } from '../support/check.ts';
import { drawn, fuzzed, normals, onBothKinds, run, sameBits } from '../support/kernels.ts';
import { divide, handedOver, multiply, squareRoot, sum, sumOfSquares, within } from '../support/rounding.ts';

const counters: Case[] = [
  fuzzed('firing counters: silence starts anew where a latent fired and grows by one where not', [1, 63, 64, 65, 1000].map((dSae) => ({ dSae })), async (gpu, random, { dSae }) => {
    const counts = Uint32Array.from({ length: dSae }, () => Math.max(0, random.below(9) - 4));
    const since = Uint32Array.from({ length: dSae }, () => random.below(100)), fired = Uint32Array.from({ length: dSae }, () => random.below(2 ** 31));
    const found = await run(gpu, [], (bench) => {
      const tensors = { counts: bench.tensor('counts', 1, dSae, { data: counts }), since: bench.tensor('since', 1, dSae, { data: since }), fired: bench.tensor('fired', 1, dSae, { data: fired }) };
      return { tensors, record: (rec) => countFirings(rec, tensors) };
    });
    sameBits(found.integers('since'), since.map((steps, i) => (counts[i] > 0 ? 0 : steps + 1)), 'since');
    sameBits(found.integers('fired'), fired.map((rows, i) => rows + counts[i]), 'fired');
  }),
  // The list is made 1024 latents at a time.
  fuzzed('the list of dead latents holds those silent for longer than the window, ascending', [
    { dSae: 1, window: 0 }, { dSae: 2, window: 99 }, { dSae: 1023, window: 50 }, { dSae: 1024, window: 3 }, { dSae: 1025, window: 98 }, { dSae: 5000, window: 30 },
    ...drawn(2, (from) => ({ dSae: from(1, 4000), window: from(0, 99) })),
  ], async (gpu, random, { dSae, window }) => {
    const since = Uint32Array.from({ length: dSae }, () => random.below(100));
    since[random.below(dSae)] = window; // as long as the window is not longer
    const slot = random.below(5);
    const found = await run(gpu, [], (bench) => {
      const tensors = { since: bench.tensor('since', 1, dSae, { data: since }), list: bench.tensor('list', 1, dSae + 1, { dtype: 'u32' }), record: bench.tensor('record', 5, recordFloats, { data: new Float32Array(5 * recordFloats) }) };
      return { tensors, record: (rec) => listDead(rec, tensors, window, slot) };
    });
    const dead = [...since.keys()].filter((i) => since[i] > window);
    sameBits(found.integers('list').subarray(0, dead.length + 1), Uint32Array.of(dead.length, ...dead), 'list');
    const record = found.floats('record');
    within([record[slot * recordFloats + recordFields.indexOf('silence')]], [sum([...since])], 'silence');
    record[slot * recordFloats + recordFields.indexOf('silence')] = 0;
    equal(record.every((value) => value === 0), true, 'the rest of the record is untouched');
  }),
];

const shapes = [
  { dIn: 1, dSae: 1, cuts: [] }, { dIn: 2, dSae: 3, cuts: [1] }, { dIn: 28, dSae: 65, cuts: [64, 7] }, { dIn: 255, dSae: 5, cuts: [2] }, { dIn: 261, dSae: 4, cuts: [3] },
  ...drawn(3, (from) => ({ dIn: from(1, 300), dSae: from(1, 150), cuts: [from(1, 40)] })),
];

const rows: Case[] = [
  fuzzed('row norms, in one piece and in shards', onBothKinds(shapes), async (gpu, random, { dIn, dSae, cuts }) => {
    const W = normals(random, dSae * dIn);
    W.fill(0, 0, dIn);
    const found = await run(gpu, cuts, (bench, shardRows) => {
      const tensors = { W: bench.tensor('W', dSae, dIn, { data: W, shardRows }), norms: bench.tensor('norms', 1, dSae) };
      return { tensors, record: (rec) => rowNorms(rec, tensors) };
    });
    const expected = Array.from({ length: dSae }, (_, i) => squareRoot(sumOfSquares([...W.subarray(i * dIn, (i + 1) * dIn)])));
    close(expected.map(({ value }) => value), oracleRowNorms(Float64Array.from(W), dSae, dIn), { relative: 1e-12 }, 'norms, derived here');
    within(found.floats('norms'), expected, 'norms');
    equal(found.floats('norms')[0], 0, 'the norm of a zero row');
  }),
  fuzzed('scaled rows have one length, a zero row stays zero, in one piece and in shards', shapes, async (gpu, random, { dIn, dSae, cuts }) => {
    const W = normals(random, dSae * dIn), norms = normals(random, dSae).map((value) => 0.1 + Math.abs(value));
    if (dSae > 1) {
      W.fill(0, 0, dIn);
      norms[0] = 0;
    }
    const norm = handedOver(0.1);
    const found = await run(gpu, cuts, (bench, shardRows) => {
      const tensors = { W: bench.tensor('W', dSae, dIn, { data: W, shardRows }), norms: bench.tensor('norms', 1, dSae, { data: norms }) };
      return { tensors, record: (rec) => scaleRows(rec, tensors, norm.value) };
    });
    within(found.floats('W'), Array.from(W, (value, j) => (norms[Math.floor(j / dIn)] === 0 ? { value, error: 0 } : multiply(value, divide(norm, norms[Math.floor(j / dIn)])))), 'W');
  }),
  fuzzed('norms and scaling together give unit rows', onBothKinds([{ dIn: 28, dSae: 40 }, { dIn: 384, dSae: 9 }]), async (gpu, random, { dIn, dSae }) => {
    const found = await run(gpu, [], (bench) => {
      const tensors = { W: bench.tensor('W', dSae, dIn, { data: normals(random, dSae * dIn) }), norms: bench.tensor('norms', 1, dSae) };
      return { tensors, record: (rec) => (rowNorms(rec, tensors), scaleRows(rec, tensors, 1)) };
    });
    close(oracleRowNorms(Float64Array.from(found.floats('W')), dSae, dIn), new Float64Array(dSae).fill(1), { absolute: 1e-6 }, 'length');
  }),
];

const stream = { stream: 7, substream: 3 };

/** The upper 24 bits of the word behind a uniform number in [-1, 1). */
const upperBits = (uniform: number): number => (uniform + 1) * 2 ** 23;

const random: Case[] = [
  fuzzed('random_uniform draws the words of src/random.ts, in one piece and in shards', shapes, async (gpu, random, { dIn, dSae, cuts }) => {
    const seed = random.word() * 2 ** 20 + random.below(2 ** 20); // more than 32 bits
    const draw = async (bound: number) => (await run(gpu, cuts, (bench, shardRows) => {
      const tensors = { W: bench.tensor('W', dSae, dIn, { shardRows }) };
      return { tensors, record: (rec) => randomUniform(rec, tensors.W, { seed, ...stream, bound }) };
    })).floats('W');
    const host = new RandomStream(seed, stream.stream, stream.substream);
    const words = Array.from({ length: dSae * dIn }, () => host.word() >>> 8);
    close((await draw(1)).map(upperBits), words, {}, 'upper 24 bits');
    within(await draw(0.37), words.map((word) => multiply(word * 2 ** -23 - 1, handedOver(0.37))), 'scaled');
  }),
  fuzzed('random_uniform counts words beyond 32 bits', [
    { first_row: 2 ** 31 - 2, columns: 7 }, { first_row: 2 ** 32 - 3, columns: 5 }, { first_row: 858993457, columns: 5 }, // crosses 2^32 in its second row
  ], async (gpu, _, { first_row, columns }) => {
    const seed = 2 ** 41 + 12345, rows = 3;
    const found = await run(gpu, [], (bench) => {
      const tensors = { W: bench.tensor('W', rows, columns) };
      const kernel = gpu.kernel({ name: 'random_uniform', text: shaders.random_uniform.text });
      const parameters = { rows, first_row, columns, stride: tensors.W.stride, seed_low: seed % 2 ** 32, seed_high: Math.floor(seed / 2 ** 32), ...stream, bound: 1 };
      return { tensors, record: (rec) => rec.dispatch(kernel, tensors, parameters, 1) };
    });
    const from = first_row * columns;
    const host = new RandomStream(seed, stream.stream, stream.substream, from);
    const words = Array.from({ length: rows * columns }, () => host.word());
    close(words, words.map((_, n) => streamWord(BigInt(seed), stream.stream, stream.substream, BigInt(from) + BigInt(n))), {}, 'the words of src/random.ts');
    close(found.floats('W').map(upperBits), words.map((word) => word >>> 8), {}, 'upper 24 bits');
  }),
];

export const cases: Case[] = [...counters, ...rows, ...random];
