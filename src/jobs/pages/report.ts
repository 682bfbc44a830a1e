/** The page on an SAE: what it scored, how it was trained, and what its latents respond to, to be seen and heard. */
import type { FrameChunk } from '../../activations/index.ts';
import type { Clip } from '../../audio/index.ts';
import {
  chooseFeatures, collectFirings, evaluate, type Evaluation, meanReconstruction, saeMetrics, type SaeLike, type Segment, segmentLabels,
} from '../../evaluation/index.ts';
import { type Curve, type ReportData, type ReportFeature, renderReport, type RunFacts } from '../../report/index.ts';
import type { SparseActs } from '../../sae/index.ts';
import type { StepMetrics } from '../../training/index.ts';
import { ReportPictures } from './report-pictures.ts';

export interface ReportOptions {
  title: string;
  summary: string;
  sae: SaeLike;
  /** The same configuration, initialised and never trained. */
  untrained?: SaeLike;
  /** Frames to score and to look for firings in, in stored order, all in memory (see `collect`). */
  heldOut: FrameChunk;
  /** The clips of those frames, to be drawn and heard. */
  clips: readonly Clip[];
  /** Mean of the training frames: the simplest reconstruction. */
  mean: Float32Array;
  /** Labelled stretches of clips, by clip id. */
  segments?: ReadonlyMap<string, readonly Segment[]>;
  /** The clip to show whole; its label `text` is what is said in it. */
  recording?: string;
  metrics: readonly StepMetrics[];
  run: RunFacts;
  /** Latents to show; 12 unless told. */
  features?: number;
}

/** Scores an SAE on held-out frames, finds its most telling latents and renders the page. Throws what its parts throw. */
export async function reportOn(options: ReportOptions): Promise<{ html: string; evaluation: Evaluation }> {
  const { sae, untrained, heldOut, segments, metrics, run } = options;
  const once = await sae.run(heldOut.x);
  const pass = (): [SaeLike, AsyncIterable<FrameChunk>] => [replay(sae, once), only(heldOut)];
  const evaluation = await evaluate(...pass());
  const scores = [{ name: 'this SAE', ...evaluation }];
  if (untrained) scores.push({ name: 'the same, untrained', ...await evaluate(untrained, only(heldOut)) });
  scores.push({ name: 'mean training frame', ...await evaluate(meanReconstruction(options.mean), only(heldOut)) });
  const firings = await collectFirings(...pass(), { top: 5, random: 3, ...(segments ? { label: segmentLabels(segments) } : {}) });
  const chosen = chooseFeatures(firings, { count: options.features ?? 12, minClips: Math.min(5, evaluation.clips) });

  const pictures = new ReportPictures(options.clips, heldOut, once.acts, run.frameRate, segments ?? new Map());
  const features: ReportFeature[] = [];
  for (const latent of chosen) features.push(await pictures.feature(latent, firings.frames));
  const recording = options.recording === undefined ? undefined : await pictures.recording(options.recording, firings.latents);
  const data: ReportData = {
    title: options.title, summary: options.summary, run, scores, metrics: [...saeMetrics], curves: curvesOf(metrics), density: evaluation.densityHistogram,
    features, ...(recording ? { recording } : {}), ...(firings.labels ? { labelsTried: firings.labels.labels } : {}), sounds: pictures.sounds,
  };
  return { html: renderReport(data), evaluation };
}

/** An SAE that was run already: gives the rows of its one answer in the order in which they are asked for. */
function replay({ dIn, dSae }: SaeLike, { recon, acts }: { recon: Float32Array; acts: SparseActs }): SaeLike {
  let row = 0;
  return {
    dIn, dSae,
    run: async (x) => {
      const rows = x.length / dIn, first = row;
      row += rows;
      const from = acts.offsets[first]!, to = acts.offsets[row]!;
      return {
        recon: recon.subarray(first * dIn, row * dIn),
        acts: { rows, offsets: acts.offsets.slice(first, row + 1).map((at) => at - from), indices: acts.indices.subarray(from, to), values: acts.values.subarray(from, to) },
      };
    },
  };
}

async function* only(chunk: FrameChunk): AsyncGenerator<FrameChunk> {
  yield chunk;
}

function curvesOf(metrics: readonly StepMetrics[]): Curve[] {
  const curve = (name: string, unit: string, scale: Curve['scale'], value: (step: StepMetrics) => number): Curve =>
    ({ name, unit, scale, points: metrics.map((step) => ({ step: step.step, value: value(step) })) });
  return [
    curve('loss', 'squared error per frame', 'log', ({ overallLoss }) => overallLoss),
    curve('explained variance', 'share, on training batches', 'linear', ({ explainedVariance }) => explainedVariance),
    curve('latents per frame (L0)', 'latents', 'linear', ({ l0 }) => l0),
    curve('dead latents', 'latents', 'linear', ({ dead }) => dead),
  ];
}
