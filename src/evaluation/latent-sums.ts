import type { Batch } from './batches.ts';
import type { LatentMetric } from './metric-definitions.ts';

/** How often latents fire: a histogram over log10 of the density. */
export interface DensityHistogram {
  /** log10 of the density at the bins' edges, a quarter of a decade apart: [bins + 1]. */
  edges: number[];
  /** Latents per bin; a density at an edge belongs to the bin above, 1 to the last bin. */
  counts: number[];
  /** Latents that never fire, and so are in no bin. */
  silent: number;
}

const binsPerDecade = 4;

/** Counts and sums per latent. */
export class LatentSums {
  frames = 0;
  clips = 0;
  firings = 0;
  /** Sum of |z|. */
  absolute = 0;
  readonly #frames: Float64Array;
  readonly #clips: Float64Array;
  readonly #sum: Float64Array;
  readonly #max: Float64Array;
  readonly #lastClip: Int32Array;

  constructor(dSae: number) {
    this.#frames = new Float64Array(dSae);
    this.#clips = new Float64Array(dSae);
    this.#sum = new Float64Array(dSae);
    this.#max = new Float64Array(dSae);
    this.#lastClip = new Int32Array(dSae).fill(-1);
  }

  /** Adds one row of a batch; returns how many latents fire in it. */
  add({ acts, clip, clips }: Batch, row: number): number {
    this.frames++;
    this.clips = clips.length;
    let firings = 0;
    for (let at = acts.offsets[row]; at < acts.offsets[row + 1]; at++) {
      const value = acts.values[at], latent = acts.indices[at];
      if (value === 0) continue;
      firings++;
      this.absolute += Math.abs(value);
      this.#max[latent] = this.#frames[latent] === 0 ? value : Math.max(this.#max[latent], value);
      this.#frames[latent]++;
      this.#sum[latent] += value;
      if (this.#lastClip[latent] === clip[row]) continue;
      this.#lastClip[latent] = clip[row];
      this.#clips[latent]++;
    }
    this.firings += firings;
    return firings;
  }

  /** Per latent, under the definitions of `latentMetrics`. */
  latents(): Record<LatentMetric, number[]> {
    return {
      feature_density: Array.from(this.#frames, (count) => count / this.frames),
      clip_density: Array.from(this.#clips, (count) => count / this.clips),
      mean_activation: Array.from(this.#sum, (sum, latent) => (this.#frames[latent] === 0 ? 0 : sum / this.#frames[latent])),
      max_activation: Array.from(this.#max),
    };
  }

  /** From the rarest density that these frames can show, one firing, up to 1. */
  histogram(): DensityHistogram {
    const lowest = -Math.ceil(Math.log10(this.frames) * binsPerDecade);
    const bins = Math.max(1, -lowest);
    const edges = Array.from({ length: bins + 1 }, (_, n) => (n - bins) / binsPerDecade);
    const counts = new Array<number>(bins).fill(0);
    let silent = 0;
    for (const count of this.#frames) {
      if (count === 0) {
        silent++;
        continue;
      }
      const bin = Math.floor(Math.log10(count / this.frames) * binsPerDecade) + bins;
      counts[Math.max(0, Math.min(bins - 1, bin))]++;
    }
    return { edges, counts, silent };
  }
}
