import assert from 'node:assert/strict';
import { CochleaError, type ErrorCode } from '../../src/errors.ts';

/** For assert.throws and assert.rejects: an error of this code whose line, message and hint, matches. */
export const fails = (code: ErrorCode, line: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof CochleaError, String(error));
  assert.deepEqual([error.code, line.test(error.line)], [code, true], error.line);
  return true;
};
