/**
 * Synthetic activations whose dictionary is known: rows are sparse sums of 256 directions in 64 dimensions, with a mean offset and noise. Half of the
 * features are roots, which fire more rarely the higher their number; a child fires only when its parent does. Every number is a hash of
 * (seed, stream, row, column) and float64 arithmetic in a fixed order, so the rows are the same bits everywhere and any row can be made on its own.
 */

export const dIn = 64, features = 256, roots = 128;

/** Where held-out rows begin: training rows count up from zero. */
const heldOut = 0x8000_0000;

const streams = { dictionary: 1, bias: 2, firing: 3, magnitude: 4, noise: 5 } as const;
const golden = 0x9e37_79b1;
const half = 2 ** 23;
const noiseAmplitude = 0.09375;

/** The finaliser of MurmurHash3, 32 bits. */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return h ^ (h >>> 16);
}

const streamKey = (seed: number, stream: number): number => mix(seed ^ Math.imul(stream, golden));
const lowKey = (key: number, row: number): number => mix((key + row) | 0);
const highKey = (low: number): number => mix(low ^ 0x5bd1_e995);

/** 24 random bits of one column; the keys are those of its stream and row. */
const word = (low: number, high: number, column: number): number => mix(mix((low + Math.imul(column + 1, golden)) | 0) ^ high) >>> 8;

export class World {
  /** True directions [features, dIn], length one. */
  readonly dictionary = new Float32Array(features * dIn);
  /** Mean offset [dIn]. */
  readonly bias = new Float64Array(dIn);
  /** A feature fires where 24 random bits lie below this (and its parent fires). */
  readonly thresholds = Uint32Array.from({ length: features }, (_, f) => Math.floor(2 ** 24 * (f < roots ? 0.25 / Math.sqrt(f + 1) : 0.35)));
  /** The dictionary again in the type in which rows are summed. */
  readonly #directions: Float64Array;
  readonly #firing: number;
  readonly #magnitude: number;
  readonly #noise: number;

  constructor(seed: number) {
    this.#drawDictionary(streamKey(seed, streams.dictionary));
    this.#directions = Float64Array.from(this.dictionary);
    const low = lowKey(streamKey(seed, streams.bias), 0), high = highKey(low);
    for (let d = 0; d < dIn; d++) this.bias[d] = ((word(low, high, d) - half) / half) * 0.5;
    this.#firing = streamKey(seed, streams.firing);
    this.#magnitude = streamKey(seed, streams.magnitude);
    this.#noise = streamKey(seed, streams.noise);
  }

  /** Sums of twelve uniform integers, which are close to normal and exact, brought to length one. */
  #drawDictionary(key: number): void {
    const sums = new Float64Array(dIn);
    for (let f = 0; f < features; f++) {
      const low = lowKey(key, f), high = highKey(low);
      let square = 0;
      for (let d = 0; d < dIn; d++) {
        let sum = -12 * half;
        for (let t = 0; t < 12; t++) sum += word(low, high, 12 * d + t);
        sums[d] = sum;
        square += sum * sum;
      }
      const length = Math.sqrt(square);
      for (let d = 0; d < dIn; d++) this.dictionary[f * dIn + d] = sums[d]! / length;
    }
  }

  /** Training rows first ... first + rows - 1, [rows, dIn]. */
  trainingRows(first: number, rows: number): Float32Array<ArrayBuffer> {
    return this.#rows(first, rows);
  }

  /** Rows of the same world that training never sees. */
  heldOutRows(first: number, rows: number): Float32Array<ArrayBuffer> {
    return this.#rows(heldOut + first, rows);
  }

  #rows(first: number, rows: number): Float32Array<ArrayBuffer> {
    const out = new Float32Array(rows * dIn);
    const sums = new Float64Array(dIn), fires = new Uint8Array(features);
    for (let row = 0; row < rows; row++) this.#row(first + row, sums, fires, out, row * dIn);
    return out;
  }

  #row(row: number, sums: Float64Array, fires: Uint8Array, out: Float32Array, at: number): void {
    const { thresholds } = this;
    const directions = this.#directions;
    const firingLow = lowKey(this.#firing, row), firingHigh = highKey(firingLow);
    const magnitudeLow = lowKey(this.#magnitude, row), magnitudeHigh = highKey(magnitudeLow);
    const noiseLow = lowKey(this.#noise, row), noiseHigh = highKey(noiseLow);
    sums.set(this.bias);
    for (let f = 0; f < features; f++) {
      const parentFires = f < roots || fires[(f - roots) >> 1] === 1;
      const on = parentFires && word(firingLow, firingHigh, f) < thresholds[f]!;
      fires[f] = on ? 1 : 0;
      if (!on) continue;
      const magnitude = (2 ** 22 + (word(magnitudeLow, magnitudeHigh, f) >>> 1)) / half;
      for (let d = 0; d < dIn; d++) sums[d]! += magnitude * directions[f * dIn + d]!;
    }
    for (let d = 0; d < dIn; d++) out[at + d] = sums[d]! + ((word(noiseLow, noiseHigh, d) - half) / half) * noiseAmplitude;
  }
}
