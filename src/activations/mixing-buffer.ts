import { CochleaError } from '../errors.ts';
import { RandomStream, streams } from '../random.ts';
import { type FrameArray, type HalfFormat, isFiniteRow } from './halves.ts';
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
  /** Serve the target of each frame with it; the source must have a second stream. */
  target?: boolean;
  /**
   * Serve the frame before each frame in its clip with it: pairs of neighbours, as a temporal SAE trains on (Bhalla et al. 2025,
   * arXiv 2511.05541). As there, a first frame is in no batch but as its neighbour's previous one. A pair never spans two chunks:
   * where a chunk cuts a clip, the part's first frame counts as a first one. All rows of a tensor file are neighbours.
   */
  previous?: boolean;
}

/** Row i of each array belongs to row i of the others. */
export interface MixedBatch {
  /** [batchRows, dIn] */
  x: FrameArray;
  /** [batchRows, dOut], when asked for. */
  target?: FrameArray;
  /** [batchRows, dIn], when asked for. */
  previous?: FrameArray;
  /** What the arrays are patterns of, where they do not hold numbers: those of a source that is stored in 16 bits stay as they are. */
  format?: HalfFormat;
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
  /** Rows left out before the present window because they, or what belongs to them, were not finite. */
  dropped: number;
}

/** One array of the batches: the rows of the present window, the batch to be filled next and the one served last. */
interface Lane {
  width: number;
  window: FrameArray;
  next: FrameArray;
  served: FrameArray;
}

/**
 * Batches of frames, mixed across clips.
 *
 * The source is taken as an endless stream, epoch after epoch, the chunks of each in an order of its own. The stream is
 * cut into windows of `windowRows` rows. The rows of window w are permuted by the random stream (seed, mixing, w) and
 * served as batches; every row of the data is served once per epoch (of pairs: every row that has a frame before it). A
 * window is a function of where it begins, so the state is a handful of numbers, and continuing reads one window again.
 *
 * Memory: one window, two batches, and the source's chunk in use and the next, whatever the size of the data. A row of a
 * window or batch takes as many bytes as it has in the source's store, 2 dIn or 4 dIn, the same for its target and for its previous
 * frame: the bound on rows is the same, pairs of frames take twice the memory of frames. A window is read when its first batch is asked for:
 * the source reads one chunk ahead, not a window.
 */
export class MixingBuffer {
  readonly windowRows: number;
  /** Of the window and the batches. */
  readonly bytes: number;
  readonly #source: FrameSource;
  readonly #options: MixingOptions;
  readonly #x: Lane;
  readonly #target: Lane | undefined;
  readonly #previous: Lane | undefined;
  /** Row of the window at each place of the permuted order; undefined while the window is not read, and without shuffling. */
  #order: Uint32Array | undefined;
  #loaded = false;
  #state: MixingState;
  /** Where the next row of the stream lies, and how many were left out before it. */
  #next: Pick<MixingState, 'epoch' | 'chunk' | 'row' | 'dropped'>;
  #chunks: AsyncIterator<FrameChunk<FrameArray>> | undefined;
  #chunk: FrameChunk<FrameArray> | undefined;

