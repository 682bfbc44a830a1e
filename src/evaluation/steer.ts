/**
 * What becomes of what a model says when one latent is changed in every frame of a clip, beside the same done along random directions: a change that
 * any direction of that length would bring says nothing of the latent.
 */
import type { SpliceableModel, SplicedClip } from '../encoders/index.ts';
import { CochleaError } from '../errors.ts';
import { RandomStream, streams } from '../random.ts';
import { addDirection, latentChange, latentDirections, type LatentEdit, refuseTranscoder, type SAE } from '../sae/index.ts';
import { countReading, readPatched, readReference, type Reading, type Reference } from './behaviour-clip.ts';
import { valuesOf } from './behaviour-summary.ts';
import { distances } from './similarity.ts';
import { editDistance } from './words.ts';

/** What changed, against the unsteered clip; numbers that the model does not have, and that are undefined, are null. */
export interface Moved {
  /** Insertions, deletions and substitutions between greedy tokens, and how many tokens the unsteered clip has. */
  tokens_changed: number | null;
  /** As behaviourMetrics defines them, of the unsteered model's own tokens. */
  ce_loss: number | null;
  kl_div: number | null;
  wer_to_own: number | null;
  output_cosine: number | null;
  /** |a - b| / |a| of the encoder's outputs, all frames together. */
  output_distance: number | null;
}

export const movedNames = ['tokens_changed', 'ce_loss', 'kl_div', 'wer_to_own', 'output_cosine', 'output_distance'] as const satisfies readonly (keyof Moved)[];

/** Of random directions: null where there are none, or no number. */
export type Spread = { mean: number; low: number; high: number } | null;

export interface SteeredRow {
  /** Null for edits that have none. */
  strength: number | null;
  edit: LatentEdit['kind'];
  /** Null for a model without a head. */
  transcript: string | null;
  /** Frames whose activation changed, and the mean length of what was added to them. */
  framesChanged: number;
  meanLength: number;
  moved: Moved;
  controls: Record<keyof Moved, Spread>;
  controlTranscripts: string[];
}

export interface Steering {
  latent: number;
  frames: number;
  /** Of the latent over the clip. */
  activation: { frames: number; largest: number; meanWhenActive: number | null };
  /** What the clip is like before: with the error dropped its reconstruction. */
  unsteered: { transcript: string | null; tokens: number | null; ce_loss: number | null };
  rows: SteeredRow[];
}

export interface SteerOptions {
  model: SpliceableModel;
  sae: SAE;
  clip: SplicedClip;
  latent: number;
  /** Given the latent's activations over the clip. */
  edits(activation: Steering['activation']): readonly { strength: number | null; edit: LatentEdit }[]; // of `latent` alone
  /** Whether what the SAE does not explain stays in the frames. */
  error: 'kept' | 'dropped';
  /** Random directions beside each edit. */
  controls: number;
  seed: number;
  signal?: AbortSignal | undefined;
  /** Told before each run of the rest of the model. */
  onProgress?: ((progress: { run: number; runs: number }) => void) | undefined;
}

/**
 * A random direction adds to every frame just as much, with the same sign, as the edit adds of the latent's direction. The same directions stand
 * beside every edit. Throws `usage` for a latent that does not exist, `not-finite` when the model gives NaN, `interrupted`, `config` for transcoders.
 */
