/** Digests of tensors: whether two machines, or two runs, hold the same bits, without reading them back. */
import type { Recorder, Tensor } from '../gpu/index.ts';
import { expectShape, groupsFor } from './shapes.ts';
import { shaders } from './shaders.gen.ts';

/** Words that one workgroup takes. */
const wordsOfGroup = 64 * 64;

/**
 * Adds the digest of a tensor's bits to words 2 slot and 2 slot + 1 of `digests` [1, 2 slots], u32, which must be zero before (see digest.wgsl). Neither
 * sharding nor padding changes it.
 */
export function digest(rec: Recorder, { tensor, digests }: { tensor: Tensor; digests: Tensor }, slot: number): void {
  expectShape('digest', digests, 1, Math.max(digests.columns, 2 * slot + 2));
  const { columns, stride } = tensor;
  const kernel = rec.gpu.kernel({ name: 'digest', text: shaders.digest.text }, { PADDED: stride === columns ? 0 : 1 });
  for (const shard of tensor.shards) {
    const words = shard.rows * stride;
    rec.dispatch(kernel, { M: shard, digests }, { words, columns, stride, first: shard.first * columns, slot }, groupsFor(words, wordsOfGroup));
  }
}

/** Where a chain begins. Not zero, which would swallow words of zero. */
export const noDigest = '9e3779b97f4a7c15';

/** A chain's next link: what was before and some more words, in order, as 16 hexadecimal digits. */
export function chained(before: string, words: ArrayLike<number>): string {
  let a = parseInt(before.slice(0, 8), 16), b = parseInt(before.slice(8), 16);
  for (let n = 0; n < words.length; n++) {
    a = scrambled(a ^ words[n]!);
    b = scrambled((Math.imul(b, 0x85ebca6b) + a + words[n]!) >>> 0);
  }
  return hexadecimal(a) + hexadecimal(b);
}

/** A word as eight hexadecimal digits. */
export function hexadecimal(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}

/** As in digest.wgsl. */
function scrambled(word: number): number {
  let x = Math.imul(word ^ (word >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