  /** Throws `config` when a batch does not fit the buffer or the data, and for targets of a source that has none. */
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
    if (options.target && source.dOut === undefined) {
      throw new CochleaError('config', `there are no targets for the frames of ${source.info.hook || 'the source'}`,
        'extract them with --target-hook, or give a .safetensors file with tensors `x` and `y`');
    }
    this.windowRows = Math.floor(Math.min(bufferRows, rows ?? Infinity) / batchRows) * batchRows;
    this.#source = source;
    this.#options = options;
    this.#state = { epoch: 0, chunk: 0, row: 0, window: 0, batch: 0, windowRows: this.windowRows, dropped: 0 };
    this.#next = { epoch: 0, chunk: 0, row: 0, dropped: 0 };
    const numbers = dIn * (options.previous ? 2 : 1) + (options.target ? source.dOut! : 0);
    const Numbers = source.halves ? Uint16Array : Float32Array;
    this.bytes = (this.windowRows + 2 * batchRows) * numbers * Numbers.BYTES_PER_ELEMENT;
    const lane = (width: number): Lane => ({
      width, window: new Numbers(this.windowRows * width), next: new Numbers(batchRows * width), served: new Numbers(batchRows * width),
    });
    try {
      this.#x = lane(dIn);
      if (options.target) this.#target = lane(source.dOut!);
      if (options.previous) this.#previous = lane(dIn);
    } catch (error) {
      const gibibytes = (this.bytes / 2 ** 30).toFixed(1);
      throw new CochleaError('config', `a mixing buffer of ${this.windowRows} frames of ${numbers} numbers needs ${gibibytes} GiB of memory`,
        'choose a smaller buffer', { cause: error });
    }
  }

  /**
   * The next batch; without end. Its memory is used again by the call after the next one. Calls must not overlap.
   * Throws what the source throws, and `not-finite`.
   */
  async next(): Promise<MixedBatch> {
    if (!this.#loaded) await this.#fill();
    const batch: MixedBatch = { x: this.#gather(this.#x) };
    if (this.#target) batch.target = this.#gather(this.#target);
    if (this.#previous) batch.previous = this.#gather(this.#previous);
    if (this.#source.halves) batch.format = this.#source.halves.format;
    if (++this.#state.batch * this.#options.batchRows === this.windowRows) {
      this.#state = { ...this.#next, window: this.#state.window + 1, batch: 0, windowRows: this.windowRows };
      this.#loaded = false;
    }
    return batch;
  }

  /** Copies the rows of the present batch out of the window. */
  #gather(lane: Lane): FrameArray {
    const { width, window, next, served } = lane;
    const { batchRows } = this.#options;
    const first = this.#state.batch * batchRows;
    Object.assign(lane, { next: served, served: next });
    if (this.#order) {
      for (let row = 0; row < batchRows; row++) {
        const from = this.#order[first + row]! * width;
        next.set(window.subarray(from, from + width), row * width);
      }
    } else {
      next.set(window.subarray(first * width, (first + batchRows) * width));
    }
    return next;
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

  /** Rows left out because they, or what belongs to them, were not finite, up to the end of the present window. */
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
  async #presentChunk(): Promise<FrameChunk<FrameArray> | undefined> {
    const { seed, shuffle } = this.#options;
    const epoch = shuffle ? this.#next.epoch : undefined;
    const order = { seed, epoch, from: this.#next.chunk };
    this.#chunks ??= (this.#source.halves ? this.#source.halves.chunks(order) : this.#source.chunks(order))[Symbol.asyncIterator]();
    while (!this.#chunk) {
      const { value, done } = await this.#chunks.next();
      if (done) return undefined;
      if (this.#next.row < value.rows) this.#chunk = value as FrameChunk<FrameArray>;
      else this.#next = { ...this.#next, chunk: this.#next.chunk + 1, row: 0 };
    }
    return this.#chunk;
  }

  /** Copies rows of the chunk behind the `filled` rows of the window, as many as there are and as fit; returns how many. */
  #take(chunk: FrameChunk<FrameArray>, filled: number): number {
    const [frames, targets, previous] = [this.#x, this.#target, this.#previous];
    const { dIn, halves } = this.#source;
    const { x, target, clip } = chunk;
    const isFinite = (rows: FrameArray, at: number, width: number): boolean => isFiniteRow(rows, halves?.format, at, width);
    let at = filled;
    let { row, dropped } = this.#next;
    let before = row > 0 && isFinite(x, row - 1, dIn);
    for (; row < chunk.rows && at < this.windowRows; row++) {
      const finite = isFinite(x, row, dIn);
      const whole = finite && (!targets || isFinite(target!, row, targets.width));
      if (!whole && !this.#options.dropNonFinite) throw notFinite(chunk, row, finite);
      const isFirst = row === 0 || clip[row] !== clip[row - 1];
      const paired = before;
      before = finite;
      if (!whole || (previous && !isFirst && !paired)) {
        dropped++;
        continue;
      }
      if (previous && isFirst) continue;
      frames.window.set(rowOf(x, row, dIn), at * dIn);
      if (targets) targets.window.set(rowOf(target!, row, targets.width), at * targets.width);
      if (previous) previous.window.set(rowOf(x, row - 1, dIn), at * dIn);
      at++;
    }
    const ended = row === chunk.rows;
    if (ended) this.#chunk = undefined;
    this.#next = { epoch: this.#next.epoch, chunk: this.#next.chunk + (ended ? 1 : 0), row: ended ? 0 : row, dropped };
    return at - filled;
  }
}

function rowOf(values: FrameArray, row: number, width: number): FrameArray {
  return values.subarray(row * width, (row + 1) * width);
}

function notFinite({ clips, clip, time }: FrameChunk<FrameArray>, row: number, isTarget: boolean): CochleaError {
  const label = clips[clip[row]!];
  const where = `${isTarget ? 'the target of the frame' : 'the frame'} at ${time[row]!.toFixed(2)} s of clip "${label?.id}" (${label?.path})`;
  return new CochleaError('not-finite', `${where} holds NaN or infinity`, 'leave the clip out, or have such frames dropped');
}
