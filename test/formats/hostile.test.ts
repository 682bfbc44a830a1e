import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { bytesHandle } from '../../src/formats/byte-source.ts';
import { openNpz, openTorch, parseNpy, parseSafetensors, safetensorsPieces, type StoredTensor } from '../../src/formats/index.ts';
import { openZip, readEntry } from '../../src/formats/zip.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import { freshSeed, mutate } from '../support/mutate.ts';
import { fixture } from '../support/paths.ts';
import { type Entry, zipFile } from '../support/zip-file.ts';

/** Mutations of each kind of file: all of them in one runtime, some in the others, whose code is the same. */
const cases = runtime.name === 'node' ? 10_000 : 1_000;
/** A tensor larger than this is only asked for its shape: a view may repeat a few elements up to 2^24 times. */
const readable = 1 << 20;
/** What one case may allocate at once: no file here is larger than 20 kB, blocks of an archive's entry have 1 MiB, a read tensor 8 MiB. */
const allocationLimit = 8 * readable;
const secondsLimit = 5;

const saved = (name: string): Uint8Array => new Uint8Array(readFileSync(fixture('tensor-files', name)));

/** Runs `work` and says how many bytes its largest new typed array has. */
async function largestAllocation(work: () => Promise<void>): Promise<number> {
  let largest = 0;
  const names = ['Uint8Array', 'Float32Array', 'Float64Array'] as const;
  const own = names.map((name) => globalThis[name]);
  names.forEach((name, i) => {
    globalThis[name] = new Proxy(own[i]!, {
      construct(target, args: [unknown]) {
        if (typeof args[0] === 'number') largest = Math.max(largest, args[0] * target.BYTES_PER_ELEMENT);
        return Reflect.construct(target, args) as object;
      },
    }) as never;
  });
  try {
    await work();
  } finally {
    names.forEach((name, i) => {
      globalThis[name] = own[i] as never;
    });
  }
  return largest;
}

/** Each case is read whole, or refused by one CochleaError on one line; soon, and without large allocations. Most must be refused, some read. */
async function survive(what: string, make: (random: RandomStream) => Uint8Array, open: (bytes: Uint8Array) => Promise<Iterable<StoredTensor>>): Promise<void> {
  const random = new RandomStream(freshSeed(what), 0);
  let refused = 0;
  for (let i = 0; i < cases; i++) {
    const bytes = make(random);
    const before = process.cpuUsage();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const hang = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`case ${i} hangs`)), 60_000);
    });
    const largest = await largestAllocation(async () => {
      try {
        await Promise.race([hang, readAll(bytes, open)]);
      } catch (error) {
        assert.ok(error instanceof CochleaError && error.code === 'file-damaged', `case ${i}: ${(error as Error).stack}`);
        assert.ok(!/[\n\r]/.test(error.line) && error.line.length < 500, `case ${i}: ${error.line}`);
        refused++;
      } finally {
        clearTimeout(timer);
      }
    });
    const { user, system } = process.cpuUsage(before);
    assert.ok((user + system) / 1e6 < secondsLimit, `case ${i} takes ${(user + system) / 1e6} s`);
    assert.ok(largest <= allocationLimit, `case ${i} allocates ${largest} bytes at once`);
  }
  assert.ok(refused > cases / 10 && refused < cases, `${refused} of ${cases} refused`);
}

async function readAll(bytes: Uint8Array, open: (bytes: Uint8Array) => Promise<Iterable<StoredTensor>>): Promise<void> {
  for (const tensor of await open(bytes)) {
    const count = tensor.shape.reduce((product, size) => product * size, 1);
    if (count > readable) continue;
    assert.equal((await tensor.read()).length, count);
  }
}

const pick = <T>(random: RandomStream, list: readonly T[]): T => list[random.below(list.length)]!;

/** Mutations near the front, where most headers are, or near the end, where an archive's directory is. */
function mutateEnds(bytes: Uint8Array, random: RandomStream): Uint8Array {
  if (random.below(2) === 0) return mutate(bytes, random);
  const at = Math.max(0, bytes.length - 1 - random.below(800));
  return new Uint8Array(Buffer.concat([bytes.subarray(0, at), mutate(bytes.subarray(at), random)]));
}

