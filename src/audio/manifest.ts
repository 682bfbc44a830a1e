import type { FoundClip } from './clips.ts';
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { readCsv } from './csv.ts';

/** One row of a manifest: where it stands, and its cells by column name. */
interface Row {
  /** `line 12` in a text file, `entry 12` in a JSON array. */
  where: string;
  cells: Record<string, unknown>;
}

const pathColumns = ['path', 'file', 'audio'];

const extensions = ['.csv', '.tsv', '.jsonl', '.ndjson', '.json'];

export const isManifest = (path: string): boolean => extensions.includes(runtime.paths.extname(path).toLowerCase());

/**
 * Reads a manifest: one clip per row, with a column `path` (or `file`, or `audio`), relative to the manifest's folder,
 * and optionally `id`, `start` and `end` (seconds); every other column is a label. Rows that cannot be used are told in
 * `problems`, one line each. Throws CochleaError `file-damaged` when the file as a whole is no manifest.
 */
export async function readManifest(manifest: string, problems: string[]): Promise<FoundClip[]> {
  const { paths } = runtime;
  const complain = (where: string, what: string): void => void problems.push(`${manifest}, ${where}: ${what}`);
  const clips: FoundClip[] = [];
  const missing = new Map<string, string | undefined>();
  for (const { where, cells } of await readRows(manifest, complain)) {
    const { id, start, end, ...others } = cells;
    const column = pathColumns.find((name) => cells[name] !== undefined && cells[name] !== null && cells[name] !== '');
    if (column === undefined) {
      complain(where, `names no file: it needs one of ${pathColumns.join(', ')}`);
      continue;
    }
    if (typeof cells[column] !== 'string') {
      complain(where, `its ${column} is ${JSON.stringify(cells[column])}, not the path of a file`);
      continue;
    }
    if (typeof id === 'object' && id !== null) {
      complain(where, `its id is ${JSON.stringify(id)}, neither text nor a number`);
      continue;
    }
    const written = cells[column];
    const path = paths.resolve(paths.dirname(manifest), written);
    if (!missing.has(path)) missing.set(path, await whyMissing(path, written));
    const why = missing.get(path);
    if (why !== undefined) {
      complain(where, why);
      continue;
    }
    const [from, to] = [seconds(start), seconds(end)];
    if (Number.isNaN(from) || Number.isNaN(to) || (to !== undefined && to <= (from ?? 0))) {
      complain(where, `start ${JSON.stringify(start ?? '')} and end ${JSON.stringify(end ?? '')} are no stretch of time in seconds`);
      continue;
    }
    delete others[column];
    const filled = Object.entries(others).filter(([, value]) => value !== null && value !== undefined);
    const labels = Object.fromEntries(filled.map(([name, value]) => [name, label(value)]));
    const named = id !== undefined && id !== null && id !== '';
    const stretch = from === undefined && to === undefined ? '' : `@${from ?? 0}-${to ?? ''}`;
    clips.push({
      id: named ? String(id) : written + stretch,
      path,
      ...(from !== undefined && { start: from }),
      ...(to !== undefined && { end: to }),
      labels,
      named,
      where: `${manifest}, ${where}`,
    });
  }
  return clips;
}

/** Why a file that a manifest names cannot be one of its recordings; undefined when it can. */
async function whyMissing(path: string, written: string): Promise<string | undefined> {
  try {
    const info = await runtime.files.info(path);
    if (info?.isFile) return undefined;
    return info ? `is a ${info.isDirectory ? 'folder' : 'pipe or device'}, not a sound file: ${written}` : `no such file: ${written}`;
  } catch (error) { // no permission, a name that no file can have, links in circles
    return (error as CochleaError).message;
  }
}

/** Undefined for an empty cell, NaN for one that is not a time. */
function seconds(cell: unknown): number | undefined {
  if (cell === undefined || cell === null || String(cell).trim() === '') return undefined;
  const value = typeof cell === 'boolean' ? NaN : Number(cell);
  return Number.isFinite(value) && value >= 0 ? value : NaN;
}

const label = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : String(value));

async function readRows(manifest: string, complain: (where: string, what: string) => void): Promise<Row[]> {
  const text = await runtime.files.readText(manifest);
  const kind = runtime.paths.extname(manifest).toLowerCase();
  if (kind === '.csv' || kind === '.tsv') return tableRows(manifest, text, kind === '.csv' ? ',' : '\t', complain);
  if (kind === '.json') return arrayRows(manifest, text, complain);
  return text.replace(/^\ufeff/, '').split(/\r?\n/).flatMap((line, i) => {
    if (line.trim() === '') return [];
    return objectRow(parseJson(line), `line ${i + 1}`, complain);
  });
}

function tableRows(manifest: string, text: string, separator: ',' | '\t', complain: (where: string, what: string) => void): Row[] {
  const [head, ...records] = readCsv(text, separator);
  const columns = head?.fields?.map((name) => name.trim());
  if (!columns?.some((name) => pathColumns.includes(name))) {
    const hint = `it has ${columns?.join(', ') ?? 'nothing'}: name the column that holds the sound files \`path\``;
    throw new CochleaError('file-damaged', `${manifest}: its first line has no column ${pathColumns.join(', ')}`, hint);
  }
  return records.flatMap(({ line, fields }) => {
    const where = `line ${line}`;
    if (fields?.length === columns.length) return [{ where, cells: Object.fromEntries(columns.map((name, i) => [name, fields[i]!])) }];
    complain(where, fields ? `has ${fields.length} fields, the first line has ${columns.length}` : 'its quotes do not pair up');
    return [];
  });
}

function arrayRows(manifest: string, text: string, complain: (where: string, what: string) => void): Row[] {
  const value = parseJson(text.replace(/^\ufeff/, ''));
  if (!Array.isArray(value)) {
    throw new CochleaError('file-damaged', `${manifest}: is not a JSON array of objects`, 'write one object per clip, with its `path`');
  }
  return value.flatMap((entry, i) => objectRow(entry, `entry ${i + 1}`, complain));
}

function objectRow(value: unknown, where: string, complain: (where: string, what: string) => void): Row[] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return [{ where, cells: value as Record<string, unknown> }];
  complain(where, 'is not a JSON object');
  return [];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
