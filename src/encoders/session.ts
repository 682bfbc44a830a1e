/** The only file that knows ONNX Runtime: everything about how it is set up, fed and freed is here. */
import type * as Ort from 'onnxruntime-web';
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { DetachedModel } from './weights.ts';

export interface RunInput {
  readonly data: Float32Array | BigInt64Array;
  readonly dims: readonly number[];
}

export interface RunOutput {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** A tensor of any type as one session made it, to be given to another; the bits are never looked at. */
export interface HeldTensor {
  readonly type: Ort.Tensor.Type;
  readonly data: Ort.Tensor['data'];
  readonly dims: readonly number[];
}

export interface Session {
  /** Per output of the model: its shape as far as ONNX Runtime infers it from the graph; names or '?' stand for sizes that vary. */
  readonly shapes: ReadonlyMap<string, readonly (number | string)[]>;
  /** Per output: what its elements are ('float32', 'int64', 'bool', ...). */
  readonly types: ReadonlyMap<string, string>;
  /** Runs the graph once and gives all its outputs by name, as float32. */
  run(inputs: Readonly<Record<string, RunInput | HeldTensor>>): Promise<ReadonlyMap<string, RunOutput>>;
  /** The same with the outputs as they are. */
  pass(inputs: Readonly<Record<string, RunInput | HeldTensor>>): Promise<ReadonlyMap<string, HeldTensor>>;
  /** A held tensor of floats as float32. Throws CochleaError `hook` for other types. */
  read(name: string, tensor: HeldTensor): RunOutput;
  close(): Promise<void>;
}

/** Above this, weights are not copied into the layout that is fastest for matrix products: memory matters more. */
const prepackBelow = 1e9;

/** Of 64 KiB: 3.75 GiB. All 4 GiB would be a size of 0 to the 32-bit arithmetic of the wasm module's allocator. */
const sharedPages = 61_440;

interface Loaded {
  ort: typeof Ort;
  requested: number | undefined;
  /** The memory that the wasm module is to be made with; none with one thread. */
  memory: WebAssembly.Memory | undefined;
}

let loading: Promise<Loaded> | undefined;

/**
 * When a shared memory grows, V8 tells the other threads late unless it checks bounds with signal handlers, which
 * Deno does not set up: a thread then dies of an access "out of bounds", and the main thread waits for it for ever.
 * A memory that has its full size from the start never grows. It costs addresses, not memory, until it is written.
 */
function reserveMemory(): WebAssembly.Memory | undefined {
  try {
    return new WebAssembly.Memory({ initial: sharedPages, maximum: 65_536, shared: true });
  } catch {
    return undefined; // a system that promises no more memory than it has
  }
}

async function load(requested: number | undefined): Promise<Loaded> {
  const ort = await import('onnxruntime-web');
  const threads = requested ?? Math.min(4, runtime.processors);
  const memory = threads > 1 ? reserveMemory() : undefined;
  ort.env.wasm.numThreads = memory ? threads : 1;
  ort.env.logLevel = 'fatal';
  return { ort, requested, memory };
}

/** Loads ONNX Runtime once. Its wasm module is made with the first session and keeps its number of threads for good. */
async function loadRuntime(threads: number | undefined): Promise<Loaded> {
  if (threads !== undefined && (!Number.isInteger(threads) || threads < 1 || threads > 64)) {
    throw new CochleaError('usage', `threads must be a whole number from 1 to 64, not ${threads}`);
  }
  const loaded = await (loading ??= load(threads));
  if (threads !== undefined && threads !== loaded.requested && threads !== loaded.ort.env.wasm.numThreads) {
    throw new CochleaError(
      'runtime', `encoders already run with ${loaded.ort.env.wasm.numThreads} threads in this process`,
      'the number of threads is chosen once, with the first encoder',
    );
  }
  return loaded;
}

const PlainMemory = WebAssembly.Memory;

/** Runs `work`, in which ONNX Runtime may make its shared memory, and gives it ours instead: it has no option for that. */
async function withMemory<T>(memory: WebAssembly.Memory, work: () => Promise<T>): Promise<T> {
  WebAssembly.Memory = new Proxy(PlainMemory, {
    construct: (target, [descriptor]) => (descriptor.shared && descriptor.maximum === 65_536 ? memory : new target(descriptor)),
  });
  try {
    return await work();
  } finally {
    WebAssembly.Memory = PlainMemory;
  }
}

function reason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n')[0]!.replace(/^\[ONNXRuntimeError\] : /, '').slice(0, 300);
}

