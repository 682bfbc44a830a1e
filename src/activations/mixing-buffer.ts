import { CochleaError } from '../errors.ts';
import { RandomStream, streams } from '../random.ts';
import type { FrameChunk, FrameSource } from './types.ts';

export interface MixingOptions {
  seed: number;
  /** Rows that are mixed with each other; rounded down to whole batches, and to what one epoch has. */
  bufferRows: number;
  batchRows: number;
  /** False: rows come in stored order, epoch after epoch. */
  shuffle: boolean;
  /** Leave rows with NaN or infinity out and count them, instead of stopping at the first. */
  dropNonFinite?: boolean;
}

/** Where a buffer stands, as plain JSON. The same source and options continue from it with the same batches. */
export interface MixingState {
  /** Where the rows of the present window begin in the stream: row `row` of chunk `chunk` of epoch `epoch`. */
  epoch: number;
  chunk: number;
  row: number;
  /** Number of the window, and of the next batch in it. */
  window: number;
  batch: number;
  /** Rows of a window: another number would continue with other batches. */
  windowRows: number;
  /** Rows left out before the present window. */
  dropped: number;
}

/**
 * Batches of frames, mixed across clips.
 *
 * The source is taken as an endless stream, epoch after epoch, the chunks of each in an order of its own. The stream is
 * cut into windows of `windowRows` rows. The rows of window w are permuted by the random stream (seed, mixing, w) and
 * served as batches; every row of the data is served once per epoch. A window is a function of where it begins, so the
 * state is a handful of numbers, and continuing reads one window again.
 *
 * Memory: one window, two batches, and the source's chunk in use and the next, whatever the size of the data. A window
 * is read when its first batch is asked for: the source reads one chunk ahead, not a window.
 */
export class MixingBuffer {
  readonly windowRows: number;
  readonly #source: FrameSource;
  readonly #options: MixingOptions;
  readonly #window: Float32Array;
  /** The batch to be filled next, and the one served last. */
  #batches: [Float32Array, Float32Array];
  /** Row of the window at each place of the permuted order; undefined while the window is not read, and without shuffling. */
  #order: Uint32Array | undefined;
  #loaded = false;
  #state: MixingState;
  /** Where the next row of the stream lies, and how many were left out before it. */
  #next: Pick<MixingState, 'epoch' | 'chunk' | 'row' | 'dropped'>;
  #chunks: AsyncIterator<FrameChunk> | undefined;
  #chunk: FrameChunk | undefined;

  /** Throws `config` when a batch does not fit the buffer or the data. */
  constructor(source: FrameSource, options: MixingOptions) {
    const { batchRows, bufferRows } = options;
    const { rows, dIn } = source;
    if (!Number.isSafeInteger(batchRows) || batchRows < 1) throw new CochleaError('config', `a batch of ${batchRows} frames cannot be`);
    if (!(bufferRows >= batchRows)) {
      throw new CochleaError('config', `a mixing buffer of ${bufferRows} frames does not hold a batch of ${batchRows}`);
    }
    if (rows !== undefined && rows < batchRows) {
      throw new CochleaError('config', `a batch has ${batchRows} frames, the data only ${rows}`,
        'choose a smaller batch or more recordings');
    }
    this.windowRows = Math.floor(Math.min(bufferRows, rows ?? Infinity) / batchRows) * batchRows;
    this.#source = source;
    this.#options = options;
    this.#state = { epoch: 0, chunk: 0, row: 0, window: 0, batch: 0, windowRows: this.windowRows, dropped: 0 };
    this.#next = { epoch: 0, chunk: 0, row: 0, dropped: 0 };
    try {
      this.#window = new Float32Array(this.windowRows * dIn);
      this.#batches = [new Float32Array(batchRows * dIn), new Float32Array(batchRows * dIn)];
    } catch (error) {
      const gibibytes = (this.windowRows * dIn * 4 / 2 ** 30).toFixed(1);
      throw new CochleaError('config', `a mixing buffer of ${this.windowRows} frames of ${dIn} numbers needs ${gibibytes} GiB of memory`,
        'choose a smaller buffer', { cause: error });
    }
  }

