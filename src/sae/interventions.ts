/**
 * Frames with something done to some latents, to be put in place of the frames at the hook point. What the SAE does not explain of a frame x, its
 * error x - decode(f), stays in it unless told otherwise, so that nothing changes but what was edited:
 *
 *   x' = x + decode(f') - decode(f) = x + gain sum_i (f'_i - f_i) d_i          error kept ("Sparse feature circuits", Marks et al. 2024)
 *   x' = decode(f')                                                            error dropped
 *
 * decode is affine in f for every architecture, so that d_i = decode(one of latent i) - decode(nothing) is the latent's direction; gain undoes
 * the row's normalisation, where there is one. The other latents keep their activations: nothing is encoded again, and a top-k may then hold
 * more or fewer than k. Of a temporal SAE the novel activations are edited, and what attention predicted stays.
 */
import { CochleaError } from '../errors.ts';
import { architectureOf } from './architectures/index.ts';
import type { SAE, SparseActs } from './sae.ts';

/** What is done to each of some latents, in every frame, in the activations that the SAE reports. */
export type LatentEdit = { latents: readonly number[] } & (
  | { kind: 'zero' }
  | { kind: 'scale'; factor: number }
  | { kind: 'set'; value: number }
  /** Added whether the latent fires or not; the sum may be negative. */
  | { kind: 'add'; amount: number }
  /** Row i gets the activations of row i of another clip; rows that the other has not keep their own. */
  | { kind: 'swap'; with: SparseActs }
);

export interface LatentChange {
  rows: number;
  latents: readonly number[];
  /** f'_i - f_i [rows, latents.length] */
  change: Float64Array;
  /** Rows that the edit reached: all, or with `swap` as many as the shorter clip has. */
  reached: number;
}

export interface Intervened extends LatentChange {
  /** [rows, d_in] */
  frames: Float32Array;
}

/** Latents whose directions are decoded at a time. */
const piece = 256;

/** Throws `config` for an SAE whose output does not belong where its input comes from. */
export function refuseTranscoder({ config: { architecture }, dIn, dOut }: Pick<SAE, 'config' | 'dIn' | 'dOut'>): void {
  if (architectureOf(architecture).needs !== 'targets' && dIn === dOut) return;
  throw new CochleaError('config', `a ${architecture} makes the frames of one hook point from those of another: what it gives cannot take the place of what it was given`, 'use an SAE of one hook point');
}

/** What an edit does to activations of `dSae` latents. Throws `usage` for latents that do not exist or come twice and for a number that is not finite. */
export function latentChange(acts: SparseActs, dSae: number, edit: LatentEdit): LatentChange {
  const { rows } = acts, { latents } = edit, n = latents.length;
  check(latents, dSae, edit);
  const before = columnsOf(acts, latents, dSae);
  const after = edit.kind === 'swap' ? columnsOf(edit.with, latents, dSae) : undefined;
  const reached = edit.kind === 'swap' ? Math.min(rows, edit.with.rows) : rows;
  const edited = (value: number, at: number): number => {
    switch (edit.kind) {
      case 'zero': return 0;
      case 'scale': return value * edit.factor;
      case 'set': return edit.value;
      case 'add': return value + edit.amount;
      case 'swap': return after![at]!;
    }
  };
  return { rows, latents, reached, change: before.map((value, at) => (at < reached * n ? edited(value, at) - value : 0)) };
}

function check(latents: readonly number[], dSae: number, edit: LatentEdit): void {
  const wrong = latents.find((latent) => !Number.isSafeInteger(latent) || latent < 0 || latent >= dSae);
  if (wrong !== undefined) throw new CochleaError('usage', `there is no latent ${wrong}`, `the SAE has latents 0 to ${dSae - 1}`);
  if (latents.length === 0 || new Set(latents).size !== latents.length) throw new CochleaError('usage', `latents ${latents.join(', ') || '(none)'}: name each once`);
  const number = { zero: 0, swap: 0, scale: 'factor' in edit && edit.factor, set: 'value' in edit && edit.value, add: 'amount' in edit && edit.amount }[edit.kind];
  if (!Number.isFinite(number)) throw new CochleaError('usage', `cannot ${edit.kind} a latent by ${number}`, 'give a finite number');
}

/** Activations of some latents, dense [rows, latents.length]. */
function columnsOf({ rows, offsets, indices, values }: SparseActs, latents: readonly number[], dSae: number): Float64Array {
  const slot = new Int32Array(dSae).fill(-1);
  latents.forEach((latent, n) => slot[latent] = n);
  const columns = new Float64Array(rows * latents.length);
  for (let row = 0; row < rows; row++) {
    for (let at = offsets[row]!; at < offsets[row + 1]!; at++) {
      const n = slot[indices[at]!]!;
      if (n >= 0) columns[row * latents.length + n] = values[at]!;
    }
  }
  return columns;
}

/** What one of each latent's activation adds to a reconstruction, before a row's gain [latents.length, d_out]. */
export async function latentDirections(sae: SAE, latents: readonly number[]): Promise<Float32Array> {
  const { dSae, dOut } = sae;
  const directions = new Float32Array(latents.length * dOut);
  for (let first = 0; first < latents.length; first += piece) {
    const here = latents.slice(first, first + piece);
    const ones = new Float32Array((here.length + 1) * dSae);
    here.forEach((latent, n) => ones[n * dSae + latent] = 1);
    const decoded = await sae.decode(ones);
    const nothing = decoded.subarray(here.length * dOut);
    for (let at = 0; at < here.length * dOut; at++) directions[first * dOut + at] = decoded[at]! - nothing[at % dOut]!;
  }
  return directions;
}

/**
 * Frames x [rows, d_in], all of one clip in order, after an edit; by default with the SAE's error in them. A row that the edit leaves alone keeps its
 * bits. Throws what `latentChange` and `refuseTranscoder` throw, and `not-finite` for frames that the SAE cannot take.
 */
export async function intervene(sae: SAE, x: Float32Array, edit: LatentEdit, { error = 'kept' }: { error?: 'kept' | 'dropped' } = {}): Promise<Intervened> {
  refuseTranscoder(sae);
  const { recon, acts, gain } = await sae.run(x);
  const changed = latentChange(acts, sae.dSae, edit);
  const directions = await latentDirections(sae, edit.latents);
  const frames = (error === 'kept' ? x : recon).slice();
  edit.latents.forEach((_, n) => {
    const amounts = Float64Array.from({ length: changed.rows }, (__, row) => changed.change[row * edit.latents.length + n]! * (gain?.[row] ?? 1));
    addInPlace(frames, directions.subarray(n * sae.dIn, (n + 1) * sae.dIn), amounts);
  });
  return { ...changed, frames };
}

/** Frames x [rows, d_in] with a direction [d_in] added, `amounts[row]` times. */
export function addDirection(x: Float32Array, direction: ArrayLike<number>, amounts: ArrayLike<number>): Float32Array {
  if (x.length !== direction.length * amounts.length) {
    throw new CochleaError('config', `${x.length} numbers are not ${amounts.length} frames of ${direction.length}`, 'a direction has d_in numbers, and every frame an amount');
  }
  const frames = x.slice();
  addInPlace(frames, direction, amounts);
  return frames;
}

function addInPlace(frames: Float32Array, direction: ArrayLike<number>, amounts: ArrayLike<number>): void {
  const dIn = direction.length;
  for (let row = 0; row < amounts.length; row++) {
    const amount = amounts[row]!;
    if (amount === 0) continue;
    for (let d = 0; d < dIn; d++) frames[row * dIn + d]! += amount * direction[d]!;
  }
}
