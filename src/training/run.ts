/** Whole training runs over a source of frames: from nothing or a checkpoint to folders that SAELens loads. */
import { type FrameSource, MixingBuffer, type MixingState } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import type { Json } from '../formats/index.ts';
import type { Gpu } from '../gpu/index.ts';
import { tuneEncode } from '../kernels/index.ts';
import { runtime } from '../runtime/index.ts';
import { architectureOf, type BaseConfig, type Compatibility, saeConfig } from '../sae/index.ts';
import { type Checkpoint, readCheckpoint } from './checkpoint.ts';
import { totalSteps, trainerConfig, type TrainerConfig } from './config.ts';
import { inputTransform } from './input-transform.ts';
import { type LoopOptions, type Running, type RunProgress, type Trained, trainSteps } from './loop.ts';
import { memoryPlan, type MemoryPlan, outOfMemory, refuseTooLarge } from './memory-plan.ts';
import { RunManifest, variantsOfManifest } from './manifest.ts';
import { MetricsLog } from './metrics-log.ts';
import { finished, type Member, memberSettings, recoveriesBefore, runSettings, saveSae, startingPoint, type StreamSettings, writeRecord } from './run-folder.ts';
import { isRecoverable, Recoveries } from './recoveries.ts';
import type { StepMetrics } from './step-metrics.ts';
import { StreamInputs, type StreamShape } from './stream-inputs.ts';
import { streamShape, Trainer } from './trainer.ts';

/** The stream of batches, and what a run does beside training. */
export interface StreamOptions {
  /** Its device is replaced when it is lost or runs out of memory: tensors of others that share it are then gone. */
  gpu: Gpu;
  source: FrameSource;
  /** Folder for everything the run writes. */
  out: string;
  /** Rows that are mixed with each other. */
  bufferRows: number;
  /** False: frames are taken in stored order. */
  shuffle: boolean;
  dropNonFinite?: boolean;
  /**
   * Batches have only frames that have one before them in their clip. Always so where an SAE compares with it; asked for, an SAE that does not gets
   * the same batches alone as among such.
   */
  pairs?: boolean;
  /** Steps between lines of metrics.jsonl. */
  logEvery?: number;
  /** Write an event file of TensorBoard beside metrics.jsonl. */
  tensorboard?: boolean;
  /** Steps between checkpoints, and minutes between them; 0 for never. */
  checkpointEvery?: number;
  checkpointMinutes?: number;
  /** Go on from the newest checkpoint in `out`, or from the start when there is none. */
  resume?: boolean;
  /** More settings to be written beside the result. */
  record?: Record<string, Json>;
  signal?: AbortSignal;
  onNotice?: (line: string) => void;
  /** Called with what the run takes of the memory, before it takes any. */
  onPlan?: (plan: MemoryPlan) => void;
}

/** One SAE, and how it trains. */
export interface SaeOptions {
  sae: BaseConfig;
  /** Its seed is that of the initialisation. */
  training: TrainerConfig;
  /** Subtract the mean frame before training (folded into the weights at the end). */
  centre: boolean;
  compatibility?: Compatibility;
}

export interface RunOptions extends StreamOptions, SaeOptions {
  /** Of the order of the frames; that of `training` unless told. */
  mixingSeed?: number;
  onProgress?: (progress: Progress) => void;
}

export interface ManyOptions extends StreamOptions {
  /** Batch size and total_training_samples are the same for all; each is written to a folder of its name in `out`. */
  saes: readonly (SaeOptions & { name: string })[];
  mixingSeed: number;
  onProgress?: (progress: ManyProgress) => void;
}

export interface Progress extends Omit<RunProgress, 'metrics'> {
  metrics: StepMetrics;
}

export interface ManyProgress extends Omit<RunProgress, 'metrics'> {
  saes: readonly { name: string; metrics: StepMetrics }[];
}

export interface RunResult extends Trained {
  out: string;
  /** Of the last step. */
  final: StepMetrics;
}

export interface ManyResult extends Trained {
  out: string;
  saes: { name: string; out: string; final: StepMetrics }[];
}

/**
 * Trains, checkpoints and saves. The same options, data and adapter give the same bytes, in one go or across any number of stops and of losses
 * of the device. Throws `file-exists` when `out` holds a run already, or another process trains into it, `gpu-memory` for what does not fit, `interrupted` after a checkpoint when
 * `signal` aborts, and what sources and the GPU throw.
 */
