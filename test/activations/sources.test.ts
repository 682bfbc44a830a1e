import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { clipSource, collect, MixingBuffer, openTensorSource, StatisticsAccumulator } from '../../src/activations/index.ts';
import type { FrameChunk, FrameSource } from '../../src/activations/index.ts';
import type { CochleaError } from '../../src/errors.ts';
import { writeNpy, writeSafetensors } from '../../src/formats/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { clip, info } from './synthetic.ts';

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
