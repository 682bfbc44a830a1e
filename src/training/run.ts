/** A whole training run over a source of frames: from nothing or a checkpoint to a folder that SAELens loads. */
import { type ActivationInfo, type FrameSource, MixingBuffer } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { type Json, logSparsity, writeSaelensFolder } from '../formats/index.ts';
import type { Gpu } from '../gpu/index.ts';
import { runtime } from '../runtime/index.ts';
import { type Compatibility, tensorsFromWeights, topkConfig, type TopkConfig } from '../sae/index.ts';
import { type Checkpoint, readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { totalSteps, trainerConfig, type TrainerConfig } from './config.ts';
import { audioMetadata, inferenceForm } from './export.ts';
import { MetricsLog, readMetrics } from './metrics-log.ts';
import { type InputTransform, type StepMetrics, Trainer } from './trainer.ts';

/** Steps between reads of the metrics. The GPU works on one window while the host reads the one before. */
const window = 8;

export interface RunOptions {
  gpu: Gpu;
  source: FrameSource;
  /** Folder for everything the run writes. */
  out: string;
  sae: TopkConfig;
  training: TrainerConfig;
  /** Subtract the mean frame before training (folded into the weights at the end). */
  centre: boolean;
  /** Rows that are mixed with each other. */
  bufferRows: number;
  /** False: frames are taken in stored order. */
  shuffle: boolean;
  dropNonFinite?: boolean;
  compatibility?: Compatibility;
  /** Steps between lines of metrics.jsonl. */
  logEvery?: number;
  /** Steps between checkpoints, and minutes between them; 0 for never. */
  checkpointEvery?: number;
  checkpointMinutes?: number;
  /** Go on from the newest checkpoint in `out`, or from the start when there is none. */
  resume?: boolean;
  /** More settings to be written beside the result. */
  record?: Record<string, Json>;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  onNotice?: (line: string) => void;
}

export interface Progress {
  metrics: StepMetrics;
  steps: number;
  framesPerSecond: number;
  secondsLeft: number;
  epoch: number;
}

export interface RunResult {
  out: string;
  /** Of the last step. */
  final: StepMetrics;
  steps: number;
  /** Steps that this call trained. */
  trained: number;
  seconds: number;
  framesPerSecond: number;
  /** Frames left out because they were not finite. */
  dropped: number;
}

/**
 * Trains, checkpoints and saves. The same options, data and adapter give the same bytes, in one go or across any number of stops. Throws
 * `file-exists` when `out` holds a run already, `interrupted` after a checkpoint when `signal` aborts, and what sources and the GPU throw.
 */
export async function trainRun(options: RunOptions): Promise<RunResult> {
  const { gpu, source, out } = options;
  const sae = topkConfig({ ...options.sae, d_in: source.dIn });
  const training = trainerConfig(options.training);
  const settings = runSettings(options, sae, training);
  const finished = options.resume ? await finishedRun(out, settings, totalSteps(training)) : undefined;
  if (finished) return finished;
  const found = await startingPoint(out, options.resume ?? false, settings, options.onNotice);
  const input = found?.input ?? await inputTransform(source, sae, options.centre);
  const buffer = new MixingBuffer(options.signal ? until(options.signal, source) : source, {
    seed: training.seed, bufferRows: options.bufferRows, batchRows: training.train_batch_size_samples, shuffle: options.shuffle, dropNonFinite: options.dropNonFinite ?? false,
  });
  const trainer = await Trainer.create({ gpu, sae, training, input, compatibility: options.compatibility ?? 'corrected' });
  try {
    if (found) {
      trainer.restore(found.trainer);
      await buffer.restore(found.mixing);
    }
    await runtime.files.write(runtime.paths.join(out, 'run.json'), `${JSON.stringify({ ...options.record, ...settings, adapter: { ...gpu.adapter } }, null, 2)}\n`);
    const result = await loop(options, trainer, buffer, settings);
    await save(options, trainer, source.info, result.final);
    return result;
  } catch (error) {
    throw await withWayOn(error, out);
  } finally {
    await buffer.close();
    trainer.dispose();
  }
}

/** A disk that is full, and what else can be mended, ends a run that can go on: says so. */
async function withWayOn(error: unknown, out: string): Promise<unknown> {
  if (!(error instanceof CochleaError) || error.code !== 'file-system' || !await runtime.files.info(runtime.paths.join(out, 'checkpoints'))) return error;
  return new CochleaError(error.code, error.message, 'when that is mended, the same command with --resume goes on', { cause: error });
}

/** Everything that decides the bits of a run, apart from the data's own content. */
function runSettings(options: RunOptions, sae: TopkConfig, training: TrainerConfig): Record<string, Json> {
  const { source, centre, bufferRows, shuffle, dropNonFinite = false, compatibility = 'corrected' } = options;
  return {
    sae: { ...sae }, training: { ...training }, centre, mixing_buffer: bufferRows, shuffle, drop_non_finite: dropNonFinite, compatibility,
    activations: { ...source.info },
  };
}

/** What an earlier call left, when it trained all steps and saved: cfg.json is written last. Throws `config` when it had other settings. */
async function finishedRun(out: string, settings: Record<string, Json>, steps: number): Promise<RunResult | undefined> {
  const { files, paths } = runtime;
  if (!await files.info(paths.join(out, 'cfg.json'))) return undefined;
  const recordPath = paths.join(out, 'run.json'), metricsPath = paths.join(out, 'metrics.jsonl');
  if (!await files.info(recordPath)) throw new CochleaError('file-exists', `${out} holds an SAE that was not trained here`, 'choose another --out');
  let record: Record<string, Json>;
  try {
    record = JSON.parse(await files.readText(recordPath)) as Record<string, Json>;
  } catch (error) {
    throw error instanceof CochleaError ? error : new CochleaError('file-damaged', `${recordPath} is not JSON`, 'the SAE beside it is whole');
  }
  refuseOthers(out, Object.fromEntries(Object.keys(settings).map((key) => [key, record[key]!])), settings);
  const final = (await readMetrics(metricsPath)).at(-1);
  if (final?.step !== steps) throw new CochleaError('file-damaged', `${metricsPath} does not end with step ${steps}`, 'the SAE beside it is whole');
  await files.remove(paths.join(out, 'checkpoints')); // what a kill left while they were being removed
  return { out, final, steps, trained: 0, seconds: 0, framesPerSecond: 0, dropped: 0 };
}

async function startingPoint(out: string, resume: boolean, settings: Record<string, Json>, notice: ((line: string) => void) | undefined): Promise<Checkpoint | undefined> {
  const { files, paths } = runtime;
  const used = await files.info(paths.join(out, 'cfg.json')) ?? await files.info(paths.join(out, 'checkpoints'));
  if (!resume) {
    if (used) throw new CochleaError('file-exists', `${out} holds a run already`, 'go on with it by --resume, or choose another --out');
    return undefined;
  }
  const found = await readCheckpoint(out);
  if (!found) {
    notice?.(`no checkpoint in ${out}: starting from the beginning`);
    return undefined;
  }
  for (const problem of found.problems) notice?.(`passed over a damaged checkpoint: ${problem}`);
  refuseOthers(out, found.checkpoint.settings, settings);
  notice?.(`going on after step ${found.checkpoint.trainer.step}`);
  return found.checkpoint;
}

function refuseOthers(out: string, before: Record<string, Json>, now: Record<string, Json>): void {
  const differences = differingFields(before, now);
  if (differences.length === 0) return;
  throw new CochleaError('config', `the run in ${out} was started with other settings: ${differences.join('; ')}`, 'repeat them, or start anew into another --out');
}

function differingFields(before: Json | undefined, now: Json | undefined, path = ''): string[] {
  if (JSON.stringify(before) === JSON.stringify(now)) return [];
  const isObject = (value: Json | undefined): value is Record<string, Json> => typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject(before) || !isObject(now)) return [`${path} was ${JSON.stringify(before)} and is ${JSON.stringify(now)}`];
  return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((key) => differingFields(before[key], now[key], path === '' ? key : `${path}.${key}`));
}

