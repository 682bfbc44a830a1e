/** Configurations that other people wrote: each field is asked for by name and kind, and nothing else of them is used. */
import { CochleaError } from '../errors.ts';
import { type FileSet, readSmallText } from './files.ts';

export interface Fields {
  /** The file, and where in it, for messages. */
  readonly path: string;
  has(name: string): boolean;
  /** A whole number from 1 (or `least`) on. */
  count(name: string, least?: number): number;
  number(name: string): number;
  flag(name: string, missing: boolean): boolean;
  text(name: string): string;
  /** Undefined where the field is missing or null, or no text. */
  optionalText(name: string): string | undefined;
  object(name: string): Fields;
}

/** Throws `file-damaged` for what is no JSON object. */
export async function readFields(files: FileSet, name: string): Promise<Fields> {
  const path = files.path(name);
  let value: unknown;
  try {
    value = JSON.parse(await readSmallText(files, name));
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw new CochleaError('file-damaged', `${path} is not JSON (${(error as Error).message.replace(/\s+/g, ' ').slice(0, 120)})`);
  }
  return fieldsOf(value, path);
}

/** The fields of a value that should be an object. */
export function fieldsOf(value: unknown, path: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new CochleaError('file-damaged', `${path} is not an object of named values`);
  // Own properties alone: a file cannot reach a prototype, and a name like "constructor" is as missing as any other.
  const get = (name: string): unknown => (Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined);
  const wrong = (name: string, must: string): never => {
    const found = get(name);
    const shown = found === undefined ? 'missing' : typeof found === 'object' ? 'not a single value' : JSON.stringify(String(found).slice(0, 60));
    throw new CochleaError('file-damaged', `${path}: ${name} is ${shown}: it must be ${must}`);
  };
  return {
    path,
    has: (name) => get(name) !== undefined && get(name) !== null,
    count(name, least = 1) {
      const found = get(name);
      return Number.isSafeInteger(found) && (found as number) >= least ? found as number : wrong(name, `a whole number of at least ${least}`);
    },
    number(name) {
      const found = get(name);
      return Number.isFinite(found) ? found as number : wrong(name, 'a number');
    },
    flag(name, missing) {
      const found = get(name) ?? missing;
      return typeof found === 'boolean' ? found : wrong(name, 'true or false');
    },
    text(name) {
      const found = get(name);
      return typeof found === 'string' ? found : wrong(name, 'a text');
    },
    optionalText(name) {
      const found = get(name);
      return typeof found === 'string' ? found : undefined;
    },
    object: (name) => fieldsOf(get(name), `${path}: ${name}`),
  };
}
