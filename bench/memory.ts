/**
 * Peak memory against the amount of data: `node dist/bench/memory.js [--mebibytes 150] [--times 10]` writes synthetic stores of so many MiB of frames
 * and of so many times that, trains on each for one epoch and evaluates on it, every stage in a process of its own, and prints the
 * peak resident memory of each. The larger data must not need more.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ActivationStore, ActivationWriter } from '../src/activations/index.ts';
import { evaluate } from '../src/evaluation/index.ts';
import { Gpu } from '../src/gpu/index.ts';
import { RandomStream } from '../src/random.ts';
import { SAE, topkConfig } from '../src/sae/index.ts';
import { trainerConfig, trainRun } from '../src/training/index.ts';

const dIn = 288, dSae = 64, batch = 2048, clipRows = 500;
const stages = ['write', 'train', 'eval'] as const;
type Stage = (typeof stages)[number];

/** Rows of so many MiB of float32 frames. */
const rowsOf = (mebibytes: number): number => Math.floor((mebibytes * 2 ** 20) / (4 * dIn));

async function write(folder: string, rows: number): Promise<void> {
  const writer = await ActivationWriter.open(join(folder, 'store'), { model: 'synthetic', modelSha256: '', hook: 'none', layer: null, dIn, frameRate: 50, sampleRate: 16_000 }, { dtype: 'f32', resume: false });
  const random = new RandomStream(1, 2000);
  // Noise that is drawn once and shifted: no two clips are alike, and writing is not a benchmark of the generator.
  const noise = Float32Array.from({ length: (clipRows + 64) * dIn }, () => random.normal());
  for (let first = 0, n = 0; first < rows; first += clipRows, n++) {
    const here = Math.min(clipRows, rows - first), from = random.below(64 * dIn);
    await writer.addClip({ id: `clip ${n}`, path: `${n}.wav`, labels: {}, sha256: String(n), seconds: here / 50, frames: noise.slice(from, from + here * dIn), rows: here });
  }
  await writer.finish();
}

async function train(folder: string): Promise<void> {
  const source = await ActivationStore.open(join(folder, 'store'));
  const gpu = await Gpu.open();
  const sae = topkConfig({ d_in: dIn, d_sae: dSae, k: 4, normalize_activations: 'expected_average_only_in' });
  const training = trainerConfig({ train_batch_size_samples: batch, total_training_samples: source.rows - (source.rows % batch), lr: 1e-3 });
  await trainRun({ gpu, source, out: join(folder, 'sae'), sae, training, centre: true, bufferRows: 4 * batch, shuffle: true });
  gpu.dispose();
}

async function evaluateOn(folder: string): Promise<void> {
  const source = await ActivationStore.open(join(folder, 'store'));
  const gpu = await Gpu.open();
  const sae = await SAE.load(gpu, join(folder, 'sae'));
  const { frames } = await evaluate(sae, source.chunks({ seed: 0, epoch: undefined, from: 0 }));
  if (frames !== source.rows) throw new Error(`${frames} frames were evaluated, not ${source.rows}`);
  gpu.dispose();
}

/** The most that this process has had resident, in bytes. */
function peakBytes(): number {
  const line = process.platform === 'linux' ? /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) : undefined;
  return 1024 * (line ? Number(line[1]) : process.resourceUsage().maxRSS);
}

/** Runs a stage in a process of its own; its peak in bytes. */
async function peakOf(stage: Stage, folder: string, rows: number): Promise<number> {
  const program = fileURLToPath(import.meta.url);
  const args = 'Deno' in globalThis ? ['run', '-A', '--no-lock', '--no-check', program] : [program];
  const child = spawn(process.execPath, [...args, 'stage', stage, folder, String(rows)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (piece) => output += piece);
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`${stage} of ${rows} frames ended with code ${code}`);
  return Number(output);
}

/** Peak memory in bytes of each stage on so many MiB of frames. What is written is removed again. */
export async function peaks(mebibytes: number): Promise<Record<Stage, number>> {
  const folder = mkdtempSync(join(tmpdir(), 'cochlea-memory-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    const found = {} as Record<Stage, number>;
    for (const stage of stages) found[stage] = await peakOf(stage, folder, rowsOf(mebibytes));
    return found;
  } finally {
    process.off('exit', remove);
    remove();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { mebibytes: { type: 'string', default: '150' }, times: { type: 'string', default: '10' } } });
  const mebibytes = Number(values.mebibytes), times = Number(values.times);
  const once = await peaks(mebibytes), many = await peaks(mebibytes * times);
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0).padStart(10);
  console.log(`peak resident memory in MiB, frames of d_in ${dIn} in float32, batches of ${batch}\n`);
  console.log(`${'stage'.padEnd(8)}${`${mebibytes} MiB`.padStart(10)}${`${mebibytes * times} MiB`.padStart(10)}${'more'.padStart(10)}`);
  for (const stage of stages) console.log(`${stage.padEnd(8)}${mib(once[stage])}${mib(many[stage])}${`${(100 * (many[stage] / once[stage] - 1)).toFixed(1)} %`.padStart(10)}`);
}

if (process.argv[2] === 'stage') {
  const [, , , stage, folder, rows] = process.argv;
  await { write: () => write(folder!, Number(rows)), train: () => train(folder!), eval: () => evaluateOn(folder!) }[stage as Stage]();
  console.log(peakBytes());
} else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('SIGINT', () => process.exit(130));
  await main();
}