/**
 * Centring and scale from the source's statistics. With expected_average_only_in the frames get a mean norm of sqrt(d_in): SAELens'
 * sqrt(d_in) / mean |x| where they are not centred, sqrt(d_in / sum of variances), the root mean square, where they are.
 */
export async function inputTransform(source: FrameSource, sae: TopkConfig, centre: boolean): Promise<InputTransform> {
  const scaled = sae.normalize_activations === 'expected_average_only_in';
  if (!centre && !scaled) return { mean: new Float32Array(sae.d_in), scale: 1 };
  if (centre && !scaled && sae.normalize_activations !== 'none') {
    throw new CochleaError('config', `centred frames and normalize_activations ${sae.normalize_activations} cannot be folded into one SAE`, 'switch one of them off');
  }
  const { mean, variance, meanNorm } = await source.statistics();
  const spread = variance.reduce((sum, value) => sum + value, 0);
  const size = centre ? Math.sqrt(spread / sae.d_in) : meanNorm / Math.sqrt(sae.d_in);
  if (!(size > 0 && Number.isFinite(size))) throw new CochleaError('config', `the frames have a spread of ${size}`, 'nothing can be learned from frames that are all alike');
  return { mean: centre ? Float32Array.from(mean) : new Float32Array(sae.d_in), scale: scaled ? Math.fround(1 / size) : 1 };
}

