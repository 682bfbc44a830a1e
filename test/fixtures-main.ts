/**
 * `npm run test:fixtures [-- NAME ...]`: every case of a fixture set, or those of these names, on the adapter that the program chooses. The set is the
 * folder COCHLEA_FIXTURES (../shared/fixtures/saelens unless told): manifest.json, infer/NAME/, train/NAME/ as SAELens 6.18 recorded them.
 */
import process from 'node:process';
import { Gpu } from '../src/gpu/index.ts';
import { ensureAdapter } from '../src/runtime/adapters.ts';
import { type FixtureCase, type ReadFile } from './conformance/cases.ts';
import { checkCase } from './conformance/check.ts';
import { openFixtureSet } from './conformance/fixture-set.ts';
import { repo } from './support/paths.ts';

const folder = process.env['COCHLEA_FIXTURES'] ?? repo('..', 'shared', 'fixtures', 'saelens');
const names = process.argv.slice(2);

async function check(gpu: Gpu, read: ReadFile, one: FixtureCase): Promise<{ outcome: 'passed' | 'failed' | 'skipped'; worst: string; verdict: string }> {
  try {
    const worst = await checkCase(gpu, read, one);
    if (!worst) return { outcome: 'skipped', worst: '-', verdict: 'unsupported architecture' };
    return { outcome: 'passed', worst: Math.max(...Object.values(worst)).toExponential(1), verdict: 'ok' };
  } catch (error) {
    return { outcome: 'failed', worst: '-', verdict: `FAILED: ${(error as Error).message.replace(/\s*\n\s*/g, ' ')}` };
  }
}

async function main(): Promise<number> {
  const { read, cases } = await openFixtureSet(folder);
  const known = cases.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`no case ${unknown.join(', ')} in ${folder}: there are ${[...new Set(known)].sort().join(', ')}`);
  console.error((await ensureAdapter()).line);
  const gpu = await Gpu.open();
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const width = Math.max(...known.map((name) => name.length));
  for (const one of cases.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const { outcome, worst, verdict } = await check(gpu, read, one);
    counts[outcome]++;
    console.log(`${one.name.padEnd(width)}  ${one.kind.padEnd('inference'.length)}  ${worst.padStart(7)}  ${verdict}`);
  }
  gpu.dispose();
  console.log(`${counts.passed} passed, ${counts.failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''}`);
  return counts.failed > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
