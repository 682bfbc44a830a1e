/** A contrastive loss between the kept codes of two batches whose rows belong together (T-SAE; Bhalla et al. 2025). */
import { CochleaError } from '../errors.ts';
import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectPairs, type KeptPairs } from './pairs.ts';
import { dispatchInPieces } from './pieces.ts';
import { expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** One of the two batches. */
export interface ContrastSide {
  /** Of ragged rows, with values above zero. To their gradients dz the loss adds its own. */
  pairs: KeptPairs;
  /** Scratch: codes laid out as the pairs are; [high, batch], which also says how many latents are compared; [batch, 4] unpadded. */
  codes: Tensor;
  byLatent: Tensor;
  ofRow: Tensor;
}

/**
 * With s_bj the similarity of row b of one side and row j of the other, over their first `high` latents alone,
 *
 *   coefficient (-1/B sum_b log softmax_j(s_bj)_b - 1/B sum_j log softmax_b(s_bj)_j)
 *
 * is left in `column` of lossRows, one share per row of B, and its gradient is added to both sides' dz. Activations are the kept values, times `norms`
 * where given, which are held fixed. `flags` as in topkRows. No row x row matrix is held.
 */
export function contrast(rec: Recorder, tensors: { sides: readonly [ContrastSide, ContrastSide]; norms?: Tensor; lossRows: Tensor; flags: Tensor }, rows: number,
  options: { similarity: 'cosine' | 'inner_product'; coefficient: number; column: number }): void {
  const { sides, norms, lossRows, flags } = tensors;
  const { similarity, coefficient, column } = options;
  for (const { pairs, codes, byLatent, ofRow } of sides) {
    if (!pairs.offsets) throw new CochleaError('gpu-error', `contrast: ${pairs.indices.label} has no offsets`);
    expectPairs('contrast', pairs, rows);
    expectPairs('contrast', { ...pairs, values: codes }, rows);
    expectPairs('contrast', { ...pairs, values: pairs.dz }, rows);
    expectShape('contrast', ofRow, rows, 4);
    expectShape('contrast', byLatent, sides[0].byLatent.rows, Math.max(rows, byLatent.columns));
    rec.clear(byLatent);
  }
  const WG = rowWorkgroup(rec.gpu);
  const measure = { SCALED: norms ? 1 : 0, COSINE: similarity === 'cosine' ? 1 : 0 };
  const shape = ({ byLatent }: ContrastSide) => ({ rows, high: byLatent.rows, stride: byLatent.stride });
  for (const side of sides) {
    const { pairs: { indices, values, offsets }, codes, byLatent, ofRow } = side;
    rec.dispatch(rec.gpu.kernel({ name: 'contrast_codes', text: shaders.contrast_codes.text }, { ...measure, WG }),
      { indices, values, offsets: offsets!, norms: norms ?? values, codes, by_latent: byLatent, of_row: ofRow }, shape(side), rows);
  }
  const directions = [[sides[0], sides[1]], [sides[1], sides[0]]] as const;
  for (const [side, other] of directions) {
    const { pairs: { indices, offsets }, codes, ofRow } = side;
    dispatchInPieces(rec, rec.gpu.kernel({ name: 'contrast_scores', text: shaders.contrast_scores.text }, { WG }),
      { indices, offsets: offsets!, codes, others: other.byLatent, of_row: ofRow, flags }, shape(side), rows);
  }
  for (const [side, other] of directions) {
    const { pairs: { indices, offsets, dz }, codes, ofRow } = side;
    dispatchInPieces(rec, rec.gpu.kernel({ name: 'contrast_gradients', text: shaders.contrast_gradients.text }, { ...measure, WG }),
      { indices, offsets: offsets!, codes, others: other.byLatent, of_row: ofRow, of_other: other.ofRow, norms: norms ?? codes, dz },
      { ...shape(side), weight: coefficient / rows }, rows, { times: 3 }); // 1 GFLOP/s on lavapipe, where other gathers have 8 to 20
  }
  rec.dispatch(rec.gpu.kernel({ name: 'contrast_loss', text: shaders.contrast_loss.text }),
    { of_row: sides[0].ofRow, of_other: sides[1].ofRow, loss_rows: lossRows }, { rows, losses: lossRows.columns, column, coefficient }, groupsFor(rows));
}