/** IEEE 754 binary16. Values are exact in float32. */
function halfToFloat(half: Uint16Array): Float32Array {
  return Float32Array.from(half, (bits) => {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const normal = exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
    const size = exponent === 0 ? fraction * 2 ** -24 : normal;
    return bits & 0x8000 ? -size : size;
  });
}

/** To the nearest, ties to even; above 65,504 infinite. */
export function floatToHalf(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (word) => {
    const sign = (word >>> 16) & 0x8000, exponent = ((word >>> 23) & 255) - 112, fraction = word & 0x7fffff;
    if (exponent >= 31) return sign | (exponent === 143 && fraction ? 0x7e00 : 0x7c00);
    if (exponent < -10) return sign;
    // Below 2^-14 the leading one is written out and everything shifted.
    const [whole, shift] = exponent > 0 ? [(exponent << 23) | fraction, 13] : [fraction | 0x800000, 14 - exponent];
    const kept = whole >>> shift, rest = whole & ((1 << shift) - 1), half = 1 << (shift - 1);
    return sign | (kept + (rest > half || (rest === half && kept & 1) ? 1 : 0));
  });
}

/**
 * Opens a session on a model. The same input gives the same bits on every run.
 * @param threads wasm threads, at most 4 unless said otherwise; fixed by the first session of the process
 * @throws CochleaError `model` when ONNX Runtime refuses the model, `runtime` when threads were chosen differently before
 */
export async function openSession(model: DetachedModel, file: string, threads?: number): Promise<Session> {
  const loaded = await loadRuntime(threads);
  const { ort, memory } = loaded;
  const weightBytes = model.weights.reduce((sum, { data }) => sum + data.length, 0);
  let session: Ort.InferenceSession;
  try {
    const create = () => ort.InferenceSession.create(model.bytes, {
      executionProviders: ['wasm'],
      logSeverityLevel: 4,
      externalData: model.weights.map(({ path, data }) => ({ path, data })),
      ...(weightBytes >= prepackBelow && { extra: { session: { disable_prepacking: '1' } } }),
    });
    session = await (memory ? withMemory(memory, create) : create());
    loaded.memory = undefined; // the module has it now
  } catch (error) {
    throw new CochleaError('model', `${file}: ONNX Runtime cannot load it (${reason(error)})`, undefined, { cause: error });
  }
  /** Float16Array where the runtime has it, the bare bits otherwise. */
  const read = (name: string, { data, dims, type }: HeldTensor): RunOutput => {
    if (type === 'float32') return { data: data as Float32Array, dims };
    if (type !== 'float16') throw new CochleaError('hook', `${file}: tensor '${name}' holds ${type}, not numbers to train on`);
    return { data: data instanceof Uint16Array ? halfToFloat(data) : Float32Array.from(data as unknown as ArrayLike<number>), dims };
  };
  const inHalf = new Set(session.inputMetadata.filter((input) => input.isTensor && input.type === 'float16').map(({ name }) => name));
  const pass = async (inputs: Readonly<Record<string, RunInput | HeldTensor>>): Promise<ReadonlyMap<string, HeldTensor>> => {
    const feeds: Record<string, Ort.Tensor> = {};
    for (const [name, input] of Object.entries(inputs)) {
      const { data, dims } = input;
      feeds[name] = 'type' in input ? new ort.Tensor(input.type as 'float32', data as Float32Array, dims)
        : !(data instanceof Float32Array) ? new ort.Tensor('int64', data as BigInt64Array, dims)
        : inHalf.has(name) ? new ort.Tensor('float16', floatToHalf(data), dims) : new ort.Tensor('float32', data, dims);
    }
    let results: Readonly<Record<string, Ort.Tensor>>;
    try {
      results = await session.run(feeds);
    } catch (error) {
      throw new CochleaError('model', `${file}: ONNX Runtime failed (${reason(error)})`, undefined, { cause: error });
    }
    return new Map(session.outputNames.map((name) => [name, results[name]!]));
  };
  return {
    types: new Map(session.outputMetadata.map((output) => [output.name, output.isTensor ? output.type : 'no tensor'])),
    // An unknown size comes as -1 in 32 unsigned bits.
    shapes: new Map(session.outputMetadata.map((output) => [
      output.name, output.isTensor ? output.shape.map((d) => (typeof d === 'number' && d >= 2 ** 31 ? '?' : d)) : [],
    ])),
    pass, read,
    async run(inputs) {
      return new Map([...await pass(inputs)].map(([name, tensor]) => [name, read(name, tensor)]));
    },
    close: () => session.release(),
  };
}
