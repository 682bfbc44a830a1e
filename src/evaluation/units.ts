/**
 * Discrete units of states, as HuBERT's are: the nearest of some centroids that k-means finds. For a model without a head they stand for what it
 * heard, and a reconstruction is judged by how many frames change their unit.
 */
import { RandomStream, streams } from '../random.ts';

export interface Units {
  /** [count, width] */
  centroids: Float32Array;
  count: number;
  width: number;
  /** Median over the fitted states of the squared distance to their centroid: what a distance is divided by in `unitMoves`. */
  temperature: number;
}

/** Lloyd's iterations end here when assignments still move. */
const mostIterations = 30;

/**
 * k-means of states [rows, width]: first centroids by k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's iterations until no state changes its
 * centroid. A centroid that loses all its states stays where it is. Deterministic for a seed.
 */
export function fitUnits(states: Float32Array, width: number, count: number, seed: number): Units {
  const rows = states.length / width;
  const centroids = firstCentroids(states, width, count, new RandomStream(seed, streams.units));
  const of = new Int32Array(rows).fill(-1);
  const distance = new Float64Array(rows);
  for (let iteration = 0, moved = true; moved && iteration < mostIterations; iteration++) {
    moved = false;
    for (let row = 0; row < rows; row++) {
      const near = nearest(states, row, centroids, width);
      moved ||= near.unit !== of[row];
      of[row] = near.unit;
      distance[row] = near.distance;
    }
    if (moved) centre(states, of, centroids, width);
  }
  const sorted = distance.slice().sort();
  return { centroids, count, width, temperature: (sorted[(rows - 1) >> 1] + sorted[rows >> 1]) / 2 };
}

function firstCentroids(states: Float32Array, width: number, count: number, random: RandomStream): Float32Array {
  const rows = states.length / width;
  const centroids = new Float32Array(count * width);
  const left = new Float64Array(rows).fill(Infinity);
  let chosen = random.below(rows);
  for (let n = 0; ; n++) {
    centroids.set(states.subarray(chosen * width, (chosen + 1) * width), n * width);
    if (n + 1 === count) return centroids;
    let total = 0;
    for (let row = 0; row < rows; row++) total += left[row] = Math.min(left[row], squaredDistance(states, row, centroids, n, width));
    let rest = random.uniform() * total;
    chosen = 0;
    while (chosen < rows - 1 && (rest -= left[chosen]) >= 0) chosen++;
  }
}

function centre(states: Float32Array, of: Int32Array, centroids: Float32Array, width: number): void {
  const count = centroids.length / width, sums = new Float64Array(centroids.length), sizes = new Uint32Array(count);
  of.forEach((unit, row) => {
    sizes[unit]++;
    for (let d = 0; d < width; d++) sums[unit * width + d] += states[row * width + d];
  });
  for (let unit = 0; unit < count; unit++) {
    if (sizes[unit] > 0) for (let d = 0; d < width; d++) centroids[unit * width + d] = sums[unit * width + d] / sizes[unit];
  }
}

function squaredDistance(states: Float32Array, row: number, centroids: Float32Array, unit: number, width: number): number {
  let sum = 0;
  for (let d = 0, p = row * width, q = unit * width; d < width; d++, p++, q++) sum += (states[p] - centroids[q]) ** 2;
  return sum;
}

function nearest(states: Float32Array, row: number, centroids: Float32Array, width: number): { unit: number; distance: number } {
  let unit = 0, distance = Infinity;
  for (let n = 0; n < centroids.length / width; n++) {
    const own = squaredDistance(states, row, centroids, n, width);
    if (own < distance) [unit, distance] = [n, own];
  }
  return { unit, distance };
}

/** What became of the units of some states [rows, width]. */
export interface UnitMoves {
  /** Rows whose nearest centroid (of equally near ones the first) is another. */
  changed: number;
  /**
   * Sum over rows of KL(P || Q) between soft units, softmax over units of -|state - centroid|² / temperature: P of the original states, Q of the patched.
   * NaN for a temperature of 0.
   */
  divergence: number;
}

export function unitMoves(units: Units, original: Float32Array, patched: Float32Array): UnitMoves {
  let changed = 0, sum = 0;
  for (let row = 0; row < original.length / units.width; row++) {
    const was = soften(units, original, row), is = soften(units, patched, row);
    if (was.unit !== is.unit) changed++;
    for (let unit = 0; unit < units.count; unit++) {
      const share = Math.exp(was.logShares[unit]);
      if (share > 0) sum += share * (was.logShares[unit] - is.logShares[unit]);
    }
  }
  // Where most fitted states are a centroid themselves, as those of repeated or silent recordings are, there is no scale for soft units.
  return { changed, divergence: units.temperature > 0 ? Math.max(sum, 0) : NaN };
}

function soften({ centroids, count, width, temperature }: Units, states: Float32Array, row: number): { unit: number; logShares: Float64Array } {
  const logShares = new Float64Array(count);
  let unit = 0, least = Infinity, sum = 0;
  for (let n = 0; n < count; n++) {
    const distance = squaredDistance(states, row, centroids, n, width);
    if (distance < least) [unit, least] = [n, distance];
    logShares[n] = -distance / temperature;
  }
  const most = logShares[unit];
  for (const value of logShares) sum += Math.exp(value - most);
  const log = most + Math.log(sum);
  for (let n = 0; n < count; n++) logShares[n] -= log;
  return { unit, logShares };
}
