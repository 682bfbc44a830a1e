/** What the kernel cases share: seeded shapes and numbers, and a bench that runs a kernel under watch. */
import { type Gpu, padded, type Recorder, type Shard, Tensor } from '../../src/gpu/index.ts';
import { shardBytes } from '../../src/gpu/tensor.ts';
import { noLatent, type Pairs } from '../../src/kernels/index.ts';
import { imageLanes } from '../../src/kernels/shapes.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import type { Case } from './case.ts';
import { ok } from './check.ts';

/** COCHLEA_SEED looks elsewhere, or repeats a failure. */
export const seed = Number(runtime.environment('COCHLEA_SEED') ?? 20261122);

const dataStream = 1000, shapeStream = 1001;

/**
 * Launchers choose kernels by the kind of adapter. Any adapter runs those of software and hardware, and one with subgroups of four or eight also those that
 * gather from images; a suite sees one adapter.
 */
type Kind = 'software' | 'images' | 'hardware';

const ofKinds = <S>(kinds: readonly Kind[], shapes: readonly S[]): (S & { adapter: Kind })[] => kinds.flatMap((adapter) => shapes.map((shape) => ({ ...shape, adapter })));

/** Every shape with the kernels for software adapters, then with those for hardware. */
export function onBothKinds<S>(shapes: readonly S[]): (S & { adapter: Kind })[] {
  return ofKinds(['software', 'hardware'], shapes);
}

/** The same, and with those for software adapters that gather from images. */
export function onAllKinds<S>(shapes: readonly S[]): (S & { adapter: Kind })[] {
  return ofKinds(['software', 'images', 'hardware'], shapes);
}

/**
 * A case that checks every shape with numbers of its own; a failure names the shape and the seed. A shape may ask for the kernels
 * of a kind of adapter; without that it gets those of the adapter that there is.
 */
export function fuzzed<S extends object>(name: string, shapes: readonly S[], check: (gpu: Gpu, random: RandomStream, shape: S) => Promise<void>): Case {
  return {
    name,
    async run(gpu) {
      const { software } = gpu.adapter, { gathersImages } = gpu, chosen = [...gpu.variants];
      for (const [index, shape] of shapes.entries()) {
        try {
          const { adapter } = shape as { adapter?: Kind };
          gpu.adapter.software = adapter ? adapter !== 'hardware' : software;
          gpu.gathersImages = adapter ? adapter === 'images' : gathersImages;
          gpu.variants.clear(); // another kind chooses among others
          if (adapter === 'images' && !imageLanes(gpu)) continue;
          await check(gpu, new RandomStream(seed, dataStream, index), shape);
        } catch (error) {
          throw new Error(`${JSON.stringify(shape)} with COCHLEA_SEED=${seed}: ${(error as Error).message}`, { cause: error });
        } finally {
          gpu.adapter.software = software;
          gpu.gathersImages = gathersImages;
          gpu.variants.clear();
          chosen.forEach(([name, variant]) => gpu.variants.set(name, variant));
        }
      }
    },
  };
}

/** Shapes that the seed draws; `from(low, high)` gives a whole number of that range. */
export function drawn<S>(count: number, draw: (from: (low: number, high: number) => number) => S): S[] {
  const random = new RandomStream(seed, shapeStream);
  return Array.from({ length: count }, () => draw((low, high) => low + random.below(high - low + 1)));
}

/** Normal deviates in float32. */
export function normals(random: RandomStream, length: number, scale = 1): Float32Array {
  return Float32Array.from({ length }, () => scale * random.normal());
}

/** The k kept pairs of each row: latents ascending, at the end of some rows empty slots; values of either sign and zeros. */
export function keptPairs(random: RandomStream, rows: number, k: number, dSae: number): { indices: Uint32Array; values: Float32Array } {
  const indices = new Uint32Array(rows * k).fill(noLatent);
  const values = new Float32Array(rows * k);
  for (let row = 0; row < rows; row++) {
    const count = random.below(3) === 0 ? random.below(k + 1) : k;
    indices.set(random.permutation(dSae).subarray(0, count).sort(), row * k);
    for (let j = 0; j < count; j++) values[row * k + j] = random.below(6) === 0 ? 0 : random.normal();
  }
  return { indices, values };
}

/** Kept pairs as they lie in memory. */
export interface Layout {
  /** Rows and columns of indices and values. */
  shape: [number, number];
  indices: Uint32Array;
  values: Float32Array;
  offsets?: Uint32Array;
  /** The slots that hold a pair, in order, and their rows. */
  slots: { slot: number; row: number }[];
}

