/** The folder of a run: what it must be started with, what an earlier call left in it, and what is written at the end. */
import type { ActivationInfo, FrameSource, TargetInfo } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { type Json, logSparsity, writeSaelensFolder } from '../formats/index.ts';
import { runtime } from '../runtime/index.ts';
import { architectureOf, type BaseConfig, type Compatibility, tensorsFromWeights } from '../sae/index.ts';
import { type Checkpoint, readCheckpoint } from './checkpoint.ts';
import type { TrainerConfig } from './config.ts';
import { audioMetadata, inferenceForm } from './export.ts';
import { writeInputMean } from './input-mean.ts';
import { hasOtherManifest } from './manifest.ts';
import { readMetrics } from './metrics-log.ts';
import type { StartStatistics } from './start-statistics.ts';
import type { StepMetrics } from './step-metrics.ts';
import type { Trainer } from './trainer.ts';

const { files, paths } = runtime;

/** One SAE of a run. */
export interface Member {
  /** '' in a run of one, which writes into the run's own folder. */
  name: string;
  folder: string;
  sae: BaseConfig;
  training: TrainerConfig;
  centre: boolean;
  compatibility: Compatibility;
  /** Everything that decides its bits, apart from the data's own content. The same alone and among others. */
  settings: Record<string, Json>;
}

/** What a member has of the stream. */
export interface StreamSettings {
  source: FrameSource;
  mixingSeed: number;
  bufferRows: number;
  shuffle: boolean;
  dropNonFinite: boolean;
  pairs: boolean;
}

export function memberSettings({ sae, training, centre, compatibility }: Omit<Member, 'name' | 'folder' | 'settings'>, stream: StreamSettings): Record<string, Json> {
  const { source, mixingSeed, bufferRows, shuffle, dropNonFinite, pairs } = stream;
  const { info, targetInfo } = source;
  const json = (values: object): Record<string, Json> => ({ ...values }) as Record<string, Json>;
  return {
    sae: json(sae), training: json(training), centre, mixing_buffer: bufferRows, shuffle, mixing_seed: mixingSeed, pairs, drop_non_finite: dropNonFinite, compatibility,
    activations: json(info), ...(architectureOf(sae.architecture).needs === 'targets' ? { target: json(targetInfo!) } : {}),
  };
}

/** The settings of a run that its checkpoints keep. */
export function runSettings(members: readonly Member[]): Record<string, Json> {
  return members[0]!.name === '' ? members[0]!.settings : Object.fromEntries(members.map(({ name, settings }) => [name, settings]));
}

/**
 * The last metrics of a member that an earlier call trained to the end and saved: cfg.json is written last. Throws `config` when it had other
 * settings, `file-exists` for an SAE from elsewhere.
 */
export async function finished({ folder, settings }: Member, steps: number): Promise<StepMetrics | undefined> {
  if (!await files.info(paths.join(folder, 'cfg.json'))) return undefined;
  const recordPath = paths.join(folder, 'run.json'), metricsPath = paths.join(folder, 'metrics.jsonl');
  if (!await files.info(recordPath)) throw new CochleaError('file-exists', `${folder} holds an SAE that was not trained here`, 'choose another --out');
  let record: Record<string, Json>;
  try {
    record = JSON.parse(await files.readText(recordPath)) as Record<string, Json>;
  } catch (error) {
    throw error instanceof CochleaError ? error : new CochleaError('file-damaged', `${recordPath} is not JSON`, 'the SAE beside it is whole');
  }
  refuseOthers(folder, Object.fromEntries(Object.keys(settings).map((key) => [key, record[key]!])), settings);
  const final = (await readMetrics(metricsPath)).at(-1);
  if (final?.step !== steps) throw new CochleaError('file-damaged', `${metricsPath} does not end with step ${steps}`, 'the SAE beside it is whole');
  return final;
}

/**
 * The checkpoint to go on from; undefined for a start from nothing. Throws `file-exists` for a folder in use, unless `resume`, and always for one that
 * holds activations, whose manifest.json would be lost.
 */
