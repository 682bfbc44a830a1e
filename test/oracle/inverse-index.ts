/** Sparse codes row by row (CSR) and latent by latent (CSC). */

export interface SparseRows {
  /** [rows + 1]: row r holds entries offsets[r] ... offsets[r + 1] - 1. */
  offsets: number[];
  /** Latents, ascending in a row. */
  indices: number[];
  values: number[];
}

export interface InverseIndex {
  /** [dSae + 1]: latent i holds entries offsets[i] ... offsets[i + 1] - 1. */
  offsets: number[];
  /** Rows, ascending in a latent. */
  rows: number[];
  /** Where each entry stands in the row-by-row form. */
  positions: number[];
}

/** The entries of a dense matrix [rows, cols] that are not 0. */
export function sparseRows(dense: Float64Array, rows: number, cols: number): SparseRows {
  const sparse: SparseRows = { offsets: [0], indices: [], values: [] };
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      if (dense[row * cols + col] === 0) continue;
      sparse.indices.push(col);
      sparse.values.push(dense[row * cols + col]);
    }
    sparse.offsets.push(sparse.indices.length);
  }
  return sparse;
}

export function inverseIndex({ offsets, indices }: Pick<SparseRows, 'offsets' | 'indices'>, dSae: number): InverseIndex {
  const entries: { row: number; position: number }[][] = Array.from({ length: dSae }, () => []);
  for (let row = 0; row + 1 < offsets.length; row++) {
    for (let position = offsets[row]; position < offsets[row + 1]; position++) entries[indices[position]].push({ row, position });
  }
  const inverse: InverseIndex = { offsets: [0], rows: [], positions: [] };
  for (const list of entries) {
    for (const { row, position } of list) {
      inverse.rows.push(row);
      inverse.positions.push(position);
    }
    inverse.offsets.push(inverse.rows.length);
  }
  return inverse;
}
