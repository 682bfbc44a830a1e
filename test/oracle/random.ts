/** Philox 4x32-10 (Salmon et al., SC 2011) with whole integers. */

const mask = 0xffffffffn;

export function philox4x32(counter: number[], key: number[]): number[] {
  let [c0, c1, c2, c3] = counter.map(BigInt);
  let [k0, k1] = key.map(BigInt);
  for (let round = 0; round < 10; round++) {
    const product0 = 0xd2511f53n * c0;
    const product1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(product1 >> 32n) ^ c1 ^ k0, product1 & mask, (product0 >> 32n) ^ c3 ^ k1, product0 & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number);
}

/** Word `index` of a stream of src/random.ts. */
export function streamWord(seed: bigint, stream: number, substream: number, index: bigint): number {
  const block = index / 4n;
  const counter = [Number(block & mask), Number(block >> 32n), substream, stream];
  return philox4x32(counter, [Number(seed & mask), Number(seed >> 32n)])[Number(index % 4n)];
}
