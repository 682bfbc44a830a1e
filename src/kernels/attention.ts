import type { Recorder, Tensor } from '../gpu/index.ts';
import { dispatchInPieces } from './pieces.ts';
import { expectSameShards, expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

export interface AttentionTensors {
  /** Queries [rows, heads * width]. */
  q: Tensor;
  /** One block of keys [keys, heads * width] and values [keys, latents]. */
  k: Tensor;
  v: Tensor;
  /** Key and value of the empty context before a clip: [1, heads * width], [1, latents]. */
  keyBias: Tensor;
  valueBias: Tensor;
  /** Out, after the last block [rows, latents]. */
  o: Tensor;
  /** Scratch: weights of as many rows as it holds, `heads` times keys each, unpadded; the running softmax [rows, 2 heads] and [rows, heads], unpadded. */
  weights: Tensor;
  running: Tensor;
  carry: Tensor;
  /** Bit 0 of its first word is set when a score was not finite. */
  flags: Tensor;
}

/**
 * One block of causal multi-head attention, softmax(q . k / sqrt(width)) v over all blocks from the first to the last (see attention_scores.wgsl).
 * Call it for a clip's blocks of keys in order. `own` is the block of the queries' own frames: there row b sees the keys before b.
 */
export function attend(rec: Recorder, tensors: AttentionTensors, rows: number,
  options: { heads: number; keys: number; first: boolean; last: boolean; own: boolean }): void {
  const { q, k, v, keyBias, valueBias, o, weights, running, carry, flags } = tensors;
  const { heads, keys, first, last, own } = options;
  const width = q.columns / heads, latents = v.columns;
  const shapes = [[k, keys, q.columns], [v, keys, latents], [o, rows, latents], [running, rows, 2 * heads], [carry, rows, heads]] as const;
  for (const [tensor, atLeast, columns] of shapes) {
    expectShape('attention', tensor, atLeast, columns);
  }
  const variant = { FIRST: first ? 1 : 0, OWN: own ? 1 : 0 };
  const scores = rec.gpu.kernel({ name: 'attention_scores', text: shaders.attention_scores.text }, { ...variant, WG: rowWorkgroup(rec.gpu) });
  const values = rec.gpu.kernel({ name: 'attention_values', text: shaders.attention_values.text }, { ...variant, LAST: last ? 1 : 0 });
  const rowsAtATime = Math.floor(weights.rows / heads);
  for (let firstRow = 0; firstRow < rows; firstRow += rowsAtATime) {
    const here = Math.min(rowsAtATime, rows - firstRow);
    const shape = { rows: here, first_row: firstRow, heads, keys, w_stride: weights.stride };
    dispatchInPieces(rec, scores, { q, k, bias: keyBias, w: weights, running, carry, flags },
      { ...shape, width, q_stride: q.stride, k_stride: k.stride, scale: 1 / Math.sqrt(width) }, here * heads);
    dispatchInPieces(rec, values, { w: weights, v, bias: valueBias, running, carry, o },
      { ...shape, per_head: latents / heads, latents, stride: v.stride }, groupsFor(latents) * groupsFor(here, 8));
  }
}

/**
 * x = x - share a and taken = (first ? 0 : taken) + share a, where share = a . x / (|a| + 1e-6)^2 for each row: what points along a is
 * taken from x. All [rows, columns].
 */
export function removeProjection(rec: Recorder, tensors: { a: Tensor; x: Tensor; taken: Tensor }, rows: number, first: boolean): void {
  const { a, x, taken } = tensors;
  for (const tensor of [x, taken]) expectShape('projection', tensor, rows, a.columns);
  const kernel = rec.gpu.kernel({ name: 'remove_projection', text: shaders.remove_projection.text }, { WG: rowWorkgroup(rec.gpu), FIRST: first ? 1 : 0 });
  rec.dispatch(kernel, { a, x, taken }, { rows, columns: a.columns, stride: a.stride }, rows);
}

/** a = factor (a + b). Both [rows, columns], in the same shards. */
export function addRows(rec: Recorder, tensors: { a: Tensor; b: Tensor }, rows: number, factor: number): void {
  const { a, b } = tensors;
  expectShape('sum', b, rows, a.columns);
  expectSameShards('sum', a, b);
  const kernel = rec.gpu.kernel({ name: 'add_rows', text: shaders.add_rows.text });
  a.shards.forEach((shard, n) => {
    const quads = Math.ceil((Math.min(shard.rows, rows - shard.first) * a.stride) / 4);
    if (quads > 0) rec.dispatch(kernel, { a: shard, b: b.shards[n]! }, { quads, factor }, groupsFor(quads));
  });
}
