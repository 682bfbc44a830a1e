/**
 * What a model still does when the frames at a hook point are an SAE's reconstructions: beside the same SAE before training, zeros, and the mean
 * frame. Padding is never replaced and never counted.
 */
import type { SpliceableModel, SplicedClip } from '../encoders/index.ts';
import { CochleaError, type ErrorCode } from '../errors.ts';
import type { SaeLike } from './batches.ts';
import { countReading, readPatched, readReference, type TargetKind } from './behaviour-clip.ts';
import type { ConditionName, Sums } from './behaviour-metrics.ts';
import { type BehaviourResults, summarise, valuesOf } from './behaviour-summary.ts';
import { fitUnits, type Units } from './units.ts';

/** A recording that can be opened as often as it is asked for. */
export interface BehaviourClip {
  id: string;
  /** What is said in it. */
  text?: string | undefined;
}

/** Opens a clip; undefined when it had to be skipped, which whoever opens it has told. */
export type OpenClip = (clip: BehaviourClip) => Promise<SplicedClip | undefined>;

/** What a first pass over the clips finds, with nothing replaced. */
export interface Survey {
  /** Those that could be opened. */
  clips: BehaviourClip[];
  frames: number;
  /** Of all frames [dIn]. */
  mean: Float32Array;
  /** Some of them, spread evenly over clips [rows, dIn]. */
  sample: Float32Array;
  /** Of a model without a head, where there are enough frames. */
  units: Units | undefined;
}

/** Frames of a survey's sample, and outputs that units are fitted to. */
const sampledRows = 4096, fittedRows = 5000;

/** Units, and how many rows each must have on average. */
const mostUnits = 100, rowsPerUnit = 10;

export interface Watch {
  signal?: AbortSignal | undefined;
  /** Told before each clip. */
  onProgress?: ((progress: { pass: 'survey' | 'measure'; clip: number; clips: number }) => void) | undefined;
}

function stopIfAsked({ signal }: Watch, done: number, clips: number): void {
  if (signal?.aborted) throw new CochleaError('interrupted', `stopped after ${done} of ${clips} clips`);
}

/** `most` rows of x [rows, width], evenly spread; all where there are fewer. */
function spread(x: Float32Array, width: number, most: number): Float32Array {
  const rows = x.length / width, kept = Math.min(rows, most);
  const some = new Float32Array(kept * width);
  for (let n = 0; n < kept; n++) {
    const row = Math.floor((n * rows) / kept);
    some.set(x.subarray(row * width, (row + 1) * width), n * width);
  }
  return some;
}

