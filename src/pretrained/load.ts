/** A published SAE from a local folder, whatever family it is of. */
import { CochleaError } from '../errors.ts';
import type { Gpu } from '../gpu/index.ts';
import { foldInputTransform, SAE } from '../sae/index.ts';
import { type FileSet, openFileSet } from './files.ts';
import type { Loader, LoadOptions, PretrainedSae } from './loader.ts';
import { loaders } from './loaders/index.ts';

/** Throws `usage` for a name that nobody has. */
export function loaderNamed(name: string): Loader {
  const found = loaders.find((loader) => loader.name === name);
  if (!found) throw new CochleaError('usage', `there is no loader ${JSON.stringify(name.slice(0, 60))}`, `these are: ${loaders.map((loader) => loader.name).join(', ')}`);
  return found;
}

/** The first loader whose files these are. Throws `file-missing` when nobody knows them. */
export async function detectLoader(files: FileSet): Promise<Loader> {
  for (const loader of loaders) if (await loader.detect(files)) return loader;
  const names = [...files.names].slice(0, 8).join(', ') || 'nothing';
  throw new CochleaError('file-missing', `${files.folder} holds no SAE that is known here; it has ${names}`, `known are ${loaders.map(({ title }) => title).join('; ')}`);
}

/**
 * Reads the SAE in a folder or file, or the one at `id` below it, into the inference form: SAELens' configuration and latent-major weights.
 * Elements keep their values (rounded to float32 where the file is wider) but where a family's definition folds a factor into them; its loader
 * says so. Throws `file-missing`, `file-damaged`; `config` for an SAE that has no form here, with the reason.
 */
export async function readPretrained(path: string, id?: string, options: LoadOptions = {}): Promise<PretrainedSae & { loader: string }> {
  const files = await openFileSet(path, id);
  const loader = options.loader === undefined ? await detectLoader(files) : loaderNamed(options.loader);
  const read = await loader.read(files, options);
  const config = { ...read.config, ...options.overrides, metadata: { ...options.metadata, ...read.config.metadata } };
  const known = { ...read, config, loader: loader.name };
  if (config.normalize_activations !== 'expected_average_only_in') return known;
  if (options.scale === undefined) return { ...known, notes: [...read.notes, 'frames have to be brought to a mean norm of sqrt(d_in) first: the factor is not known'] };
  const weights = foldInputTransform(read.weights, new Float32Array(config.d_in), options.scale, config.apply_b_dec_to_input);
  return { ...known, config: { ...config, normalize_activations: 'none' }, weights };
}

/** The same, on the GPU. */
export async function loadPretrainedFolder(gpu: Gpu, path: string, id?: string, options: LoadOptions = {}): Promise<{ sae: SAE; notes: string[] }> {
  const { config, weights, notes } = await readPretrained(path, id, options);
  return { sae: await SAE.create(gpu, config, weights), notes };
}
