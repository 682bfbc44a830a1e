import { type Command, InvalidArgumentError } from 'commander';
import { CochleaError } from '../../src/index.ts';

/** Options that must be given, on the command line or in the file of --config: commander's own check comes before that is read. */
export function requireOptions(command: Command, ...names: readonly string[]): Command {
  const wanted = command.options.filter(({ long }) => names.includes(long!));
  return command.hook('preAction', () => {
    for (const option of wanted) {
      if (command.getOptionValue(option.attributeName()) === undefined) throw new CochleaError('usage', `${option.flags} is not given`, `see cochlea ${command.name()} --help`);
    }
  });
}

/** Whether an option, by its attribute, was given on the command line or in the file of --config. */
export const isGiven = (command: Command, key: string): boolean => ['cli', 'config'].includes(command.getOptionValueSource(key)!);

/** Parsers of option values; commander names the option in front of what they say. */

export function wholeNumber(from: number, what = `a whole number of at least ${from}`): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < from) throw new InvalidArgumentError(`It must be ${what}.`);
    return value;
  };
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('It must be a positive number.');
  return value;
}

export function nonNegativeNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && Number.isFinite(value))) throw new InvalidArgumentError('It must be zero or a positive number.');
  return value;
}

/** A list of whole numbers, as 3,17. */
export function wholeNumbers(text: string): number[] {
  return text.split(',').map((part) => wholeNumber(0, 'whole numbers with commas between them, as 3,17')(part.trim()));
}

/** Collects LABEL=VALUE pairs. */
export function labelValue(text: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be LABEL=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
