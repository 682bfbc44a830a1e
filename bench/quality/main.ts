/**
 * `npm run bench:quality [-- options]`: SAELens' runs on synthetic data with a known dictionary, done again here from the same initial weights on
 * the same rows, and a table of both. Every finished run is kept in a JSON file, and those that are there are not trained again: a whole table takes hours
 * on a software adapter and can be had in pieces, also by several processes with a file each.
 */
import process from 'node:process';
import { enter } from '../entry.ts';
import { parseArgs } from 'node:util';
import { CochleaError } from '../../src/errors.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { ensureAdapter } from '../../src/runtime/adapters.ts';
import type { Compatibility } from '../../src/sae/index.ts';
import { initialDecoder, type PeerRun, readPeer } from './peer.ts';
import { addRecord, isSameRun, readRecords, recordOf } from './results.ts';
import { report } from './table.ts';
import { repeatRun, type Settings } from './train.ts';

const usage = `usage: npm run bench:quality -- [options]
  --only NAME,...          configurations (default: all)
  --seeds N,...            seeds (default: 1,2,3)
  --steps N                stop every run after so many steps: 200 are enough for the loss curve
  --compatibility MODE     saelens-6.18, which SAELens' runs were made with, or corrected (default: saelens-6.18)
  --set JSON               settings that are to differ from SAELens' runs, e.g. '{"training":{"resample_steps":[1000,2000]},"sae":{"k_anneal_start":32,"k_anneal_steps":2000}}'
  --json FILE              where results are kept (default: bench/quality/results.json); with --report, FILE,... are read together
  --data FOLDER            SAELens' results and initial weights (default: ../shared/fixtures/synthetic)
  --report                 print the table of what is there, train nothing
`;

const modes: readonly Compatibility[] = ['saelens-6.18', 'corrected'];

function parse() {
  try {
    return parseArgs({
      options: {
        only: { type: 'string' }, seeds: { type: 'string', default: '1,2,3' }, steps: { type: 'string' }, compatibility: { type: 'string', default: modes[0]! },
        json: { type: 'string', default: 'bench/quality/results.json' }, data: { type: 'string', default: '../shared/fixtures/synthetic' },
        set: { type: 'string', default: '{}' }, report: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new CochleaError('usage', (error as Error).message, usage);
  }
}

function readOptions() {
  const values = parse();
  const compatibility = modes.find((mode) => mode === values.compatibility);
  if (!compatibility) throw new CochleaError('usage', `--compatibility is ${values.compatibility}`, `it must be one of ${modes.join(', ')}`);
  const steps = values.steps === undefined ? Infinity : Number(values.steps);
  if ((steps !== Infinity && !Number.isSafeInteger(steps)) || steps < 1) {
    throw new CochleaError('usage', `--steps is ${values.steps}`, 'it must be a positive whole number');
  }
  return { ...values, compatibility, steps, set: settings(values.set), only: values.only?.split(','), seeds: values.seeds.split(',').map(Number), files: values.json.split(',') };
}

/** What --set holds. The trainer and the architecture check the settings themselves. */
function settings(text: string): Settings {
  try {
    const found = JSON.parse(text) as Record<string, unknown>;
    const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
    if (isObject(found) && Object.entries(found).every(([name, value]) => (name === 'training' || name === 'sae') && isObject(value))) return found as Settings;
  } catch {
    // The line below says what is wrong.
  }
  throw new CochleaError('usage', `--set is ${text}`, 'it must be a JSON object with objects "training" and "sae", either of which may be left out');
}

type Options = ReturnType<typeof readOptions>;

/** The runs that are asked for, seeds of one configuration together. Throws `usage` for what SAELens' results do not have. */
function chosenRuns(runs: readonly PeerRun[], { only, seeds }: Options): PeerRun[] {
  const names = [...new Set(runs.map(({ name }) => name))];
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new CochleaError('usage', `there is no configuration ${unknown}`, `there are ${names.join(', ')}`);
  return (only ?? names).flatMap((name) => seeds.map((seed) => {
    const alike = runs.filter((one) => one.name === name);
    const run = alike.find((one) => one.seed === seed);
    if (!run) throw new CochleaError('usage', `there is no run of ${name} with seed ${seed}`, `there are ${alike.map((one) => one.seed).sort().join(', ')}`);
    return run;
  }));
}

/** Trains what is not in the file yet. */
async function trainMissing(options: Options): Promise<void> {
  const { data, compatibility, set, files: [file] } = options;
  const peer = await readPeer(data);
  const done = await readRecords(file!);
  const missing = chosenRuns(peer.runs, options).filter(({ name, seed, steps }) => (
    !done.some((record) => isSameRun(record, { name, seed, compatibility, set }) && record.steps >= Math.min(steps, options.steps))));
  if (missing.length === 0) return;
  const adapter = await ensureAdapter();
  process.stderr.write(`${adapter.line}\n`);
  const gpu = await Gpu.open();
  try {
    for (const run of missing) {
      const decoder = await initialDecoder(data, run.seed);
      const repeated = await repeatRun({
        gpu, run, decoder, compatibility, set, steps: Math.min(run.steps, options.steps),
        onStep: (step, loss) => {
          if (step % 100 === 0) process.stderr.write(`${run.name}, seed ${run.seed}: step ${step} of ${run.steps}, loss ${loss.toPrecision(5)}\n`);
        },
      });
      await addRecord(file!, recordOf(repeated, run, peer, { compatibility, set, adapter: adapter.name }));
    }
  } finally {
    gpu.dispose();
  }
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(usage);
    return;
  }
  if (!options.report) await trainMissing(options);
  const records = (await Promise.all(options.files.map(readRecords))).flat();
  const asked = records.filter(({ name, seed }) => (options.only?.includes(name) ?? true) && options.seeds.includes(seed));
  if (asked.length === 0) throw new CochleaError('file-missing', `${options.files.join(', ')}: no results of these runs`, 'leave out --report to train them');
  process.stdout.write(`${report(asked)}\n`);
}

await enter(main);
