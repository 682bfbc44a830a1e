/**
 * One GPU device and everything allocated on it. Errors are never left behind: a validation error, a lost
 * device or a failed allocation makes the next call throw, because the work after it would be garbage.
 */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { type AdapterSummary, oneLine, openDevice, type OpenedDevice, type Subgroups, unusedShard } from './device.ts';
import { imageBytes, Images } from './images.ts';
import { type Kernel, Pipelines } from './pipelines.ts';
import type { Profiler } from './profiler.ts';
import { Recorder, UniformArena } from './recorder.ts';
import type { ShaderSource } from './shader.ts';
import { pad, padded, readableBytes, type Shard, shardBytes, Tensor, type TensorShape } from './tensor.ts';

export interface GpuOptions {
  /** Treats the adapter as if its largest storage binding were this many bytes. Tests force sharding with it. */
  maxBindingBytes?: number;
  /** Treats the adapter as if it had this many bytes of memory: what goes past them fails as on an adapter that has no more. Tests run out of memory with it. */
  memoryBytes?: number;
  /** Asks for timestamps, where the adapter has them, so that a Profiler can use them. */
  profile?: boolean;
}

/** What `allocate` sees of a build. */
interface Building {
  made: Tensor[];
  /** Of the memory that GpuOptions allow. */
  shortage: string | undefined;
}

// Dawn must stay loaded while any device lives.
let openDevices = 0;

export class Gpu {
  readonly adapter: AdapterSummary;
  /** WebGPU features that the adapter has, sorted, whether the device uses them or not. */
  readonly features: readonly string[];
  /** Largest storage binding in bytes; larger tensors are sharded. */
  readonly bindingBytes: number;
  /** What subgroups there are for kernels that use them. */
  readonly subgroups: Subgroups | undefined;
  /** The variant that runs of each kernel family and class of shapes, where there are several: they add in different orders, so their bits may differ. */
  readonly variants = new Map<string, string>();
  /**
   * Multiply-adds of a dense product, counted twice, that one dispatch may have so that it ends within about 100 ms on this adapter: a driver's watchdog
   * stops what takes seconds. Tests take work in pieces with it.
   */
  dispatchFlops: number;
  /** Whether kernels that gather rows read them from images (see images.ts). */
  gathersImages: boolean;
  /** Bytes of all live tensors, and of the images of those that say `gathered`, by label. */
  readonly allocated = new Map<string, number>();
  /** Watches what is recorded, compiled, uploaded and read back; see profiler.ts. */
  profiler: Profiler | undefined;
  readonly #memoryBytes: number;
  readonly #profile: boolean;
  readonly #pipelines = new Pipelines(this);
  readonly #tensors = new Set<Tensor>();
  #device: GPUDevice;
  #arena: UniformArena;
  #images: Images;
  #unused: Shard;
  #workShare = 1;
  #stagingBytes = 0;
  /** What `plan` collects while it runs, and `allocate`. */
  #planned: Tensor[] | undefined;
  #building: Building | undefined;
  #failure: CochleaError | undefined;
  #disposed = false;

  private constructor({ device, adapter, features, subgroups }: OpenedDevice, { maxBindingBytes = Infinity, memoryBytes = Infinity, profile = false }: GpuOptions) {
    const { maxStorageBufferBindingSize, maxBufferSize } = device.limits;
    this.adapter = adapter;
    this.features = features;
    this.subgroups = subgroups;
    this.bindingBytes = Math.floor(Math.min(maxStorageBufferBindingSize, maxBufferSize, maxBindingBytes) / 256) * 256;
    this.dispatchFlops = adapter.software ? (subgroups?.size === 8 ? 3e9 : 2e8) : 2e10; // at 30, 2 and 200 GFLOP/s
    this.gathersImages = adapter.software && subgroups?.size === 8;
    this.#memoryBytes = memoryBytes;
    this.#profile = profile;
    this.#device = device;
    this.#arena = new UniformArena(device);
    this.#images = new Images(device);
    this.#unused = unusedShard(device);
    this.#watch(device);
    openDevices++;
  }

  /** Opens the runtime's preferred adapter with all the memory it offers. Throws `gpu-missing` when there is none. */
  static async open(options: GpuOptions = {}): Promise<Gpu> {
    return new Gpu(await openDevice(options.profile ?? false), options);
  }