export async function trainRun(options: RunOptions): Promise<RunResult> {
  const { onProgress, mixingSeed = options.training.seed } = options;
  const { finals, ...trained } = await trainAll(options, mixingSeed, [{ ...options, name: '' }], onProgress && (({ metrics, ...rest }) => onProgress({ ...rest, metrics: metrics[0]! })));
  return { out: options.out, final: finals[0]!, ...trained };
}

/**
 * The same for many SAEs on one stream: every batch is read, mixed and uploaded once, and all train on it. Each leaves the bytes in `out/name` that
 * trainRun leaves with the same mixingSeed (and `pairs`), whatever the others are; one checkpoint holds them all. One that ends in numbers
 * that are none ends the run.
 */
export async function trainMany(options: ManyOptions): Promise<ManyResult> {
  const { saes, out, mixingSeed, onProgress } = options;
  checkNames(saes.map(({ name }) => name));
  const { finals, ...trained } = await trainAll(options, mixingSeed, saes, onProgress && (({ metrics, ...rest }) => (
    onProgress({ ...rest, saes: metrics.map((ofSae, n) => ({ name: saes[n]!.name, metrics: ofSae })) }))));
  return { out, saes: saes.map(({ name }, n) => ({ name, out: runtime.paths.join(out, name), final: finals[n]! })), ...trained };
}

function checkNames(names: readonly string[]): void {
  if (names.length === 0) throw new CochleaError('config', 'there is no SAE to train');
  const seen = new Set<string>();
  for (const name of names) {
    const folded = name.toLowerCase(); // file systems may not tell A from a
    if (!/^[a-z0-9][a-z0-9._-]*$/.test(folded) || folded === 'checkpoints') {
      throw new CochleaError('config', `an SAE cannot have the name ${JSON.stringify(name)}`, 'it becomes a folder: letters, digits, and . _ - behind the first');
    }
    if (seen.has(folded)) throw new CochleaError('config', `two SAEs have the name ${name}`, 'each needs a folder of its own');
    seen.add(folded);
  }
}

async function trainAll(options: StreamOptions, mixingSeed: number, saes: readonly (SaeOptions & { name: string })[], onProgress?: (progress: RunProgress) => void): Promise<Trained & { finals: StepMetrics[] }> {
  const { gpu, out, resume = false, onNotice } = options;
  const { members, pairs } = membersOf(options, mixingSeed, saes);
  const steps = totalSteps(members[0]!.training);
  if (resume) {
    for (const { folder } of members) await runtime.files.removePartials(folder); // a kill in the middle of a write
    const finals = [];
    for (const member of members) finals.push(await finished(member, steps));
    if (finals.every((final) => final !== undefined)) {
      await runtime.files.remove(checkpointsOf(out)); // what a kill left while they were being removed
      return { finals, steps, trained: 0, seconds: 0, framesPerSecond: 0, dropped: 0, recoveries: 0 };
    }
  }
  let found = await startingPoint(out, members, resume, onNotice);
  const { buffer, shape } = streamOf(options, mixingSeed, members, pairs);
  const beginning = buffer.state();
  const began = { step: found?.step ?? 0, time: performance.now() };
  try {
    const recoveries = new Recoveries(resume ? await recoveriesBefore(members[0]!) : undefined);
    const ready = async (): Promise<MemoryPlan> => {
      try {
        await settleVariants(gpu, members, found !== undefined, onNotice);
        return planOf(gpu, members, shape, buffer);
      } catch (error) {
        if (!isRecoverable(error) || error.code !== 'gpu-lost') throw error;
        await recoveries.replace(gpu, error, found?.step ?? 0, onNotice);
        return ready();
      }
    };
    const plan = await ready();
    options.onPlan?.(plan);
    refuseTooLarge(gpu, plan);
    let hasTrained = false;
    const onStart = (): void => void (hasTrained = true);
    for (;;) {
      try {
        return await attempt(options, members, found, { shape, buffer, mixing: found?.mixing ?? beginning, began, recoveries, onStart, ...(onProgress ? { onProgress } : {}) });
      } catch (error) {
        if (!isRecoverable(error)) throw error;
        if (!hasTrained && error.code === 'gpu-memory') throw outOfMemory(gpu, plan, error);
        found = (await readCheckpoint(out))?.checkpoint;
        await recoveries.recover(gpu, error, found?.step ?? 0, plan, onNotice);
      }
    }
  } catch (error) {
    throw await withWayOn(error, out);
  } finally {
    await buffer.close();
  }
}

