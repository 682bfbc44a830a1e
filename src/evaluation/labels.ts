import { CochleaError } from '../errors.ts';

/** The label of the frame at `time` seconds of a clip; undefined where there is none, which keeps the frame out of every label score. */
export type FrameLabel = (clip: string, time: number) => string | undefined;

/** A stretch of a clip, in seconds: start <= t < end. */
export interface Segment {
  start: number;
  end: number;
  label: string;
}

/** Labels from aligned segments: per clip id, in order of time and without overlap. */
export function segmentLabels(segments: ReadonlyMap<string, readonly Segment[]>): FrameLabel {
  return (clip, time) => {
    const tier = segments.get(clip) ?? [];
    let [low, high] = [0, tier.length]; // the first segment that ends after `time` lies in low .. high
    while (low < high) {
      const middle = (low + high) >> 1;
      if (tier[middle].end > time) high = middle;
      else low = middle + 1;
    }
    return low < tier.length && tier[low].start <= time ? tier[low].label : undefined;
  };
}

/** How well "the latent fires" says "the frame has this label". */
export interface LabelScore {
  label: string;
  /** Firings on frames with the label, over all firings on labelled frames. */
  precision: number;
  /** Firings on frames with the label, over all frames with the label. */
  recall: number;
  /** Harmonic mean of the two. */
  f1: number;
  /** Counts of frames: fires and has the label; fires and has any label; has the label. */
  hits: number;
  fired: number;
  support: number;
}

/** More labels than this would cost more memory than they are worth: [labels, latents] counters. */
const maxLabels = 1000;

/** Counts in how many labelled frames each latent fires, per label. */
export class LabelCounts {
  frames = 0;
  readonly #latents: number;
  readonly #numbers = new Map<string, number>();
  readonly #names: string[] = [];
  /** Per label: labelled frames, and hits per latent. */
  readonly #support: number[] = [];
  readonly #hits: Uint32Array[] = [];

  constructor(latents: number) {
    this.#latents = latents;
  }

  get labels(): number {
    return this.#names.length;
  }

  /** Counts one frame with its label; returns the label's number for hit(). */
  frame(label: string): number {
    let number = this.#numbers.get(label);
    if (number === undefined) {
      if (this.labels === maxLabels) {
        throw new CochleaError('config', `there are more than ${maxLabels} different labels`, 'label frames by phones or another closed set');
      }
      number = this.#names.push(label) - 1;
      this.#numbers.set(label, number);
      this.#support.push(0);
      this.#hits.push(new Uint32Array(this.#latents));
    }
    this.frames++;
    this.#support[number]++;
    return number;
  }

  hit(number: number, latent: number): void {
    this.#hits[number][latent]++;
  }

  /**
   * The label with the highest F1; of equals the one with more support, then the one seen first. Undefined for a latent that
   * fires on no labelled frame.
   */
  best(latent: number): LabelScore | undefined {
    const fired = this.#fired(latent);
    let best: LabelScore | undefined;
    this.#names.forEach((label, number) => {
      const hits = this.#hits[number][latent], support = this.#support[number];
      if (hits === 0) return;
      const score = { label, precision: hits / fired, recall: hits / support, f1: (2 * hits) / (fired + support), hits, fired, support };
      if (!best || score.f1 > best.f1 || (score.f1 === best.f1 && score.support > best.support)) best = score;
    });
    return best;
  }

  /**
   * The share of the uncertainty about whether the latent fires that knowing the label removes, I(fires; label) / H(fires), 0 to 1
   * (Theil's uncertainty coefficient). From I its bias is taken, (labels - 1) / (2 frames) nats (Miller and Madow 1955): without
   * that, latents that fire a few times would seem to know their labels.
   */
  information(latent: number): number {
    const fired = this.#fired(latent);
    const rest = this.frames - fired;
    if (fired === 0 || rest === 0) return 0;
    const entropy = -plogp(fired / this.frames) - plogp(rest / this.frames);
    let information = 0;
    this.#support.forEach((support, number) => {
      const hits = this.#hits[number][latent];
      const share = support / this.frames;
      information += share * (plogp(hits / support) + plogp(1 - hits / support));
    });
    const bias = (this.labels - 1) / (2 * this.frames);
    return Math.max(0, Math.min(1, (information + entropy - bias) / entropy));
  }

  #fired(latent: number): number {
    return this.#hits.reduce((sum, hits) => sum + hits[latent], 0);
  }
}

const plogp = (p: number): number => (p > 0 ? p * Math.log(p) : 0);