  /**
   * Puts a new device of the same adapter in the place of this one, which was lost or ran out of memory. All that was on it is gone: tensors (also
   * those of others who share this Gpu), recorders and pipelines. `workShare` takes the place of the present one. Throws `gpu-lost`
   * when the adapter is not there any more: another one would give other bits.
   */
  async reopen(workShare = this.#workShare): Promise<void> {
    if (this.#disposed) this.throwIfFailed();
    this.#device.destroy(); // before the new one is made: one that ran out of memory still holds it
    this.#forget();
    const { device, adapter } = await openDevice(this.#profile).catch((error: unknown) => {
      throw new CochleaError('gpu-lost', `${this.#failure?.message ?? 'the GPU device was lost'}, and there is no new one: ${(error as Error).message}`, undefined, { cause: error });
    });
    const nameOf = ({ software: _, ...name }: AdapterSummary): string => JSON.stringify(name);
    if (nameOf(adapter) !== nameOf(this.adapter)) {
      device.destroy();
      throw new CochleaError('gpu-lost', `the adapter ${this.adapter.description || this.adapter.device} is gone; what there is now is ${adapter.description || adapter.device}`);
    }
    this.#device = device;
    this.#arena = new UniformArena(device);
    this.#images = new Images(device);
    this.#unused = unusedShard(device);
    this.#workShare = workShare;
    this.#failure = undefined;
    this.#watch(device);
  }

  /** For a writable binding that a variant of a shader does not use: nothing else may be bound twice. */
  get unused(): Shard {
    return this.#unused;
  }

  get images(): Images {
    return this.#images;
  }

  get device(): GPUDevice {
    return this.#device;
  }

  /** Of the rows that a piece of work could take at a time, the share that it is to take: less than 1 after the memory ran out. Results do not depend on it. */
  get workShare(): number {
    return this.#workShare;
  }

