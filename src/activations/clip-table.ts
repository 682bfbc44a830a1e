/** clips.jsonl beside exchanged frames: a line for each clip, or part of one, saying which rows are its. Rows between them are padding. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { readLines } from './lines.ts';
import type { ClipLabel } from './types.ts';

export interface ClipSpan extends ClipLabel {
  /** Frame of the clip that the first row holds: row r of the span lies at (first_frame + r) / frame rate seconds. */
  first_frame: number;
  /** Where the span begins among the rows of all files, and how many it has. */
  first_row: number;
  rows: number;
}

const bufferedCharacters = 1 << 20;

/** Writes a table to a new file. */
export function clipTableWriter(path: string): { add(span: ClipSpan): Promise<void>; finish(): Promise<void> } {
  let lines = '';
  const flush = async (): Promise<void> => {
    await runtime.files.append(path, lines);
    lines = '';
  };
  return {
    async add({ id, path: clipPath, labels, first_frame, first_row, rows }) {
      lines += `${JSON.stringify({ id, path: clipPath, labels, first_frame, first_row, rows })}\n`;
      if (lines.length > bufferedCharacters) await flush();
    },
    finish: flush,
  };
}

export interface ClipTable {
  /** Rows that belong to clips. */
  readonly rows: number;
  /** The spans that touch piece `number`, in order. */
  spans(number: number): Promise<ClipSpan[]>;
}

/**
 * Reads a table for `rows` rows that are taken in pieces of `pieceRows`. Memory: 16 bytes per piece; its lines are read again with it.
 * Throws `file-damaged` for spans that overlap, are out of order or lie outside.
 */
export async function openClipTable(path: string, rows: number, pieceRows: number): Promise<ClipTable> {
  const pieces = Math.ceil(rows / pieceRows);
  const begins = new Float64Array(pieces).fill(NaN), ends = new Float64Array(pieces);
  let begin = 0, next = 0, covered = 0;
  for await (const { bytes, end } of readLines(path)) {
    const span = parseSpan(bytes, path);
    if (span.first_row < next || span.first_row + span.rows > rows) {
      throw new CochleaError('file-damaged', `${path} gives rows ${span.first_row} to ${span.first_row + span.rows} to clip ${JSON.stringify(span.id.slice(0, 200))}: ${span.first_row < next ? 'others have them' : `there are ${rows}`}`);
    }
    next = span.first_row + span.rows;
    covered += span.rows;
    for (let piece = Math.floor(span.first_row / pieceRows); piece * pieceRows < next; piece++) {
      if (Number.isNaN(begins[piece])) begins[piece] = begin;
      ends[piece] = end;
    }
    begin = end;
  }
  if ((await runtime.files.info(path))!.size !== begin) throw new CochleaError('file-damaged', `the last line of ${path} has no end`, 'end it with a newline if it is whole');
  return {
    rows: covered,
    async spans(number) {
      const found: ClipSpan[] = [];
      if (!Number.isNaN(begins[number])) for await (const { bytes } of readLines(path, begins[number], ends[number])) found.push(parseSpan(bytes, path));
      return found;
    },
  };
}

function parseSpan(bytes: Uint8Array, path: string): ClipSpan {
  let span: ClipSpan | undefined;
  try {
    span = JSON.parse(new TextDecoder().decode(bytes));
  } catch {}
  const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  if (typeof span?.id !== 'string' || typeof span.path !== 'string' || typeof span.labels !== 'object' || span.labels === null
    || !Object.values(span.labels).every((label) => typeof label === 'string') || ![span.first_frame, span.first_row, span.rows].every(isCount)) {
    throw new CochleaError('file-damaged', `${path} has a line that describes no clip: ${JSON.stringify(new TextDecoder().decode(bytes.subarray(0, 80)))}`);
  }
  return span;
}
