/**
 * Element types of tensor files and their conversion to and from JavaScript's floats. Files are little
 * endian, and so is every machine this runs on, so typed arrays can look at the bytes directly.
 */

/** Names as safetensors 0.8 spells them. */
export type DType = keyof typeof sizes;

const sizes = {
  BOOL: 1, F4: 0.5, F6_E2M3: 0.75, F6_E3M2: 0.75, U8: 1, I8: 1, F8_E5M2: 1, F8_E4M3: 1, F8_E8M0: 1, F8_E4M3FNUZ: 1, F8_E5M2FNUZ: 1,
  I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4, C64: 8, F64: 8, I64: 8, U64: 8,
} as const;

/** Bytes per element. The order of the keys is the order of safetensors' own enumeration, which its writer sorts by. */
export const dtypeBytes: Readonly<Record<DType, number>> = sizes;

/** Whether elements can be had as numbers: not complex ones, nor the packed 4- and 6-bit floats, which mean nothing without their block scales. */
export function isReadable(dtype: DType): dtype is ReadableDType {
  return dtype !== 'C64' && dtype !== 'F4' && dtype !== 'F6_E2M3' && dtype !== 'F6_E3M2';
}

type ReadableDType = Exclude<DType, 'C64' | 'F4' | 'F6_E2M3' | 'F6_E3M2'>;

export function isDType(name: unknown): name is DType {
  return typeof name === 'string' && Object.hasOwn(dtypeBytes, name);
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** IEEE 754 binary16 of a float32 given by its bits: round to nearest, ties to even; NaN stays a (quiet) NaN. */
function float16OfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff);
  if (magnitude >= 0x47800000) return sign | 0x7c00; // 2^16 and above
  if (magnitude >= 0x38800000) {
    // 2^-14 and above: drop 13 bits of the significand; a carry out of it raises the exponent, at the top to infinity.
    return sign | (((magnitude + 0xfff + ((magnitude >>> 13) & 1)) >>> 13) - (112 << 10));
  }
  if (magnitude < 0x33000000) return sign; // below 2^-25, half of the smallest subnormal
  const shift = 126 - (magnitude >>> 23); // the significand in units of 2^-24
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const kept = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

/** The upper half of a float32, rounded to nearest, ties to even. */
function bfloat16OfBits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** float32 bits of a float16 pattern that is zero, subnormal, infinite or NaN. */
function specialFloat16Bits(pattern: number): number {
  const sign = (pattern & 0x8000) << 16;
  const fraction = pattern & 0x3ff;
  if ((pattern & 0x7c00) !== 0) return sign | 0x7f800000 | (fraction << 13);
  scratchFloat[0] = fraction * 2 ** -24;
  return sign | scratchBits[0]!;
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Rounds to float16, element by element. From 65,520 on values become infinite. */
export function encodeFloat16(values: Float32Array, out: Uint16Array): void {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) out[i] = float16OfBits(bits[i]!);
}

/** float16 patterns to float32: exact. */
export function decodeFloat16(patterns: Uint16Array, out: Float32Array): void {
  const bits = bitsOf(out);
  for (let i = 0; i < patterns.length; i++) {
    const pattern = patterns[i]!;
    const exponent = pattern & 0x7c00;
    bits[i] = exponent === 0 || exponent === 0x7c00
      ? specialFloat16Bits(pattern)
      : ((pattern & 0x8000) << 16) | (((pattern & 0x7fff) << 13) + (112 << 23));
  }
}

function encodeBfloat16(values: Float32Array, out: Uint16Array): void {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) out[i] = bfloat16OfBits(bits[i]!);
}

function decodeBfloat16(patterns: Uint16Array, out: Float32Array): void {
  const bits = bitsOf(out);
  for (let i = 0; i < patterns.length; i++) bits[i] = patterns[i]! << 16;
}

/** Each number rounded to the nearest bfloat16, ties to even. */
export function roundToBfloat16(values: Float32Array): Float32Array {
  const patterns = new Uint16Array(values.length);
  encodeBfloat16(values, patterns);
  const rounded = new Float32Array(values.length);
  decodeBfloat16(patterns, rounded);
  return rounded;
}

/**
 * The 256 values of a float of one byte: sign, `exponentBits`, then fraction. `infinite` is IEEE's top exponent (infinity and NaN);
 * `finite` (the "fn" types) has NaN in the pattern of all ones alone; `unsigned-zero` ("fnuz") has NaN in place of -0.
 * P. Micikevicius et al., "FP8 formats for deep learning", 2022; the fnuz types as in ONNX's and PyTorch's definitions.
 */
