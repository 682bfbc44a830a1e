/** The steps of a run: batches from the stream to all SAEs, metrics, checkpoints, stops. */
import { frameNumbers } from '../activations/halves.ts';
import type { MixingBuffer } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import type { Json } from '../formats/index.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { totalSteps } from './config.ts';
import type { RunManifest } from './manifest.ts';
import type { MetricsLog } from './metrics-log.ts';
import type { Member } from './run-folder.ts';
import { gammaNotice, type StartStatistics, startStatistics } from './start-statistics.ts';
import type { StepMetrics } from './step-metrics.ts';
import type { StreamInputs, TrainingBatch } from './stream-inputs.ts';
import type { Trainer } from './trainer.ts';

/** Steps between reads of the metrics. The GPU works on one window while the host reads the one before: at most two of them are under way. */
const window = 8;

/** An SAE in training. */
export interface Running {
  member: Member;
  trainer: Trainer;
  log: MetricsLog;
  manifest: RunManifest;
  /** From the first batch on; the dead share is NaN until the step's metrics are read. */
  start: StartStatistics | undefined;
  /** The newest metrics. */
  last: StepMetrics | undefined;
}

/** How far all SAEs of a run are. */
export interface RunProgress {
  /** Of one step, of each SAE in order. */
  metrics: readonly StepMetrics[];
  steps: number;
  framesPerSecond: number;
  secondsLeft: number;
  epoch: number;
  /** Times that the device was lost or ran out of memory and the run went on. */
  recoveries: number;
}

export interface LoopOptions {
  out: string;
  running: readonly Running[];
  stream: StreamInputs;
  buffer: MixingBuffer;
  settings: Record<string, Json>;
  /** Where the call began, which may be before the device was lost: step, and time by performance.now(). */
  began: { step: number; time: number };
  recoveries: number;
  checkpointEvery?: number;
  checkpointMinutes?: number;
  signal?: AbortSignal;
  onProgress?: (progress: RunProgress) => void;
  onNotice?: (line: string) => void;
}

/** What a call trained. */
export interface Trained {
  steps: number;
  /** Steps that this call trained. */
  trained: number;
  seconds: number;
  framesPerSecond: number;
  /** Frames left out because they were not finite. */
  dropped: number;
  recoveries: number;
}

/** Trains all SAEs to their last step. Throws `interrupted` after a checkpoint when the signal aborts. */
export async function trainSteps(options: LoopOptions): Promise<Trained> {
  const { out, running, stream, buffer, settings, began, recoveries, signal, onProgress, onNotice, checkpointEvery = 0, checkpointMinutes = 0 } = options;
  const { trainer: lead } = running[0]!; // all are at the same step
  const steps = totalSteps(lead.config), rows = lead.config.train_batch_size_samples;
  let saved = performance.now();
  let pending: Promise<StepMetrics[][]> = Promise.resolve([]);

  const settle = async (): Promise<void> => {
    const found = await pending;
    pending = Promise.resolve([]);
    for (const [n, sae] of running.entries()) for (const metrics of found[n] ?? []) await note(sae, metrics);
    for (const [n, { step }] of (found[0] ?? []).entries()) {
      const framesPerSecond = ((step - began.step) * rows) / ((performance.now() - began.time) / 1000);
      onProgress?.({ metrics: found.map((ofSae) => ofSae[n]!), steps, framesPerSecond, secondsLeft: ((steps - step) * rows) / framesPerSecond, epoch: buffer.epoch, recoveries });
    }
  };
  const read = async (): Promise<void> => {
    const next = Promise.all(running.map(({ trainer, member }) => trainer.metrics().catch((error: unknown) => {
      throw named(error, member);
    })));
    next.catch(() => {}); // it is awaited one window later
    await settle();
    pending = next;
  };
  const flush = async (): Promise<void> => {
    await read();
    await settle();
    for (const { log, manifest } of running) {
      await log.flush();
      await manifest.flush();
    }
  };
  const checkpoint = async (): Promise<void> => {
    await flush();
    const saes = new Map(running.map(({ member, trainer, start }) => [member.name, { input: trainer.input, start: start!, state: () => trainer.state() }]));
    await writeCheckpoint(out, { step: lead.step, mixing: buffer.state(), settings, saes });
    saved = performance.now();
  };

  /** The next batch; undefined once the run is to stop. */
  const next = async (): Promise<TrainingBatch | undefined> => {
    if (signal?.aborted) return undefined;
    try {
      return await buffer.next();
    } catch (error) {
      if (error instanceof CochleaError && error.code === 'interrupted') return undefined;
      throw error;
    }
  };

  while (lead.step < steps) {
    const batch = await next();
    if (!batch) {
      if (lead.step > 0) await checkpoint();
      throw new CochleaError('interrupted', `stopped after step ${lead.step} of ${steps}`, lead.step > 0 ? 'the same command with --resume goes on from here' : undefined);
    }
    if (lead.step === 0) begin(running, batch, onNotice);
    stream.upload(batch);
    for (const { trainer, manifest } of running) manifest.step(() => trainer.trainUploaded(batch));
    for (const { trainer, member } of running) {
      const count = trainer.resamplingIsDue ? await trainer.resample(batch) : 0;
      if (count > 0) onNotice?.(`${prefix(member)}step ${trainer.step}: ${count} dead latents begin anew`);
    }
    for (const { manifest, trainer } of running) manifest.afterStep(trainer);
    if (lead.unread >= window) await read();
    const due = (checkpointEvery > 0 && lead.step % checkpointEvery === 0) || (checkpointMinutes > 0 && performance.now() - saved > checkpointMinutes * 60_000);
    if (due && lead.step < steps) await checkpoint();
  }
  await flush();
  const seconds = (performance.now() - began.time) / 1000, trained = steps - began.step;
  return { steps, trained, seconds, framesPerSecond: (trained * rows) / seconds, dropped: buffer.dropped, recoveries };
}

/** Takes the measure of the first batch; warns, once, of frames that kill latents. */
function begin(running: readonly Running[], { x, format }: TrainingBatch, notice: ((line: string) => void) | undefined): void {
  const notices = new Set<string>();
  for (const sae of running) {
    const { trainer } = sae;
    sae.start = { ...startStatistics(frameNumbers(x, format), trainer.input), deadShare: NaN };
    const biasCentres = trainer.sae.apply_b_dec_to_input && trainer.config.b_dec_init_method !== 'zeros';
    const line = biasCentres ? undefined : gammaNotice(sae.start);
    if (line !== undefined) notices.add(line);
  }
  for (const line of notices) notice?.(line);
}

async function note(sae: Running, metrics: StepMetrics): Promise<void> {
  await sae.log.add(metrics);
  sae.last = metrics;
  // Counters start at zero and grow by one in each latent that did not fire.
  if (metrics.step === 1) sae.start!.deadShare = metrics.meanPassesSinceFired;
}

const prefix = ({ name }: Member): string => (name === '' ? '' : `${name}: `);

function named(error: unknown, member: Member): unknown {
  if (!(error instanceof CochleaError) || member.name === '') return error;
  return new CochleaError(error.code, `${prefix(member)}${error.message}`, error.hint, { cause: error });
}
