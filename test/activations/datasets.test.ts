/** Frames exchanged as datasets of Hugging Face. The other side is apache-arrow's own reader and builders: none of them is used by what is tested. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Data, Int32, makeData, Struct, Field, Utf8, vectorFromArray } from 'apache-arrow';
import { ActivationStore, ActivationWriter, collect, exportFrames, type FrameSource, openFramesFolder } from '../../src/activations/index.ts';
import type { CochleaError } from '../../src/errors.ts';
import { readArrowMatrices } from '../../src/formats/arrow.ts';
import { bytesHandle } from '../../src/formats/byte-source.ts';
import { encodeFloat16, readMatrixRows } from '../../src/formats/index.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import { freshSeed, mutate } from '../support/mutate.ts';
import { arrowStream, numberAt, readColumn, type Stream } from './arrow-streams.ts';
import { clip, clipWithTarget, info, targetInfo } from './synthetic.ts';

const { files, paths: { join } } = runtime;
let folder = '';
before(async () => {
  folder = await files.temporaryFolder('cochlea-datasets-');
});
after(() => files.remove(folder));

const clipCount = 23;
const context = 8;

async function store(name: string, { target = false, dtype = 'f32' as 'f32' | 'f16' } = {}): Promise<ActivationStore> {
  const path = join(folder, name);
  // Shards of 50 rows, so that clips lie across them.
  const writer = await ActivationWriter.open(path, info, { dtype, resume: false, shardBytes: 50 * (info.dIn + (target ? targetInfo.dOut : 0)) * (dtype === 'f16' ? 2 : 4), ...(target && { target: targetInfo }) });
  for (let i = 0; i < clipCount; i++) await writer.addClip(target ? clipWithTarget(i) : clip(i));
  await writer.finish();
  return ActivationStore.open(path);
}

const json = async (...parts: string[]): Promise<Record<string, never>> => JSON.parse(await files.readText(join(folder, ...parts)));

const clips = Array.from({ length: clipCount }, (_, i) => clip(i));
const total = clips.reduce((sum, { rows }) => sum + rows, 0);
/** Frames of whole contexts, in order. */
const kept = clips.flatMap(({ frames, rows }) => [...frames.subarray(0, Math.floor(rows / context) * context * info.dIn)]);

async function everything(source: FrameSource) {
  const { x, target, clip: clipOf, time, clips: labels } = await collect(source, Infinity);
  return { x, target, time, ids: [...clipOf].map((n) => labels[n]!.id), labels };
}

async function refused(work: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: CochleaError) => {
    assert.deepEqual([error.name, error.code], ['CochleaError', code], error.stack);
    assert.match(error.line, message);
    assert.ok(!error.line.includes('\n'));
    return true;
  });
}

