/**
 * manifest.json of a run: what its bits depend on, and digests of what training went on from after some steps. `cochlea verify FOLDER` trains
 * the first steps again and compares. A run that was stopped and resumed leaves the same file.
 */
import { CochleaError } from '../errors.ts';
import type { Json } from '../formats/index.ts';
import type { Gpu } from '../gpu/index.ts';
import { chained, digest, noDigest, shaders } from '../kernels/index.ts';
import { runtime } from '../runtime/index.ts';
import type { Member } from './run-folder.ts';
import type { Trainer } from './trainer.ts';

const format = 'cochlea manifest 1';

/** Steps between digests; and after 1, 2, 4, ... steps below it, so that the first of them are soon compared. */
const every = 100;

export function isDigested(step: number): boolean {
  return step % every === 0 || (step < every && (step & (step - 1)) === 0);
}

/** Where steps ran. */
export interface RunEnvironment {
  /** Steps that were done before the first here. */
  from: number;
  adapter: Json;
  runtime: string;
  /** SHA-256 of every shader's text, the first 12 digits. */
  shaders: Record<string, string>;
  /** Of kernel families that have several. */
  variants: Record<string, string>;
}

export interface ManifestContent {
  format: typeof format;
  seed: number;
  mixing_seed: number;
  data_sha256: string;
  /** One, unless the run was resumed elsewhere. */
  environments: RunEnvironment[];
  /** By steps done: the digest of parameters, moments and counters (Trainer.stateTensors, in their order). */
  digests: Record<string, string>;
}

/** The digest of everything that a trainer goes on from but its running threshold, after all steps so far. Nothing else is read back. */
export async function stateDigest(gpu: Gpu, trainer: Trainer): Promise<string> {
  const tensors = trainer.stateTensors();
  const digests = gpu.tensor({ label: 'state digests', dtype: 'u32', rows: 1, columns: 2 * tensors.length });
  try {
    const rec = gpu.record();
    tensors.forEach(([, tensor], slot) => digest(rec, { tensor, digests }, slot));
    rec.submit();
    return chained(noDigest, await gpu.downloadIntegers(digests));
  } finally {
    gpu.free(digests);
  }
}

/** `choices`: names of variants that are meant; without it all. */
export function runEnvironment(gpu: Gpu, from: number, choices?: ReadonlySet<string>): RunEnvironment {
  return {
    from, adapter: { ...gpu.adapter }, runtime: runtime.version, shaders: Object.fromEntries(Object.entries(shaders).map(([name, { hash }]) => [name, hash.slice(0, 12)])),
    variants: sorted([...gpu.variants].filter(([choice]) => choices?.has(choice) ?? true)),
  };
}

const sorted = (entries: [string, string][]): Record<string, string> => Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));

const pathOf = (folder: string): string => runtime.paths.join(folder, 'manifest.json');

/** Throws `file-missing` for a folder without one, `file-damaged` for what is none. */
export async function readManifest(folder: string): Promise<ManifestContent> {
  const path = pathOf(folder);
  if (!await runtime.files.info(path)) throw new CochleaError('file-missing', `${folder} has no manifest.json`, 'runs of this version and later have one');
  try {
    const found = JSON.parse(await runtime.files.readText(path)) as ManifestContent;
    if (found.format === format && Array.isArray(found.environments) && typeof found.digests === 'object') return found;
  } catch (error) {
    if (error instanceof CochleaError) throw error;
  }
  throw new CochleaError('file-damaged', `${path} is no manifest of a run`);
}

/** Whether a folder has a manifest.json that is none of a run: an activation store has one too. */
export async function hasOtherManifest(folder: string): Promise<boolean> {
  return await runtime.files.info(pathOf(folder)) !== undefined && await readManifest(folder).then(() => false, (error: unknown) => {
    if (error instanceof CochleaError && error.code === 'file-damaged') return true;
    throw error;
  });
}

/** The variants that a run's last steps ran with, where this adapter and runtime ran them: on others they may not run, and would not give the same bits. */
export async function variantsOfManifest(gpu: Gpu, folder: string): Promise<Record<string, string>> {
  if (!await runtime.files.info(pathOf(folder))) return {};
  const last = (await readManifest(folder)).environments.at(-1);
  const same = last && last.runtime === runtime.version && JSON.stringify(last.adapter) === JSON.stringify({ ...gpu.adapter });
  return same ? last.variants : {};
}

/** The manifest of a run as it grows. */
export class RunManifest {
  readonly #gpu: Gpu;
  readonly #folder: string;
  readonly #content: ManifestContent;
  /** Names of the variants that the SAE's steps asked for: others train on the same device. */
  readonly #choices = new Set<string>();
  /** Digests on their way from the GPU. */
  #pending: Promise<[step: number, digest: string]>[] = [];

  private constructor(gpu: Gpu, folder: string, content: ManifestContent) {
    this.#gpu = gpu;
    this.#folder = folder;
    this.#content = content;
  }

  /** Begins one, or goes on with that of the steps up to `from`; what it says of later ones is forgotten. */
  static async open(gpu: Gpu, { folder, training, settings }: Member, dataSha256: string, from: number): Promise<RunManifest> {
    const before = from > 0 && await runtime.files.info(pathOf(folder)) ? await readManifest(folder) : undefined;
    const digests = Object.fromEntries(Object.entries(before?.digests ?? {}).filter(([step]) => Number(step) <= from));
    const environments = before?.environments.filter((known) => known.from < from) ?? [];
    const manifest = new RunManifest(gpu, folder, { format, seed: training.seed, mixing_seed: Number(settings['mixing_seed']), data_sha256: dataSha256, environments, digests });
    manifest.#noteEnvironment(from);
    return manifest;
  }

  #noteEnvironment(from: number): void {
    const { environments } = this.#content;
    const now = runEnvironment(this.#gpu, from, this.#choices), last = environments.at(-1);
    const same = (a: RunEnvironment, b: RunEnvironment): boolean => JSON.stringify({ ...a, from: 0, variants: {} }) === JSON.stringify({ ...b, from: 0, variants: {} });
    if (!last || !same(last, now)) environments.push(now);
    else last.variants = sorted(Object.entries({ ...last.variants, ...now.variants })); // they are chosen when a family runs first
  }

  /** Records a step, and which variants it asks for. */
  step(record: () => void): void {
    const { variants } = this.#gpu;
    variants.get = (choice) => {
      this.#choices.add(choice);
      return Map.prototype.get.call(variants, choice) as string | undefined;
    };
    try {
      record();
    } finally {
      delete (variants as { get?: unknown }).get; // the prototype's again
    }
  }

  /** To be called after every step: some are digested. Does not wait for the GPU. */
  afterStep(trainer: Trainer): void {
    const { step } = trainer;
    if (!isDigested(step)) return;
    const found = stateDigest(this.#gpu, trainer).then((digest): [number, string] => [step, digest]);
    found.catch(() => {}); // it is awaited by flush
    this.#pending.push(found);
  }

  /** Waits for all digests and writes the file. */
  async flush(): Promise<void> {
    const found = await Promise.all(this.#pending);
    this.#pending = [];
    for (const [step, digest] of found) this.#content.digests[step] = digest;
    this.#noteEnvironment(this.#content.environments.at(-1)!.from);
    await runtime.files.write(pathOf(this.#folder), `${JSON.stringify(this.#content, null, 2)}\n`);
  }
}
