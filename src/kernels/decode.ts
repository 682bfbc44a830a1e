import { imageWidth, type Recorder, type Tensor } from '../gpu/index.ts';
import { expectPairs, type Pairs } from './pairs.ts';
import { dispatchInPieces } from './pieces.ts';
import { expectShape, imageLanes, type LatentRange, rowWorkgroup, shardParts } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/**
 * r[b, :] = bias * b_dec + sum over the kept pairs (i, v) of row b of v W_dec[i, :].
 * W_dec [d_sae, d_in], possibly sharded; b_dec [1, d_in]; r [rows, d_in]. `bias` is 1 or 0. With `range` over its latents alone, and
 * with `before` [rows, d_in], what the latents before them gave, in the place of b_dec.
 */
export function decodeSparse(rec: Recorder, tensors: Pairs & { W_dec: Tensor; b_dec: Tensor; r: Tensor; before?: Tensor }, rows: number, bias: 0 | 1, range?: LatentRange): void {
  const { indices, values, offsets, W_dec, b_dec, r, before } = tensors;
  expectPairs('decode', tensors, rows);
  expectShape('decode', r, rows, W_dec.columns);
  expectShape('decode', b_dec, 1, W_dec.columns);
  if (before) expectShape('decode', before, rows, W_dec.columns);
  const LANES = imageLanes(rec.gpu);
  shardParts(W_dec, range).forEach(({ shard, ...part }, n) => {
    const variant = { START: n === 0 ? 1 : 0, RAGGED: offsets ? 1 : 0 };
    const kernel = LANES
      ? rec.gpu.kernel({ name: 'decode_image', text: shaders.decode_image.text }, { ...variant, LANES, IMAGE_WIDTH: imageWidth })
      : rec.gpu.kernel({ name: 'decode_sparse', text: shaders.decode_sparse.text }, { ...variant, WG: rowWorkgroup(rec.gpu) });
    dispatchInPieces(rec, kernel, { indices, values, offsets: offsets ?? indices, W_dec: shard, base: before ?? b_dec, r },
      { rows, k: indices.columns, ...part, stride: W_dec.stride, base_step: before ? before.stride / 4 : 0, bias }, rows);
  });
}
