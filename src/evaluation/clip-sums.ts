/** Sums over the frames of one clip, or of several neighbouring ones. */
export interface ClipSums {
  frames: number;
  /** Per dimension: the mean of x. */
  mean: Float64Array;
  /** Sum of |x - mean|² over these frames. */
  squares: number;
  /** Sum of |x - x̂|². */
  error: number;
  /** Firings. */
  firings: number;
}

/** How many units of the bootstrap are kept apart. It bounds memory to this many vectors of d_in doubles. */
export const maxUnits = 4096;

/**
 * The units that the bootstrap resamples: clips, or, once there are more than `maxUnits` of them, groups of 2, 4, 8 ... neighbouring
 * clips. Means and squares are Welford's running ones: nothing cancels however far the frames lie from the origin.
 */
export class ClipUnits {
  readonly units: ClipSums[] = [];
  clipsPerUnit = 1;
  readonly #limit: number;
  #clip = -1;
  #clips = 0;

  constructor(limit = maxUnits) {
    this.#limit = limit;
  }

  /** Adds row `row` of x [rows, dIn], of clip number `clip` (clips come one after the other). */
  add(x: Float32Array, row: number, dIn: number, clip: number, error: number, firings: number): void {
    const unit = this.#unitOf(clip, dIn);
    unit.frames++;
    unit.error += error;
    unit.firings += firings;
    const share = 1 / unit.frames;
    const { mean } = unit;
    let squares = 0;
    for (let d = 0, at = row * dIn; d < dIn; d++, at++) {
      const difference = x[at] - mean[d];
      mean[d] += difference * share;
      squares += difference * (x[at] - mean[d]);
    }
    unit.squares += squares;
  }

  #unitOf(clip: number, dIn: number): ClipSums {
    if (clip !== this.#clip) {
      this.#clip = clip;
      if (this.#clips === this.#limit * this.clipsPerUnit) this.#pair();
      if (this.#clips++ % this.clipsPerUnit === 0) {
        this.units.push({ frames: 0, mean: new Float64Array(dIn), squares: 0, error: 0, firings: 0 });
      }
    }
    return this.units[this.units.length - 1];
  }

  #pair(): void {
    const paired = this.units.splice(0);
    for (let n = 0; n < paired.length; n += 2) this.units.push(merged(paired[n], paired[n + 1]));
    this.clipsPerUnit *= 2;
  }
}

/** Chan, Golub and LeVeque (1979): the moments of two sets of frames from those of each. */
function merged(a: ClipSums, b: ClipSums): ClipSums {
  const frames = a.frames + b.frames;
  let apart = 0;
  const mean = a.mean.map((value, d) => {
    const difference = b.mean[d] - value;
    apart += difference * difference;
    return value + difference * (b.frames / frames);
  });
  return { frames, mean, squares: a.squares + b.squares + apart * (a.frames * b.frames / frames), error: a.error + b.error, firings: a.firings + b.firings };
}