function float8Values(exponentBits: number, bias: number, special: 'infinite' | 'finite' | 'unsigned-zero'): Float32Array {
  const fractionBits = 7 - exponentBits;
  return Float32Array.from({ length: 256 }, (_, pattern) => {
    const sign = pattern & 0x80 ? -1 : 1;
    const exponent = (pattern & 0x7f) >> fractionBits;
    const fraction = (pattern & ((1 << fractionBits) - 1)) / (1 << fractionBits);
    if (special === 'infinite' && exponent === (1 << exponentBits) - 1) return fraction === 0 ? sign * Infinity : NaN;
    if (special === 'finite' && (pattern & 0x7f) === 0x7f) return NaN;
    if (special === 'unsigned-zero' && pattern === 0x80) return NaN;
    return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
  });
}

const byteFloats: { readonly [K in DType]?: Float32Array } = {
  F8_E5M2: float8Values(5, 15, 'infinite'),
  F8_E4M3: float8Values(4, 7, 'finite'),
  F8_E4M3FNUZ: float8Values(4, 8, 'unsigned-zero'),
  F8_E5M2FNUZ: float8Values(5, 16, 'unsigned-zero'),
  F8_E8M0: Float32Array.from({ length: 256 }, (_, exponent) => (exponent === 255 ? NaN : 2 ** (exponent - 127))),
};

const views = {
  BOOL: Uint8Array, F8_E5M2: Uint8Array, F8_E4M3: Uint8Array, F8_E8M0: Uint8Array, F8_E4M3FNUZ: Uint8Array, F8_E5M2FNUZ: Uint8Array,
  U8: Uint8Array, I8: Int8Array, I16: Int16Array, U16: Uint16Array, F16: Uint16Array, BF16: Uint16Array,
  I32: Int32Array, U32: Uint32Array, F32: Float32Array, F64: Float64Array, I64: BigInt64Array, U64: BigUint64Array,
} as const;

const blockElements = 1 << 15;

/**
 * Decodes whole elements of `bytes` into `out` from element `at` on. Into Float32Array, wider types are
 * rounded to nearest; 64-bit integers beyond 2^53 are rounded. A bool is 0 or 1 as stored. The type must be readable.
 */
export function decodeElements(bytes: Uint8Array, dtype: DType, out: Float32Array | Float64Array, at: number): void {
  const size = dtypeBytes[dtype];
  const count = bytes.length / size;
  if ((dtype === 'F32' && out instanceof Float32Array) || (dtype === 'F64' && out instanceof Float64Array)) {
    new Uint8Array(out.buffer, out.byteOffset + at * size, bytes.length).set(bytes);
    return;
  }
  if (!isReadable(dtype)) throw new Error(`${dtype} elements have no float value`);
  const table = byteFloats[dtype];
  if (table !== undefined) {
    for (let i = 0; i < bytes.length; i++) out[at + i] = table[bytes[i]!]!;
    return;
  }
  // Blocks: a typed array needs aligned bytes, and a copy of everything could be gigabytes.
  for (let begin = 0; begin < count; begin += blockElements) {
    const end = Math.min(count, begin + blockElements);
    const block = new Uint8Array(bytes.subarray(begin * size, end * size));
    const view = new views[dtype](block.buffer, 0, end - begin);
    if (view instanceof Uint16Array && (dtype === 'F16' || dtype === 'BF16')) {
      const decode = dtype === 'F16' ? decodeFloat16 : decodeBfloat16;
      if (out instanceof Float32Array) {
        decode(view, out.subarray(at + begin, at + end));
      } else {
        const floats = new Float32Array(view.length);
        decode(view, floats);
        out.set(floats, at + begin);
      }
    } else if (view instanceof BigInt64Array || view instanceof BigUint64Array) {
      for (let i = 0; i < view.length; i++) out[at + begin + i] = Number(view[i]!);
    } else {
      out.set(view, at + begin);
    }
  }
}

export type FloatDType = 'F16' | 'BF16' | 'F32' | 'F64';

/**
 * Floats as bytes of a float type. Shares the memory of `values` where nothing has to be converted.
 * Doubles become 16-bit floats by way of float32, as in torch.
 */
export function encodeElements(values: Float32Array | Float64Array, dtype: FloatDType): Uint8Array {
  const same = values instanceof Float32Array ? 'F32' : 'F64';
  if (dtype === same) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (dtype === 'F64') return encodeElements(Float64Array.from(values), 'F64');
  const singles = values instanceof Float32Array ? values : Float32Array.from(values);
  if (dtype === 'F32') return encodeElements(singles, 'F32');
  const patterns = new Uint16Array(singles.length);
  (dtype === 'F16' ? encodeFloat16 : encodeBfloat16)(singles, patterns);
  return new Uint8Array(patterns.buffer);
}
