/**
 * One GPU device and everything allocated on it. Errors are never left behind: a validation error, a lost
 * device or a failed allocation makes the next call throw, because the work after it would be garbage.
 */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { Recorder, UniformArena } from './recorder.ts';
import { readLayout, replaceConstants, type ShaderField, type ShaderSource } from './shader.ts';
import { padded, type Shard, shardBytes, Tensor, type TensorShape } from './tensor.ts';

export interface GpuOptions {
  /** Treats the adapter as if its largest storage binding were this many bytes. Tests force sharding with it. */
  maxBindingBytes?: number;
}

export interface AdapterSummary {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  /** A CPU pretending to be a GPU: SwiftShader, lavapipe, WARP. */
  software: boolean;
}

/** A compiled shader with the constants it was compiled with. */
export interface Kernel {
  readonly name: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly bindings: readonly { name: string; binding: number; writable: boolean }[];
  readonly fields: readonly ShaderField[];
  readonly id: number;
}

// Dawn must stay loaded while any device lives.
let openDevices = 0;

export class Gpu {
  readonly device: GPUDevice;
  readonly adapter: AdapterSummary;
  /** WebGPU features that the adapter has, sorted, whether the device uses them or not. */
  readonly features: readonly string[];
  /** Largest storage binding in bytes; larger tensors are sharded. */
  readonly bindingBytes: number;
  /** Bytes of all live tensors, by label. */
  readonly allocated = new Map<string, number>();
  readonly #kernels = new Map<string, Kernel>();
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  readonly #bufferIds = new WeakMap<GPUBuffer, number>();
  readonly #arena: UniformArena;
  #nextId = 0;
  #failure: CochleaError | undefined;
  #disposed = false;

