import type { Recorder, Tensor } from '../gpu/index.ts';
import { padded } from '../gpu/index.ts';
import { expectSameShards, groupsFor } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** Floats of one step's record (see step_totals.wgsl). */
export const recordFloats = 16;

/** What a step's record holds, in order. */
export const recordFields = ['squaredError', 'spread', 'ratios', 'active', 'auxiliary', 'gradientNorm', 'dead', 'flags', 'silence'] as const;

/**
 * Sums a step's rows into slot `slot` of `record` and computes the clipping factor (see step_totals.wgsl).
 * stats [rows, 4], auxStats [1, rows], gradB as LatentGradients.b_enc, gradBDec [1, d_in], record [slots, 16], clip [1, 1].
 */
export function stepTotals(rec: Recorder, tensors: { stats: Tensor; auxStats: Tensor; gradB: Tensor; gradBDec: Tensor; dead: Tensor; flags: Tensor; record: Tensor; clip: Tensor },
  options: { rows: number; latents: number; slot: number; maxNorm: number }): void {
  const { stats, auxStats, gradB, gradBDec, dead, flags, record, clip } = tensors;
  const { rows, latents, slot, maxNorm } = options;
  rec.dispatch(rec.gpu.kernel({ name: 'step_totals', text: shaders.step_totals.text }),
    { stats, aux_stats: auxStats, grad_b: gradB, grad_b_dec: gradBDec, dead, flags, record, clip },
    { rows, latents, squares_at: padded(latents), d_in: gradBDec.columns, slot, max_norm: maxNorm }, 1);
}

export interface AdamOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** 1 for the first update. */
  time: number;
}

/** One Adam update of a parameter; grad may be wider than the parameter (only its beginning is read). All sharded alike. */
export function adam(rec: Recorder, tensors: { parameter: Tensor; grad: Tensor; m: Tensor; v: Tensor; clip: Tensor }, options: AdamOptions): void {
  const { parameter, grad, m, v, clip } = tensors;
  const { learningRate, beta1, beta2, epsilon, time } = options;
  expectSameShards('adam', parameter, grad);
  const kernel = rec.gpu.kernel({ name: 'adam', text: shaders.adam.text });
  const shape = {
    rate: learningRate / (1 - beta1 ** time), root: 1 / Math.sqrt(1 - beta2 ** time),
    beta1, beta2, keep1: 1 - beta1, keep2: 1 - beta2, epsilon,
  };
  parameter.shards.forEach((shard, n) => {
    const quads = Math.ceil((shard.rows * parameter.stride) / 4);
    rec.dispatch(kernel, { clip, grad: grad.shards[n]!, m: m.shards[n]!, v: v.shards[n]!, parameter: shard }, { quads, ...shape }, groupsFor(quads));
  });
}
