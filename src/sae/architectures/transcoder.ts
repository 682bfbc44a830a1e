/**
 * Transcoders read one hook point and write another, as an MLP's input and output: "Transcoders find interpretable LLM feature circuits",
 * Dunefsky et al. 2024; with a linear path beside the latents "Transcoders beat sparse autoencoders for interpretability", Paulo et al. 2025.
 *
 *   h = W_enc n(x) + b_enc                        x: the centred and scaled frame, n: normalize_activations
 *   out = W_dec^T f + b_dec + W_skip x            the last term in skip transcoders; the output is never normalised
 *   mse_loss = mean_b |out - y|^2                 y: the centred and scaled target
 *
 *   transcoder, skip_transcoder                   f = relu(h); l1_loss as in standard.ts
 *     with k                                      f = relu(h) for the k largest h_i |W_dec_i|, else 0; an auxiliary loss as in topk.ts
 *   jumprelu_transcoder, jumprelu_skip_...        f = h above the latents' thresholds; losses as in jumprelu.ts
 *
 * SAELens runs these and does not train them. What it leaves open is as follows: the penalties are weighted by decoder norms as those of
 * its SAEs are, so that no latent escapes by a short row (Dunefsky et al. keep the rows at unit length instead). W_enc and W_dec are drawn
 * independently, W_skip and the biases are zero, as in SAELens' untrained transcoders; EleutherAI's sparsify begins with W_dec = 0 and b_dec
 * at the targets' mean, which here is taken off the targets. The auxiliary loss has k_aux = d_out / 2 and neither b_dec nor the
 * skip path in its reconstruction, as in sparsify.
 *
 * No file of SAELens holds a TopK transcoder. One that was trained with k is written as a JumpReLU transcoder with the decoder norms folded in,
 * all thresholds being the running mean of where TopK cut the frames: as many latents on average, though not in each frame.
 */
import type { Tensor } from '../../gpu/index.ts';
import { activate, decodeDense, encode, prepareRows } from '../../kernels/index.ts';
import type { Architecture, BaseConfig, Exported, InferenceContext, InferenceForm, InputTransform, TrainingContext, TrainingForm } from '../architecture.ts';
import { refuse, rowNormalisation } from '../config.ts';
import type { TranscoderOutput } from '../dense-training.ts';
import { inferenceTensors, uploadVector } from '../inference.ts';
import { shardRows, vectorTensor, weightTensor } from '../layout.ts';
import { foldDecoderNorms, rowProduct, type Weights } from '../weights.ts';
import { jumprelu, type JumpreluConfig, jumpreluTraining, thresholds } from './jumprelu.ts';
import { standard, type StandardConfig, standardTraining } from './standard.ts';
import { topkTranscoderTraining } from './topk-transcoder.ts';

/** Beside the fields of the SAE with the same activation. */
interface Transcodes {
  /** Numbers in a target. */
  d_out: number;
}

export interface TranscoderConfig extends Omit<StandardConfig, 'architecture'>, Transcodes {
  architecture: 'transcoder' | 'skip_transcoder';
  /** Latents kept per frame, in the place of the L1 penalty; null: the penalty. */
  k: number | null;
  aux_loss_coefficient: number;
  /** Rate of the running threshold that stands for k when the transcoder is written. */
  topk_threshold_lr: number;
}

export interface JumpreluTranscoderConfig extends Omit<JumpreluConfig, 'architecture'>, Transcodes {
  architecture: 'jumprelu_transcoder' | 'jumprelu_skip_transcoder';
}

const transcoderFields = {
  d_out: { kind: 'integer', default: null, least: 1, help: 'numbers in a target' },
} as const satisfies Architecture<BaseConfig & Transcodes>['fields'];

function checkTranscoder({ apply_b_dec_to_input: applied }: BaseConfig): void {
  if (applied) refuse('apply_b_dec_to_input', applied, 'false for a transcoder, whose b_dec belongs to its output');
}

const outputOf = ({ d_out: dOut, architecture }: BaseConfig & Transcodes): TranscoderOutput => ({ dOut, skip: architecture.includes('skip') });

function reluTranscoder(name: TranscoderConfig['architecture'], title: string): Architecture<TranscoderConfig> {
  return {
    name, title,
    fields: {
      ...transcoderFields, ...standard.fields,
      k: { kind: 'integer', default: null, nullable: true, least: 1, help: 'latents kept per frame, instead of the L1 penalty' },
      aux_loss_coefficient: { kind: 'number', default: 1, least: 0, help: 'with k: weight of the dead latents\' auxiliary loss' },
      topk_threshold_lr: { kind: 'number', default: 0.01, above: 0, most: 1, help: 'with k: rate of the running threshold that the written transcoder has' },
    },
    base: { apply_b_dec_to_input: false },
    check(config) {
      checkTranscoder(config);
      if (config.k !== null && config.k > config.d_sae) refuse('k', config.k, `a whole number from 1 to d_sae (${config.d_sae})`);
    },
    coefficients: (config): Record<string, { final: number; warmUpSteps: number }> => (config.k === null ? standard.coefficients!({ ...config, architecture: 'standard' }) : {}),
    needs: 'targets',
    train: (context) => trainRelu(context),
    infer: inferTranscoder,
    export(config, weights, input, threshold) {
      if (config.k === null) return exported(config, config.architecture, weights, input);
      // Thresholds are in units of h_i |W_dec_i|, which folding makes those of h.
      const unit = foldDecoderNorms(weights);
      return exported(config, `jumprelu_${config.architecture}`, { ...unit, threshold: new Float32Array(config.d_sae).fill(threshold) }, input);
    },
  };
}

