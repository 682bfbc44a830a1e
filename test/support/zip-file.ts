import { deflateRawSync } from 'node:zlib';

const remembered = new WeakMap<Uint8Array, number>();

/** CRC-32 bit by bit, from its definition. */
export function checksum(bytes: Uint8Array): number {
  const known = remembered.get(bytes);
  if (known !== undefined) return known;
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) {
    crc ^= bytes[i]!;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  remembered.set(bytes, ~crc >>> 0);
  return ~crc >>> 0;
}

/** An entry; the fields below `data` lie where they are given. */
export interface Entry {
  name: string;
  data: Uint8Array;
  deflate?: boolean;
  method?: number;
  flags?: number;
  crc?: number;
  size?: number;
  packed?: number;
  begin?: number;
  disk?: number;
  /** 64-bit sizes and place in an extra field. */
  wide?: boolean;
  localName?: string;
}

export interface End {
  count?: number;
  length?: number;
  begin?: number;
  disk?: number;
  comment?: string;
  /** A 64-bit end record too; the narrow one then refers to it. */
  wide?: boolean;
}

/** A zip archive from the format's description alone, honest or not. */
export function zipFile(entries: readonly Entry[], end: End = {}): Uint8Array {
  const out = new Bytes();
  const directory = new Bytes();
  for (const { name, data, deflate = false, method = deflate ? 8 : 0, flags = 0x800, wide = false, localName = name, disk = 0, ...claim } of entries) {
    const body = deflate ? new Uint8Array(deflateRawSync(data)) : data;
    const { crc = checksum(data), size = data.length, packed = body.length, begin = out.length } = claim;
    const [text, local] = [name, localName].map((part) => new TextEncoder().encode(part)) as [Uint8Array, Uint8Array];
    const narrow = (value: number): number => (wide ? 0xffffffff : value);
    out.put(4, 0x04034b50).put(2, wide ? 45 : 20).put(2, flags).put(2, method).put(4, 0).put(4, crc).put(4, narrow(packed)).put(4, narrow(size));
    out.put(2, local.length).put(2, wide ? 20 : 0).add(local);
    if (wide) out.put(2, 1).put(2, 16).put(8, size).put(8, packed);
    out.add(body);
    directory.put(4, 0x02014b50).put(2, 45).put(2, wide ? 45 : 20).put(2, flags).put(2, method).put(4, 0).put(4, crc).put(4, narrow(packed)).put(4, narrow(size));
    directory.put(2, text.length).put(2, wide ? 28 : 0).put(2, 0).put(2, disk).put(2, 0).put(4, 0).put(4, narrow(begin)).add(text);
    if (wide) directory.put(2, 1).put(2, 24).put(8, size).put(8, packed).put(8, begin);
  }
  const { count = entries.length, length = directory.length, begin = out.length, disk = 0, comment = '', wide = false } = end;
  out.add(directory.whole());
  if (wide) {
    const at = out.length;
    out.put(4, 0x06064b50).put(8, 44).put(2, 45).put(2, 45).put(4, disk).put(4, disk).put(8, count).put(8, count).put(8, length).put(8, begin);
    out.put(4, 0x07064b50).put(4, disk).put(8, at).put(4, 1);
  }
  out.put(4, 0x06054b50).put(2, disk).put(2, disk).put(2, wide ? 0xffff : count).put(2, wide ? 0xffff : count);
  out.put(4, wide ? 0xffffffff : length).put(4, wide ? 0xffffffff : begin).put(2, comment.length).add(new TextEncoder().encode(comment));
  return out.whole();
}

/** Bytes one after the other, numbers with the lowest byte first. */
class Bytes {
  #bytes = new Uint8Array(1 << 12);
  length = 0;

  put(width: number, value: number): this {
    this.#room(width);
    for (let i = 0; i < Math.min(width, 4); i++) this.#bytes[this.length++] = value >>> (8 * i);
    for (let i = 4; i < width; i++) this.#bytes[this.length++] = Math.floor(value / 2 ** (8 * i)) % 256;
    return this;
  }

  add(more: Uint8Array): this {
    this.#room(more.length);
    this.#bytes.set(more, this.length);
    this.length += more.length;
    return this;
  }

  whole(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  #room(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * (this.length + more));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