export async function startingPoint(out: string, members: readonly Member[], resume: boolean, notice: ((line: string) => void) | undefined): Promise<Checkpoint | undefined> {
  if (!resume) {
    for (const path of [...members.map(({ folder }) => paths.join(folder, 'cfg.json')), paths.join(out, 'checkpoints')]) {
      if (await files.info(path)) throw new CochleaError('file-exists', `${out} holds a run already`, 'go on with it by --resume, or choose another --out');
    }
    await refuseOtherManifests(members);
    return undefined;
  }
  const found = await readCheckpoint(out);
  if (!found) {
    await refuseOtherManifests(members);
    notice?.(`no checkpoint in ${out}: starting from the beginning`);
    return undefined;
  }
  for (const problem of found.problems) notice?.(`passed over a damaged checkpoint: ${problem}`);
  refuseOthers(out, found.checkpoint.settings, runSettings(members));
  notice?.(`going on after step ${found.checkpoint.step}`);
  return found.checkpoint;
}

async function refuseOtherManifests(members: readonly Member[]): Promise<void> {
  for (const { folder } of members) {
    if (!await hasOtherManifest(folder)) continue;
    throw new CochleaError('file-exists', `${folder} has a manifest.json that is none of a run, as activations have: it would be lost`, 'choose another --out');
  }
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

/** Writes run.json: what the call was, what decided its bits, where it ran, what it survived, and, when it is done, how it began. */
export async function writeRecord({ folder, settings }: Member, record: Record<string, Json> | undefined, adapter: object, recoveries: Json | undefined, start?: StartStatistics): Promise<void> {
  const fields = { ...record, ...settings, adapter: { ...adapter }, ...(recoveries === undefined ? {} : { recoveries }), ...(start ? { start: startFields(start) } : {}) };
  await files.write(paths.join(folder, 'run.json'), `${JSON.stringify(fields, null, 2)}\n`);
}

/** `recoveries` of the run.json that an earlier call left, where it has any. */
export async function recoveriesBefore({ folder }: Member): Promise<Json | undefined> {
  const path = paths.join(folder, 'run.json');
  if (!await files.info(path)) return undefined;
  try {
    return (JSON.parse(await files.readText(path)) as Record<string, Json>)['recoveries'];
  } catch {
    return undefined; // it is written anew
  }
}

function startFields({ frames, gamma, gammaCentred, deadShare }: StartStatistics): Record<string, Json> {
  return { frames, gamma, gamma_centred: gammaCentred, dead_share: deadShare };
}

/** Writes the SAE. Throws `not-finite` where the last update made numbers that are none: no step came after it to notice. */
export async function saveSae({ name, folder, training, centre }: Member, trainer: Trainer, final: StepMetrics, start: StartStatistics, source: { info: ActivationInfo; targetInfo?: TargetInfo }): Promise<void> {
  const firings = await trainer.firings();
  const isTranscoder = trainer.input.target !== undefined;
  const metadata = {
    ...audioMetadata(source.info, trainer.sae.architecture, isTranscoder ? source.targetInfo : undefined),
    l0: final.l0, num_dead_features: final.dead, input_scale: trainer.input.scale, ...(isTranscoder ? { target_scale: trainer.input.target!.scale } : {}), centred: centre,
    seed: training.seed, start: startFields(start),
  };
  const { config, weights } = inferenceForm(trainer.sae, await trainer.weights(), trainer.input, metadata, trainer.savedThreshold);
  const tensors = tensorsFromWeights(weights);
  for (const [tensor, { data }] of tensors) {
    if (data.every((value) => Number.isFinite(value))) continue;
    throw new CochleaError('not-finite', `${name === '' ? '' : `${name}: `}${tensor} is NaN or infinite after step ${trainer.step}`, 'lower the learning rate or check the frames');
  }
  if (centre) await writeInputMean(folder, trainer.input.mean);
  await writeSaelensFolder(folder, { config, tensors, logSparsity: logSparsity(firings.counts, firings.rows) });
}
