import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MixingBuffer } from '../../src/activations/index.ts';
import type { FrameSource, MixingOptions, MixingState } from '../../src/activations/index.ts';
import type { CochleaError } from '../../src/errors.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import { freshSeed } from '../support/mutate.ts';
import { countingSource } from './synthetic.ts';

/** Row numbers of the next batches, of their targets and of their previous frames. */
async function takePairs(buffer: MixingBuffer, batches: number, { dIn = 3, dOut = 2 } = {}): Promise<{ rows: number[]; targets: number[]; before: number[] }> {
  const taken = { rows: [] as number[], targets: [] as number[], before: [] as number[] };
  const firsts = (values: ArrayLike<number> | undefined, width: number): number[] =>
    (values ? Array.from({ length: values.length / width }, (_, row) => values[row * width]!) : []);
  for (let i = 0; i < batches; i++) {
    const { x, target, previous } = await buffer.next();
    taken.rows.push(...firsts(x, dIn));
    taken.targets.push(...firsts(target, dOut));
    taken.before.push(...firsts(previous, dIn));
  }
  return taken;
}

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

  test('the order of frames is the one it always was, with targets or without', async () => {
    const orders = new Map([
      [12, [11, 8, 2, 1, 3, 9, 10, 7, 4, 5, 0, 6, 14, 16, 18, 23, 19, 20, 13, 17, 12, 22, 15, 21, 7, 27, 10, 24, 26, 8, 28, 6, 29, 11, 9, 25]],
      [1000, [23, 20, 2, 17, 18, 14, 24, 21, 6, 16, 4, 26, 12, 11, 8, 10, 3, 7, 13, 9, 27, 1, 0, 15, 25, 5, 19, 22, 11, 24, 17, 16, 28, 27, 9, 23]],
    ]);
    for (const [bufferRows, order] of orders) {
      assert.deepEqual(await take(new MixingBuffer(countingSource(5, 6, 3, { dOut: 2 }), { ...defaults, bufferRows }), 9), order);
      const { rows, targets, before } = await takePairs(new MixingBuffer(countingSource(5, 6, 3, { dOut: 2 }), { ...defaults, bufferRows, target: true }), 9);
      assert.deepEqual([rows, targets, before], [order, order.map((row) => 1000 + row), []]);
    }
  });

  test('pairs are a frame and the one before it in its clip; the first frame of a clip is served only as that', async () => {
    // Clips of 4, 4 and 1 rows in every chunk of 9.
    const source = countingSource(5, 9, 3, { clipRows: 4, dOut: 2 });
    const isFirst = (row: number): boolean => (row % 9) % 4 === 0;
    const paired = Array.from({ length: 45 }, (_, row) => row).filter((row) => !isFirst(row));
    assert.equal(paired.length, 30);
    const stored = await takePairs(new MixingBuffer(source, { ...defaults, batchRows: 5, bufferRows: 10, shuffle: false, previous: true }), 12);
    assert.deepEqual(stored, { rows: [...paired, ...paired], before: [...paired, ...paired].map((row) => row - 1), targets: [] });
    const mixed = await takePairs(new MixingBuffer(source, { ...defaults, batchRows: 5, bufferRows: 10, previous: true, target: true }), 12);
    assert.deepEqual(mixed.before, mixed.rows.map((row) => row - 1));
    assert.deepEqual(mixed.targets, mixed.rows.map((row) => row + 1000));
    for (const epoch of [0, 1]) assert.deepEqual(mixed.rows.slice(epoch * 30, epoch * 30 + 30).sort((a, b) => a - b), paired, `epoch ${epoch}`);
    assert.notDeepEqual(mixed.rows.slice(0, 10), [...mixed.rows.slice(0, 10)].sort((a, b) => a - b));
  });

  test('with targets and previous frames it continues from the state of any batch', async () => {
    const random = new RandomStream(freshSeed('continuing pairs'), 0);
    const source = (): FrameSource => countingSource(5, 7, 3, { clipRows: 3, dOut: 2, spoil: (row) => row % 9 === 4, spoilTarget: (row) => row % 11 === 8 });
    const options = { ...defaults, batchRows: 3, bufferRows: 9, dropNonFinite: true, target: true, previous: true };
    const straight = new MixingBuffer(source(), options);
    const states: MixingState[] = [], batches: object[] = [];
    for (let i = 0; i < 30; i++) {
      states.push(JSON.parse(JSON.stringify(straight.state())));
      batches.push(await takePairs(straight, 1));
    }
    for (let trial = 0; trial < 20; trial++) {
      const at = random.below(30);
      const buffer = new MixingBuffer(source(), options);
      await take(buffer, random.below(8));
      await buffer.restore(states[at]!);
      for (let i = at; i < 30; i++) assert.deepEqual(await takePairs(buffer, 1), batches[i], `batch ${i} from ${at}`);
      assert.deepEqual([buffer.epoch, buffer.dropped, buffer.rowsSeen], [straight.epoch, straight.dropped, straight.rowsSeen]);
    }
  });

  test('a frame is left out and counted when it, its target or its previous frame is not finite; strictly, each is named', async () => {
    const options = { clipRows: 5, dOut: 2, spoil: (row: number): boolean => row === 2, spoilTarget: (row: number): boolean => row === 8 };
    const lenient = new MixingBuffer(countingSource(1, 20, 3, options), { ...defaults, batchRows: 3, bufferRows: 3, shuffle: false, dropNonFinite: true, target: true, previous: true });
    // Of each clip of 5 the first goes; 2 is not finite, so 3 has nothing before it; 8 has no target, but is before 9.
    const { rows, before, targets } = await takePairs(lenient, 4);
    assert.deepEqual(rows, [1, 4, 6, 7, 9, 11, 12, 13, 14, 16, 17, 18]);
    assert.deepEqual(before, rows.map((row) => row - 1));
    assert.deepEqual(targets, rows.map((row) => row + 1000));
    assert.equal(lenient.dropped, 3);
    const strict = (given: Partial<MixingOptions>): Promise<unknown> => new MixingBuffer(countingSource(1, 20, 3, options), { ...defaults, shuffle: false, bufferRows: 12, ...given }).next();
    await assert.rejects(strict({ target: true }), fails('not-finite', /^the frame at 0\.04 s of clip "c0" /));
    options.spoil = () => false;
    await strict({ previous: true });
    await assert.rejects(strict({ target: true }), fails('not-finite', /^the target of the frame at 0\.06 s of clip "c0-1" \(c0-1\.wav\) holds NaN/));
  });

  test('targets that the source does not have are refused, and memory for pairs is counted', () => {
    assert.throws(() => new MixingBuffer(countingSource(3, 4, 3), { ...defaults, target: true }),
      fails('config', /no targets for the frames of encoder\.layers\.2: extract them with --target-hook, or give a \.safetensors file with tensors `x` and `y`$/));
    const wide = { ...countingSource(3, 4, 3, { dOut: 2 }), rows: undefined, dIn: 2 ** 20 };
    assert.throws(() => new MixingBuffer(wide, { ...defaults, bufferRows: 2 ** 40, previous: true, target: true }), fails('config', /of 2097154 numbers needs/));
  });

  test('pairs of clips of one frame each are no data', async () => {
    const lonely = new MixingBuffer(countingSource(3, 4, 3, { clipRows: 1, unknownRows: true }), { ...defaults, previous: true });
    await assert.rejects(lonely.next(), fails('config', /no usable frame/));
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
