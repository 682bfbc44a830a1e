/** Costs of the kernels that go over frames, codes or parameters once: bandwidth is what they take. */
import { type CountOf, pairsOf } from './cost.ts';

/** Of jumprelu's tanh penalty: exp(-2 s f n) with its three factors, and what is made of it. */
const fading = 4;

export const rows: Record<string, CountOf> = {
  /** Comparisons (activate.wgsl). */
  activate: (_, { elements, latents }) => [0, 2 * elements! + Math.min(elements!, latents!)],
  /** clip g; m: 3; v: 4; rate m / (sqrt(v) root + epsilon): 5; the subtraction (adam.wgsl). Four parameters a quad. */
  adam: (_, { quads }) => [14 * 4 * quads!, 7 * 4 * quads! + 1],
  /** A sum and a product (add_rows.wgsl). */
  add_rows: (_, { quads }) => [2 * 4 * quads!, 3 * 4 * quads!],
  /** a - e and its square and sum, the gradient; the affine map of a, and of RAW outputs; per row the weight and its two scales (auxiliary_rows.wgsl). */
  auxiliary_rows: ({ AFFINE, RAW, ADD }, { rows, d_in }) => [
    rows! * (d_in! * (5 + 2 * AFFINE! + 2 * RAW!) + 5 + AFFINE! + ADD!),
    rows! * (4 * d_in! + (AFFINE! || RAW! ? 2 : 0) + 1 + ADD!) + 1,
  ],
  /** A sum, weighted or not, per element (column_sums.wgsl). */
  column_sums: ({ WEIGHTED, BLOCK }, { rows, stride }) => [rows! * stride! * (1 + WEIGHTED!), rows! * stride! + WEIGHTED! * rows! + Math.ceil(rows! / BLOCK!) * stride!],
  /** A sum per block and column, the factor, and what was there (column_total.wgsl). */
  column_total: (_, { blocks, stride, keep }) => [stride! * (blocks! + 1 + keep!), stride! * (blocks! + 1 + keep!)],
  /** r - t, its square and sum, its scale (error_rows.wgsl). */
  error_rows: (_, { rows, d_in }) => [rows! * (4 * d_in! + 1), rows! * (3 * d_in! + 1)],
  /** (pi - b_gate) exp(r_mag) + b_mag (gated_activate.wgsl). */
  gated_activate: (_, { elements, latents }) => [3 * elements!, 2 * elements! + 3 * Math.min(elements!, latents!)],
  /** The same, and the count (gated_rows.wgsl). */
  gated_rows: (_, { rows, latents }) => [4 * rows! * latents!, 2 * rows! * latents! + 3 * latents! + rows!],
  /** h, m, dh and the three sums, one of them of products (gated_latents.wgsl). */
  gated_latents: (_, { rows, latents, keep }) => [8 * rows! * latents!, 3 * rows! * latents! + 3 * latents! + 4 * latents! * (1 + keep!)],
  /** An exponential (gated_traits.wgsl). */
  gated_traits: (_, { latents }) => [latents!, 7 * latents!],
  /** K' : h - theta, theta df + pressure, K times it, the sums of dh and of dtheta d theta (7); tanh (14); TO_INPUT (1); PRE_ACT (6); per latent four scales (jumprelu_latents.wgsl). */
  jumprelu_latents: ({ SPARSITY, PRE_ACT, TO_INPUT }, { rows, latents, keep }) => [
    latents! * (4 + rows! * (7 + (SPARSITY === 1 ? fading + 10 : 0) + TO_INPUT! + 6 * PRE_ACT!)),
    3 * rows! * latents! + 4 * latents! + (SPARSITY === 2 ? 1 : 0) + 4 * latents! * (1 + keep!),
  ],
  /** The count; tanh by its exponential (4 + 4); lambda relu(theta - h) n, summed (4); per row the coefficient (jumprelu_rows.wgsl). */
  jumprelu_rows: ({ SPARSITY, PRE_ACT }, { rows, latents }) => [
    rows! * (latents! * (1 + (SPARSITY === 1 ? fading + 4 : 0) + 4 * PRE_ACT!) + (SPARSITY! < 2 ? 1 : 0)),
    2 * rows! * latents! + latents! * (1 + (SPARSITY === 1 || PRE_ACT ? 1 : 0) + PRE_ACT!) + rows! * (1 + (SPARSITY! < 2 ? 1 : 0) + PRE_ACT!),
  ],
  /** With LOG an exponential (jumprelu_traits.wgsl). */
  jumprelu_traits: ({ LOG }, { latents }) => [LOG! * latents!, 6 * latents! + 1],
  /** e (3), its square and sum, outer + scale e; per row the scale (level_rows.wgsl). */
  level_rows: (_, { rows, d_in }) => [rows! * (7 * d_in! + 2), rows! * (4 * d_in! + 3)],
  /** NORMS: |W|^2, its root, the pull and what it adds; the squares of both gradients and of VECTORS numbers (latent_squares.wgsl). */
  latent_squares: ({ NORMS, VECTORS }, { latents, stride, enc_stride }) => [
    latents! * (NORMS! * (4 * stride! + 2) + 2 * stride! + 2 * enc_stride! + 2 * VECTORS!),
    latents! * ((1 + 2 * NORMS!) * stride! + NORMS! + enc_stride! + VECTORS! + 1),
  ],
  /** (x - centre) scale, - subtract b_dec; constant_norm_rescale: squares and a product; layer_norm: a mean, deviations, squares, a product; per row 4 or 6 (prepare_rows.wgsl). */
  prepare_rows: ({ NORMALISE }, { rows, d_in, stride }) => [
    rows! * (d_in! * (4 + [0, 3, 5][NORMALISE!]!) + [0, 4, 6][NORMALISE!]!),
    rows! * (d_in! + 2 * stride! + 2) + 2 * d_in!,
  ],
  /** Two dot products, c, the subtraction, the square (project_rows.wgsl). */
  project_rows: (_, { rows, stride }) => [rows! * (6 * stride! + 3), rows! * (3 * stride! + 2)],
  /** A word of the generator scaled: three operations; the integers do the work (random_uniform.wgsl). */
  random_uniform: (_, { rows, columns, stride }) => [3 * rows! * columns!, rows! * stride!],
  /** df + dw n, the sums of dh and dw f (5), dw (P 1: given, 2: two, else three), what is added (relu_latents.wgsl). */
  relu_latents: ({ P, ADD }, { rows, latents, keep }) => [
    rows! * latents! * (5 + (P === 1 ? 0 : P === 2 ? 2 : 3) + ADD!),
    rows! * latents! * (3 + ADD!) + rows! + latents! + 3 * latents! * (1 + keep!),
  ],
  /** f n, its power, the sum and the count; per row the root, the loss and the slope (relu_rows.wgsl). */
  relu_rows: ({ P }, { rows, latents }) => [rows! * (latents! * (P === 1 ? 3 : 4) + (P === 1 ? 2 : 5)), latents! + 2 * rows! * latents! + 3 * rows!],
  /** Two dot products, the share, what is taken and what is left (remove_projection.wgsl). */
  remove_projection: ({ FIRST }, { rows, columns }) => [rows! * (columns! * (7 - FIRST!) + 4), rows! * columns! * (5 - FIRST!)],
  /** out (2), e, its gradient, its square and sum, the deviation, its square and sum; active values counted; per row the scale and the ratio (residual_rows.wgsl). */
  residual_rows: (c, p) => {
    const { rows, d_in } = p as Record<string, number>;
    const counted = c['COUNT'] ? pairsOf(c, p) : 0;
    return [rows! * (9 * d_in! + 3) + counted, rows! * (4 * d_in! + 2 + 4) + d_in! + (c['COUNT'] ? counted : rows!) + (c['RAGGED'] ? rows! + 1 : 0)];
  },
  /** A sum; roundings are integers (round_bias.wgsl). */
  round_bias: (_, { rows, columns }) => [rows! * columns!, 2 * rows! * columns! + columns!],
  /** Squares and sum, and the root (row_norms.wgsl). */
  row_norms: ({ SQUARED }, { latents, stride }) => [latents! * (2 * stride! + 1 - SQUARED!), latents! * (stride! + 1)],
  /** A product per element, a division per row (scale_rows.wgsl). */
  scale_rows: (_, { rows, stride }) => [rows! * (stride! + 1), rows! * (2 * stride! + 1)],
  /** Integers but for subnormal numbers; two numbers to a word that is read (unpack_rows.wgsl). */
  unpack_rows: (_, { quads, columns, stride }) => [0, Math.ceil(((4 * quads!) / stride!) * columns! / 2) + 4 * quads!],
};
