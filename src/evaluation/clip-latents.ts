/** The latents of one clip: how often, how strongly and when each of them fires. */
import { CochleaError } from '../errors.ts';
import type { SparseActs } from '../sae/index.ts';

/**
 * By what the latents of a clip are ordered, largest first. Activations that an SAE has with signs are compared by their size.
 * `mean` counts the frames on which a latent does not fire as 0, so it is the sum over the clip on a scale that does not depend on its length.
 */
export const latentOrders = {
  peak: 'the largest activation on any one frame',
  mean: 'the mean activation over all frames of the clip, 0 where the latent does not fire',
  count: 'the number of frames on which the latent fires',
} as const;
export type LatentOrder = keyof typeof latentOrders;

/** Consecutive frames on which a latent fires. Frame i of a clip stands at i / frameRate seconds. */
export interface LatentRun {
  /** Seconds of the first frame, and of the frame behind the last. */
  from: number;
  to: number;
  /** The activation that is largest in size. */
  peak: number;
}

export interface ClipLatent {
  latent: number;
  /** Frames on which it fires: on which its activation is not 0. */
  firings: number;
  /** The same as a share of all frames of the clip. */
  share: number;
  /** Over all frames of the clip; of activations with signs, of their sizes. */
  mean: number;
  /** The activation that is largest in size, and the second at which its frame stands (of equals the first); undefined when it never fires. */
  peak: number | undefined;
  peakTime: number | undefined;
  /** In order of time. */
  runs: LatentRun[];
}

/** The latents that come first by one of `latentOrders`, or those that are named. */
export type LatentChoice = { top: number; by: LatentOrder } | { latents: readonly number[] };

/** Frames and activations of one latent, in order of time. */
interface Firings {
  frames: number[];
  values: number[];
}

function firingsByLatent({ rows, offsets, indices, values }: SparseActs): Map<number, Firings> {
  const found = new Map<number, Firings>();
  for (let row = 0; row < rows; row++) {
    for (let at = offsets[row]!; at < offsets[row + 1]!; at++) {
      const latent = indices[at]!, value = values[at]!;
      if (value === 0) continue;
      let own = found.get(latent);
      if (!own) found.set(latent, own = { frames: [], values: [] });
      own.frames.push(row);
      own.values.push(value);
    }
  }
  return found;
}

function described(latent: number, { frames, values }: Firings, rows: number, frameRate: number): ClipLatent {
  const runs: LatentRun[] = [];
  let sum = 0, strongest = -1;
  for (const [n, frame] of frames.entries()) {
    const value = values[n]!, size = Math.abs(value);
    sum += size;
    if (strongest < 0 || size > Math.abs(values[strongest]!)) strongest = n;
    const run = runs.at(-1);
    if (run && n > 0 && frames[n - 1] === frame - 1) {
      run.to = (frame + 1) / frameRate;
      if (size > Math.abs(run.peak)) run.peak = value;
    } else runs.push({ from: frame / frameRate, to: (frame + 1) / frameRate, peak: value });
  }
  return {
    latent, firings: frames.length, share: frames.length / rows, mean: sum / rows,
    peak: values[strongest], peakTime: strongest < 0 ? undefined : frames[strongest]! / frameRate, runs,
  };
}

/**
 * Latents of one clip from its activations, all of whose rows are frames of sound. By an order: those that fire, at most `top` of them, of equals the smaller
 * index first. By name: in the order given, also when they never fire.
 * Throws `config` for a latent that the SAE does not have, and for one that is named twice.
 */
export function clipLatents(acts: SparseActs, { dSae, frameRate }: { dSae: number; frameRate: number }, choice: LatentChoice): ClipLatent[] {
  const found = firingsByLatent(acts);
  const describe = (latent: number): ClipLatent => described(latent, found.get(latent) ?? { frames: [], values: [] }, acts.rows, frameRate);
  if ('latents' in choice) {
    checkNamed(choice.latents, dSae);
    return choice.latents.map(describe);
  }
  const { top, by } = choice;
  const place = ({ peak = 0, mean, firings }: ClipLatent): number => (by === 'peak' ? Math.abs(peak) : by === 'mean' ? mean : firings);
  return [...found.keys()].map(describe).sort((a, b) => place(b) - place(a) || a.latent - b.latent).slice(0, top);
}

/** Throws `config` for a latent that an SAE of `dSae` latents does not have, and for one that is named twice. */
export function checkNamed(latents: readonly number[], dSae: number): void {
  for (const [n, latent] of latents.entries()) {
    if (!(Number.isInteger(latent) && latent >= 0 && latent < dSae)) throw new CochleaError('config', `there is no latent ${latent}`, `the SAE has latents 0 to ${dSae - 1}`);
    if (latents.indexOf(latent) < n) throw new CochleaError('config', `latent ${latent} is named twice`, 'name it once');
  }
}

/** A latent's activation on every row [rows], 0 where it does not fire. */
export function activationOf(latent: number, { rows, offsets, indices, values }: SparseActs): Float32Array {
  const activation = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    for (let at = offsets[row]!; at < offsets[row + 1]!; at++) if (indices[at] === latent) activation[row] = values[at]!;
  }
  return activation;
}
