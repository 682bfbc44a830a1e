/**
 * A matrix in GPU memory, row-major. A matrix too large for one storage binding is split by rows into shards;
 * kernels run shard by shard. Rows of float matrices are padded to whole vec4s; the padding is zero and stays so.
 */
import { CochleaError } from '../errors.ts';

export type DType = 'f32' | 'u32';

/** Rows first ... first + rows - 1 of a tensor, in one buffer. */
export interface Shard {
  readonly buffer: GPUBuffer;
  readonly first: number;
  readonly rows: number;
  /** Rows of the whole tensor. */
  readonly of: number;
}

export interface TensorShape {
  label: string;
  dtype: DType;
  rows: number;
  columns: number;
  /** Elements from one row to the next; default: `columns` rounded up to a multiple of four. */
  stride?: number;
  /** Rows of each shard but the last; default: all rows in one. */
  shardRows?: number;
  /** Kernels gather its rows: where they do so from images, each shard has one. */
  gathered?: boolean;
}

/** Rows of float32 without padding in a buffer that somebody else made, on the same device, to be read from. */
export interface DeviceRows {
  readonly buffer: GPUBuffer;
  readonly rows: number;
}

export class Tensor {
  readonly label: string;
  readonly dtype: DType;
  readonly rows: number;
  readonly columns: number;
  readonly stride: number;
  readonly shards: readonly Shard[];
  /** Of the images of its shards. */
  readonly imageBytes: number;

  constructor(shape: TensorShape, shards: readonly Shard[], imageBytes = 0) {
    this.label = shape.label;
    this.dtype = shape.dtype;
    this.rows = shape.rows;
    this.columns = shape.columns;
    this.stride = shape.stride ?? padded(shape.columns);
    this.shards = shards;
    this.imageBytes = imageBytes;
  }

  /** The buffer of a tensor that is in one piece. */
  get buffer(): GPUBuffer {
    if (this.shards.length !== 1) throw new CochleaError('gpu-error', `${this.label} is in ${this.shards.length} shards`);
    return this.shards[0]!.buffer;
  }

  /** Of its buffers and images. */
  get bytes(): number {
    return this.shards.reduce((sum, shard) => sum + shard.buffer.size, this.imageBytes);
  }

  destroy(): void {
    for (const shard of this.shards) shard.buffer.destroy();
  }
}

/** The next multiple of four. */
export function padded(columns: number): number {
  return Math.ceil(columns / 4) * 4;
}

/** Bytes of one shard's buffer: whole vec4s, at least one. */
export function shardBytes(rows: number, stride: number): number {
  return Math.max(16, Math.ceil((rows * stride) / 4) * 16);
}

/** Compact rows of a tensor with its padding between them. */
export function pad(data: Float32Array | Uint32Array, tensor: Tensor): Float32Array | Uint32Array {
  if (tensor.stride === tensor.columns) return data;
  const rows = data.length / tensor.columns;
  const wide = data instanceof Float32Array ? new Float32Array(rows * tensor.stride) : new Uint32Array(rows * tensor.stride);
  for (let row = 0; row < rows; row++) wide.set(data.subarray(row * tensor.columns, (row + 1) * tensor.columns), row * tensor.stride);
  return wide;
}

/** Bytes for people. */
export function readableBytes(bytes: number): string {
  const kibibytes = bytes / 2 ** 10, mebibytes = bytes / 2 ** 20;
  if (mebibytes < 1) return `${kibibytes.toFixed(kibibytes < 10 ? 1 : 0)} KiB`;
  return `${mebibytes.toFixed(mebibytes < 10 ? 1 : 0)} MiB`;
}
