/**
 * Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
 * a counter-based generator. Any word of any stream is a pure function of (seed, stream, index), so nothing
 * has to be stored to continue a sequence. shaders/random_uniform.wgsl computes the same words.
 */

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High 32 bits of the unsigned 32 x 32 bit product. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff, aHigh = a >>> 16;
  const bLow = b & 0xffff, bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16); // below 2^33: exact in a double
  const middle2 = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(middle2 / 0x10000)) >>> 0;
}

/** Ten rounds: four counter words and two key words give four random words. Writes into `out`. */
export function philox4x32(counter: ArrayLike<number>, key: ArrayLike<number>, out: Uint32Array): void {
  let c0 = counter[0]! >>> 0, c1 = counter[1]! >>> 0, c2 = counter[2]! >>> 0, c3 = counter[3]! >>> 0;
  let k0 = key[0]! >>> 0, k1 = key[1]! >>> 0;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0), low0 = Math.imul(M0, c0) >>> 0;
    const high1 = mulHigh(M1, c2), low1 = Math.imul(M1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** Streams keep uses of one seed apart. A new use takes the next free number; numbers are never reused. */
export const streams = { initialisation: 1, mixing: 2, sourceOrder: 3, bootstrap: 4, baseline: 5, resampling: 6, verification: 7, units: 8, steering: 9 } as const;

/**
 * Word i of a stream is word (i mod 4) of philox(counter = [floor(i/4) low, floor(i/4) high, substream, stream],
 * key = [seed low, seed high]).
 */
export class RandomStream {
  readonly #key: [number, number];
  readonly #counter: [number, number, number, number];
  readonly #block = new Uint32Array(4);
  #blockIndex = -1;
  /** How many words were drawn: the whole state of the stream. */
  position: number;

  constructor(seed: number, stream: number, substream = 0, position = 0) {
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
    this.#counter = [0, 0, substream >>> 0, stream >>> 0];
    this.position = position;
  }

  /** The next 32 random bits. */
  word(): number {
    const block = Math.floor(this.position / 4);
    if (block !== this.#blockIndex) {
      this.#counter[0] = block >>> 0;
      this.#counter[1] = Math.floor(block / 2 ** 32) >>> 0;
      philox4x32(this.#counter, this.#key, this.#block);
      this.#blockIndex = block;
    }
    return this.#block[this.position++ & 3]!;
  }

  /** Uniform in [0, 1), a multiple of 2^-24. */
  uniform(): number {
    return (this.word() >>> 8) * 2 ** -24;
  }

  /** Uniform integer in [0, bound), unbiased (by rejection). bound is at most 2^32. */
  below(bound: number): number {
    if (bound <= 1) return 0;
    const limit = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const word = this.word();
      if (word < limit) return word % bound;
    }
  }

  /** Standard normal by Box and Muller. For tests and host-side sampling: its logarithms differ between machines. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** A random permutation of 0 ... n-1 (Fisher and Yates, from the end). */
  permutation(n: number): Uint32Array {
    const order = new Uint32Array(n);
    for (let i = 0; i < n; i++) order[i] = i;
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const held = order[i]!;
      order[i] = order[j]!;
      order[j] = held;
    }
    return order;
  }
}
