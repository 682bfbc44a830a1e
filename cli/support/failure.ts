import process from 'node:process';
import { CochleaError } from '../../src/index.ts';

/** Prints an error on one line (and its stack, when wanted) and returns the exit code. */
export function reportFailure(error: unknown, verbose: boolean): number {
  const known = error instanceof CochleaError;
  const line = known ? error.line : `unexpected: ${error instanceof Error ? error.message : String(error)}: please report it, with the output of --verbose`;
  process.stderr.write(`cochlea: ${line.replace(/\s*\n\s*/g, ' ')}\n`);
  if (verbose && error instanceof Error) process.stderr.write(`${error.stack}\n${error.cause instanceof Error ? `caused by ${error.cause.stack}\n` : ''}`);
  if (!known) return 70;
  return error.code === 'interrupted' ? 130 : error.code === 'usage' || error.code === 'config' ? 2 : 1;
}
