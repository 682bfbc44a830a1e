/** Trains the SAEs of many-runs.ts on a file into a folder, from where it was: a process of its own, so that a test can kill it. */
import process from 'node:process';
import { trainMany } from '../../src/training/index.ts';
import { manyOptions, withStream } from './many-runs.ts';

const [path, out, seed] = process.argv.slice(2) as [string, string, string];
await withStream(path, (gpu, source) => trainMany({
  ...manyOptions(Number(seed), { gpu, source, out }), checkpointEvery: 1, resume: true, onProgress: ({ saes }) => console.log(saes[0]!.metrics.step),
}));
