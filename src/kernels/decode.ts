import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectShape, rowWorkgroup } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/**
 * r[b, :] = bias * b_dec + sum over the kept pairs (i, v) of row b of v W_dec[i, :].
 * indices, values [rows, k]; W_dec [d_sae, d_in], possibly sharded; b_dec [1, d_in]; r [rows, d_in]. `bias` is 1 or 0.
 */
export function decodeSparse(rec: Recorder, tensors: { indices: Tensor; values: Tensor; W_dec: Tensor; b_dec: Tensor; r: Tensor }, rows: number, bias: 0 | 1): void {
  const { indices, values, W_dec, b_dec, r } = tensors;
  expectShape('decode', r, rows, W_dec.columns);
  expectShape('decode', b_dec, 1, W_dec.columns);
  W_dec.shards.forEach((shard, n) => {
    rec.dispatch(rec.gpu.kernel({ name: 'decode_sparse', text: shaders.decode_sparse.text }, { WG: rowWorkgroup(rec.gpu), START: n === 0 ? 1 : 0 }),
      { indices, values, W_dec: shard, b_dec, r },
      { rows, k: indices.columns, first_latent: shard.first, latents: shard.rows, stride: W_dec.stride, bias }, rows);
  });
}

/** r[b, :] = b_dec + sum over latents of f[b, i] W_dec[i, :]. f [rows, d_sae] unpadded; the rest as in decodeSparse. */
export function decodeDense(rec: Recorder, tensors: { f: Tensor; W_dec: Tensor; b_dec: Tensor; r: Tensor }, rows: number): void {
  const { f, W_dec, b_dec, r } = tensors;
  expectShape('decode', f, rows, W_dec.rows);
  expectShape('decode', r, rows, W_dec.columns);
  expectShape('decode', b_dec, 1, W_dec.columns);
  W_dec.shards.forEach((shard, n) => {
    rec.dispatch(rec.gpu.kernel({ name: 'decode_dense', text: shaders.decode_dense.text }, { WG: rowWorkgroup(rec.gpu), START: n === 0 ? 1 : 0 }),
      { f, W_dec: shard, b_dec, r },
      { rows, first_latent: shard.first, latents: shard.rows, stride: W_dec.stride, f_stride: f.stride }, rows);
  });
}
