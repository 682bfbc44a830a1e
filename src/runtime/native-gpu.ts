import process from 'node:process';
import { CochleaError } from '../errors.ts';

/** What has to be arranged in this process before the GPU entry point is opened. */
export interface GpuSetup {
  /** Environment variables that the Vulkan loader or wgpu reads when it makes its instance. */
  readonly env: Readonly<Record<string, string>>;
  /** A Vulkan loader to load before Dawn or wgpu looks for one. */
  readonly loader?: string;
  /** Dawn only: takes the adapter of this exact name instead of the first. */
  readonly adapter?: string;
}

interface DenoScope {
  Deno?: { dlopen(path: string, symbols: Record<string, never>): unknown };
}

const { Deno } = globalThis as DenoScope;
let heldLoader: unknown;

/**
 * dlopen('libvulkan.so.1'), which Dawn and wgpu call, is answered with a library of that name that the
 * process has loaded already. So loading ours first puts it in place without LD_LIBRARY_PATH, which would
 * have to be set before the process starts.
 */
function preload(library: string): void {
  if (Deno) {
    heldLoader = Deno.dlopen(library, {});
    return;
  }
  const lazy = 0x1;
  const noDelete = 0x1000; // Linux's RTLD_NODELETE: stays loaded though Node, finding no addon in it, closes it again
  try {
    process.dlopen({ exports: {} }, library, lazy | noDelete);
  } catch (error) {
    if (!(error as Error).message.startsWith('Module did not self-register')) throw error;
  }
}

/** Opens Dawn (Node) or wgpu (Deno) under a setup; the caller keeps the result reachable while it uses it. */
export async function openNativeGpu(setup: GpuSetup): Promise<GPU> {
  Object.assign(process.env, setup.env);
  if (setup.loader && heldLoader === undefined) {
    try {
      preload(setup.loader);
      heldLoader ??= setup.loader;
    } catch (error) {
      throw new CochleaError('gpu-missing', `the Vulkan loader ${setup.loader} cannot be loaded: ${(error as Error).message}`, undefined, { cause: error });
    }
  }
  if (Deno) return globalThis.navigator.gpu;
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    // Dawn rounds timestamps to 65.5 microseconds, as a browser must. Only profiles ask for any.
    const exact = 'disable-dawn-features=timestamp_quantization';
    return create(setup.adapter === undefined ? [exact] : [exact, `adapter=${setup.adapter}`]);
  } catch (error) {
    throw new CochleaError('gpu-missing', `Dawn (the npm package webgpu) cannot be loaded: ${(error as Error).message}`,
      'run npm install on this machine; on Linux it needs glibc 2.34 or later', { cause: error });
  }
}

const adapted = new WeakSet<object>();

/**
 * wgpu has subgroups, but not as a page has them: not the line that enables them, and none in workgroups of two dimensions; it hides them here. Dawn's binding
 * takes no bytes of shared memory, and Node has no navigator.gpu.
 */
export function likeAPage(device: GPUDevice, entry: GPU): void {
  if (Deno) {
    if (adapted.has(device)) return;
    adapted.add(device);
    Object.defineProperty(device, 'features', { value: new Set([...device.features].filter((name) => name as string !== 'subgroups')) });
    return;
  }
  const scope = globalThis as { navigator?: { gpu?: GPU } };
  if (!scope.navigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true, writable: true });
  if (scope.navigator!.gpu !== entry) Object.defineProperty(scope.navigator!, 'gpu', { value: entry, configurable: true });
  const { prototype } = GPUQueue;
  if (adapted.has(prototype)) return;
  adapted.add(prototype);
  const write = prototype.writeBuffer;
  prototype.writeBuffer = function (buffer, at, data, from = 0, size) {
    const isView = ArrayBuffer.isView(data), memory = isView ? data.buffer : data;
    if (!(memory instanceof SharedArrayBuffer)) {
      const own = data as BufferSource;
      return size === undefined ? write.call(this, buffer, at, own, from) : write.call(this, buffer, at, own, from, size);
    }
    // Offset and size count the elements of a view.
    const each = isView && 'BYTES_PER_ELEMENT' in data ? Number(data.BYTES_PER_ELEMENT) : 1;
    const first = (isView ? data.byteOffset : 0) + from * each, bytes = size === undefined ? (isView ? data.byteLength : memory.byteLength) - from * each : size * each;
    write.call(this, buffer, at, new Uint8Array(memory, first, bytes).slice());
  };
}
