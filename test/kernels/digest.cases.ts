import { chained, digest, noDigest } from '../../src/kernels/index.ts';
import type { Gpu } from '../../src/gpu/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { digestOf } from '../oracle/digest.ts';
import type { Case } from '../support/case.ts';
import { deepEqual, equal, ok } from '../support/check.ts';
import { drawn, fuzzed, run } from '../support/kernels.ts';

const shapes = [
  { rows: 1, columns: 1, stride: 1, cuts: [] },
  { rows: 1, columns: 1, stride: 4, cuts: [] },
  { rows: 3, columns: 5, stride: 5, cuts: [1, 2] }, // unpadded, no whole vec4s
  { rows: 70, columns: 61, stride: 64, cuts: [64, 3] },
  { rows: 2, columns: 4097, stride: 4097, cuts: [1] }, // a word more than a workgroup takes
  { rows: 130, columns: 64, stride: 64, cuts: [128] },
  ...drawn(3, (from) => ({ rows: from(1, 90), columns: from(1, 90), stride: 92, cuts: [from(1, 40)] })),
];

const wordsFrom = (random: RandomStream, length: number): Uint32Array => Uint32Array.from({ length }, () => random.word());

/** The digests of several tensors of one shape, each in a slot of its own. */
async function digests(gpu: Gpu, all: readonly Uint32Array[], rows: number, columns: number, stride: number, cuts: readonly number[]): Promise<Uint32Array> {
  const found = await run(gpu, cuts, (bench, shardRows) => {
    const tensors = all.map((data, n) => bench.tensor(`M${n}`, rows, columns, { data, stride, shardRows }));
    const digests = bench.tensor('digests', 1, 2 * all.length, { data: new Uint32Array(2 * all.length) });
    return { tensors: { digests }, record: (rec) => tensors.forEach((tensor, slot) => digest(rec, { tensor, digests }, slot)) };
  });
  return found.integers('digests').subarray(0, 2 * all.length);
}

export const cases: Case[] = [
  fuzzed('a digest is that of its definition, whatever the shards and the padding', shapes, async (gpu, random, { rows, columns, stride, cuts }) => {
    const all = [wordsFrom(random, rows * columns), new Uint32Array(rows * columns)];
    deepEqual(await digests(gpu, all, rows, columns, stride, cuts), all.flatMap((words) => digestOf(words)), 'digests');
  }),

  fuzzed('a changed bit, a swap of two words and a shifted row change both words of a digest', [{ rows: 9, columns: 7 }, { rows: 1, columns: 40 }], async (gpu, random, { rows, columns }) => {
    const length = rows * columns;
    const words = Uint32Array.from({ length }, () => (random.below(3) === 0 ? 0 : random.word())); // zeros are as good as other words
    const changed = Array.from({ length: 96 }, (_, n) => {
      const copy = words.slice(), at = random.below(length), other = (at + 1 + random.below(length - 1)) % length;
      if (n < 32 || copy[at] === copy[other]) copy[at]! ^= (1 << n % 32) >>> 0;
      else if (n < 64) [copy[at], copy[other]] = [copy[other]!, copy[at]!];
      else copy.set(words.subarray(0, length - 1), 1);
      return copy;
    }).filter((copy) => copy.some((word, at) => word !== words[at]));
    ok(changed.length > 80, 'most copies are to be changed ones');
    const found = await digests(gpu, [words, ...changed], rows, columns, columns, []);
    for (let n = 1; n <= changed.length; n++) {
      ok(found[2 * n] !== found[0] && found[2 * n + 1] !== found[1], `copy ${n} has a word of the digest of what it was made from`);
    }
  }),

  {
    name: 'a chain of digests depends on every link, their order and where they are cut in two',
    async run() {
      equal(chained(noDigest, []), noDigest, 'a chain without links');
      const words = [1, 2, 3, 0xffffffff];
      const whole = chained(noDigest, words);
      equal(chained(chained(noDigest, words.slice(0, 2)), words.slice(2)), whole, 'the chain in two parts');
      const others = [[1, 2, 3, 0xfffffffe], [2, 1, 3, 0xffffffff], [0, 1, 2, 3, 0xffffffff], [1, 2, 3]].map((other) => chained(noDigest, other));
      equal(new Set([whole, ...others]).size, 5, 'different chains');
      ok(/^[0-9a-f]{16}$/.test(whole), whole);
    },
  },
];
