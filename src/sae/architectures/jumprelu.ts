/**
 * JumpReLU SAE: "Jumping ahead: improving reconstruction fidelity with JumpReLU sparse autoencoders", Rajamanoharan et al. 2024, in the form
 * that SAELens gives it.
 *
 *   h = W_enc (n(t) - b_dec) + b_enc              t: the centred and scaled frame, n: normalize_activations
 *   f = h where h > theta, else 0,   out = n^-1(W_dec^T f + b_dec)
 *   mse_loss = mean_b |out - t|^2
 *   l0_loss = c mean_b sum_i [h_i > theta_i]                       step
 *           = c mean_b sum_i tanh(s f_i |W_dec_i|)                 tanh: "Dictionary learning optimization techniques", Anthropic, January 2025
 *           = c (mean_b |f_b|_0 / target_l0 - 1)^2                 quadratic
 *   pre_act_loss = lambda mean_b sum over dead i of relu(theta_i - h_i) |W_dec_i|
 *
 * The quadratic penalty steers to a desired sparsity (the paper's appendix on that, Gemma Scope 2, SAELens since 2026-09). It is on the batch's mean
 * L0, so that frames may differ in what they need.
 *
 * Thresholds learn by straight-through estimators with a rectangular kernel K = [|h - theta| < w / 2] / w, w the bandwidth: for f,
 * d theta = -theta K df; for the step, d theta = -K. With jumprelu_ste_to_input (Anthropic, as above) h gets the same with the other
 * sign, as both depend on h - theta alone.
 *
 * SAELens trains theta = relu(threshold) since 6.48 and theta = exp(log_threshold) before. Adam moves a parameter by about the learning rate,
 * so logarithms of small thresholds hardly move the thresholds; they are here for compatibility.
 */
import { CochleaError } from '../../errors.ts';
import { activate, jumpreluLatents, jumpreluRows, jumpreluTraits, rowNorms, sparsityModes, targetL0 } from '../../kernels/index.ts';
import type { Architecture, BaseConfig, InferenceContext, InferenceForm, TrainingContext, TrainingForm } from '../architecture.ts';
import { refuse } from '../config.ts';
import { denseTraining, type TranscoderOutput } from '../dense-training.ts';
import { foldedInput } from '../export.ts';
import { denseInference, uploadVector } from '../inference.ts';
import type { Weights } from '../weights.ts';

/** A JumpReLU SAE for training, with SAELens' defaults. */
export interface JumpreluConfig extends BaseConfig {
  architecture: 'jumprelu';
  jumprelu_init_threshold: number;
  /** Width of the straight-through estimators' kernel. */
  jumprelu_bandwidth: number;
  jumprelu_sparsity_loss_mode: (typeof sparsityModes)[number];
  l0_coefficient: number;
  l0_warm_up_steps: number;
  /** null: no such loss. */
  pre_act_loss_coefficient: number | null;
  jumprelu_tanh_scale: number;
  /** Mean number of active latents that the quadratic penalty steers to. */
  target_l0: number | null;
  jumprelu_ste_to_input: boolean;
}

export const jumprelu: Architecture<JumpreluConfig> = {
  name: 'jumprelu',
  title: 'latents above thresholds of their own (Rajamanoharan et al. 2024)',
  fields: {
    jumprelu_init_threshold: { kind: 'number', default: 0.01, above: 0, help: 'every latent\'s threshold at the start' },
    jumprelu_bandwidth: { kind: 'number', default: 0.05, above: 0, help: 'width of the window in which thresholds get gradients' },
    jumprelu_sparsity_loss_mode: { kind: 'choice', default: 'step', choices: sparsityModes, help: 'penalise active latents, tanh of their activations, or the distance from target_l0' },
    l0_coefficient: { kind: 'number', default: 1, least: 0, help: 'weight of the sparsity penalty' },
    l0_warm_up_steps: { kind: 'integer', default: 0, least: 0, help: 'steps over which the penalty grows to its weight' },
    pre_act_loss_coefficient: { kind: 'number', default: null, nullable: true, least: 0, help: 'weight of the loss that raises dead latents to their thresholds' },
    jumprelu_tanh_scale: { kind: 'number', default: 4, above: 0, help: 'steepness of the tanh penalty' },
    target_l0: { kind: 'number', default: null, nullable: true, above: 0, help: 'active latents per frame that the quadratic penalty steers to' },
    jumprelu_ste_to_input: { kind: 'boolean', default: false, help: 'let the thresholds\' estimators reach the encoder as well' },
  },
  check({ jumprelu_sparsity_loss_mode: mode, target_l0: target, d_sae }) {
    if ((mode === 'quadratic') !== (target !== null)) refuse('target_l0', target, mode === 'quadratic' ? 'a number with the quadratic penalty' : `null with the ${mode} penalty, which has no target`);
    if (target !== null && target > d_sae) refuse('target_l0', target, `at most d_sae (${d_sae})`);
  },
  coefficients: (config) => ({ l0: { final: config.l0_coefficient, warmUpSteps: config.l0_warm_up_steps } }),
  train: jumpreluTraining,
  infer: jumpreluInference,
  export(config, weights, input) {
    const { log_threshold: _, ...rest } = weights;
    return { architecture: 'jumprelu', fields: {}, weights: foldedInput(config, { ...rest, threshold: thresholds(weights) }, input) };
  },
};