describe('a store exported as a dataset', () => {
  test('is what datasets and SAELens ask of a folder', async () => {
    const out = join(folder, 'dataset');
    // Batches are of 8 MiB, so a file holds one at least.
    const result = await exportFrames(await store('store'), out, { to: 'datasets', dtype: 'f32', context });
    assert.deepEqual({ frames: result.frames, dropped: result.dropped, padding: result.padding, files: result.files },
      { frames: kept.length / info.dIn, dropped: total - kept.length / info.dIn, padding: 0, files: ['data-00000-of-00001.arrow'] });
    assert.deepEqual(await json('dataset', 'dataset_info.json'), {
      citation: '', description: '', features: { [info.hook]: { shape: [context, info.dIn], dtype: 'float32', _type: 'Array2D' } }, homepage: '', license: '',
    });
    const { _fingerprint: fingerprint, ...state } = await json('dataset', 'state.json') as Record<string, unknown>;
    assert.match(String(fingerprint), /^[0-9a-f]{16}$/);
    // with_format(format_kwargs=...) takes a dictionary, never null.
    assert.deepEqual(state, { _data_files: [{ filename: 'data-00000-of-00001.arrow' }], _format_columns: null, _format_kwargs: {}, _format_type: null, _output_all_columns: false, _split: null });
    const bytes = await files.read(join(out, 'data-00000-of-00001.arrow'));
    assert.deepEqual([...bytes.subarray(0, 4), ...bytes.subarray(-8)], [255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0], 'a stream, with its end');
    const column = readColumn(bytes, info.hook);
    assert.equal(column.type, 'List<List<Float32>>');
    assert.equal(column.metadata.get('ARROW:extension:name'), 'datasets.features.features.Array2DExtensionType');
    assert.deepEqual(JSON.parse(column.metadata.get('ARROW:extension:metadata')!), [[context, info.dIn], 'float32']);
    assert.equal(column.cells, kept.length / info.dIn / context);
    assert.deepEqual(column.values, kept);
    assert.deepEqual((await files.list(folder)).filter((name) => name.endsWith('.partial')), []);
  });

  test('comes back with the same bits, clips and moments, in float32 and float16, in one file and many', async () => {
    for (const dtype of ['f32', 'f16'] as const) {
      const source = await store(`store-${dtype}`, { dtype });
      const original = await everything(source);
      for (const [count, fileBytes] of [[1, undefined], [Math.ceil(total / 60), 60 * info.dIn * (dtype === 'f16' ? 2 : 4)]] as const) {
        const out = join(folder, `${count}-${dtype}`);
        const { files: written } = await exportFrames(source, out, { to: 'datasets', dtype, context: 1, ...(fileBytes && { fileBytes }) });
        assert.deepEqual([written.length, written.at(-1)], [count, `data-${String(count - 1).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.arrow`]);
        const back = await openFramesFolder(out);
        assert.deepEqual([back.rows, back.dIn, back.info.hook, back.info.frameRate, back.info.model], [total, info.dIn, info.hook, 50, 'synthetic']);
        assert.deepEqual(await everything(back), original);
        await back.close();
      }
    }
  });

  test('in contexts: what was left out is left out, frames keep their moments', async () => {
    const back = await openFramesFolder(join(folder, 'dataset'));
    const { x, time, ids } = await everything(back);
    assert.deepEqual([...x], kept);
    const expected = clips.flatMap(({ id, rows }) => Array.from({ length: Math.floor(rows / context) * context }, (_, r) => [id, Math.fround(r / 50)]));
    assert.deepEqual(ids.map((id, row) => [id, time[row]]), expected);
    assert.equal((await back.statistics()).rows, kept.length / info.dIn);
  });

  test('padded, it has all frames, token_ids that tell them from zeros, and comes back without these', async () => {
    const source = await store('store-padded');
    const result = await exportFrames(source, join(folder, 'padded'), { to: 'datasets', dtype: 'f32', context, pad: true });
    const cells = clips.reduce((sum, { rows }) => sum + Math.ceil(rows / context), 0);
    assert.deepEqual([result.frames, result.dropped, result.padding], [total, 0, cells * context - total]);
    const { features } = await json('padded', 'dataset_info.json');
    assert.deepEqual(features['token_ids'], { feature: { dtype: 'int32', _type: 'Value' }, _type: 'Sequence' });
    const bytes = await files.read(join(folder, 'padded', 'data-00000-of-00001.arrow'));
    const ids = readColumn(bytes, 'token_ids'), frames = readColumn(bytes, info.hook);
    assert.deepEqual([ids.type, ids.cells, ids.metadata.size], ['List<Int32>', cells, 0]);
    const marked = [...ids.values as number[]].flatMap((id, row) => (id === 1 ? frames.values as number[] : []).slice(row * info.dIn, (row + 1) * info.dIn));
    assert.deepEqual(marked, clips.flatMap((one) => [...one.frames]));
    assert.deepEqual([...ids.values as number[]].flatMap((id, row) => (id === 0 ? (frames.values as number[]).slice(row * info.dIn, (row + 1) * info.dIn) : [])).filter((value) => value !== 0), []);
    assert.deepEqual(await everything(await openFramesFolder(join(folder, 'padded'))), await everything(source));
  });

  test('with two hook points it has both as columns', async () => {
    const source = await store('store-two', { target: true });
    await exportFrames(source, join(folder, 'two'), { to: 'datasets', dtype: 'f16', context: 1 });
    const back = await openFramesFolder(join(folder, 'two'), { target: true });
    assert.deepEqual(back.targetInfo, targetInfo);
    assert.deepEqual(await everything(back), await everything(source));
    assert.equal((await openFramesFolder(join(folder, 'two'))).dOut, undefined);
    await refused(openFramesFolder(join(folder, 'dataset'), { target: true }), 'config', /have no targets: extract them with --target-hook/);
  });

  test('is made whole or not at all', async () => {
    const source = await store('store-whole');
    await refused(exportFrames(source, join(folder, 'dataset'), { to: 'datasets', dtype: 'f32' }), 'file-exists', /something at .*dataset already: choose another folder/);
    await refused(exportFrames(source, join(folder, 'none'), { to: 'datasets', dtype: 'f32', context: 1000 }), 'config', /no clip has 1000 frames: take a smaller --context/);
    const controller = new AbortController();
    const slow: FrameSource = { ...source, dIn: source.dIn, info: source.info, rows: source.rows, statistics: () => source.statistics(), async* chunks(options) {
      for await (const chunk of source.chunks(options)) {
        yield chunk;
        controller.abort();
      }
    } };
    await refused(exportFrames(slow, join(folder, 'none'), { to: 'datasets', dtype: 'f32', signal: controller.signal }), 'interrupted', /stopped/);
    // What a kill left is no hindrance, nor is an empty folder.
    await files.write(join(folder, '.none.partial', '0.arrow'), 'half');
    await files.makeFolder(join(folder, 'none'));
    await exportFrames(source, join(folder, 'none'), { to: 'datasets', dtype: 'f32', context });
    assert.deepEqual(await files.list(join(folder, 'none')), ['clips.jsonl', 'data-00000-of-00001.arrow', 'dataset_info.json', 'frames.json', 'state.json']);
    assert.deepEqual((await files.list(folder)).filter((name) => name.endsWith('.partial')), []);
    const loud: FrameSource = { ...slow, async* chunks() {
      yield { x: new Float32Array(info.dIn).fill(7e4), rows: 1, clip: new Uint32Array(1), time: new Float32Array(1), clips: [{ id: 'a', path: 'a.wav', labels: {} }] };
    } };
    await refused(exportFrames(loud, join(folder, 'loud'), { to: 'datasets', dtype: 'f16', context: 1 }), 'not-finite', /activation 7\.000e\+4 in dimension 0 does not fit float16: export as f32/);
  });
});

