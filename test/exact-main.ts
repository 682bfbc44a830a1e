/**
 * `npm run bench:quality:exact [-- NAME ...] [--seeds 1,2,3]`: the first steps of SAELens' runs on synthetic data by the float64 oracle, from the same
 * weights on the same rows, and how far their stored losses, which are of float32, lie from it. What exact arithmetic does not follow no engine can.
 */
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { initialDecoder, type PeerRun, readPeer } from '../bench/quality/peer.ts';
import { largestDeviation } from '../bench/quality/results.ts';
import { exactLosses } from './support/exact-losses.ts';
import { repo } from './support/paths.ts';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { seeds: { type: 'string', default: '1,2,3' }, data: { type: 'string', default: join(repo('..'), 'shared', 'fixtures', 'synthetic') } } });
const { runs } = await readPeer(values.data);
const unknown = positionals.find((name) => !runs.some((run) => run.name === name));
if (unknown !== undefined) throw new Error(`no run ${unknown}: there are ${[...new Set(runs.map(({ name }) => name))].join(', ')}`);
const seeds = values.seeds.split(',').map(Number);
const percent = (ours: readonly number[], { loss_first200_total_mse: stored }: PeerRun, from: number, to: number): string => (
  `${(100 * largestDeviation(stored.slice(from, to).map(([loss]) => loss), ours.slice(from, to))).toPrecision(2)} %`);
for (const run of runs.filter(({ name, seed }) => (positionals.length === 0 || positionals.includes(name)) && seeds.includes(seed))) {
  const losses = exactLosses(run, await initialDecoder(values.data, run.seed), run.loss_first200_total_mse.length);
  process.stdout.write(`${run.name}, seed ${run.seed}: SAELens' float32 losses off the exact ones by ${percent(losses, run, 0, 100)} up to step 100, ${percent(losses, run, 100, 200)} up to step 200\n`);
}
