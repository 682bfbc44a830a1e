/**
 * Numbers that carry a bound on how far their float32 computation may lie from them: running error analysis (Higham,
 * Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.3). Every operation is charged what WGSL promises of it
 * (specification, section 15.7.4): + - x give one of the two neighbouring floats, a division is within 2.5 ULP, sqrt within
 * what 1 / inverseSqrt gives (2 + 2.5 ULP), and a denormal may be flushed. So a check against such a bound fails for wrong
 * arithmetic only, on any adapter.
 */

export interface Rounded {
  readonly value: number;
  /** At least |float32 result - value|. */
  readonly error: number;
}

/** A plain number is exact. */
type Operand = Rounded | number;

const ulp = 2 ** -23; // of a number at or above a power of two, relative to it: the most
const flushed = 2 ** -126;

const valueOf = (a: Operand): number => (typeof a === 'number' ? a : a.value);
const errorOf = (a: Operand): number => (typeof a === 'number' ? 0 : a.error);

/** A result whose operands' errors amount to `inherited` and whose operation is within `ulps`. */
function operation(value: number, inherited: number, ulps: number): Rounded {
  return { value, error: inherited + ulps * ulp * (Math.abs(value) + inherited) + flushed };
}

/** A float64 that the host hands over as float32, rounding to nearest. */
export function handedOver(value: number): Rounded {
  return { value, error: Math.abs(value) * 2 ** -24 + flushed };
}

export function add(a: Operand, b: Operand): Rounded {
  return operation(valueOf(a) + valueOf(b), errorOf(a) + errorOf(b), 1);
}

export function subtract(a: Operand, b: Operand): Rounded {
  return operation(valueOf(a) - valueOf(b), errorOf(a) + errorOf(b), 1);
}

export function multiply(a: Operand, b: Operand): Rounded {
  const inherited = Math.abs(valueOf(a)) * errorOf(b) + Math.abs(valueOf(b)) * errorOf(a) + errorOf(a) * errorOf(b);
  return operation(valueOf(a) * valueOf(b), inherited, 1);
}

export function divide(a: Operand, b: Operand): Rounded {
  const value = valueOf(a) / valueOf(b);
  const least = Math.abs(valueOf(b)) - errorOf(b);
  return operation(value, least > 0 ? (errorOf(a) + Math.abs(value) * errorOf(b)) / least : Infinity, 2.5);
}

export function squareRoot(a: Operand): Rounded {
  const value = Math.sqrt(valueOf(a));
  const below = Math.sqrt(Math.max(0, valueOf(a) - errorOf(a)));
  const above = Math.sqrt(valueOf(a) + errorOf(a));
  return operation(value, Math.max(value - below, above - value), 4.5 + 1); // one for what the two errors make together
}

/** exp, within 3 + 2 |x| ULP. */
export function exponential(a: Operand): Rounded {
  const value = Math.exp(valueOf(a));
  return operation(value, value * (Math.exp(errorOf(a)) - 1), 3 + 2 * (Math.abs(valueOf(a)) + errorOf(a)));
}

/** log, within 3 ULP, or 2^-21 where it is near zero. */
export function logarithm(a: Operand): Rounded {
  const least = valueOf(a) - errorOf(a);
  const value = Math.log(valueOf(a));
  return operation(value, (least > 0 ? errorOf(a) / least : Infinity) + 2 ** -21, 3);
}

export function minimum(a: Operand, b: Operand): Rounded {
  return { value: Math.min(valueOf(a), valueOf(b)), error: Math.max(errorOf(a), errorOf(b)) };
}

/** A sum of terms in any order, fused with the products that made them or not. */
export function sum(terms: readonly Operand[]): Rounded {
  let value = 0, inherited = 0, size = 0;
  for (const term of terms) {
    value += valueOf(term);
    inherited += errorOf(term);
    size += Math.abs(valueOf(term)) + errorOf(term);
  }
  const t = 2 * terms.length * 2 ** -24;
  return { value, error: inherited + (t / (1 - t)) * size + 2 * terms.length * flushed };
}

/** The sum of squares of float32 numbers. */
export function sumOfSquares(numbers: readonly Operand[]): Rounded {
  return sum(numbers.map((x) => multiply(x, x)));
}
