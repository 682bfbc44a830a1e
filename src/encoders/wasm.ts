/** ONNX Runtime's build for WebAssembly: it comes with this package and runs everywhere. */
import type * as Ort from 'onnxruntime-web';
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { Created } from './session.ts';
import { type DetachedModel, isStored, type StoredRange, type Weight } from './weights.ts';

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

/**
 * What looks to ONNX Runtime like files in memory. It copies each once, by `subarray`, into its own memory: the bytes are read from the disk then, all into
 * the same array, so that they are never held twice. `unread` is why they could not be, of which ONNX Runtime says nothing.
 */
export function virtualFiles(weights: readonly Weight[]): { readonly files: { path: string; data: Uint8Array }[]; readonly unread: unknown } {
  const most = weights.reduce((largest, { data }) => Math.max(largest, isStored(data) ? data.length : 0), 0);
  let room: Uint8Array | undefined, unread: unknown;
  const late = ({ file, offset, length }: StoredRange): Uint8Array => {
    const read = (from: number, to: number): Uint8Array => {
      room ??= new Uint8Array(most);
      const bytes = room.subarray(0, to - from);
      try {
        runtime.files.fillNow(bytes, file, offset + from);
      } catch (error) {
        unread ??= error;
        throw error;
      }
      return bytes;
    };
    return Object.defineProperties(new Uint8Array(0), { byteLength: { value: length }, subarray: { value: read } });
  };
  return {
    files: weights.map(({ path, data }) => ({ path, data: isStored(data) ? late(data) : data })),
    get unread() {
      return unread;
    },
  };
}

export async function createWasm({ bytes, weights, size }: DetachedModel, threads: number | undefined): Promise<Created> {
  const loaded = await loadRuntime(threads);
  const { ort, memory } = loaded;
  const external = virtualFiles(weights);
  const create = (): Promise<Ort.InferenceSession> => ort.InferenceSession.create(bytes, {
    executionProviders: ['wasm'],
    logSeverityLevel: 4,
    externalData: external.files,
    ...(size >= prepackBelow && { extra: { session: { disable_prepacking: '1' } } }),
  });
  try {
    const session = await (memory ? withMemory(memory, create) : create());
    loaded.memory = undefined; // the module has it now
    return { ort, session };
  } catch (error) {
    throw external.unread ?? error;
  }
}