  #watch(device: GPUDevice): void {
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      const memory = typeof GPUOutOfMemoryError !== 'undefined' && error instanceof GPUOutOfMemoryError;
      if (device === this.#device) this.#failure ??= new CochleaError(memory ? 'gpu-memory' : 'gpu-error', `the GPU reported: ${oneLine(error.message)}`);
    });
    void device.lost.then((info) => {
      if (this.#disposed || device !== this.#device) return;
      this.#failure ??= new CochleaError('gpu-lost', `the GPU device was lost (${oneLine(info.message) || info.reason})`);
    });
  }

  /**
   * Allocates; zero-filled. A tensor larger than one binding must say by `shardRows` how it may be split.
   * Running out of memory is reported by the `allocate` around it.
   */
  tensor(shape: TensorShape): Tensor {
    this.throwIfFailed();
    const planned = this.#planned;
    const stride = shape.stride ?? padded(shape.columns);
    const shardRows = Math.max(1, shape.shardRows ?? shape.rows);
    const shards: Shard[] = [];
    for (let first = 0; first < Math.max(1, shape.rows); first += shardRows) {
      const rows = Math.min(shardRows, shape.rows - first);
      const size = shardBytes(rows, stride);
      if (planned) {
        shards.push({ buffer: { size } as GPUBuffer, first, rows, of: shape.rows });
        continue;
      }
      if (size > this.bindingBytes) {
        throw new CochleaError('gpu-memory', `${shape.label} needs a binding of ${readableBytes(size)}; this adapter binds at most ${readableBytes(this.bindingBytes)}`);
      }
      const buffer = this.#buffer(shape.label, size, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST);
      shards.push({ buffer, first, rows, of: shape.rows });
    }
    const imaged = shape.gathered && this.gathersImages ? shards : [];
    const tensor = new Tensor(shape, shards, imaged.reduce((sum, { buffer }) => sum + imageBytes(buffer.size), 0));
    if (planned) {
      planned.push(tensor);
      return tensor;
    }
    this.#charge(`the image of ${shape.label}`, tensor.imageBytes);
    for (const { buffer } of imaged) this.images.of(buffer);
    this.#tensors.add(tensor);
    this.#building?.made.push(tensor);
    this.allocated.set(shape.label, (this.allocated.get(shape.label) ?? 0) + tensor.bytes);
    return tensor;
  }

  /** Frees a tensor; one that is free already stays so. */
  free(tensor: Tensor): void {
    if (this.#tensors.delete(tensor)) {
      const left = (this.allocated.get(tensor.label) ?? 0) - tensor.bytes;
      if (left > 0) this.allocated.set(tensor.label, left);
      else this.allocated.delete(tensor.label);
    }
    for (const { buffer } of tensor.shards) this.images.free(buffer);
    tensor.destroy();
    this.#pipelines.unbind();
  }

  #buffer(label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.#charge(label, size);
    return this.#device.createBuffer({ label, size, usage });
  }

  /** Notes that there is no memory for something, of the memory that GpuOptions allow. */
  #charge(label: string, size: number): void {
    if (this.allocatedBytes + this.#stagingBytes + size > this.#memoryBytes) {
      const shortage = `no memory for ${label}: ${size} bytes`;
      if (this.#building) this.#building.shortage ??= shortage;
      else this.#failure ??= new CochleaError('gpu-memory', `the GPU reported: ${shortage}`);
    }
  }

  /** What a build that only allocates would allocate: it runs as it will, but its tensors have sizes and no memory. */
  plan<T>(build: () => T): { built: T; tensors: readonly Tensor[] } {
    const tensors: Tensor[] = this.#planned = [];
    try {
      return { built: build(), tensors };
    } finally {
      this.#planned = undefined;
    }
  }

  get allocatedBytes(): number {
    let sum = 0;
    for (const bytes of this.allocated.values()) sum += bytes;
    return sum;
  }

  /** Runs allocations and throws `gpu-memory`, with what was asked for, when the adapter could not give it: then nothing of it stays allocated. */
  async allocate<T>(what: string, build: () => T): Promise<T> {
    const device = this.#device;
    device.pushErrorScope('out-of-memory');
    device.pushErrorScope('validation');
    const building: Building = this.#building = { made: [], shortage: undefined };
    const errors = (): Promise<(GPUError | null)[]> => {
      this.#building = undefined;
      return Promise.all([device.popErrorScope(), device.popErrorScope()]);
    };
    let result: T;
    try {
      result = build();
    } catch (error) {
      await errors();
      building.made.forEach((tensor) => this.free(tensor));
      throw error;
    }
    const [invalid, memory] = await errors();
    this.throwIfFailed();
    if (invalid ?? memory ?? building.shortage) {
      const largest = [...this.allocated].sort((a, b) => b[1] - a[1]).slice(0, 6).map(([label, bytes]) => `${label} ${readableBytes(bytes)}`).join(', ');
      const error = new CochleaError('gpu-memory', `${what} does not fit on ${this.adapter.description || 'this adapter'}: ${readableBytes(this.allocatedBytes)} in all (the largest: ${largest})`,
        'lower d_sae or the batch size');
      building.made.forEach((tensor) => this.free(tensor));
      throw error;
    }
    return result;
  }

  /** The pipeline of a shader with some of its constants replaced; compiled once. */
  kernel(shader: ShaderSource, constants: Record<string, number> = {}): Kernel {
    return this.#pipelines.kernel(shader, constants);
  }

  /** The bind group of a kernel with these tensors; made once. */
  bindGroup(kernel: Kernel, tensors: Record<string, Tensor | Shard>, uniforms: GPUBuffer): GPUBindGroup {
    return this.#pipelines.bindGroup(kernel, tensors, uniforms);
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
      const bytes = pad(piece, tensor) as BufferSource, at = (begin - shard.first) * tensor.stride * 4;
      this.images.written(shard.buffer);
      if (!this.profiler?.upload(shard.buffer, at, bytes)) this.device.queue.writeBuffer(shard.buffer, at, bytes);
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
    const read = this.profiler && await this.profiler.beginRead(bytes);
    const device = this.#device;
    const staging = this.#buffer('a copy to read back', bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    this.#stagingBytes += bytes;
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    try {
      await this.patiently(staging.mapAsync(GPUMapMode.READ));
      this.throwIfFailed();
      read?.end();
      return staging.getMappedRange().slice(0);
    } catch (error) {
      throw await this.#whatHappened(device, error);
    } finally {
      staging.destroy();
      this.#stagingBytes -= bytes;
    }
  }

  /** Resolves when the GPU has done everything submitted so far. */
  async idle(): Promise<void> {
    await this.profiler?.flush();
    await this.patiently(this.device.queue.onSubmittedWorkDone());
    this.throwIfFailed();
  }

  /**
   * Waits for the GPU. A software adapter computes on the cores that waiting must leave alone; on hardware a millisecond counts. Throws what happened to the
   * device where runtimes only say that the wait is over.
   */
  async patiently<T>(work: Promise<T>): Promise<T> {
    const device = this.#device;
    try {
      return await (this.adapter.software ? runtime.patiently(work) : work);
    } catch (error) {
      throw await this.#whatHappened(device, error);
    }
  }

  /** What a runtime's error in waiting for the GPU comes from. */
  async #whatHappened(device: GPUDevice, error: unknown): Promise<CochleaError> {
    if (error instanceof CochleaError) return error;
    await Promise.race([device.lost, new Promise((resolve) => setTimeout(resolve, 50))]); // wgpu says so a moment later
    try {
      this.throwIfFailed();
    } catch (failure) {
      return failure as CochleaError;
    }
    return new CochleaError('gpu-lost', `waiting for the GPU failed: ${oneLine((error as Error).message) || (error as Error).name}`, undefined, { cause: error });
  }

  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
    if (this.#disposed) throw new CochleaError('gpu-lost', 'this GPU device was disposed of');
  }

  #forget(): void {
    this.#pipelines.clear();
    this.#tensors.clear();
    this.allocated.clear();
  }

  /** Frees the device and everything on it. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#forget();
    this.#device.destroy();
    if (--openDevices === 0) runtime.releaseGpu();
  }
}
