/**
 * JumpReLU SAE (Rajamanoharan et al. 2024, "Jumping ahead") in SAELens' forms: thresholds are learned by straight-through estimators with a
 * rectangular kernel, directly (since 6.48) or as logarithms (6.18); 'tanh' sparsity, pre_act_loss and the estimator's way to the
 * input follow Anthropic's January 2025 update; 'quadratic' steers the batch's mean L0 to a target.
 */

import {
  decode, decodeBackward, decoderNorms, encodeBackward, encoderInput, normsBackward, preActivations, reconstructionError, zerosLike,
} from './linear.ts';
import type { Pass, PassContext, SaeConfig, Tensors } from './linear.ts';
import { difference } from './matrix.ts';
import { denormalize } from './normalize.ts';

export interface JumpreluTrainingConfig extends SaeConfig {
  bandwidth: number;
  sparsityMode: 'step' | 'tanh' | 'quadratic';
  tanhScale: number;
  /** Absent: no pre_act_loss. */
  preActCoefficient?: number;
  /** Of 'quadratic'. */
  targetL0?: number;
  /** Whether the straight-through estimator reaches the pre-activations. */
  steToInput?: boolean;
}

/** Inference: f = relu(h) 1[h > threshold], with `threshold` [dSae] in linear space. */
export function jumpreluRun(parameters: Tensors, x: Float64Array, config: SaeConfig) {
  const { normalized, centred } = encoderInput(parameters, x, config);
  const h = preActivations(centred, parameters.W_enc, parameters.b_enc, config);
  const f = h.map((value, j) => (value > parameters.threshold[j % config.dSae] ? Math.max(value, 0) : 0));
  return { featureActs: f, out: denormalize(decode(parameters, f, config), config.dIn, normalized) };
}

/**
 * f = h 1[h > theta], theta = relu(threshold), or exp(log_threshold) where that is the parameter. mse_loss;
 * l0_loss = l0 mean_b sum_i 1[h_i > theta_i] ('step'), l0 mean_b sum_i tanh(scale f_i n_i) ('tanh') or
 * l0 (mean_b sum_i 1[h_i > theta_i] / target - 1)^2 ('quadratic');
 * pre_act_loss = coefficient mean_b sum over dead i of relu(theta_i - h_i) n_i.
 *
 * Straight-through, with rect = 1[|h - theta| < bandwidth / 2] / bandwidth: d step / d theta = -rect and d f / d theta = -theta rect.
 * With steToInput h gets the opposite of each; without, step and f pass nothing else on to h than f's own 1[h > theta].
 */
export function jumpreluPass(parameters: Tensors, x: Float64Array, config: JumpreluTrainingConfig, context: PassContext): Pass {
  const { dIn, dSae, bandwidth, tanhScale, sparsityMode, preActCoefficient, targetL0, steToInput } = config;
  const rows = x.length / dIn;
  const asLogarithm = parameters.log_threshold !== undefined;
  const theta = asLogarithm ? parameters.log_threshold.map(Math.exp) : parameters.threshold.map((value) => Math.max(value, 0));
  const norms = decoderNorms(parameters, config);
  const gradients = zerosLike(parameters);
  const { normalized, centred } = encoderInput(parameters, x, config);
  const h = preActivations(centred, parameters.W_enc, parameters.b_enc, config);
  const f = h.map((value, j) => (value > theta[j % dSae] ? value : 0));

  const { out, loss: mse, dr } = reconstructionError(decode(parameters, f, config), x, normalized, dIn);
  const df = decodeBackward(parameters, f, dr, gradients, config);
  const dh = new Float64Array(h.length);
  const dTheta = new Float64Array(dSae);
  const dn = new Float64Array(dSae);

  const c0 = context.coefficients.l0;
  const meanActive = h.reduce((count, value, j) => count + (value > theta[j % dSae] ? 1 : 0), 0) / rows;
  // The loss as a function of mean_b sum_i step, and its slope.
  const excess = meanActive / (targetL0 ?? NaN) - 1;
  const [stepLoss, stepSlope] = {
    step: [c0 * meanActive, c0], tanh: [0, 0], quadratic: [c0 * excess ** 2, (2 * c0 * excess) / (targetL0 ?? NaN)],
  }[sparsityMode];
  const cPre = (preActCoefficient ?? 0) / rows;
  let tanhLoss = 0;
  let preAct = 0;
  for (let j = 0; j < h.length; j++) {
    const i = j % dSae;
    const rect = Math.abs(h[j] - theta[i]) < bandwidth / 2 ? 1 / bandwidth : 0;
    if (sparsityMode === 'tanh') {
      const u = Math.tanh(tanhScale * f[j] * norms[i]);
      tanhLoss += (c0 / rows) * u;
      df[j] += (c0 / rows) * (1 - u * u) * tanhScale * norms[i];
      dn[i] += (c0 / rows) * (1 - u * u) * tanhScale * f[j];
    }
    const estimate = rect * (theta[i] * df[j] + stepSlope / rows);
    dTheta[i] -= estimate;
    dh[j] += (h[j] > theta[i] ? df[j] : 0) + (steToInput ? estimate : 0);
    if (context.dead[i] && theta[i] > h[j]) {
      preAct += (theta[i] - h[j]) * norms[i];
      dTheta[i] += cPre * norms[i];
      dh[j] -= cPre * norms[i];
      dn[i] += cPre * (theta[i] - h[j]);
    }
  }
  normsBackward(parameters, norms, dn, gradients, config);
  encodeBackward(parameters, centred, dh, gradients, 'b_enc', config);
  if (asLogarithm) gradients.log_threshold = dTheta.map((value, i) => value * theta[i]);
  else gradients.threshold = dTheta.map((value, i) => (parameters.threshold[i] > 0 ? value : 0));

  const losses: Record<string, number> = { mse_loss: mse, l0_loss: stepLoss + tanhLoss };
  if (preActCoefficient !== undefined) losses.pre_act_loss = cPre * preAct;
  const loss = Object.values(losses).reduce((sum, value) => sum + value, 0);
  return { losses, loss, out, featureActs: f, residual: difference(x, out), gradients };
}
