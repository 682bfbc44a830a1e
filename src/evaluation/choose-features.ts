import type { Firings, LatentFirings } from './top-activations.ts';

export interface ChoiceOptions {
  count: number;
  /** Shares of frames between which a latent's density must lie: rarer ones are anecdotes, denser ones say little about a moment. */
  minDensity?: number;
  maxDensity?: number;
  /** Clips that a latent must fire in; what lives in one recording is about that recording. */
  minClips?: number;
  /** How many of the chosen may share a best label. */
  perLabel?: number;
}

/**
 * The most telling latents to show, best first. Of those within the bounds each gets the share of the others that it beats, 0 to 1,
 *   in mean activation when it fires (it is sure of what it sees), and,
 *   where frames have labels, in the share of its firing that labels explain,
 * and the score is the mean of the two. Ranks, because activations have no scale of their own. Ties go to the smaller index.
 */
export function chooseFeatures({ frames, latents }: Firings, options: ChoiceOptions): (LatentFirings & { score: number })[] {
  const { count, minDensity = 0.001, maxDensity = 0.2, minClips = 5, perLabel = 2 } = options;
  const eligible = latents.filter(({ firings, clips }) => firings >= minDensity * frames && firings <= maxDensity * frames && clips >= minClips && firings > 0);
  const strength = ranks(eligible.map(({ sum, firings }) => sum / firings));
  const labelled = eligible.some(({ labelInformation }) => labelInformation !== undefined);
  const information = labelled ? ranks(eligible.map((one) => one.labelInformation ?? 0)) : strength;
  const scored = eligible
    .map((one, n) => ({ ...one, score: (strength[n] + information[n]) / 2 }))
    .sort((a, b) => b.score - a.score || a.latent - b.latent);

  const taken = new Map<string, number>();
  return scored.filter(({ label }) => {
    if (!label) return true;
    const before = taken.get(label.label) ?? 0;
    taken.set(label.label, before + 1);
    return before < perLabel;
  }).slice(0, count);
}

/** Per value the share of the others that are smaller, equal ones counting half. */
function ranks(values: number[]): number[] {
  const sorted = Float64Array.from(values).sort();
  const others = Math.max(1, values.length - 1);
  return values.map((value) => {
    const smaller = countWhere(sorted, (other) => other < value);
    const notLarger = countWhere(sorted, (other) => other <= value);
    return (smaller + (notLarger - smaller - 1) / 2) / others;
  });
}

/** How many leading elements satisfy a condition that, once false, stays false. */
function countWhere(sorted: Float64Array, holds: (value: number) => boolean): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(sorted[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}
