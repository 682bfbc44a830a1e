import { CochleaError } from '../errors.ts';
import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectPairs, type Pairs } from './pairs.ts';
import { dispatchInPieces } from './pieces.ts';
import { expectShape, groupsFor, subgroupOf } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** What `topkRows` selects from. */
export interface TopkTensors extends Pairs {
  /** Pre-activations [rows, d_sae], unpadded. */
  h: Tensor;
  /** Bit 0 of its first word is set when a score was not finite. */
  flags: Tensor;
  /** Decoder row norms [1, d_sae]: scores are h times these. Without it scores are h. */
  norms?: Tensor;
  /** The largest score of every 8 latents [rows, ceil(d_sae / 8)], as encode leaves them; may be given where `topsOf` says so. */
  tops?: Tensor;
  /** [1, d_sae + 1]: a count and that many latents, ascending: the only candidates; negative values are kept as they are. */
  list?: Tensor;
}

/**
 * The k largest scores of each row, ties to the smaller latent: the support of a TopK SAE (Gao et al. 2024, eq. 2)
 * with relu applied to what is kept; with `list`, the support of its auxiliary loss. `absolute` ranks by the scores' sizes and keeps values
 * with their sign (AbsTopK). Rows firstRow ... of indices and values are written; they may have more than k slots.
 */
export function topkRows(rec: Recorder, tensors: TopkTensors, firstRow: number, rows: number, k: number, absolute = false): void {
  const { h, indices, values, flags, norms, list } = tensors;
  const tops = list ? undefined : tensors.tops;
  expectShape('topk', h, rows, h.columns);
  expectPairs('topk', tensors, firstRow + rows);
  const slots = indices.columns;
  if (h.stride !== h.columns || k > slots) throw new CochleaError('gpu-error', `topk: h must be unpadded, and ${slots} slots cannot take ${k}`);
  const variant = { SCALED: norms ? 1 : 0, FROM_LIST: list ? 1 : 0, ABSOLUTE: absolute ? 1 : 0 };
  const bindings = { h, norms: norms ?? h, list: list ?? h, indices, values, flags };
  const shape = { rows, first_row: firstRow, latents: h.columns, k, slots };
  const WG = subgroupOf(rec.gpu);
  const longest = { times: 3, constants: { FROM_LIST: 0, SHORT: 0 } }; // scores are looked at more than once, and a list may have every latent
  if (tops && h.columns % 4 !== 0) throw new CochleaError('gpu-error', `topk: ${h.columns} latents are no multiple of 4, and leave no tops`);
  if (WG && tops) {
    const GROUPS = groupsOfLane(slots, WG);
    const kernel = rec.gpu.kernel({ name: 'topk_tops', text: shaders.topk_tops.text }, { SCALED: variant.SCALED, ABSOLUTE: variant.ABSOLUTE, WG, GROUPS, HELD: Math.min(1.5 * GROUPS, 48), ROOM: Math.min(2 * GROUPS, 128) });
    dispatchInPieces(rec, kernel, { h, norms: norms ?? h, tops, indices, values, flags }, shape, groupsFor(rows, 16), longest);
  } else if (WG) {
    const SHORT = list ? listRoom(h.columns, WG) : 0;
    if (list) {
      const kernel = rec.gpu.kernel({ name: 'topk_listed', text: shaders.topk_listed.text }, { SCALED: variant.SCALED, ABSOLUTE: variant.ABSOLUTE, WG, HELD: SHORT / WG / 4 });
      dispatchInPieces(rec, kernel, bindings, shape, groupsFor(rows, 16), longest);
    }
    if (SHORT < h.columns) {
      const kernel = rec.gpu.kernel({ name: 'topk_bisect', text: shaders.topk_bisect.text }, { ...variant, SHORT, WG, GROUPS: groupsOfLane(slots, WG) });
      dispatchInPieces(rec, kernel, bindings, shape, groupsFor(rows, 16), longest);
    }
  } else {
    if (tops) throw new CochleaError('gpu-error', 'topk: this adapter\'s variant takes no tops');
    dispatchInPieces(rec, rec.gpu.kernel({ name: 'topk_rows', text: shaders.topk_rows.text }, { ...variant, WG: 256 }), bindings, shape, rows, longest);
  }
}

/** Two groups or more for every score that is kept, as far as there is room; in powers of four, so that few pipelines are compiled. */
function groupsOfLane(k: number, lanes: number): number {
  return Math.min(1024 / lanes, Math.max(16, 4 ** Math.ceil(Math.log2((2 * k) / lanes) / 2)));
}

/** Latents of a list that the lanes of topk_listed have room for: all of them, or as many as registers take. */
function listRoom(latents: number, lanes: number): number {
  return 4 * lanes * Math.min(128, 32 * Math.ceil(latents / (4 * lanes) / 32));
}

/** The best latent of each of k groups of d_sae / k latents, relu applied (see groupmax_rows.wgsl; the groupmax of EleutherAI's sparsify). Else as topkRows. */
export function groupmaxRows(rec: Recorder, tensors: TopkTensors, firstRow: number, rows: number, k: number): void {
  const { h, indices, values, flags, norms } = tensors;
  expectShape('groupmax', h, rows, h.columns);
  expectPairs('groupmax', tensors, firstRow + rows);
  if (h.stride !== h.columns || indices.columns !== k || h.columns % k !== 0) throw new CochleaError('gpu-error', `groupmax: ${h.columns} latents do not make ${k} groups`);
  rec.dispatch(rec.gpu.kernel({ name: 'groupmax_rows', text: shaders.groupmax_rows.text }, { SCALED: norms ? 1 : 0 }),
    { h, norms: norms ?? h, indices, values, flags }, { rows, first_row: firstRow, latents: h.columns, k }, groupsFor(rows * k));
}
