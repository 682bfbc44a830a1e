import type { FrameChunk } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { type Batch, runBatches, type SaeLike } from './batches.ts';
import { bootstrap } from './bootstrap.ts';
import { ClipUnits } from './clip-sums.ts';
import { type DensityHistogram, LatentSums } from './latent-sums.ts';
import type { LatentMetric, SaeMetric } from './metric-definitions.ts';
import type { Interval } from './resample.ts';

/** A number, or why there is none. */
export type MetricValue = { value: number } | { value: null; reason: string };

export interface Evaluation {
  frames: number;
  clips: number;
  dIn: number;
  dSae: number;
  /** Numbers in a reconstruction: d_in, but for transcoders. */
  dOut: number;
  metrics: Record<SaeMetric, MetricValue>;
  /** 95 % bootstrap intervals over clips. */
  intervals: { explained_variance: Interval; l0: Interval };
  bootstrap: { resamples: number; seed: number; clipsPerUnit: number };
  latents: Record<LatentMetric, number[]>;
  densityHistogram: DensityHistogram;
}

export interface EvaluationOptions {
  /** Of the bootstrap. */
  seed?: number;
  resamples?: number;
  /** Compare with the frames' targets, for a transcoder, not with the frames themselves. */
  target?: boolean;
}

/**
 * Scores an SAE on frames, which should be held out from its training, in one pass and in float64; `metricDefinitions` says
 * what the numbers mean. Frames come in stored order. Memory: some numbers per clip and per latent, and at most 4,096 vectors
 * of d_out for the bootstrap. The result does not depend on how the frames are cut into chunks.
 * Throws `config` when there are no frames or they or their targets do not fit the SAE, `not-finite` for a frame, a target or a
 * reconstruction that is not finite.
 */
export async function evaluate(
  sae: SaeLike, chunks: AsyncIterable<FrameChunk>, { seed = 0, resamples = 1000, target = false }: EvaluationOptions = {},
): Promise<Evaluation> {
  let frames: FrameSums | undefined;
  const latents = new LatentSums(sae.dSae);
  const clipUnits = new ClipUnits();
  for await (const batch of runBatches(sae, chunks, { target })) {
    const { rows, dOut, recon } = batch;
    if (recon.length !== rows * dOut) {
      throw new CochleaError('config', `the ${target ? 'targets' : 'frames'} have d_${target ? 'out' : 'in'} ${dOut}, the reconstructions have d_out ${recon.length / rows}`,
        target ? 'take targets of the hook point that the transcoder was trained on' : 'a transcoder is compared with targets');
    }
    frames ??= new FrameSums(dOut);
    frames.centre(batch);
    for (let row = 0; row < rows; row++) {
      const error = frames.add(batch, row);
      const firings = latents.add(batch, row);
      clipUnits.add(batch.target, row, dOut, batch.clip[row], error, firings);
    }
  }
  if (!frames) throw new CochleaError('config', 'there are no frames to evaluate on', 'give clips that are long enough for one frame');
  const { explainedVariance, intervals } = bootstrap(clipUnits.units, { resamples, seed });
  const perLatent = latents.latents();
  return {
    frames: latents.frames,
    clips: latents.clips,
    dIn: sae.dIn,
    dSae: sae.dSae,
    dOut: frames.dOut,
    metrics: {
      explained_variance: orReason(explainedVariance, 'all frames are equal: there is no variance to explain'),
      ...frames.metrics(),
      ...sparsity(latents, perLatent.feature_density),
    },
    intervals: { explained_variance: intervals.explainedVariance, l0: intervals.l0 },
    bootstrap: { resamples, seed, clipsPerUnit: clipUnits.clipsPerUnit },
    latents: perLatent,
    densityHistogram: latents.histogram(),
  };
}

function orReason(value: number | null, reason: string): MetricValue {
  return value !== null && Number.isFinite(value) ? { value } : { value: null, reason };
}

type SparsityMetric = 'l0' | 'l1' | 'dead_latents' | 'frac_alive' | 'freq_over_1_percent' | 'freq_over_10_percent';

