/**
 * Reading zip archives at random offsets: the directory at the end says where the entries lie; an entry is read piece by piece, and its
 * checksum is compared the first time that all of it has passed by. Entries are stored or deflated; names are keys, never paths.
 * Format: PKWARE's APPNOTE.TXT 6.3.10.
 */

import { CochleaError } from '../errors.ts';
import { readExactly } from './byte-source.ts';
import type { ByteSource } from './byte-source.ts';
import { crc32 } from './crc32.ts';

export const zipLimits = {
  entries: 65_536,
  /** Of the directory. */
  directoryBytes: 16 << 20,
  /** Of one deflated entry, inflated. Stored entries are as large as the file. */
  inflatedBytes: 4 * 2 ** 30,
};

/** Deflate cannot do better: a block of matches of 258 bytes, each in two bits. */
const bestDeflateRatio = 1032;

const blockBytes = 1 << 20;
/** What the inflater is given at once, so that what it holds stays below 1032 times this. */
const deflatedPieceBytes = 1 << 14;

export interface ZipEntry {
  readonly name: string;
  /** Bytes, inflated. */
  readonly size: number;
  readonly deflated: boolean;
  /** Bytes in the archive. */
  readonly packed: number;
  readonly checksum: number;
  /** Where its local header begins, and where the next thing in the archive does. */
  readonly begin: number;
  readonly limit: number;
}

export interface Zip {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /**
   * Bytes `begin` ... `end - 1` of an entry, in blocks of 1 MiB counted from `begin`. A block is overwritten by the next. The first time, all
   * of the entry is read and its checksum compared, before the end of the sequence; after that only what was asked for, where it is stored.
   */
  read(entry: ZipEntry, begin: number, end: number): AsyncGenerator<Uint8Array>;
  /** The first `length` bytes, or fewer where the entry is shorter. Without the checksum, which is that of all. */
  head(entry: ZipEntry, length: number): Promise<Uint8Array>;
}

/** Reads the directory of an archive; no entry is read. Throws `file-damaged`: broken, encrypted, in parts, overlapping, or beyond the limits. */
export async function openZip(source: ByteSource, file: string): Promise<Zip> {
  const damaged = (what: string, hint?: string): CochleaError => new CochleaError('file-damaged', `${file} is not a readable zip archive: ${what}`, hint);
  const entries = await readDirectory(source, file, damaged);
  const whole = new Set<ZipEntry>();

  async function dataStart(entry: ZipEntry): Promise<number> {
    const view = viewOf(await readExactly(source, file, entry.begin, 30));
    if (view.getUint32(0, true) !== 0x04034b50) throw damaged(`entry ${quote(entry.name)} is not where its directory says`);
    const nameLength = view.getUint16(26, true);
    const start = entry.begin + 30 + nameLength + view.getUint16(28, true);
    if (view.getUint16(8, true) !== (entry.deflated ? 8 : 0) || decodeName(await readExactly(source, file, entry.begin + 30, nameLength)) !== entry.name) {
      throw damaged(`entry ${quote(entry.name)} has another name or form in its own header`);
    }
    if (start + entry.packed > entry.limit) throw damaged(`entry ${quote(entry.name)} reaches into what follows it`);
    return start;
  }

  async function* pieces(entry: ZipEntry): AsyncGenerator<Uint8Array> {
    const start = await dataStart(entry);
    if (!entry.deflated) {
      yield* sourcePieces(source, file, start, entry.size, blockBytes);
      return;
    }
    let inflated = 0;
    const deflated = sourcePieces(source, file, start, entry.packed, deflatedPieceBytes);
    for await (const piece of inflate(deflated, (what) => damaged(`entry ${quote(entry.name)} ${what}`))) {
      inflated += piece.length;
      if (inflated > entry.size) throw damaged(`entry ${quote(entry.name)} inflates to more than the ${entry.size} bytes it claims`);
      yield piece;
    }
    if (inflated !== entry.size) throw damaged(`entry ${quote(entry.name)} inflates to ${inflated} bytes, it claims ${entry.size}`);
  }

  async function* read(entry: ZipEntry, begin: number, end: number): AsyncGenerator<Uint8Array> {
    if (whole.has(entry) && !entry.deflated) {
      yield* sourcePieces(source, file, await dataStart(entry) + begin, end - begin, blockBytes);
      return;
    }
    const block = new Uint8Array(Math.min(blockBytes, end - begin));
    let filled = 0;
    let checksum = 0;
    let at = 0;
    for await (const piece of pieces(entry)) {
      checksum = crc32(piece, checksum);
      const to = Math.min(end - at, piece.length);
      for (let from = Math.max(begin - at, 0); from < to;) {
        const part = piece.subarray(from, Math.min(to, from + block.length - filled));
        block.set(part, filled);
        from += part.length;
        filled += part.length;
        if (filled === block.length) {
          yield block;
          filled = 0;
        }
      }
      at += piece.length;
    }
    if (checksum !== entry.checksum) throw damaged(`the checksum of entry ${quote(entry.name)} is wrong`, 'it was not transferred whole; bring it here again');
    whole.add(entry);
    if (filled > 0) yield block.subarray(0, filled);
  }

  async function head(entry: ZipEntry, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(Math.min(length, entry.size));
    if (!entry.deflated) return readExactly(source, file, await dataStart(entry), out.length);
    let filled = 0;
    for await (const piece of pieces(entry)) {
      const part = piece.subarray(0, out.length - filled);
      out.set(part, filled);
      filled += part.length;
      if (filled === out.length) break;
    }
    return out;
  }

  return { entries, read, head };
}

