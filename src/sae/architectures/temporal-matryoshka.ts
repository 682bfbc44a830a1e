/**
 * T-SAE: "Temporal sparse autoencoders: leveraging the sequential nature of language for interpretability", Bhalla et al. 2025 (arXiv 2511.05541,
 * section 3.2). A Matryoshka BatchTopK SAE of two levels (see topk-family.ts for its losses): the first h latents, the high-level ones, reconstruct
 * alone and with the rest. High-level activations z of a frame shall be like those z' of the frame before it in its clip, and unlike those
 * of the frames before others. With s the cosine similarity, over a batch of B pairs:
 *
 *   temporal_contrastive_loss = alpha (-1/B sum_i log softmax_j(s(z_i, z'_j))_i - 1/B sum_j log softmax_i(s(z_i, z'_j))_j)
 *
 * The frames before are encoded as a batch of their own, and gradients reach the encoder from both. Activations are the reported ones, h |W_dec| where
 * ranking is by that, with the norms held fixed: the paper's decoder rows have unit length, and its decoder gets nothing from this loss.
 *
 * The authors' code differs from the paper in that s is the inner product, alpha 0.1 on half of the sum above, and levels are averaged with weights.
 * Its released SAEs were made so; contrastive_similarity `inner_product` is that. The squared error grows with the square of the frames' size and a
 * contrastive loss does not, so alpha has to be chosen against mse_loss.
 */
import type { Recorder } from '../../gpu/index.ts';
import { contrast, encode, invertPairs, latentGradients, prepareRows } from '../../kernels/index.ts';
import type { Architecture, Step, TrainingContext } from '../architecture.ts';
import { refuse, rowNormalisation } from '../config.ts';
import { compactTensor } from '../layout.ts';
import { asJumprelu, batchFields, batchSelection } from './batchtopk.ts';
import { checkFamily, type FamilyConfig, type FamilyOptions, type FamilyParts, type FurtherLoss, trainFamily } from './topk-family.ts';

export interface TemporalMatryoshkaConfig extends FamilyConfig {
  architecture: 'temporal_matryoshka_batchtopk';
  topk_threshold_lr: number;
  /** Share of the latents, from the first on, that are high-level. */
  high_level_fraction: number;
  contrastive_coefficient: number;
  contrastive_similarity: 'cosine' | 'inner_product';
}

export const temporalMatryoshka: Architecture<TemporalMatryoshkaConfig> = {
  name: 'temporal_matryoshka_batchtopk',
  title: 'T-SAE: Matryoshka BatchTopK whose first latents change slowly, from pairs of neighbouring frames (Bhalla et al. 2025); saved as jumprelu',
  fields: {
    ...batchFields,
    high_level_fraction: { kind: 'number', default: 0.2, above: 0, most: 1, help: 'share of the latents, from the first on, that are high-level' },
    contrastive_coefficient: { kind: 'number', default: 1, least: 0, help: 'weight of the contrastive loss between neighbouring frames, against mse_loss' },
    contrastive_similarity: { kind: 'choice', default: 'cosine', choices: ['cosine', 'inner_product'], help: 'of the paper, or of its released code' },
  },
  check(config) {
    checkFamily(config);
    const high = highLevel(config);
    if (high >= 1 && high < config.d_sae) return;
    refuse('high_level_fraction', config.high_level_fraction, `one that makes some but not all of the ${config.d_sae} latents high-level`);
  },
  needs: 'previous',
  train(context) {
    const selection = batchSelection(context);
    return trainFamily(context, {
      ...selection, widths: [highLevel(context.config), context.config.d_sae], further: (parts) => temporalContrast(context, selection, parts),
    });
  },
  export: asJumprelu,
};

/** Number of high-level latents. */
function highLevel({ high_level_fraction, d_sae }: TemporalMatryoshkaConfig): number {
  return Math.floor(high_level_fraction * d_sae);
}

/** The contrastive loss, and what it takes to encode the frames before. */
function temporalContrast(context: TrainingContext<TemporalMatryoshkaConfig>, { select }: Pick<FamilyOptions, 'select'>, parts: FamilyParts): FurtherLoss {
  const { gpu, config, batch, inputs, state } = context;
  const { kept, h, scores, W_enc, b_enc, b_dec, gradients, lossRows, column, chunk, own } = parts;
  const { contrastive_coefficient: coefficient, contrastive_similarity: similarity } = config;
  const high = highLevel(config);
  const frames = (label: string) => own(gpu.tensor({ label, dtype: 'f32', rows: batch, columns: config.d_in }));
  const t = frames('previous target'), xc = frames('previous encoder input'), rowAffine = own(compactTensor(gpu, 'previous row affine', batch, 2));
  const selection = select({ chunk, state, own, h });
  const before = parts.withGradients('previous', selection.kept);
  const noValues = own(compactTensor(gpu, 'no values', before.values.rows, before.values.columns)); // the decoder gets nothing from frames before
  const sideOf = (label: string, pairs: typeof kept) => ({
    pairs, codes: own(compactTensor(gpu, `${label} codes`, pairs.values.rows, pairs.values.columns)),
    byLatent: own(gpu.tensor({ label: `${label} codes by latent`, dtype: 'f32', rows: high, columns: batch })),
    ofRow: own(compactTensor(gpu, `${label} similarities`, batch, 4)),
  });
  const sides = [sideOf('kept', kept), sideOf('previous', before)] as const;

  return {
    name: 'temporal_contrastive_loss',

    recordValues(rec: Recorder, step: Step) {
      const { rows, scale } = step;
      for (const tensor of [before.dz, before.index.counts, before.index.bitmap]) rec.clear(tensor);
      prepareRows(rec, { frames: inputs.previous!, centre: inputs.centre, b_dec, t, xc, rowAffine }, rows,
        { scale, normalise: rowNormalisation(config.normalize_activations), subtractBDec: config.apply_b_dec_to_input });
      h.forEach((chunkOfH, n) => {
        const here = Math.min(chunk, rows - n * chunk);
        if (here > 0) encode(rec, { xc, W_enc, b_enc, h: chunkOfH }, n * chunk, here, { roundable: true });
      });
      selection.ofBatch?.(rec, scores, step);
      contrast(rec, { sides, ...scores, lossRows, flags: state.flags }, rows, { similarity, coefficient, column });
    },

    recordWeights(rec: Recorder, { rows }: Step) {
      invertPairs(rec, { ...before, values: noValues }, before.index, rows, true);
      latentGradients(rec, before.index, { g: xc, xc }, gradients, true, { from: 0, end: high });
    },
  };
}
