/**
 * Exact top-k: larger values first, equal values by the smaller index. Signed zeros are equal. A value that is
 * not a number has no place in the order and throws.
 */

/** Of the positions `candidates` in `values`, the k first in that order; returned ascending. All when there are fewer than k. */
function largest(values: Float64Array, candidates: number[], k: number): number[] {
  for (const i of candidates) {
    if (Number.isNaN(values[i])) throw new Error(`not a number at position ${i}`);
  }
  const ranked = candidates.slice().sort((a, b) => (values[a] > values[b] ? -1 : values[a] < values[b] ? 1 : a - b));
  return ranked.slice(0, k).sort((a, b) => a - b);
}

/** Per row of `values` [rows, cols]: the columns of its k largest, ascending. */
export function rowTopK(values: Float64Array, rows: number, cols: number, k: number): number[][] {
  return rowTopKAmong(values, rows, cols, k, Array.from({ length: cols }, (_, i) => i));
}

/** The same, choosing only among the columns `latents`. */
export function rowTopKAmong(values: Float64Array, rows: number, cols: number, k: number, latents: number[]): number[][] {
  return Array.from({ length: rows }, (_, row) => largest(values.subarray(row * cols, (row + 1) * cols), latents, k));
}

/** The `count` largest of a whole batch [rows, cols] as flat positions row * cols + column, ascending. */
export function batchTopK(values: Float64Array, count: number): number[] {
  return largest(values, Array.from({ length: values.length }, (_, i) => i), count);
}
