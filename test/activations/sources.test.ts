import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { clipSource, collect, MixingBuffer, openTensorSource, StatisticsAccumulator } from '../../src/activations/index.ts';
import type { FrameChunk, FrameSource } from '../../src/activations/index.ts';
import type { CochleaError } from '../../src/errors.ts';
import { writeNpy, writeSafetensors } from '../../src/formats/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { clip, clipWithTarget, info, targetInfo } from './synthetic.ts';

const { join } = runtime.paths;
let folder = '';
before(async () => {
  folder = await runtime.files.temporaryFolder('cochlea-sources-');
});
after(() => runtime.files.remove(folder));

async function readAll(source: FrameSource, epoch?: number, from = 0): Promise<FrameChunk[]> {
  const chunks: FrameChunk[] = [];
  for await (const chunk of source.chunks({ seed: 3, epoch, from })) chunks.push(chunk);
  return chunks;
}

// 5000 rows of 1000 numbers: three chunks of 2097 rows at most.
const [rows, dIn] = [5000, 1000];
const x = Float32Array.from({ length: rows * dIn }, (_, i) => Math.fround(((i * 7919) % 10007) / 5000 - 1));

describe('a tensor file as a source', () => {
  test('gives all rows of a .safetensors or .npy file, in chunks, in an order of every epoch\'s own', async () => {
    await writeSafetensors(join(folder, 'x.safetensors'), [
      { name: 'a', dtype: 'F32', shape: [3], data: new Float32Array(3) }, { name: 'x', dtype: 'F32', shape: [rows, dIn], data: x },
    ]);
    await writeNpy(join(folder, 'x.npy'), [rows, dIn], x);
    for (const name of ['x.safetensors', 'x.npy']) {
      const path = join(folder, name);
      const source = await openTensorSource(path, { info: { model: 'm', frameRate: 50 } });
      assert.deepEqual([source.rows, source.dIn, source.info.model, source.info.hook], [rows, dIn, 'm', name]);
      assert.equal(source.info.dataSha256, createHash('sha256').update(await runtime.files.read(path)).digest('hex'));
      const chunks = await readAll(source);
      assert.deepEqual(chunks.map((chunk) => chunk.rows), [2097, 2097, 806]);
      assert.deepEqual((await collect(source, Infinity)).x, x);
      assert.equal(chunks[1]!.time[1], Math.fround(2098 / 50));
      const firsts = async (epoch: number): Promise<number[]> => (await readAll(source, epoch)).map((chunk) => chunk.x[0]!);
      const orders = await Promise.all([0, 1, 2, 3, 4].map(firsts));
      assert.ok(orders.some((order) => order.join() !== orders[0]!.join()));
      assert.deepEqual(await firsts(2), orders[2]);

      const accumulator = new StatisticsAccumulator(dIn);
      accumulator.add(x, rows);
      const [found, expected] = [await source.statistics(), accumulator.result()];
      assert.ok(Math.abs(found.meanNorm / expected.meanNorm - 1) < 1e-12);
      found.variance.forEach((value, d) => assert.ok(Math.abs(value / expected.variance[d]! - 1) < 1e-10));
      await source.close();
    }
  });

  test('float16 files and other tensor names', async () => {
    await writeSafetensors(join(folder, 'h.safetensors'), [{ name: 'frames', dtype: 'F16', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]);
    const source = await openTensorSource(join(folder, 'h.safetensors'), { tensor: 'frames' });
    assert.deepEqual([...(await collect(source, 1)).x], [1, 2]);
    await source.close();
  });

  test('a .safetensors file may hold a target for each frame', async () => {
    const [count, dOut] = [3000, 700];
    const frames = x.subarray(0, count * dIn);
    const y = Float32Array.from({ length: count * dOut }, (_, i) => ((i * 31) % 1009) / 100);
    await writeSafetensors(join(folder, 'xy.safetensors'), [
      { name: 'x', dtype: 'F32', shape: [count, dIn], data: frames }, { name: 'y', dtype: 'F32', shape: [count, dOut], data: y },
    ]);
    const source = await openTensorSource(join(folder, 'xy.safetensors'), { target: 'y' });
    assert.deepEqual([source.rows, source.dIn, source.dOut, source.targetInfo], [count, dIn, dOut, { hook: 'xy.safetensors: y', layer: null, dOut }]);
    assert.deepEqual((await readAll(source)).map((chunk) => [chunk.rows, chunk.target!.length]), [1233, 1233, 534].map((n) => [n, n * dOut]));
    for (const chunk of await readAll(source, 4)) {
      const first = chunk.time[0]!;
      assert.deepEqual([...chunk.x.subarray(0, 5), ...chunk.target!.subarray(0, 5)], [...frames.subarray(first * dIn, first * dIn + 5), ...y.subarray(first * dOut, first * dOut + 5)]);
    }
    const whole = await collect(source, 2000);
    assert.deepEqual([whole.x, whole.target], [frames.slice(0, 2000 * dIn), y.slice(0, 2000 * dOut)]);
    const accumulator = new StatisticsAccumulator(dOut);
    accumulator.add(y, count);
    const { mean, rows: summed } = await source.targetStatistics!();
    assert.equal(summed, count);
    mean.forEach((value, d) => assert.ok(Math.abs(value - accumulator.result().mean[d]!) < 1e-10));
    assert.equal((await source.statistics()).mean.length, dIn);
    await source.close();
    const plain = await openTensorSource(join(folder, 'xy.safetensors'));
    assert.deepEqual([plain.dOut, plain.targetInfo, (await readAll(plain))[0]!.target], [undefined, undefined, undefined]);
    await plain.close();
  });

  test('what is no target of the frames is refused', async () => {
    const matrices = (name: string, y: number[]): Promise<void> => writeSafetensors(join(folder, name), [
      { name: 'x', dtype: 'F32', shape: [4, 2], data: new Float32Array(8) }, { name: 'y', dtype: 'F32', shape: y, data: new Float32Array(y.reduce((a, b) => a * b)) },
    ]);
    await matrices('short.safetensors', [3, 2]);
    await matrices('flat.safetensors', [4]);
    await writeSafetensors(join(folder, 'alone.safetensors'), [{ name: 'x', dtype: 'F32', shape: [4, 2], data: new Float32Array(8) }]);
    for (const [name, code, message] of [
      ['short.safetensors', 'file-damaged', /tensor "y" of .*short\.safetensors is \[3, 2\]: not a target for each of its 4 frames/],
      ['flat.safetensors', 'file-damaged', /tensor "y" of .*flat\.safetensors has shape \[4\], not \[rows, columns\]/],
      ['alone.safetensors', 'file-damaged', /has no tensor "y"; it has "x"/],
      ['x.npy', 'usage', /x\.npy holds one tensor, the frames, and none for their targets: save both as tensors `x` and `y` of a \.safetensors file/],
    ] as const) {
      await assert.rejects(openTensorSource(join(folder, name), { target: 'y' }), (error: CochleaError) => {
        assert.equal(error.code, code);
        assert.match(error.line, message);
        return true;
      });
    }
  });

  test('what is no matrix of frames is refused', async () => {
    const refused = async (path: string, code: string, message: RegExp): Promise<void> => {
      await assert.rejects(openTensorSource(join(folder, path)), (error: CochleaError) => {
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    };
    await writeSafetensors(join(folder, 'b.safetensors'), [{ name: 'y', dtype: 'F32', shape: [2, 2], data: new Float32Array(4) }]);
    await refused('b.safetensors', 'file-damaged', /has no tensor "x"; it has "y"/);
    await writeNpy(join(folder, 'v.npy'), [4], new Float32Array(4));
    await refused('v.npy', 'file-damaged', /not \[rows, columns\]/);
    await writeNpy(join(folder, 'e.npy'), [0, 4], new Float32Array(0));
    await refused('e.npy', 'file-damaged', /holds no frames/);
    await refused('x.pt', 'usage', /neither a \.safetensors nor a \.npy/);
    await refused('none.npy', 'file-missing', /none\.npy/);
  });
});

describe('clips as a source', () => {
  const loads: number[] = [];
  let under = 0;
  const source = clipSource({
    info: { ...info, dataSha256: 'd' }, count: 20, sampleClips: 8,
    load: async (index) => {
      assert.equal(under++, 0, 'one clip at a time');
      await new Promise((resolve) => setTimeout(resolve, 1));
      under--;
      loads.push(index);
      const { id, path, labels, frames, rows: clipRows } = clip(index);
      return { id, path, labels, frames, rows: clipRows };
    },
  });

  test('computes each clip once per epoch, in stored order or one of the epoch\'s own', async () => {
    const stored = await readAll(source);
    assert.deepEqual(loads.splice(0), Array.from({ length: 20 }, (_, i) => i));
    assert.deepEqual(stored[7]!.x, clip(7).frames);
    assert.deepEqual(stored[7]!.clips, [{ id: 'clip-7', path: 'speech/7.wav', labels: clip(7).labels }]);
    await readAll(source, 1);
    const order = loads.splice(0);
    assert.deepEqual([...order].sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i));
    await readAll(source, 1, 15);
    assert.deepEqual(loads.splice(0), order.slice(15));
  });

  test('a consumer that stops early leaves no load under way', async () => {
    for await (const chunk of source.chunks({ seed: 0, epoch: 0, from: 0 })) {
      assert.ok(chunk.rows >= 0);
      break;
    }
    assert.equal(under, 0);
  });

  test('feeds a mixing buffer, whose state continues in the middle of a clip', async () => {
    const options = { seed: 5, bufferRows: 64, batchRows: 16, shuffle: true };
    const straight = new MixingBuffer(source, options);
    for (let i = 0; i < 9; i++) await straight.next();
    const state = straight.state();
    assert.ok(state.row > 0);
    const expected = (await straight.next()).x.slice();
    await straight.close();
    const continued = new MixingBuffer(source, options);
    await continued.restore(state);
    assert.deepEqual((await continued.next()).x, expected);
    await continued.close();
  });

  test('carries the target of each frame, and estimates its statistics from the same sample', async () => {
    const asked: number[] = [];
    const two = clipSource({
      info: { ...info, dataSha256: 'd' }, targetInfo, count: 20, sampleClips: 6,
      load: async (index) => {
        asked.push(index);
        return clipWithTarget(index);
      },
    });
    assert.deepEqual([two.dOut, two.targetInfo], [4, targetInfo]);
    for (const [index, chunk] of (await readAll(two)).entries()) assert.deepEqual(chunk.target, clipWithTarget(index).target);
    asked.length = 0;
    const [frames, targets] = [await two.statistics(), await two.targetStatistics!()];
    assert.deepEqual([asked.length, targets.rows, targets.mean.length], [6, frames.rows, 4]);
    const accumulator = new StatisticsAccumulator(4);
    for (const index of asked) accumulator.add(clipWithTarget(index).target!, clip(index).rows);
    assert.deepEqual(targets, accumulator.result());
    const { target } = await collect(two, 10);
    assert.deepEqual(target, Float32Array.from([0, 1, 2].flatMap((index) => [...clipWithTarget(index).target!])).slice(0, 40));
  });

  test('estimates statistics from a sample, the same one every time', async () => {
    loads.length = 0;
    const statistics = await source.statistics();
    assert.equal(loads.length, 8);
    assert.equal(statistics.rows, loads.reduce((sum, index) => sum + clip(index).rows, 0));
    assert.equal(await source.statistics(), statistics);
  });
});

test('collect stops where it is told, and joins a clip that a source cut', async () => {
  const frames = (first: number): FrameChunk => ({
    x: Float32Array.of(first, first + 1), rows: 2, clip: Uint32Array.of(0, 1), time: Float32Array.of(first, 0),
    clips: [{ id: `c${first / 2}`, path: '', labels: {} }, { id: `c${first / 2 + 1}`, path: '', labels: {} }],
  });
  const source: FrameSource = {
    dIn: 1, info: { ...info, dIn: 1, dataSha256: '' }, rows: undefined, statistics: async () => new StatisticsAccumulator(1).result(),
    async *chunks() {
      yield frames(0);
      yield frames(2);
      yield frames(4);
    },
  };
  const { x: values, rows: count, clip: clips, clips: table } = await collect(source, 3);
  assert.deepEqual([[...values], count, [...clips], table.map(({ id }) => id)], [[0, 1, 2], 3, [0, 1, 1], ['c0', 'c1']]);
  assert.equal((await collect(source, 100)).rows, 6);
});
