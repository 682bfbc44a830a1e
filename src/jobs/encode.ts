import { writeSafetensors } from '../formats/index.ts';
import { dense, type SAE } from '../sae/index.ts';
import { openActivations } from './activations.ts';

export interface EncodeResult {
  out: string;
  frames: number;
  l0: number;
}

/**
 * Feature activations and reconstructions of frames, as a safetensors file with `feature_acts` [rows, d_sae] and `recon` [rows, d_in], in
 * stored order. Activations are written as they come; the reconstructions, which follow them in the file, are held.
 */
export async function encodeFile(sae: SAE, input: string, out: string): Promise<EncodeResult> {
  const source = await openActivations(input);
  try {
    const rows = source.rows!;
    const recon = new Float32Array(rows * sae.dIn);
    let at = 0, firing = 0;
    async function* activations(): AsyncGenerator<Float32Array> {
      for await (const chunk of source.chunks({ seed: 0, epoch: undefined, from: 0 })) {
        // A dense piece is d_sae / d_in times the frames: some thousand rows at a time.
        for (let first = 0; first < chunk.rows; first += 1024) {
          const here = Math.min(1024, chunk.rows - first);
          const result = await sae.run(chunk.x.subarray(first * sae.dIn, (first + here) * sae.dIn));
          recon.set(result.recon, at * sae.dIn);
          at += here;
          firing += result.acts.indices.length;
          yield dense(result.acts, sae.dSae);
        }
      }
    }
    await writeSafetensors(out, [
      { name: 'feature_acts', dtype: 'F32', shape: [rows, sae.dSae], data: activations() },
      { name: 'recon', dtype: 'F32', shape: [rows, sae.dIn], data: (function* held() { yield recon; })() },
    ]);
    return { out, frames: rows, l0: firing / rows };
  } finally {
    await source.close();
  }
}
