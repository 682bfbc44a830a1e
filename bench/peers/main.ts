/**
 * `npm run bench:peers [-- options]`: cochlea's encoder product and training steps beside those of tfjs and jax-js, on one adapter in one process and in turns.
 */
import process from 'node:process';
import { CochleaError } from '../../src/errors.ts';
import { ensureAdapter } from '../../src/runtime/adapters.ts';
import { openEngines } from './engines.ts';
import { compareProducts, type GemmResult } from './gemm.ts';
import { installPeers } from './install.ts';
import { readOptions, sizes, usage } from './options.ts';
import { compareSteps, type StepResult } from './step.ts';
import { gemmTable, merge, stepTable, torchTable } from './table.ts';
import { measureTorch } from './torch.ts';

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(usage);
    return;
  }
  await installPeers();
  const say = (text: string): void => {
    if (!options.json) process.stdout.write(`${text}\n`);
  };
  say((await ensureAdapter()).line);
  const engines = await openEngines();
  const { adapter } = engines.gpu;
  const shapes = sizes[options.sizes];
  const gemm: GemmResult[] = [];
  for (const shape of options.parts.includes('gemm') ? shapes.gemm : []) {
    gemm.push(await compareProducts(engines, shape, options));
    say(gemmTable(gemm.at(-1)!, adapter));
  }
  const step: StepResult[] = [];
  for (const shape of options.parts.includes('step') ? shapes.step : []) {
    step.push(await compareSteps(engines, shape, options));
    say(stepTable(step.at(-1)!, adapter));
  }
  const torch = options.parts.includes('torch') ? await measureTorch(shapes.step) : { absent: 'not asked for' };
  say(torchTable(torch, step));
  if (options.json) process.stdout.write(`${JSON.stringify(merge(engines, gemm, step, torch))}\n`);
}

/** The peers' devices would keep the process alive. */
const leave = (code: number): void => void process.stdout.write('', () => process.exit(code));

try {
  await main();
  leave(0);
} catch (error) {
  if (!(error instanceof CochleaError)) throw error;
  process.stderr.write(`${error.line}\n`);
  leave(error.code === 'usage' ? 2 : 1);
}
