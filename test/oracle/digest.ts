/** A digest of words by their places, in exact integers: the definition in shaders/digest.wgsl. */

const wide = 2n ** 32n;

/** A bijection of 32-bit words. */
function scrambled(word: bigint): bigint {
  let x = word;
  x = ((x ^ (x >> 16n)) * 0x7feb352dn) % wide;
  x = ((x ^ (x >> 15n)) * 0x846ca68bn) % wide;
  return x ^ (x >> 16n);
}

/** The two words of the digest of a matrix without padding. */
export function digestOf(words: Uint32Array): [number, number] {
  let low = 0n, high = 0n;
  words.forEach((value, index) => {
    const word = BigInt(value);
    const place = scrambled((BigInt(index) + 0x9e3779b9n) % wide);
    low += scrambled(word ^ place);
    high += scrambled((word * 0x85ebca6bn + ((place << 16n) % wide | (place >> 16n))) % wide);
  });
  return [Number(low % wide), Number(high % wide)];
}