const joined = (parts: readonly Float32Array[]): Float32Array => {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

const isFinite = (values: Float32Array): boolean => values.every(Number.isFinite);

/**
 * Goes through the clips once. A clip whose frames or outputs are not finite counts for nothing here: evaluateBehaviour names it. Throws `audio` when none can
 * be used, `not-finite` when none is finite, and what `open` throws.
 */
export async function surveyClips(model: SpliceableModel, clips: readonly BehaviourClip[], open: OpenClip, { seed, ...watch }: Watch & { seed: number }): Promise<Survey> {
  const { dIn } = model;
  const mean = new Float64Array(dIn), kept: BehaviourClip[] = [], sample: Float32Array[] = [], states: Float32Array[] = [];
  let frames = 0, width = 0;
  for (const [n, clip] of clips.entries()) {
    stopIfAsked(watch, n, clips.length);
    watch.onProgress?.({ pass: 'survey', clip: n + 1, clips: clips.length });
    const opened = await open(clip);
    if (!opened) continue;
    kept.push(clip);
    const outputs = model.head ? [] : await opened.rest(opened.frames);
    if ([opened.frames, ...outputs.map((output) => output.frames)].every(isFinite)) {
      frames += opened.rows;
      const own = new Float64Array(dIn);
      opened.frames.forEach((value, at) => own[at % dIn] += value);
      for (let d = 0; d < dIn; d++) mean[d] += (own[d] - opened.rows * mean[d]) / frames;
      sample.push(spread(opened.frames, dIn, Math.ceil(sampledRows / clips.length)));
      if (outputs.length > 0) {
        width = outputs[0].frames.length / outputs[0].valid;
        states.push(spread(joined(outputs.map((output) => output.frames)), width, Math.ceil(fittedRows / clips.length)));
      }
    }
    opened.dispose();
  }
  if (kept.length === 0) throw new CochleaError('audio', `none of ${clips.length} clips could be used`, 'each is named above');
  if (frames === 0) throw new CochleaError('not-finite', `of each of ${kept.length} clips the model gives NaN or infinity`, 'check the model and the recordings');
  const fitted = joined(states), count = width === 0 ? 0 : Math.min(mostUnits, Math.floor(fitted.length / width / rowsPerUnit));
  return { clips: kept, frames, mean: Float32Array.from(mean), sample: joined(sample), units: count < 2 ? undefined : fitUnits(fitted, width, count, seed) };
}

export interface BehaviourOptions extends Watch {
  model: SpliceableModel;
  sae: SaeLike;
  /** The same SAE before its first step, or why there is none. */
  untrained: SaeLike | { reason: string };
  /** What mean ablation puts in place of every frame [dIn]. */
  mean: Float32Array;
  survey: Survey;
  open: OpenClip;
  /** `text`: clips without one are skipped. Of no meaning without a head. */
  targets: TargetKind;
  /** Of the bootstrap. */
  seed: number;
  resamples: number;
  /** Stop at the first clip that cannot be used. */
  strict?: boolean;
  /** Told of each clip that has to be left out, and why. */
  onSkip?: (line: string) => void;
}

export interface ClipBehaviour {
  id: string;
  frames: number;
  positions: number;
  text: string | null;
  /** Greedy transcripts by condition, where the model has a head. */
  transcripts: Partial<Record<ConditionName, string>>;
  /** `behaviourMetrics` of this clip alone, by condition. */
  values: Partial<Record<ConditionName, Record<string, number | null>>>;
}

export interface Behaviour extends BehaviourResults {
  clips: ClipBehaviour[];
  frames: number;
  positions: number;
  /** Clips with a text, which the word error rate is of. */
  withText: number;
  /** Units of a model without a head. */
  units: number | null;
  skipped: string[];
}

/** Failures of one clip, which the others survive. */
const skippable: readonly ErrorCode[] = ['audio', 'not-finite'];

/**
 * Runs every surveyed clip through the rest of the model under all conditions. A clip that fails under one is left out of all, named and counted.
 * The same inputs and seed give the same numbers. Throws `audio` when no clip is left, `interrupted` when `signal` aborts.
 */
export async function evaluateBehaviour(options: BehaviourOptions): Promise<Behaviour> {
  const { model: { head }, survey, open, targets, seed, resamples, strict = false, onSkip } = options;
  const patches = patchesOf(options);
  const clips: ClipBehaviour[] = [], counted: Partial<Record<ConditionName, Sums>>[] = [], skipped: string[] = [];
  const kind = head?.kind ?? 'none';
  for (const [n, clip] of survey.clips.entries()) {
    options.onProgress?.({ pass: 'measure', clip: n + 1, clips: survey.clips.length });
    const text = clip.text?.trim() === '' ? undefined : clip.text;
    const opened = await open(clip);
    if (!opened) continue;
    try {
      if (head && targets === 'text' && text === undefined) throw new CochleaError('audio', 'it has no text');
      const reference = await readReference(opened, head, head && targets === 'text' ? text : undefined);
      const count = { head, text, units: survey.units };
      const sums: (typeof counted)[number] = { untouched: { ...countReading(reference, reference.reading, count), frames: opened.rows } };
      const transcripts: ClipBehaviour['transcripts'] = head ? { untouched: reference.reading.text } : {};
      for (const { name, patch } of patches) {
        stopIfAsked(options, n, survey.clips.length);
        const { frames, firings } = await patch(opened.frames);
        const reading = await readPatched(opened, head, reference, frames);
        sums[name] = { ...countReading(reference, reading, count), frames: opened.rows, firings };
        if (head) transcripts[name] = reading.text;
      }
      const values = Object.fromEntries(Object.entries(sums).map(([name, own]) => [name, valuesOf(own, kind)]));
      clips.push({ id: clip.id, frames: opened.rows, positions: sums.untouched!.positions, text: text ?? null, transcripts, values });
      counted.push(sums);
    } catch (error) {
      if (!(error instanceof CochleaError) || !skippable.includes(error.code)) throw error;
      const line = `${clip.id}: ${error.message}`;
      if (strict) throw new CochleaError(error.code, line, error.hint);
      skipped.push(line);
      onSkip?.(line);
    } finally {
      opened.dispose();
    }
  }
  if (clips.length === 0) throw new CochleaError('audio', `none of ${survey.clips.length} clips could be used`, skipped[0]);
  const absent: Partial<Record<ConditionName, string>> = 'reason' in options.untrained ? { untrained_sae: options.untrained.reason } : {};
  const total = (of: (clip: ClipBehaviour) => number): number => clips.reduce((sum, clip) => sum + of(clip), 0);
  return {
    ...summarise(counted, { head: kind, absent, seed, resamples }),
    clips, skipped, frames: total(({ frames }) => frames), positions: total(({ positions }) => positions), withText: total(({ text }) => (text === null ? 0 : 1)),
    units: survey.units?.count ?? null,
  };
}

interface Patch {
  name: Exclude<ConditionName, 'untouched'>;
  patch(frames: Float32Array): Promise<{ frames: Float32Array; firings: number }>;
}

function patchesOf({ sae, untrained, mean, model }: BehaviourOptions): Patch[] {
  const through = (own: SaeLike) => async (frames: Float32Array) => {
    const { recon, acts } = await own.run(frames);
    return { frames: recon, firings: acts.indices.length };
  };
  const constant = (frame: Float32Array) => async (frames: Float32Array) => ({ frames: frames.map((_, at) => frame[at % frame.length]), firings: NaN });
  return [
    { name: 'sae', patch: through(sae) },
    ...('run' in untrained ? [{ name: 'untrained_sae' as const, patch: through(untrained) }] : []),
    { name: 'mean_ablation', patch: constant(mean) },
    { name: 'zero_ablation', patch: constant(new Float32Array(model.dIn)) },
  ];
}