function trainRelu(context: TrainingContext<TranscoderConfig>): TrainingForm {
  const { k } = context.config;
  const output = outputOf(context.config);
  return k === null ? standardTraining(context, output) : topkTranscoderTraining(context, k, context.config.aux_loss_coefficient, output);
}

function jumpreluTranscoderOf(name: JumpreluTranscoderConfig['architecture'], title: string): Architecture<JumpreluTranscoderConfig> {
  return {
    name, title,
    fields: { ...transcoderFields, ...jumprelu.fields },
    base: { apply_b_dec_to_input: false },
    check(config) {
      checkTranscoder(config);
      jumprelu.check!({ ...config, architecture: 'jumprelu' });
    },
    coefficients: (config) => jumprelu.coefficients!({ ...config, architecture: 'jumprelu' }),
    needs: 'targets',
    train: (context) => jumpreluTraining(context, outputOf(context.config)),
    infer: inferTranscoder,
    export(config, weights, input) {
      const { log_threshold: _, ...rest } = weights;
      return exported(config, config.architecture, { ...rest, threshold: thresholds(weights) }, input);
    },
  };
}

export const transcoder = reluTranscoder('transcoder', 'from one hook point to another, ReLU and an L1 penalty or TopK (Dunefsky et al. 2024)');
export const skipTranscoder = reluTranscoder('skip_transcoder', 'a transcoder with a linear path beside the latents (Paulo et al. 2025)');
export const jumpreluTranscoder = jumpreluTranscoderOf('jumprelu_transcoder', 'a transcoder with JumpReLU activations');
export const jumpreluSkipTranscoder = jumpreluTranscoderOf('jumprelu_skip_transcoder', 'a skip transcoder with JumpReLU activations');

function exported(config: BaseConfig & Transcodes, architecture: string, weights: Weights, input: InputTransform): Exported {
  return { architecture, fields: { d_out: config.d_out, apply_b_dec_to_input: false }, weights: foldTranscoder(weights, input) };
}

/**
 * Folds x' = (x - m) s and y' = (y - m_y) s_y into the weights, so that raw frames give raw targets. Pre-activations do not change:
 *
 *   W_enc' = s W_enc,  b_enc' = b_enc - s W_enc m,  W_skip' = W_skip s / s_y,  W_dec' = W_dec / s_y,  b_dec' = b_dec / s_y + m_y - W_skip' m
 */
export function foldTranscoder(weights: Weights, { mean, scale, target }: InputTransform): Weights {
  const { W_enc, W_dec, b_enc, b_dec, W_skip } = weights;
  const targetScale = target?.scale ?? 1;
  const folded: Weights = {
    ...weights, W_enc: W_enc!.map((value) => value * scale), b_enc: b_enc!.map((value, i) => value - scale * rowProduct(W_enc!, i, mean)),
    W_dec: W_dec.map((value) => value / targetScale),
    b_dec: b_dec.map((value, d) => (value - (W_skip ? scale * rowProduct(W_skip, d, mean) : 0)) / targetScale + (target?.mean[d] ?? 0)),
  };
  if (W_skip) folded.W_skip = W_skip.map((value) => (value * scale) / targetScale);
  return folded;
}

/** Runs all four: no b_dec at the input, the input normalised, the output left as decoded. In float32, whatever the file's dtype. */
function inferTranscoder(context: InferenceContext): InferenceForm {
  const { gpu, config, weights, own } = context;
  const { d_in: dIn, d_sae: dSae, apply_b_dec_to_input: applied } = config;
  if (applied) refuse('apply_b_dec_to_input', applied, 'false for a transcoder');
  const dOut = weights.b_dec.length;
  const { W_enc, W_dec, b_dec, frames, t: x, xc, h, r, rowAffine, flags, noCentre } = inferenceTensors(context, dOut);
  const b_enc = uploadVector(context, 'b_enc', weights.b_enc!);
  const threshold = weights.threshold ? uploadVector(context, 'threshold', weights.threshold) : own(vectorTensor(gpu, 'no threshold', dSae));
  let W_skip: Tensor | undefined;
  if (weights.W_skip) {
    W_skip = own(weightTensor(gpu, 'W_skip', dIn, dOut, shardRows(gpu, dIn, dOut)));
    gpu.upload(W_skip, weights.W_skip);
  }
  return {
    frames, r, flags, codes: h, acts: { f: h },
    record(rec, rows, decode) {
      rec.clear(flags);
      prepareRows(rec, { frames, centre: noCentre, b_dec: noCentre, t: x, xc, rowAffine }, rows,
        { scale: 1, normalise: rowNormalisation(config.normalize_activations), subtractBDec: false });
      encode(rec, { xc, W_enc, b_enc, h }, 0, rows);
      activate(rec, { h, flags, threshold }, rows);
      if (!decode) return;
      if (W_skip) encode(rec, { xc: x, W_enc: W_skip, b_enc: b_dec, h: r }, 0, rows);
      decodeDense(rec, { f: h, W_dec, ...(W_skip ? {} : { b_dec }), r }, rows);
    },
    recordDecode(rec, rows) {
      decodeDense(rec, { f: h, W_dec, b_dec, r }, rows);
    },
  };
}
