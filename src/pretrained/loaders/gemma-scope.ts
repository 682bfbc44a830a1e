/**
 * Gemma Scope, "Gemma Scope: open sparse autoencoders everywhere all at once on Gemma 2", Lieberum et al. 2024: params.npz with W_enc [d_in, d_sae],
 * W_dec [d_sae, d_out], b_enc, b_dec and JumpReLU thresholds; b_dec is not subtracted from the input. Transcoders lie in the same files, so only the
 * name of their repository tells them. A cfg.json beside it, which `cochlea convert --to npz` writes, says what other architectures need.
 *
 * SAEs of the attention's output take all heads side by side (hook_z). Those of the embedding were trained on rows of the embedding matrix, which
 * Gemma multiplies with sqrt(d_in) before anything reads them: with x = sqrt(d_in) y
 *
 *   W_enc' = W_enc / sqrt(d_in),   W_dec' = sqrt(d_in) W_dec,   b_dec' = sqrt(d_in) b_dec
 *
 * SAELens leaves b_dec as it is.
 */
import type { SaelensTensor } from '../../formats/index.ts';
import { checkTensors, parseSaelensConfig } from '../../formats/index.ts';
import { foldInputTransform, type Weights, weightsFromTensors } from '../../sae/index.ts';
import { readSmallText, type FileSet } from '../files.ts';
import { configOf, type Loader, type LoadOptions, type PretrainedSae } from '../loader.ts';
import { type Tensors, withTensors } from '../tensors.ts';

const paramsFile = 'params.npz';

function loader(name: string, title: string, isTranscoder: boolean): Loader {
  return {
    name, title,
    files: (path) => ({ needed: [`${path}/${paramsFile}`], optional: [`${path}/cfg.json`] }),
    detect: (files) => files.names.has(paramsFile) && isOfTranscoders(files) === isTranscoder,
    read: (files, options) => withTensors(files, paramsFile, (tensors) => (
      files.names.has('cfg.json') ? readConfigured(files, tensors) : readParams(files, tensors, options, isTranscoder))),
  };
}

/** By the repository's name: that of its folder in the Hub's cache, else of the one above layer_N/width_M/average_l0_K. No other folder says anything. */
function isOfTranscoders({ place }: FileSet): boolean {
  const cached = place.findLast((name) => name.startsWith('models--'));
  return (cached === undefined ? place.slice(-4) : [cached]).some((name) => name.includes('transcoder'));
}

export const gemmaScope = loader('gemma-scope', 'Gemma Scope SAEs (params.npz)', false);
export const gemmaScopeTranscoder = loader('gemma-scope-transcoder', 'Gemma Scope transcoders (params.npz)', true);

async function readParams(files: FileSet, tensors: Tensors, { metadata }: LoadOptions, isTranscoder: boolean): Promise<PretrainedSae> {
  const [dIn, dSae] = tensors.matrixShape('W_enc'), [, dOut] = tensors.matrixShape('W_dec');
  tensors.only(['W_enc', 'W_dec', 'b_enc', 'b_dec', 'threshold']);
  const read: Weights = {
    W_enc: await tensors.transposed('W_enc', dIn, dSae), W_dec: await tensors.matrix('W_dec', dSae, isTranscoder ? dOut : dIn),
    b_enc: await tensors.vector('b_enc', dSae), b_dec: await tensors.vector('b_dec', isTranscoder ? dOut : dIn), threshold: await tensors.vector('threshold', dSae),
  };
  const isEmbedding = files.place.slice(-3).includes('embedding');
  const weights = isEmbedding ? foldInputTransform(read, new Float32Array(dIn), 1 / Math.sqrt(dIn), true) : read;
  const hook = String(metadata?.['hook_name'] ?? '');
  return {
    config: configOf({
      architecture: isTranscoder ? 'jumprelu_transcoder' : 'jumprelu', dIn, dSae, dtype: 'float32', applyBDec: false, reshape: hook.endsWith('hook_z') ? 'hook_z' : 'none',
      fields: isTranscoder ? { d_out: dOut } : {},
    }),
    weights, notes: isEmbedding ? ['scaled to embeddings as the model sees them, sqrt(d_in) times the rows of its matrix'] : [],
  };
}

/** Any architecture: the tensors of SAELens under their names, its configuration beside them. */
async function readConfigured(files: FileSet, tensors: Tensors): Promise<PretrainedSae> {
  const config = parseSaelensConfig(await readSmallText(files, 'cfg.json'), files.path('cfg.json'));
  const found = new Map<string, SaelensTensor>();
  for (const name of tensors.names) found.set(name, { shape: tensors.shape(name), data: new Float32Array(0) });
  checkTensors(config, found, tensors.path);
  for (const [name, { shape }] of found) found.set(name, { shape, data: await tensors.all(name) });
  return { config, weights: weightsFromTensors(found), notes: [] };
}