/** Kept pairs in both layouts that kernels take: k slots a row, and as many as a row has with two empty ones at the end. */
export function layouts({ indices, values }: { indices: Uint32Array; values: Float32Array }, rows: number): Layout[] {
  const k = indices.length / rows;
  const slots = [...indices.keys()].filter((slot) => indices[slot] !== noLatent).map((slot) => ({ slot, row: Math.floor(slot / k) }));
  const room = slots.length + 2;
  const ragged: Layout = {
    shape: [1, room], indices: new Uint32Array(room).fill(noLatent), values: new Float32Array(room),
    offsets: Uint32Array.from({ length: rows + 1 }, (_, row) => slots.filter((one) => one.row < row).length),
    slots: slots.map(({ row }, slot) => ({ slot, row })),
  };
  ragged.indices.set(slots.map(({ slot }) => indices[slot]));
  ragged.values.set(slots.map(({ slot }) => values[slot]));
  return [{ shape: [rows, k], indices, values, slots }, ragged];
}

/** The tensors of pairs in such a layout. */
export function pairTensors(bench: Bench, { shape: [rows, columns], indices, values, offsets }: Layout): Pairs & Record<string, Tensor> {
  return {
    indices: bench.tensor('indices', rows, columns, { data: indices, stride: columns }), values: bench.tensor('values', rows, columns, { data: values, stride: columns }),
    ...(offsets ? { offsets: bench.tensor('offsets', 1, offsets.length, { data: offsets }) } : {}),
  };
}

/** The matrix [rows, dSae] of kept pairs. */
export function denseCodes({ indices, values }: { indices: Uint32Array; values: Float32Array }, rows: number, dSae: number): Float64Array {
  const codes = new Float64Array(rows * dSae);
  const k = indices.length / rows;
  indices.forEach((latent, pair) => {
    if (latent !== noLatent) codes[Math.floor(pair / k) * dSae + latent] = values[pair];
  });
  return codes;
}

/** Element-wise absolute values in float64, for the sums that bound rounding errors. */
export function magnitudes(numbers: ArrayLike<number>): Float64Array {
  return Float64Array.from(numbers, Math.abs);
}

/**
 * A signalling NaN: what is allocated but not given, and what lies behind a tensor's end. Whatever is computed from it is a quiet NaN,
 * so a result never looks like it.
 */
const poison = 0x7fa5a5a5;

/** As Gpu.dispatchFlops, so few that most shapes of the cases are taken in pieces, some of a single workgroup. */
const pieceFlops = 5e4;

/** Folds every one-dimensional grid over x and y, as the recorder does past 65,535 workgroups. */
function folding(rec: Recorder): Recorder {
  const dispatch = rec.dispatch.bind(rec);
  rec.dispatch = (kernel, tensors, parameters, groups, share) => (
    dispatch(kernel, tensors, parameters, typeof groups === 'number' && groups > 1 ? [Math.ceil(groups / 3), 3] : groups, share)
  );
  return rec;
}

interface Watched {
  tensor: Tensor;
  /** Every buffer's words at the start. */
  start: Uint32Array[];
}

/** Options of a tensor on the bench; without data its elements begin as NaN. */
interface BenchTensor {
  data?: Float32Array | Uint32Array;
  dtype?: 'f32' | 'u32';
  /** Default: columns rounded up to whole vec4s. */
  stride?: number;
  shardRows?: number | undefined;
}

/** Tensors whose buffers go on after their end with words that are neither to be read nor to be written. */
export class Bench {
  readonly #gpu: Gpu;
  readonly #watched: Watched[] = [];
  /** Every buffer's words after the last run. */
  readonly #found = new Map<Shard, Uint32Array>();

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  tensor(label: string, rows: number, columns: number, { data, dtype, stride = padded(columns), shardRows = rows }: BenchTensor = {}): Tensor {
    const tail = 4 * padded(Math.min(stride, 256));
    const shards: Shard[] = [];
    const start: Uint32Array[] = [];
    for (let first = 0; first < rows; first += shardRows) {
      const here = Math.min(shardRows, rows - first);
      const words = new Uint32Array(shardBytes(here, stride) / 4 + tail).fill(poison);
      // Integers behind the end of given ones are small: taken for latents or counts they would do harm.
      if (data instanceof Uint32Array) for (let at = here * stride; at < words.length; at++) words[at] = at % 4;
      for (let row = 0; row < here; row++) {
        words.fill(0, row * stride + columns, (row + 1) * stride);
        const given = data?.subarray((first + row) * columns, (first + row + 1) * columns);
        if (given) words.set(new Uint32Array(given.slice().buffer), row * stride);
      }
      const buffer = this.#gpu.device.createBuffer({ label, size: words.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
      shards.push({ buffer, first, rows: here, of: rows });
      start.push(words);
    }
    const type = dtype ?? (data instanceof Uint32Array ? 'u32' : 'f32');
    const tensor = new Tensor({ label, dtype: type, rows, columns, stride, shardRows }, shards);
    this.#watched.push({ tensor, start });
    return tensor;
  }