  /**
   * The next batch [batchRows, dIn]; without end. Its memory is used again by the call after the next one. Calls must not overlap.
   * Throws what the source throws, and `not-finite`.
   */
  async next(): Promise<{ x: Float32Array }> {
    if (!this.#loaded) await this.#fill();
    const { dIn } = this.#source;
    const { batchRows } = this.#options;
    const first = this.#state.batch * batchRows;
    const [x, served] = this.#batches;
    this.#batches = [served, x];
    if (this.#order) {
      for (let row = 0; row < batchRows; row++) {
        const from = this.#order[first + row]! * dIn;
        x.set(this.#window.subarray(from, from + dIn), row * dIn);
      }
    } else {
      x.set(this.#window.subarray(first * dIn, (first + batchRows) * dIn));
    }
    if (++this.#state.batch * batchRows === this.windowRows) {
      this.#state = { ...this.#next, window: this.#state.window + 1, batch: 0, windowRows: this.windowRows };
      this.#loaded = false;
    }
    return { x };
  }

  /** What restore() needs to go on with the batch that next() would give. */
  state(): MixingState {
    return { ...this.#state };
  }

  /**
   * Goes to where another buffer over the same data was. The window is read again by next().
   * Throws `config` for a state of another buffer.
   */
  async restore(state: MixingState): Promise<void> {
    const { epoch, chunk, row, window, batch, windowRows, dropped } = state;
    const areCounts = [epoch, chunk, row, window, batch, dropped].every((count) => Number.isSafeInteger(count) && count >= 0);
    if (!areCounts || (batch + 1) * this.#options.batchRows > this.windowRows) {
      throw new CochleaError('config', `the state of the mixing buffer cannot be: ${JSON.stringify(state)}`);
    }
    if (windowRows !== this.windowRows) {
      throw new CochleaError('config', `the mixing buffer had ${windowRows} rows and now has ${this.windowRows}`,
        'continue with the same data, batch and buffer');
    }
    await this.close();
    this.#state = { epoch, chunk, row, window, batch, windowRows, dropped };
    this.#next = { epoch, chunk, row, dropped };
  }

  /** Rows served so far. */
  get rowsSeen(): number {
    return this.#state.window * this.windowRows + this.#state.batch * this.#options.batchRows;
  }

  /** The epoch that reading has reached, from 0. */
  get epoch(): number {
    return this.#next.epoch;
  }

  /** Rows left out because they were not finite, up to the end of the present window. */
  get dropped(): number {
    return this.#next.dropped;
  }

  /** Stops reading from the source. */
  async close(): Promise<void> {
    this.#loaded = false;
    this.#chunk = undefined;
    const chunks = this.#chunks;
    this.#chunks = undefined;
    await chunks?.return?.();
  }

  async #fill(): Promise<void> {
    // Where a failed or closed fill left the stream is of no use: a window begins where its state says.
    const { epoch, chunk, row, dropped, window } = this.#state;
    if (!this.#chunks) this.#next = { epoch, chunk, row, dropped };
    let filled = 0;
    let emptyEpochs = 0;
    try {
      while (filled < this.windowRows) {
        const present = await this.#presentChunk();
        if (!present) {
          if (this.#next.chunk === 0 || ++emptyEpochs > 1) {
            throw new CochleaError('config', `${this.#source.info.hook || 'the source'} gave no usable frame in a whole epoch`);
          }
          this.#next = { epoch: this.#next.epoch + 1, chunk: 0, row: 0, dropped: this.#next.dropped };
          this.#chunks = undefined;
          continue;
        }
        const taken = this.#take(present, filled);
        if (taken > 0) emptyEpochs = 0;
        filled += taken;
      }
    } catch (error) {
      await this.close();
      throw error;
    }
    const { seed, shuffle } = this.#options;
    this.#order = shuffle ? new RandomStream(seed, streams.mixing, window).permutation(this.windowRows) : undefined;
    this.#loaded = true;
  }

  /** The chunk in which the next row lies; undefined at the end of an epoch. */
  async #presentChunk(): Promise<FrameChunk | undefined> {
    const { seed, shuffle } = this.#options;
    const epoch = shuffle ? this.#next.epoch : undefined;
    this.#chunks ??= this.#source.chunks({ seed, epoch, from: this.#next.chunk })[Symbol.asyncIterator]();
    while (!this.#chunk) {
      const { value, done } = await this.#chunks.next();
      if (done) return undefined;
      if (this.#next.row < value.rows) this.#chunk = value as FrameChunk;
      else this.#next = { ...this.#next, chunk: this.#next.chunk + 1, row: 0 };
    }
    return this.#chunk;
  }

  /** Copies rows of the chunk behind the `filled` rows of the window, as many as there are and as fit; returns how many. */
  #take(chunk: FrameChunk, filled: number): number {
    const { dIn } = this.#source;
    const { x } = chunk;
    let at = filled;
    let { row, dropped } = this.#next;
    for (; row < chunk.rows && at < this.windowRows; row++) {
      const begin = row * dIn;
      let zero = 0; // stays 0 unless a value is NaN or infinite
      for (let i = begin; i < begin + dIn; i++) zero += x[i]! - x[i]!;
      if (zero === 0) {
        this.#window.set(x.subarray(begin, begin + dIn), at++ * dIn);
      } else if (this.#options.dropNonFinite) {
        dropped++;
      } else {
        const clip = chunk.clips[chunk.clip[row]!];
        const where = `${chunk.time[row]!.toFixed(2)} s of clip "${clip?.id}" (${clip?.path})`;
        throw new CochleaError('not-finite', `the frame at ${where} holds NaN or infinity`,
          'leave the clip out, or have such frames dropped');
      }
    }
    const ended = row === chunk.rows;
    if (ended) this.#chunk = undefined;
    this.#next = { epoch: this.#next.epoch, chunk: this.#next.chunk + (ended ? 1 : 0), row: ended ? 0 : row, dropped };
    return at - filled;
  }
}
