import process from 'node:process';
import { CochleaError } from '../src/errors.ts';

/** Runs a benchmark's `main`; what a person can mend ends it with one line. */
export async function enter(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof CochleaError)) throw error;
    process.stderr.write(`${error.line}\n`);
    process.exitCode = error.code === 'usage' ? 2 : 1;
  }
}
