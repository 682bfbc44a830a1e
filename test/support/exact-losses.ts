/** SAELens' runs on synthetic data by the float64 oracle: the same steps in exact arithmetic, as far as float64 is that. */
import type { PeerRun } from '../../bench/quality/peer.ts';
import { World } from '../../bench/quality/world.ts';
import type { Tensors } from '../oracle/linear.ts';
import { trainingState, trainStep } from '../oracle/training.ts';
import { oraclePass, oracleTrainingConfig } from './saelens.ts';

/** SPEC.md of the data: what the runs' stored settings leave out. */
const ofEveryRun = { adam_eps: 1e-8, clip_grad_norm: 1, total_training_samples: 4_096_000, train_batch_size_samples: 1024 };

/** What an SAE of these settings has besides its weights. */
function vectors({ architecture, d_in, d_sae, ...cfg }: Record<string, any>): Tensors {
  const perLatent = (value = 0): Float64Array => new Float64Array(d_sae).fill(value);
  const b_dec = new Float64Array(d_in);
  if (architecture === 'gated') return { b_dec, b_gate: perLatent(), b_mag: perLatent(), r_mag: perLatent() };
  return { b_dec, b_enc: perLatent(), ...(architecture === 'jumprelu' && { log_threshold: perLatent(Math.fround(Math.log(cfg['jumprelu_init_threshold']))) }) };
}

/** The total losses of a run's first steps, which begin with this decoder [d_sae, d_in] and the encoder like it. */
export function exactLosses({ seed, batch, sae_cfg, trainer }: PeerRun, decoder: Float32Array, steps: number): number[] {
  const world = new World(seed), { d_in: dIn, d_sae: dSae } = sae_cfg;
  const weights = (): Float64Array => Float64Array.from(decoder);
  const state = trainingState({ W_enc: weights(), W_dec: weights(), ...vectors(sae_cfg) }, dSae);
  const config = oracleTrainingConfig(sae_cfg, { ...ofEveryRun, ...trainer }, dIn, 1), pass = oraclePass(sae_cfg);
  return Array.from({ length: steps }, (_, step) => trainStep(state, Float64Array.from(world.trainingRows(step * batch, batch)), config, pass).loss);
}