/** The source, until the signal aborts: it then throws `interrupted` at the next chunk. Reading a window of recordings takes minutes. */
function until(signal: AbortSignal, source: FrameSource): FrameSource {
  const { dIn, info, rows } = source;
  return {
    dIn, info, rows, statistics: () => source.statistics(),
    async* chunks(options) {
      for await (const chunk of source.chunks(options)) {
        if (signal.aborted) throw new CochleaError('interrupted', 'stopped');
        yield chunk;
      }
    },
  };
}

async function loop(options: RunOptions, trainer: Trainer, buffer: MixingBuffer, settings: Record<string, Json>): Promise<RunResult> {
  const { out, signal, onProgress, checkpointEvery = 0, checkpointMinutes = 0 } = options;
  const steps = totalSteps(trainer.config), rows = trainer.config.train_batch_size_samples;
  const log = await MetricsLog.open(runtime.paths.join(out, 'metrics.jsonl'), options.logEvery ?? 10, trainer.step, steps);
  const first = trainer.step;
  const began = performance.now();
  let saved = began;
  let last = log.last;
  let pending: Promise<StepMetrics[]> = Promise.resolve([]);

  const settle = async (): Promise<void> => {
    for (const metrics of await pending) {
      await log.add(metrics);
      last = metrics;
      const framesPerSecond = ((metrics.step - first) * rows) / ((performance.now() - began) / 1000);
      onProgress?.({ metrics, steps, framesPerSecond, secondsLeft: ((steps - metrics.step) * rows) / framesPerSecond, epoch: buffer.epoch });
    }
    pending = Promise.resolve([]);
  };
  const read = async (): Promise<void> => {
    const next = trainer.metrics();
    next.catch(() => {}); // it is awaited one window later
    await settle();
    pending = next;
  };
  const checkpoint = async (): Promise<void> => {
    await read();
    await settle();
    await log.flush();
    await writeCheckpoint(out, { trainer: await trainer.state(), mixing: buffer.state(), input: trainer.input, settings });
    saved = performance.now();
  };

  /** The next batch; undefined once the run is to stop. */
  const next = async (): Promise<Float32Array | undefined> => {
    if (signal?.aborted) return undefined;
    try {
      return (await buffer.next()).x;
    } catch (error) {
      if (error instanceof CochleaError && error.code === 'interrupted') return undefined;
      throw error;
    }
  };

  while (trainer.step < steps) {
    const batch = await next();
    if (!batch) {
      if (trainer.step > 0) await checkpoint();
      throw new CochleaError('interrupted', `stopped after step ${trainer.step} of ${steps}`, trainer.step > 0 ? 'the same command with --resume goes on from here' : undefined);
    }
    trainer.train(batch);
    if (trainer.unread >= window) await read();
    const due = (checkpointEvery > 0 && trainer.step % checkpointEvery === 0) || (checkpointMinutes > 0 && performance.now() - saved > checkpointMinutes * 60_000);
    if (due && trainer.step < steps) await checkpoint();
  }
  await read();
  await settle();
  await log.flush();
  if (!last) throw new CochleaError('config', 'the run has no step left to train', 'its checkpoint is at the last step already');
  const seconds = (performance.now() - began) / 1000, trained = steps - first;
  return { out, final: last, steps, trained, seconds, framesPerSecond: (trained * rows) / seconds, dropped: buffer.dropped };
}

/** Writes the SAE; the checkpoints have done their work and go. */
async function save(options: RunOptions, trainer: Trainer, info: ActivationInfo, final: StepMetrics): Promise<void> {
  const firings = await trainer.firings();
  const metadata = {
    ...audioMetadata(info, trainer.sae.architecture),
    l0: final.l0, num_dead_features: final.dead, input_scale: trainer.input.scale, centred: options.centre, seed: trainer.config.seed,
  };
  const { config, weights } = inferenceForm(trainer.sae, await trainer.weights(), trainer.input, metadata);
  await writeSaelensFolder(options.out, { config, tensors: tensorsFromWeights(weights), logSparsity: logSparsity(firings.counts, firings.rows) });
  await runtime.files.remove(runtime.paths.join(options.out, 'checkpoints'));
}
