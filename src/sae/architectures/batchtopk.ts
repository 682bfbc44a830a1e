/**
 * BatchTopK SAE: "BatchTopK sparse autoencoders", Bussmann et al. 2024, in the form that SAELens gives it. A TopK SAE (see topk-family.ts) in which
 * S is the floor(k rows) largest of relu(h_i) |W_dec_i| of the whole batch, so that frames share k as they need; of equal ones the first
 * is kept.
 *
 * A single frame has no batch to be ranked in. What is used after training is a JumpReLU SAE with one threshold for all latents, the running mean
 * T <- (1 - lr) T + lr min{f : f > 0} of the smallest activation that was kept, f as reported.
 */
import { batchTopk, histogramBins, partsOfRow } from '../../kernels/index.ts';
import type { Architecture, Exported, InputTransform, TrainingContext } from '../architecture.ts';
import { refuse } from '../config.ts';
import { foldedNorms } from '../export.ts';
import { compactTensor, vectorTensor } from '../layout.ts';
import type { Weights } from '../weights.ts';
import { checkFamily, type FamilyConfig, familyFields, type FamilyOptions, kAt, largestK, trainFamily } from './topk-family.ts';

export interface BatchtopkConfig extends FamilyConfig {
  architecture: 'batchtopk';
  topk_threshold_lr: number;
}

/** The fields of BatchTopK and of what selects as it does. */
export const batchFields = {
  k: { kind: 'number', default: 100, above: 0, help: 'latents kept per frame on average, maybe fractional' },
  ...familyFields,
  topk_threshold_lr: { kind: 'number', default: 0.01, above: 0, most: 1, help: 'rate of the running threshold' },
} as const;

export const batchtopk: Architecture<BatchtopkConfig> = {
  name: 'batchtopk',
  title: 'the k largest latents per frame of a whole batch (Bussmann et al. 2024); saved as jumprelu',
  fields: batchFields,
  check: checkFamily,
  train: (context) => trainFamily(context, batchSelection(context)),
  export: asJumprelu,
};

/** Selects in whole batches, whose pre-activations are all held: a tensor for every chunk of rows. */
export function batchSelection({ gpu, config, batch }: TrainingContext<FamilyConfig>): Pick<FamilyOptions, 'select'> {
  if (Math.floor(config.k * batch) < 1) refuse('k', config.k, `at least 1 / ${batch}, so that a batch of ${batch} frames keeps a latent`);
  const room = Math.floor(largestK(config) * batch);
  return {
    select({ chunk, state: { flags }, own, h: given }) {
      const words = (label: string, n: number) => own(compactTensor(gpu, label, 1, n, 'u32'));
      const h = given ?? Array.from({ length: Math.ceil(batch / chunk) }, (_, n) => own(compactTensor(gpu, 'pre-activations', Math.min(chunk, batch - n * chunk), config.d_sae)));
      const kept = { indices: words('kept indices', room), values: own(compactTensor(gpu, 'kept values', 1, room)), offsets: words('kept offsets', batch + 1) };
      const scratch = {
        histogram: words('histogram', histogramBins), selection: words('selection', 3),
        counts: words('counts of parts', 2 * partsOfRow * batch), starts: words('starts of parts', 2 * partsOfRow * batch + 1),
      };
      const smallest = own(vectorTensor(gpu, 'smallest activation', 1));
      return {
        kept, h, smallest,
        ofBatch: (rec, scores, step) => batchTopk(rec, { ...kept, ...scratch, ...scores, h, smallest, flags }, step.rows, Math.floor(kAt(config, step) * step.rows)),
      };
    },
  };
}

/**
 * The JumpReLU SAE to a running threshold T. T bounds f = h |W_dec| of training, or h. Folding the scale s into the weights leaves h and makes
 * norms s times shorter, so where norms are folded after it activations are f / s: then the threshold is T / s, which SAELens leaves at T.
 */
export function asJumprelu(config: FamilyConfig, weights: Weights, input: InputTransform, threshold: number): Exported {
  const inFileUnits = config.rescale_acts_by_decoder_norm ? threshold / input.scale : threshold;
  return { architecture: 'jumprelu', fields: {}, weights: { ...foldedNorms(config, weights, input), threshold: new Float32Array(config.d_sae).fill(inFileUnits) } };
}
