/** The encoder's matrix product by every variant of its kernel, in turns. */
import type { Gpu } from '../src/gpu/index.ts';
import { encode, type EncodeVariant, encodeVariants, halfVariants } from '../src/kernels/index.ts';
import { chunkRows, compactTensor, shardRows, vectorTensor, weightTensor } from '../src/sae/layout.ts';
import type { Size } from './steps.ts';
import { inTurns, noise, type Timing } from './timing.ts';



/** GFLOP that one product of a software adapter may have. */
const softwareProduct = 4;

export interface ProductResult {
  /** Rows that were measured: fewer than the batch where the adapter is slow. */
  rows: number;
  variants: Record<string, { gflops: number; timing: Timing }>;
}

export async function measureProducts(gpu: Gpu, { dIn, dSae, batch }: Size, turns: { atLeast: number; budget: number }): Promise<ProductResult> {
  const { software } = gpu.adapter;
  const variants = [...encodeVariants(gpu, dSae), ...[...halfVariants].filter(([, feature]) => gpu.features.includes(feature)).map(([variant]) => variant)];
  const perRow = 2 * dIn * dSae;
  const rows = Math.min(chunkRows(gpu, dSae, batch), software ? Math.max(64, Math.floor((softwareProduct * 1e9) / perRow)) : batch);
  const tensors = {
    xc: gpu.tensor({ label: 'frames', dtype: 'f32', rows, columns: dIn }), W_enc: weightTensor(gpu, 'W_enc', dIn, dSae, shardRows(gpu, dIn, dSae)),
    b_enc: vectorTensor(gpu, 'b_enc', dSae), h: compactTensor(gpu, 'pre-activations', rows, dSae),
  };
  gpu.upload(tensors.xc, noise(rows * dIn, 1));
  gpu.upload(tensors.W_enc, noise(dSae * dIn, 2));
  // Waiting costs up to 11 ms in Deno: enough products per wait make that small.
  const repeats = software ? 1 : 20;
  const products = (variant: EncodeVariant, times: number) => async (): Promise<void> => {
    const rec = gpu.record();
    for (let time = 0; time < times; time++) encode(rec, tensors, 0, rows, { variant });
    rec.submit();
    await gpu.readBuffer(tensors.h.buffer, 16);
  };
  for (const variant of variants) await products(variant, 1)();
  const timing = await inTurns(Object.fromEntries(variants.map((variant) => [variant, products(variant, repeats)])), { ...turns, software });
  Object.values(tensors).forEach((tensor) => gpu.free(tensor));
  const gflop = (perRow * rows * repeats) / 1e9;
  return { rows, variants: Object.fromEntries(variants.map((variant) => [variant, { gflops: gflop / timing[variant]!.wall.median, timing: timing[variant]! }])) };
}
