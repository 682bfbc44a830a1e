/** Costs of the kernels that multiply weights: dense products, sums over kept pairs, their gradients, attention, pursuit. */
import { type CountOf, pairsOf, shareOf } from './cost.ts';

/** h = x W^T + bias: a multiply-add per row, latent and column, and the bias; with TOPS a score for each, and the largest of eight (encode_direct.wgsl, encode_resident.wgsl). HALF rounds what comes as float32. */
const encode: CountOf = ({ TOPS = 0, SCALED = 0 }, { begin_row, rows, begin_latent, latents, stride }) => {
  const m = rows! - begin_row!, n = latents! - begin_latent!;
  return [m * n * (2 * stride! + 1 + TOPS * SCALED), (m + n) * stride! + n + m * n + TOPS * (m * Math.ceil(n / 8) + SCALED * n)];
};

/** C = start + A B: a multiply-add per row, term and column; zeros of A, which the direct variant skips, are counted (weighted_rows_tiled.wgsl). */
const weightedRows: CountOf = (_, { rows, terms, stride, start }) => [
  2 * rows! * terms! * stride!,
  rows! * terms! + terms! * stride! + rows! * stride! * (start === 0 ? 2 : 1) + (start === 2 ? stride! : 0),
];

/** r = b_dec + sum of v W_dec[i,:]: a multiply-add per pair and column, and where rows begin `bias` times the base (decode_sparse.wgsl). */
const decodeSparse: CountOf = (c, p, bound) => {
  const { rows, latents, stride, base_step } = p as Record<string, number>;
  const all = pairsOf(c, p), pairs = all * shareOf(latents!, bound['W_dec']);
  const base = base_step! > 0 ? rows! * stride! : stride!;
  return [
    2 * pairs * stride! + (c['START'] ? rows! * stride! : 0),
    all + pairs + (c['RAGGED'] ? rows! + 1 : 0) + Math.min(pairs, latents!) * stride! + rows! * stride! + (c['START'] ? base : rows! * stride!),
  ];
};

/** dz = g . W_dec[i,:]: a multiply-add per pair and column (kept_gradients.wgsl). */
const keptGradients: CountOf = (c, p, bound) => {
  const { rows, latents, stride } = p as Record<string, number>;
  const all = pairsOf(c, p), pairs = all * shareOf(latents!, bound['W_dec']);
  return [
    2 * pairs * stride!,
    all + (c['RELU'] ? pairs : 0) + (c['RAGGED'] ? rows! + 1 : 0) + rows! * stride! + Math.min(pairs, latents!) * stride! + pairs,
  ];
};

/** Per pair and column a multiply-add each way; per column what residual_rows.wgsl does; per row its scale and ratio, active values counted (reconstruct_image.wgsl). */
const reconstruct: CountOf = (_, { rows, k, latents, stride, d_in, keep_out }) => {
  const pairs = rows! * k!;
  return [
    pairs * (4 * stride! + 1) + rows! * (9 * d_in! + 3),
    3 * pairs + Math.min(pairs, latents!) * stride! + stride! + d_in! + rows! * ((2 + keep_out!) * d_in! + 2 + 4),
  ];
};

/**
 * Per pair two multiply-adds a column and the bias' sum; per latent the squares of both rows and of the bias (latent_gradients.wgsl). With ADD only
 * latents that have pairs are touched.
 */
const latentGradients: CountOf = (c, { latents, stride }, bound) => {
  const pairs = bound['entries']!.rows * shareOf(latents!, bound['grad_W_dec']);
  const touched = c['ADD'] ? Math.min(pairs, latents!) : latents!;
  const frames = Math.min(pairs, bound['g']!.rows);
  return [
    pairs * (4 * stride! + 1) + touched * (4 * stride! + 2),
    latents! + 1 + 3 * pairs + 2 * frames * stride! + (c['ADD'] ? 2 : 1) * 2 * touched * stride! + touched * (2 + c['ADD']!),
  ];
};

/** Per pair a multiply-add a column (TERM 2: an addition), per latent its squares; TERM 1 also sums the bias and its square (gathered_gradients.wgsl). */
const gatheredGradients: CountOf = (c, { latents, stride, picks, rows }, bound) => {
  const slots = c['TERM'] === 2 ? Math.min(bound['entries']!.rows, rows! * picks!) : bound['entries']!.rows;
  const pairs = slots * shareOf(latents!, bound['grad']);
  const touched = c['ADD'] ? Math.min(pairs, latents!) : latents!;
  const ofBias = c['TERM'] === 1 ? 1 : 0;
  const gathered = c['TERM'] === 2 ? pairs : Math.min(pairs, bound['M']!.rows);
  return [
    pairs * ((c['TERM'] === 2 ? 1 : 2) * stride! + ofBias) + touched * (2 * stride! + 2 * ofBias),
    latents! + 1 + 2 * pairs + gathered * stride! + (c['ADD'] ? 2 : 1) * touched * stride! + touched * (1 + ofBias * (1 + c['ADD']!)),
  ];
};