  /**
   * Runs the work several times from the same start: twice, with folded grids, and in Node with long launches in pieces, which cost other runtimes minutes
   * and are cut by the same code there. Throws unless every run leaves the same bits, nothing behind the end of any tensor and zeros in its padding.
   */
  async run(record: (rec: Recorder) => void): Promise<void> {
    const gpu = this.#gpu, { device, dispatchFlops } = gpu;
    const buffers = this.#watched.flatMap(({ tensor, start }) => tensor.shards.map((shard, n) => ({ tensor, shard, start: start[n] })));
    const bytes = buffers.reduce((total, { start }) => total + start.byteLength, 0);
    const runs = ['once', 'run again', 'run on a folded grid', ...(runtime.version.startsWith('node ') ? ['run in pieces'] : [])];
    const collected = device.createBuffer({ label: 'collected', size: runs.length * bytes, usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
    let offset = 0;
    for (const run of runs) {
      for (const { shard, start } of buffers) {
        device.queue.writeBuffer(shard.buffer, 0, start as BufferSource);
        gpu.images.written(shard.buffer);
      }
      const rec = run === 'run on a folded grid' ? folding(gpu.record()) : gpu.record();
      try {
        if (run === 'run in pieces') gpu.dispatchFlops = pieceFlops;
        record(rec);
      } finally {
        gpu.dispatchFlops = dispatchFlops;
      }
      for (const { shard, start } of buffers) {
        rec.copy(shard.buffer, collected, start.byteLength, 0, offset);
        offset += start.byteLength;
      }
      rec.submit();
    }
    const words = new Uint32Array(await gpu.readBuffer(collected, runs.length * bytes));
    collected.destroy();
    offset = 0;
    for (const { tensor, shard, start } of buffers) {
      const found = runs.map((_, run) => words.subarray(run * bytes / 4 + offset, run * bytes / 4 + offset + start.length)), once = found[0]!;
      offset += start.length;
      found.slice(1).forEach((bits, n) => sameBits(bits, once, `${tensor.label} from row ${shard.first} on, ${runs[n + 1]}`));
      checkSurroundings(tensor, shard, once, start, `${tensor.label} from row ${shard.first} on`);
      this.#found.set(shard, once);
    }
  }

  /** A tensor's elements after the last run, compact, as bits. */
  bits(tensor: Tensor): Uint32Array {
    const bits = new Uint32Array(tensor.rows * tensor.columns);
    for (const shard of tensor.shards) {
      const words = this.#found.get(shard)!;
      for (let row = 0; row < shard.rows; row++) {
        bits.set(words.subarray(row * tensor.stride, row * tensor.stride + tensor.columns), (shard.first + row) * tensor.columns);
      }
    }
    return bits;
  }

  free(): void {
    for (const { tensor } of this.#watched) this.#gpu.free(tensor);
  }
}

/** Throws unless two arrays of words are the same. */
export function sameBits(actual: Uint32Array, expected: Uint32Array, what: string): void {
  ok(actual.length === expected.length, `${what}: ${actual.length} words, not ${expected.length}`);
  const at = actual.findIndex((word, i) => word !== expected[i]);
  if (at >= 0) throw new Error(`${what}: word ${at} is 0x${actual[at].toString(16)}, not 0x${expected[at].toString(16)}`);
}

function checkSurroundings(tensor: Tensor, shard: Shard, words: Uint32Array, start: Uint32Array, what: string): void {
  for (let row = 0; row < shard.rows; row++) {
    for (let at = row * tensor.stride + tensor.columns; at < (row + 1) * tensor.stride; at++) {
      if (words[at] !== 0) throw new Error(`${what}: the padding of row ${row} is not zero`);
    }
  }
  for (let at = shard.rows * tensor.stride; at < words.length; at++) {
    if (words[at] !== start[at]) throw new Error(`${what}: word ${at} was written, ${at - shard.rows * tensor.stride} behind the end`);
  }
}

/** What a kernel left, by the tensors' names. */
export interface Found<T> {
  floats(name: keyof T): Float32Array;
  integers(name: keyof T): Uint32Array;
}

/**
 * Runs work on the bench with the weights in one piece, then cut into shards of so many rows: everything that it leaves must be the same
 * bits. `build` gives `shardRows` to the tensors that the engine shards.
 */
export async function run<T extends Record<string, Tensor>>(gpu: Gpu, cuts: readonly number[],
  build: (bench: Bench, shardRows: number | undefined) => { tensors: T; record(rec: Recorder): void }): Promise<Found<T>> {
  let whole: Map<string, Uint32Array> | undefined;
  for (const shardRows of [undefined, ...cuts]) {
    const bench = new Bench(gpu);
    const { tensors, record } = build(bench, shardRows);
    await bench.run(record);
    const found = new Map(Object.entries(tensors).map(([name, tensor]) => [name, bench.bits(tensor)]));
    bench.free();
    for (const [name, bits] of whole ?? []) sameBits(found.get(name)!, bits, `${name} in shards of ${shardRows}`);
    whole ??= found;
  }
  const integers = (name: keyof T): Uint32Array => whole!.get(name as string)!;
  return { integers, floats: (name) => new Float32Array(integers(name).buffer) };
}
