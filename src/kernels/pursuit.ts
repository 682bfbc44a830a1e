/** Matching pursuit: atoms are taken off each row's residual one by one; the backward pass walks them back. */
import type { Recorder, Tensor } from '../gpu/index.ts';
import { encode } from './encode.ts';
import type { KeptPairs } from './pairs.ts';
import { dispatchInPieces } from './pieces.ts';
import { expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** What each row picked, in order: [.., picks] unpadded each. */
export interface Picks {
  indices: Tensor;
  /** What was taken of the latent. */
  values: Tensor;
  /** The first pick of the same latent. */
  firstSlots: Tensor;
}

export interface PursuitTensors extends Picks {
  W_dec: Tensor;
  /** Holds the input, then what is left over [.., d_in]. */
  residual: Tensor;
  /** Scratch for the products [rows, d_sae], unpadded. */
  h: Tensor;
  /** Zeros [1, d_sae]. */
  noBias: Tensor;
  /** [1, ..]: zero before the pursuit; 1 where a row has stopped. */
  done: Tensor;
  flags: Tensor;
}

export interface PursuitOptions {
  /** A row is done when its residual is shorter than this; 0: never. */
  residualThreshold: number;
  /** A row is done after an iteration that picked a latent that it had. */
  stopOnDuplicateSupport: boolean;
}

/** Pursues rows firstRow ... firstRow + rows - 1, as many iterations as there are picks (see pursuit_choose.wgsl). */
export function pursue(rec: Recorder, tensors: PursuitTensors, firstRow: number, rows: number, options: PursuitOptions): void {
  const { W_dec, residual, h, noBias, done, flags, indices, values, firstSlots } = tensors;
  const picks = indices.columns;
  for (const tensor of [indices, values, firstSlots]) expectShape('pursuit', tensor, firstRow + rows, picks);
  const choose = rec.gpu.kernel({ name: 'pursuit_choose', text: shaders.pursuit_choose.text }, { WG: rowWorkgroup(rec.gpu) });
  const subtract = rec.gpu.kernel({ name: 'pursuit_subtract', text: shaders.pursuit_subtract.text });
  const stride = residual.stride;
  for (let iteration = 0; iteration < picks; iteration++) {
    encode(rec, { xc: residual, W_enc: W_dec, b_enc: noBias, h }, firstRow, rows);
    dispatchInPieces(rec, choose, { h, residual, indices, values, first_slots: firstSlots, done, flags },
      { rows, first_row: firstRow, latents: W_dec.rows, stride, picks, iteration, threshold: options.residualThreshold, stop: options.stopOnDuplicateSupport ? 1 : 0 }, rows);
    for (const shard of W_dec.shards) {
      rec.dispatch(subtract, { indices, values, W_dec: shard, residual },
        { rows, first_row: firstRow, picks, iteration, first_latent: shard.first, latents: shard.rows, stride }, groupsFor(rows * (stride / 4)));
    }
  }
}

/** The picks of all rows as kept pairs [rows, picks], latents ascending; dz gets the pairs' slots for gatheredGradients (see pursuit_merge.wgsl). */
export function mergePicks(rec: Recorder, tensors: Picks & { kept: KeptPairs }, rows: number): void {
  const { indices, values, firstSlots, kept } = tensors;
  const picks = indices.columns;
  for (const tensor of [kept.indices, kept.values, kept.dz]) expectShape('pursuit', tensor, rows, picks);
  const longest = { times: picks }; // a pick is compared with all picks of its row
  dispatchInPieces(rec, rec.gpu.kernel({ name: 'pursuit_merge', text: shaders.pursuit_merge.text }),
    { indices, values, first_slots: firstSlots, kept_indices: kept.indices, kept_values: kept.values, kept_slots: kept.dz }, { rows, picks }, groupsFor(rows * picks), longest);
}

/**
 * Walks rows firstRow ... back: q goes from g to what the input's bias gets, residual from what was left over to the input, and `shares`
 * [rows * picks, d_in], zero before, gets what each latent's first pick adds to grad W_dec (see pursuit_gradients.wgsl).
 */
export function pursuitGradients(rec: Recorder, tensors: Picks & { W_dec: Tensor; q: Tensor; residual: Tensor; shares: Tensor }, firstRow: number, rows: number): void {
  const { indices, values, firstSlots, W_dec, q, residual, shares } = tensors;
  const picks = indices.columns;
  expectShape('pursuit gradients', shares, rows * picks, W_dec.columns);
  const kernel = rec.gpu.kernel({ name: 'pursuit_gradients', text: shaders.pursuit_gradients.text }, { WG: rowWorkgroup(rec.gpu) });
  const walk = (firstPick: number, endPick: number): void => {
    for (const shard of W_dec.shards) {
      dispatchInPieces(rec, kernel, { indices, values, first_slots: firstSlots, W_dec: shard, q, r: residual, shares },
        { rows, first_row: firstRow, picks, first_pick: firstPick, end_pick: endPick, first_latent: shard.first, latents: shard.rows, stride: W_dec.stride }, rows);
    }
  };
  if (W_dec.shards.length === 1) return walk(0, picks);
  for (let pick = picks - 1; pick >= 0; pick--) walk(pick, pick + 1);
}
