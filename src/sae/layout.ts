/** How an SAE's tensors are cut to fit an adapter, and what decoders begin as. */
import { CochleaError } from '../errors.ts';
import { type Gpu, padded, type Recorder, type Tensor } from '../gpu/index.ts';
import { columnBlock, entryWords, type InverseIndex, randomUniform, rowNorms, scaleRows } from '../kernels/index.ts';
import { streams } from '../random.ts';

/** Scratch for pre-activations never grows past this, however large the adapter. */
const scratchBytes = 256 * 2 ** 20;

/** Where a CPU computes with what its caches hold, rows are few enough that selecting finds their pre-activations there. */
const cachedRows = 512;

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

/** Rows whose pre-activations [rows, d_sae] are held at a time. Sums go over rows in their order, so no bit depends on how many these are. */
export function chunkRows(gpu: Gpu, dSae: number, rows: number): number {
  const fit = Math.floor(Math.min(gpu.bindingBytes, scratchBytes) / (dSae * 4));
  if (fit === 0) throw new CochleaError('gpu-memory', `one row of ${dSae} pre-activations does not fit a binding of ${gpu.bindingBytes} bytes`);
  return Math.max(1, Math.floor(Math.min(rows, fit, gpu.gathersImages ? cachedRows : Infinity) * gpu.workShare));
}

/** A weight [d_sae, d_in], sharded where it must be; `gathered` as kernels look at its rows one by one. */
export function weightTensor(gpu: Gpu, label: string, dIn: number, dSae: number, rowsPerShard: number, gathered = false): Tensor {
  return gpu.tensor({ label, dtype: 'f32', rows: dSae, columns: dIn, shardRows: rowsPerShard, gathered });
}

/** A vector [1, n]. */
export function vectorTensor(gpu: Gpu, label: string, n: number, dtype: 'f32' | 'u32' = 'f32'): Tensor {
  return gpu.tensor({ label, dtype, rows: 1, columns: n });
}

/** A matrix without padding between rows. */
export function compactTensor(gpu: Gpu, label: string, rows: number, columns: number, dtype: 'f32' | 'u32' = 'f32'): Tensor {
  return gpu.tensor({ label, dtype, rows, columns, stride: columns });
}

/** Room for the inverse index of at most `pairs` kept pairs of `batch` rows. `perShard`: as shardRows gave it for so many rows. */
export function inverseIndexTensors(gpu: Gpu, own: (tensor: Tensor) => Tensor, label: string, { dSae, batch, pairs, perShard }: { dSae: number; batch: number; pairs: number; perShard: number }): InverseIndex {
  return {
    counts: own(vectorTensor(gpu, `${label} counts`, dSae, 'u32')), starts: own(vectorTensor(gpu, `${label} starts`, dSae + 1, 'u32')),
    entries: own(compactTensor(gpu, `${label} entries`, pairs, entryWords, 'u32')),
    bitmap: own(gpu.tensor({ label: `${label} bitmap`, dtype: 'u32', rows: dSae, columns: Math.ceil(batch / 32), shardRows: perShard })),
    ranks: own(gpu.tensor({ label: `${label} ranks`, dtype: 'u32', rows: dSae, columns: Math.ceil(batch / 128), shardRows: perShard })),
  };
}

/** SAELens' decoders at the start: Kaiming-uniform rows in +-sqrt(6 / d_out), brought to the length `norm` unless that is null. `norms` is scratch. */
export function initialiseDecoder(rec: Recorder, { W_dec, norms }: { W_dec: Tensor; norms: Tensor }, seed: number, norm: number | null): void {
  randomUniform(rec, W_dec, { seed, stream: streams.initialisation, substream: 0, bound: Math.sqrt(6 / W_dec.columns) });
  if (norm === null) return;
  rowNorms(rec, { W: W_dec, norms });
  scaleRows(rec, { W: W_dec, norms }, norm);
}
