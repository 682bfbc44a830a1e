import { CochleaError } from '../errors.ts';
import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectSameShards, groupsFor } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** What a step's record holds, in order; the sums of the losses besides mse_loss follow (see step_totals.wgsl). */
export const recordFields = ['squaredError', 'spread', 'ratios', 'active', 'gradientNorm', 'dead', 'flags', 'silence', 'smallest'] as const;

/** Floats of one step's record. */
export const recordFloats = 32;

/** Losses besides mse_loss that a record has room for. */
export const recordLosses = recordFloats - recordFields.length;

/**
 * Sums a step's rows into slot `slot` of `record` and computes the clipping factor (see step_totals.wgsl).
 * stats [rows, 4]; lossRows [rows, losses] unpadded; squares: `count` numbers from `first` on; gradBDec [1, d_in]; record [slots, recordFloats]; clip [1, 1].
 */
export function stepTotals(rec: Recorder, tensors: { stats: Tensor; lossRows: Tensor; squares: Tensor; gradBDec: Tensor; dead: Tensor; flags: Tensor; record: Tensor; clip: Tensor },
  options: { rows: number; losses: number; firstSquare: number; squareCount: number; slot: number; maxNorm: number }): void {
  const { stats, lossRows, squares, gradBDec, dead, flags, record, clip } = tensors;
  const { rows, losses, firstSquare, squareCount, slot, maxNorm } = options;
  if (losses > recordLosses) throw new CochleaError('config', `${losses} losses are more than the ${recordLosses} that a step's record has room for`);
  const kernel = rec.gpu.kernel({ name: 'step_totals', text: shaders.step_totals.text }, { SLOT: recordFloats, FIRST_LOSS: recordFields.length });
  rec.dispatch(kernel, { stats, loss_rows: lossRows, squares, grad_b_dec: gradBDec, dead, flags, record, clip },
    { rows, squares: squareCount, squares_at: firstSquare, d_in: gradBDec.columns, slot, losses, max_norm: maxNorm }, 1);
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
