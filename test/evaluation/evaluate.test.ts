import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { collectFirings, evaluate, type Evaluation, latentMetrics, meanReconstruction, metricDefinitions, type SaeLike, type SaeMetric, saeMetrics } from '../../src/evaluation/index.ts';
import { batchRows } from '../../src/evaluation/batches.ts';
import { RandomStream } from '../../src/random.ts';
import * as oracle from '../oracle/metrics.ts';
import { columnSums } from '../oracle/matrix.ts';
import { assertClose } from '../support/numbers.ts';
import { type Frames, inChunks, madeUpFrames, madeUpSae, sparseOf, tableSae } from './made-up.ts';

const value = (evaluation: Evaluation, name: SaeMetric): number => {
  const metric = evaluation.metrics[name];
  assert.ok(metric.value !== null, `${name} is null`);
  return metric.value;
};

function framesOf(rows: number[][], clips: number[] = rows.map(() => 0)): Frames {
  return {
    dIn: rows[0].length, rows: rows.length, x: Float32Array.from(rows.flat()), clip: Uint32Array.from(clips),
    time: Float32Array.from(rows, (_, n) => n / 50), ids: [...new Set(clips)].map((n) => `clip ${n}`),
  };
}

const seed = 20;

describe('an evaluation', () => {
  // The worked example of the reference notes: residuals 1 and 1, total variance 5, power 20.
  test('has the metrics that are computed by hand for two frames', async () => {
    const x = [[2, 0], [0, 4]], xHat = [[2, 1], [0, 3]];
    const result = await evaluate(tableSae(x, xHat, [[1, 0, 0.5], [0, 0, 2]]), inChunks(framesOf(x)));
    const mean = (a: number, b: number): number => (a + b) / 2;
    const expected: Record<SaeMetric, number> = {
      explained_variance: 0.8, explained_variance_legacy: mean(1 - 1 / 5, 1 - 1 / 5), mse: 1, nmse: 0.1,
      cossim: mean(2 / Math.sqrt(5), 1), l2_norm_in: mean(2, 4), l2_norm_out: mean(Math.sqrt(5), 3),
      l2_ratio: mean(Math.sqrt(5) / 2, 3 / 4), relative_reconstruction_bias: 14 / 16,
      l0: 1.5, l1: 1.75, dead_latents: 1, frac_alive: 2 / 3, freq_over_1_percent: 2 / 3, freq_over_10_percent: 2 / 3,
    };
    for (const [name, number] of Object.entries(expected)) assertClose([value(result, name as SaeMetric)], [number]);
    assertClose([expected.cossim, expected.l2_ratio, expected.relative_reconstruction_bias], [0.94721, 0.93402, 0.875], 1e-5);
    assert.deepEqual(result.latents, {
      feature_density: [0.5, 0, 1], clip_density: [1, 0, 1], mean_activation: [1, 0, 1.25], max_activation: [1, 0, 2],
    });
    assert.deepEqual([result.frames, result.clips, result.dIn, result.dSae], [2, 1, 2, 3]);
  });

  test('does not count a latent that is listed with an activation of zero', async () => {
    const acts = { rows: 2, offsets: Uint32Array.from([0, 2, 3]), indices: Uint32Array.from([0, 1, 1]), values: Float32Array.from([0, 3, 0]) };
    const sae = { dIn: 1, dSae: 2, run: async (x: Float32Array) => ({ recon: x, acts }) };
    const result = await evaluate(sae, inChunks(framesOf([[1], [2]])));
    assert.deepEqual([value(result, 'l0'), value(result, 'dead_latents'), result.latents.feature_density, result.latents.mean_activation], [0.5, 1, [0, 0.5], [0, 3]]);
    const { latents } = await collectFirings(sae, inChunks(framesOf([[1], [2]])));
    assert.deepEqual(latents.map(({ firings, top, random }) => [firings, top.length, random.length]), [[0, 0, 0], [1, 1, 1]]);
  });

  test('gives a sequential SAE one clip at a time, in order, however the chunks are cut', async () => {
    const calls: number[][] = [];
    const run = async (x: Float32Array) => {
      calls.push([...x]);
      return { recon: x, acts: sparseOf(x, 1) };
    };
    const x = [1, 2, 3, 4, 5, 6, 7], clips = [0, 0, 0, 1, 2, 2, 2];
    const result = await evaluate({ dIn: 1, dSae: 1, isSequential: true, run }, inChunks(framesOf(x.map((value) => [value]), clips), 2));
    assert.deepEqual(calls, [[1, 2, 3], [4], [5, 6, 7]]);
    assert.deepEqual([result.frames, result.clips], [7, 3]);
  });

  test('agrees with the reference on random frames far from the origin', async () => {
    const random = new RandomStream(seed, 100);
    const [dIn, dSae] = [24, 40];
    const frames = madeUpFrames(random, dIn, 40);
    assert.ok(frames.rows < batchRows, 'the legacy metric is that of the reference for one batch only');
    const sae = madeUpSae(random, dIn, dSae);
    const result = await evaluate(sae, inChunks(frames));
    const x = Float64Array.from(frames.x), xHat = Float64Array.from(sae.recon(frames.x)), f = Float64Array.from(sae.dense(frames.x));
    const expected: Partial<Record<SaeMetric, number>> = {
      explained_variance: oracle.explainedVariance(x, xHat, dIn), explained_variance_legacy: oracle.explainedVarianceLegacy(x, xHat, dIn),
      mse: oracle.meanSquaredError(x, xHat, dIn), nmse: oracle.normalizedMeanSquaredError(x, xHat, dIn), cossim: oracle.meanCosine(x, xHat, dIn),
      l2_ratio: oracle.meanL2Ratio(x, xHat, dIn), relative_reconstruction_bias: oracle.relativeReconstructionBias(x, xHat, dIn),
      l0: oracle.meanL0(f, dSae), dead_latents: oracle.deadCount(f, dSae), l1: f.reduce((sum, z) => sum + z, 0) / frames.rows,
    };
    for (const [name, number] of Object.entries(expected)) assertClose([value(result, name as SaeMetric)], [number]);
    const { latents } = result;
    const density = oracle.density(f, dSae);
    assertClose(latents.feature_density, density);
    assertClose(latents.mean_activation, columnSums(f, frames.rows, dSae).map((sum, i) => (density[i] > 0 ? sum / (density[i] * frames.rows) : 0)));
    for (let i = 0; i < dSae; i++) {
      const fires = [...frames.clip.keys()].filter((row) => f[row * dSae + i] !== 0);
      assert.equal(latents.clip_density[i], new Set(fires.map((row) => frames.clip[row])).size / 40);
      assert.equal(latents.max_activation[i], fires.reduce((max, row) => Math.max(max, f[row * dSae + i]), 0));
    }
    assert.equal(value(result, 'freq_over_10_percent'), density.filter((share) => share > 0.1).length / dSae);
    assert.equal(value(result, 'frac_alive'), 1 - value(result, 'dead_latents') / dSae);
  });

  test('is the same to the last bit however the frames are cut into chunks', async () => {
    const random = new RandomStream(seed, 101);
    const frames = madeUpFrames(random, 6, 200);
    assert.ok(frames.rows > batchRows, 'there is only one batch');
    const sae = madeUpSae(random, 6, 9);
    const whole = await evaluate(sae, inChunks(frames, frames.rows));
    for (const chunkRows of [1, 37, 4096]) assert.deepEqual(await evaluate(sae, inChunks(frames, chunkRows)), whole);
  });

  test('keeps its precision where the mean is a million times the spread', async () => {
    const random = new RandomStream(seed, 102);
    const frames = madeUpFrames(random, 4, 300);
    const far = { ...frames, x: frames.x.map((number) => 2 ** 20 + Math.round(number * 8) / 8) };
    const recon = far.x.map((number, n) => number + (n % 2 === 0 ? 0.25 : -0.25));
    let at = 0;
    const sae = { ...meanReconstruction(new Float32Array(4)), run: async (x: Float32Array) => {
      const part = recon.slice(at, at += x.length);
      return { recon: part, acts: { rows: x.length / 4, offsets: new Uint32Array(x.length / 4 + 1), indices: new Uint32Array(0), values: new Float32Array(0) } };
    } };
    const near = Float64Array.from(far.x, (number) => number - 2 ** 20), nearRecon = Float64Array.from(recon, (number) => number - 2 ** 20);
    assertClose([value(await evaluate(sae, inChunks(far)), 'explained_variance')], [oracle.explainedVariance(near, nearRecon, 4)], 1e-9);
  });

  test('gives the mean of the frames an explained variance of 0 and no latents', async () => {
    const frames = madeUpFrames(new RandomStream(seed, 103), 5, 30);
    const mean = columnSums(Float64Array.from(frames.x), frames.rows, 5).map((sum) => sum / frames.rows);
    const result = await evaluate(meanReconstruction(mean), inChunks(frames));
    assertClose([value(result, 'explained_variance'), value(result, 'l0')], [0, 0]);
    assert.deepEqual(result.metrics.frac_alive, { value: null, reason: 'this reconstruction has no latents' });
    assert.deepEqual(result.densityHistogram.counts.filter((count) => count > 0), []);
  });

  test('says why a number is missing instead of NaN', async () => {
    const x = [0, 1, 2].map(() => [0.1, 0.2].map(Math.fround));
    const result = await evaluate(tableSae(x, x, [[1], [1], [1]]), inChunks(framesOf(x, [0, 1, 2])));
    assert.match((result.metrics.explained_variance as { reason: string }).reason, /all frames are equal/);
    assert.match((result.metrics.explained_variance_legacy as { reason: string }).reason, /equals the mean/);
    assert.match((result.intervals.l0 as { reason: string }).reason, /at least 5 clips, not 3/);
    const zeros = await evaluate(meanReconstruction([0, 0]), inChunks(framesOf([[0, 0], [0, 0]])));
    assert.match((zeros.metrics.nmse as { reason: string }).reason, /all frames are zero/);
    assert.match((zeros.metrics.relative_reconstruction_bias as { reason: string }).reason, /orthogonal/);
    assert.doesNotMatch(JSON.stringify([result, zeros]), /NaN|Infinity/);
    for (const { metrics } of [result, zeros]) {
      for (const metric of Object.values(metrics)) assert.ok(metric.value === null ? metric.reason : Number.isFinite(metric.value));
    }
  });

  test('refuses what cannot be evaluated, and says where it is', async () => {
    const frames = framesOf([[1, 2], [3, NaN]], [0, 1]);
    const mean = meanReconstruction([0, 0]);
    await assert.rejects(evaluate(mean, inChunks(frames)), { code: 'not-finite', message: /0\.020 s of clip "clip 1"/ });
    await assert.rejects(evaluate(mean, inChunks({ ...frames, rows: 0 })), { code: 'config', message: /no frames/ });
    await assert.rejects(evaluate(meanReconstruction([0, 0, 0]), inChunks(frames)), { code: 'config', message: /d_in 2, the SAE has d_in 3/ });
    const torn = framesOf([[1, 2], [3, 4], [5, 6]], [0, 1, 0]);
    await assert.rejects(evaluate(mean, inChunks(torn)), { code: 'config', message: /"clip 0" are not in one piece/ });
  });
});