/** A whole entry of at most `limit` bytes. */
export async function readEntry(zip: Zip, entry: ZipEntry, limit: number, file: string): Promise<Uint8Array> {
  if (entry.size > limit) throw new CochleaError('file-damaged', `entry ${quote(entry.name)} of ${file} has ${entry.size} bytes, at most ${limit} are read`);
  const out = new Uint8Array(entry.size);
  let filled = 0;
  for await (const block of zip.read(entry, 0, entry.size)) {
    out.set(block, filled);
    filled += block.length;
  }
  return out;
}

type Damaged = (what: string, hint?: string) => CochleaError;

async function readDirectory(source: ByteSource, file: string, damaged: Damaged): Promise<Map<string, ZipEntry>> {
  const { begin, length, count } = await findDirectory(source, file, damaged);
  if (count > zipLimits.entries) throw damaged(`it claims ${count} entries, at most ${zipLimits.entries} are read`);
  if (length > zipLimits.directoryBytes) throw damaged(`its directory claims ${length} bytes, at most ${zipLimits.directoryBytes} are read`);
  const bytes = await readExactly(source, file, begin, length);
  const view = viewOf(bytes);
  const list: Omit<ZipEntry, 'limit'>[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > length || view.getUint32(at, true) !== 0x02014b50) throw damaged(`its directory ends after ${i} of ${count} entries`);
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const next = at + 46 + nameLength + extraLength + view.getUint16(at + 32, true);
    if (next > length) throw damaged(`its directory ends after ${i} of ${count} entries`);
    const name = decodeName(bytes.subarray(at + 46, at + 46 + nameLength));
    if (name === undefined) throw damaged(`the name of entry ${i} is not text`);
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    if (flags & 0x2041) throw damaged(`entry ${quote(name)} is encrypted`);
    if (method !== 0 && method !== 8) throw damaged(`entry ${quote(name)} is compressed by method ${method}; only stored and deflated ones are read`);
    const extra = viewOf(bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength));
    const wide = wideFields(extra);
    const field = (value: number): number => (value === 0xffffffff ? wide() : value);
    const size = field(view.getUint32(at + 24, true));
    const packed = field(view.getUint32(at + 20, true));
    const entryBegin = field(view.getUint32(at + 42, true));
    if (Number.isNaN(size + packed + entryBegin)) throw damaged(`entry ${quote(name)} has no sizes`);
    const disk = view.getUint16(at + 34, true);
    if (disk !== 0 && disk !== 0xffff) throw damaged(`entry ${quote(name)} lies in another part of a split archive`);
    checkName(name, damaged);
    if (method === 0 && size !== packed) throw damaged(`entry ${quote(name)} is stored in ${packed} bytes and claims ${size}`);
    if (method === 8 && size > Math.min(zipLimits.inflatedBytes, packed * bestDeflateRatio)) {
      throw damaged(`entry ${quote(name)} claims to inflate from ${packed} bytes to ${size}, at most ${zipLimits.inflatedBytes} and ${bestDeflateRatio} of each are read`);
    }
    list.push({ name, size, packed, deflated: method === 8, checksum: view.getUint32(at + 16, true), begin: entryBegin });
    at = next;
  }
  if (at !== length) throw damaged(`its directory has ${length - at} bytes after its ${count} entries`);

  const entries = new Map<string, ZipEntry>();
  const sorted = [...list].sort((a, b) => a.begin - b.begin);
  const limits = new Map(sorted.map((entry, i) => [entry, sorted[i + 1]?.begin ?? begin]));
  for (const entry of list) {
    const limit = limits.get(entry)!;
    if (entry.begin + 30 + entry.packed > limit) throw damaged(`entry ${quote(entry.name)} reaches into what follows it`);
    if (entries.has(entry.name)) throw damaged(`the name ${quote(entry.name)} appears twice`);
    entries.set(entry.name, { ...entry, limit });
  }
  return entries;
}

