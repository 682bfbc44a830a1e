/**
 * `npm run bench:quality:exact [-- NAME ...] [--seeds 1,2,3]`: the first steps of SAELens' runs on synthetic data by the float64 oracle, from the same
 * weights on the same rows, and how far their stored losses, which are of float32, lie from it. What exact arithmetic does not follow no engine can.
 */
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { initialDecoder, type PeerRun, readPeer } from '../bench/quality/peer.ts';
import { largestDeviation } from '../bench/quality/results.ts';
import { World } from '../bench/quality/world.ts';
import type { Tensors } from './oracle/linear.ts';
import { trainingState, trainStep } from './oracle/training.ts';
import { oraclePass, oracleTrainingConfig } from './support/saelens.ts';
import { repo } from './support/paths.ts';

/** SPEC.md of the data: what the runs' stored settings leave out. */
const ofEveryRun = { adam_eps: 1e-8, clip_grad_norm: 1, total_training_samples: 4_096_000, train_batch_size_samples: 1024 };

/** What an SAE of these settings has besides its weights. */
function vectors({ architecture, d_in, d_sae, ...cfg }: Record<string, any>): Tensors {
  const perLatent = (value = 0): Float64Array => new Float64Array(d_sae).fill(value);
  const b_dec = new Float64Array(d_in);
  if (architecture === 'gated') return { b_dec, b_gate: perLatent(), b_mag: perLatent(), r_mag: perLatent() };
  return { b_dec, b_enc: perLatent(), ...(architecture === 'jumprelu' && { log_threshold: perLatent(Math.fround(Math.log(cfg['jumprelu_init_threshold']))) }) };
}

/** The losses of as many steps as the run's stored ones. */
function exactLosses({ seed, batch, sae_cfg, trainer, loss_first200_total_mse: stored }: PeerRun, decoder: Float32Array): number[] {
  const world = new World(seed), { d_in: dIn, d_sae: dSae } = sae_cfg;
  const weights = (): Float64Array => Float64Array.from(decoder);
  const state = trainingState({ W_enc: weights(), W_dec: weights(), ...vectors(sae_cfg) }, dSae);
  const config = oracleTrainingConfig(sae_cfg, { ...ofEveryRun, ...trainer }, dIn, 1), pass = oraclePass(sae_cfg);
  return stored.map((_, step) => trainStep(state, Float64Array.from(world.trainingRows(step * batch, batch)), config, pass).loss);
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { seeds: { type: 'string', default: '1,2,3' }, data: { type: 'string', default: join(repo('..'), 'shared', 'fixtures', 'synthetic') } } });
const { runs } = await readPeer(values.data);
const seeds = values.seeds.split(',').map(Number);
const percent = (ours: readonly number[], { loss_first200_total_mse: stored }: PeerRun, from: number, to: number): string => (
  `${(100 * largestDeviation(stored.slice(from, to).map(([loss]) => loss), ours.slice(from, to))).toPrecision(2)} %`);
for (const run of runs.filter(({ name, seed }) => (positionals.length === 0 || positionals.includes(name)) && seeds.includes(seed))) {
  const losses = exactLosses(run, await initialDecoder(values.data, run.seed));
  process.stdout.write(`${run.name}, seed ${run.seed}: SAELens' float32 losses off the exact ones by ${percent(losses, run, 0, 100)} up to step 100, ${percent(losses, run, 100, 200)} up to step 200\n`);
}
