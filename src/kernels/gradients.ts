import type { Recorder, Tensor } from '../gpu/index.ts';
import { padded } from '../gpu/index.ts';
import { expectSameShards, expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** Kept pairs of a batch: latents, values and the values' gradients, [rows, k] each. */
export interface KeptPairs {
  indices: Tensor;
  values: Tensor;
  dz: Tensor;
}

/** dz = g . W_dec[i]; zero where the value is not positive if `relu` (see kept_gradients.wgsl). */
export function keptGradients(rec: Recorder, tensors: KeptPairs & { g: Tensor; W_dec: Tensor }, rows: number, relu: boolean): void {
  const { indices, values, dz, g, W_dec } = tensors;
  expectShape('kept gradients', g, rows, W_dec.columns);
  expectShape('kept gradients', dz, rows, indices.columns);
  const direct = rec.gpu.adapter.software;
  const kernel = direct
    ? rec.gpu.kernel({ name: 'kept_gradients_direct', text: shaders.kept_gradients_direct.text }, { RELU: relu ? 1 : 0 })
    : rec.gpu.kernel({ name: 'kept_gradients', text: shaders.kept_gradients.text }, { RELU: relu ? 1 : 0 });
  const k = indices.columns;
  for (const shard of W_dec.shards) {
    rec.dispatch(kernel, { indices, values, g, W_dec: shard, dz },
      { rows, k, first_latent: shard.first, latents: shard.rows, stride: W_dec.stride }, direct ? groupsFor(rows * Math.ceil(k / 8)) : rows);
  }
}

/** 32-bit words of one entry of the inverse index: row, value, dz. */
export const entryWords = 3;

/** The pairs of each latent in order of rows: entries starts[i] ... starts[i + 1] - 1. */
export interface InverseIndex {
  /** Rows that keep each latent [1, d_sae]. Cleared before the step. */
  counts: Tensor;
  /** [1, d_sae + 1] */
  starts: Tensor;
  /** [rows * k, 3], unpadded. */
  entries: Tensor;
  /** One bit per (latent, row): [d_sae, rows / 32], sharded like the weights. Cleared before the step. */
  bitmap: Tensor;
}

/**
 * Inverts the rows' kept pairs into latents' pairs: count, scan, place (after sparsify's kernels; here the order is fixed). `keepAll` counts
 * pairs whose value is not positive as well. counts and bitmap must be zero.
 */
export function invertPairs(rec: Recorder, kept: KeptPairs, index: InverseIndex, rows: number, keepAll: boolean): void {
  const { counts, starts, entries, bitmap } = index;
  const { indices, values, dz } = kept;
  const k = indices.columns;
  const constants = { KEEP_ALL: keepAll ? 1 : 0 };
  const shape = (shard: { first: number; rows: number }) => ({ pairs: rows * k, k, first_latent: shard.first, latents: shard.rows, words: bitmap.stride });
  for (const shard of bitmap.shards) {
    rec.dispatch(rec.gpu.kernel({ name: 'index_count', text: shaders.index_count.text }, constants),
      { indices, values, counts, bitmap: shard }, shape(shard), groupsFor(rows * k));
  }
  rec.dispatch(rec.gpu.kernel({ name: 'index_scan', text: shaders.index_scan.text }), { counts, starts }, { n: counts.columns }, 1);
  for (const shard of bitmap.shards) {
    rec.dispatch(rec.gpu.kernel({ name: 'index_place', text: shaders.index_place.text }, constants),
      { indices, values, dz, starts, bitmap: shard, entries }, shape(shard), groupsFor(rows * k));
  }
}

/** Gradients of the weights, and of b_enc with the latents' squared gradient norms behind it. */
export interface LatentGradients {
  W_dec: Tensor;
  W_enc: Tensor;
  /** [1, 2 padded(d_sae)]: grad b_enc, then from padded(d_sae) on the squares. */
  b_enc: Tensor;
}

/** Sums the kept pairs' contributions per latent (see latent_gradients.wgsl); `add` adds to what is there. */
export function latentGradients(rec: Recorder, index: InverseIndex, tensors: { g: Tensor; xc: Tensor }, gradients: LatentGradients, add: boolean): void {
  const { W_dec, W_enc, b_enc } = gradients;
  expectSameShards('latent gradients', W_dec, W_enc);
  const kernel = rec.gpu.kernel({ name: 'latent_gradients', text: shaders.latent_gradients.text }, { WG: rowWorkgroup(rec.gpu), ADD: add ? 1 : 0 });
  W_dec.shards.forEach((shard, n) => {
    rec.dispatch(kernel,
      { starts: index.starts, entries: index.entries, ...tensors, grad_W_dec: shard, grad_W_enc: W_enc.shards[n]!, grad_b: b_enc },
      { latents: shard.rows, first_latent: shard.first, stride: W_dec.stride, squares_at: padded(W_dec.rows) }, shard.rows);
  });
}