function sparsity({ frames, firings, absolute }: LatentSums, density: number[]): Record<SparsityMetric, MetricValue> {
  const share = (count: number): MetricValue => orReason(count / density.length, 'this reconstruction has no latents');
  const over = (least: number): MetricValue => share(density.filter((value) => value > least).length);
  const alive = density.filter((value) => value > 0).length;
  return {
    l0: { value: firings / frames }, l1: { value: absolute / frames },
    dead_latents: { value: density.length - alive }, frac_alive: share(alive),
    freq_over_1_percent: over(0.01), freq_over_10_percent: over(0.1),
  };
}

/** Norms and products below this are as good as zero (SAEBench and torch.nn.functional.cosine_similarity). */
const leastNorm = 1e-8;

/** Sums over frames (of a transcoder: over their targets) that need no per-clip share. */
class FrameSums {
  readonly dOut: number;
  /** Mean of the frames up to the end of the present batch. */
  readonly #mean: Float64Array;
  #meanOf = 0;
  #frames = 0;
  #error = 0;
  #powerIn = 0;
  #powerOut = 0;
  #dot = 0;
  #cosine = 0;
  #normIn = 0;
  #normOut = 0;
  #ratio = 0;
  #legacy = 0;
  #legacyFrames = 0;

  constructor(dOut: number) {
    this.dOut = dOut;
    this.#mean = new Float64Array(dOut);
  }

  /** Moves the running mean on to the end of a batch; comes before add() for its rows. */
  centre({ target, rows }: Batch): void {
    const mean = new Float64Array(this.dOut);
    for (let row = 0, at = 0; row < rows; row++) for (let d = 0; d < this.dOut; d++, at++) mean[d] += target[at];
    this.#meanOf += rows;
    for (let d = 0; d < this.dOut; d++) this.#mean[d] += (mean[d] / rows - this.#mean[d]) * (rows / this.#meanOf);
  }

  /** Adds one row; returns |x - x̂|². */
  add({ target, recon, clip, clips, time }: Batch, row: number): number {
    let error = 0, powerIn = 0, powerOut = 0, dot = 0, deviation = 0;
    for (let d = 0, at = row * this.dOut; d < this.dOut; d++, at++) {
      const a = target[at], b = recon[at], centred = a - this.#mean[d];
      error += (a - b) * (a - b);
      powerIn += a * a;
      powerOut += b * b;
      dot += a * b;
      deviation += centred * centred;
    }
    if (!Number.isFinite(error)) {
      const where = `${time[row].toFixed(3)} s of clip ${JSON.stringify(clips[clip[row]].id)}`;
      throw new CochleaError('not-finite', `the frame at ${where} or its reconstruction holds NaN or infinity`, 'check the recording and the weights');
    }
    const normIn = Math.sqrt(powerIn), normOut = Math.sqrt(powerOut);
    this.#frames++;
    this.#error += error;
    this.#powerIn += powerIn;
    this.#powerOut += powerOut;
    this.#dot += dot;
    this.#cosine += dot / (Math.max(normIn, leastNorm) * Math.max(normOut, leastNorm));
    this.#normIn += normIn;
    this.#normOut += normOut;
    this.#ratio += normOut / (normIn < 1e-4 ? 1 : normIn);
    if (deviation > 0) {
      this.#legacy += 1 - error / deviation;
      this.#legacyFrames++;
    }
    return error;
  }

  metrics(): Record<Exclude<SaeMetric, 'explained_variance' | SparsityMetric>, MetricValue> {
    const mean = (sum: number): MetricValue => ({ value: sum / this.#frames });
    return {
      explained_variance_legacy: orReason(this.#legacy / this.#legacyFrames, 'every frame equals the mean'),
      mse: mean(this.#error),
      nmse: orReason(this.#error / this.#powerIn, 'all frames are zero'),
      cossim: mean(this.#cosine),
      l2_norm_in: mean(this.#normIn),
      l2_norm_out: mean(this.#normOut),
      l2_ratio: mean(this.#ratio),
      relative_reconstruction_bias: orReason(this.#powerOut / this.#dot, 'the reconstructions are orthogonal to the frames'),
    };
  }
}
