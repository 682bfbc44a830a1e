/** How alike two sets of states are: rows [rows, width] of the same frames before and after something was done. All in float64. */

/** Norms below this are as good as zero (torch.nn.functional.cosine_similarity). */
const leastNorm = 1e-8;

/** Sums over rows: of the cosines of a and b, of |a - b|², of |a|². */
export function distances(a: Float32Array, b: Float32Array, width: number): { rows: number; cosine: number; error: number; power: number } {
  const rows = a.length / width;
  let cosine = 0, error = 0, power = 0;
  for (let row = 0, at = 0; row < rows; row++) {
    let dot = 0, normA = 0, normB = 0;
    for (const end = at + width; at < end; at++) {
      dot += a[at] * b[at];
      normA += a[at] * a[at];
      normB += b[at] * b[at];
      error += (a[at] - b[at]) ** 2;
    }
    cosine += dot / (Math.max(Math.sqrt(normA), leastNorm) * Math.max(Math.sqrt(normB), leastNorm));
    power += normA;
  }
  return { rows, cosine, error, power };
}

/** Rows of a minibatch of `independence`, at most: the cost of one grows with their square. */
const mostRows = 512;

/** The estimator divides by rows - 3. */
const fewestRows = 4;

/** Sums over minibatches of HSIC(a, a), HSIC(a, b) and HSIC(b, b). */
export interface Independence {
  aa: number;
  ab: number;
  bb: number;
}

/**
 * The terms of linear CKA (Kornblith et al. 2019) as sums over minibatches, so that it can be had of any number of frames and resampled by clips:
 *
 *   CKA = sum HSIC(a, b) / sqrt(sum HSIC(a, a) sum HSIC(b, b))           Nguyen, Raghu and Kornblith 2021, equations 3 and 4
 *   HSIC(K, L) = [tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K L 1] / (n (n - 3))       Song et al. 2012, unbiased
 *
 * with K = a a' and L = b b' without their diagonals. A minibatch is a run of neighbouring frames, at most 512, of one window of one clip; a
 * window of fewer than 4 frames has none. It is centred on its own mean, which leaves the estimator as it is.
 */
export function independence(a: Float32Array, b: Float32Array, width: number): Independence {
  const rows = a.length / width, batches = Math.ceil(rows / mostRows);
  const sums = { aa: 0, ab: 0, bb: 0 };
  for (let n = 0; n < batches; n++) {
    const first = Math.floor((n * rows) / batches), end = Math.floor(((n + 1) * rows) / batches);
    if (end - first < fewestRows) continue;
    const part = (values: Float32Array): Float64Array => centred(values.subarray(first * width, end * width), width);
    const own = minibatch(part(a), part(b), width);
    sums.aa += own.aa;
    sums.ab += own.ab;
    sums.bb += own.bb;
  }
  return sums;
}

function minibatch(a: Float64Array, b: Float64Array, width: number): Independence {
  const n = a.length / width;
  const rowsOfA = new Float64Array(n), rowsOfB = new Float64Array(n);
  const traces = { aa: 0, ab: 0, bb: 0 };
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      let k = 0, l = 0;
      for (let d = 0, p = i * width, q = j * width; d < width; d++, p++, q++) {
        k += a[p] * a[q];
        l += b[p] * b[q];
      }
      rowsOfA[i] += k;
      rowsOfA[j] += k;
      rowsOfB[i] += l;
      rowsOfB[j] += l;
      traces.aa += 2 * k * k;
      traces.ab += 2 * k * l;
      traces.bb += 2 * l * l;
    }
  }
  const dot = (p: Float64Array, q: Float64Array): number => p.reduce((sum, value, i) => sum + value * q[i], 0);
  const total = (p: Float64Array): number => p.reduce((sum, value) => sum + value, 0);
  const estimate = (trace: number, p: Float64Array, q: Float64Array): number => (
    (trace + (total(p) * total(q)) / ((n - 1) * (n - 2)) - (2 / (n - 2)) * dot(p, q)) / (n * (n - 3))
  );
  return { aa: estimate(traces.aa, rowsOfA, rowsOfA), ab: estimate(traces.ab, rowsOfA, rowsOfB), bb: estimate(traces.bb, rowsOfB, rowsOfB) };
}

function centred(values: Float32Array, width: number): Float64Array {
  const mean = new Float64Array(width), rows = values.length / width;
  values.forEach((value, at) => mean[at % width] += value / rows);
  return Float64Array.from(values, (value, at) => value - mean[at % width]);
}
