/**
 * Temporal SAE, or T-SAE (Bhalla et al. 2025, "Temporal sparse autoencoders", arXiv 2511.05541): a Matryoshka BatchTopK SAE of two levels
 * whose inner, high-level latents shall tell neighbouring frames from others.
 */

import { batchtopkPass } from './batchtopk-sae.ts';
import { decoderNorms, encodeBackward, encoderInput } from './linear.ts';
import type { Pass, PassContext, Tensors } from './linear.ts';
import { matryoshkaPass } from './matryoshka-sae.ts';
import { matmul, matmulTransposeB, rowNorms, transpose } from './matrix.ts';
import type { TopkTrainingConfig } from './topk-sae.ts';

export interface TemporalMatryoshkaConfig extends TopkTrainingConfig {
  /** Latents 0 ... highLevel - 1 are the high-level ones. */
  highLevel: number;
  contrastiveCoefficient: number;
  similarity: 'cosine' | 'inner_product';
}

/**
 * Both directions of InfoNCE over codes z, zBefore [rows, width] of frames and of those before them, each frame's own neighbour being the match:
 *
 *   -1/N sum_i log softmax_j(s_ij)_i - 1/N sum_j log softmax_i(s_ij)_j,   s_ij = similarity of z_i and zBefore_j
 */
export function contrastiveLoss(z: Float64Array, zBefore: Float64Array, rows: number, width: number, similarity: TemporalMatryoshkaConfig['similarity']) {
  const lengths = (codes: Float64Array): Float64Array => (
    similarity === 'cosine' ? rowNorms(codes, rows, width).map((norm) => Math.max(norm, 1e-8)) : new Float64Array(rows).fill(1)
  );
  const scaled = (codes: Float64Array, by: Float64Array): Float64Array => codes.map((value, j) => value / by[Math.floor(j / width)]);
  const length = lengths(z), lengthBefore = lengths(zBefore);
  const unit = scaled(z, length), unitBefore = scaled(zBefore, lengthBefore);
  const s = matmulTransposeB(unit, unitBefore, rows, width, rows);
  /** Softmax of every row of a square matrix, and the sum of -log of its diagonal. */
  const matching = (scores: Float64Array) => {
    let loss = 0;
    const shares = new Float64Array(scores.length);
    for (let i = 0; i < rows; i++) {
      const row = scores.subarray(i * rows, (i + 1) * rows);
      const largest = Math.max(...row);
      const normaliser = largest + Math.log(row.reduce((sum, score) => sum + Math.exp(score - largest), 0));
      row.forEach((score, j) => { shares[i * rows + j] = Math.exp(score - normaliser); });
      loss += normaliser - row[i];
    }
    return { loss, shares };
  };
  const forward = matching(s), backward = matching(transpose(s, rows, rows));
  const backwardShares = transpose(backward.shares, rows, rows);
  const ds = s.map((_, at) => (forward.shares[at] + backwardShares[at] - (Math.floor(at / rows) === at % rows ? 2 : 0)) / rows);
  /** Through the division by a row's length, of which the codes themselves are part. */
  const throughLength = (du: Float64Array, u: Float64Array, by: Float64Array): Float64Array => du.map((value, at) => {
    const row = Math.floor(at / width);
    let along = 0;
    if (similarity === 'cosine') for (let i = row * width; i < (row + 1) * width; i++) along += du[i] * u[i];
    return (value - along * u[at]) / by[row];
  });
  return {
    loss: (forward.loss + backward.loss) / rows,
    dz: throughLength(matmul(ds, unitBefore, rows, rows, width), unit, length),
    dzBefore: throughLength(matmul(transpose(ds, rows, rows), unit, rows, rows, width), unitBefore, lengthBefore),
  };
}

/**
 * Losses and gradients for frames x [rows, dIn] and the frames before them: those of a Matryoshka SAE of x, and temporal_contrastive_loss between
 * the high-level activations. The decoder norms in these are held fixed (`norms`: at other values than the parameters', for finite differences).
 */
export function temporalMatryoshkaPass(
  parameters: Tensors, x: Float64Array, before: Float64Array, config: TemporalMatryoshkaConfig, context: PassContext, norms = decoderNorms(parameters, config),
): Pass {
  const { dIn, dSae, highLevel, contrastiveCoefficient } = config;
  const rows = x.length / dIn;
  const pass = matryoshkaPass(parameters, x, { ...config, matryoshkaWidths: [highLevel, dSae] }, context);
  const earlier = batchtopkPass(parameters, before, config, { ...context, dead: new Uint8Array(dSae) });
  const own = decoderNorms(parameters, config);
  const factor = (i: number): number => (config.rescaleActsByDecoderNorm ? norms[i] : 1);
  const high = (featureActs: Float64Array): Float64Array => Float64Array.from({ length: rows * highLevel }, (_, at) => {
    const i = at % highLevel;
    const z = featureActs[Math.floor(at / highLevel) * dSae + i] / (config.rescaleActsByDecoderNorm ? own[i] : 1);
    return z * factor(i);
  });
  const { loss, dz, dzBefore } = contrastiveLoss(high(pass.featureActs), high(earlier.featureActs), rows, highLevel, config.similarity);
  for (const [frames, featureActs, df] of [[x, pass.featureActs, dz], [before, earlier.featureActs, dzBefore]]) {
    const dh = featureActs.map((f, at) => {
      const i = at % dSae;
      return i < highLevel && f > 0 ? contrastiveCoefficient * df[Math.floor(at / dSae) * highLevel + i] * factor(i) : 0;
    });
    encodeBackward(parameters, encoderInput(parameters, frames, config).centred, dh, pass.gradients, 'b_enc', config);
  }
  const losses = { ...pass.losses, temporal_contrastive_loss: contrastiveCoefficient * loss };
  return { ...pass, losses, loss: pass.loss + contrastiveCoefficient * loss };
}
