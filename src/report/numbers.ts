/** Numbers as people read them; the same on every machine, so without Intl. */

/** `digits` significant digits, trailing zeros kept, thousands grouped: 0.8123, 12.30, 1,234, 1.2e-7. */
export function significant(value: number, digits = 3): string {
  if (value === 0) return '0';
  const exponent = Math.floor(Math.log10(Math.abs(value)));
  if (exponent < -4 || exponent > 8) return minus(value.toExponential(digits - 1).replace('e+', 'e'));
  return minus(grouped(value.toFixed(Math.max(0, digits - 1 - exponent))));
}

export function whole(value: number): string {
  return minus(grouped(Math.round(value).toString()));
}

/** `1 frame`, `2 frames`: what is one, and an s behind it where there are more or none. */
export function counted(value: number, one: string): string {
  return `${whole(value)} ${one}${value === 1 ? '' : 's'}`;
}

/** 0.0312 as 3.12 %. */
export function percent(share: number): string {
  return `${significant(share * 100)}\u202f%`;
}

/** Hours, or minutes below two hours. */
export function duration(hours: number): string {
  return hours >= 2 ? `${hours.toFixed(1)} h` : `${significant(hours * 60)} min`;
}

/** A label of an axis: as many digits as the step between ticks needs. */
export function tickLabel(value: number, step: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return minus(value.toExponential(0).replace('e+', 'e'));
  if (size >= 10000) return minus(`${Number((value / 1000).toFixed(1))}k`);
  let decimals = 0;
  while (decimals < 8 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6) decimals++;
  return minus(value.toFixed(decimals));
}

const grouped = (digits: string): string => digits.replace(/^-?\d+/, (integer) => integer.replace(/\B(?=(\d{3})+$)/g, ','));
const minus = (digits: string): string => digits.replace('-', '\u2212');
