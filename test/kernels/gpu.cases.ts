/** The floor below the kernels: tensors, grids, recordings, and what is refused. */
import { Gpu, padded, type Recorder, Tensor } from '../../src/gpu/index.ts';
import { adam, columnSums, countFirings, decodeSparse, encode, randomUniform, shaders, topkRows } from '../../src/kernels/index.ts';
import { RandomStream } from '../../src/random.ts';
import type { Case } from '../support/case.ts';
import { deepEqual, equal, ok, rejects } from '../support/check.ts';
import { fuzzed, normals } from '../support/kernels.ts';

const tensors: Case[] = [
  fuzzed('tensors come back as they went, padded or not, in one piece or in shards, from any row on', [
    { rows: 1, columns: 1, shardRows: 1, firstRow: 0 }, { rows: 7, columns: 3, shardRows: 2, firstRow: 3 }, { rows: 9, columns: 8, shardRows: 4, firstRow: 8 }, { rows: 5, columns: 5, shardRows: 5, firstRow: 1 },
  ].flatMap((shape) => [{ ...shape, stride: padded(shape.columns) }, { ...shape, stride: shape.columns }]), async (gpu, random, { rows, columns, shardRows, firstRow, stride }) => {
    const tensor = gpu.tensor({ label: 'any', dtype: 'f32', rows, columns, stride, shardRows });
    equal(tensor.shards.length, Math.ceil(rows / shardRows), 'shards');
    deepEqual(await gpu.downloadFloats(tensor), new Float32Array(rows * columns), 'a new tensor');
    const all = normals(random, rows * columns), some = normals(random, (rows - firstRow) * columns);
    if (stride === padded(columns)) { // an unpadded row of a shard need not begin where a buffer may be written
      gpu.upload(tensor, all);
      gpu.upload(tensor, some, firstRow);
      all.set(some, firstRow * columns);
      deepEqual(await gpu.downloadFloats(tensor), all, 'what was written');
    } else {
      gpu.upload(tensor, all);
      deepEqual(await gpu.downloadFloats(tensor), all, 'what was written');
    }
    await rejects(() => gpu.upload(tensor, all, 1), /cannot take/);
    gpu.free(tensor);
  }),
  {
    name: 'what is allocated is counted until it is freed',
    async run(gpu) {
      const before = gpu.allocatedBytes;
      const shape = { label: 'counted', dtype: 'f32', rows: 10, columns: 5 } as const;
      const [a, b] = [gpu.tensor(shape), gpu.tensor({ ...shape, shardRows: 3 })];
      equal(gpu.allocated.get('counted'), 2 * 10 * 8 * 4, 'bytes');
      gpu.free(a);
      gpu.free(b);
      equal(gpu.allocatedBytes, before, 'bytes in all');
      ok(!gpu.allocated.has('counted'), 'nothing is left under the label');
    },
  },
  {
    name: 'a second device lives beside the first, binds no more than it was told to, and ends without it',
    async run(gpu) {
      const small = await Gpu.open({ maxBindingBytes: 1000 });
      equal(small.bindingBytes, 768, 'whole blocks of 256 bytes');
      await rejects(() => small.tensor({ label: 'large', dtype: 'f32', rows: 7, columns: 32 }), /large needs a binding of .* binds at most/);
      const tensor = small.tensor({ label: 'large', dtype: 'f32', rows: 7, columns: 32, shardRows: 6 });
      deepEqual(await small.downloadFloats(tensor), new Float32Array(7 * 32), 'a tensor of the second');
      small.dispose();
      await rejects(() => small.record(), /disposed/);
      const own = gpu.tensor({ label: 'own', dtype: 'u32', rows: 1, columns: 3 });
      gpu.upload(own, Uint32Array.of(1, 2, 3));
      deepEqual(await gpu.downloadIntegers(own), [1, 2, 3], 'a tensor of the first');
      gpu.free(own);
    },
  },
];

