import type { SaeLike } from './batches.ts';

/**
 * The reconstruction that knows only the mean: every frame becomes `mean` [dIn], no latent fires. With the mean of the evaluated
 * frames its explained variance is 0 by definition; with that of the training frames it falls below 0 by as much as the two differ.
 * Together with an SAE of the same configuration that was initialised and never trained, it says what a score is worth.
 */
export function meanReconstruction(mean: ArrayLike<number>): SaeLike {
  const frame = Float32Array.from(mean);
  return {
    dIn: frame.length,
    dSae: 0,
    run: async (x) => {
      const rows = x.length / frame.length;
      const recon = new Float32Array(x.length);
      for (let row = 0; row < rows; row++) recon.set(frame, row * frame.length);
      return { recon, acts: { rows, offsets: new Uint32Array(rows + 1), indices: new Uint32Array(0), values: new Float32Array(0) } };
    },
  };
}