/** The end record: 22 bytes and a comment at the end of the file; before it, for large archives, a locator of its 64-bit form. */
async function findDirectory(source: ByteSource, file: string, damaged: Damaged): Promise<{ begin: number; length: number; count: number }> {
  const tailLength = Math.min(source.size, 22 + 0xffff + 20);
  const tailBegin = source.size - tailLength;
  const view = viewOf(await readExactly(source, file, tailBegin, tailLength));
  let at = tailLength - 22;
  while (at >= 0 && !(view.getUint32(at, true) === 0x06054b50 && at + 22 + view.getUint16(at + 20, true) === tailLength)) at--;
  if (at < 0) throw damaged('it has no directory at its end', 'it was not transferred whole, or is no zip archive');
  if (view.getUint16(at + 4, true) !== 0 || view.getUint16(at + 6, true) !== 0) throw damaged('it is one part of a split archive');
  let count = view.getUint16(at + 10, true);
  let length = view.getUint32(at + 12, true);
  let begin = view.getUint32(at + 16, true);
  let end = tailBegin + at;
  if (at >= 20 && view.getUint32(at - 20, true) === 0x07064b50) {
    const wideBegin = Number(view.getBigUint64(at - 12, true));
    if (view.getUint32(at - 16, true) !== 0 || view.getUint32(at - 4, true) > 1) throw damaged('it is one part of a split archive');
    if (wideBegin + 56 > end - 20) throw damaged('its 64-bit directory record is not where it is said to be');
    const wide = viewOf(await readExactly(source, file, wideBegin, 56));
    if (wide.getUint32(0, true) !== 0x06064b50) throw damaged('its 64-bit directory record is not where it is said to be');
    // A field of the narrow record is either the same or full.
    const agreed = (narrow: number, at: number, unknown: number): number => {
      const own = Number(wide.getBigUint64(at, true));
      if (narrow !== own && narrow !== unknown) throw damaged('its two directory records disagree');
      return own;
    };
    count = agreed(count, 32, 0xffff);
    length = agreed(length, 40, 0xffffffff);
    begin = agreed(begin, 48, 0xffffffff);
    end = wideBegin;
  }
  if (begin + length !== end) throw damaged(`its directory of ${length} bytes at byte ${begin} does not end at byte ${end}`);
  return { begin, length, count };
}

/** The 64-bit values of an entry whose 32-bit fields are full, in their order; NaN where there is none. */
function wideFields(extra: DataView): () => number {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const end = at + 4 + extra.getUint16(at + 2, true);
    if (extra.getUint16(at, true) === 1) {
      let next = at + 4;
      return () => {
        next += 8;
        return next <= Math.min(end, extra.byteLength) ? Number(extra.getBigUint64(next - 8, true)) : NaN;
      };
    }
    at = end;
  }
  return () => NaN;
}

/** Names that could lead somewhere are refused, although none is ever used as a path here: whoever unpacks the archive would. */
function checkName(name: string, damaged: Damaged): void {
  const leads = name.split('/').includes('..') || name.startsWith('/') || /^[A-Za-z]:/.test(name) || name.includes('\\');
  if (name === '' || leads || /[\0-\x1f\x7f]/.test(name)) throw damaged(`the name ${quote(name)} leads out of the archive or is none`);
}

const nameDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeName(bytes: Uint8Array): string | undefined {
  try {
    return nameDecoder.decode(bytes);
  } catch {
    return undefined;
  }
}

async function* sourcePieces(source: ByteSource, file: string, begin: number, length: number, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; at += pieceBytes) yield await readExactly(source, file, begin + at, Math.min(pieceBytes, length - at));
}

async function* inflate(deflated: AsyncGenerator<Uint8Array>, damaged: Damaged): AsyncGenerator<Uint8Array> {
  let failure: unknown;
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: async (controller) => {
      try {
        const { done, value } = await deflated.next();
        if (done) controller.close();
        else controller.enqueue(value as Uint8Array<ArrayBuffer>);
      } catch (error) {
        failure = error;
        controller.error(error);
      }
    },
  }, { highWaterMark: 0 });
  const reader = stream.pipeThrough(rawInflater()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (failure instanceof CochleaError) throw failure;
    throw damaged(`cannot be inflated (${(error as Error).message.replace(/\s+/g, ' ')})`);
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function rawInflater(): DecompressionStream {
  try {
    return new DecompressionStream('deflate-raw');
  } catch (error) {
    throw new CochleaError('runtime', 'this runtime cannot inflate zip entries', 'Node can from version 20.12 on', { cause: error });
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function quote(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}
