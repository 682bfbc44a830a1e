/** How an SAE's tensors are cut to fit an adapter. */
import { CochleaError } from '../errors.ts';
import { type Gpu, padded, type Tensor } from '../gpu/index.ts';
import { columnBlock } from '../kernels/index.ts';

/** Scratch for pre-activations never grows past this, however large the adapter. */
const scratchBytes = 256 * 2 ** 20;

/**
 * Latents per shard, a multiple of 128, such that a shard of the weights, and of a bitmap over `bitmapRows` rows,
 * fits one binding.
 */
export function shardRows(gpu: Gpu, dIn: number, dSae: number, bitmapRows = 0): number {
  const bytesPerLatent = Math.max(padded(dIn) * 4, padded(Math.ceil(bitmapRows / 32)) * 4);
  const fit = Math.floor(gpu.bindingBytes / bytesPerLatent);
  if (fit >= dSae) return dSae;
  const whole = Math.floor(fit / columnBlock) * columnBlock;
  if (whole === 0) {
    throw new CochleaError('gpu-memory', `${columnBlock} latents of d_in ${dIn} need ${columnBlock * bytesPerLatent} bytes in one binding; this adapter binds at most ${gpu.bindingBytes}`);
  }
  return whole;
}

/** Rows whose pre-activations [rows, d_sae] are held at a time. */
export function chunkRows(gpu: Gpu, dSae: number, rows: number): number {
  const fit = Math.floor(Math.min(gpu.bindingBytes, scratchBytes) / (dSae * 4));
  if (fit === 0) throw new CochleaError('gpu-memory', `one row of ${dSae} pre-activations does not fit a binding of ${gpu.bindingBytes} bytes`);
  return Math.min(rows, fit);
}

/** A weight [d_sae, d_in], sharded where it must be. */
export function weightTensor(gpu: Gpu, label: string, dIn: number, dSae: number, rowsPerShard: number): Tensor {
  return gpu.tensor({ label, dtype: 'f32', rows: dSae, columns: dIn, shardRows: rowsPerShard });
}

/** A vector [1, n]. */
export function vectorTensor(gpu: Gpu, label: string, n: number, dtype: 'f32' | 'u32' = 'f32'): Tensor {
  return gpu.tensor({ label, dtype, rows: 1, columns: n });
}

/** A matrix without padding between rows. */
export function compactTensor(gpu: Gpu, label: string, rows: number, columns: number, dtype: 'f32' | 'u32' = 'f32'): Tensor {
  return gpu.tensor({ label, dtype, rows, columns, stride: columns });
}
