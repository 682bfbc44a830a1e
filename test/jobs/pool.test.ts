/** One row for several frames: the mean over windows of each clip. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ActivationStore, collect, meanPooled } from '../../src/activations/index.ts';
import { openAudio } from '../../src/jobs/recordings/audio.ts';
import { extractActivations } from '../../src/jobs/extract.ts';
import { makeRecordings, tinyHook, tinyWidth } from '../support/recordings.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-pool-'));
after(() => rmSync(folder, { recursive: true }));

describe('meanPooled', () => {
  const rows = (count: number): Float32Array => Float32Array.from({ length: count * 2 }, (_, i) => (i % 2 === 0 ? i / 2 : 100));

  test('gives the mean of each window, and of a rest of at least half a window', () => {
    assert.deepEqual([...meanPooled(rows(8), 2, 4)], [1.5, 100, 5.5, 100]);
    assert.deepEqual([...meanPooled(rows(10), 2, 4)], [1.5, 100, 5.5, 100, 8.5, 100]);
    assert.deepEqual([...meanPooled(rows(9), 2, 4)], [1.5, 100, 5.5, 100]);
  });

  test('gives one row for a clip shorter than half a window, none for one without frames, and the frames themselves for windows of one', () => {
    assert.deepEqual([...meanPooled(rows(1), 2, 4)], [0, 100]);
    assert.deepEqual([...meanPooled(rows(0), 2, 4)], []);
    const frames = rows(3);
    assert.equal(meanPooled(frames, 2, 1), frames);
  });
});

describe('recordings with poolSeconds', () => {
  const { model, manifest } = makeRecordings(folder, 6);
  const options = { model, hook: tinyHook, audio: [manifest] };
  const window = 40, poolSeconds = window / 8000;

  test('are stored as means of their frames, at the rate and the times of the windows', async () => {
    await extractActivations({ ...options, out: join(folder, 'frames') });
    await extractActivations({ ...options, out: join(folder, 'pooled'), poolSeconds });
    const [frames, pooled] = await Promise.all(['frames', 'pooled'].map((name) => ActivationStore.open(join(folder, name))));
    assert.equal(pooled!.info.frameRate, 8000 / window);
    const [all, means] = [await collect(frames!, 1 << 20), await collect(pooled!, 1 << 20)];
    let row = 0;
    for (let clip = 0; clip < 6; clip++) {
      const first = all.clip.indexOf(clip), last = all.clip.lastIndexOf(clip);
      const expected = meanPooled(all.x.slice(first * tinyWidth, (last + 1) * tinyWidth), tinyWidth, window);
      const count = expected.length / tinyWidth;
      assert.ok(count > 1);
      assert.deepEqual(means.x.slice(row * tinyWidth, (row + count) * tinyWidth), expected);
      assert.deepEqual([means.clip[row], means.time[row], means.time[row + 1]], [clip, 0, Math.fround(poolSeconds)]);
      row += count;
    }
    assert.equal(row, means.rows);
  });

  test('are pooled alike when they are trained on as they are encoded', async () => {
    const audio = await openAudio({ ...options, poolSeconds });
    const stored = await ActivationStore.open(join(folder, 'pooled'));
    const [live, kept] = [await collect(audio.source(), 1 << 20), await collect(stored, 1 << 20)];
    assert.deepEqual([live.rows, live.x, live.time], [kept.rows, kept.x, kept.time]);
    await audio.close();
  });
});
