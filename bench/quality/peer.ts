/** The peer's side of the comparison: SAELens 6.18 on the same rows, from the files that its runs left. */
import { openSafetensors } from '../../src/formats/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import type { Quality } from './metrics.ts';

export interface PeerRun {
  name: string;
  seed: number;
  steps: number;
  batch: number;
  /** SAELens' configuration of the SAE and of its trainer. */
  sae_cfg: Record<string, unknown> & { architecture: string; d_in: number; d_sae: number };
  trainer: Record<string, unknown>;
  /** Of the saved SAE on held-out rows. */
  inference: Quality;
  /** [total loss, mse] of the first steps. */
  loss_first200_total_mse: [number, number][];
}

export interface PeerResults {
  sae_lens_version: string;
  runs: PeerRun[];
  /** How far the peer's own float32 run leaves its float64 run: largest relative difference of the loss, per configuration. */
  drift_f32_vs_f64_first200_relative_loss: Record<string, Record<string, number>>;
}

export async function readPeer(folder: string): Promise<PeerResults> {
  return JSON.parse(await runtime.files.readText(runtime.paths.join(folder, 'results.json'))) as PeerResults;
}

/** The decoder [d_sae, d_in] that the peer's runs of a seed began with; the encoder was its transpose. */
export async function initialDecoder(folder: string, seed: number): Promise<Float32Array> {
  const file = await openSafetensors(runtime.paths.join(folder, `init_seed${seed}.safetensors`));
  try {
    return await file.readFloat32('W_dec');
  } finally {
    await file.close();
  }
}
