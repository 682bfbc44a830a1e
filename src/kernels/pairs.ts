/** The kept (latent, value) pairs of a batch's rows, in two layouts. */
import { CochleaError } from '../errors.ts';
import type { Tensor } from '../gpu/index.ts';
import { expectShape } from './shapes.ts';

/** What a selection writes into an empty slot's index. */
export const noLatent = 0xffffffff;

/**
 * Latents ascend in each row. Either k slots a row: indices and values [rows, k], unpadded, empty slots behind the kept ones. Or as many as a
 * row has, with `offsets`: indices and values [1, room], those of row b from offsets[b] to offsets[b + 1] - 1, empty slots at the very end.
 */
export interface Pairs {
  indices: Tensor;
  values: Tensor;
  /** [1, rows + 1] */
  offsets?: Tensor;
}

/** Pairs with the gradients of their values, laid out as these are. */
export interface KeptPairs extends Pairs {
  dz: Tensor;
}

/** Slots of all rows together. */
export function slotsOf({ indices, offsets }: Pairs, rows: number): number {
  return offsets ? indices.columns : rows * indices.columns;
}

/** Throws unless pairs of so many rows are laid out as they must be. */
export function expectPairs(what: string, { indices, values, offsets }: Pairs, rows: number): void {
  if (offsets) expectShape(what, offsets, 1, Math.max(offsets.columns, rows + 1));
  for (const tensor of [indices, values]) {
    expectShape(what, tensor, offsets ? 1 : rows, indices.columns);
    if (tensor.stride !== tensor.columns) throw new CochleaError('gpu-error', `${what}: ${tensor.label} must be unpadded`);
  }
}
