/** Long launches in pieces. That these leave the bits of a whole one is checked wherever a kernel is: Bench.run takes them in pieces too. */
import type { Recorder, Tensor } from '../../src/gpu/index.ts';
import { attend, contrast, decodeSparse, entryWords, gatheredGradients, keptGradients, latentGradients, mergePicks, pursue, pursuitGradients, topkRows } from '../../src/kernels/index.ts';
import { imageLanes, subgroupOf } from '../../src/kernels/shapes.ts';
import type { Case } from '../support/case.ts';
import { equal } from '../support/check.ts';
import { fuzzed, normals, onAllKinds, sameBits } from '../support/kernels.ts';

const rows = 40, k = 16, dIn = 16, dSae = 24;

const counted = fuzzed('what is short is one dispatch, and what is long as many as it has workgroups at most', onAllKinds([{}]), async (gpu) => {
  const own: Tensor[] = [];
  const tensor = (label: string, rows: number, columns: number, dtype: 'f32' | 'u32' = 'f32'): Tensor => {
    own.push(gpu.tensor({ label, dtype, rows, columns, stride: columns }));
    return own.at(-1)!;
  };
  const pairs = () => ({ indices: tensor('indices', rows, k, 'u32'), values: tensor('values', rows, k), dz: tensor('dz', rows, k) });
  const codes = (columns: number, rows = 1) => tensor('codes', rows, columns);
  const frames = () => tensor('frames', rows, dIn), weight = () => tensor('weight', dSae, dIn), vector = () => tensor('vector', 1, 4 * dSae);
  const kept = pairs(), picks = { ...pairs(), firstSlots: tensor('first slots', rows, k, 'u32') }, W_dec = weight(), flags = tensor('flags', 1, 1, 'u32');
  const index = {
    counts: tensor('counts', 1, dSae, 'u32'), starts: tensor('starts', 1, dSae + 1, 'u32'), entries: tensor('entries', rows * k, entryWords, 'u32'),
    bitmap: tensor('bitmap', dSae, 4, 'u32'), ranks: tensor('ranks', dSae, 1, 'u32'),
  };
  const side = () => ({
    pairs: { indices: tensor('indices', 1, rows * k, 'u32'), values: codes(rows * k), dz: codes(rows * k), offsets: tensor('offsets', 1, rows + 1, 'u32') },
    codes: codes(rows * k), byLatent: codes(rows, 9), ofRow: codes(4, rows),
  });
  const attention = {
    q: frames(), k: frames(), keyBias: codes(dIn), v: codes(dSae, rows), valueBias: codes(dSae), o: codes(dSae, rows), weights: codes(rows, rows), running: codes(2, rows), carry: codes(1, rows), flags,
  };
  const pursuit = { ...picks, W_dec, residual: frames(), h: codes(dSae, rows), noBias: codes(dSae), done: tensor('done', 1, rows, 'u32'), flags };
  const sides = [side(), side()] as const;
  const launches: [name: string, whole: number, inPieces: number, record: (rec: Recorder) => void][] = [
    ['decode', 1, rows, (rec) => decodeSparse(rec, { ...kept, W_dec, b_dec: codes(dIn), r: frames() }, rows, 1)],
    ['kept gradients', 1, gpu.adapter.software && !imageLanes(gpu) ? Math.ceil(rows * k / 8 / 64) : rows, (rec) => keptGradients(rec, { ...kept, g: frames(), W_dec }, rows, true)],
    ['latent gradients', 1, dSae, (rec) => latentGradients(rec, index, { g: frames(), xc: frames() }, { W_dec: weight(), W_enc: weight(), b_enc: vector() }, false)],
    ['gathered gradients', 1, dSae, (rec) => gatheredGradients(rec, index, { M: frames(), grad: weight(), sums: vector() }, { kind: 'dz' }, 2 * dSae, false)],
    ['top k', 1, subgroupOf(gpu) ? Math.ceil(rows / 16) : rows, (rec) => topkRows(rec, { ...kept, h: codes(dSae, rows), flags }, 0, rows, k)],
    ['a pursuit', 3 * k, (rows + 2) * k, (rec) => pursue(rec, pursuit, 0, rows, { residualThreshold: 0, stopOnDuplicateSupport: false })], // its product has one tile
    ['its pairs', 1, rows * k / 64, (rec) => mergePicks(rec, { ...picks, kept }, rows)],
    ['its gradients', 1, rows, (rec) => pursuitGradients(rec, { ...picks, W_dec, q: frames(), residual: frames(), shares: codes(dIn, rows * k) }, 0, rows)],
    ['a contrast', 7, 4 * rows + 3, (rec) => contrast(rec, { sides, lossRows: codes(1, rows), flags }, rows, { similarity: 'cosine', coefficient: 1, column: 0 })],
    ['attention', 2, rows + rows / 8, (rec) => attend(rec, attention, rows, { heads: 1, keys: rows, first: true, last: true, own: true })],
  ];
  const { dispatchFlops } = gpu;
  const dispatches = (record: (rec: Recorder) => void): number => {
    const rec = gpu.record();
    record(rec);
    rec.submit();
    return rec.dispatches;
  };
  for (const [name, whole, inPieces, record] of launches) {
    equal(dispatches(record), whole, `dispatches of ${name}`);
    gpu.dispatchFlops = 1;
    const most = dispatches(record);
    gpu.dispatchFlops = dispatchFlops;
    equal(most, inPieces, `dispatches of ${name} in pieces`);
  }
  await gpu.idle();
  own.forEach((one) => gpu.free(one));
});

const large = fuzzed('pieces of more than 65,535 workgroups are made shorter, and no row is left out or taken twice', onAllKinds([{ rows: 140_000 }]), async (gpu, random, { rows }) => {
  const compact = (label: string, dtype: 'f32' | 'u32' = 'f32') => gpu.tensor({ label, dtype, rows, columns: 1, stride: 1 });
  const tensors = {
    indices: compact('indices', 'u32'), values: compact('values'), r: gpu.tensor({ label: 'r', dtype: 'f32', rows, columns: 4 }),
    W_dec: gpu.tensor({ label: 'W_dec', dtype: 'f32', rows: 3, columns: 4, shardRows: 2 }), b_dec: gpu.tensor({ label: 'b_dec', dtype: 'f32', rows: 1, columns: 4 }),
  };
  const { dispatchFlops } = gpu, numbers = normals(random, rows), W = normals(random, 3 * 4), latents = Uint32Array.from({ length: rows }, () => random.below(3));
  gpu.upload(tensors.indices, latents);
  gpu.upload(tensors.values, numbers);
  gpu.upload(tensors.W_dec, W);
  const rec = gpu.record();
  gpu.dispatchFlops = 16 * 1e6; // at least two pieces for each shard, of which the second adds to what the first gave
  decodeSparse(rec, tensors, rows, 0);
  gpu.dispatchFlops = dispatchFlops;
  equal(rec.dispatches, 6, 'dispatches');
  rec.submit();
  const found = await gpu.downloadFloats(tensors.r);
  sameBits(new Uint32Array(found.buffer), new Uint32Array(Float32Array.from(found, (_, at) => numbers[at >> 2] * W[4 * latents[at >> 2] + at % 4]).buffer), 'rows');
  for (const tensor of Object.values(tensors)) gpu.free(tensor);
});

export const cases: Case[] = [counted, large];
