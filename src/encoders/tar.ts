/** Just enough of the ustar format (POSIX.1-1988) to take one file out of an npm package while it streams by. */
import { CochleaError } from '../errors.ts';

const block = 512;

function field(header: Uint8Array, at: number, length: number): string {
  const bytes = header.subarray(at, at + length), end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function octal(header: Uint8Array, at: number, length: number): number {
  const digits = field(header, at, length).trim();
  return /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : NaN;
}

function damaged(archive: string, what: string): CochleaError {
  return new CochleaError('fetch', `${archive}: ${what}`, 'the download is damaged: try again');
}

/**
 * The content of the regular file `name`, which must have `size` bytes; undefined when the archive has none of that name.
 * Memory stays at `size` plus one piece of the stream. No name in the archive is ever used as a path.
 * Throws CochleaError `fetch` when the archive is damaged or the file has another size.
 */
export async function readTarEntry(
  pieces: AsyncIterable<Uint8Array>, name: string, size: number, archive: string,
): Promise<Uint8Array | undefined> {
  const content = new Uint8Array(size), header = new Uint8Array(block);
  let inHeader = 0, skip = 0, filled = -1; // filled >= 0: inside the wanted file
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const left = piece.length - at;
      if (filled >= 0) {
        const taken = Math.min(left, size - filled);
        content.set(piece.subarray(at, at + taken), filled);
        filled += taken;
        at += taken;
        if (filled === size) return content;
      } else if (skip > 0) {
        const taken = Math.min(left, skip);
        skip -= taken;
        at += taken;
      } else {
        const taken = Math.min(left, block - inHeader);
        header.set(piece.subarray(at, at + taken), inHeader);
        inHeader += taken;
        at += taken;
        if (inHeader < block) continue;
        inHeader = 0;
        if (header.every((byte) => byte === 0)) return undefined; // the end of the archive
        const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
        const length = octal(header, 124, 12), prefix = field(header, 345, 155);
        if (octal(header, 148, 8) !== sum || !Number.isSafeInteger(length)) throw damaged(archive, 'not a tar archive, or damaged');
        const regular = header[156] === 0 || header[156] === 0x30;
        if (regular && (prefix ? `${prefix}/` : '') + field(header, 0, 100) === name) {
          if (length !== size) throw damaged(archive, `${name} has ${length} bytes, expected ${size}`);
          filled = 0;
        } else skip = Math.ceil(length / block) * block;
      }
    }
  }
  throw damaged(archive, 'it ends too early');
}
