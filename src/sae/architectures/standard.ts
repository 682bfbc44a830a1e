/**
 * Standard SAE: ReLU and a sparsity penalty, "Towards monosemanticity", Bricken et al. 2023, with the penalty weighted by decoder norms as in
 * "Update on how we train SAEs", Conerly et al. 2024, and the norm of SAELens' choice:
 *
 *   f = relu(W_enc (n(t) - b_dec) + b_enc)        t: the centred and scaled frame, n: normalize_activations
 *   out = n^-1(W_dec^T f + b_dec)
 *   mse_loss = mean_b |out - t|^2
 *   l1_loss = c mean_b |w_b|_p                    w_i = f_i |W_dec_i|, p = lp_norm
 *
 * With S = |w|_p, where f_i > 0:
 *
 *   dw_i = c / B w_i^(p-1) S^(1-p)
 *   dh_i = df_i + dw_i |W_dec_i|                  and W_dec_i gets sum_b dw_i f_i along its direction
 */
import { activate, reluLatents, reluRows, rowNorms } from '../../kernels/index.ts';
import type { Architecture, BaseConfig, InferenceContext, InferenceForm, TrainingContext, TrainingForm } from '../architecture.ts';
import { denseTraining, type TranscoderOutput } from '../dense-training.ts';
import { foldedInput } from '../export.ts';
import { denseInference } from '../inference.ts';
import { vectorTensor } from '../layout.ts';

/** A standard SAE for training, with SAELens' defaults. */
export interface StandardConfig extends BaseConfig {
  architecture: 'standard';
  l1_coefficient: number;
  lp_norm: number;
  l1_warm_up_steps: number;
}

export const standard: Architecture<StandardConfig> = {
  name: 'standard',
  title: 'ReLU and an L1 penalty on the activations (Bricken et al. 2023)',
  fields: {
    l1_coefficient: { kind: 'number', default: 1, least: 0, help: 'weight of the sparsity penalty' },
    lp_norm: { kind: 'number', default: 1, above: 0, help: 'p of the penalty\'s norm' },
    l1_warm_up_steps: { kind: 'integer', default: 0, least: 0, help: 'steps over which the penalty grows to its weight' },
  },
  coefficients: (config) => ({ l1: { final: config.l1_coefficient, warmUpSteps: config.l1_warm_up_steps } }),
  train: standardTraining,
  infer: standardInference,
  export: (config, weights, input) => ({ architecture: 'standard', fields: {}, weights: foldedInput(config, weights, input) }),
};

/** Also of transcoders, whose `output` is another stream. */
export function standardTraining(context: TrainingContext<BaseConfig & { lp_norm: number }>, output?: TranscoderOutput): TrainingForm {
  const sae = denseTraining(context, 2, ['l1_loss'], output);
  const { W_dec, xc, norms, active, lossRows, sums, counts } = sae;
  const { lp_norm: p } = context.config;
  const { flags } = context.state;
  const b_enc = sae.vector('b_enc'), slopes = sae.perRow('penalty slopes', 1);
  const f = sae.codes('activations'), df = sae.codes('activation gradients');

  return {
    parameters: [...sae.parameters, { name: 'b_enc', value: b_enc, gradient: sums }],
    results: sae.results,
    initialise: sae.initialise,
    record(rec, step) {
      const penalty = { p, coefficient: step.coefficients['l1']!, column: 0 };
      sae.prepare(rec, step);
      rowNorms(rec, { W: W_dec, norms });
      for (const chunk of sae.chunks(step.rows)) {
        sae.encode(rec, xc, b_enc, f, chunk);
        reluRows(rec, { h: f, norms, active, slopes, lossRows, flags }, chunk, penalty);
        sae.reconstruct(rec, f, df, chunk);
        reluLatents(rec, { df, f, slopes, norms, sums, counts }, chunk, penalty); // f becomes dh
        sae.encoderGradients(rec, f, xc, chunk);
      }
      sae.finish(rec, step.rows, { throughNorms: true });
    },
    dispose: sae.dispose,
  };
}

function standardInference(context: InferenceContext): InferenceForm {
  const threshold = context.own(vectorTensor(context.gpu, 'no threshold', context.config.d_sae));
  return denseInference(context, context.weights.b_enc, (rec, { h, flags }, rows) => activate(rec, { h, flags, threshold }, rows));
}
