import { letters, soundError, viewOf } from './sound.ts';

// The Ogg container, RFC 3533: pages with a checksum, packets laced across pages, several streams interleaved
// ("multiplexed") or one after the other ("chained").

interface OggPage {
  /** The page as it lies in the file. */
  bytes: Uint8Array;
  /** Position at the end of the last packet that ends on this page, in the codec's own unit; -1 when none ends here. */
  granule: number;
  last: boolean;
  /** Packets that end on this page. */
  packets: Uint8Array[];
}

export interface OggStream {
  pages: OggPage[];
  packets: Uint8Array[];
}

interface OpenStream extends OggStream {
  sequence: number;
  /** Pieces of a packet that goes on on the next page. */
  unfinished: Uint8Array[];
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc < 0 ? 0x04c11db7 : 0);
  return crc;
});

/** CRC-32 with polynomial 0x04c11db7, not reflected, over the page with its checksum field taken as zero. */
function pageChecksum(page: Uint8Array): number {
  let crc = 0;
  for (let i = 0; i < page.length; i++) {
    const byte = i >= 22 && i < 26 ? 0 : page[i]!;
    crc = (crc << 8) ^ crcTable[(crc >>> 24) ^ byte]!;
  }
  return crc >>> 0;
}

/** Pieces of bytes in one piece. */
export function join(pieces: Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(pieces.reduce((n, piece) => n + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/**
 * Takes an Ogg file apart: one list per link of the chain, holding the streams that run side by side in it.
 * Throws CochleaError `audio` on a wrong checksum, a missing page, a page cut off, or bytes that are no page
 * (after the last page of every stream they are ignored: tags stand there). A missing end-of-stream mark is no
 * error: RFC 7845 asks readers to bear it, and many recorders that were stopped never wrote one.
 */
export function readOgg(bytes: Uint8Array, name: string): OggStream[][] {
  const links: OggStream[][] = [];
  let open = new Map<number, OpenStream>();
  let starting = false;
  for (let at = 0; at < bytes.length; ) {
    if (letters(bytes, at, 4) !== 'OggS') {
      const ended = [...open.values()].every((stream) => stream.pages.at(-1)!.last);
      if (ended && links.length > 0) break;
      throw soundError(name, `is damaged: there is no Ogg page at byte ${at}`);
    }
    const page = cutPage(bytes, at, name);
    at += page.length;
    const view = viewOf(page);
    const flags = page[5]!;
    const serial = view.getUint32(14, true);
    if (flags & 2) {
      if (!starting) {
        open = new Map();
        links.push([]);
      }
      const stream: OpenStream = { pages: [], packets: [], sequence: view.getUint32(18, true), unfinished: [] };
      open.set(serial, stream);
      links.at(-1)!.push(stream);
    }
    starting = (flags & 2) !== 0;
    const stream = open.get(serial);
    if (!stream) throw soundError(name, 'is damaged: an Ogg page belongs to no stream');
    addPage(stream, page, name);
  }
  if ([...open.values()].some((stream) => stream.unfinished.length > 0)) throw soundError(name, 'is truncated: its last Ogg packet is not whole');
  return links;
}

function cutPage(bytes: Uint8Array, at: number, name: string): Uint8Array {
  const cut = (): Error => soundError(name, `is truncated: its last Ogg page, at byte ${at}, is not whole`);
  if (at + 27 > bytes.length) throw cut();
  const body = at + 27 + bytes[at + 26]!;
  if (body > bytes.length) throw cut();
  let end = body;
  for (let i = at + 27; i < body; i++) end += bytes[i]!;
  if (end > bytes.length) throw cut();
  const page = bytes.subarray(at, end);
  if (pageChecksum(page) !== viewOf(page).getUint32(22, true)) throw soundError(name, `is damaged: the Ogg page at byte ${at} has a wrong checksum`);
  return page;
}

function addPage(stream: OpenStream, page: Uint8Array, name: string): void {
  const view = viewOf(page);
  const sequence = view.getUint32(18, true);
  if (sequence !== stream.sequence) throw soundError(name, `is damaged: Ogg page ${stream.sequence} is missing`);
  stream.sequence++;
  const lacing = page.subarray(27, 27 + page[26]!);
  const packets: Uint8Array[] = [];
  let start = 27 + lacing.length;
  let end = start;
  lacing.forEach((length, i) => {
    end += length;
    // A length of 255 says that the packet goes on.
    if (length === 255 && i < lacing.length - 1) return;
    stream.unfinished.push(page.subarray(start, end));
    start = end;
    if (length === 255) return;
    packets.push(join(stream.unfinished));
    stream.unfinished = [];
  });
  stream.packets.push(...packets);
  stream.pages.push({ bytes: page, granule: Number(view.getBigInt64(6, true)), last: (page[5]! & 4) !== 0, packets });
}

/** The pages of one stream as a file of its own. */
export function alone(stream: OggStream): Uint8Array {
  return join(stream.pages.map((page) => page.bytes));
}