interface Attempt extends Pick<LoopOptions, 'buffer' | 'began' | 'onProgress'> {
  shape: StreamShape;
  /** Where the frames begin. */
  mixing: MixingState;
  recoveries: Recoveries;
  /** Called when everything is allocated. */
  onStart: () => void;
}

/** Trains from a checkpoint, or from the start, to the end on the device that there is. */
async function attempt(options: StreamOptions, members: readonly Member[], found: Checkpoint | undefined, { shape, mixing, recoveries, onStart, ...loop }: Attempt): Promise<Trained & { finals: StepMetrics[] }> {
  const { gpu, source, out, record } = options;
  const steps = totalSteps(members[0]!.training);
  const running: Running[] = [];
  let stream: StreamInputs | undefined;
  try {
    stream = await gpu.allocate(`batches of ${shape.batch} frames of ${shape.dIn} numbers`, () => new StreamInputs(gpu, shape));
    for (const member of members) running.push(await start(options, member, stream, found, steps));
    await loop.buffer.restore(mixing);
    for (const { member } of running) await writeRecord(member, record, gpu.adapter, recoveries.record);
    onStart();
    const trained = await trainSteps({ ...options, ...loop, running, stream, settings: runSettings(members), recoveries: recoveries.count });
    for (const { member, trainer, last, start } of running) {
      await writeRecord(member, record, gpu.adapter, recoveries.record, start);
      await saveSae(member, trainer, last!, start!, source);
    }
    await runtime.files.remove(checkpointsOf(out)); // they have done their work
    return { ...trained, finals: running.map(({ last }) => last!) };
  } finally {
    for (const { trainer } of running) trainer.dispose();
    stream?.dispose();
  }
}

/** Which variants run: on the adapter that began the run those of its manifests, else what is fastest where that is worth finding out. */
async function settleVariants(gpu: Gpu, members: readonly Member[], resumed: boolean, onNotice?: (line: string) => void): Promise<void> {
  for (const { folder, sae, training } of members) {
    const pinned = resumed ? await variantsOfManifest(gpu, folder) : {};
    for (const [choice, variant] of Object.entries(pinned)) gpu.variants.set(choice, variant);
    const line = await tuneEncode(gpu, { dIn: sae.d_in, dSae: sae.d_sae, rows: training.train_batch_size_samples });
    if (line) onNotice?.(line);
  }
}

const checkpointsOf = (out: string): string => runtime.paths.join(out, 'checkpoints');

/** The frames of a run as they are mixed, and as they come to the GPU. */
function streamOf(options: StreamOptions, mixingSeed: number, members: readonly Member[], pairs: boolean): { buffer: MixingBuffer; shape: StreamShape } {
  const { source, signal, bufferRows, shuffle, dropNonFinite = false } = options;
  const rows = members[0]!.training.train_batch_size_samples;
  const shape = { ...streamShape(members.map(({ sae }) => sae), rows), packed: source.halves !== undefined };
  const buffer = new MixingBuffer(signal ? until(signal, source) : source, {
    seed: mixingSeed, bufferRows, batchRows: rows, shuffle, dropNonFinite, target: shape.dOut !== undefined, previous: pairs,
  });
  return { buffer, shape };
}

/** What trainRun or trainMany would take of the memory: allocates nothing on the GPU, trains and writes nothing. */
export function planRun(options: RunOptions | ManyOptions): MemoryPlan {
  const [mixingSeed, saes] = 'saes' in options ? [options.mixingSeed, options.saes] : [options.mixingSeed ?? options.training.seed, [{ ...options, name: '' }]];
  const { members, pairs } = membersOf(options, mixingSeed, saes);
  const { buffer, shape } = streamOf(options, mixingSeed, members, pairs);
  return planOf(options.gpu, members, shape, buffer);
}

function planOf(gpu: Gpu, members: readonly Member[], shape: StreamShape, { bytes }: MixingBuffer): MemoryPlan {
  const { built: stream, tensors } = gpu.plan(() => new StreamInputs(gpu, shape));
  return memoryPlan([
    { sae: '', tensors: tensors.map((tensor) => ({ tensor, use: 'batch' as const })) },
    ...members.map(({ name, sae, training, compatibility }) => ({ sae: name, tensors: Trainer.plan({ gpu, sae, training, compatibility, stream }) })),
  ], bytes);
}

