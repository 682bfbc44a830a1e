import { RandomStream } from '../../src/random.ts';

/** Writes the right checksum into every whole page of an Ogg file, so that damage reaches the decoder behind it. */
export function fixChecksums(file: Uint8Array): void {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = 0; at + 27 <= file.length; ) {
    if (view.getUint32(at) !== 0x4f676753) {
      at++;
      continue;
    }
    const body = at + 27 + file[at + 26]!;
    let end = body;
    for (let i = at + 27; i < Math.min(body, file.length); i++) end += file[i]!;
    if (end > file.length) return;
    view.setUint32(at + 22, 0);
    let crc = 0;
    for (let i = at; i < end; i++) {
      crc ^= file[i]! << 24;
      for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc < 0 ? 0x04c11db7 : 0);
    }
    view.setUint32(at + 22, crc >>> 0, true);
    at = end;
  }
}

/** A damaged copy: bytes overwritten (mostly near the head, where the promises are), the end cut off, or a piece taken out. */
export function mutate(file: Uint8Array, random: RandomStream): Uint8Array {
  const below = (n: number): number => random.below(n);
  const copy = file.slice();
  switch (below(4)) {
    case 0:
      return copy.subarray(0, below(file.length));
    case 1: {
      const at = below(file.length);
      const size = 1 + below(300);
      copy.copyWithin(at, at + size);
      return copy.subarray(0, Math.max(at, file.length - size));
    }
    default:
      for (let n = 1 + below(6); n > 0; n--) copy[below(below(3) === 0 ? Math.min(200, file.length) : file.length)] = below(256);
      return copy;
  }
}
