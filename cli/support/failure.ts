import process from 'node:process';
import { CochleaError } from '../../src/index.ts';
import { printable, printableLines } from './console.ts';

/** What commander says of wrong usage, often on two lines, on one. */
export function usageLine(text: string): string {
  const line = text.replace(/^error: /, '').replace(/\s*\(Did you mean (.*?)\?\)/, ': did you mean $1?').trim().replace(/\s*\n\s*/g, ' ');
  return `cochlea: ${printable(line)}${/[.?]$/.test(line) ? '' : ':'} --help shows what is possible\n`;
}

/**
 * A reader of our output that goes away, as `head` does, must not end a long run: what would be printed is lost, the work goes on. A full disk
 * behind stdout is an error.
 */
export function surviveClosedOutput(): void {
  process.stderr.on('error', () => {});
  process.stdout.on('error', (error: Error & { code?: string }) => {
    if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') process.exitCode = reportFailure(unwritable(error), false);
  });
}

const unwritable = (error: Error): CochleaError => new CochleaError('file-system', `cannot write the output: ${error.message}`, undefined, { cause: error });

/** Deno throws where Node emits: files have errors of their own, so that a bare "disk full" is that of stdout. */
const isFullOutput = (error: unknown): error is Error => error instanceof Error && !(error instanceof CochleaError)
  && ((error as { code?: string }).code === 'ENOSPC' || error.message.includes('os error 28'));

/** Deno's own error for what its flags do not allow; it says which flag does. */
const isForbidden = (error: unknown): error is Error => error instanceof Error && error.name === 'NotCapable';

/** Prints an error on one line (and its stack, when wanted) and returns the exit code. */
export function reportFailure(caught: unknown, verbose: boolean): number {
  const error = isFullOutput(caught) ? unwritable(caught) : isForbidden(caught) ? new CochleaError('runtime', `Deno: ${caught.message}`, undefined, { cause: caught }) : caught;
  const known = error instanceof CochleaError;
  const line = known ? error.line : `unexpected: ${error instanceof Error ? error.message : String(error)}: please report it, with the output of --verbose`;
  process.stderr.write(`cochlea: ${printable(line.replace(/\s*\n\s*/g, ' '))}\n`);
  if (verbose && error instanceof Error) process.stderr.write(printableLines(`${error.stack}\n${error.cause instanceof Error ? `caused by ${error.cause.stack}\n` : ''}`));
  if (!known) return 70;
  return error.code === 'interrupted' ? 130 : error.code === 'usage' || error.code === 'config' ? 2 : 1;
}
