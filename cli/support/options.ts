import { InvalidArgumentError } from 'commander';

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

/** Collects LABEL=VALUE pairs. */
export function labelValue(text: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be LABEL=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