/** What a GPU that gathers from images makes of kept rows, whatever this one does. */
const images: Case[] = [
  fuzzed('a tensor that is gathered has an image, which counts as memory and follows every write to its buffer', [{ adapter: 'images' as const }], async (gpu) => {
    const before = gpu.allocatedBytes, own: Tensor[] = [];
    const tensor = (label: string, rows: number, columns: number, more: { dtype?: 'u32'; gathered?: boolean } = {}): Tensor => {
      own.push(gpu.tensor({ label, dtype: 'f32', rows, columns, ...more }));
      return own.at(-1)!;
    };
    const indices = tensor('indices', 1, 1, { dtype: 'u32' }), values = tensor('values', 1, 1), b_dec = tensor('b_dec', 1, 4), r = tensor('r', 1, 4), other = tensor('other', 1, 4);
    const plain = gpu.allocatedBytes, W_dec = tensor('W_dec', 1, 4, { gathered: true });
    equal(gpu.allocatedBytes - plain, 16 + 1024 * 16, 'bytes of a row and of its image');
    const pairs = { indices: new Tensor({ label: 'indices', dtype: 'u32', rows: 1, columns: 1, stride: 1 }, indices.shards), values: new Tensor({ label: 'values', dtype: 'f32', rows: 1, columns: 1, stride: 1 }, values.shards) };
    gpu.upload(values, Float32Array.of(1));
    const decoded = async (write: (rec: Recorder) => void): Promise<Float32Array> => {
      const rec = gpu.record();
      write(rec);
      decodeSparse(rec, { ...pairs, W_dec, b_dec, r }, 1, 0);
      rec.submit();
      return gpu.downloadFloats(r);
    };
    gpu.upload(W_dec, Float32Array.of(1, 2, 3, 4));
    deepEqual(await decoded(() => {}), [1, 2, 3, 4], 'what was uploaded');
    gpu.upload(W_dec, Float32Array.of(5, 6, 7, 8));
    deepEqual(await decoded(() => {}), [5, 6, 7, 8], 'what was uploaded over it');
    gpu.upload(other, Float32Array.of(9, 10, 11, 12));
    deepEqual(await decoded((rec) => rec.copy(other.buffer, W_dec.buffer, 16)), [9, 10, 11, 12], 'what was copied');
    deepEqual(await decoded((rec) => rec.clear(W_dec)), [0, 0, 0, 0], 'what was cleared');
    deepEqual(await decoded((rec) => randomUniform(rec, W_dec, { seed: 1, stream: 0, substream: 0, bound: 1 })), await gpu.downloadFloats(W_dec), 'what a kernel wrote');
    own.forEach((one) => gpu.free(one));
    equal(gpu.allocatedBytes, before, 'bytes in all');
  }),
];