/** A dataset folder of SAELens around Arrow files. */
async function cached(name: string, streams: Uint8Array[], { features = {}, hook = 'blocks.3.hook_resid_post', shape = [5, 4] }: { features?: object; hook?: string; shape?: unknown } = {}): Promise<string> {
  const names = streams.map((_, n) => `data-${String(n).padStart(5, '0')}-of-${String(streams.length).padStart(5, '0')}.arrow`);
  for (const [n, bytes] of streams.entries()) await files.write(join(folder, name, names[n]!), bytes);
  await files.write(join(folder, name, 'dataset_info.json'), JSON.stringify({ features: { [hook]: { shape, dtype: 'float32', _type: 'Array2D' }, ...features } }));
  await files.write(join(folder, name, 'state.json'), JSON.stringify({ _data_files: names.map((filename) => ({ filename })), _fingerprint: 'abc', _format_kwargs: {} }));
  return join(folder, name);
}

const hook = 'blocks.3.hook_resid_post';
const plain: Stream = { hook, shape: [5, 4], batches: [3, 1, 4] };
const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => numberAt(i));
const extension = (shape: number[], dtype: string): Map<string, string> => new Map([['ARROW:extension:name', 'datasets.features.features.Array2DExtensionType'], ['ARROW:extension:metadata', JSON.stringify([shape, dtype])]]);
const structOf = (fields: [string, Data][], length: number): Data => makeData({ type: new Struct(fields.map(([name, data]) => new Field(name, data.type, true))), length, nullCount: 0, children: fields.map(([, data]) => data) });

