/** The numbers that say what a model still does with other frames at a hook point, as ratios of sums over clips, so that clips can be resampled. */
import type { MetricDefinition } from './metric-definitions.ts';

/** What the frames of a clip can be: its own, or what stands in their place. */
export const conditions = ['untouched', 'sae', 'untrained_sae', 'mean_ablation', 'zero_ablation'] as const;
export type ConditionName = (typeof conditions)[number];

/** What is counted per clip, and added over clips. A position is a token of the targets, or a frame of a CTC head. */
export interface Sums {
  positions: number;
  /** Of the positions: -log of what their targets were given. */
  crossEntropy: number;
  /** KL divergences from the untouched model, and at how many positions: of a CTC head all frames. */
  divergence: number;
  compared: number;
  /** Most likely tokens that stayed, and how many could: of a CTC head those that are no blank. */
  kept: number;
  keepable: number;
  /** Words of the reference texts and of the untouched model's transcripts, and how many are wrong. */
  words: number;
  wrongWords: number;
  ownWords: number;
  wrongOwnWords: number;
  /** Rows of the encoder's output that are sound; their cosines with the untouched ones, and the terms of CKA. */
  rows: number;
  cosine: number;
  aa: number;
  ab: number;
  bb: number;
  /** Rows that changed their unit, and the divergences of their soft units; out of `rows`. NaN where there are no units. */
  changedUnits: number;
  unitDivergence: number;
  /** Frames at the hook point, and latents that fired in them; NaN where there is no SAE. */
  frames: number;
  firings: number;
}

export const noSums = (): Sums => ({
  positions: 0, crossEntropy: 0, divergence: 0, compared: 0, kept: 0, keepable: 0, words: 0, wrongWords: 0, ownWords: 0, wrongOwnWords: 0,
  rows: 0, cosine: 0, aa: 0, ab: 0, bb: 0, changedUnits: 0, unitDivergence: 0, frames: 0, firings: 0,
});

/** Adds a clip `weight` times. */
export function addSums(into: Sums, clip: Sums, weight = 1): void {
  for (const key of Object.keys(into) as (keyof Sums)[]) into[key] += weight * clip[key];
}

/** What a model has behind its encoder: only some numbers can be had of each kind. */
export type HeadKind = 'seq2seq' | 'ctc' | 'none';

interface Measure extends MetricDefinition {
  heads: readonly HeadKind[];
  /** Why there may be none. */
  absent: string;
}

export interface BehaviourMetric extends Measure {
  of(sums: Sums): number;
}

/** A share of what an ablation loses; 1: as the untouched model, 0: as the ablation. */
export interface RecoveryScore extends Measure {
  ablation: 'zero_ablation' | 'mean_ablation';
  of(own: Sums, untouched: Sums, ablated: Sums): number;
}

const speech = ['seq2seq', 'ctc'] as const, alone = ['none'] as const, all = ['seq2seq', 'ctc', 'none'] as const;

