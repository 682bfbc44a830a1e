import { CochleaError } from '../errors.ts';
import { imageWidth, padded, type Recorder, type Tensor } from '../gpu/index.ts';
import { expectPairs, type KeptPairs, slotsOf } from './pairs.ts';
import { dispatchInPieces } from './pieces.ts';
import { expectSameShards, expectShape, groupsFor, imageLanes, type LatentRange, rowWorkgroup, shardParts } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** dz = g . W_dec[i] of the pairs whose latents are in the range; zero where the value is not positive if `relu` (see kept_gradients.wgsl). */
export function keptGradients(rec: Recorder, tensors: KeptPairs & { g: Tensor; W_dec: Tensor }, rows: number, relu: boolean, range?: LatentRange): void {
  const { indices, values, offsets, dz, g, W_dec } = tensors;
  expectPairs('kept gradients', tensors, rows);
  expectShape('kept gradients', g, rows, W_dec.columns);
  expectShape('kept gradients', dz, offsets ? 1 : rows, indices.columns);
  const LANES = imageLanes(rec.gpu), direct = !LANES && rec.gpu.adapter.software;
  const variant = { RELU: relu ? 1 : 0, RAGGED: offsets ? 1 : 0 };
  const kernel = LANES ? rec.gpu.kernel({ name: 'kept_gradients_image', text: shaders.kept_gradients_image.text }, { ...variant, LANES, IMAGE_WIDTH: imageWidth })
    : direct ? rec.gpu.kernel({ name: 'kept_gradients_direct', text: shaders.kept_gradients_direct.text }, variant)
    : rec.gpu.kernel({ name: 'kept_gradients', text: shaders.kept_gradients.text }, variant);
  const k = indices.columns;
  const eights = offsets ? Math.floor(k / 8) + rows : rows * Math.ceil(k / 8);
  for (const { shard, ...part } of shardParts(W_dec, range)) {
    dispatchInPieces(rec, kernel, { indices, values, offsets: offsets ?? indices, g, W_dec: shard, dz }, { rows, k, ...part, stride: W_dec.stride }, direct ? groupsFor(eights) : rows);
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
  /** [slots, 3], unpadded. */
  entries: Tensor;
  /** One bit per (latent, row): [d_sae, rows / 32], sharded like the weights. Cleared before the step. */
  bitmap: Tensor;
  /** Where the pairs of every 128 rows of a latent begin: [d_sae, rows / 128], sharded like the bitmap. */
  ranks: Tensor;
}

/**
 * Inverts the rows' kept pairs into latents' pairs: count, scan, rank, place (after sparsify's kernels; here the order is fixed). `keepAll` counts
 * pairs whose value is zero as well. counts and bitmap must be zero.
 */
export function invertPairs(rec: Recorder, kept: KeptPairs, index: InverseIndex, rows: number, keepAll: boolean): void {
  const { counts, starts, entries, bitmap, ranks } = index;
  const { indices, values, offsets = indices, dz } = kept;
  expectPairs('inverse index', kept, rows);
  expectSameShards('inverse index', bitmap, ranks);
  if (bitmap.stride % 4 !== 0) throw new CochleaError('gpu-error', `inverse index: ${bitmap.label} has rows of ${bitmap.stride} words, not of whole fours`);
  const pairs = slotsOf(kept, rows);
  const constants = { KEEP_ALL: keepAll ? 1 : 0, RAGGED: kept.offsets ? 1 : 0 };
  const shape = (shard: { first: number; rows: number }) => ({ pairs, rows, k: indices.columns, first_latent: shard.first, latents: shard.rows });
  for (const shard of bitmap.shards) {
    rec.dispatch(rec.gpu.kernel({ name: 'index_count', text: shaders.index_count.text }, constants),
      { indices, values, offsets, counts, bitmap: shard }, { ...shape(shard), words: bitmap.stride }, groupsFor(pairs));
  }
  scan(rec, { counts, starts }, counts.columns);
  const widths = { quads: bitmap.stride / 4, pitch: ranks.stride };
  bitmap.shards.forEach((shard, n) => {
    const own = { ranks: ranks.shards[n]!, bitmap: shard }, { first_latent, latents } = shape(shard);
    rec.dispatch(rec.gpu.kernel({ name: 'index_rank', text: shaders.index_rank.text }), { starts, ...own }, { latents, first_latent, ...widths }, groupsFor(latents));
    rec.dispatch(rec.gpu.kernel({ name: 'index_place', text: shaders.index_place.text }, constants),
      { indices, values, offsets, dz, ...own, entries }, { ...shape(shard), ...widths }, groupsFor(pairs));
  });
}

/** starts[i] = counts[0] + ... + counts[i - 1] for i up to n. counts [1, n or more], starts [1, n + 1 or more], u32. */
export function scan(rec: Recorder, tensors: { counts: Tensor; starts: Tensor }, n: number): void {
  rec.dispatch(rec.gpu.kernel({ name: 'index_scan', text: shaders.index_scan.text }), tensors, { n }, 1);
}

/** Gradients of the weights, and of b_enc with the latents' squared gradient norms behind it. */
export interface LatentGradients {
  W_dec: Tensor;
  W_enc: Tensor;
  /** [1, 2 padded(d_sae)]: grad b_enc, then from padded(d_sae) on the squares. */
  b_enc: Tensor;
}

/** Sums the kept pairs' contributions per latent of the range (see latent_gradients.wgsl); `add` adds to what is there. */
export function latentGradients(rec: Recorder, index: InverseIndex, tensors: { g: Tensor; xc: Tensor }, gradients: LatentGradients, add: boolean, range?: LatentRange): void {
  const { W_dec, W_enc, b_enc } = gradients;
  expectSameShards('latent gradients', W_dec, W_enc);
  const LANES = imageLanes(rec.gpu), ADD = add ? 1 : 0;
  const kernel = LANES
    ? rec.gpu.kernel({ name: 'latent_gradients_image', text: shaders.latent_gradients_image.text }, { LANES, ADD, IMAGE_WIDTH: imageWidth })
    : rec.gpu.kernel({ name: 'latent_gradients', text: shaders.latent_gradients.text }, { WG: rowWorkgroup(rec.gpu), ADD });
  const { starts, entries } = index;
  for (const { shard, ...part } of shardParts(W_dec, range)) {
    dispatchInPieces(rec, kernel, { starts, entries, ...tensors, grad_W_dec: shard, grad_W_enc: W_enc.shards[W_dec.shards.indexOf(shard)]!, grad_b: b_enc },
      { ...part, stride: W_dec.stride, squares_at: padded(W_dec.rows) }, part.latents);
  }
}
