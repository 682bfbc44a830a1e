import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ClipUnits } from '../../src/evaluation/clip-sums.ts';
import { bootstrap } from '../../src/evaluation/bootstrap.ts';
import { evaluate } from '../../src/evaluation/index.ts';
import { RandomStream, streams } from '../../src/random.ts';
import * as oracle from '../oracle/metrics.ts';
import { assertClose } from '../support/numbers.ts';
import { type Frames, inChunks, madeUpFrames, madeUpSae } from './made-up.ts';

const seed = 21;
const dIn = 5;

function unitsOf({ x, clip, rows }: Frames, error: (row: number) => number, limit?: number): ClipUnits {
  const units = new ClipUnits(limit);
  for (let row = 0; row < rows; row++) units.add(x, row, dIn, clip[row], error(row), row % 7);
  return units;
}

describe('the bootstrap over clips', () => {
  test('gives what resampling whole clips by hand gives', async () => {
    const random = new RandomStream(seed, 100);
    const frames = madeUpFrames(random, dIn, 12);
    const sae = madeUpSae(random, dIn, 8);
    const resamples = 41; // the 2.5th percentile is the second smallest
    const { intervals } = await evaluate(sae, inChunks(frames), { seed: 9, resamples });
    const recon = sae.recon(frames.x), f = sae.dense(frames.x);
    const draw = new RandomStream(9, streams.bootstrap);
    const drawn = Array.from({ length: resamples }, () => {
      const rows = Array.from({ length: 12 }, () => draw.below(12)).flatMap((clip) => [...frames.clip.keys()].filter((row) => frames.clip[row] === clip));
      const take = (values: Float32Array, d: number): Float64Array => Float64Array.from(rows.flatMap((row) => [...values.subarray(row * d, (row + 1) * d)]));
      return { ev: oracle.explainedVariance(take(frames.x, dIn), take(recon, dIn), dIn), l0: oracle.meanL0(take(f, 8), 8) };
    });
    const sorted = (values: number[]): number[] => [...values].sort((a, b) => a - b);
    const ev = sorted(drawn.map((one) => one.ev)), l0 = sorted(drawn.map((one) => one.l0));
    assertClose([intervals.explained_variance.low!, intervals.explained_variance.high!], [ev[1], ev[39]]);
    assertClose([intervals.l0.low!, intervals.l0.high!], [l0[1], l0[39]]);
    assert.ok(intervals.l0.low! < intervals.l0.high!);
  });

  test('is the same for the same seed and another for another', async () => {
    const frames = madeUpFrames(new RandomStream(seed, 101), dIn, 30);
    const { units } = unitsOf(frames, (row) => 1 + (row % 3));
    const of = (chosen: number): unknown => bootstrap(units, { resamples: 200, seed: chosen });
    assert.deepEqual(of(1), of(1));
    assert.notDeepEqual(of(1), of(2));
  });

  test('covers the truth about as often as it says', () => {
    // Errors have mean 1 and a spread of their own per clip; x is unit normal in every dimension: the truth is 1 - 1 / dIn.
    const random = new RandomStream(seed, 102);
    const [trials, clips, rows] = [150, 40, 10];
    let covered = 0;
    for (let trial = 0; trial < trials; trial++) {
      const x = Float32Array.from({ length: clips * rows * dIn }, () => random.normal());
      const level = Array.from({ length: clips }, () => 1 + random.normal() / 4);
      const frames = { dIn, rows: clips * rows, x, clip: Uint32Array.from({ length: clips * rows }, (_, n) => Math.floor(n / rows)), time: new Float32Array(0), ids: [] };
      const { intervals } = bootstrap(unitsOf(frames, (row) => level[Math.floor(row / rows)]).units, { resamples: 200, seed: trial });
      const { low, high } = intervals.explainedVariance;
      if (low !== null && low <= 1 - 1 / dIn && 1 - 1 / dIn <= high) covered++;
    }
    assert.ok(covered >= trials * 0.85 && covered < trials, `seed ${seed}: ${covered} of ${trials} intervals hold the truth`);
  });

  test('pairs neighbouring clips when there are too many, and loses nothing', () => {
    const frames = madeUpFrames(new RandomStream(seed, 103), dIn, 37);
    const error = (row: number): number => 1 + (row % 5);
    const all = unitsOf(frames, error), few = unitsOf(frames, error, 8);
    assert.deepEqual([all.units.length, all.clipsPerUnit, few.units.length, few.clipsPerUnit], [37, 1, 5, 8]);
    const sizes = [0, 1, 2, 3, 4].map((unit) => frames.clip.filter((clip) => Math.floor(clip / 8) === unit).length);
    assert.deepEqual(few.units.map((unit) => unit.frames), sizes);
    const [a, b] = [all, few].map(({ units }) => bootstrap(units, { resamples: 1, seed }));
    assertClose([b.explainedVariance!, b.variance], [a.explainedVariance!, a.variance]);
  });
});
