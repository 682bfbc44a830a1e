import { RandomStream } from '../../src/random.ts';

export interface PlantedWorld {
  seed: number;
  dIn: number;
  /** Directions in the dictionary, and how many of them make up a frame. */
  features: number;
  active: number;
}

const directionStream = 1100, frameStream = 1101;

/** The dictionary [features + 1, dIn] of a world, rows of length one; the last row is the mean of its frames' backgrounds. */
export function plantedDirections({ seed, dIn, features }: PlantedWorld): Float64Array {
  const random = new RandomStream(seed, directionStream);
  const directions = Float64Array.from({ length: (features + 1) * dIn }, () => random.normal());
  for (let f = 0; f <= features; f++) {
    const direction = directions.subarray(f * dIn, (f + 1) * dIn);
    const length = Math.hypot(...direction);
    direction.forEach((value, d) => direction[d] = value / length);
  }
  return directions;
}

/**
 * Frames [rows, dIn] as superposition has them: a background, plus some directions of the dictionary with magnitudes from 0.5 to 1.5, plus a
 * little noise. An SAE that finds the directions explains nearly all of it.
 */
export function plantedFrames(world: PlantedWorld, rows: number): Float32Array {
  const { seed, dIn, features, active } = world;
  const directions = plantedDirections(world);
  const random = new RandomStream(seed, frameStream);
  const frames = new Float32Array(rows * dIn);
  for (let row = 0; row < rows; row++) {
    const x = Float64Array.from(directions.subarray(features * dIn), (value) => value + 0.02 * random.normal());
    for (const f of random.permutation(features).subarray(0, active)) {
      const magnitude = 0.5 + random.uniform();
      for (let d = 0; d < dIn; d++) x[d]! += magnitude * directions[f * dIn + d]!;
    }
    frames.set(x, row * dIn);
  }
  return frames;
}
