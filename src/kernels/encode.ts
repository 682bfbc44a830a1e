import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectShape, groupsFor } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** How the encoder's matrix product is computed. The variants add in different orders, so their bits may differ. */
export type EncodeVariant = 'direct' | 'tiled';

/** What suits the adapter: software adapters pay for every barrier, hardware for every load. */
export function preferredEncodeVariant(rec: Recorder): EncodeVariant {
  return rec.gpu.adapter.software ? 'direct' : 'tiled';
}

/**
 * h[b, i] = sum_d xc[firstRow + b, d] W_enc[i, d] + b_enc[i] for `rows` rows: the pre-activations of every latent.
 * xc [.., d_in], W_enc [d_sae, d_in] latent-major and possibly sharded, b_enc [1, d_sae], h [rows, d_sae] unpadded.
 */
export function encode(rec: Recorder, tensors: { xc: Tensor; W_enc: Tensor; b_enc: Tensor; h: Tensor }, firstRow: number, rows: number,
  variant: EncodeVariant = preferredEncodeVariant(rec)): void {
  const { xc, W_enc, b_enc, h } = tensors;
  expectShape('encode', xc, firstRow + rows, W_enc.columns);
  expectShape('encode', b_enc, 1, W_enc.rows);
  expectShape('encode', h, rows, W_enc.rows);
  const direct = variant === 'direct';
  const kernel = rec.gpu.kernel({ name: `encode_${variant}`, text: shaders[`encode_${variant}`].text });
  for (const shard of W_enc.shards) {
    rec.dispatch(kernel, { xc, W: shard, bias: b_enc, h },
      { rows, first_row: firstRow, latents: shard.rows, first_latent: shard.first, stride: W_enc.stride, h_stride: h.stride },
      direct ? [groupsFor(shard.rows, 128), groupsFor(rows, 128)] : [groupsFor(shard.rows, 64), groupsFor(rows, 64)]);
  }
}
