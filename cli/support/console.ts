/** What a command shows while it works and when it is done. Results go to stdout, everything else to stderr. */
import process from 'node:process';
import { CochleaError } from '../../src/index.ts';

export interface OutputOptions {
  quiet?: boolean;
  json?: boolean;
  /** Set by --verbose of the program; the stack of an error. */
  verbose?: boolean;
}

export interface Output {
  /** A line that stays. Control characters are printed by their numbers, here and below. */
  notice(line: string): void;
  /** A line that the next one replaces on a terminal; elsewhere one is printed every ten seconds. */
  progress(line: string): void;
  /** The result: text for people, or one JSON object, in which typed arrays are lists. */
  result(text: string, json: unknown): void;
  /** Ends a progress line. */
  done(): void;
}

const everyMilliseconds = { terminal: 200, elsewhere: 10_000 };

export function openOutput({ quiet = false, json = false }: OutputOptions): Output {
  const terminal = process.stderr.isTTY === true;
  let shown = -Infinity, open = false;
  const clear = (): void => {
    if (open) process.stderr.write('\r\x1b[2K');
    open = false;
  };
  return {
    notice(line) {
      clear();
      if (!quiet) process.stderr.write(`${printable(line)}\n`);
    },
    progress(line) {
      const now = performance.now();
      if (quiet || now - shown < (terminal ? everyMilliseconds.terminal : everyMilliseconds.elsewhere)) return;
      shown = now;
      if (!terminal) process.stderr.write(`${printable(line)}\n`);
      else process.stderr.write(`\r\x1b[2K${printable(line).slice(0, (process.stderr.columns ?? 120) - 1)}`);
      open = terminal;
    },
    result(text, value) {
      clear();
      if (json) process.stdout.write(`${JSON.stringify(value, (_, field) => (field instanceof Float64Array ? [...field] : field))}\n`);
      else if (!quiet) process.stdout.write(`${printableLines(text)}\n`);
    },
    done: clear,
  };
}

/** Aborts at the first Ctrl-C (or SIGTERM), so that work can be put in order; the second one ends the process. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
    process.stderr.write('\nstopping: one moment, to leave everything whole (again: stop at once)\n');
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return controller.signal;
}

/** Control characters, and those that turn the direction of text, by their numbers: names in files are strangers'. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** The same of a text of several lines, whose ends stay: a name within is to have been through `printable` itself. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');

/** Rows of a table with columns as wide as they need to be; columns of numbers, under a heading or not, to the right. No cell can move the cursor. */
export function table(given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(printable));
  const columns = rows[0]!.map((_, column) => {
    const cells = rows.map((row) => row[column]!);
    return { width: Math.max(...cells.map((cell) => cell.length)), right: cells.slice(1).every((cell) => /^[-+.\d][\d.,:e%+-]*$/.test(cell)) };
  });
  const laidOut = (cell: string, { width, right }: (typeof columns)[number]): string => (right ? cell.padStart(width) : cell.padEnd(width));
  return rows.map((row) => row.map((cell, column) => laidOut(cell, columns[column]!)).join('  ').trimEnd()).join('\n');
}

/** `1 frame`, `2 frames`: what is one, and an s behind it where there are more or none. */
export const counted = (value: number, one: string): string => `${value} ${one}${value === 1 ? '' : 's'}`;

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** What those who open models tell: lines that stay, and files of the Hub on their way. */
export const listeners = (output: Output) => ({
  onNotice: (line: string): void => output.notice(line),
  onFetch: ({ path, done, total }: { path: string; done: number; total: number }): void => output.progress(`${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB  ${path}`),
});

/** Refuses when neither or both of two alternatives are given. */
export function exactlyOne(first: [string, unknown], second: [string, unknown]): void {
  if ((first[1] === undefined) === (second[1] === undefined)) {
    throw new CochleaError('usage', first[1] === undefined ? `neither ${first[0]} nor ${second[0]} is given` : `${first[0]} and ${second[0]} exclude each other`, `give one of them`);
  }
}
