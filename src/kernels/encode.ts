import { CochleaError } from '../errors.ts';
import { choiceName, type Gpu, maxGroups, type Recorder, type Tensor, variantFor } from '../gpu/index.ts';
import { expectShape, groupsFor, subgroupOf } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** The shaders of the encoder's matrix product. They may add in different orders, so their bits may differ. */
type Form = 'direct' | 'resident' | 'tiled' | 'wide';

/** How the product is computed: by one of them as it is, or with its operands rounded to float16. */
export type EncodeVariant = Form | 'tiled_f16' | 'wide_f16';

/** Variants that run only where they are asked for, since they round more, and what each needs of an adapter. */
export const halfVariants: ReadonlyMap<EncodeVariant, GPUFeatureName> = new Map([['tiled_f16', 'shader-f16'], ['wide_f16', 'shader-f16']]);

/** The variant's shader, which both precisions have in common. */
const formOf = (variant: EncodeVariant): Form => variant.replace(/_f16$/, '') as Form;

/** Rows and latents of one workgroup. */
const tiles: Record<Form, { rows: number; latents: (lanes: number) => number }> = {
  direct: { rows: 128, latents: () => 128 },
  resident: { rows: 512, latents: (lanes) => 8 * lanes },
  tiled: { rows: 64, latents: () => 64 },
  wide: { rows: 128, latents: () => 128 },
};

/** The name of the choice for these shapes. Those of one class are able to run the same variants. */
export function encodeChoice(dIn: number, dSae: number): string {
  return `${choiceName('encode', [dIn, dSae])}${dSae % 4 === 0 ? '' : ' uneven'}`;
}

/** What the adapter can run for d_sae latents, the best guess first: hardware pays for loads, a software adapter for loads and barriers. */
export function encodeVariants(gpu: Gpu, dSae: number): Form[] {
  const lanes = subgroupOf(gpu);
  const resident: Form[] = lanes && dSae % 4 === 0 ? ['resident'] : [];
  if (!gpu.adapter.software) return ['tiled', 'wide', 'direct'];
  return lanes === 8 ? [...resident, 'direct', 'tiled', 'wide'] : ['direct', ...resident, 'tiled', 'wide'];
}

/** Scores whose largest of every 8 latents encode leaves for `topkRows`. */
export interface Tops {
  /** [rows, ceil(d_sae / 8)], unpadded. */
  tops: Tensor;
  /** As for topkRows. */
  norms?: Tensor;
  absolute: boolean;
}

/** Whether the variant that runs these shapes can leave tops. */
export function leavesTops(gpu: Gpu, dIn: number, dSae: number): boolean {
  return encodeVariant(gpu, dIn, dSae, true) === 'resident';
}

function encodeVariant(gpu: Gpu, dIn: number, dSae: number, roundable: boolean): EncodeVariant {
  const variant = variantFor(gpu, encodeChoice(dIn, dSae), encodeVariants(gpu, dSae), halfVariants);
  return roundable ? variant : formOf(variant);
}

export interface EncodeOptions {
  /** Whether a variant that rounds to float16 serves, where one is asked for: gradients, say, are too small for it. Else its shader runs in float32. */
  roundable?: boolean;
  variant?: EncodeVariant;
  tops?: Tops;
}

/**
 * h[b, i] = sum_d xc[firstRow + b, d] W_enc[i, d] + b_enc[i] for `rows` rows: the pre-activations of every latent.
 * xc [.., d_in], W_enc [d_sae, d_in] latent-major and possibly sharded, b_enc [1, d_sae], h [rows, d_sae] unpadded. A product that would keep the adapter
 * busy for too long at a time is dispatched in pieces; that changes no bit.
 */
export function encode(rec: Recorder, tensors: { xc: Tensor; W_enc: Tensor; b_enc: Tensor; h: Tensor }, firstRow: number, rows: number,
  { roundable = false, variant = encodeVariant(rec.gpu, tensors.W_enc.columns, tensors.W_enc.rows, roundable), tops }: EncodeOptions = {}): void {
  const { xc, W_enc, b_enc, h } = tensors;
  expectShape('encode', xc, firstRow + rows, W_enc.columns);
  expectShape('encode', b_enc, 1, W_enc.rows);
  expectShape('encode', h, rows, W_enc.rows);
  if (tops) expectShape('encode', tops.tops, rows, Math.ceil(W_enc.rows / 8));
  const form = formOf(variant);
  if (tops && form !== 'resident') throw new CochleaError('gpu-error', `encode: ${variant} leaves no tops`);
  const lanes = rec.gpu.subgroups?.size ?? 0;
  const kernel = rec.gpu.kernel({ name: `encode_${form}`, text: shaders[`encode_${form}`].text }, form === 'resident'
    ? { LANES: lanes, TOPS: tops ? 1 : 0, SCALED: tops?.norms ? 1 : 0, ABSOLUTE: tops?.absolute ? 1 : 0 }
    : halfVariants.has(variant) ? { HALF: 1 } : {});
  const tile = { rows: tiles[form].rows, latents: tiles[form].latents(lanes) };
  for (const shard of W_enc.shards) {
    for (const piece of pieces(rows, shard.rows, tile, rec.gpu.dispatchFlops / (2 * W_enc.columns))) {
      rec.dispatch(kernel, { xc, W: shard, bias: b_enc, norms: tops?.norms ?? b_enc, h, tops: tops?.tops ?? rec.gpu.unused },
        { ...piece, first_row: firstRow, first_latent: shard.first, stride: W_enc.stride, h_stride: h.stride },
        [groupsFor(piece.latents - piece.begin_latent, tile.latents), groupsFor(piece.rows - piece.begin_row, tile.rows)]);
    }
  }
}

interface Piece {
  begin_row: number;
  rows: number;
  begin_latent: number;
  latents: number;
}

/** Pieces of whole tiles with at most so many sums each, or one tile, and no more tiles than a grid takes; all rows of some latents together where that is possible. */
function pieces(rows: number, latents: number, tile: { rows: number; latents: number }, sums: number): Piece[] {
  const whole = (length: number, of: number): number => Math.min(maxGroups, Math.max(1, Math.floor(length / of))) * of;
  const across = whole(Math.min(latents, sums / Math.min(rows, tile.rows)), tile.latents);
  const down = whole(Math.min(rows, sums / Math.min(latents, across)), tile.rows);
  const found: Piece[] = [];
  for (let row = 0; row < rows; row += down) {
    for (let latent = 0; latent < latents; latent += across) {
      found.push({ begin_row: row, rows: Math.min(row + down, rows), begin_latent: latent, latents: Math.min(latent + across, latents) });
    }
  }
  return found;
}
