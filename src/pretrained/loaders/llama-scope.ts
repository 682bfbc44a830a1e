/**
 * OpenMOSS' SAEs: Llama Scope, "Llama Scope: extracting millions of features from Llama-3.1-8B with sparse autoencoders", He et al. 2024
 * (hyperparams.json, checkpoints/final.safetensors), and what came after it, as Llama-Scope-R1-Distill (config.json, sae_weights.safetensors).
 * With encoder.weight W [d_sae, d_in], decoder.weight D [d_out, d_sae], s = sqrt(d_in) / the mean norm of the frames of training (norm_activation
 * dataset-wise) and n_i = |D_i|, as their code runs them:
 *
 *   h = W x + b / s,   out = D f + c / s                      for frames as they are
 *   Llama Scope        f_i = n_i h_i where n_i h_i > jump_relu_threshold, with D_i / n_i for D_i
 *   R1-Distill         f_i = s h_i where n_i s h_i > exp(log_jumprelu_threshold_i), with D_i / s for D_i
 *
 * The one has its threshold in units of raw frames because it was measured there, on the SAE with all of the above folded in; the other learned
 * its thresholds on scaled frames. n_i is 1 in both where sparsity_include_decoder_norm is false. SAELens 6.18 leaves n_i out; its activations
 * are those here where the decoder has rows of unit length, up to the factor s for Llama Scope.
 */
import { CochleaError } from '../../errors.ts';
import { decoderNorms, foldDecoderNorms, foldInputTransform, type Weights } from '../../sae/index.ts';
import { type Fields, readFields } from '../fields.ts';
import type { FileSet } from '../files.ts';
import { configOf, type Loader, type LoadOptions, type PretrainedSae } from '../loader.ts';
import { type Tensors, withTensors } from '../tensors.ts';

const thresholdNames = ['log_jumprelu_threshold', 'activation_function.log_jumprelu_threshold'];

export const llamaScope: Loader = {
  name: 'llama-scope',
  title: 'Llama Scope (hyperparams.json, checkpoints/final.safetensors)',
  files: (path) => ({ needed: [`${path}/hyperparams.json`, `${path}/checkpoints/final.safetensors`], optional: [] }),
  detect: ({ names }) => names.has('hyperparams.json') && names.has('checkpoints/final.safetensors'),
  read: (files, options) => read(files, 'hyperparams.json', 'checkpoints/final.safetensors', options),
};

export const llamaScopeR1Distill: Loader = {
  name: 'llama-scope-r1-distill',
  title: 'OpenMOSS SAEs since 2025 (config.json, sae_weights.safetensors)',
  files: (path) => ({ needed: [`${path}/config.json`, `${path}/sae_weights.safetensors`], optional: [] }),
  detect: ({ names }) => names.has('config.json') && names.has('sae_weights.safetensors') && !names.has('cfg.json'),
  read: (files, options) => read(files, 'config.json', 'sae_weights.safetensors', options),
};

