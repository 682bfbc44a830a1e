import { encodeFloat16 } from '../formats/dtype.ts';
import { decodeFrames } from './shard.ts';
import type { StoreDType } from './shard.ts';
import { StatisticsAccumulator } from './statistics.ts';
import type { FrameStatistics, StatisticsState } from './statistics.ts';

/** One stream of a store while it is written: the rows of the shard being filled, and the moments of all that came before. */
export class ShardStream {
  readonly width: number;
  readonly #dtype: StoreDType;
  readonly #values: Float32Array | Uint16Array;
  #statistics: StatisticsAccumulator;

  constructor(width: number, rows: number, dtype: StoreDType) {
    this.width = width;
    this.#dtype = dtype;
    this.#values = new (dtype === 'f16' ? Uint16Array : Float32Array)(rows * width);
    this.#statistics = new StatisticsAccumulator(width);
  }

  /** Goes on after the last shard of an earlier writer. */
  resume(statisticsSoFar: StatisticsState): void {
    this.#statistics = new StatisticsAccumulator(this.width, statisticsSoFar);
  }

  /** Puts rows `from` ... `from + count - 1` of `frames` [rows, width] at row `at` of the shard. */
  put(frames: Float32Array, from: number, count: number, at: number): void {
    const values = frames.subarray(from * this.width, (from + count) * this.width);
    const place = this.#values.subarray(at * this.width, (at + count) * this.width);
    if (place instanceof Uint16Array) encodeFloat16(values, place);
    else place.set(values);
  }

  /**
   * Its part of a shard of `rows` rows, valid until the next put(). The statistics are those of the frames as stored, in portions that do
   * not depend on where a writer was stopped.
   */
  take(rows: number): { statisticsSoFar: StatisticsState; frames: Uint8Array } {
    const used = this.#values.subarray(0, rows * this.width);
    const frames = new Uint8Array(used.buffer, used.byteOffset, used.byteLength);
    this.#statistics.add(decodeFrames(frames, this.#dtype), rows);
    return { statisticsSoFar: this.#statistics.state(), frames };
  }

  statistics(): FrameStatistics {
    return this.#statistics.result();
  }
}
