/**
 * `cfg.json` of a SAELens folder: the fields of SAELens 6 under their own names, and the mapping of flat
 * configurations from before version 6. What each field means: SAELens, sae_lens/saes/sae.py (SAEConfig,
 * TrainingSAEConfig) and sae_lens/loading/pretrained_sae_loaders.py (handle_pre_6_0_config).
 */

import { CochleaError } from '../errors.ts';
import type { FloatDType } from './dtype.ts';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

export interface SaelensConfig {
  architecture: string;
  d_in: number;
  d_sae: number;
  /** `float32`, `float64`, `float16` or `bfloat16`; `torch.` before it is dropped on reading. */
  dtype: string;
  device: string;
  apply_b_dec_to_input: boolean;
  normalize_activations: string;
  reshape_activations: string;
  /** Where the activations came from; free-form, kept as it is. */
  metadata: Record<string, Json>;
  /** Fields of one architecture or of training (k, d_out, l1_coefficient, ...), kept as they are. */
  [field: string]: Json;
}

/** The version whose files we write. Without a version SAELens takes a file for one from before 6. */
export const saelensVersion = '6.18.0';

const dtypes = new Map<string, FloatDType>([['float32', 'F32'], ['float64', 'F64'], ['float16', 'F16'], ['bfloat16', 'BF16']]);
const dtypeNames = [...dtypes.keys()].join(', ');
const normalizations = ['none', 'expected_average_only_in', 'constant_norm_rescale', 'layer_norm', 'constant_scalar_rescale'];
const reshapes = ['none', 'hook_z'];

/** The element type that a configuration's `dtype` names. */
export function configDType(config: SaelensConfig): FloatDType {
  const dtype = dtypes.get(config.dtype);
  if (dtype === undefined) throw new CochleaError('config', `dtype "${config.dtype}" is none of ${dtypeNames}`);
  return dtype;
}

const maxDepth = 64;

/** Reads the text of a cfg.json; `path` stands for it in messages. Throws `file-damaged`. */
export function parseSaelensConfig(text: string, path: string): SaelensConfig {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch (error) {
    throw new CochleaError('file-damaged', `${path} is not JSON (${(error as Error).message.replace(/\s+/g, ' ')})`);
  }
  if (!isObject(fields)) throw new CochleaError('file-damaged', `${path} is not a JSON object`);
  // What is read is written again, and JSON.stringify takes the stack for it.
  for (let depth = 0, level: Json[] = [fields]; level.length > 0; depth++) {
    if (depth > maxDepth) throw new CochleaError('file-damaged', `${path} is nested more than ${maxDepth} deep`);
    level = level.flatMap((value) => (typeof value === 'object' && value !== null ? Object.values(value) : []));
  }
  return checked(isLegacy(fields, path) ? fromLegacy(fields) : fields, path);
}

function isObject(value: unknown): value is Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** SAELens compares with 6.0.0rc0, in the order of PEP 440. */
function isLegacy(fields: Record<string, Json>, path: string): boolean {
  const version = fields['sae_lens_version'] ?? (isObject(fields['metadata']) ? fields['metadata']['sae_lens_version'] : undefined);
  if (version === undefined || version === null) return true;
  const parts = /^v?(\d+)((?:\.\d+)*)(.*)$/.exec(String(version));
  if (!parts) throw new CochleaError('file-damaged', `${path}: sae_lens_version "${String(version).slice(0, 40)}" is not a version number`);
  const [, major, minor, suffix] = parts as unknown as [string, string, string, string];
  return Number(major) < 6 || (Number(major) === 6 && /^[.0]*$/.test(minor) && /^[-_.]?(a|b|dev)/i.test(suffix));
}

const legacyNames: Readonly<Record<string, string>> = {
  hook_point: 'hook_name', hook_point_head_index: 'hook_head_index', activation_fn_str: 'activation_fn',
};
const legacyMetadata = [
  'model_name', 'hook_name', 'model_class_name', 'hook_head_index', 'model_from_pretrained_kwargs', 'prepend_bos', 'exclude_special_tokens',
  'neuronpedia_id', 'context_size', 'seqpos_slice', 'dataset_path', 'sae_lens_version', 'sae_lens_training_version', 'hook_name_out',
  'hook_head_index_out',
];
const ranked = ['k', 'rescale_acts_by_decoder_norm'], mapped = ['d_out'];
/** Fields of architectures: SAELens keeps those of the configuration's class, whatever the version. */
const architectureFields = new Map([
  ['topk', ranked], ['groupmax', ranked], ['abstopk', ranked], ['batchtopk', ranked], ['matryoshka_batchtopk', ranked],
  ['transcoder', mapped], ['skip_transcoder', mapped], ['jumprelu_transcoder', mapped], ['jumprelu_skip_transcoder', mapped],
  ['matching_pursuit', ['residual_threshold', 'max_iterations', 'stop_on_duplicate_support']],
  ['temporal', ['n_heads', 'n_attn_layers', 'bottleneck_factor', 'sae_diff_type', 'kval_topk', 'tied_weights', 'activation_normalization_factor']],
]);

