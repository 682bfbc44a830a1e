/**
 * CRC-32 as zip has it (reflected polynomial 0xedb88320), eight bytes at a time: table k holds the remainder of a byte that k more
 * bytes follow (M. E. Kounavis and F. L. Berry, "Novel table lookup-based algorithms for high-performance CRC generation", 2008).
 */
const tables = Array.from({ length: 8 }, () => new Int32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? 0xedb88320 ^ (remainder >>> 1) : remainder >>> 1;
  tables[0]![byte] = remainder;
}
for (let k = 1; k < 8; k++) for (let byte = 0; byte < 256; byte++) {
  const before = tables[k - 1]![byte]!;
  tables[k]![byte] = tables[0]![before & 255]! ^ (before >>> 8);
}
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];

/** The checksum of everything so far; `before` is that of what came before `bytes`. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  let i = 0;
  for (const last = bytes.length - 7; i < last; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc = t7[crc & 255]! ^ t6[(crc >>> 8) & 255]! ^ t5[(crc >>> 16) & 255]! ^ t4[crc >>> 24]!
      ^ t3[bytes[i + 4]!]! ^ t2[bytes[i + 5]!]! ^ t1[bytes[i + 6]!]! ^ t0[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i++) crc = t0[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