const latin = (text: string): number[] => [...text].map((character) => character.charCodeAt(0));
/** Pieces of pickles that an attacker would put in: calls, huge lengths, memo abuse, cycles, nesting, marks. */
const snippets: readonly (readonly number[])[] = [
  latin('cposix\nsystem\nX\x10\0\0\0touch executed..\x85R'), latin('c__builtin__\neval\n'), latin('cnumpy.core.multiarray\n_reconstruct\n'), latin('ios\nsystem\n'),
  latin('X\xff\xff\xff\x7f'), latin('\x8b\xff\xff\xff\x7f'), latin('\x8d\xff\xff\xff\xff\xff\xff\xff\x7f'), latin('\x8e\xff\xff\xff\xff\0\0\0\0'), latin('\x95\xff\xff\xff\xff\0\0\0\0'),
  latin('\x8a\xff'), latin('h\0'), latin('h\x01'), latin('h\x05a'), latin('q\0'), latin('r\xff\xff\xff\xff'), latin('j\xff\xff\xff\xff'), latin(']q\0h\0a'), latin('}q\0'), latin(']'.repeat(80)),
  latin('('), latin('t'), latin('\x85'), latin('R'), latin('b'), latin('Q'), latin('0'), latin('.'), latin('e'), latin('u'), latin('s'), latin('J\xff\xff\xff\x7f'), latin('J\xff\xff\xff\xff'),
  latin('\x8a\x08\xff\xff\xff\xff\xff\xff\x1f\0'), latin('c__main__\nConfig\n)\x81}b'), latin('\x82\x01'), latin('G\x7f\xf8\0\0\0\0\0\0'),
];

function mutatePickle(bytes: Uint8Array, random: RandomStream): Uint8Array {
  if (random.below(2) === 0) return mutateEnds(bytes, random);
  let out = [...bytes];
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const at = 2 + random.below(out.length - 2);
    out = [...out.slice(0, at), ...pick(random, snippets), ...out.slice(at + random.below(3))];
  }
  return Uint8Array.from(out);
}

async function entriesOf(bytes: Uint8Array): Promise<Entry[]> {
  const zip = await openZip(bytesHandle(bytes), 'fixture');
  return Promise.all([...zip.entries.values()].map(async (entry) => ({ name: entry.name, data: await readEntry(zip, entry, 1 << 20, 'fixture') })));
}

const torch = async (bytes: Uint8Array): Promise<Iterable<StoredTensor>> => (await openTorch(bytesHandle(bytes), 'hostile.pt')).tensors.values();
const npz = async (bytes: Uint8Array): Promise<Iterable<StoredTensor>> => (await openNpz(bytesHandle(bytes), 'hostile.npz')).values();

describe(`${cases} mutations of each format are read whole or refused in one line`, () => {
  test('safetensors', async () => {
    const pieces: number[] = [];
    const floats = Float32Array.from({ length: 12 }, (_, i) => i);
    for await (const piece of safetensorsPieces([
      { name: 'W_enc', dtype: 'F32', shape: [3, 4], data: floats }, { name: 'b_dec', dtype: 'BF16', shape: [3], data: floats.subarray(0, 3) },
      { name: 'threshold', dtype: 'F64', shape: [], data: Float64Array.of(0.5) }, { name: 'q', dtype: 'F8_E4M3', shape: [2, 2], data: new Uint8Array(4) },
      { name: 'empty', dtype: 'I64', shape: [0, 7], data: new Uint8Array(0) },
    ], { format: 'pt' })) pieces.push(...piece);
    await survive('hostile safetensors', (random) => mutate(Uint8Array.from(pieces), random), async (bytes) => (await parseSafetensors(bytes, 'hostile.safetensors')).tensors.values());
  });

  test('npy', async () => {
    const files = (await entriesOf(saved('stored.npz'))).map(({ data }) => data);
    await survive('hostile npy', (random) => mutate(pick(random, files), random), async (bytes) => [await parseNpy(bytes, 'hostile.npy')]);
  });

  test('npz: archives, the arrays in them, and deflated bytes', async () => {
    const [first, second, third] = await entriesOf(saved('stored.npz')) as [Entry, Entry, Entry];
    const zeros = { name: 'zeros.npy', data: (await entriesOf(saved('deflated.npz'))).find(({ name }) => name === 'zeros.npy')!.data, deflate: true };
    const [stored, mixed] = [zipFile([first, second, third], { wide: true }), zipFile([third, zeros])];
    await survive('hostile npz', (random) => {
      switch (random.below(4)) {
        case 0: return mutateEnds(mixed, random);
        case 1: return zipFile([{ ...first, data: mutate(first.data, random) }, { ...third, deflate: random.below(4) === 0, data: mutate(third.data, random) }]);
        default: return mutateEnds(stored, random);
      }
    }, npz);
  });

  test('torch: archives', async () => {
    const files = ['state-dict.pt', 'nested-2.pt', 'nested-5.pt', 'os-system.pt'].map(saved);
    await survive('hostile torch archive', (random) => mutateEnds(pick(random, files), random), torch);
  });

  test('torch: pickles in whole archives', async () => {
    const files = await Promise.all(['state-dict.pt', 'nested-2.pt', 'nested-4.pt', 'os-system.pt'].map((name) => entriesOf(saved(name))));
    await survive('hostile pickle', (random) => zipFile(pick(random, files).map((entry) => (
      entry.name.endsWith('data.pkl') ? { ...entry, data: mutatePickle(entry.data, random) } : entry))), torch);
  });

  test('nothing was run and nothing written', () => {
    for (const folder of [process.cwd(), fixture('tensor-files')]) assert.ok(!readdirSync(folder).some((name) => name.includes('executed')), folder);
  });
});
