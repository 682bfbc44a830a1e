/**
 * `npm run bench [-- --json] [-- --sizes small]`: the encoder's matrix product in every variant, and whole TopK training steps, on the
 * adapter at hand. A product is timed on as many of the batch's rows as fit the time; a step is always whole.
 */
import process from 'node:process';
import { Gpu } from '../src/gpu/index.ts';
import { encode, type EncodeVariant } from '../src/kernels/index.ts';
import { ensureAdapter } from '../src/runtime/adapters.ts';
import { chunkRows, compactTensor, shardRows, vectorTensor, weightTensor } from '../src/sae/layout.ts';
import { topkConfig } from '../src/sae/index.ts';
import { Trainer, trainerConfig } from '../src/training/index.ts';
import { RandomStream, streams } from '../src/random.ts';

interface Size {
  dIn: number;
  dSae: number;
  batch: number;
  k: number;
}

const sizes: Record<string, Size[]> = {
  standard: [{ dIn: 384, dSae: 3072, batch: 4096, k: 32 }, { dIn: 768, dSae: 24_576, batch: 4096, k: 32 }],
  small: [{ dIn: 288, dSae: 1152, batch: 512, k: 32 }],
};
/** Seconds that one figure may take, and products of a software adapter in FLOP. */
const budget = 20;
const softwareProduct = 4e9;

function frames(rows: number, dIn: number): Float32Array {
  const random = new RandomStream(1, streams.bootstrap);
  return Float32Array.from({ length: rows * dIn }, () => random.uniform() * 2 - 1);
}

/** Seconds of each repetition, sorted: as many as the time allows, and at least so many. */
async function times(work: () => Promise<void>, atLeast: number): Promise<number[]> {
  const seconds: number[] = [];
  const began = performance.now();
  while (seconds.length < atLeast || (performance.now() - began < budget * 1000 && seconds.length < 30)) {
    const from = performance.now();
    await work();
    seconds.push((performance.now() - from) / 1000);
  }
  return seconds.sort((a, b) => a - b);
}

const median = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length / 2)]!;
const spread = (sorted: readonly number[]): string => `${sorted[0]!.toPrecision(3)} to ${sorted.at(-1)!.toPrecision(3)} s, ${sorted.length} runs`;

async function product(gpu: Gpu, { dIn, dSae, batch }: Size, variant: EncodeVariant) {
  const perRow = 2 * dIn * dSae;
  const rows = Math.min(batch, chunkRows(gpu, dSae, batch), gpu.adapter.software ? Math.max(64, Math.floor(softwareProduct / perRow)) : batch);
  const tensors = {
    xc: gpu.tensor({ label: 'frames', dtype: 'f32', rows, columns: dIn }), W_enc: weightTensor(gpu, 'W_enc', dIn, dSae, shardRows(gpu, dIn, dSae)),
    b_enc: vectorTensor(gpu, 'b_enc', dSae), h: compactTensor(gpu, 'pre-activations', rows, dSae),
  };
  gpu.upload(tensors.xc, frames(rows, dIn));
  // Waiting costs up to 11 ms in Deno: enough products per wait make that small.
  const repeats = gpu.adapter.software ? 1 : 20;
  const products = async (): Promise<void> => {
    const rec = gpu.record();
    for (let n = 0; n < repeats; n++) encode(rec, tensors, 0, rows, variant);
    rec.submit();
    await gpu.readBuffer(tensors.h.buffer, 16);
  };
  await products();
  const sorted = await times(products, 3);
  for (const tensor of Object.values(tensors)) gpu.free(tensor);
  return { variant, rows, gflops: (perRow * rows * repeats) / median(sorted) / 1e9, seconds: sorted };
}

async function step(gpu: Gpu, { dIn, dSae, batch, k }: Size) {
  const trainer = await Trainer.create({
    gpu, sae: topkConfig({ d_in: dIn, d_sae: dSae, k }), training: trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 1000 }),
  });
  const x = frames(batch, dIn);
  const steps = gpu.adapter.software ? 1 : 10;
  // The first step compiles everything; a software adapter, which takes minutes for some batches, takes part of one for that.
  trainer.train({ x: gpu.adapter.software ? x.subarray(0, 64 * dIn) : x });
  await trainer.metrics();
  const sorted = await times(async () => {
    for (let n = 0; n < steps; n++) trainer.train({ x });
    await trainer.metrics();
  }, 1);
  trainer.dispose();
  const rowsPerSecond = (batch * steps) / median(sorted);
  return { rowsPerSecond, rowsPerSecondTimesDSae: rowsPerSecond * dSae, seconds: sorted };
}

const json = process.argv.includes('--json');
const named = process.argv[process.argv.indexOf('--sizes') + 1];
const chosen = process.argv.includes('--sizes') ? sizes[named ?? ''] : sizes['standard'];
if (!chosen) {
  process.stderr.write(`--sizes is one of ${Object.keys(sizes).join(', ')}\n`);
  process.exit(2);
}
const { line } = await ensureAdapter();
const gpu = await Gpu.open();
const say = (text: string): void => {
  if (!json) process.stdout.write(`${text}\n`);
};
say(line);
const results = [];
for (const size of chosen) {
  say(`d_in ${size.dIn}, d_sae ${size.dSae}, batch ${size.batch}, k ${size.k}`);
  const gemm = [];
  for (const variant of ['direct', 'tiled'] as const) {
    const result = await product(gpu, size, variant);
    gemm.push(result);
    say(`  encode ${variant.padEnd(7)} ${result.gflops.toFixed(2)} GFLOP/s on ${result.rows} rows   (${spread(result.seconds)})`);
  }
  const whole = await step(gpu, size);
  say(`  training step   ${Math.round(whole.rowsPerSecond)} rows/s, ${whole.rowsPerSecondTimesDSae.toExponential(2)} rows/s x d_sae   (${spread(whole.seconds)})`);
  results.push({ ...size, gemm, step: whole });
}
if (json) process.stdout.write(`${JSON.stringify({ adapter: gpu.adapter, results })}\n`);
gpu.dispose();
