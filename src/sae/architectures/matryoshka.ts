/**
 * Matryoshka BatchTopK SAE: "Learning multi-level features with Matryoshka sparse autoencoders", Bussmann et al. 2025, in the form that SAELens gives
 * it. A BatchTopK SAE with one selection, in which every prefix of the dictionary reconstructs on its own, too (see topk-family.ts for
 * the losses and their gradients).
 *
 * With use_matryoshka_aux_loss (SAELens 6.37) each level l has an auxiliary loss of its own, in which the dead latents among w_{l-1} ... w_l - 1
 * reconstruct t - n^-1(r_l), with their number in the place of n_dead; auxiliary_reconstruction_loss is the sum.
 */
import { recordLosses } from '../../kernels/index.ts';
import type { Architecture } from '../architecture.ts';
import { refuse } from '../config.ts';
import { asJumprelu, batchFields, batchSelection } from './batchtopk.ts';
import { checkFamily, type FamilyConfig, trainFamily } from './topk-family.ts';

export interface MatryoshkaConfig extends FamilyConfig {
  architecture: 'matryoshka_batchtopk';
  topk_threshold_lr: number;
  /** Latents of each level, ascending. d_sae follows where it is not the last. */
  matryoshka_widths: readonly number[];
  use_matryoshka_aux_loss: boolean;
}

export const matryoshka: Architecture<MatryoshkaConfig> = {
  name: 'matryoshka_batchtopk',
  title: 'BatchTopK whose first latents reconstruct without the others, at several widths (Bussmann et al. 2025); saved as jumprelu',
  fields: {
    ...batchFields,
    matryoshka_widths: { kind: 'integers', default: [], help: 'latents of each level, ascending; d_sae is added where it is missing' },
    use_matryoshka_aux_loss: { kind: 'boolean', default: false, help: 'dead latents of each level reconstruct what that level leaves over' },
  },
  check(config) {
    checkFamily(config);
    const { matryoshka_widths: widths, d_sae: dSae } = config;
    const ascends = widths.every((width, l) => width <= dSae && (l === 0 || width > widths[l - 1]!));
    if (widths.length === 0 || !ascends) refuse('matryoshka_widths', widths, `one or more widths up to d_sae (${dSae}), each larger than the one before`);
    if (widths.length > recordLosses) refuse('matryoshka_widths', widths, `at most ${recordLosses} widths`);
  },
  train(context) {
    const { matryoshka_widths: widths, d_sae: dSae, use_matryoshka_aux_loss: auxiliaryPerLevel } = context.config;
    return trainFamily(context, { ...batchSelection(context), widths: widths.at(-1) === dSae ? widths : [...widths, dSae], auxiliaryPerLevel });
  },
  export: asJumprelu,
};
