import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chooseFeatures, collectFirings, type Firing, type LatentFirings, segmentLabels } from '../../src/evaluation/index.ts';
import { RandomStream } from '../../src/random.ts';
import { assertClose } from '../support/numbers.ts';
import { inChunks, madeUpFrames, madeUpSae, sparseOf } from './made-up.ts';

const seed = 22;
const [dIn, dSae] = [4, 12];
const random = new RandomStream(seed, 100);
const frames = madeUpFrames(random, dIn, 150);
const made = madeUpSae(random, dIn, dSae);
// Rounded activations, so that there are ties.
const rounded = (x: Float32Array): Float32Array => made.dense(x).map((value) => Math.ceil(value * 8) / 8);
const sae = { ...made, run: async (x: Float32Array) => ({ recon: new Float32Array(x.length), acts: sparseOf(rounded(x), dSae) }) };
const dense = rounded(frames.x);

/** All firings of a latent, in order. */
function firingsOf(latent: number): Firing[] {
  return [...frames.clip.keys()].filter((row) => dense[row * dSae + latent] !== 0)
    .map((row) => ({ value: dense[row * dSae + latent], clip: frames.ids[frames.clip[row]], time: frames.time[row] }));
}

describe('the firings of latents', () => {
  test('have the strongest of each clip on top, the earlier of equals first', async () => {
    const result = await collectFirings(sae, inChunks(frames), { top: 5 });
    assert.deepEqual([result.frames, result.clips, result.latents.length], [frames.rows, 150, dSae]);
    for (const { latent, top, firings, clips, sum, max } of result.latents) {
      const all = firingsOf(latent);
      const perClip = new Map<string, Firing>();
      for (const firing of all) if (firing.value > (perClip.get(firing.clip)?.value ?? 0)) perClip.set(firing.clip, firing);
      const expected = [...perClip.values()].sort((a, b) => b.value - a.value || all.indexOf(a) - all.indexOf(b)).slice(0, 5);
      assert.deepEqual(top.map(({ value }) => value), expected.map(({ value }) => value), `latent ${latent}`);
      assert.equal(new Set(top.map(({ clip }) => clip)).size, top.length);
      assert.deepEqual(top, expected, `latent ${latent}`);
      assert.deepEqual([firings, clips, max], [all.length, perClip.size, Math.max(0, ...all.map(({ value }) => value))]);
      assertClose([sum], [all.reduce((total, { value }) => total + value, 0)]);
    }
  });

  test('do not depend on how the frames are cut into chunks, but on the seed', async () => {
    const whole = await collectFirings(sae, inChunks(frames, frames.rows), { seed: 4 });
    for (const chunkRows of [1, 61]) assert.deepEqual(await collectFirings(sae, inChunks(frames, chunkRows), { seed: 4 }), whole);
    assert.notDeepEqual((await collectFirings(sae, inChunks(frames), { seed: 5 })).latents[3].random, whole.latents[3].random);
  });

  test('are drawn uniformly: every firing as often as any other', async () => {
    // One latent that fires on every third of 60 frames.
    const few = { dIn: 1, rows: 60, x: new Float32Array(60), clip: new Uint32Array(60), time: Float32Array.from({ length: 60 }, (_, n) => n), ids: ['one'] };
    const values = Float32Array.from({ length: 60 }, (_, n) => (n % 3 === 1 ? 1 + n : 0));
    const one = { dIn: 1, dSae: 1, run: async (x: Float32Array) => ({ recon: x, acts: sparseOf(values, 1) }) };
    const trials = 400, size = 4;
    const hits = new Float64Array(60);
    for (let trial = 0; trial < trials; trial++) {
      const { latents: [{ random: sample }] } = await collectFirings(one, inChunks(few), { random: size, seed: trial });
      assert.equal(new Set(sample.map(({ time }) => time)).size, size);
      for (const { time, value } of sample) {
        assert.equal(value, 1 + time);
        hits[time]++;
      }
    }
    const expected = (trials * size) / 20;
    const firing = hits.filter((_, n) => n % 3 === 1);
    const chiSquared = firing.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    const freedom = 19;
    assert.ok(chiSquared < freedom + 4 * Math.sqrt(2 * freedom), `seed ${seed}: chi squared ${chiSquared} with ${freedom} degrees of freedom`);
  });

  test('are all kept when there are fewer than asked for', async () => {
    const { latents } = await collectFirings(sae, inChunks({ ...frames, rows: 5 }), { top: 50, random: 50 });
    for (const { latent, random: sample, firings } of latents) {
      assert.deepEqual(sample, firingsOf(latent).slice(0, firings));
    }
    assert.deepEqual([latents[0].firings, latents[0].max, latents[0].top], [0, 0, []]);
  });

  test('can be collected for some latents, in the order asked for', async () => {
    const all = await collectFirings(sae, inChunks(frames), { random: 0 });
    const some = await collectFirings(sae, inChunks(frames), { latents: [7, 2], random: 0 });
    assert.deepEqual(some.latents, [all.latents[7], all.latents[2]]);
    await assert.rejects(collectFirings(sae, inChunks(frames), { latents: [12] }), { code: 'config', message: /no latent 12/ });
    await assert.rejects(collectFirings(sae, inChunks(frames), { latents: [1, 1] }), { code: 'config', message: /twice/ });
  });
});

