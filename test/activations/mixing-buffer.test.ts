import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MixingBuffer } from '../../src/activations/index.ts';
import type { FrameSource, MixingOptions, MixingState } from '../../src/activations/index.ts';
import type { CochleaError } from '../../src/errors.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import { freshSeed } from '../support/mutate.ts';
import { countingSource } from './synthetic.ts';

const defaults: MixingOptions = { seed: 7, bufferRows: 12, batchRows: 4, shuffle: true };

/** The row numbers of the next batches. */
async function take(buffer: MixingBuffer, batches: number, dIn = 3): Promise<number[]> {
  const rows: number[] = [];
  for (let i = 0; i < batches; i++) {
    const { x } = await buffer.next();
    for (let at = 0; at < x.length; at += dIn) rows.push(x[at]!);
  }
  return rows;
}

const fails = (code: string, message: RegExp) => (error: CochleaError): boolean => {
  assert.equal(error.code, code, String(error));
  assert.match(error.line, message);
  return true;
};

describe('a mixing buffer', () => {
  test('serves every row of the data once per epoch, across windows that end inside chunks', async () => {
    const buffer = new MixingBuffer(countingSource(7, 4, 3), { ...defaults, batchRows: 2, bufferRows: 10 });
    assert.equal(buffer.windowRows, 10);
    // 28 rows an epoch: after 5 epochs and 14 windows the stream is at a whole number of both.
    const rows = await take(buffer, 70);
    assert.equal(buffer.rowsSeen, 140);
    const times = new Map<number, number>();
    for (const row of rows) times.set(row, (times.get(row) ?? 0) + 1);
    assert.deepEqual([...times.values()], new Array(28).fill(5));
  });

  test('permutes the rows of a window and nothing beyond it', async () => {
    const stream = await take(new MixingBuffer(countingSource(6, 5, 3), { ...defaults, shuffle: false }), 15);
    const mixed = await take(new MixingBuffer(countingSource(6, 5, 3), defaults), 15);
    assert.notDeepEqual(mixed.slice(0, 12), [...mixed.slice(0, 12)].sort((a, b) => a - b));
    // The first epoch of the counting source is in stored order.
    for (let window = 0; window < 2; window++) {
      const [a, b] = [window * 12, window * 12 + 12];
      assert.deepEqual(mixed.slice(a, b).sort((p, q) => p - q), stream.slice(a, b), `window ${window}`);
    }
    const permutations = [0, 1].map((window) => mixed.slice(window * 12, window * 12 + 12).map((row) => row - window * 12));
    assert.notDeepEqual(permutations[0], permutations[1], 'each window has its own permutation');
    assert.notDeepEqual(await take(new MixingBuffer(countingSource(6, 5, 3), { ...defaults, seed: 8 }), 15), mixed);
  });

  test('without shuffling rows come in stored order, epoch after epoch', async () => {
    const rows = await take(new MixingBuffer(countingSource(3, 5, 3), { ...defaults, shuffle: false }), 10);
    assert.deepEqual(rows, Array.from({ length: 40 }, (_, i) => i % 15));
  });

  test('every epoch has its own order of chunks', async () => {
    const buffer = new MixingBuffer(countingSource(3, 4, 3), { ...defaults, bufferRows: 4 });
    const sorted = async (): Promise<number> => Math.min(...await take(buffer, 1));
    const starts: number[] = [];
    for (let i = 0; i < 6; i++) starts.push(await sorted());
    assert.deepEqual(starts, [0, 4, 8, 4, 8, 0]);
    assert.equal(buffer.epoch, 1);
  });

  test('continued from the state of any batch it gives the same batches as one never stopped', async () => {
    const random = new RandomStream(freshSeed('continuing'), 0);
    for (const unknownRows of [false, true]) {
      for (const dropNonFinite of [false, true]) {
        const source = (): FrameSource => countingSource(5, 7, 3, { unknownRows, spoil: (row) => dropNonFinite && row % 9 === 3 });
        const options = { ...defaults, batchRows: 3, bufferRows: 17, dropNonFinite };
        const straight = new MixingBuffer(source(), options);
        const states: MixingState[] = [];
        const batches: number[][] = [];
        const counts: number[][] = [];
        for (let i = 0; i < 40; i++) {
          states.push(JSON.parse(JSON.stringify(straight.state())));
          counts.push([straight.rowsSeen]);
          batches.push(await take(straight, 1));
        }
        for (let trial = 0; trial < 25; trial++) {
          const at = random.below(40);
          const buffer = new MixingBuffer(source(), options);
          await take(buffer, random.below(8)); // whatever it did before
          await buffer.restore(states[at]!);
          assert.deepEqual(buffer.state(), states[at]);
          assert.deepEqual([buffer.rowsSeen], counts[at]);
          for (let i = at; i < 40; i++) assert.deepEqual(await take(buffer, 1), batches[i], `batch ${i} from ${at}`);
          assert.deepEqual([buffer.epoch, buffer.dropped, buffer.rowsSeen], [straight.epoch, straight.dropped, straight.rowsSeen]);
        }
      }
    }
  });

  test('a batch stays as it is while the next one is fetched', async () => {
    const buffer = new MixingBuffer(countingSource(4, 4, 3), { ...defaults, bufferRows: 4 });
    const first = await buffer.next();
    const copy = first.x.slice();
    await buffer.next();
    assert.deepEqual(first.x, copy);
  });

  test('a frame with NaN or infinity stops it, with its place, or is left out and counted', async () => {
    const spoilt = countingSource(3, 10, 3, { spoil: (row) => row === 17 });
    const strict = new MixingBuffer(spoilt, { ...defaults, shuffle: false });
    await take(strict, 3);
    await assert.rejects(strict.next(), fails('not-finite', /frame at 0\.14 s of clip "c1" \(c1\.wav\) holds NaN/));
    await assert.rejects(strict.next(), fails('not-finite', /frame at 0\.14 s/), 'and again when asked again');
    const lenient = new MixingBuffer(spoilt, { ...defaults, shuffle: false, dropNonFinite: true });
    const rows = await take(lenient, 15);
    assert.deepEqual(rows, Array.from({ length: 60 }, (_, i) => (i % 29) + (i % 29 >= 17 ? 1 : 0)));
    assert.equal(lenient.dropped, 2);
  });

  test('sizes that cannot be are refused', async () => {
    const source = countingSource(3, 4, 3);
    assert.throws(() => new MixingBuffer(source, { ...defaults, batchRows: 13, bufferRows: 20 }), fails('config', /a batch has 13 frames, the data only 12/));
    assert.throws(() => new MixingBuffer(source, { ...defaults, bufferRows: 3 }), fails('config', /does not hold a batch of 4/));
    assert.throws(() => new MixingBuffer(source, { ...defaults, batchRows: 0 }), fails('config', /cannot be/));
    assert.throws(() => new MixingBuffer({ ...source, rows: undefined, dIn: 2 ** 20 }, { ...defaults, bufferRows: 2 ** 40 }), fails('config', /GiB/));
    assert.equal(new MixingBuffer(source, { ...defaults, bufferRows: 1000 }).windowRows, 12, 'no more than an epoch');
    for (const spoil of [() => true, () => false]) {
      const empty = new MixingBuffer(countingSource(spoil() ? 3 : 0, 4, 3, { unknownRows: true, spoil }), { ...defaults, dropNonFinite: true });
      await assert.rejects(empty.next(), fails('config', /no usable frame/));
    }
  });

  test('a state of another buffer is refused', async () => {
    const state = new MixingBuffer(countingSource(3, 4, 3), defaults).state();
    const other = new MixingBuffer(countingSource(3, 4, 3), { ...defaults, bufferRows: 8 });
    await assert.rejects(other.restore(state), fails('config', /had 12 rows and now has 8/));
    const buffer = new MixingBuffer(countingSource(3, 4, 3), defaults);
    for (const change of [{ batch: 3 }, { epoch: -1 }, { row: 0.5 }, { chunk: undefined }]) {
      await assert.rejects(buffer.restore({ ...state, ...change } as MixingState), fails('config', /cannot be/));
    }
  });

  test('a failing source fails the batch and can be asked again', async () => {
    const source = countingSource(3, 4, 3);
    let failures = 1;
    const flaky: FrameSource = {
      ...source,
      async *chunks(options) {
        for await (const chunk of source.chunks(options)) {
          if (chunk.x[0] === 4 && failures-- > 0) throw new Error('the disk hiccups');
          yield chunk;
        }
      },
    };
    const buffer = new MixingBuffer(flaky, defaults);
    await assert.rejects(buffer.next(), /hiccups/);
    assert.deepEqual(await take(buffer, 6), await take(new MixingBuffer(source, defaults), 6));
  });

  test('ten times the data takes no more memory', async () => {
    const dIn = 256;
    const peak = async (chunks: number): Promise<number> => {
      const buffer = new MixingBuffer(countingSource(chunks, 4096, dIn), { seed: 1, bufferRows: 16384, batchRows: 1024, shuffle: true });
      let highest = 0;
      for (let i = 0; i < chunks * 4; i++) {
        await buffer.next();
        highest = Math.max(highest, runtime.residentBytes());
      }
      await buffer.close();
      return highest;
    };
    await peak(16); // 64 MiB of frames, so that what a first run allocates for good is there
    const small = await peak(16);
    const large = await peak(160);
    assert.ok(large - small < 96 << 20, `${(small / 2 ** 20).toFixed(0)} MiB for 64 MiB of frames, ${(large / 2 ** 20).toFixed(0)} MiB for 640 MiB`);
  });
});