describe('a dataset that others saved', () => {
  const tokens = (cells: number): Data => vectorFromArray(Array.from({ length: cells }, (_, i) => [i, i + 1])).data[0]!;
  const words = (cells: number): Data => vectorFromArray(Array.from({ length: cells }, (_, i) => `word ${i}`), new Utf8()).data[0]!;
  const speakers = vectorFromArray(['a', 'b', 'b', 'a']);
  const variants: [string, Stream][] = [
    ['as SAELens writes it', { ...plain, metadata: extension([5, 4], 'float32') }],
    ['without extension metadata', plain],
    ['of float16', { ...plain, dtype: 'float16', metadata: extension([5, 4], 'float16') }],
    ['of lists of fixed size', { ...plain, lists: ['fixed', 'fixed'] }],
    ['of fixed lists in lists', { ...plain, lists: ['list', 'fixed'] }],
    ['of lists in fixed lists', { ...plain, lists: ['fixed', 'list'] }],
    ['whose offsets do not begin at 0', { ...plain, skipped: 2 }],
    ['with empty record batches', { ...plain, batches: [0, 2, 0, 3] }],
    ['between other columns', { ...plain, others: (cells) => [
      { name: 'text', data: words(cells) }, { name: 'token_ids', data: tokens(cells) },
      { name: 'meta', data: structOf([['a', makeData({ type: new Int32(), length: cells, nullCount: 0, data: new Int32Array(cells) })], ['b', words(cells)]], cells) },
      { name: 'speaker', data: speakers.slice(0, cells).data[0]! }, // by a dictionary
    ] }],
  ];
  for (const [name, stream] of variants) {
    test(name, async () => {
      const path = await cached(name.replaceAll(' ', '-'), [arrowStream(stream)]);
      const source = await openFramesFolder(path);
      const cells = stream.batches.reduce((sum, count) => sum + count, 0);
      assert.deepEqual([source.rows, source.dIn, source.info.hook], [cells * 5, 4, hook]);
      assert.deepEqual([...(await collect(source, Infinity)).x], numbers(cells * 20));
    });
  }

  test('in several files, read in chunks in any order', async () => {
    const shape: [number, number] = [50, 3000];
    const streams = [arrowStream({ hook, shape, batches: [7, 6] }), arrowStream({ hook, shape, batches: [1, 9] })];
    const source = await openFramesFolder(await cached('several', streams, { shape }));
    assert.equal(source.rows, 23 * 50);
    const whole = [...numbers(13 * 150_000), ...numbers(10 * 150_000)];
    const chunks = [];
    for await (const chunk of source.chunks({ seed: 0, epoch: undefined, from: 0 })) chunks.push(chunk);
    assert.deepEqual(chunks.map(({ rows }) => rows), [699, 451]); // 8 MiB of float32
    assert.ok(chunks.every(({ x, time }) => x.every((value, i) => value === whole[time[0]! * 3000 + i])));
    const orders = new Set<string>();
    for (let epoch = 0; epoch < 6; epoch++) {
      const times: number[] = [];
      for await (const { time } of source.chunks({ seed: 0, epoch, from: 0 })) times.push(time[0]!);
      orders.add(times.join());
    }
    assert.equal(orders.size, 2);
  });

  const refusals: [string, () => Promise<string>, string, RegExp][] = [
    ['cells of another shape than the features say', () => cached('shape', [arrowStream(plain)], { shape: [4, 5] }), 'file-damaged', /not all of its cells have 4 elements/],
    ['metadata of another shape', () => cached('meta', [arrowStream({ ...plain, metadata: extension([4, 5], 'float32') })]), 'file-damaged', /holds matrices of \[4, 5\], dataset_info\.json says \[5, 4\]/],
    ['fixed lists of another size', () => cached('fixed', [arrowStream({ ...plain, lists: ['list', 'fixed'] })], { shape: [5, 3] }), 'file-damaged', /its rows are lists of 4, not of 3/],
    ['a ragged cell', () => cached('ragged', [arrowStream({ ...plain, ragged: true })]), 'file-damaged', /not all of its cells have 5 elements/],
    ['a cell that is null', () => cached('null', [arrowStream({ ...plain, nulls: true })]), 'file-damaged', /1 cells are null/],
    ['an Arrow file', () => cached('file', [new TextEncoder().encode('ARROW1\0\0 and more')]), 'file-damaged', /of the Arrow file form/],
    ['a file that is not there', async () => {
      const path = await cached('gone', [arrowStream(plain)]);
      await files.remove(join(path, 'data-00000-of-00001.arrow'));
      return path;
    }, 'file-missing', /data-00000-of-00001\.arrow/],
    ['another column', () => cached('column', [arrowStream({ ...plain, hook: 'other' })]), 'file-damaged', /has no column "blocks\.3\.hook_resid_post"; it has "other"/],
    ['two columns of activations', () => cached('both', [arrowStream(plain)], { features: { b: { shape: [5, 4], dtype: 'float32', _type: 'Array2D' } } }), 'usage', /has 2 columns of activations: "blocks\.3\.hook_resid_post", "b": save it with one/],
    ['no column of activations', () => cached('texts', [arrowStream(plain)], { features: { [hook]: { dtype: 'string', _type: 'Value' } } }), 'file-damaged', /no column of activations \(Array2D\) among "blocks/],
    ['an impossible shape', () => cached('huge', [arrowStream(plain)], { shape: [2 ** 40, 4] }), 'file-damaged', /the shape of "blocks\.3\.hook_resid_post" is \[1099511627776,4\]/],
    ['no frames', () => cached('empty', [arrowStream({ ...plain, batches: [0] })]), 'file-damaged', /holds no frames/],
    ['a path out of the folder', async () => {
      const path = await cached('escape', [arrowStream(plain)]);
      await files.write(join(path, 'state.json'), JSON.stringify({ _data_files: [{ filename: '../shape/data-00000-of-00001.arrow' }] }));
      return path;
    }, 'file-damaged', /does not list the dataset's files/],
    ['several splits', async () => {
      await files.write(join(folder, 'dict', 'dataset_dict.json'), '{"splits": ["train"]}');
      return join(folder, 'dict');
    }, 'usage', /holds several datasets: name one of the folders/],
  ];
  for (const [name, make, code, message] of refusals) test(`is refused with ${name}`, async () => refused(openFramesFolder(await make()), code, message));

  test('is refused when it is cut off at any byte, or claims more than it has', async () => {
    const bytes = arrowStream(plain);
    for (let at = 0; at < bytes.length - 4; at++) {
      await refused(readArrowMatrices(bytesHandle(bytes.subarray(0, at)), 'cut.arrow', hook, [5, 4]), 'file-damaged', /cut\.arrow/);
    }
    for (const [at, value, message] of [[4, 0x7fffffff, /claims 2147483647 bytes/], [4, -5, /claims -5 bytes/], [8, 0x7fffffff, /points outside itself/]] as const) {
      const changed = bytes.slice();
      new DataView(changed.buffer).setInt32(at, value, true);
      await refused(readArrowMatrices(bytesHandle(changed), 'lie.arrow', hook, [5, 4]), 'file-damaged', message);
    }
  });

  test('with hostile bytes is read as what it says, or refused in one line; nothing beyond the file is asked for', async () => {
    const random = new RandomStream(freshSeed('Arrow streams'), 1);
    const count = 'Deno' in globalThis ? 1000 : 10_000;
    const originals = [arrowStream({ ...plain, metadata: extension([5, 4], 'float32') }), arrowStream({ ...plain, lists: ['fixed', 'list'], dtype: 'float16', batches: [1, 1] })];
    let read = 0;
    for (let i = 0; i < count; i++) {
      const original = originals[i % 2]!;
      // Message headers lie all over the stream: mutate a window of it.
      const from = random.below(2) === 0 ? 0 : random.below(original.length);
      const tail = mutate(original.subarray(from), random);
      const bytes = new Uint8Array(from + tail.length);
      bytes.set(original.subarray(0, from));
      bytes.set(tail, from);
      const handle = bytesHandle(bytes);
      const counted = { ...handle, read: (offset: number, length: number) => {
        assert.ok(offset >= 0 && length >= 0 && offset + Math.min(length, 8) <= bytes.length + 8 && length <= Math.max(8, bytes.length), `${length} bytes at ${offset} of ${bytes.length}`);
        return handle.read(offset, length);
      } };
      try {
        for (const matrix of await readArrowMatrices(counted, 'bad.arrow', hook, [5, 4])) {
          assert.deepEqual([matrix.columns, matrix.rows % 5], [4, 0]);
          await readMatrixRows(matrix, 0, matrix.rows);
        }
        read++;
      } catch (error) {
        const { code, line } = error as CochleaError;
        assert.ok(code === 'file-damaged' && !line.includes('\n'), (error as Error).stack);
      }
    }
    assert.ok(read > count / 100 && read < count, `${read} of ${count} were read`); // numbers may change without harm
  });

  test('with hostile JSON is refused in one line', async () => {
    const random = new RandomStream(freshSeed('dataset JSON'), 2);
    const path = await cached('json', [arrowStream(plain)]);
    for (const name of ['dataset_info.json', 'state.json']) {
      const original = await files.read(join(path, name));
      for (let i = 0; i < 100; i++) {
        await files.write(join(path, name), mutate(original, random));
        await openFramesFolder(path).catch((error: CochleaError) => {
          assert.ok(['file-damaged', 'file-missing', 'usage'].includes(error.code) && !error.line.includes('\n'), error.stack);
        });
      }
      await files.write(join(path, name), original);
    }
  });
});

test('float16 of a dataset is bit for bit that of the store', async () => {
  const source = await store('halves', { dtype: 'f16' });
  await exportFrames(source, join(folder, 'halves-out'), { to: 'datasets', dtype: 'f16', context: 1 });
  const { values, type } = readColumn(await files.read(join(folder, 'halves-out', 'data-00000-of-00001.arrow')), info.hook);
  const expected = new Uint16Array(total * info.dIn);
  encodeFloat16((await collect(source, Infinity)).x, expected);
  assert.equal(type, 'List<List<Float16>>');
  assert.deepEqual(values, [...expected]);
});