export async function steerClip(options: SteerOptions): Promise<Steering> {
  const { model: { head }, sae, clip, latent, error, controls, seed, signal, onProgress } = options;
  const { dIn } = sae;
  refuseTranscoder(sae);
  const { recon, acts, gain } = await sae.run(clip.frames);
  const before = error === 'kept' ? clip.frames : recon;
  const activation = summary(latentChange(acts, sae.dSae, { kind: 'zero', latents: [latent] }).change);
  const reference = await readReference(clip, head, undefined, before);
  const direction = await latentDirections(sae, [latent]);
  const length = Math.hypot(...direction);
  const random = Array.from({ length: controls }, (__, n) => randomDirection(dIn, length, seed, n));
  const edits = options.edits(activation), runs = edits.length * (controls + 1);

  let run = 0;
  const read = async (frames: Float32Array): Promise<Reading> => {
    if (signal?.aborted) throw new CochleaError('interrupted', `stopped after ${run} of ${runs} runs`);
    onProgress?.({ run: ++run, runs });
    return readPatched(clip, head, reference, frames);
  };
  const rows: SteeredRow[] = [];
  for (const { strength, edit } of edits) {
    const { change } = latentChange(acts, sae.dSae, edit);
    const amounts = change.map((value, row) => value * (gain?.[row] ?? 1));
    const reading = await read(addDirection(before, direction, amounts));
    const beside: { moved: Moved; text: string }[] = [];
    for (const other of random) {
      const controlled = await read(addDirection(before, other, amounts));
      beside.push({ moved: movedBy(reference, controlled, options.model), text: controlled.text });
    }
    const changed = amounts.filter((value) => value !== 0);
    rows.push({
      strength, edit: edit.kind, transcript: head ? reading.text : null, framesChanged: changed.length,
      meanLength: changed.length === 0 ? 0 : (length * changed.reduce((sum, value) => sum + Math.abs(value), 0)) / changed.length,
      moved: movedBy(reference, reading, options.model),
      controls: Object.fromEntries(movedNames.map((name) => [name, spreadOf(beside.map(({ moved }) => moved[name]))])) as SteeredRow['controls'],
      controlTranscripts: head ? beside.map(({ text }) => text) : [],
    });
  }
  return {
    latent, frames: clip.rows, activation, rows,
    unsteered: {
      transcript: head ? reference.reading.text : null, tokens: head ? reference.reading.transcripts.flat().length : null,
      ce_loss: head ? movedBy(reference, reference.reading, options.model).ce_loss : null,
    },
  };
}

/** From what zeroing it would take away. The largest is that of the largest size, with its sign. */
function summary(zeroed: Float64Array): Steering['activation'] {
  const active = zeroed.filter((value) => value !== 0).map((value) => -value);
  return {
    frames: active.length, largest: active.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0),
    meanWhenActive: active.length === 0 ? null : active.reduce((sum, value) => sum + value, 0) / active.length,
  };
}

/** Of `length`, uniform over directions: normal deviates, scaled. */
function randomDirection(dIn: number, length: number, seed: number, n: number): Float64Array {
  const random = new RandomStream(seed, streams.steering, n);
  const direction = Float64Array.from({ length: dIn }, () => random.normal());
  const norm = Math.hypot(...direction);
  return direction.map((value) => (value * length) / norm);
}

function movedBy(reference: Reference, reading: Reading, { head }: SpliceableModel): Moved {
  const { ce_loss = null, kl_div = null, wer_to_own = null, output_cosine = null } = valuesOf(countReading(reference, reading, { head, text: undefined, units: undefined }), head?.kind ?? 'none');
  let error = 0, power = 0;
  reading.outputs.forEach(({ frames, valid }, window) => {
    const own = distances(reference.reading.outputs[window].frames, frames, frames.length / valid);
    error += own.error;
    power += own.power;
  });
  return {
    tokens_changed: head ? reading.transcripts.reduce((sum, tokens, window) => sum + editDistance(reference.reading.transcripts[window], tokens), 0) : null,
    ce_loss, kl_div, wer_to_own, output_cosine, output_distance: power > 0 ? Math.sqrt(error / power) : null,
  };
}

function spreadOf(values: readonly (number | null)[]): Spread {
  const numbers = values.filter((value) => value !== null);
  if (numbers.length === 0) return null;
  return { mean: numbers.reduce((sum, value) => sum + value, 0) / numbers.length, low: Math.min(...numbers), high: Math.max(...numbers) };
}
