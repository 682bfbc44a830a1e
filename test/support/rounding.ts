/** Numbers with a bound on their rounding, and what is held against them. */
import type { Rounded } from '../../src/verify/rounding.ts';
import { close } from './check.ts';

export * from '../../src/verify/rounding.ts';

/** Throws unless every element is within its bound. */
export function within(actual: ArrayLike<number>, expected: readonly Rounded[], what: string): void {
  close(actual, expected.map(({ value }) => value), { absolute: expected.map(({ error }) => error) }, what);
}