async function read(files: FileSet, configFile: string, weightsFile: string, options: LoadOptions): Promise<PretrainedSae> {
  const fields = await readFields(files, configFile);
  const refused = (what: string, why: string): never => {
    throw new CochleaError('config', `${fields.path}: ${what}`, why);
  };
  if (fields.flag('use_glu_encoder', false)) refused('it has a GLU encoder', 'no SAE here has one');
  const dIn = fields.count('d_model'), dSae = fields.has('d_sae') ? fields.count('d_sae') : dIn * fields.count('expansion_factor');
  const hookIn = fields.text('hook_point_in'), hookOut = fields.optionalText('hook_point_out') ?? hookIn;
  if (hookIn !== hookOut) refused(`it reads ${hookIn} and writes ${hookOut}`, 'transcoders of this family have no form here');
  const activation = (fields.optionalText('act_fn') ?? 'relu').toLowerCase();
  return withTensors(files, weightsFile, async (tensors) => {
    tensors.only(['encoder.weight', 'encoder.bias', 'decoder.weight', 'decoder.bias', ...thresholdNames], ['dataset_average_activation_norm.']);
    const hasBias = fields.flag('use_decoder_bias', true), unitRows = fields.flag('sparsity_include_decoder_norm', true);
    const stored: Weights = {
      W_enc: await tensors.matrix('encoder.weight', dSae, dIn), b_enc: await tensors.vector('encoder.bias', dSae), W_dec: await tensors.transposed('decoder.weight', dIn, dSae),
      b_dec: hasBias ? await tensors.vector('decoder.bias', dIn) : new Float32Array(dIn),
    };
    const applyBDec = hasBias && fields.flag('apply_decoder_bias_to_pre_encoder', false);
    const found = { dIn, dSae, dtype: 'float32', applyBDec, metadata: { model_name: fields.optionalText('model_name'), hook_name: hookIn } };
    const { scale, normalise } = await scaleOf(fields, tensors, hookIn, dIn, options);

    const learned = thresholdNames.find((name) => tensors.has(name));
    if (learned && activation === 'jumprelu') {
      // n_i h_i > T_i is h_i > T_i / n_i.
      const norms = unitRows ? decoderNorms(stored) : undefined;
      const threshold = (await tensors.vector(learned, dSae)).map((value, i) => Math.exp(value) / (norms?.[i] ?? 1));
      const weights = { ...foldInputTransform(stored, new Float32Array(dIn), scale, applyBDec), threshold };
      return { config: configOf({ ...found, architecture: 'jumprelu', normalise }), weights, notes: [] };
    }
    // Latents in units of raw frames.
    const divided = (values: Float32Array): Float32Array => (scale === 1 ? values : values.map((value) => value / scale));
    const raw = { ...stored, b_enc: divided(stored.b_enc!), b_dec: divided(stored.b_dec) };
    const weights = unitRows ? foldDecoderNorms(raw) : raw;
    const measured = fields.has('jump_relu_threshold') ? fields.number('jump_relu_threshold') : 0;
    if (activation === 'jumprelu' || (activation === 'topk' && measured > 0)) {
      return { config: configOf({ ...found, architecture: 'jumprelu', normalise }), weights: { ...weights, threshold: new Float32Array(dSae).fill(measured) }, notes: [] };
    }
    if (activation === 'topk') return { config: configOf({ ...found, architecture: 'topk', normalise, fields: { k: fields.count('top_k') } }), weights, notes: [] };
    if (activation === 'relu') return { config: configOf({ ...found, architecture: 'standard', normalise }), weights, notes: [] };
    return refused(`its activation is ${JSON.stringify(activation.slice(0, 40))}`, 'jumprelu, topk and relu have a form here');
  });
}

/** The factor of the frames, and what of the normalisation is left to be done at each frame. */
async function scaleOf(fields: Fields, tensors: Tensors, hook: string, dIn: number, { scale: given }: LoadOptions): Promise<{ scale: number; normalise: string }> {
  const kind = fields.optionalText('norm_activation') ?? 'dataset-wise';
  if (kind === 'inference' || kind === 'none') return { scale: 1, normalise: 'none' };
  if (kind === 'token-wise') return { scale: 1, normalise: 'constant_norm_rescale' };
  if (kind !== 'dataset-wise') throw new CochleaError('config', `${fields.path}: norm_activation is ${JSON.stringify(kind.slice(0, 40))}`, 'a frame cannot be normalised by those beside it');
  const stored = `dataset_average_activation_norm.${hook}`;
  const norm = tensors.has(stored) ? await tensors.scalar(stored)
    : fields.has('dataset_average_activation_norm') ? averageNorm(fields.object('dataset_average_activation_norm'), hook) : undefined;
  if (norm === undefined && given === undefined) return { scale: 1, normalise: 'expected_average_only_in' };
  const scale = norm === undefined ? given! : Math.sqrt(dIn) / norm;
  if (!(scale > 0 && scale < Infinity)) throw new CochleaError('file-damaged', `${fields.path}: the mean norm of its frames is ${norm}`);
  return { scale, normalise: 'none' };
}

function averageNorm(norms: Fields, hook: string): number {
  const name = norms.has(hook) ? hook : 'in';
  if (norms.has('out') && norms.number('out') !== norms.number(name)) {
    throw new CochleaError('config', `${norms.path}: in and out differ`, 'an SAE reconstructs the frames that it reads');
  }
  return norms.number(name);
}
