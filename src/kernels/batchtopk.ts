/** Selection over a whole batch (BatchTopK; Bussmann et al. 2024): a radix select, then count, scan, place. All of it is integer work. */
import { CochleaError } from '../errors.ts';
import type { Recorder, Tensor } from '../gpu/index.ts';
import { scan } from './gradients.ts';
import { expectPairs, type Pairs } from './pairs.ts';
import { expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** Values that one digit can have. */
export const histogramBins = 2048;

/** Parts of a row that are counted, and later written, each by one invocation. */
export const partsOfRow = 4;

/** Digits of a positive float's 31 bits, the highest first. */
const digits = [{ above: 31, shift: 20 }, { above: 20, shift: 9 }, { above: 9, shift: 0 }];

export interface BatchTopkTensors extends Pairs {
  /** Pre-activations [.., d_sae], unpadded, of consecutive rows; all but the last hold the same number. */
  h: readonly Tensor[];
  offsets: Tensor;
  /** The smallest score that is kept [1, 1]; +infinity when there is none. */
  smallest: Tensor;
  flags: Tensor;
  /** As in TopkTensors. */
  norms?: Tensor;
  /** Scratch: [1, 2048], zero before the first use; [1, 3]; [1, 2 * partsOfRow * batch]; one more than that. All u32. */
  histogram: Tensor;
  selection: Tensor;
  counts: Tensor;
  starts: Tensor;
}

/**
 * Keeps the `keep` largest scores above zero of all rows together, of equal ones the first in the batch; indices and values have room for as many.
 * Scores are h, or h times norms; what is kept is h. `flags` as in topkRows.
 */
export function batchTopk(rec: Recorder, tensors: BatchTopkTensors, rows: number, keep: number): void {
  const { h, indices, values, offsets, smallest, flags, histogram, selection, counts, starts } = tensors;
  expectPairs('batch topk', tensors, rows);
  if (keep > indices.columns) throw new CochleaError('gpu-error', `batch topk: no room for ${keep} pairs in ${indices.label}`);
  const norms = tensors.norms ?? h[0]!;
  const SCALED = tensors.norms ? 1 : 0;
  const chunks = h.map((tensor, n) => ({ h: tensor, first: n * h[0]!.rows, rows: Math.min(tensor.rows, rows - n * h[0]!.rows) })).filter((chunk) => chunk.rows > 0);
  for (const chunk of chunks) {
    expectShape('batch topk', chunk.h, chunk.rows, h[0]!.columns);
    if (chunk.h.stride !== chunk.h.columns) throw new CochleaError('gpu-error', `batch topk: ${chunk.h.label} must be unpadded`);
  }
  const latents = h[0]!.columns;
  const { software } = rec.gpu.adapter;
  const count = rec.gpu.kernel({ name: 'batchtopk_histogram', text: shaders.batchtopk_histogram.text }, { SCALED, BINS: histogramBins, WG: software ? rowWorkgroup(rec.gpu) : 256 });
  const rowsPerGroup = Math.ceil((software ? 2 ** 17 : 2 ** 14) / latents); // each workgroup clears, and gives, a whole histogram
  for (const digit of digits) {
    for (const chunk of chunks) {
      rec.dispatch(count, { h: chunk.h, norms, selection, histogram, flags },
        { rows: chunk.rows, latents, rows_per_group: rowsPerGroup, ...digit }, groupsFor(chunk.rows, rowsPerGroup));
    }
    rec.dispatch(rec.gpu.kernel({ name: 'batchtopk_digit', text: shaders.batchtopk_digit.text }, { BINS: histogramBins }),
      { histogram, selection, smallest }, { keep, ...digit }, 1);
  }
  const parts = rows * partsOfRow;
  for (const chunk of chunks) {
    rec.dispatch(rec.gpu.kernel({ name: 'batchtopk_count', text: shaders.batchtopk_count.text }, { SCALED, PARTS: partsOfRow }),
      { h: chunk.h, norms, selection, counts }, { rows: chunk.rows, first_row: chunk.first, latents, parts }, groupsFor(chunk.rows * partsOfRow));
  }
  scan(rec, { counts, starts }, 2 * parts);
  for (const chunk of chunks) {
    rec.dispatch(rec.gpu.kernel({ name: 'batchtopk_place', text: shaders.batchtopk_place.text }, { SCALED, PARTS: partsOfRow }),
      { h: chunk.h, norms, selection, starts, offsets, indices, values, smallest },
      { rows: chunk.rows, first_row: chunk.first, latents, parts, room: indices.columns }, groupsFor(chunk.rows * partsOfRow));
  }
}
