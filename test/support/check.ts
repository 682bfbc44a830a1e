/** Assertions for code that also runs in a page, where node:assert is not. Each throws an Error that says what differed. */

type Numbers = ArrayLike<number>;

const show = (value: unknown): string => (typeof value === 'string' ? `'${value}'` : typeof value === 'object' ? JSON.stringify(value) : String(value));

export function ok(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

export function equal<T>(actual: T, expected: T, what = 'value'): void {
  if (!Object.is(actual, expected)) throw new Error(`${what} is ${show(actual)}, expected ${show(expected)}`);
}

/** Same length and the same numbers, NaN equal to NaN; 0 and -0 differ. */
export function deepEqual(actual: Numbers, expected: Numbers, what = 'array'): void {
  equal(actual.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) equal(actual[i], expected[i], `${what}[${i}]`);
}

/**
 * |actual - expected| <= absolute + relative |expected| for every element; `absolute` may be an array of bounds, one
 * per element, such as the rounding error that a sum of known terms may have. Reports the worst element.
 */
export function close(actual: Numbers, expected: Numbers, tolerance: { absolute?: number | Numbers; relative?: number }, what = 'array'): void {
  const { absolute = 0, relative = 0 } = tolerance;
  equal(actual.length, expected.length, `${what}: length`);
  let worst = -1;
  let excess = 0;
  let outside = 0;
  for (let i = 0; i < expected.length; i++) {
    const allowed = (typeof absolute === 'number' ? absolute : absolute[i]!) + relative * Math.abs(expected[i]!);
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (difference <= allowed || Object.is(actual[i], expected[i])) continue;
    outside++;
    const by = Number.isNaN(difference) ? Infinity : difference - allowed;
    if (worst < 0 || by > excess) [worst, excess] = [i, by];
  }
  if (outside === 0) return;
  throw new Error(`${what}[${worst}] is ${actual[worst]}, expected ${expected[worst]} (${outside} of ${expected.length} elements are too far off, this one most)`);
}

/** The error that `work` throws; throws itself when there is none or its message does not match. */
export async function rejects(work: () => unknown, message: RegExp): Promise<Error> {
  let thrown: unknown;
  try {
    await work();
  } catch (error) {
    thrown = error;
  }
  ok(thrown instanceof Error, `expected an error like ${message}, but there was none`);
  ok(message.test(thrown.message), `expected an error like ${message}, got: ${thrown.message}`);
  return thrown;
}
