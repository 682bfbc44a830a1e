import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError, type Option } from 'commander';
import { CochleaError } from '../../src/index.ts';

/**
 * `--config FILE`: a JSON object whose keys are the command's flags, with or without leading dashes. What is given on the command line wins. A
 * key that is no flag of the command is refused.
 */
export function applyConfigFile(command: Command): void {
  const path = command.opts()['config'] as string | undefined;
  if (path === undefined) return;
  const config = readJson(path);
  if (typeof config !== 'object' || config === null || Array.isArray(config)) throw new CochleaError('config', `${path} is not a JSON object of flags`);
  for (const [name, value] of Object.entries(flagsOf(command, config as Record<string, unknown>, path))) {
    if (!['default', 'implied', undefined].includes(command.getOptionValueSource(name))) continue;
    command.setOptionValueWithSource(name, value, 'config');
  }
}

/** Values of a command's flags, by attribute, from an object with the flags' names. Throws `config` for a key that is no flag and for a value that cannot be. */
export function flagsOf(command: Command, given: Record<string, unknown>, where: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).map(([key, value]) => {
    const option = findOption(command, key);
    if (!option) {
      const known = command.options.map(({ long }) => long?.slice(2)).filter((name) => name !== 'config').join(', ');
      throw new CochleaError('config', `${where}: ${key} is no flag of ${command.name()}`, `known are ${known}`);
    }
    return [option.attributeName(), parsed(option, value, key, where)];
  }));
}

/** Throws `file-missing` and `config` for a file that is not there or not JSON. */
export function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    throw new CochleaError('file-missing', `cannot read the configuration ${path}`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CochleaError('config', `${path} is not JSON: ${(error as Error).message}`);
  }
}

const plain = (text: string): string => text.replace(/[-_]/g, '').toLowerCase();

/** `d-sae`, `d_sae`, `dSae` and `--d-sae` all name one flag; `centre` and `no-centre` both name `--no-centre`. */
function findOption(command: Command, key: string): Option | undefined {
  return command.options.find((option) => plain(option.attributeName()) === plain(key) || plain(option.long ?? '') === plain(key));
}

function parsed(option: Option, value: unknown, key: string, path: string): unknown {
  const wrong = (must: string): never => {
    throw new CochleaError('config', `${path}: ${key} is ${JSON.stringify(value)}`, `it must be ${must}`);
  };
  if (option.isBoolean() || option.negate) {
    if (typeof value !== 'boolean') return wrong('true or false');
    return option.negate && plain(option.long!) === plain(key) ? !value : value;
  }
  const single = (one: unknown): string => (typeof one === 'string' || typeof one === 'number' ? String(one) : wrong(option.variadic ? 'a string or a list of strings' : 'a string or a number'));
  if (option.variadic) return (Array.isArray(value) ? value : [value]).map(single);
  const text = value === null ? 'none' : Array.isArray(value) && option.flags.endsWith('<n,n,...>') ? value.map(single).join(',') : single(value);
  try {
    return option.parseArg ? option.parseArg(text, undefined as never) : text;
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw new CochleaError('config', `${path}: ${key} is ${JSON.stringify(value)}`, error.message);
  }
}