describe('an evaluation of a transcoder', () => {
  const [dIn, dOut, dSae] = [6, 4, 9];
  /** Frames with targets, and one that gives the targets with some error, and activations of its own, for frames in stored order. */
  function problem(stream: number): { frames: Frames; sae: () => SaeLike; recon: Float32Array; f: Float32Array } {
    const random = new RandomStream(seed, stream);
    const made = madeUpFrames(random, dIn, 160);
    const target = Float32Array.from({ length: made.rows * dOut }, () => 5 + 2 * random.normal());
    const recon = target.map((value) => value + random.normal() / 2);
    const f = madeUpSae(random, dIn, dSae).dense(made.x);
    const sae = (): SaeLike => {
      let row = 0;
      return {
        dIn, dSae,
        run: async (x) => {
          const first = row;
          row += x.length / dIn;
          return { recon: recon.slice(first * dOut, row * dOut), acts: sparseOf(f.slice(first * dSae, row * dSae), dSae) };
        },
      };
    };
    return { frames: { ...made, target }, sae, recon, f };
  }

  test('compares with the targets, by the same definitions', async () => {
    const { frames, sae, recon, f } = problem(110);
    const result = await evaluate(sae(), inChunks(frames), { target: true });
    assert.deepEqual([result.dIn, result.dOut, result.dSae, result.frames], [dIn, dOut, dSae, frames.rows]);
    const y = Float64Array.from(frames.target!), yHat = Float64Array.from(recon);
    const expected: Partial<Record<SaeMetric, number>> = {
      explained_variance: oracle.explainedVariance(y, yHat, dOut), mse: oracle.meanSquaredError(y, yHat, dOut), nmse: oracle.normalizedMeanSquaredError(y, yHat, dOut),
      cossim: oracle.meanCosine(y, yHat, dOut), l2_ratio: oracle.meanL2Ratio(y, yHat, dOut), relative_reconstruction_bias: oracle.relativeReconstructionBias(y, yHat, dOut),
      l0: oracle.meanL0(Float64Array.from(f), dSae),
    };
    for (const [name, number] of Object.entries(expected)) assertClose([value(result, name as SaeMetric)], [number]);
    assert.ok(expected.explained_variance! > 0.9 && expected.explained_variance! < 0.95, 'a quarter of the variance of 4 is error');
    const { explained_variance: interval } = result.intervals;
    assert.ok(interval.low !== null && interval.low < expected.explained_variance! && expected.explained_variance! < interval.high);
  });

  test('is the same to the last bit however the frames are cut into chunks', async () => {
    const { frames, sae } = problem(111);
    assert.ok(frames.rows > batchRows, 'there is only one batch');
    const whole = await evaluate(sae(), inChunks(frames, frames.rows), { target: true });
    for (const chunkRows of [37, 4096]) assert.deepEqual(await evaluate(sae(), inChunks(frames, chunkRows), { target: true }), whole);
  });

  test('refuses frames without targets, targets of another width, and targets that are not finite', async () => {
    const { frames: { target, ...frames }, sae } = problem(112);
    await assert.rejects(evaluate(sae(), inChunks(frames), { target: true }), { code: 'config', message: /have no targets to compare a transcoder with/ });
    await assert.rejects(evaluate(sae(), inChunks({ ...frames, target: new Float32Array(frames.rows * 3) }), { target: true }),
      { code: 'config', message: /the targets have d_out 3, the reconstructions have d_out 4/ });
    await assert.rejects(evaluate(sae(), inChunks(frames)), { code: 'config', message: /the frames have d_in 6, the reconstructions have d_out 4/ });
    const first = frames.clip.indexOf(2);
    const holed = target!.map((number, i) => (i === first * dOut + 1 ? NaN : number));
    await assert.rejects(evaluate(sae(), inChunks({ ...frames, target: holed }), { target: true }),
      { code: 'not-finite', message: /^the target of the frame at 0\.000 s of clip "clip 2" holds NaN or infinity$/ });
  });
});

