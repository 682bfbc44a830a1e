/** Sessions of ONNX Runtime: everything about how they are fed and freed. Its builds, and how each is set up, are in wasm.ts, native.ts and webgpu.ts. */
import type * as Ort from 'onnxruntime-web';
import type { Backend } from './backend.ts';
import { CochleaError } from '../errors.ts';
import { createNative } from './native.ts';
import { createWasm } from './wasm.ts';
import { createWebgpu } from './webgpu.ts';
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
  /** The same, leaving outputs where they are: of the GPU backend alone. */
  readonly runOnGpu?: (inputs: Readonly<Record<string, RunInput>>) => Promise<ReadonlyMap<string, GpuOutput>>;
  close(): Promise<void>;
}

/** An output in a buffer, float32, which may be longer: the bytes behind those of `dims` mean nothing. */
export interface GpuOutput {
  readonly buffer: GPUBuffer;
  readonly dims: readonly number[];
  /** Gives the buffer back. Work that was submitted before still reads what is in it. */
  free(): void;
}

/** What a build of ONNX Runtime makes of a model. Both builds speak the same interface. */
export interface Created {
  ort: Pick<typeof Ort, 'Tensor'>;
  session: Ort.InferenceSession;
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
 * Opens a session on a model. The same input gives the same bits on every run, and with any number of threads.
 * @param threads of one run, at most 4 unless said otherwise; those of the wasm build are fixed by the first session of the process
 * @param backend the wasm build unless said otherwise
 * @param device of the GPU backend, which needs one
 * @throws CochleaError `model` when ONNX Runtime refuses the model, `runtime` when threads were chosen differently before
 */
export async function openSession(model: DetachedModel, file: string, threads?: number, backend: Backend['name'] = 'wasm', device?: GPUDevice): Promise<Session> {
  if (threads !== undefined && (!Number.isInteger(threads) || threads < 1 || threads > 64)) {
    throw new CochleaError('usage', `threads must be a whole number from 1 to 64, not ${threads}`);
  }
  let created: Created;
  try {
    if (backend === 'gpu') created = await createWebgpu(model, device);
    else created = await (backend === 'native' ? createNative : createWasm)(model, threads);
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw new CochleaError('model', `${file}: ONNX Runtime cannot load it (${reason(error)})`, undefined, { cause: error });
  }
  const { ort, session } = created;
  /** Float16Array where the runtime has it, the bare bits otherwise. */
  const read = (name: string, { data, dims, type }: HeldTensor): RunOutput => {
    if (type === 'float32') return { data: data as Float32Array, dims };
    if (type !== 'float16') throw new CochleaError('hook', `${file}: tensor '${name}' holds ${type}, not numbers to train on`);
    return { data: data instanceof Uint16Array ? halfToFloat(data) : Float32Array.from(data as unknown as ArrayLike<number>), dims };
  };
  const inHalf = new Set(session.inputMetadata.filter((input) => input.isTensor && input.type === 'float16').map(({ name }) => name));
  const runOnce = async (inputs: Readonly<Record<string, RunInput | HeldTensor>>): Promise<Readonly<Record<string, Ort.Tensor>>> => {
    const feeds: Record<string, Ort.Tensor> = {};
    for (const [name, input] of Object.entries(inputs)) {
      const { data, dims } = input;
      feeds[name] = 'type' in input ? new ort.Tensor(input.type as 'float32', data as Float32Array, dims)
        : !(data instanceof Float32Array) ? new ort.Tensor('int64', data as BigInt64Array, dims)
        : inHalf.has(name) ? new ort.Tensor('float16', floatToHalf(data), dims) : new ort.Tensor('float32', data, dims);
    }
    try {
      return await session.run(feeds);
    } catch (error) {
      throw new CochleaError('model', `${file}: ONNX Runtime failed (${reason(error)})`, undefined, { cause: error });
    }
  };
  /** What is on the GPU is brought here. */
  const fetched = async (tensor: Ort.Tensor): Promise<HeldTensor> => {
    const { dims, type, location } = tensor;
    if (location !== 'gpu-buffer') return tensor;
    const data = await tensor.getData();
    tensor.dispose();
    return { data: data as HeldTensor['data'], dims, type };
  };
  const pass = async (inputs: Readonly<Record<string, RunInput | HeldTensor>>): Promise<ReadonlyMap<string, HeldTensor>> => {
    const results = await runOnce(inputs), held = new Map<string, HeldTensor>();
    for (const name of session.outputNames) held.set(name, await fetched(results[name]!));
    return held;
  };
  const onGpu = (name: string, tensor: Ort.Tensor): GpuOutput => {
    if (tensor.type !== 'float32') throw new CochleaError('hook', `${file}: tensor '${name}' holds ${tensor.type}, which stays on the GPU only as float32`);
    return { buffer: tensor.gpuBuffer as GPUBuffer, dims: tensor.dims, free: () => tensor.dispose() };
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
    ...(backend === 'gpu' && {
      async runOnGpu(inputs) {
        const results = await runOnce(inputs);
        return new Map(session.outputNames.map((name) => [name, onGpu(name, results[name]!)]));
      },
    }),
    close: () => session.release(),
  };
}
