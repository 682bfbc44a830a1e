/** NumPy's .npz: a zip archive of .npy files, stored (numpy.savez) or deflated (numpy.savez_compressed). */

import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { ByteSource } from './byte-source.ts';
import { decodeElements, dtypeBytes } from './dtype.ts';
import { npyHeadBytes, npyHeader, readNpyHeader } from './npy.ts';
import { tensorBytes } from './safetensors.ts';
import type { TensorToWrite } from './safetensors.ts';
import { elementCount, storedTensor } from './stored-tensor.ts';
import type { StoredTensor } from './stored-tensor.ts';
import { openZip } from './zip.ts';
import type { Zip, ZipEntry } from './zip.ts';
import { zipPieces } from './zip-writer.ts';

const suffix = '.npy';

/**
 * The arrays of an archive by name, without `.npy`; no element is read until asked for. `name` stands for the file in messages.
 * Throws `file-damaged`.
 */
export async function openNpz(source: ByteSource, name: string): Promise<Map<string, StoredTensor>> {
  const zip = await openZip(source, name);
  const arrays = new Map<string, StoredTensor>();
  for (const entry of zip.entries.values()) {
    if (!entry.name.endsWith(suffix)) {
      throw new CochleaError('file-damaged', `${name} is not an .npz file: it has an entry ${JSON.stringify(entry.name.slice(0, 80))}`);
    }
    arrays.set(entry.name.slice(0, -suffix.length), await storedArray(zip, entry, name));
  }
  return arrays;
}

async function storedArray(zip: Zip, entry: ZipEntry, file: string): Promise<StoredTensor> {
  const what = `${entry.name.slice(0, 80)} in ${file}`;
  const { dtype, shape, strides, offset } = readNpyHeader(await zip.head(entry, npyHeadBytes), entry.size, what);
  return storedTensor(what, dtype, shape, strides, async (out) => {
    let at = 0;
    for await (const block of zip.read(entry, offset, offset + out.length * dtypeBytes[dtype])) {
      decodeElements(block, dtype, out, at);
      at += block.length / dtypeBytes[dtype];
    }
  });
}

/** Writes an archive that numpy.load reads: stored, in the given order, whole or not at all; the same arrays give the same bytes. Throws `config`. */
export async function writeNpz(path: string, arrays: Iterable<TensorToWrite>): Promise<void> {
  const seen = new Set<string>();
  const entries = [...arrays].map((array) => {
    if (seen.has(array.name)) throw new CochleaError('config', `two arrays are named "${array.name}"`);
    seen.add(array.name);
    const header = npyHeader(array.shape, array.dtype);
    const size = header.length + elementCount(array.shape) * dtypeBytes[array.dtype];
    return { name: array.name + suffix, size, pieces: arrayPieces(header, array) };
  });
  await runtime.files.write(path, zipPieces(entries));
}

async function* arrayPieces(header: Uint8Array, array: TensorToWrite): AsyncGenerator<Uint8Array> {
  yield header;
  yield* tensorBytes(array);
}
