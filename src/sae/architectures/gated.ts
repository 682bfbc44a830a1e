/**
 * Gated SAE: "Improving dictionary learning with gated sparse autoencoders", Rajamanoharan et al. 2024, in the form that SAELens gives it.
 *
 *   pi = W_enc xc + b_gate                          xc = n(t) - b_dec; t: the centred and scaled frame, n: normalize_activations
 *   m = exp(r_mag) (W_enc xc) + b_mag
 *   f = relu(m) where pi > 0, else 0,   out = n^-1(W_dec^T f + b_dec)
 *   q = relu(pi)                                    of t, not normalised
 *   mse_loss = mean_b |out - t|^2
 *   l1_loss = c mean_b sum_i q_i |W_dec_i|
 *   auxiliary_reconstruction_loss = mean_b |W_dec^T q + b_dec - t|^2
 *
 * Where the paper holds the decoder of the auxiliary reconstruction fixed, SAELens does not. Nothing flows through the gate of f, so q is
 * all that trains b_gate: a standard SAE's activations and losses on the same weights, and its gradients
 * (see standard.ts). With h = pi - b_gate and dm = df where f > 0:
 *
 *   grad W_enc_i = sum_b (dm_i exp(r_mag_i) + dpi_i) xc,   grad r_mag_i = sum_b dm_i exp(r_mag_i) h_i,   grad b_mag_i = sum_b dm_i
 */
import { addRows, decodeDense, denseGradients, errorRows, gatedActivate, gatedLatents, gatedRows, gatedTraits, reluLatents, reluRows, rowNorms } from '../../kernels/index.ts';
import type { Architecture, BaseConfig, InferenceContext, InferenceForm, TrainingContext, TrainingForm } from '../architecture.ts';
import { rowNormalisation } from '../config.ts';
import { denseTraining } from '../dense-training.ts';
import { foldedInput } from '../export.ts';
import { denseInference, uploadVector } from '../inference.ts';

/** A gated SAE for training, with SAELens' defaults. */
export interface GatedConfig extends BaseConfig {
  architecture: 'gated';
  l1_coefficient: number;
  l1_warm_up_steps: number;
}

export const gated: Architecture<GatedConfig> = {
  name: 'gated',
  title: 'gates and magnitudes from one encoder (Rajamanoharan et al. 2024)',
  fields: {
    l1_coefficient: { kind: 'number', default: 1, least: 0, help: 'weight of the sparsity penalty on the gates' },
    l1_warm_up_steps: { kind: 'integer', default: 0, least: 0, help: 'steps over which the penalty grows to its weight' },
  },
  coefficients: (config) => ({ l1: { final: config.l1_coefficient, warmUpSteps: config.l1_warm_up_steps } }),
  train: gatedTraining,
  infer: gatedInference,
  export: (config, weights, input) => ({ architecture: 'gated', fields: {}, weights: foldedInput(config, weights, input) }),
};