function fromLegacy(old: Record<string, Json>): Record<string, Json> {
  const fields: Record<string, Json> = {
    architecture: 'standard', apply_b_dec_to_input: true, prepend_bos: true, neuronpedia_id: null,
    ...Object.fromEntries(Object.entries(old).map(([name, value]) => [legacyNames[name] ?? name, value])),
  };
  const normalize = fields['normalize_activations'];
  const { d_in, d_sae, dtype, device, apply_b_dec_to_input } = fields as SaelensConfig;
  const architecture = fields['activation_fn'] === 'topk' ? 'topk' : fields['architecture']!;
  const own = architectureFields.get(String(architecture)) ?? [];
  const config: Record<string, Json> = {
    architecture, d_in, d_sae, apply_b_dec_to_input,
    ...(dtype === undefined ? {} : { dtype }), ...(device === undefined ? {} : { device }),
    ...Object.fromEntries(own.filter((name) => fields[name] !== undefined).map((name) => [name, fields[name]!])),
    normalize_activations: typeof normalize === 'boolean' ? (normalize ? 'expected_average_only_in' : 'none') : normalize ?? 'none',
    reshape_activations: fields['reshape_activations'] ?? (String(fields['hook_name'] ?? '').includes('hook_z') ? 'hook_z' : 'none'),
    metadata: Object.fromEntries(legacyMetadata.filter((name) => fields[name] !== undefined).map((name) => [name, fields[name]!])),
  };
  const kwargs = fields['activation_fn_kwargs'];
  if (architecture === 'topk' && isObject(kwargs) && kwargs['k'] !== undefined) config['k'] = kwargs['k'];
  return config;
}

/** SAELens' default of k, where a file does not say it. Its BatchTopK is trained with any number, the others with a whole one. */
const defaultK = new Map([['topk', 100], ['batchtopk', 100], ['matryoshka_batchtopk', 100]]);

/** Fills SAELens' defaults in and checks what every architecture shares. */
function checked(fields: Record<string, Json>, path: string): SaelensConfig {
  const config = {
    device: 'cpu', apply_b_dec_to_input: true, normalize_activations: 'none', reshape_activations: 'none', metadata: {},
    ...(defaultK.has(String(fields['architecture'])) ? { k: defaultK.get(String(fields['architecture'])) } : {}),
    ...fields,
    dtype: String(fields['dtype'] ?? 'float32').replace(/^torch\./, ''),
  } as unknown as SaelensConfig;
  const wrong = (field: string, allowed: string): never => {
    const value = (JSON.stringify(config[field]) ?? 'missing').slice(0, 80);
    throw new CochleaError('file-damaged', `${path}: ${field} is ${value}, not ${allowed}`);
  };
  const positive = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0;
  if (typeof config.architecture !== 'string') wrong('architecture', 'the name of one');
  if (!positive(config.d_in)) wrong('d_in', 'a positive whole number');
  if (!positive(config.d_sae)) wrong('d_sae', 'a positive whole number');
  if (!dtypes.has(config.dtype)) wrong('dtype', `one of ${dtypeNames}`);
  if (typeof config.apply_b_dec_to_input !== 'boolean') wrong('apply_b_dec_to_input', 'true or false');
  if (!normalizations.includes(config.normalize_activations)) wrong('normalize_activations', `one of ${normalizations.join(', ')}`);
  if (!reshapes.includes(config.reshape_activations)) wrong('reshape_activations', `one of ${reshapes.join(', ')}`);
  if (!isObject(config.metadata)) wrong('metadata', 'an object');
  if (config['k'] !== undefined && !(typeof config['k'] === 'number' && config['k'] > 0)) wrong('k', 'a positive number');
  if (['topk', 'groupmax', 'abstopk'].includes(config.architecture) && !positive(config['k'])) wrong('k', 'a positive whole number');
  if (config['d_out'] !== undefined && !positive(config['d_out'])) wrong('d_out', 'a positive whole number');
  return config;
}
