/** Stores of two hook points: what they have beyond those of one, which store.test.ts is about. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ActivationStore, ActivationWriter, collect, StatisticsAccumulator } from '../../src/activations/index.ts';
import type { ClipToStore, StoreDType, TargetInfo } from '../../src/activations/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { fails } from '../support/fails.ts';
import { clip, clipWithTarget, info, targetInfo } from './synthetic.ts';

const { join } = runtime.paths;
let top = '';
let count = 0;
before(async () => {
  top = await runtime.files.temporaryFolder('cochlea-targets-');
});
after(() => runtime.files.remove(top));
const freshFolder = (): string => join(top, String(count++));

const open = (folder: string, resume: boolean, target?: TargetInfo, dtype: StoreDType = 'f16'): Promise<ActivationWriter> =>
  ActivationWriter.open(folder, info, { dtype, resume, shardBytes: 25 * 20, ...(target && { target }) });

async function write(clips: ClipToStore[], target?: TargetInfo, dtype?: StoreDType): Promise<string> {
  const folder = freshFolder();
  const writer = await open(folder, false, target, dtype);
  for (const one of clips) await writer.addClip(one);
  await writer.finish();
  return folder;
}

const range = (n: number, make: (i: number) => ClipToStore): ClipToStore[] => Array.from({ length: n }, (_, i) => make(i));

describe('a store of two hook points', () => {
  for (const dtype of ['f16', 'f32'] as const) {
    test(`gives each row with its target, and has the statistics of both (${dtype})`, async () => {
      const clips = range(30, clipWithTarget);
      const folder = await write(clips, targetInfo, dtype);
      const alone = await ActivationStore.open(await write(range(30, clip), undefined, dtype));
      const store = await ActivationStore.open(folder);
      assert.deepEqual([store.dOut, store.targetInfo, alone.dOut, alone.targetInfo, alone.targetStatistics], [4, targetInfo, undefined, undefined, undefined]);
      let chunks = 0;
      for await (const chunk of store.chunks({ seed: 1, epoch: 3, from: 0 })) {
        chunks++;
        assert.equal(chunk.target!.length, chunk.rows * 4);
        for (let row = 0; row < chunk.rows; row++) {
          const { id } = chunk.clips[chunk.clip[row]!]!;
          const made = clips.find((one) => one.id === id)!, inClip = Math.round(chunk.time[row]! * info.frameRate);
          assert.deepEqual(chunk.target!.subarray(row * 4, row * 4 + 4), made.target!.subarray(inClip * 4, inClip * 4 + 4));
        }
      }
      assert.ok(chunks > 3);
      const all = await collect(store, Infinity);
      assert.deepEqual(all.x, (await collect(alone, Infinity)).x);
      assert.deepEqual(all.target, Float32Array.from(clips.flatMap(({ target }) => [...target!])));
      const accumulator = new StatisticsAccumulator(4);
      accumulator.add(all.target!, all.rows);
      const [found, expected] = [await store.targetStatistics!(), accumulator.result()];
      for (const key of ['rows', 'meanNorm', 'meanSquaredNorm', 'gamma'] as const) assert.ok(Math.abs(found[key] / expected[key] - 1) < 1e-12, key);
      found.mean.forEach((value, d) => assert.ok(Math.abs(value - expected.mean[d]!) < 1e-12));
      found.variance.forEach((value, d) => assert.ok(Math.abs(value - expected.variance[d]!) < 1e-9));
      assert.equal((await store.statistics()).mean.length, 6);
      const manifest = JSON.parse(await runtime.files.readText(join(folder, 'manifest.json')));
      assert.deepEqual([manifest.targetInfo, manifest.targetStatistics.mean.length], [targetInfo, 4]);
    });
  }

  test('refuses targets that do not belong to the frames, and one of one hook point refuses any', async () => {
    const writer = await open(freshFolder(), false, targetInfo);
    await assert.rejects(writer.addClip(clip(1)), fails('config', /the target of clip "clip-1" has 0 numbers, not 8 rows of 4/));
    const made = clipWithTarget(1);
    await assert.rejects(writer.addClip({ ...made, target: made.target!.subarray(4) }), fails('config', /has 28 numbers, not 8 rows of 4/));
    const spoilt = (value: number): ClipToStore => ({ ...made, target: made.target!.map((x, i) => (i === 5 * 4 ? value : x)) });
    await assert.rejects(writer.addClip(spoilt(NaN)), fails('not-finite', /the target activations hold NaN or infinity at 0\.10 s of clip "clip-1"/));
    await assert.rejects(writer.addClip(spoilt(-1e5)), fails('not-finite', /target activation -1\.000e\+5 at 0\.10 s .* does not fit float16: store as f32/));
    await writer.addClip(made);
    assert.equal((await writer.finish()).rows, 8);
    const one = await open(freshFolder(), false);
    await assert.rejects(one.addClip(made), fails('config', /clip "clip-1" has a target, but .* keeps none/));
  });

  test('is gone on with only under the same hook points', async () => {
    const [one, two] = [freshFolder(), freshFolder()];
    await open(one, false);
    await open(two, false, targetInfo);
    await assert.rejects(open(one, true, targetInfo), fails('config', /it has no target hook, not target hook "encoder\.layers\.3" with dOut 4: use the same settings/));
    await assert.rejects(open(two, true), fails('config', /target hook "encoder\.layers\.3" with dOut 4, not no target hook/));
    await assert.rejects(open(two, true, { ...targetInfo, hook: 'other' }), fails('config', /target hook "encoder\.layers\.3" with dOut 4, not target hook "other"/));
    await open(two, true, targetInfo);
  });

  test('whose parts do not fit each other is refused', async () => {
    const edited = async (from: string | RegExp, to: string): Promise<() => Promise<unknown>> => {
      const folder = await write(range(12, clipWithTarget), targetInfo);
      const path = join(folder, 'manifest.json'), text = await runtime.files.readText(path);
      assert.notEqual(text.replace(from, to), text);
      await runtime.files.write(path, text.replace(from, to));
      return async () => collect(await ActivationStore.open(folder), Infinity);
    };
    await assert.rejects(await edited('"dOut": 4', '"dOut": 5'), fails('file-damaged', /statistics that cannot be/));
    await assert.rejects(await edited('"dOut": 4', '"dOut": 0'), fails('file-damaged', /fields that cannot be/));
    await assert.rejects(await edited(/"targetInfo": \{[^}]*\}/, '"targetInfo": null'), fails('file-damaged', /fields that cannot be/));
    await assert.rejects(await edited(/"targetInfo": \{[^}]*\},/, ''), fails('file-damaged', /shard-000000\.msgpack holds 25 rows of 6 and 4 in f16, which is not/));
  });

  test('killed and with another manifest is not continued', async () => {
    const [one, two] = [freshFolder(), freshFolder()];
    for (const [folder, make, target] of [[one, clip, undefined], [two, clipWithTarget, targetInfo]] as const) {
      const writer = await open(folder, false, target);
      for (const i of [4, 10]) await writer.addClip(make(i)); // 60 rows: a shard is written
    }
    await runtime.files.write(join(one, 'manifest.json'), await runtime.files.read(join(two, 'manifest.json')));
    await assert.rejects(open(one, true, targetInfo), fails('file-damaged', /shard-000000\.msgpack does not hold the streams that .*manifest\.json says/));
  });
});
