/**
 * Row-major float64 matrices as flat arrays, in plain loops. Everything in this folder is the reference that
 * the shaders and the training code are tested against: it is slow on purpose and imports nothing but itself.
 */

/** C [m, n] = A [m, k] B [k, n]. */
export function matmul(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      for (let j = 0; j < n; j++) c[i * n + j] += a[i * k + p] * b[p * n + j];
    }
  }
  return c;
}

/** C [m, n] = A [m, k] Bᵀ, B [n, k]. */
export function matmulTransposeB(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[i * k + p] * b[j * k + p];
      c[i * n + j] = sum;
    }
  }
  return c;
}

/** C [m, n] = Aᵀ B, A [k, m], B [k, n]. */
export function matmulTransposeA(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let p = 0; p < k; p++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) c[i * n + j] += a[p * m + i] * b[p * n + j];
    }
  }
  return c;
}

/** [cols, rows] from [rows, cols]. */
export function transpose(a: Float64Array, rows: number, cols: number): Float64Array {
  const out = new Float64Array(a.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) out[j * rows + i] = a[i * cols + j];
  }
  return out;
}

/** [cols]: the sum over rows of A [rows, cols]. */
export function columnSums(a: Float64Array, rows: number, cols: number): Float64Array {
  const sums = new Float64Array(cols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) sums[j] += a[i * cols + j];
  }
  return sums;
}

/** [rows]: ||A_i||², the squared Euclidean norm of every row of A [rows, cols]. */
export function rowSquaredNorms(a: Float64Array, rows: number, cols: number): Float64Array {
  const norms = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) norms[i] += a[i * cols + j] ** 2;
  }
  return norms;
}

/** [rows]: ||A_i||. */
export function rowNorms(a: Float64Array, rows: number, cols: number): Float64Array {
  return rowSquaredNorms(a, rows, cols).map(Math.sqrt);
}

/** [rows]: <A_i, B_i> of two matrices [rows, cols]. */
export function rowDots(a: Float64Array, b: Float64Array, rows: number, cols: number): Float64Array {
  const dots = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) dots[i] += a[i * cols + j] * b[i * cols + j];
  }
  return dots;
}

/** target += source, element by element. */
export function addTo(target: Float64Array, source: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i] += source[i];
}

/** a - b, element by element. */
export function difference(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value - b[i]);
}

/**
 * How far a float32 sum of K products, in any order and fused or not, may lie from the exact value, given
 * sumAbs = sum |a_i||b_i|: gamma_K sumAbs with gamma_K = t / (1 - t), t = c K 2^-24 (Higham, Accuracy and
 * Stability of Numerical Algorithms, 2nd ed., section 3.1). c = 2 because WGSL only promises one of the two
 * neighbouring floats (a relative error of 2^-23, twice that of rounding to nearest). A flushed denormal product
 * or partial sum costs at most 2^-126 each. A bias added at the end counts as one more term.
 */
export function dotBound(K: number, sumAbs: number): number {
  const t = 2 * K * 2 ** -24;
  return (t / (1 - t)) * sumAbs + 2 * K * 2 ** -126;
}