describe('labels', () => {
  const label = (clip: string, time: number): string | undefined => {
    const number = Number(clip.split(' ')[1]);
    return number % 10 === 9 ? undefined : ['a', 'b', 'c'][(number + Math.round(time * 50)) % 3];
  };

  test('give each latent its best label, with the counts behind precision and recall', async () => {
    const result = await collectFirings(sae, inChunks(frames), { label });
    const names = [...frames.clip.keys()].map((row) => label(frames.ids[frames.clip[row]], frames.time[row]));
    assert.deepEqual(result.labels, { frames: names.filter((name) => name !== undefined).length, labels: 3 });
    for (const { latent, label: best } of result.latents) {
      const fires = names.map((_, row) => dense[row * dSae + latent] !== 0);
      const fired = names.filter((name, row) => name !== undefined && fires[row]).length;
      const scores = ['a', 'b', 'c'].map((name) => {
        const hits = names.filter((other, row) => other === name && fires[row]).length;
        const support = names.filter((other) => other === name).length;
        const [precision, recall] = [hits / fired, hits / support];
        return { name, hits, support, precision, recall, f1: hits > 0 ? 2 / (1 / precision + 1 / recall) : 0 };
      });
      const expected = scores.reduce((a, b) => (b.f1 > a.f1 ? b : a));
      if (fired === 0) assert.equal(best, undefined);
      else {
        assert.deepEqual([best!.label, best!.hits, best!.fired, best!.support], [expected.name, expected.hits, fired, expected.support]);
        assertClose([best!.precision, best!.recall, best!.f1], [expected.precision, expected.recall, expected.f1]);
      }
    }
  });

  test('explain all of a latent that is one of them, and nothing of one that ignores them', async () => {
    const x = Float32Array.from({ length: 3000 }, (_, n) => n);
    const tier = (n: number): string => ['a', 'b', 'c', 'd'][Math.floor(n / 10) % 4];
    const marks = { dIn: 1, rows: 3000, x, clip: new Uint32Array(3000), time: x.map((n) => n / 50), ids: ['one'] };
    const fires = Float32Array.from({ length: 9000 }, (_, at) => {
      const n = Math.floor(at / 3);
      return [tier(n) === 'b' ? 2 : 0, n % 7 === 0 ? 1 : 0, n < 3 ? 1 : 0][at % 3];
    });
    const table = { dIn: 1, dSae: 3, run: async (frame: Float32Array) => ({ recon: frame, acts: sparseOf(fires.slice(frame[0] * 3, (frame.at(-1)! + 1) * 3), 3) }) };
    const { latents: [one, other, rare] } = await collectFirings(table, inChunks(marks), { label: (_, time) => tier(Math.round(time * 50)) });
    assert.ok(one.labelInformation! > 0.995 && one.labelInformation! <= 1, String(one.labelInformation));
    assert.deepEqual([one.label!.label, one.label!.f1], ['b', 1]);
    assert.ok(other.labelInformation! < 0.005, String(other.labelInformation));
    assert.ok(rare.labelInformation! < 0.15, 'three firings in a row are not knowledge');
  });

  test('come from segments by time', () => {
    const at = segmentLabels(new Map([['x', [{ start: 0, end: 0.5, label: 'pau' }, { start: 0.5, end: 0.6, label: 'aa' }, { start: 0.8, end: 1, label: 'n' }]]]));
    assert.deepEqual([0, 0.49, 0.5, 0.6, 0.7, 0.8, 1].map((time) => at('x', time)), ['pau', 'pau', 'aa', undefined, undefined, 'n', undefined]);
    assert.equal(at('y', 0), undefined);
  });

  test('are refused when they are no closed set', async () => {
    const many = collectFirings(sae, inChunks(frames), { label: (clip, time) => `${clip} ${time}` });
    await assert.rejects(many, { code: 'config', message: /more than 1000 different labels/ });
  });
});

describe('the choice of features', () => {
  const one = (latent: number, firings: number, clips: number, mean: number, label?: string, labelInformation?: number): LatentFirings => ({
    latent, firings, clips, sum: mean * firings, max: mean, top: [], random: [],
    ...(label ? { label: { label, precision: 1, recall: 1, f1: 1, hits: 1, fired: 1, support: 1 }, labelInformation } : {}),
  });
  const choose = (latents: LatentFirings[], options: Partial<Parameters<typeof chooseFeatures>[1]> = {}): number[] =>
    chooseFeatures({ frames: 10000, clips: 100, latents }, { count: 10, ...options }).map(({ latent }) => latent);

  test('leaves out what is too rare, too dense, silent or from too few clips, and takes the most active first', () => {
    const latents = [one(0, 9, 9, 5), one(1, 2001, 90, 5), one(2, 0, 0, 0), one(3, 100, 4, 5), one(4, 10, 5, 1), one(5, 2000, 90, 3), one(6, 500, 40, 2)];
    assert.deepEqual(choose(latents), [5, 6, 4]);
    assert.deepEqual(choose(latents, { count: 2 }), [5, 6]);
    assert.deepEqual(choose(latents, { maxDensity: 1, minClips: 1 }), [1, 3, 5, 6, 4]);
    assert.deepEqual(choose([]), []);
  });

  test('weighs labels as much as activation, and does not show one label over and over', () => {
    const latents = [
      one(0, 100, 50, 1, 'a', 0.9), one(1, 100, 50, 4, 'a', 0.6), one(2, 100, 50, 3, 'a', 0.5), one(3, 100, 50, 2, 'b', 0.1), one(4, 100, 50, 0.5, 'b', 0.05),
    ];
    // Ranks in activation 1 4 3 2 0, in information 4 3 2 1 0.
    assert.deepEqual(choose(latents), [1, 0, 3, 4]);
    assert.deepEqual(choose(latents, { perLabel: 3 }), [1, 0, 2, 3, 4]);
  });
});
