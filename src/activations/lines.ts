import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';

const blockBytes = 1 << 20;
const maxLineBytes = 64 << 20;

/**
 * The whole lines of a file from byte `from` to byte `to` (its end unless told), with the byte at which each ends, read block by block. A last line
 * without its end, left by a kill, is not given. Throws `file-damaged` for a line of more than 64 MiB.
 */
export async function* readLines(path: string, from = 0, to = Infinity): AsyncGenerator<{ bytes: Uint8Array; end: number }> {
  const handle = await runtime.files.open(path);
  try {
    const last = Math.min(to, handle.size);
    let held = new Uint8Array(0);
    let offset = from; // of `held` in the file
    while (offset + held.length < last) {
      const at = offset + held.length;
      const block = await handle.read(at, Math.min(blockBytes, last - at));
      if (block.length === 0) return;
      const joined = new Uint8Array(held.length + block.length);
      joined.set(held);
      joined.set(block, held.length);
      let begin = 0;
      for (let newline = joined.indexOf(10, held.length); newline >= 0; newline = joined.indexOf(10, begin)) {
        yield { bytes: joined.subarray(begin, newline), end: offset + newline + 1 };
        begin = newline + 1;
      }
      offset += begin;
      held = joined.slice(begin);
      if (held.length > maxLineBytes) throw new CochleaError('file-damaged', `a line of ${path}, from byte ${offset} on, is longer than ${maxLineBytes} bytes`);
    }
  } finally {
    await handle.close();
  }
}
