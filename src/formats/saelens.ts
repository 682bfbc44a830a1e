/**
 * Folders of SAELens 6: cfg.json, sae_weights.safetensors and, beside them, sparsity.safetensors. Tensors
 * keep their names, their orientation (W_enc [d_in, d_sae], W_dec [d_sae, d_in]) and their form; what the
 * numbers mean is the business of the architectures.
 */

import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { decodeElements, encodeElements } from './dtype.ts';
import type { FloatDType } from './dtype.ts';
import { checkTensors, saelensForm } from './saelens-architectures.ts';
import { configDType, parseSaelensConfig, saelensVersion } from './saelens-config.ts';
import type { SaelensConfig } from './saelens-config.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';
import type { Safetensors, TensorToWrite } from './safetensors.ts';

const configFile = 'cfg.json';
const weightsFile = 'sae_weights.safetensors';
const sparsityFile = 'sparsity.safetensors';

export interface SaelensTensor {
  readonly shape: readonly number[];
  /** Row-major. Doubles when the configuration's dtype is float64, and for topk_threshold. */
  readonly data: Float32Array | Float64Array;
}

export interface SaelensFolder {
  config: SaelensConfig;
  form: 'training' | 'inference';
  tensors: Map<string, SaelensTensor>;
  /** log10(firing frequency + 1e-10) per latent, when the folder has it. */
  logSparsity: Float32Array | undefined;
}

/**
 * Reads an SAE as SAELens 6.18 does: every tensor is rounded to the configuration's dtype, whatever its own, except
 * topk_threshold, which keeps its float64; the tensors must be exactly those of the architecture. Files from before
 * version 6, and a JumpReLU saved with `log_threshold`, are brought into the present form.
 * Throws `file-missing`, `file-damaged`; `config` for an architecture that is not known.
 */
export async function readSaelensFolder(path: string): Promise<SaelensFolder> {
  const configPath = runtime.paths.join(path, configFile);
  if (!await runtime.files.info(configPath)) throw new CochleaError('file-missing', `no SAE in ${path}: there is no ${configFile}`, 'name a folder that `cochlea train` wrote, or `cochlea pull` or `cochlea convert`');
  const config = parseSaelensConfig(await runtime.files.readText(configPath), configPath);
  const weightsPath = runtime.paths.join(path, weightsFile);
  const file = await openSafetensors(weightsPath);
  const tensors = new Map<string, SaelensTensor>();
  try {
    const renamed = config.architecture === 'jumprelu' && !file.tensors.has('threshold') && file.tensors.has('log_threshold');
    const dropped = await isUnitScaling(file, config) ? 'scaling_factor' : undefined;
    const presentName = (name: string): string => (renamed && name === 'log_threshold' ? 'threshold' : name);
    const names = [...file.tensors.keys()].filter((name) => name !== dropped);
    // Names and shapes before data: a file of the wrong kind is refused before gigabytes are read.
    checkTensors(config, new Map(names.map((name) => [presentName(name), file.tensors.get(name)!])), weightsPath);
    for (const name of names) {
      const { shape } = file.tensors.get(name)!;
      const data = await readTensor(file, name, name === 'topk_threshold' ? 'F64' : configDType(config));
      if (presentName(name) !== name) for (let i = 0; i < data.length; i++) data[i] = Math.exp(data[i]!);
      tensors.set(presentName(name), { shape, data });
    }
  } finally {
    await file.close();
  }
  return { config, form: saelensForm(config), tensors, logSparsity: await readSparsity(path, config) };
}

/** Before version 6 a file could hold scaling_factor [d_sae]. SAELens drops one of all ones; any other has no place any more. */
async function isUnitScaling(file: Safetensors, config: SaelensConfig): Promise<boolean> {
  if (file.tensors.get('scaling_factor')?.shape.join() !== String(config.d_sae)) return false;
  if ((await file.readFloat32('scaling_factor')).every((factor) => factor === 1)) return true;
  throw new CochleaError('file-damaged', `${file.path} was fine-tuned with a scaling factor per latent, which SAELens 6 no longer has`,
    'multiply the factors into W_dec with the version of SAELens that made the file');
}

async function readTensor(file: Safetensors, name: string, dtype: FloatDType): Promise<Float32Array | Float64Array> {
  if (dtype === 'F64') return file.readFloat64(name);
  const data = await file.readFloat32(name);
  if (dtype !== 'F32' && file.tensors.get(name)!.dtype !== dtype) {
    const block = 1 << 16;
    for (let at = 0; at < data.length; at += block) decodeElements(encodeElements(data.subarray(at, at + block), dtype), dtype, data, at);
  }
  return data;
}

async function readSparsity(path: string, config: SaelensConfig): Promise<Float32Array | undefined> {
  const sparsityPath = runtime.paths.join(path, sparsityFile);
  if (await runtime.files.info(sparsityPath) === undefined) return undefined;
  const file = await openSafetensors(sparsityPath);
  try {
    const shape = file.tensors.get('sparsity')?.shape;
    if (shape !== undefined && shape.join() !== String(config.d_sae)) {
      throw new CochleaError('file-damaged', `sparsity of ${sparsityPath} has shape [${shape.join(', ')}], not [${config.d_sae}]`);
    }
    return await file.readFloat32('sparsity');
  } finally {
    await file.close();
  }
}

/** What SAELens keeps in sparsity.safetensors: log10(firings / samples + 1e-10) per latent; NaN when there were no samples. */
export function logSparsity(firings: ArrayLike<number>, samples: number): Float32Array {
  return Float32Array.from(firings, (count) => Math.log10(count / samples + 1e-10));
}

export interface SaelensToWrite {
  config: SaelensConfig;
  /** Name, shape and elements, at once or piece by piece; written in the configuration's dtype, topk_threshold in float64. */
  tensors: Iterable<readonly [string, { readonly shape: readonly number[]; readonly data: TensorToWrite['data'] }]>;
  logSparsity?: Float32Array | undefined;
}

/**
 * Writes a folder that SAELens reads. cfg.json goes away first and comes back last, so that a folder with one is whole.
 * The metadata is kept; the SAELens version that it must have is added where it has none. Throws `config` for tensors
 * that are not those of the architecture, before anything is written.
 */
export async function writeSaelensFolder(path: string, { config, tensors, logSparsity: sparsity }: SaelensToWrite): Promise<void> {
  const configPath = runtime.paths.join(path, configFile);
  const weightsPath = runtime.paths.join(path, weightsFile);
  const sparsityPath = runtime.paths.join(path, sparsityFile);
  const found = new Map(tensors);
  checkTensors(config, found, weightsPath);
  const dtype = configDType(config);
  const list = [...found].map(([name, { shape, data }]): TensorToWrite => (
    { name, dtype: name === 'topk_threshold' ? 'F64' : dtype, shape, data }));
  const metadata = { sae_lens_version: saelensVersion, sae_lens_training_version: saelensVersion, ...config.metadata };

  await runtime.files.remove(configPath);
  await writeSafetensors(weightsPath, list);
  if (sparsity) await writeSafetensors(sparsityPath, [{ name: 'sparsity', dtype: 'F32', shape: [config.d_sae], data: sparsity }]);
  else await runtime.files.remove(sparsityPath);
  await runtime.files.write(configPath, `${JSON.stringify({ ...config, metadata })}\n`);
}
