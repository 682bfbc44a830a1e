/** Cases of the SAELens fixture set, read through any reader of files, so that a page can fetch them. */
import { parseSafetensors, type SaelensConfig, type SaelensTensor } from '../../src/formats/index.ts';
import { type Weights, weightsFromTensors } from '../../src/sae/index.ts';

/** Gives a file of the fixture folder by its path below it. */
export type ReadFile = (path: string) => Promise<Uint8Array>;

export type Tensors = Record<string, { shape: readonly number[]; data: Float64Array }>;

/** A case that manifest.json lists. */
export interface FixtureCase {
  name: string;
  kind: 'inference' | 'training';
  /** As the manifest calls it; a cfg.json from before SAELens 6 says it in other words. */
  architecture: string;
}

interface ManifestEntry {
  case: string;
  architecture: string;
}

export async function readManifest(read: ReadFile): Promise<FixtureCase[]> {
  const { infer, train } = await readJson<{ infer: ManifestEntry[]; train: ManifestEntry[] }>(read, 'manifest.json');
  const listed = (entries: ManifestEntry[], kind: FixtureCase['kind']): FixtureCase[] => entries.map(({ case: name, architecture }) => ({ name, kind, architecture }));
  return [...listed(infer, 'inference'), ...listed(train, 'training')];
}

export async function readJson<T>(read: ReadFile, path: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await read(path))) as T;
}

export async function readTensors(read: ReadFile, path: string): Promise<Tensors> {
  const file = await parseSafetensors(await read(path), path);
  const tensors: Tensors = {};
  for (const [name, { shape }] of file.tensors) tensors[name] = { shape, data: await file.readFloat64(name) };
  return tensors;
}

/** Host weights of a fixture's tensors, those named with a prefix such as `step5.`. */
export function weightsOf(tensors: Tensors, prefix = ''): Weights {
  const named = Object.entries(tensors).filter(([name]) => name.startsWith(prefix) && !name.slice(prefix.length).includes('.'));
  const { topk_threshold: _, ...own } = Object.fromEntries(named.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
  return weightsFromTensors(new Map(Object.entries(own) as [string, SaelensTensor][]));
}

/** case.json of a training case, as far as the checks read it. */
export interface TrainingRecord {
  n_steps: number;
  batch: number;
  batch_scale: number;
  activation_scaling_factor: number | null;
  sae_cfg: SaelensConfig;
  trainer_cfg: Record<string, number | string | boolean>;
  single_step: { coefficients: Record<string, number>; losses_f64: Record<string, number>; losses: Record<string, number> };
  steps: { lr_used: number; n_dead_at_start: number; grad_norm_before_clip: number; losses: Record<string, number>; explained_variance: number; explained_variance_legacy: number; l0: number; coefficients_used: Record<string, number>; topk_threshold_after?: number | null }[];
  n_frac_active_samples_end: number;
}

/** |a - b| / |b| in the Euclidean norm. */
export function relativeDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0, size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return size === 0 ? Math.sqrt(difference) : Math.sqrt(difference / size);
}