const recordings: Case[] = [
  {
    name: 'a grid past 65,535 workgroups reaches every element',
    async run(gpu) {
      const columns = 4 * 64, rows = 66_000 / 4; // 66,000 workgroups of 64 elements
      const W = gpu.tensor({ label: 'W', dtype: 'f32', rows, columns });
      const rec = gpu.record();
      randomUniform(rec, W, { seed: 1, stream: 2, substream: 3, bound: 1 });
      rec.submit();
      const found = await gpu.downloadFloats(W);
      gpu.free(W);
      const limit = 65_535 * 64, half = 33_000 * 64; // where one dimension would end, and where the second row of workgroups begins
      for (const at of [0, half - 1, half, limit - 1, limit, rows * columns - 1]) {
        equal(found[at], (new RandomStream(1, 2, 3, at).word() >>> 8) * 2 ** -23 - 1, `element ${at}`);
      }
      ok(found.filter((value) => value === 0).length < 20, 'hardly a number is exactly zero');
    },
  },
  {
    name: 'more latents than one row of a grid reaches are encoded in pieces, counted and summed',
    async run(gpu) {
      const latents = 65_536 * 64 + 4, vector = (label: string, dtype: 'f32' | 'u32' = 'f32') => gpu.tensor({ label, dtype, rows: 1, columns: latents });
      const [h, b_enc, counts, since, fired] = [vector('h'), vector('b_enc'), vector('counts', 'u32'), vector('since', 'u32'), vector('fired', 'u32')] as const;
      const W = gpu.tensor({ label: 'W', dtype: 'f32', rows: latents, columns: 1 }), xc = gpu.tensor({ label: 'xc', dtype: 'f32', rows: 1, columns: 1 });
      const { dispatchFlops } = gpu, product = gpu.record(), rec = gpu.record();
      gpu.dispatchFlops = 1e12; // what runs on hardware would take in one piece; here it is not run at all
      encode(product, { xc, W_enc: W, b_enc, h }, 0, 1, { variant: 'tiled' });
      gpu.dispatchFlops = dispatchFlops;
      equal(product.dispatches, 2, 'dispatches of the product');
      gpu.upload(counts, Uint32Array.from({ length: latents }, (_, i) => i % 3));
      countFirings(rec, { counts, since, fired });
      rec.submit();
      ok((await gpu.downloadIntegers(fired)).every((rows, i) => rows === i % 3), 'firings');
      for (const tensor of [h, b_enc, counts, since, fired, W, xc]) gpu.free(tensor);
      const rows = 65_535 * 128 + 1;
      if (16 * rows > gpu.bindingBytes) return;
      const M = gpu.tensor({ label: 'M', dtype: 'f32', rows, columns: 1 }), total = gpu.tensor({ label: 'total', dtype: 'f32', rows: 1, columns: 1 });
      const partial = gpu.tensor({ label: 'partial', dtype: 'f32', rows: 65_536, columns: 1 });
      gpu.upload(M, new Float32Array(rows).fill(1));
      const sums = gpu.record();
      columnSums(sums, { M, total, partial }, rows, 1, false);
      sums.submit();
      equal((await gpu.downloadFloats(total))[0], rows, 'the sum');
      for (const tensor of [M, total, partial]) gpu.free(tensor);
    },
  },
  {
    name: 'a recording goes on past the dispatches of one submission, in order',
    async run(gpu) {
      const vector = (label: string, data: Uint32Array) => {
        const tensor = gpu.tensor({ label, dtype: 'u32', rows: 1, columns: data.length });
        gpu.upload(tensor, data);
        return tensor;
      };
      const all = { counts: vector('counts', Uint32Array.of(0, 3)), since: vector('since', Uint32Array.of(0, 7)), fired: vector('fired', Uint32Array.of(0, 0)) };
      const rec = gpu.record();
      for (let n = 0; n < 2500; n++) countFirings(rec, all);
      rec.submit();
      equal(rec.dispatches, 2500, 'dispatches');
      deepEqual(await gpu.downloadIntegers(all.since), [2500, 0], 'since');
      deepEqual(await gpu.downloadIntegers(all.fired), [0, 7500], 'fired');
      for (const tensor of Object.values(all)) gpu.free(tensor);
    },
  },
  {
    name: 'what a kernel is not given, or does not know, is refused by name',
    async run(gpu) {
      const tensor = gpu.tensor({ label: 'any', dtype: 'f32', rows: 1, columns: 4 });
      const rec = gpu.record();
      const shader = { name: 'scale_rows', text: shaders.scale_rows.text };
      const kernel = gpu.kernel(shader);
      const parameters = { rows: 1, first_row: 0, stride: 4, norm: 1 };
      await rejects(() => gpu.kernel(shader, { WIDTH: 3 }), /scale_rows\.wgsl has no constant WIDTH/);
      await rejects(() => rec.dispatch(kernel, { W: tensor }, parameters, 1), /scale_rows: nothing is bound to norms/);
      await rejects(() => rec.dispatch(kernel, { W: tensor, norms: tensor }, { rows: 1, first_row: 0, stride: 4 }, 1), /parameter norm is missing/);
      await rejects(() => rec.dispatch(kernel, { W: tensor, norms: tensor }, { ...parameters, size: 1 }, 1), /unknown parameter size/);
      await rejects(() => rec.dispatch(kernel, { W: tensor, norms: tensor }, parameters, [70_000, 1]), /a grid of 70000 x 1 workgroups is over the limit/);
      gpu.free(tensor);
    },
  },
  {
    name: 'launchers refuse tensors that do not fit each other',
    async run(gpu) {
      const made = new Map<string, ReturnType<typeof gpu.tensor>>();
      const matrix = (rows: number, columns: number, shardRows = rows) => {
        const label = `[${rows}, ${columns}] in ${shardRows}`;
        if (!made.has(label)) made.set(label, gpu.tensor({ label, dtype: 'f32', rows, columns, shardRows }));
        return made.get(label)!;
      };
      const rec = gpu.record();
      await rejects(() => encode(rec, { xc: matrix(2, 7), W_enc: matrix(3, 8), b_enc: matrix(1, 3), h: matrix(2, 3) }, 0, 2), /encode: .* is \[2, 7\], expected \[2, 8\]/);
      await rejects(() => encode(rec, { xc: matrix(2, 8), W_enc: matrix(3, 8), b_enc: matrix(1, 3), h: matrix(2, 3) }, 1, 2), /expected \[3, 8\]/);
      await rejects(() => columnSums(rec, { M: matrix(300, 8), total: matrix(1, 8), partial: matrix(2, 8) }, 300, 1, false), /column sums: .* expected \[3, 8\]/);
      await rejects(() => topkRows(rec, { h: matrix(2, 7), indices: matrix(2, 4), values: matrix(2, 4), flags: matrix(1, 1) }, 0, 2, 4), /must be unpadded/);
      const split = { parameter: matrix(4, 4, 2), grad: matrix(4, 4), m: matrix(4, 4, 2), v: matrix(4, 4, 2), clip: matrix(1, 1) };
      await rejects(() => adam(rec, split, { learningRate: 1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, time: 1 }), /are split differently/);
      for (const tensor of made.values()) gpu.free(tensor);
    },
  },
];

export const cases: Case[] = [...tensors, ...images, ...recordings];
