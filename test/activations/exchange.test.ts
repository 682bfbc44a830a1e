/** Frames exchanged as .safetensors and .npy files. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { ActivationStore, ActivationWriter, collect, exportFrames, type FrameSource, openFramesFolder, openTensorSource } from '../../src/activations/index.ts';
import { openClipTable } from '../../src/activations/clip-table.ts';
import type { CochleaError } from '../../src/errors.ts';
import { openNpy, openSafetensors, writeNpy, writeSafetensors } from '../../src/formats/index.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import { freshSeed, mutate } from '../support/mutate.ts';
import { python, withoutPython } from '../support/python.ts';
import { clipWithTarget, info, targetInfo } from './synthetic.ts';

const { files, paths: { join } } = runtime;
const clipCount = 17;
let folder = '';
let stores: Record<'f32' | 'f16', ActivationStore>;
before(async () => {
  folder = await files.temporaryFolder('cochlea-exchange-');
  const make = async (dtype: 'f32' | 'f16'): Promise<ActivationStore> => {
    const writer = await ActivationWriter.open(join(folder, `store-${dtype}`), info, { dtype, resume: false, shardBytes: 2000, target: targetInfo });
    for (let i = 0; i < clipCount; i++) await writer.addClip(clipWithTarget(i));
    await writer.finish();
    return ActivationStore.open(join(folder, `store-${dtype}`));
  };
  stores = { f32: await make('f32'), f16: await make('f16') };
});
after(() => files.remove(folder));

async function everything(source: FrameSource) {
  const { x, target, clip, time, clips } = await collect(source, Infinity);
  return { x, target, time, labels: [...clip].map((n) => clips[n]!) };
}

async function refused(work: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: CochleaError) => {
    assert.deepEqual([error.name, error.code], ['CochleaError', code], error.stack);
    assert.match(error.line, message);
    return true;
  });
}

describe('a store exported as tensor files', () => {
  for (const to of ['safetensors', 'npy'] as const) {
    for (const dtype of ['f32', 'f16'] as const) {
      test(`.${to} of ${dtype} comes back with the same bits, clips, moments and targets`, async () => {
        const store = stores[dtype];
        const rowBytes = info.dIn * (dtype === 'f16' ? 2 : 4);
        for (const [count, fileBytes] of [[1, undefined], [Math.ceil(store.rows / 40), 40 * rowBytes + 1]] as const) {
          const out = join(folder, `${to}-${dtype}-${count}`);
          const result = await exportFrames(store, out, { to, dtype, ...(fileBytes && { fileBytes }) });
          assert.deepEqual([result.frames, result.dropped, result.padding, result.files.length], [store.rows, 0, 0, 2 * count]);
          const last = `${String(count - 1).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.${to}`;
          assert.deepEqual(result.files.slice(-2), [`activations-${last}`, `targets-${last}`]);
          const back = await openFramesFolder(out, { target: true });
          assert.deepEqual([back.rows, back.dIn, back.targetInfo, back.info.hook, back.info.modelSha256], [store.rows, info.dIn, targetInfo, info.hook, info.modelSha256]);
          assert.deepEqual(await everything(back), await everything(store));
          assert.equal((await openFramesFolder(out)).dOut, undefined);
          const first = join(out, result.files[0]!);
          const file = to === 'npy' ? await openNpy(first) : await openSafetensors(first);
          const { shape, dtype: type } = 'tensors' in file ? file.tensors.get('x')! : file;
          await file.close();
          assert.deepEqual([shape, type], [[count === 1 ? store.rows : 40, info.dIn], dtype === 'f16' ? 'F16' : 'F32']);
        }
      });
    }

    test(`.${to} is read by Python's own means`, { skip: withoutPython('numpy') }, async () => {
      const out = join(folder, `python-${to}`);
      await exportFrames(stores.f16, out, { to, dtype: 'f16', fileBytes: 700 });
      const said = JSON.parse(python('read_frames.py', out));
      const { x, time } = await collect(stores.f16, Infinity);
      const clips = Array.from({ length: clipCount }, (_, i) => clipWithTarget(i)).filter(({ rows }) => rows > 0).map(({ id, rows }) => [id, rows]);
      assert.deepEqual(said, {
        hook: info.hook, dtype: 'f16', rows: stores.f16.rows, d_in: info.dIn, sha256_of_float32: createHash('sha256').update(new Uint8Array(x.buffer)).digest('hex'), clips, seconds: said.seconds,
      });
      assert.ok(Math.abs(said.seconds - time.reduce((sum, value) => sum + value, 0)) < 1e-4);
    });
  }

  test('a file that was cut, replaced or taken away, and tables that do not fit, are refused', async () => {
    const out = join(folder, 'spoiled');
    await exportFrames(stores.f32, out, { to: 'npy', dtype: 'f32' });
    const spoil = async (name: string, change: (text: string) => string, code: string, message: RegExp): Promise<void> => {
      const original = await files.readText(join(out, name));
      await files.write(join(out, name), change(original));
      await refused(openFramesFolder(out), code, message);
      await files.write(join(out, name), original);
    };
    await spoil('frames.json', (text) => text.replace('cochlea frames', 'other'), 'file-damaged', /frames\.json is not of format/);
    await spoil('frames.json', (text) => text.replace('"dIn": 6', '"dIn": 7'), 'file-damaged', /have d_in 6, its frames\.json says 7/);
    await spoil('frames.json', (text) => text.replace(/"frames": \d+/, '"frames": 3'), 'file-damaged', /rows, its frames\.json says 3/);
    await spoil('frames.json', (text) => text.replace('"activations-', '"../activations-'), 'file-damaged', /has fields that cannot be/);
    await spoil('frames.json', (text) => text.slice(0, -9), 'file-damaged', /frames\.json is not JSON/);
    await spoil('clips.jsonl', (text) => text.slice(0, -1), 'file-damaged', /the last line of .*clips\.jsonl has no end/);
    await spoil('clips.jsonl', (text) => text.replace('"first_row":0', '"first_row":5'), 'file-damaged', /to clip "clip-1": others have them/);
    await spoil('clips.jsonl', (text) => text.replace(/"rows":\d+\}\n$/, '"rows":9999}\n'), 'file-damaged', /to clip "clip-15": there are \d+$/);
    await spoil('clips.jsonl', (text) => text.replace('"id":"clip-3"', '"id":3'), 'file-damaged', /has a line that describes no clip/);
    await spoil('clips.jsonl', (text) => text.replace(/[^\n]*\n$/, ''), 'file-damaged', /clips\.jsonl gives \d+ rows to clips, .* has \d+ frames by its frames\.json: copy/);
    await spoil('clips.jsonl', () => '', 'file-damaged', /gives 0 rows to clips/);
    const table = await files.read(join(out, 'clips.jsonl'));
    await files.remove(join(out, 'clips.jsonl'));
    await refused(openFramesFolder(out), 'file-missing', /has a frames\.json and no clips\.jsonl/);
    await files.write(join(out, 'clips.jsonl'), table);
    const source = await openFramesFolder(out);
    await writeNpy(join(out, 'activations-00000-of-00001.npy'), [2, 6], new Float32Array(12));
    await refused(collect(source, Infinity), 'file-damaged', /was changed while it was read/);
    await refused(openFramesFolder(out), 'file-damaged', /have 2 rows, its frames\.json says/);
    await files.remove(join(out, 'activations-00000-of-00001.npy'));
    await refused(openFramesFolder(out), 'file-missing', /activations-00000-of-00001\.npy/);
  });

  test('of hostile tables one line is said each', async () => {
    const random = new RandomStream(freshSeed('clip tables'), 3);
    const out = join(folder, 'tables');
    await exportFrames(stores.f32, out, { to: 'npy', dtype: 'f32' });
    for (const name of ['clips.jsonl', 'frames.json']) {
      const original = await files.read(join(out, name));
      for (let i = 0; i < 60; i++) {
        await files.write(join(out, name), mutate(original, random));
        await openFramesFolder(out).then((source) => collect(source, Infinity)).catch((error: CochleaError) => {
          assert.ok(['file-damaged', 'file-missing', 'usage'].includes(error.code) && !error.line.includes('\n'), error.stack);
        });
      }
      await files.write(join(out, name), original);
    }
  });

  test('a table is read with the piece it belongs to', async () => {
    const path = join(folder, 'clips.jsonl');
    const span = (id: string, first_row: number, rows: number): string => `${JSON.stringify({ id, path: '', labels: {}, first_frame: 0, first_row, rows })}\n`;
    await files.write(path, [span('a', 0, 3), span('none', 3, 0), span('b', 5, 14), span('c', 19, 1), span('d', 25, 2)].join(''));
    const table = await openClipTable(path, 40, 10);
    assert.equal(table.rows, 20);
    const ids = await Promise.all([0, 1, 2, 3].map(async (piece) => (await table.spans(piece)).filter(({ rows }) => rows > 0).map(({ id }) => id).join('')));
    assert.deepEqual(ids, ['ab', 'bc', 'd', '']);
  });
});

describe('tensor files of others', () => {
  test('tensors `clip` and `time` say whose the rows are, metadata where they are from', async () => {
    const path = join(folder, 'labelled.safetensors');
    const int64 = (values: number[]): Uint8Array => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    const x = Float32Array.from({ length: 10 }, (_, i) => i);
    const labelled = (rows: number, metadata?: Record<string, string>): Promise<void> => writeSafetensors(path, [
      { name: 'x', dtype: 'F32', shape: [5, 2], data: x },
      { name: 'clip', dtype: 'I64', shape: [rows], data: int64([7, 7, 2, 2, 7].slice(0, rows)) }, { name: 'time', dtype: 'F32', shape: [rows], data: Float32Array.of(0, 0.5, 0, 0.5, 2).slice(0, rows) },
    ], metadata);
    await labelled(5, { frame_rate: '2', model: 'm', hook: 'layers.1' });
    const source = await openTensorSource(path);
    const { time, labels } = await everything(source);
    assert.deepEqual([source.info.model, source.info.hook, source.info.frameRate], ['m', 'layers.1', 2]);
    assert.deepEqual([...time], [0, 0.5, 0, 0.5, 2]);
    assert.deepEqual(labels.map(({ id }) => id), [7, 7, 2, 2, 7].map((n) => `labelled.safetensors ${n}`));
    // Out again: the gap in clip 7 stays one.
    const { clips } = await exportFrames(source, join(folder, 'labelled'), { to: 'npy', dtype: 'f32' });
    assert.equal(clips, 3);
    const back = await everything(await openFramesFolder(join(folder, 'labelled')));
    assert.deepEqual([back.x, [...back.time], back.labels.map(({ id }) => id)], [x, [...time], labels.map(({ id }) => id)]);
    await source.close();
    await labelled(4, { frame_rate: '2' });
    await refused(openTensorSource(path), 'file-damaged', /tensor "clip" of .* has shape \[4\], not one number for each of its 5 frames/);
    await labelled(5);
    await refused(openTensorSource(path), 'file-damaged', /has times, but not the frame rate: save it with metadata=/);
    await labelled(5, { frame_rate: 'fast' });
    await refused(openTensorSource(path), 'file-damaged', /give the frame rate "fast"/);
  });

  test('what Python wrote is what is read', { skip: withoutPython('numpy') }, async () => {
    const path = join(folder, 'written.safetensors');
    python('write_frames.py', path);
    const source = await openTensorSource(path);
    const { x, time, labels } = await everything(source);
    await source.close();
    // As the script says: three recordings of 5, 1 and 7 frames, frame r of recording n is 100 n + r + (0 ... 3) / 4.
    const rows = [5, 1, 7].flatMap((count, n) => Array.from({ length: count }, (_, r) => ({ n, r })));
    assert.deepEqual([source.info.hook, source.info.frameRate, source.rows, source.dIn], ['example', 50, 13, 4]);
    assert.deepEqual([...x], rows.flatMap(({ n, r }) => [0, 1, 2, 3].map((d) => 100 * n + r + d / 4)));
    assert.deepEqual([...time], rows.map(({ r }) => Math.fround(r / 50)));
    assert.deepEqual(labels.map(({ id }) => id), rows.map(({ n }) => `written.safetensors ${n}`));
  });

  test('a folder of them is one stream, in the order of names', async () => {
    const matrix = (first: number): Float32Array => Float32Array.from({ length: 6 }, (_, i) => first + i);
    for (const [n, name] of ['b', 'a', 'c'].entries()) {
      await writeNpy(join(folder, 'npys', `${name}.npy`), [3, 2], matrix(10 * n));
      await writeSafetensors(join(folder, 'tensors', `${name}.safetensors`), [
        { name: 'x', dtype: 'F16', shape: [3, 2], data: matrix(10 * n) }, { name: 'y', dtype: 'F32', shape: [3, 1], data: matrix(50 * n).slice(0, 3) },
      ]);
    }
    const expected = [...matrix(10), ...matrix(0), ...matrix(20)];
    const source = await openFramesFolder(join(folder, 'npys'));
    assert.deepEqual([source.rows, [...(await collect(source, Infinity)).x]], [9, expected]);
    const both = await collect(await openFramesFolder(join(folder, 'tensors'), { target: true }), Infinity);
    assert.deepEqual([[...both.x], [...both.target!]], [expected, [50, 51, 52, 0, 1, 2, 100, 101, 102]]);
    await refused(openFramesFolder(join(folder, 'npys'), { target: true }), 'config', /have no targets/);
    await writeNpy(join(folder, 'npys', 'd.npy'), [2, 3], matrix(0));
    await refused(openFramesFolder(join(folder, 'npys')), 'file-damaged', /d\.npy has rows of 3 numbers, others of .* have 2/);
    await writeNpy(join(folder, 'tensors', 'd.npy'), [2, 3], matrix(0));
    await refused(openFramesFolder(join(folder, 'tensors')), 'usage', /has \.safetensors and \.npy files: name a folder with one kind/);
    await files.makeFolder(join(folder, 'nothing'));
    await refused(openFramesFolder(join(folder, 'nothing')), 'file-missing', /neither manifest\.json \(a store\), state\.json \(a dataset\) nor/);
  });

  test('files of a folder that contradict each other are refused: nobody\'s times would be right', async () => {
    const place = join(folder, 'unlike');
    const write = (name: string, metadata?: Record<string, string>, labelled = false): Promise<void> => writeSafetensors(join(place, name), [
      { name: 'x', dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
      ...(labelled ? ['clip', 'time'].map((column) => ({ name: column, dtype: 'F32' as const, shape: [2], data: Float32Array.of(0, 1) })) : []),
    ], metadata);
    await write('a.safetensors', { hook: '' });
    await write('b.safetensors', { frame_rate: '50', model: 'm', hook: 'layers.1' });
    await write('c.safetensors', { frame_rate: '50', hook: '' });
    const { info: { model, hook, frameRate } } = await openFramesFolder(place);
    assert.deepEqual([model, hook, frameRate], ['m', 'layers.1', 50]);
    const cases: [Record<string, string>, RegExp][] = [
      [{ frame_rate: '25' }, /b\.safetensors has the frame rate 50, .*c\.safetensors 25: a folder is one stream/],
      [{ model: 'other' }, /b\.safetensors has the model "m", .*c\.safetensors "other"/], [{ hook: 'layers.2' }, /has the hook "layers\.1", .*"layers\.2"/],
    ];
    for (const [metadata, message] of cases) {
      await write('c.safetensors', metadata);
      await refused(openFramesFolder(place), 'file-damaged', message);
    }
    await write('c.safetensors', { frame_rate: '50' }, true);
    await refused(openFramesFolder(place), 'file-damaged', /c\.safetensors says by `clip` and `time` whose its rows are, .*a\.safetensors does not/);
  });
});