function gatedTraining(context: TrainingContext<GatedConfig>): TrainingForm {
  const { config, state: { flags } } = context;
  const sae = denseTraining(context, 3, ['l1_loss', 'auxiliary_reconstruction_loss']);
  const { W_dec, b_dec, gradWDec, t, xc, norms, active, lossRows, sums, counts } = sae;
  const b_gate = sae.vector('b_gate'), r_mag = sae.vector('r_mag'), b_mag = sae.vector('b_mag'), traits = sae.vector('latent traits', 4 * config.d_sae);
  const gradRMag = sae.vector('grad r_mag'), gradBMag = sae.vector('grad b_mag'), pulls = sae.vector('sums through the magnitudes');
  const gates = sae.codes('gates'), f = sae.codes('activations'), d = sae.codes('activation gradients');
  const slopes = sae.perRow('penalty slopes', 1), gAux = sae.frames('auxiliary gradient');
  // Sums of their own, so that each goes over all rows in order, however many a chunk has.
  const gradWDecAux = sae.weight('auxiliary grad W_dec');
  // What q is computed of, and what it counts: open gates, which nobody asks for.
  const normalised = rowNormalisation(config.normalize_activations) !== 'none';
  const raw = normalised ? sae.frames('auxiliary encoder input') : xc;
  const gradWEncAux = normalised ? sae.weight('auxiliary grad W_enc') : undefined;
  const open = { active: sae.perRow('open gates', 1), counts: sae.vector('openings of the batch', config.d_sae, 'u32') };

  return {
    parameters: [
      ...sae.parameters, { name: 'b_gate', value: b_gate, gradient: sums }, { name: 'r_mag', value: r_mag, gradient: gradRMag }, { name: 'b_mag', value: b_mag, gradient: gradBMag },
    ],
    results: sae.results,
    initialise: sae.initialise,
    record(rec, step) {
      const penalty = { p: 1, coefficient: step.coefficients['l1']!, column: 0 };
      if (normalised) sae.prepareRaw(rec, raw, step);
      sae.prepare(rec, step);
      rowNorms(rec, { W: W_dec, norms });
      gatedTraits(rec, { r_mag, b_mag, b_gate, traits });
      for (const chunk of sae.chunks(step.rows)) {
        sae.encode(rec, xc, b_gate, gates, chunk);
        gatedRows(rec, { gates, traits, f, active, flags }, chunk);
        sae.reconstruct(rec, f, d, chunk);
        gatedLatents(rec, { gates, traits, df: d, gradBMag, gradRMag, pulls, counts }, chunk); // d becomes dm exp(r_mag)
        if (normalised) {
          sae.encoderGradients(rec, d, xc, chunk);
          sae.encode(rec, raw, b_gate, gates, chunk);
        }
        const q = gates, dq = f; // in the place of what is done with
        reluRows(rec, { h: q, norms, active: open.active, slopes, lossRows, flags }, chunk, penalty);
        decodeDense(rec, { f: q, W_dec, b_dec, r: gAux }, chunk.rows, chunk.firstRow);
        errorRows(rec, { t, r: gAux, lossRows }, chunk, 1);
        denseGradients(rec, { a: q, M: gAux, gradient: gradWDecAux }, chunk, chunk.firstRow > 0);
        sae.codeGradients(rec, gAux, dq, chunk);
        reluLatents(rec, { df: dq, f: q, slopes, norms, sums, counts: open.counts, ...(normalised ? {} : { more: d }) }, chunk, penalty); // q becomes dpi, plus d
        if (gradWEncAux) denseGradients(rec, { a: q, M: raw, gradient: gradWEncAux }, chunk, chunk.firstRow > 0);
        else sae.encoderGradients(rec, q, raw, chunk);
      }
      addRows(rec, { a: gradWDec, b: gradWDecAux }, config.d_sae, 1);
      if (gradWEncAux) addRows(rec, { a: sae.gradWEnc, b: gradWEncAux }, config.d_sae, 1);
      sae.finish(rec, step.rows, { throughNorms: true, outputs: [gAux], pulls: [pulls], others: [gradRMag, gradBMag] });
    },
    dispose: sae.dispose,
  };
}

/** Run in float32 in whatever its file has: torch rounds a second product for the magnitudes, which is not computed here. */
function gatedInference(context: InferenceContext): InferenceForm {
  const { config, weights } = context;
  const { b_gate, r_mag, b_mag } = weights;
  const traits = uploadVector(context, 'latent traits', Float32Array.from({ length: 4 * config.d_sae }, (_, at) => {
    const i = at >> 2;
    return [Math.exp(r_mag![i]!), b_mag![i]!, b_gate![i]!, 0][at & 3]!;
  }));
  return denseInference({ ...context, config: { ...config, dtype: 'float32' } }, b_gate, (rec, { h, flags }, rows) => gatedActivate(rec, { traits, h, flags }, rows));
}
