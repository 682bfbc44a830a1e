import { CochleaError } from '../errors.ts';
import type { SaelensConfig } from './saelens-config.ts';

type Shapes = Record<string, readonly number[]>;

function standard({ d_in, d_sae }: SaelensConfig): Shapes {
  return { W_enc: [d_in, d_sae], W_dec: [d_sae, d_in], b_enc: [d_sae], b_dec: [d_in] };
}

function jumprelu(config: SaelensConfig): Shapes {
  return { ...standard(config), threshold: [config.d_sae] };
}

function batchtopk(config: SaelensConfig): Shapes {
  return { ...standard(config), topk_threshold: [] };
}

function gated({ d_in, d_sae }: SaelensConfig): Shapes {
  return { W_enc: [d_in, d_sae], W_dec: [d_sae, d_in], b_dec: [d_in], b_gate: [d_sae], r_mag: [d_sae], b_mag: [d_sae] };
}

function transcoder(config: SaelensConfig): Shapes {
  const { d_in, d_sae } = config;
  const dOut = Number(config['d_out'] ?? 768);
  return { W_enc: [d_in, d_sae], W_dec: [d_sae, dOut], b_enc: [d_sae], b_dec: [dOut] };
}

function skip(config: SaelensConfig): Shapes {
  return { W_skip: [Number(config['d_out'] ?? 768), config.d_in] };
}

function temporal(config: SaelensConfig): Shapes {
  const { d_in, d_sae } = config;
  const inner = Math.floor(d_sae / Number(config['bottleneck_factor'] ?? 64));
  const shapes: Shapes = { W_dec: [d_sae, d_in], b_dec: [d_in] };
  if (config['tied_weights'] === false) shapes['W_enc'] = [d_in, d_sae];
  const layers = Number(config['n_attn_layers'] ?? 1);
  if (!(layers <= 1024)) throw new CochleaError('file-damaged', `n_attn_layers of ${JSON.stringify(config['n_attn_layers'])} cannot be`);
  for (let layer = 0; layer < layers; layer++) {
    for (const [name, rows] of [['k_ctx', inner], ['q_target', inner], ['v_ctx', d_sae], ['c_proj', d_sae]] as const) {
      shapes[`attn_layers.${layer}.${name}.weight`] = [rows, d_sae];
      shapes[`attn_layers.${layer}.${name}.bias`] = [rows];
    }
  }
  return shapes;
}

/** Which tensors, of which shapes, a file of each architecture holds: exactly these, since SAELens loads strictly. */
const architectures: Readonly<Record<string, (config: SaelensConfig) => Shapes>> = {
  standard,
  topk: standard,
  groupmax: standard,
  abstopk: standard,
  jumprelu,
  gated,
  batchtopk,
  matryoshka_batchtopk: batchtopk,
  transcoder,
  skip_transcoder: (config) => ({ ...transcoder(config), ...skip(config) }),
  jumprelu_transcoder: (config) => ({ ...transcoder(config), threshold: [config.d_sae] }),
  jumprelu_skip_transcoder: (config) => ({ ...transcoder(config), ...skip(config), threshold: [config.d_sae] }),
  matching_pursuit: ({ d_in, d_sae }) => ({ W_dec: [d_sae, d_in], b_dec: [d_in] }),
  temporal,
};

/**
 * Whether a folder holds the form that training continues from (`save_model`) or the one that is used
 * (`save_inference_model`). Every training configuration has decoder_init_norm; two architectures exist for training only.
 */
export function saelensForm(config: SaelensConfig): 'training' | 'inference' {
  return 'decoder_init_norm' in config || architectures[config.architecture] === batchtopk ? 'training' : 'inference';
}

/** Compares a file's tensors with what its architecture has; every difference is in the one message. */
export function checkTensors(config: SaelensConfig, found: ReadonlyMap<string, { readonly shape: readonly number[] }>, path: string): void {
  if (!Object.hasOwn(architectures, config.architecture)) {
    const known = Object.keys(architectures).join(', ');
    const name = config.architecture.slice(0, 60);
    throw new CochleaError('config', `${path} is an SAE of the unknown architecture "${name}"`, `known are ${known}`);
  }
  const expected = architectures[config.architecture]!(config);
  const wrong: string[] = [];
  for (const [name, shape] of Object.entries(expected)) {
    const tensor = found.get(name);
    if (!tensor) wrong.push(`${name} is missing`);
    else if (tensor.shape.join() !== shape.join()) wrong.push(`${name} has shape [${tensor.shape.join(', ')}], not [${shape.join(', ')}]`);
  }
  for (const name of found.keys()) {
    if (!Object.hasOwn(expected, name)) wrong.push(`${JSON.stringify(name.slice(0, 60))} does not belong`);
  }
  if (wrong.length > 0) {
    const listed = wrong.slice(0, 8).join('; ') + (wrong.length > 8 ? '; ...' : '');
    throw new CochleaError('file-damaged', `${path} does not hold the tensors of a "${config.architecture}" SAE: ${listed}`);
  }
}
