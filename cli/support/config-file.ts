import { readFileSync } from 'node:fs';
import type { Command, Option } from 'commander';
import { CochleaError } from '../../src/index.ts';

/**
 * `--config FILE`: a JSON object whose keys are the command's flags, with or without leading dashes. What is given on the command line wins. A
 * key that is no flag of the command is refused.
 */
export function applyConfigFile(command: Command): void {
  const path = command.opts()['config'] as string | undefined;
  if (path === undefined) return;
  for (const [key, value] of Object.entries(readConfig(path))) {
    const option = findOption(command, key);
    if (!option) {
      const known = command.options.map(({ long }) => long?.slice(2)).filter((name) => name !== 'config').join(', ');
      throw new CochleaError('config', `${path}: ${key} is no flag of ${command.name()}`, `known are ${known}`);
    }
    const name = option.attributeName();
    if (!['default', 'implied', undefined].includes(command.getOptionValueSource(name))) continue;
    command.setOptionValueWithSource(name, parsed(option, value, key, path), 'config');
  }
}

function readConfig(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    throw new CochleaError('file-missing', `cannot read the configuration ${path}`);
  }
  try {
    const config: unknown = JSON.parse(text);
    if (typeof config === 'object' && config !== null && !Array.isArray(config)) return config as Record<string, unknown>;
  } catch (error) {
    throw new CochleaError('config', `${path} is not JSON: ${(error as Error).message}`);
  }
  throw new CochleaError('config', `${path} is not a JSON object of flags`);
}

/** `d-sae`, `d_sae`, `dSae` and `--d-sae` all name one flag; `centre` names `--no-centre`. */
function findOption(command: Command, key: string): Option | undefined {
  const plain = (text: string): string => text.replace(/[-_]/g, '').toLowerCase();
  return command.options.find((option) => plain(option.attributeName()) === plain(key) || plain(option.long ?? '') === plain(key));
}

function parsed(option: Option, value: unknown, key: string, path: string): unknown {
  const wrong = (must: string): never => {
    throw new CochleaError('config', `${path}: ${key} is ${JSON.stringify(value)}`, `it must be ${must}`);
  };
  if (option.isBoolean() || option.negate) return typeof value === 'boolean' ? (option.negate && key.startsWith('no') ? !value : value) : wrong('true or false');
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) wrong('a value or a list of them');
  if (option.variadic) return (Array.isArray(value) ? value : [value]).reduce<unknown>((all, one) => (option.parseArg ? option.parseArg(String(one), all as never) : [...((all as unknown[]) ?? []), one]), undefined);
  if (Array.isArray(value) || value === null) wrong('a single value');
  return option.parseArg ? option.parseArg(String(value), undefined as never) : String(value);
}