/** The SAEs of a run with everything that decides their bits. Throws `config` for those that cannot share a stream, and for one that the stream does not suit. */
function membersOf(options: StreamOptions, mixingSeed: number, saes: readonly (SaeOptions & { name: string })[]): { members: Member[]; pairs: boolean } {
  const { source, out, bufferRows, shuffle, dropNonFinite = false } = options;
  const needs = (what: 'targets' | 'previous') => ({ sae }: SaeOptions): boolean => architectureOf(sae.architecture).needs === what;
  const pairs = (options.pairs ?? false) || saes.some(needs('previous'));
  const transcoder = saes.find(needs('targets'));
  if (transcoder && (source.dOut === undefined || !source.targetInfo || !source.targetStatistics)) {
    throw new CochleaError('config', `a ${transcoder.sae.architecture} needs targets, and the frames of ${source.info.hook || 'the source'} have none`,
      'extract them with --target-hook, or give a .safetensors file with tensors `x` and `y`');
  }
  const stream: StreamSettings = { source, mixingSeed, bufferRows, shuffle, dropNonFinite, pairs };
  const members = saes.map(({ name, sae, training, centre, compatibility = 'corrected' }): Member => {
    const parts = {
      sae: saeConfig({ ...sae, d_in: source.dIn, ...(source.dOut === undefined ? {} : { d_out: source.dOut }) }),
      training: trainerConfig(training), centre, compatibility,
    };
    return { name, folder: name === '' ? out : runtime.paths.join(out, name), ...parts, settings: memberSettings(parts, stream) };
  });
  for (const { name, sae, training } of members) {
    const anneal = (sae as BaseConfig & { k_anneal_steps?: number }).k_anneal_steps ?? 0, steps = totalSteps(training);
    if (anneal >= steps) throw new CochleaError('config', `${name === '' ? '' : `${name}: `}k_anneal_steps is ${anneal}`, `it must be below the run's ${steps} steps, so that some are trained with k`);
  }
  for (const field of ['train_batch_size_samples', 'total_training_samples'] as const) {
    const other = members.find(({ training }) => training[field] !== members[0]!.training[field]);
    if (other) throw new CochleaError('config', `${field} of ${other.name} is ${other.training[field]}, of ${members[0]!.name} ${members[0]!.training[field]}`, 'SAEs on one stream share their batches');
  }
  return { members, pairs };
}

/** A trainer at the run's first step: initialised, or as the checkpoint left it. */
async function start({ gpu, source, logEvery = 10, tensorboard = false }: StreamOptions, member: Member, stream: StreamInputs, found: Checkpoint | undefined, steps: number): Promise<Running> {
  const { sae, training, centre, compatibility, folder, name } = member;
  const saved = found?.saes.get(name);
  const input = saved?.input ?? await inputTransform(source, sae, centre);
  const trainer = await Trainer.create({ gpu, sae, training, input, compatibility, stream });
  try {
    if (saved) trainer.restore(await saved.state());
    const log = await MetricsLog.open(runtime.paths.join(folder, 'metrics.jsonl'), logEvery, trainer.step, steps, { tensorboard });
    const manifest = await RunManifest.open(gpu, member, source.info.dataSha256, trainer.step);
    return { member, trainer, log, manifest, start: saved?.start, last: log.last };
  } catch (error) {
    trainer.dispose();
    throw error;
  }
}

/** A disk that is full, and what else can be mended, ends a run that can go on: says so. */
async function withWayOn(error: unknown, out: string): Promise<unknown> {
  if (!(error instanceof CochleaError) || error.code !== 'file-system' || !await runtime.files.info(checkpointsOf(out))) return error;
  return new CochleaError(error.code, error.message, 'when that is mended, the same command with --resume goes on', { cause: error });
}

/** The source, until the signal aborts: it then throws `interrupted` at the next chunk. Reading a window of recordings takes minutes. */
export function until(signal: AbortSignal, source: FrameSource): FrameSource {
  const { dIn, info, rows, dOut, targetInfo, halves } = source;
  return {
    dIn, info, rows, statistics: () => source.statistics(),
    ...(dOut === undefined ? {} : { dOut }), ...(targetInfo ? { targetInfo } : {}), ...(source.targetStatistics ? { targetStatistics: () => source.targetStatistics!() } : {}),
    chunks: (order) => whileRunning(signal, source.chunks(order)),
    ...(halves ? { halves: { format: halves.format, chunks: (order) => whileRunning(signal, halves.chunks(order)) } } : {}),
  };
}

async function* whileRunning<T>(signal: AbortSignal, chunks: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const chunk of chunks) {
    if (signal.aborted) throw new CochleaError('interrupted', 'stopped');
    yield chunk;
  }
}