/** Keys that the rows of a dispatch see together, and the most that one of them does. */
function keysSeen(c: Record<string, number>, { rows, first_row, keys }: Record<string, number>): { all: number; most: number } {
  if (!c['OWN']) return { all: rows! * keys!, most: keys! };
  let all = 0;
  for (let row = 0; row < rows!; row++) all += Math.min(keys!, first_row! + row);
  return { all, most: Math.min(keys!, first_row! + rows! - 1) };
}

/** Per key seen a dot product, its scale, an exponential and a sum; per row and head the running softmax (attention_scores.wgsl). */
const attentionScores: CountOf = (c, p) => {
  const { rows, heads, width, keys } = p as Record<string, number>;
  const { all, most } = keysSeen(c, p);
  const first = c['FIRST'] ? 1 : 0;
  return [
    heads! * (all * (2 * width! + 4) + rows! * (4 + first * (2 * width! + 1))),
    heads! * (rows! * width! + most * width! + first * width! + rows! * keys! + rows! * (first ? 2 : 4) + rows!),
  ];
};

/** Per key seen a multiply-add a latent; then what earlier blocks gave, shrunk, and after the last the division (attention_values.wgsl). */
const attentionValues: CountOf = (c, p) => {
  const { rows, heads, latents } = p as Record<string, number>;
  const { all, most } = keysSeen(c, p);
  const first = c['FIRST'] ? 1 : 0, last = c['LAST'] ? 1 : 0;
  return [
    latents! * (2 * all + rows! * (2 + last)),
    heads! * all + most * latents! + rows! * latents! * (first ? 1 : 2) + first * latents! + rows! * heads! * (1 + last),
  ];
};

/** Where a threshold may end a row, the length of its residual; else comparisons (pursuit_choose.wgsl). */
const pursuitChoose: CountOf = (_, { rows, latents, stride, iteration, threshold }) => {
  const measured = iteration! > 0 && threshold! > 0;
  return [
    measured ? rows! * (2 * stride! + 1) : 0,
    rows! * latents! + (measured ? rows! * stride! : 0) + rows! * (2 * iteration! + 3 + 2),
  ];
};

/** A multiply-add per row and column, of the rows whose pick lies in this shard (pursuit_subtract.wgsl). */
const pursuitSubtract: CountOf = (_, { rows, latents, stride }, bound) => {
  const picks = rows! * shareOf(latents!, bound['W_dec']);
  return [2 * picks * stride!, 2 * rows! + Math.min(picks, latents!) * stride! + 2 * picks * stride!];
};

/** Per pick a dot product, the residual before it, two terms of its share and q: five multiply-adds a column (pursuit_gradients.wgsl). */
const pursuitGradients: CountOf = (_, { rows, first_pick, end_pick, latents, stride }, bound) => {
  const all = rows! * (end_pick! - first_pick!), picks = all * shareOf(latents!, bound['W_dec']);
  return [10 * picks * stride!, all + 2 * picks + Math.min(picks, latents!) * stride! + 4 * rows! * stride! + 2 * picks * stride!];
};

export const products: Record<string, CountOf> = {
  encode_direct: encode, encode_resident: encode, encode_tiled: encode, encode_wide: encode,
  weighted_rows_direct: weightedRows, weighted_rows_resident: weightedRows, weighted_rows_tiled: weightedRows,
  decode_sparse: decodeSparse, decode_image: decodeSparse,
  kept_gradients: keptGradients, kept_gradients_direct: keptGradients, kept_gradients_image: keptGradients,
  reconstruct_image: reconstruct,
  latent_gradients: latentGradients, latent_gradients_image: latentGradients, gathered_gradients: gatheredGradients,
  attention_scores: attentionScores, attention_values: attentionValues,
  pursuit_choose: pursuitChoose, pursuit_subtract: pursuitSubtract, pursuit_gradients: pursuitGradients,
  /** Each pick's value is added to its pair's once (pursuit_merge.wgsl). */
  pursuit_merge: (_, { rows, picks }) => [rows! * picks!, 6 * rows! * picks!],
};
