/** Trains the first steps of a run again, and compares what they leave with what the run's manifest says. */
import { type ActivationInfo, type FrameSource, MixingBuffer } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import type { Json } from '../formats/index.ts';
import type { Gpu } from '../gpu/index.ts';
import { runtime } from '../runtime/index.ts';
import type { BaseConfig, Compatibility } from '../sae/index.ts';
import { inputTransform, isDigested, type ManifestContent, readManifest, type RunEnvironment, runEnvironment, stateDigest, StreamInputs, streamShape, Trainer, type TrainerConfig } from '../training/index.ts';
import { environmentDifferences } from './compare.ts';
import { type Environment, hasFields, isMap, pinVariants } from './record.ts';

/** What run.json says of how the run was made. */
interface RunSettings {
  sae: BaseConfig;
  training: TrainerConfig;
  centre: boolean;
  compatibility: Compatibility;
  mixing_buffer: number;
  shuffle: boolean;
  mixing_seed: number;
  pairs: boolean;
  drop_non_finite: boolean;
  activations: Pick<ActivationInfo, 'dataSha256' | 'dIn' | 'computedBy'>;
  /** What the command was given. */
  flags?: Record<string, Json>;
}

export interface RunComparison {
  verdict: 'identical' | 'different';
  ok: boolean;
  /** Steps after which digests were compared. */
  compared: number[];
  /** The first of them that differs. */
  first: number | undefined;
  notes: string[];
  line: string;
}

/** Throws `file-missing` for a folder that holds no run, `file-damaged` for one whose run.json is not JSON or does not say how the run was made. */
export async function readRun(folder: string): Promise<{ settings: RunSettings; manifest: ManifestContent }> {
  const path = runtime.paths.join(folder, 'run.json');
  if (!await runtime.files.info(path)) throw new CochleaError('file-missing', `${folder} holds no run.json`, 'give the folder that `cochlea train --out` wrote, or one SAE of a run of many');
  const text = await runtime.files.readText(path);
  const manifest = await readManifest(folder);
  let settings: RunSettings | null;
  try {
    settings = JSON.parse(text) as RunSettings | null;
  } catch {
    throw new CochleaError('file-damaged', `${path} is not JSON`);
  }
  if (!settings || !hasFields({ sae: isMap, training: isMap, activations: isMap })(settings)) {
    throw new CochleaError('file-damaged', `${path} does not say how the run was made: \`sae\`, \`training\` or \`activations\` is missing`,
      'it is not what `cochlea train` wrote');
  }
  return { settings, manifest };
}

/**
 * The first `steps` steps of the run in a folder, on the frames that it trained on. On the adapter, driver, runtime, shaders and variants that the manifest
 * names all digests must be the same; elsewhere the first that differs is told, and it has no bound. Throws `config` for other frames.
 */
export async function verifyRun(gpu: Gpu, folder: string, source: FrameSource, { steps, onProgress }: { steps: number; onProgress?: (line: string) => void }): Promise<RunComparison> {
  const { settings, manifest } = await readRun(folder);
  if (manifest.data_sha256 !== source.info.dataSha256) {
    throw new CochleaError('config', `${folder} was trained on other frames: SHA-256 ${manifest.data_sha256 || 'unknown'}, not ${source.info.dataSha256 || 'unknown'}`, 'give those that it was trained on by --data');
  }
  const wanted = Object.keys(manifest.digests).map(Number).filter((step) => step <= steps && isDigested(step)).sort((a, b) => a - b);
  if (wanted.length === 0) throw new CochleaError('config', `the manifest of ${folder} has no digest of its first ${steps} steps`, 'a run writes them with its first checkpoint, and at its end');
  const then = manifest.environments.findLast(({ from }) => from < wanted.at(-1)!) ?? manifest.environments[0]!;
  pinVariants(gpu, comparable(then));
  const found = await digestsOf(gpu, settings, source, wanted, onProgress);
  const first = wanted.find((step) => found.get(step) !== manifest.digests[step]);
  const notes = environmentDifferences(comparable(runEnvironment(gpu, 0)), comparable(then));
  const last = wanted.at(-1)!, digests = `${wanted.length} digests of the first ${last} steps`;
  if (first === undefined) return { verdict: 'identical', ok: true, compared: wanted, first, notes, line: `identical: ${digests} of ${folder} (${wanted.join(', ')})` };
  const before = wanted.filter((step) => step < first).at(-1) ?? 0;
  const why = notes.length === 0 ? 'though adapter, driver, runtime, shaders and variants are the same' : `on another machine or program: ${notes[0]}${notes.length > 1 ? ` (and ${notes.length - 1} more)` : ''}`;
  return { verdict: 'different', ok: false, compared: wanted, first, notes, line: `different: ${folder} differs first between step ${before} and step ${first}, ${why}; later steps have no bound` };
}

async function digestsOf(gpu: Gpu, settings: RunSettings, source: FrameSource, wanted: readonly number[], onProgress?: (line: string) => void): Promise<Map<number, string>> {
  const { sae, training, centre, compatibility, shuffle, pairs } = settings;
  const batch = training.train_batch_size_samples;
  const shape = { ...streamShape([sae], batch), packed: source.halves !== undefined };
  const buffer = new MixingBuffer(source, {
    seed: settings.mixing_seed, bufferRows: settings.mixing_buffer, batchRows: batch, shuffle, dropNonFinite: settings.drop_non_finite, target: shape.dOut !== undefined, previous: pairs,
  });
  const stream = new StreamInputs(gpu, shape);
  const found = new Map<number, string>();
  try {
    const trainer = await Trainer.create({ gpu, sae, training, input: await inputTransform(source, sae, centre), compatibility, stream });
    try {
      const last = wanted.at(-1)!;
      while (trainer.step < last) {
        const frames = await buffer.next();
        trainer.train(frames);
        if (trainer.resamplingIsDue) await trainer.resample(frames);
        if (wanted.includes(trainer.step)) found.set(trainer.step, await stateDigest(gpu, trainer));
        if (trainer.unread >= 8 || trainer.step === last) await trainer.metrics();
        onProgress?.(`step ${trainer.step} of ${last}`);
      }
    } finally {
      trainer.dispose();
    }
  } finally {
    await buffer.close();
    stream.dispose();
  }
  return found;
}

/** As records have it. */
function comparable({ adapter, ...rest }: RunEnvironment): Environment {
  return { ...rest, adapter: adapter as unknown as Environment['adapter'], cochlea: '', driver: null };
}