test('the density histogram has every latent in one bin of a quarter of a decade', async () => {
  const rows = 1000;
  const counts = [0, 1, 2, 10, 56, 57, 999, 1000];
  const x = Array.from({ length: rows }, (_, n) => [n]);
  const f = x.map(([n]) => counts.map((count) => (n < count ? 1 : 0)));
  const { densityHistogram } = await evaluate(tableSae(x, x, f), inChunks(framesOf(x)));
  assert.deepEqual([densityHistogram.edges[0], densityHistogram.edges.at(-1), densityHistogram.edges.length], [-3, 0, 13]);
  assert.equal(densityHistogram.silent, 1);
  // log10 of the densities: -3, -2.7, -2, -1.252, -1.244, -0.0004, 0.
  assert.deepEqual(densityHistogram.counts, [1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 2]);
});

test('every metric is defined once, with unit and source', async () => {
  const result = await evaluate(tableSae([[1], [2]], [[1], [2]], [[1], [0]]), inChunks(framesOf([[1], [2]])));
  assert.deepEqual(Object.keys(result.metrics).sort(), saeMetrics.map(({ name }) => name).sort());
  assert.deepEqual(Object.keys(result.latents).sort(), latentMetrics.map(({ name }) => name).sort());
  assert.equal(new Set(metricDefinitions.map(({ name }) => name)).size, metricDefinitions.length);
  for (const metric of metricDefinitions) assert.ok(metric.unit && metric.definition.endsWith('.') && metric.source, metric.name);
});
