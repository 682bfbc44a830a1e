/**
 * Collects dispatches into one compute pass of one submission: a pass and a submission per kernel cost
 * many times the dispatch itself. Uniform blocks of all dispatches travel in one write per submission.
 */
import { CochleaError } from '../errors.ts';
import type { Gpu } from './gpu.ts';
import { copyToImage } from './images.ts';
import type { Kernel } from './pipelines.ts';
import type { Watched } from './profiler.ts';
import { packFields } from './shader.ts';
import type { DeviceRows, Shard, Tensor } from './tensor.ts';

const SLOT = 256; // the largest alignment of uniform offsets that WebGPU allows an adapter to ask for
const SLOTS = 1024;

/** Workgroups along a dimension of a grid. */
export const maxGroups = 65535;

/** The uniform blocks of one submission, on both sides of the bus. */
export class UniformArena {
  readonly buffer: GPUBuffer;
  readonly host = new DataView(new ArrayBuffer(SLOT * SLOTS));

  constructor(device: GPUDevice) {
    this.buffer = device.createBuffer({ label: 'uniform arena', size: SLOT * SLOTS, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  }
}

export class Recorder {
  readonly gpu: Gpu;
  readonly #arena: UniformArena;
  /** Where a profiler sees what is recorded. */
  #watched: Watched | undefined;
  #encoder: GPUCommandEncoder;
  #pass: GPUComputePassEncoder | undefined;
  #used = 0;
  /** Dispatches recorded since this recorder was made. */
  dispatches = 0;

  constructor(gpu: Gpu, arena: UniformArena) {
    this.gpu = gpu;
    this.#arena = arena;
    this.#encoder = gpu.device.createCommandEncoder();
    this.#watched = gpu.profiler?.watch();
  }

  /**
   * One dispatch. Tensors or shards go by the names that the shader gives its bindings, parameters by the names of
   * its uniform block. `groups` as a number is folded over x and y where it passes 65,535; such kernels
   * compute their index from both. `share` of what the parameters say is done, where this is a piece of it.
   */
  dispatch(kernel: Kernel, tensors: Record<string, Tensor | Shard>, parameters: Record<string, number>, groups: number | readonly [number, number], share = 1): void {
    const [x, y] = typeof groups === 'number' ? fold(groups) : groups;
    if (x === 0 || y === 0) return;
    if (x > maxGroups || y > maxGroups) throw new CochleaError('gpu-error', `${kernel.name}: a grid of ${x} x ${y} workgroups is over the limit`);
    if (this.#used === SLOTS) this.submit();
    for (const { name, kind } of kernel.bindings) if (kind === 'image') this.#refresh(tensors[name]?.buffer);
    for (const { name, kind } of kernel.bindings) if (kind === 'written') this.#written(tensors[name]?.buffer);
    const offset = this.#used++ * SLOT;
    packFields(kernel.name, kernel.fields, parameters, this.#arena.host, offset);
    const group = this.gpu.bindGroup(kernel, tensors, this.#arena.buffer);
    this.dispatches++;
    if (this.#watched) return this.gpu.profiler!.dispatch(this.#watched, this.#encoder, kernel, group, offset, [x, y], tensors, parameters, share);
    this.#pass ??= this.#encoder.beginComputePass();
    this.#pass.setPipeline(kernel.pipeline);
    this.#pass.setBindGroup(0, group, [offset]);
    this.#pass.dispatchWorkgroups(x, y);
  }

  /** Fills with zeros. Clears end the running pass: record them before the dispatches. */
  clear(tensor: Tensor): void {
    this.#endPass();
    for (const { buffer } of tensor.shards) {
      this.#written(buffer);
      this.#transfer('clear', buffer.size, (encoder) => encoder.clearBuffer(buffer));
    }
  }

  /** Copies between buffers; ends the running pass. */
  copy(from: GPUBuffer, to: GPUBuffer, bytes: number, fromOffset = 0, toOffset = 0): void {
    this.#endPass();
    this.#written(to);
    this.#transfer('copy', bytes, (encoder) => encoder.copyBufferToBuffer(from, fromOffset, to, toOffset, bytes));
  }

  /** Copies rows from `firstRow` on of a buffer without padding to the first rows of a tensor that is in one piece. */
  copyRows({ buffer }: DeviceRows, firstRow: number, to: Tensor, rows: number): void {
    const { columns, stride } = to;
    if (stride === columns) return this.copy(buffer, to.buffer, 4 * rows * columns, 4 * firstRow * columns);
    for (let row = 0; row < rows; row++) this.copy(buffer, to.buffer, 4 * columns, 4 * (firstRow + row) * columns, 4 * row * stride);
  }

  /** Hands everything recorded so far to the GPU; the recorder can go on. */
  submit(): void {
    this.gpu.throwIfFailed();
    this.#endPass();
    const encoder = this.#encoder, bytes = new Uint8Array(this.#arena.host.buffer, 0, this.#used * SLOT);
    const submit = (): void => {
      if (bytes.length > 0) this.gpu.device.queue.writeBuffer(this.#arena.buffer, 0, bytes);
      this.gpu.device.queue.submit([encoder.finish()]);
    };
    if (this.#watched) this.gpu.profiler!.submit(this.#watched, encoder, { buffer: this.#arena.buffer, bytes }, submit);
    else submit();
    this.#encoder = this.gpu.device.createCommandEncoder();
    this.#watched = this.gpu.profiler?.watch();
    this.#used = 0;
  }

  /** Brings the image of a buffer up to date. */
  #refresh(buffer: GPUBuffer | undefined): void {
    if (!buffer) return; // bindGroup says what is missing
    const image = this.gpu.images.of(buffer);
    if (!image.stale) return;
    this.#endPass();
    this.#transfer('copy', buffer.size, (encoder) => copyToImage(encoder, buffer, image));
    image.stale = false;
  }

  #written(buffer: GPUBuffer | undefined): void {
    if (buffer) this.gpu.images.written(buffer);
  }

  #transfer(kind: 'clear' | 'copy', bytes: number, run: (encoder: GPUCommandEncoder) => void): void {
    if (this.#watched) this.gpu.profiler!.transfer(this.#watched, this.#encoder, kind, bytes, run);
    else run(this.#encoder);
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}

function fold(groups: number): [number, number] {
  if (groups <= maxGroups) return [groups, 1];
  const y = Math.ceil(groups / maxGroups);
  return [Math.ceil(groups / y), y];
}
