import type { FrameChunk } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { RandomStream, streams } from '../random.ts';
import { runBatches, type SaeLike } from './batches.ts';
import { type FrameLabel, LabelCounts, type LabelScore } from './labels.ts';

/** A latent's activation on one frame. */
export interface Firing {
  value: number;
  clip: string;
  /** Seconds in the clip. */
  time: number;
}

export interface LatentFirings {
  latent: number;
  /** Frames and clips in which it fires, and the sum and maximum of its activations. */
  firings: number;
  clips: number;
  sum: number;
  max: number;
  /** The strongest firings, at most one per clip, strongest first; of equals the earlier. */
  top: Firing[];
  /** Firings drawn uniformly from all of them, in no particular order. */
  random: Firing[];
  /** Of the label with the best F1 on these frames. */
  label?: LabelScore;
  /** Share of the uncertainty about its firing that the label removes (see LabelCounts.information). */
  labelInformation?: number;
}

export interface Firings {
  frames: number;
  clips: number;
  /** Of every latent asked for, in that order. */
  latents: LatentFirings[];
  /** Labelled frames, and different labels among them; with labels only. */
  labels?: { frames: number; labels: number };
}

export interface FiringsOptions {
  /** Which latents; default all. */
  latents?: readonly number[];
  /** Strongest firings to keep per latent; default 8. */
  top?: number;
  /** Random firings to keep per latent; default 8. */
  random?: number;
  seed?: number;
  label?: FrameLabel;
}

/** The bootstrap draws from substream 0 of the same stream. */
const reservoirSubstream = 1;

/**
 * Finds where latents fire, in one pass over frames in stored order. Memory: latents * (top + random) firings, whatever the
 * number of frames. The random firings are a reservoir (Vitter 1985, algorithm R); they depend on the seed, the frames and the
 * chosen latents, not on how the frames are cut into chunks.
 * Throws `config` for a latent that the SAE does not have, for frames that do not fit, and for frames out of order.
 */
export async function collectFirings(sae: SaeLike, chunks: AsyncIterable<FrameChunk>, options: FiringsOptions = {}): Promise<Firings> {
  const { top = 8, random = 8, seed = 0, label } = options;
  const latents = options.latents ?? Array.from({ length: sae.dSae }, (_, latent) => latent);
  const slots = new Int32Array(sae.dSae).fill(-1);
  latents.forEach((latent, slot) => {
    if (!(Number.isInteger(latent) && latent >= 0 && latent < sae.dSae)) {
      throw new CochleaError('config', `there is no latent ${latent}`, `the SAE has latents 0 to ${sae.dSae - 1}`);
    }
    if (slots[latent] >= 0) throw new CochleaError('config', `latent ${latent} is asked for twice`);
    slots[latent] = slot;
  });
  const best = new FiringTable(latents.length, top), sample = new FiringTable(latents.length, random);
  const draws = new RandomStream(seed, streams.bootstrap, reservoirSubstream);
  const firings = new Float64Array(latents.length), clipCounts = new Float64Array(latents.length);
  const sums = new Float64Array(latents.length), maxima = new Float64Array(latents.length).fill(-Infinity);
  const lastClip = new Int32Array(latents.length).fill(-1);
  const labels = label ? new LabelCounts(latents.length) : undefined;
  let frames = 0;
  let clips: readonly { id: string }[] = [];

  for await (const batch of runBatches(sae, chunks)) {
    const { acts, clip, time } = batch;
    clips = batch.clips;
    frames += batch.rows;
    for (let row = 0; row < batch.rows; row++) {
      const name = label?.(clips[clip[row]].id, time[row]);
      const number = labels && name !== undefined ? labels.frame(name) : -1;
      for (let at = acts.offsets[row]; at < acts.offsets[row + 1]; at++) {
        const slot = slots[acts.indices[at]], value = acts.values[at];
        if (slot < 0 || value === 0) continue;
        firings[slot]++;
        sums[slot] += value;
        maxima[slot] = Math.max(maxima[slot], value);
        if (lastClip[slot] !== clip[row]) clipCounts[slot]++;
        lastClip[slot] = clip[row];
        if (number >= 0) labels?.hit(number, slot);
        best.offer(slot, value, clip[row], time[row]);
        const place = firings[slot] <= random ? firings[slot] - 1 : draws.below(firings[slot]);
        if (place < random) sample.put(slot, place, value, clip[row], time[row]);
      }
    }
  }

  return {
    frames,
    clips: clips.length,
    latents: latents.map((latent, slot) => ({
      latent, firings: firings[slot], clips: clipCounts[slot], sum: sums[slot], max: firings[slot] > 0 ? maxima[slot] : 0,
      top: best.list(slot, clips), random: sample.list(slot, clips),
      ...(labels ? { label: labels.best(slot), labelInformation: labels.information(slot) } : {}),
    })),
    ...(labels ? { labels: { frames: labels.frames, labels: labels.labels } } : {}),
  };
}

/** `width` firings per slot, in flat arrays. */
class FiringTable {
  readonly #width: number;
  readonly #filled: Uint32Array;
  readonly #value: Float32Array;
  readonly #clip: Uint32Array;
  readonly #time: Float32Array;

  constructor(slots: number, width: number) {
    this.#width = width;
    this.#filled = new Uint32Array(slots);
    this.#value = new Float32Array(slots * width);
    this.#clip = new Uint32Array(slots * width);
    this.#time = new Float32Array(slots * width);
  }

  put(slot: number, place: number, value: number, clip: number, time: number): void {
    const at = slot * this.#width + place;
    this.#value[at] = value;
    this.#clip[at] = clip;
    this.#time[at] = time;
    this.#filled[slot] = Math.max(this.#filled[slot], place + 1);
  }

  /**
   * Keeps the list sorted and every clip in it once. At any time it holds the clips with the largest maxima so far: a clip that is
   * in it can only rise, and one that is not must pass the last.
   */
  offer(slot: number, value: number, clip: number, time: number): void {
    if (this.#width === 0) return;
    const first = slot * this.#width;
    const filled = this.#filled[slot];
    if (filled === this.#width && value <= this.#value[first + filled - 1]) return;
    let place = 0; // of the firing that goes: this clip's own, else the last one, else none
    while (place < filled && this.#clip[first + place] !== clip) place++;
    if (place < filled && value <= this.#value[first + place]) return;
    place = Math.min(place, this.#width - 1);
    for (; place > 0 && this.#value[first + place - 1] < value; place--) {
      this.put(slot, place, this.#value[first + place - 1], this.#clip[first + place - 1], this.#time[first + place - 1]);
    }
    this.put(slot, place, value, clip, time);
  }

  list(slot: number, clips: readonly { id: string }[]): Firing[] {
    return Array.from({ length: this.#filled[slot] }, (_, place) => {
      const at = slot * this.#width + place;
      return { value: this.#value[at], clip: clips[this.#clip[at]].id, time: this.#time[at] };
    });
  }
}
