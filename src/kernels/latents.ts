import type { Recorder, Tensor } from '../gpu/index.ts';
import { recordFields, recordFloats } from './optimiser.ts';
import { groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** since = 0 where counts > 0, else since + 1; fired += counts. All [1, d_sae], u32. */
export function countFirings(rec: Recorder, tensors: { counts: Tensor; since: Tensor; fired: Tensor }): void {
  const latents = tensors.since.columns;
  rec.dispatch(rec.gpu.kernel({ name: 'latent_counters', text: shaders.latent_counters.text }), tensors, { latents }, groupsFor(latents));
}

/** Lists the latents silent for more than `window` steps: list [1, d_sae + 1]. Also sums `since` into the record (see dead_list.wgsl). */
export function listDead(rec: Recorder, tensors: { since: Tensor; list: Tensor; record: Tensor }, window: number, slot: number): void {
  rec.dispatch(rec.gpu.kernel({ name: 'dead_list', text: shaders.dead_list.text }), tensors,
    { latents: tensors.since.columns, window, record_at: slot * recordFloats + recordFields.indexOf('silence') }, 1);
}

/** norms[i] = |W[i, :]|. W [d_sae, d_in], possibly sharded; norms [1, d_sae]. */
export function rowNorms(rec: Recorder, tensors: { W: Tensor; norms: Tensor }): void {
  const { W, norms } = tensors;
  const kernel = rec.gpu.kernel({ name: 'row_norms', text: shaders.row_norms.text }, { WG: rowWorkgroup(rec.gpu) });
  for (const shard of W.shards) {
    rec.dispatch(kernel, { W: shard, norms }, { latents: shard.rows, first_latent: shard.first, stride: W.stride }, shard.rows);
  }
}

/** Gives every row of W the length `norm`; norms as rowNorms wrote them. */
export function scaleRows(rec: Recorder, tensors: { W: Tensor; norms: Tensor }, norm: number): void {
  const { W, norms } = tensors;
  const kernel = rec.gpu.kernel({ name: 'scale_rows', text: shaders.scale_rows.text });
  for (const shard of W.shards) {
    rec.dispatch(kernel, { norms, W: shard }, { rows: shard.rows, first_row: shard.first, stride: W.stride, norm }, groupsFor((shard.rows * W.stride) / 4));
  }
}

/** Fills W with uniform numbers in [-bound, bound): word row * columns + column of stream (seed, stream, substream) of src/random.ts. */
export function randomUniform(rec: Recorder, W: Tensor, options: { seed: number; stream: number; substream: number; bound: number }): void {
  const kernel = rec.gpu.kernel({ name: 'random_uniform', text: shaders.random_uniform.text });
  const { seed, stream, substream, bound } = options;
  for (const shard of W.shards) {
    rec.dispatch(kernel, { W: shard }, {
      rows: shard.rows, first_row: shard.first, columns: W.columns, stride: W.stride,
      seed_low: seed >>> 0, seed_high: Math.floor(seed / 2 ** 32) >>> 0, stream, substream, bound,
    }, groupsFor(shard.rows * W.stride));
  }
}
