import { CochleaError } from '../errors.ts';
import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectShape, groupsFor, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** What the top-k kernel writes into an empty slot's index. */
export const noLatent = 0xffffffff;

export interface TopkTensors {
  /** Pre-activations [rows, d_sae], unpadded. */
  h: Tensor;
  /** Kept latents [.., k], ascending in each row; empty slots hold noLatent. */
  indices: Tensor;
  /** Kept values [.., k]. */
  values: Tensor;
  /** Bit 0 of its first word is set when a score was not finite. */
  flags: Tensor;
  /** Decoder row norms [1, d_sae]: scores are h times these. Without it scores are h. */
  norms?: Tensor;
  /** [1, d_sae + 1]: a count and that many latents, ascending: the only candidates; negative values are kept as they are. */
  list?: Tensor;
}

/**
 * The k largest scores of each row, ties to the smaller latent: the support of a TopK SAE (Gao et al. 2024, eq. 2)
 * with relu applied to what is kept; with `list`, the support of its auxiliary loss. Rows firstRow ... of indices and values are written.
 */
export function topkRows(rec: Recorder, tensors: TopkTensors, firstRow: number, rows: number, k: number): void {
  const { h, indices, values, flags, norms, list } = tensors;
  expectShape('topk', h, rows, h.columns);
  expectShape('topk', indices, firstRow + rows, k);
  expectShape('topk', values, firstRow + rows, k);
  if (h.stride !== h.columns || indices.stride !== k || values.stride !== k) throw new CochleaError('gpu-error', 'topk: h, indices and values must be unpadded');
  const variant = { SCALED: norms ? 1 : 0, FROM_LIST: list ? 1 : 0 };
  const bindings = { h, norms: norms ?? h, list: list ?? h, indices, values, flags };
  const shape = { rows, first_row: firstRow, latents: h.columns, k };
  if (rec.gpu.adapter.software) {
    const WG = rowWorkgroup(rec.gpu);
    const kernel = rec.gpu.kernel({ name: 'topk_bisect', text: shaders.topk_bisect.text }, { ...variant, WG, GROUPS: groupsOfLane(k, WG) });
    rec.dispatch(kernel, bindings, shape, groupsFor(rows, 16));
  } else {
    rec.dispatch(rec.gpu.kernel({ name: 'topk_rows', text: shaders.topk_rows.text }, { ...variant, WG: 256 }), bindings, shape, rows);
  }
}

/** Two groups or more for every score that is kept, as far as there is room; in powers of four, so that few pipelines are compiled. */
function groupsOfLane(k: number, lanes: number): number {
  return Math.min(1024 / lanes, Math.max(16, 4 ** Math.ceil(Math.log2((2 * k) / lanes) / 2)));
}
