/** Numbers of 16 bits by their definitions, in float64, which holds all of them. */

const field = (pattern: number, bits: number): { sign: number; exponent: number; fraction: number } => ({
  sign: pattern >= 2 ** 15 ? -1 : 1, exponent: Math.floor((pattern % 2 ** 15) / 2 ** bits), fraction: (pattern % 2 ** bits) / 2 ** bits,
});

/** IEEE 754 with `bits` bits of fraction and an exponent of 15 - bits bits. */
function value(pattern: number, bits: number): number {
  const { sign, exponent, fraction } = field(pattern, bits);
  const largest = 2 ** (15 - bits) - 1, bias = (largest - 1) / 2;
  if (exponent === largest) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

/** binary16: 5 bits of exponent, 10 of fraction. */
export const float16 = (pattern: number): number => value(pattern, 10);

/** The nearest number of binary16, of two the even one; from 65,520 on, halfway to the next power of two, an infinity. */
export function nearestFloat16(number: number): number {
  const size = Math.abs(number), sign = Math.sign(number);
  if (size >= 65520) return sign * Infinity;
  const unit = 2 ** (Math.max(Math.floor(Math.log2(size)), -14) - 10);
  const below = Math.floor(size / unit), rest = size / unit - below;
  return sign * unit * (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below);
}

/** bfloat16: 8 bits of exponent, 7 of fraction. */
export const bfloat16 = (pattern: number): number => value(pattern, 7);