/** The thresholds themselves, from what was trained. Those below zero act as zero. */
export function thresholds({ threshold, log_threshold }: Weights): Float32Array {
  const found = threshold?.map((value) => Math.max(value, 0)) ?? log_threshold?.map(Math.exp);
  if (!found) throw new CochleaError('file-damaged', 'the JumpReLU SAE has no tensor threshold');
  return found;
}

/** Also of transcoders, whose `output` is another stream. */
export function jumpreluTraining(context: TrainingContext<Omit<JumpreluConfig, 'architecture'> & BaseConfig>, output?: TranscoderOutput): TrainingForm {
  const { config, compatibility, state: { dead, flags } } = context;
  const { pre_act_loss_coefficient: lambda, jumprelu_sparsity_loss_mode: sparsity, target_l0: target } = config;
  const preAct = lambda !== null;
  const sae = denseTraining(context, 3, ['l0_loss', ...(preAct ? ['pre_act_loss'] : [])], output);
  const { W_dec, xc, norms, active, lossRows, sums, counts } = sae;
  const log = compatibility === 'saelens-6.18';
  const b_enc = sae.vector('b_enc'), threshold = sae.vector(log ? 'log_threshold' : 'threshold');
  const initial = log ? Math.log(config.jumprelu_init_threshold) : config.jumprelu_init_threshold;
  const gradThreshold = sae.vector('grad threshold'), traits = sae.vector('latent traits', 4 * config.d_sae), slope = sae.vector('slope of the quadratic penalty', 1);
  const h = sae.codes('pre-activations'), f = sae.codes('activations'), df = sae.codes('activation gradients');
  const throughNorms = sparsity === 'tanh' || preAct;

  return {
    parameters: [...sae.parameters, { name: 'b_enc', value: b_enc, gradient: sums }, { name: log ? 'log_threshold' : 'threshold', value: threshold, gradient: gradThreshold, initial }],
    results: sae.results,
    initialise(rec, seed) {
      sae.initialise(rec, seed);
      rec.gpu.upload(threshold, new Float32Array(config.d_sae).fill(initial));
    },
    record(rec, step) {
      const options = {
        sparsity, preAct, coefficient: step.coefficients['l0']!, tanhScale: config.jumprelu_tanh_scale, bandwidth: config.jumprelu_bandwidth, toInput: config.jumprelu_ste_to_input,
      };
      const chunks = sae.chunks(step.rows);
      const forward = (chunk: (typeof chunks)[number]): void => {
        sae.encode(rec, xc, b_enc, h, chunk);
        jumpreluRows(rec, { h, traits, f, active, lossRows, flags }, chunk, options);
      };
      sae.prepare(rec, step);
      if (throughNorms) rowNorms(rec, { W: W_dec, norms });
      jumpreluTraits(rec, { threshold, norms, dead, traits }, { log, lambda: lambda ?? 0 });
      if (target !== null) {
        chunks.forEach(forward); // the slope is that of the whole batch's L0
        targetL0(rec, { active, slope, lossRows }, step.rows, { goal: target, coefficient: options.coefficient });
      }
      for (const chunk of chunks) {
        if (target === null || chunks.length > 1) forward(chunk);
        sae.reconstruct(rec, f, df, chunk);
        jumpreluLatents(rec, { h, traits, slope, df, sums, gradThreshold, counts }, chunk, options); // df becomes dh
        sae.encoderGradients(rec, df, xc, chunk);
      }
      sae.finish(rec, step.rows, { throughNorms, others: [gradThreshold] });
    },
    dispose: sae.dispose,
  };
}

function jumpreluInference(context: InferenceContext): InferenceForm {
  const threshold = uploadVector(context, 'threshold', thresholds(context.weights));
  return denseInference(context, context.weights.b_enc, (rec, { h, flags }, rows) => activate(rec, { h, flags, threshold }, rows));
}
