/** The canonical job: every family of kernels on fixed inputs, then three architectures on fixed frames; and what it found. */
import { MixingBuffer } from '../activations/mixing-buffer.ts';
import type { Gpu, Tensor } from '../gpu/index.ts';
import { chained, digest, hexadecimal, noDigest } from '../kernels/index.ts';
import { saeConfig } from '../sae/architectures/index.ts';
import { trainerConfig } from '../training/config.ts';
import type { StepMetrics } from '../training/step-metrics.ts';
import { StreamInputs } from '../training/stream-inputs.ts';
import { Trainer } from '../training/trainer.ts';
import { Bench, type Output } from './bench.ts';
import { checks } from './checks/index.ts';
import { type CheckRecord, environmentOf, type OutputRecord, recordFormat, type TrainingRecord, type VerifyRecord } from './record.ts';
import { syntheticSource } from './synthetic.ts';
import { type Dispatch, Trace } from './trace.ts';

export const job = { checks: checks.length, d_in: 32, d_sae: 128, k: 8, batch: 64, frames: 4096, buffer: 1024, steps: 200, seed: 20261122 };

const architectures = ['topk', 'batchtopk', 'jumprelu'] as const;

/** Steps whose kernels are recorded one by one, the initialisation being step 0; and those after which numbers are. */
const tracedSteps = [0, 1, 20];
const sampledSteps = [0, 1, 2, 5, 20, 100, 200];
const sampledElements = 3;

export interface JobOptions {
  /** The version of the program. */
  cochlea: string;
  /** Stops training after so many steps, at most the job's, which leave the bits that the whole job leaves after them. */
  steps?: number;
  onProgress?: (line: string) => void;
}

/** Runs the job; half a minute on a software adapter, seconds on others. */
export async function runJob(gpu: Gpu, { cochlea, steps = job.steps, onProgress }: JobOptions): Promise<VerifyRecord> {
  const trace = new Trace(gpu);
  try {
    const found: CheckRecord[] = [];
    for (const index of checks.keys()) {
      onProgress?.(`kernels: ${checks[index]!.name}`);
      found.push(await runCheck(gpu, trace, index));
    }
    const { batches, training } = await train(gpu, trace, steps, (step) => onProgress?.(`training: step ${step} of ${steps}`));
    return { format: recordFormat, ...environmentOf(gpu, cochlea), job, checks: found, batches, training };
  } finally {
    trace.dispose();
  }
}

async function runCheck(gpu: Gpu, trace: Trace, index: number): Promise<CheckRecord> {
  const { name, family, kind, run } = checks[index]!;
  const bench = new Bench(gpu, index);
  try {
    const { result, dispatches } = await trace.watch(() => run(bench));
    const outputs = Object.entries(result);
    const digests = bench.made('digests', 1, 2 * outputs.length, 'u32');
    bench.record((rec) => outputs.forEach(([, { tensor }], slot) => digest(rec, { tensor, digests }, slot)));
    const words = await gpu.downloadIntegers(digests);
    const records: [string, OutputRecord][] = [];
    for (const [slot, [output, { tensor, expected }]] of outputs.entries()) {
      const data = await gpu.download(tensor);
      records.push([output, { digest: hexadecimal(words[2 * slot]!) + hexadecimal(words[2 * slot + 1]!), ...(expected ? { worst: worstOf(data, expected) } : {}), samples: samplesOf(data) }]);
    }
    return { name, family, kind, shaders: [...new Set(dispatches.map(({ kernel }) => kernel))], outputs: Object.fromEntries(records) };
  } finally {
    bench.free();
  }
}

/** The largest error as a share of its bound, to two digits, upwards; what is no number is as far off as can be. */
function worstOf(data: ArrayLike<number>, expected: NonNullable<Output['expected']>): number {
  const shares = expected.map(({ value, error }, at) => {
    const difference = Math.abs(data[at]! - value);
    return difference === 0 ? 0 : difference / error;
  });
  const worst = shares.reduce((most, share) => (share <= most ? most : share), 0);
  return Number.isFinite(worst) ? Math.ceil(worst * 1000) / 1000 : Number.MAX_VALUE;
}

/** Bits of some elements, the first and the last among them. */
function samplesOf(data: Float32Array | Uint32Array): string {
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length), last = data.length - 1;
  const places = new Set(Array.from({ length: sampledElements }, (_, n) => Math.floor((n * last) / (sampledElements - 1))));
  return [...places].map((at) => hexadecimal(words[at]!)).join(' ');
}

/** One architecture as it trains. */
interface Training {
  name: string;
  trainer: Trainer;
  /** Two words per tensor of its state and step. */
  log: Tensor;
  traced: { step: number; dispatches: Dispatch[] }[];
  samples: TrainingRecord['samples'];
  last: StepMetrics | undefined;
}

