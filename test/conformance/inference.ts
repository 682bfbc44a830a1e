/** An inference case of the fixtures against the SAE on the GPU: encode, decode, forward. */
import type { SaelensConfig } from '../../src/formats/index.ts';
import type { Gpu } from '../../src/gpu/index.ts';
import { dense, SAE } from '../../src/sae/index.ts';
import * as check from '../support/check.ts';
import { type ReadFile, readTensors, relativeDistance, weightsOf } from './cases.ts';

/** `config` is the case's cfg.json as the reader of SAELens folders understands it. Returns the worst deviation. */
export async function checkInference(gpu: Gpu, read: ReadFile, name: string, config: SaelensConfig): Promise<number> {
  const weights = weightsOf(await readTensors(read, `infer/${name}/sae_weights.safetensors`));
  const { x, feature_acts: acts, recon } = await readTensors(read, `infer/${name}/io.safetensors`);
  const tolerance = config.dtype === 'float32' ? 1e-5 : 1e-3;
  const sae = await SAE.create(gpu, config, weights);
  const frames = Float32Array.from(x!.data);
  const run = await sae.run(frames);
  const deviations = {
    encode: relativeDistance(await sae.encode(frames), acts!.data),
    run: relativeDistance(dense(run.acts, config.d_sae), acts!.data),
    forward: relativeDistance(run.recon, recon!.data),
    // Without a row normalisation, decoding the recorded activations must give the recorded reconstruction, but for what skips the latents.
    decode: ['none', 'expected_average_only_in'].includes(config.normalize_activations)
      ? relativeDistance(await sae.decode(Float32Array.from(acts!.data)), withoutSkip(recon!.data, x!.data, weights.W_skip, config.d_in)) : 0,
  };
  sae.dispose();
  for (const [what, deviation] of Object.entries(deviations)) {
    check.ok(deviation <= tolerance, `${name}: ${what} deviates by ${deviation.toExponential(2)}, more than ${tolerance}`);
  }
  return Math.max(...Object.values(deviations));
}

/** recon [rows, d_out] less x W_skip^T, where there is a direct path W_skip [d_out, d_in]. */
function withoutSkip(recon: Float64Array, x: Float64Array, W_skip: Float32Array | undefined, dIn: number): Float64Array {
  if (!W_skip) return recon;
  const dOut = W_skip.length / dIn;
  return recon.map((value, at) => {
    const row = Math.floor(at / dOut), out = at % dOut;
    let skipped = 0;
    for (let d = 0; d < dIn; d++) skipped += x[row * dIn + d]! * W_skip[out * dIn + d]!;
    return value - skipped;
  });
}