  private constructor(device: GPUDevice, adapter: AdapterSummary, features: readonly string[], bindingBytes: number) {
    this.device = device;
    this.adapter = adapter;
    this.features = features;
    this.bindingBytes = bindingBytes;
    this.#arena = new UniformArena(device);
    openDevices++;
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      const memory = typeof GPUOutOfMemoryError !== 'undefined' && error instanceof GPUOutOfMemoryError;
      this.#failure ??= new CochleaError(memory ? 'gpu-memory' : 'gpu-error', `the GPU reported: ${oneLine(error.message)}`);
    });
    void device.lost.then((info) => {
      if (!this.#disposed) this.#failure ??= new CochleaError('gpu-lost', `the GPU device was lost (${oneLine(info.message) || info.reason})`);
    });
  }

  /** Opens the runtime's preferred adapter with all the memory it offers. Throws `gpu-missing` when there is none. */
  static async open(options: GpuOptions = {}): Promise<Gpu> {
    const entry = await runtime.gpu();
    const adapter = await entry?.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) throw new CochleaError('gpu-missing', 'no WebGPU adapter was found', 'install a Vulkan driver, or run through the cochlea command, which brings a software adapter');
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    const device = await adapter.requestDevice({ label: 'cochlea', requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } });
    const bindingBytes = Math.min(maxStorageBufferBindingSize, maxBufferSize, options.maxBindingBytes ?? Infinity);
    return new Gpu(device, summarise(adapter), [...adapter.features].sort(), Math.floor(bindingBytes / 256) * 256);
  }

  /**
   * Allocates; zero-filled. A tensor larger than one binding must say by `shardRows` how it may be split.
   * Running out of memory is reported by the `allocate` around it.
   */
  tensor(shape: TensorShape): Tensor {
    this.throwIfFailed();
    const stride = shape.stride ?? padded(shape.columns);
    const shardRows = Math.max(1, shape.shardRows ?? shape.rows);
    const shards: Shard[] = [];
    for (let first = 0; first < Math.max(1, shape.rows); first += shardRows) {
      const rows = Math.min(shardRows, shape.rows - first);
      const size = shardBytes(rows, stride);
      if (size > this.bindingBytes) {
        throw new CochleaError('gpu-memory', `${shape.label} needs a binding of ${megabytes(size)}; this adapter binds at most ${megabytes(this.bindingBytes)}`);
      }
      const buffer = this.device.createBuffer({ label: shape.label, size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
      shards.push({ buffer, first, rows });
    }
    const tensor = new Tensor(shape, shards);
    this.allocated.set(shape.label, (this.allocated.get(shape.label) ?? 0) + tensor.bytes);
    return tensor;
  }

  free(tensor: Tensor): void {
    const left = (this.allocated.get(tensor.label) ?? 0) - tensor.bytes;
    if (left > 0) this.allocated.set(tensor.label, left);
    else this.allocated.delete(tensor.label);
    tensor.destroy();
    this.#bindGroups.clear(); // they hold on to the buffers
  }

  get allocatedBytes(): number {
    let sum = 0;
    for (const bytes of this.allocated.values()) sum += bytes;
    return sum;
  }

  /** Runs allocations and throws `gpu-memory`, with what was asked for, when the adapter could not give it. */
  async allocate<T>(what: string, build: () => T): Promise<T> {
    this.device.pushErrorScope('out-of-memory');
    this.device.pushErrorScope('validation');
    let result: T;
    let invalid: GPUError | null;
    let memory: GPUError | null;
    try {
      result = build();
    } finally {
      invalid = await this.device.popErrorScope();
      memory = await this.device.popErrorScope();
    }
    this.throwIfFailed();
    if (invalid ?? memory) {
      const plan = [...this.allocated].sort((a, b) => b[1] - a[1]).map(([label, bytes]) => `${label} ${megabytes(bytes)}`).join(', ');
      throw new CochleaError('gpu-memory', `${what} does not fit on ${this.adapter.description || 'this adapter'}: ${megabytes(this.allocatedBytes)} in all (${plan})`,
        'lower d_sae or the batch size');
    }
    return result;
  }

  /** The pipeline of a shader with some of its constants replaced; compiled once. */
  kernel(shader: ShaderSource, constants: Record<string, number> = {}): Kernel {
    const key = `${shader.name} ${Object.entries(constants).map(([name, value]) => `${name}=${value}`).sort().join(' ')}`;
    const known = this.#kernels.get(key);
    if (known) return known;
    const { bindings, fields } = readLayout(shader);
    const module = this.device.createShaderModule({ label: shader.name, code: replaceConstants(shader, constants) });
    const layout = this.device.createBindGroupLayout({
      label: shader.name,
      entries: [
        { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: fields.length * 4 } },
        ...bindings.map(({ binding, writable }) => ({
          binding, visibility: GPUShaderStage.COMPUTE, buffer: { type: writable ? 'storage' : 'read-only-storage' } as GPUBufferBindingLayout,
        })),
      ],
    });
    const pipeline = this.device.createComputePipeline({
      label: shader.name,
      layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main' },
    });
    const kernel = { name: shader.name, pipeline, layout, bindings, fields, id: this.#nextId++ };
    this.#kernels.set(key, kernel);
    return kernel;
  }

  /** The bind group of a kernel with these buffers; made once. */
  bindGroup(kernel: Kernel, tensors: Record<string, Tensor | Shard>, uniforms: GPUBuffer): GPUBindGroup {
    let key = `${kernel.id}`;
    const entries: GPUBindGroupEntry[] = [{ binding: 0, resource: { buffer: uniforms, offset: 0, size: Math.ceil(kernel.fields.length / 4) * 16 } }];
    for (const { name, binding } of kernel.bindings) {
      const given = tensors[name];
      if (!given) throw new CochleaError('gpu-error', `${kernel.name}: nothing is bound to ${name}`);
      const { buffer } = given;
      let id = this.#bufferIds.get(buffer);
      if (id === undefined) this.#bufferIds.set(buffer, id = this.#nextId++);
      key += ` ${id}`;
      entries.push({ binding, resource: { buffer } });
    }
    let group = this.#bindGroups.get(key);
    if (!group) this.#bindGroups.set(key, group = this.device.createBindGroup({ label: kernel.name, layout: kernel.layout, entries }));
    return group;
  }

  record(): Recorder {
    this.throwIfFailed();
    return new Recorder(this, this.#arena);
  }

  /** Writes rows from `firstRow` on; `data` is compact ([rows, columns]) and padded on the way where the stride asks for it. */
  upload(tensor: Tensor, data: Float32Array | Uint32Array, firstRow = 0): void {
    this.throwIfFailed();
    const rows = data.length / tensor.columns;
    if (!Number.isInteger(rows) || firstRow + rows > tensor.rows) {
      throw new CochleaError('gpu-error', `${tensor.label} [${tensor.rows}, ${tensor.columns}] cannot take ${data.length} numbers from row ${firstRow} on`);
    }
    for (const shard of tensor.shards) {
      const begin = Math.max(shard.first, firstRow);
      const end = Math.min(shard.first + shard.rows, firstRow + rows);
      if (begin >= end) continue;
      const piece = data.subarray((begin - firstRow) * tensor.columns, (end - firstRow) * tensor.columns);
      this.device.queue.writeBuffer(shard.buffer, (begin - shard.first) * tensor.stride * 4, pad(piece, tensor) as BufferSource);
    }
  }

  /** Reads a whole tensor back, compact. */
  async download(tensor: Tensor): Promise<Float32Array | Uint32Array> {
    const result = tensor.dtype === 'f32' ? new Float32Array(tensor.rows * tensor.columns) : new Uint32Array(tensor.rows * tensor.columns);
    for (const shard of tensor.shards) await this.#downloadShard(tensor, shard, result);
    return result;
  }

  async downloadFloats(tensor: Tensor): Promise<Float32Array> {
    return (await this.download(tensor)) as Float32Array;
  }

  async downloadIntegers(tensor: Tensor): Promise<Uint32Array> {
    return (await this.download(tensor)) as Uint32Array;
  }

  async #downloadShard(tensor: Tensor, shard: Shard, into: Float32Array | Uint32Array): Promise<void> {
    const bytes = shardBytes(shard.rows, tensor.stride);
    const mapped = await this.readBuffer(shard.buffer, bytes);
    const words = tensor.dtype === 'f32' ? new Float32Array(mapped) : new Uint32Array(mapped);
    for (let row = 0; row < shard.rows; row++) {
      into.set(words.subarray(row * tensor.stride, row * tensor.stride + tensor.columns), (shard.first + row) * tensor.columns);
    }
  }

  /** Copies a buffer's first bytes to the host, after everything submitted so far. */
  async readBuffer(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    this.throwIfFailed();
    const staging = this.device.createBuffer({ label: 'staging', size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
    this.device.queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(GPUMapMode.READ);
      this.throwIfFailed();
      return staging.getMappedRange().slice(0);
    } catch (error) {
      this.throwIfFailed();
      throw new CochleaError('gpu-lost', `reading back from the GPU failed: ${(error as Error).message}`, undefined, { cause: error });
    } finally {
      staging.destroy();
    }
  }

  /** Resolves when the GPU has done everything submitted so far. */
  async idle(): Promise<void> {
    await this.device.queue.onSubmittedWorkDone();
    this.throwIfFailed();
  }

  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
    if (this.#disposed) throw new CochleaError('gpu-lost', 'this GPU device was disposed of');
  }

  /** Frees the device and everything on it. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.allocated.clear();
    this.#bindGroups.clear();
    this.#kernels.clear();
    this.device.destroy();
    if (--openDevices === 0) runtime.releaseGpu();
  }
}

function pad(data: Float32Array | Uint32Array, tensor: Tensor): Float32Array | Uint32Array {
  if (tensor.stride === tensor.columns) return data;
  const rows = data.length / tensor.columns;
  const wide = data instanceof Float32Array ? new Float32Array(rows * tensor.stride) : new Uint32Array(rows * tensor.stride);
  for (let row = 0; row < rows; row++) wide.set(data.subarray(row * tensor.columns, (row + 1) * tensor.columns), row * tensor.stride);
  return wide;
}

function summarise(adapter: GPUAdapter): AdapterSummary {
  const { vendor, architecture, device, description } = adapter.info;
  const software = adapter.info.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|softpipe|basic render/i.test(`${architecture} ${device} ${description}`);
  return { vendor, architecture, device, description, software };
}

/** A driver's message, which may run over many lines, on one. */
function oneLine(message: string): string {
  return message.replace(/\s+/g, ' ').trim().slice(0, 600);
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}