async function train(gpu: Gpu, trace: Trace, steps: number, onStep: (step: number) => void): Promise<Pick<VerifyRecord, 'batches' | 'training'>> {
  const { d_in, batch, buffer: bufferRows, seed } = job;
  const stream = new StreamInputs(gpu, { dIn: d_in, batch });
  const seen = gpu.tensor({ label: 'digests of batches', dtype: 'u32', rows: 1, columns: 2 * steps });
  const running: Training[] = [];
  const buffer = new MixingBuffer(syntheticSource(job.frames, d_in), { seed, bufferRows, batchRows: batch, shuffle: true });
  try {
    for (const name of architectures) running.push(await begin(gpu, trace, name, stream, steps));
    for (let step = 1; step <= steps; step++) {
      const frames = await buffer.next();
      stream.upload(frames);
      const rec = gpu.record();
      digest(rec, { tensor: stream.frames, digests: seen }, step - 1);
      rec.submit();
      for (const one of running) {
        const work = (): void => one.trainer.trainUploaded(frames);
        if (tracedSteps.includes(step)) one.traced.push({ step, dispatches: (await trace.watch(work)).dispatches });
        else work();
        note(gpu, one, step);
        if (sampledSteps.includes(step)) await sample(gpu, one, step);
        if (step % 8 === 0 || step === steps) one.last = (await one.trainer.metrics()).at(-1);
      }
      onStep(step);
    }
    const batches = shortened(await gpu.downloadIntegers(seen), 2);
    const training: Record<string, TrainingRecord> = {};
    for (const one of running) training[one.name] = await recordOf(gpu, trace, one);
    return { batches, training };
  } finally {
    await buffer.close();
    for (const { trainer, log } of running) {
      trainer.dispose();
      gpu.free(log);
    }
    gpu.free(seen);
    stream.dispose();
  }
}

async function begin(gpu: Gpu, trace: Trace, name: string, stream: StreamInputs, steps: number): Promise<Training> {
  const { d_in, d_sae, k, batch, seed } = job;
  const sae = saeConfig({ architecture: name, d_in, d_sae, ...(name === 'jumprelu' ? { l0_coefficient: 0.02, jumprelu_bandwidth: 0.5 } : { k }) });
  const training = trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * job.steps, lr: 0.003, lr_warm_up_steps: 10, lr_decay_steps: 40, dead_feature_window: 12, seed });
  const input = { mean: new Float32Array(d_in), scale: 1 / 4 };
  const { result: trainer, dispatches } = await trace.watch(() => Trainer.create({ gpu, sae, training, input, stream }));
  const log = gpu.tensor({ label: `digests of ${name}`, dtype: 'u32', rows: 1, columns: 2 * (steps + 1) * trainer.stateTensors().length });
  const one: Training = { name, trainer, log, traced: [{ step: 0, dispatches }], samples: [], last: undefined };
  note(gpu, one, 0);
  await sample(gpu, one, 0);
  return one;
}

/** Digests all that training goes on from after a step. */
function note(gpu: Gpu, { trainer, log }: Training, step: number): void {
  const tensors = trainer.stateTensors(), rec = gpu.record();
  tensors.forEach(([, tensor], n) => digest(rec, { tensor, digests: log }, step * tensors.length + n));
  rec.submit();
}

async function sample(gpu: Gpu, { trainer, samples }: Training, step: number): Promise<void> {
  const values: Record<string, string> = {};
  for (const { name, value } of trainer.form.parameters) values[name] = samplesOf(await gpu.download(value));
  samples.push({ step, values });
}

async function recordOf(gpu: Gpu, trace: Trace, { trainer, log, traced, samples, last }: Training): Promise<TrainingRecord> {
  const chain = shortened(await gpu.downloadIntegers(log), 2 * trainer.stateTensors().length);
  const traces: TrainingRecord['traces'] = [];
  for (const { step, dispatches } of traced) {
    const digests = await trace.digestsOf(dispatches);
    traces.push({ step, kernels: dispatches.map(({ kernel }) => kernel).join(' '), digests: digests.join(' ') });
  }
  const { explainedVariance, l0, losses } = last!;
  return { chain, traces, samples, final: { explained_variance: explainedVariance, l0, mse_loss: losses['mse_loss'] ?? NaN } };
}

/** A chain with a link for every so many words; of all links but the last the first half, separated by blanks. */
function shortened(words: Uint32Array, wordsOfLink: number): string {
  const links: string[] = [];
  for (let at = 0; at < words.length; at += wordsOfLink) links.push(chained(links.at(-1) ?? noDigest, words.subarray(at, at + wordsOfLink)));
  return links.map((link, n) => (n < links.length - 1 ? link.slice(0, 8) : link)).join(' ');
}
