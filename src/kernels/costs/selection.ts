/** Costs of selections, lists, counters and sums over a step, which are integers for the most part, and of the contrastive loss. */
import { type CountOf, shareOf } from './cost.ts';

/**
 * Scores that are looked at: all, or of a list as many as are kept of it. Each is scaled where the launch says so (topk_rows.wgsl, topk_bisect.wgsl). A launch
 * that is there for long lists alone counts as one that finds a short one.
 */
const topk: CountOf = ({ SCALED, FROM_LIST, SHORT }, { rows, latents, k, slots }) => {
  if (SHORT) return [0, 1];
  const candidates = Math.min(latents!, FROM_LIST ? k! : latents!);
  return [SCALED! * rows! * candidates, rows! * candidates + SCALED! * candidates + (FROM_LIST ? candidates + 1 : 0) + 2 * rows! * slots!];
};

export const selection: Record<string, CountOf> = {
  topk_rows: topk, topk_bisect: topk, topk_listed: (constants, ...rest) => topk({ ...constants, FROM_LIST: 1 }, ...rest),
  /** The same of the eights that have the k largest scores, besides the tops (topk_tops.wgsl). */
  topk_tops({ SCALED }, { rows, latents, k, slots }) {
    const candidates = rows! * Math.min(latents!, 8 * k!);
    return [SCALED! * candidates, candidates + SCALED! * Math.min(latents!, candidates) + rows! * Math.ceil(latents! / 8) + 2 * rows! * slots!];
  },
  /** Scaled scores (groupmax_rows.wgsl). */
  groupmax_rows: ({ SCALED }, { rows, latents, k }) => [SCALED! * rows! * latents!, rows! * latents! + SCALED! * latents! + 2 * rows! * k!],
  /** Scaled scores; the histogram is read and written (batchtopk_histogram.wgsl). */
  batchtopk_histogram: ({ SCALED, BINS }, { rows, latents, above }) => [SCALED! * rows! * latents!, rows! * latents! + SCALED! * latents! + (above! < 31 ? 1 : 0) + 2 * BINS!],
  /** Integers: the histogram is read and cleared (batchtopk_digit.wgsl). */
  batchtopk_digit: ({ BINS }, { above, shift }) => [0, 2 * BINS! + (above! < 31 ? 6 : 3) + (shift === 0 ? 1 : 0)],
  /** Scaled scores, two counts a part (batchtopk_count.wgsl). */
  batchtopk_count: ({ SCALED, PARTS }, { rows, latents }) => [SCALED! * rows! * latents!, rows! * latents! + SCALED! * latents! + 1 + 2 * PARTS! * rows!],
  /** Scaled scores, and this chunk's part of the pairs (batchtopk_place.wgsl). */
  batchtopk_place: ({ SCALED, PARTS }, { rows, latents, parts, room }) => [
    SCALED! * rows! * latents!,
    rows! * latents! + SCALED! * latents! + 3 + 2 * (PARTS! * rows! + 1) + rows! + 1 + (2 * room! * PARTS! * rows!) / parts!,
  ],
  /** Integers: a count and a bit per pair (index_count.wgsl). */
  index_count: ({ KEEP_ALL, RAGGED }, { pairs, rows, latents }, bound) => {
    const here = pairs! * shareOf(latents!, bound['bitmap']);
    return [0, pairs! + (1 - KEEP_ALL!) * here + RAGGED! * (rows! + 1) + 2 * Math.min(here, latents!) + 2 * here];
  },
  /** Integers: bits of every 128 rows (index_rank.wgsl). */
  index_rank: (_, { latents, quads }) => [0, latents! * (1 + 5 * quads!)],
  /** Integers: an entry per pair, by the bits of its latent in its 128 rows (index_place.wgsl). */
  index_place: ({ RAGGED }, { pairs, rows, latents, quads }, bound) => {
    const here = pairs! * shareOf(latents!, bound['bitmap']), touched = Math.min(here, latents! * quads!);
    return [0, pairs! + 2 * here + RAGGED! * (rows! + 1) + 5 * touched + 3 * here];
  },
  /** Integers (index_scan.wgsl). */
  index_scan: (_, { n }) => [0, 2 * n! + 1],
  /** The silence summed; a list as long as there are latents (dead_list.wgsl). */
  dead_list: (_, { latents }) => [latents!, 2 * latents! + 2],
  /** Integers (list_range.wgsl). */
  list_range: (_, { latents }) => [0, 2 * (latents! + 1)],
  /** Integers (latent_counters.wgsl). */
  latent_counters: (_, { latents }) => [0, 5 * latents!],
  /** A product per pair, a sum per row, the mean (mean_cutoff.wgsl). */
  mean_cutoff: (_, { rows, k }, bound) => [rows! * k! + rows! + 1, 2 * rows! * k! + Math.min(rows! * k!, bound['norms']!.columns!) + 1],
  /** Four sums over rows, squares, the norm of b_dec's gradient, the losses; the root and the clipping factor (step_totals.wgsl). */
  step_totals: (_, { rows, squares, d_in, losses }) => [4 * rows! + squares! + 2 * d_in! + losses! * rows! + 3, 4 * rows! + squares! + d_in! + losses! * rows! + 1 + 2 + 7 + losses! + 1],
  /** Per pair the scale, its square and sum, the division; per row the root (contrast_codes.wgsl). */
  contrast_codes: ({ SCALED, COSINE }, { rows }, bound) => {
    const pairs = bound['indices']!.columns!;
    return [pairs * (SCALED! + 2 * COSINE! + 1) + COSINE! * rows!, 4 * pairs + rows! + 1 + SCALED! * Math.min(pairs, bound['norms']!.columns!) + 4 * rows!];
  },
  /** Per pair and row of the other side a multiply-add; per two rows a running softmax (7); per row its logarithm (contrast_scores.wgsl). */
  contrast_scores: (_, { rows, high }, bound) => {
    const pairs = bound['indices']!.columns!;
    return [rows! * (2 * pairs + 7 * rows! + 2), 2 * pairs + rows! + 1 + Math.min(pairs, high!) * rows! + 5 * rows!];
  },
  /** The scores again, their slopes (7, with COSINE their products with the scores), a multiply-add back per pair and row; per pair its factor (contrast_gradients.wgsl). */
  contrast_gradients: ({ SCALED, COSINE }, { rows, high }, bound) => {
    const pairs = bound['indices']!.columns!;
    return [
      rows! * (4 * pairs + rows! * (7 + 2 * COSINE!)) + pairs * (3 + SCALED! + 3 * COSINE!),
      4 * pairs + rows! + 1 + Math.min(pairs, high!) * rows! + 3 * rows! + SCALED! * Math.min(pairs, bound['norms']!.columns!),
    ];
  },
  /** Two differences, their sum, the coefficient (contrast_loss.wgsl). */
  contrast_loss: (_, { rows }) => [4 * rows!, 4 * rows!],
  /** Integers (digest.wgsl). */
  digest: (_, { words }) => [0, words! + 4],
  /** The mean of L0, its distance from the goal, the loss and the slope (target_l0.wgsl). */
  target_l0: (_, { rows }) => [rows! + 9, 2 * rows! + 1],
};
