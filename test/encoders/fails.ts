import { CochleaError, type ErrorCode } from '../../src/errors.ts';

/** For assert.throws and assert.rejects: an error of this code whose line, message and hint, matches. */
export const fails = (code: ErrorCode, pattern: RegExp) => (error: unknown): boolean =>
  error instanceof CochleaError && error.code === code && pattern.test(error.line);
