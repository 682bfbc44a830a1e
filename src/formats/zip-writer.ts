import { CochleaError } from '../errors.ts';
import { joinBytes } from './bytes.ts';
import { crc32 } from './crc32.ts';

export interface ZipEntryToWrite {
  name: string;
  /** Bytes that `pieces` will give. */
  size: number;
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Torch maps tensors into memory where they lie, so that it wants them aligned. */
const alignment = 64;
const full = 0xffffffff;
/** 1 January 1980, the first day of zip's calendar: the same entries give the same bytes. */
const noDate = 0x0021;
/** The checksum follows the data; names are UTF-8. */
const flags = 0x0808;

/** The bytes of a zip archive: entries stored as they are, each beginning at a multiple of 64 bytes. Holds one piece at a time. */
export async function* zipPieces(entries: Iterable<ZipEntryToWrite>): AsyncGenerator<Uint8Array> {
  const directory: Uint8Array[] = [];
  let position = 0;
  for (const { name, size, pieces } of entries) {
    const text = new TextEncoder().encode(name);
    const begin = position;
    const isWide = size >= full;
    // A large entry announces 64-bit sizes here and says them after its data, as streaming writers do.
    const wide = isWide ? fields([2, 1], [2, 16], [8, 0], [8, 0]) : new Uint8Array(0);
    const unpadded = begin + 30 + text.length + wide.length + 4;
    const padding = new Uint8Array((alignment - unpadded % alignment) % alignment);
    const extra = joinBytes([wide, fields([2, 0x4246], [2, padding.length]), padding]);
    const announced = isWide ? full : 0;
    const header = joinBytes([
      fields([4, 0x04034b50], [2, isWide ? 45 : 20], [2, flags], [2, 0], [2, 0], [2, noDate], [4, 0], [4, announced], [4, announced],
        [2, text.length], [2, extra.length]),
      text, extra,
    ]);
    yield header;
    let checksum = 0;
    let written = 0;
    for await (const piece of pieces) {
      checksum = crc32(piece, checksum);
      written += piece.length;
      yield piece;
    }
    if (written !== size) throw new CochleaError('config', `"${name}" was to have ${size} bytes and was given ${written}`);
    const width = isWide ? 8 : 4;
    const descriptor = fields([4, 0x08074b50], [4, checksum], [width, size], [width, size]);
    yield descriptor;
    directory.push(directoryEntry(text, checksum, size, begin));
    position = begin + header.length + size + descriptor.length;
  }
  yield* directory;
  yield endRecords(directory.length, directory.reduce((sum, entry) => sum + entry.length, 0), position);
}

function directoryEntry(text: Uint8Array, checksum: number, size: number, begin: number): Uint8Array {
  const wide = [...(size >= full ? [size, size] : []), ...(begin >= full ? [begin] : [])];
  const extra = wide.length === 0 ? new Uint8Array(0) : fields([2, 1], [2, 8 * wide.length], ...wide.map((value): [8, number] => [8, value]));
  return joinBytes([
    fields([4, 0x02014b50], [2, 45], [2, wide.length > 0 ? 45 : 20], [2, flags], [2, 0], [2, 0], [2, noDate], [4, checksum],
      [4, Math.min(size, full)], [4, Math.min(size, full)],
      [2, text.length], [2, extra.length], [2, 0], [2, 0], [2, 0], [4, 0], [4, Math.min(begin, full)]),
    text, extra,
  ]);
}

/** Both forms of the end record always, as torch writes them: the narrow one says "see the other" where a number does not fit. */
function endRecords(count: number, length: number, begin: number): Uint8Array {
  return joinBytes([
    fields([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count], [8, length], [8, begin]),
    fields([4, 0x07064b50], [4, 0], [8, begin + length], [4, 1]),
    fields([4, 0x06054b50], [2, 0], [2, 0], [2, Math.min(count, 0xffff)], [2, Math.min(count, 0xffff)],
      [4, Math.min(length, full)], [4, Math.min(begin, full)], [2, 0]),
  ]);
}

/** Little-endian numbers of the given widths in bytes, one after the other. */
function fields(...values: readonly (readonly [2 | 4 | 8, number])[]): Uint8Array {
  const out = new Uint8Array(values.reduce((sum, [width]) => sum + width, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [width, value] of values) {
    if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return out;
}