export const behaviourMetrics: readonly BehaviourMetric[] = [
  {
    name: 'ce_loss', unit: 'nats per position', heads: speech, absent: 'no clip has a target',
    definition: 'mean over positions of -log Q(target): of a decoder the tokens of the targets, given those before them, end token included; of a CTC head each frame\'s most likely '
      + 'token before anything was changed or, with texts as targets, the CTC loss per token.',
    source: 'SAELens and SAEBench core, model_performance_preservation',
    of: ({ crossEntropy, positions }) => crossEntropy / positions,
  },
  {
    name: 'kl_div', unit: 'nats per position', heads: speech, absent: 'no clip has a target',
    definition: 'mean over the same positions (of a CTC head over frames) of KL(P || Q), P of the untouched model.',
    source: 'SAELens and SAEBench core, model_behavior_preservation',
    of: ({ divergence, compared }) => divergence / compared,
  },
  {
    name: 'tokens_kept', unit: 'share of positions', heads: speech, absent: 'no clip has a target',
    definition: 'positions whose most likely token is that of the untouched model; of a CTC head out of the frames where that was no blank.', source: 'cochlea',
    of: ({ kept, keepable }) => kept / keepable,
  },
  {
    name: 'wer', unit: 'errors per word', heads: speech, absent: 'no clip has a text',
    definition: 'substitutions, deletions and insertions between greedy transcripts and the clips\' texts, over the texts\' words, all clips with a text together.',
    source: 'the word error rate of speech recognition',
    of: ({ wrongWords, words }) => wrongWords / words,
  },
  {
    name: 'wer_to_own', unit: 'errors per word', heads: speech, absent: 'the untouched model hears no word',
    definition: 'the same against the transcripts of the untouched model.', source: 'cochlea',
    of: ({ wrongOwnWords, ownWords }) => wrongOwnWords / ownWords,
  },
  {
    name: 'output_cosine', unit: 'cosine', heads: all, absent: 'no row of the output is sound',
    definition: 'mean over rows of the encoder\'s output that are sound of the cosine with the untouched row.', source: 'cochlea',
    of: ({ cosine, rows }) => cosine / rows,
  },
  {
    name: 'output_cka', unit: 'similarity', heads: alone, absent: 'the output does not vary, or no clip has four frames',
    definition: 'linear CKA between the encoder\'s outputs, from unbiased estimates within runs of at most 512 neighbouring frames. 1: the same up to rotation and scale.',
    source: 'Kornblith et al. 2019; minibatch form: Nguyen, Raghu and Kornblith 2021',
    of: ({ aa, ab, bb }) => (aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : NaN),
  },
  {
    name: 'unit_flip_rate', unit: 'share of rows', heads: alone, absent: 'there are too few frames for units',
    definition: 'rows of the encoder\'s output whose nearest k-means centroid is another than before. Centroids are fitted to untouched outputs of the evaluated clips.',
    source: 'units as in Hsu et al. 2021 (HuBERT)',
    of: ({ changedUnits, rows }) => changedUnits / rows,
  },
  {
    name: 'unit_kl', unit: 'nats per row', heads: alone, absent: 'there are too few frames for units, or most of them are exactly a centroid (T is 0)',
    definition: 'mean over rows of KL(P || Q) between soft units, softmax of -|state - centroid|² / T, T the median squared distance of a fitted state to its centroid.',
    source: 'cochlea',
    of: ({ unitDivergence, rows }) => unitDivergence / rows,
  },
  {
    name: 'l0', unit: 'latents per frame', heads: all, absent: 'there is no SAE in it',
    definition: 'mean over frames of the number of active latents.', source: 'SAEBench core, sparsity',
    of: ({ firings, frames }) => firings / frames,
  },
];

/** Share of a loss that is won back; not defined where the ablation does no harm. */
const recovered = (ablated: number, own: number, untouched = 0): number => (ablated > untouched ? (ablated - own) / (ablated - untouched) : NaN);

const scoresAgainst = (ablation: RecoveryScore['ablation'], suffix: string): RecoveryScore[] => {
  const what = ablation.replace('_', ' ');
  const absent = `${what} does no harm that could be undone`;
  return [
    {
      name: `ce_loss_score${suffix}`, unit: 'share', heads: speech, ablation, absent, source: 'SAELens ce_loss_score, whose ablation is zero',
      definition: `(CE of ${what} - CE) / (CE of ${what} - CE untouched).`,
      of: (own, untouched, ablated) => recovered(ablated.crossEntropy / ablated.positions, own.crossEntropy / own.positions, untouched.crossEntropy / untouched.positions),
    },
    {
      name: `kl_div_score${suffix}`, unit: 'share', heads: speech, ablation, absent, source: 'SAELens kl_div_score, whose ablation is zero',
      definition: `(KL of ${what} - KL) / KL of ${what}.`,
      of: (own, _, ablated) => recovered(ablated.divergence / ablated.compared, own.divergence / own.compared),
    },
    {
      name: `unit_kl_score${suffix}`, unit: 'share', heads: alone, ablation, absent, source: 'cochlea',
      definition: `the same of unit_kl.`,
      of: (own, _, ablated) => recovered(ablated.unitDivergence / ablated.rows, own.unitDivergence / own.rows),
    },
  ];
};

export const recoveryScores: readonly RecoveryScore[] = [...scoresAgainst('zero_ablation', ''), ...scoresAgainst('mean_ablation', '_mean')];
