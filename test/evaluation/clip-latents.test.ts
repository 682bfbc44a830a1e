import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { activationOf, clipLatents, type LatentOrder } from '../../src/evaluation/index.ts';
import { RandomStream } from '../../src/random.ts';
import { assertClose } from '../support/numbers.ts';
import { sparseOf } from './made-up.ts';

const frameRate = 50;

describe('the latents of a clip', () => {
  // Latents over 8 frames: two runs, the second stronger; one on every frame; none; with signs; once, on the last frame.
  const rows = [
    [1, 2, 0, 0, 0, 3, 5, 0],
    [2, 2, 2, 2, 2, 2, 2, 2],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 1, -6, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 5],
  ];
  const acts = sparseOf(Float32Array.from({ length: 8 * rows.length }, (_, at) => rows[at % rows.length]![Math.floor(at / rows.length)]!), rows.length);
  const ordered = (by: LatentOrder, top = 10): number[] => clipLatents(acts, { dSae: rows.length, frameRate }, { by, top }).map(({ latent }) => latent);

  test('say how often, how strongly and when each fires', () => {
    assert.deepEqual(clipLatents(acts, { dSae: rows.length, frameRate }, { latents: [3, 2, 0] }), [
      { latent: 3, firings: 2, share: 0.25, mean: 7 / 8, peak: -6, peakTime: 2 / 50, runs: [{ from: 1 / 50, to: 3 / 50, peak: -6 }] },
      { latent: 2, firings: 0, share: 0, mean: 0, peak: undefined, peakTime: undefined, runs: [] },
      { latent: 0, firings: 4, share: 0.5, mean: 11 / 8, peak: 5, peakTime: 6 / 50, runs: [{ from: 0, to: 2 / 50, peak: 2 }, { from: 5 / 50, to: 7 / 50, peak: 5 }] },
    ]);
    const [last] = clipLatents(acts, { dSae: rows.length, frameRate }, { latents: [4] });
    assert.deepEqual(last!.runs, [{ from: 7 / 50, to: 8 / 50, peak: 5 }]);
  });

  test('come by peak, mean or count, of equals the smaller index first, and only those that fire', () => {
    assert.deepEqual(ordered('peak'), [3, 0, 4, 1]);
    assert.deepEqual(ordered('mean'), [1, 0, 3, 4]);
    assert.deepEqual(ordered('count'), [1, 0, 3, 4]);
    assert.deepEqual(ordered('count', 2), [1, 0]);
  });

  test('are refused when the SAE does not have them, or when they are named twice', () => {
    const named = (...latents: number[]) => () => clipLatents(acts, { dSae: 5, frameRate }, { latents });
    assert.throws(named(1, 5), { code: 'config', message: 'there is no latent 5' });
    assert.throws(named(-1), { code: 'config' });
    assert.throws(named(2, 1, 2), { code: 'config', message: 'latent 2 is named twice' });
  });

  test('agree with their dense activations, whatever these are', () => {
    const random = new RandomStream(31, 100), [frames, dSae] = [200, 30];
    const dense = Float32Array.from({ length: frames * dSae }, () => (random.uniform() < 0.3 ? Math.fround(random.normal()) : 0));
    const sparse = sparseOf(dense, dSae);
    for (const { latent, firings, mean, peak, peakTime, runs } of clipLatents(sparse, { dSae, frameRate }, { by: 'peak', top: dSae })) {
      const own = Array.from({ length: frames }, (_, row) => dense[row * dSae + latent]!);
      assert.deepEqual([...activationOf(latent, sparse)], own);
      assert.equal(firings, own.filter((value) => value !== 0).length);
      assertClose([mean], [own.reduce((sum, value) => sum + Math.abs(value), 0) / frames]);
      const size = Math.max(...own.map(Math.abs));
      assert.deepEqual([Math.abs(peak!), Math.round(peakTime! * frameRate)], [size, own.findIndex((value) => Math.abs(value) === size)]);
      // The runs cover what fires and nothing else, do not touch, and each has its own peak.
      const covered = new Set<number>();
      for (const { from, to, peak: highest } of runs) {
        const [first, end] = [Math.round(from * frameRate), Math.round(to * frameRate)];
        assert.ok(!covered.has(first - 1) && own[end] !== undefined === (end < frames));
        for (let frame = first; frame < end; frame++) covered.add(frame);
        assert.equal(Math.abs(highest), Math.max(...own.slice(first, end).map(Math.abs)));
      }
      assert.deepEqual([...covered], own.flatMap((value, frame) => (value !== 0 ? [frame] : [])));
    }
  });
});
