/** Tar archives: POSIX ustar, also as GNU tar writes it. Pure, for every runtime. */
import { CochleaError } from '../errors.ts';

export const tarBlock = 512;

export interface TarHeader {
  /** Never absolute and never with '..': safe below a folder. */
  name: string;
  /** Bytes of content, which follow in whole blocks. */
  size: number;
  kind: 'file' | 'folder' | 'other';
}

const latin = new TextDecoder('latin1');

/** One header block; undefined for the block of zeros that ends an archive. Throws `file-damaged`. */
export function readTarHeader(header: Uint8Array): TarHeader | undefined {
  if (header.every((byte) => byte === 0)) return undefined;
  const damaged = (why: string): CochleaError => new CochleaError('file-damaged', `the tar archive cannot be read: ${why}`);
  const text = (from: number, length: number): string => latin.decode(header.subarray(from, from + length)).replace(/\0.*$/s, '');
  const octal = (from: number, length: number): number => {
    const digits = text(from, length).trim();
    return /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : NaN;
  };
  // The checksum is the sum of the header's bytes with its own eight bytes read as blanks.
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  const size = octal(124, 12);
  if (text(257, 5) !== 'ustar' || octal(148, 8) !== sum || Number.isNaN(size)) throw damaged('not a tar header');
  // GNU tar keeps other things where POSIX keeps a prefix of the name.
  const prefix = text(257, 8).endsWith(' ') ? '' : text(345, 155);
  const name = (prefix ? `${prefix}/` : '') + text(0, 100);
  if (name === '' || name.startsWith('/') || name.includes('\\') || name.split('/').includes('..')) throw damaged(`it holds the name '${name}'`);
  const type = text(156, 1);
  return { name, size, kind: type === '' || type === '0' ? 'file' : type === '5' ? 'folder' : 'other' };
}

/** The files of an archive in memory, by name, as views into it. Throws `file-damaged`. */
export function readTar(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let at = 0;
  for (;;) {
    const content = at + tarBlock;
    if (content > archive.length) throw new CochleaError('file-damaged', 'the tar archive cannot be read: it is cut off');
    const header = readTarHeader(archive.subarray(at, content));
    if (!header) return files;
    const end = content + header.size;
    if (end > archive.length) throw new CochleaError('file-damaged', `the tar archive cannot be read: ${header.name} is cut off`);
    if (header.kind === 'file') files.set(header.name, archive.subarray(content, end));
    at = Math.ceil(end / tarBlock) * tarBlock;
  }
}
