/**
 * JumpReLU SAE (Rajamanoharan et al. 2024, "Jumping ahead") in SAELens 6.18's form: the threshold is learned as its
 * logarithm by straight-through estimators with a rectangular kernel; 'tanh' sparsity and pre_act_loss follow
 * Anthropic's January 2025 update.
 */

import {
  decode, decodeBackward, decoderNorms, encodeBackward, encoderInput, normsBackward, preActivations, reconstructionError, zerosLike,
} from './linear.ts';
import type { Pass, PassContext, SaeConfig, Tensors } from './linear.ts';
import { difference } from './matrix.ts';
import { denormalize } from './normalize.ts';

export interface JumpreluTrainingConfig extends SaeConfig {
  bandwidth: number;
  sparsityMode: 'step' | 'tanh';
  tanhScale: number;
  /** 0: no pre_act_loss. */
  preActCoefficient: number;
}

/** Inference: f = relu(h) 1[h > threshold], with `threshold` [dSae] in linear space. */
export function jumpreluRun(parameters: Tensors, x: Float64Array, config: SaeConfig) {
  const { normalized, centred } = encoderInput(parameters, x, config);
  const h = preActivations(centred, parameters.W_enc, parameters.b_enc, config);
  const f = h.map((value, j) => (value > parameters.threshold[j % config.dSae] ? Math.max(value, 0) : 0));
  return { featureActs: f, out: denormalize(decode(parameters, f, config), config.dIn, normalized) };
}

/**
 * f = h 1[h > theta], theta = exp(log_threshold). mse_loss;
 * l0_loss = l0 mean_b sum_i 1[h_i > theta_i] ('step') or l0 mean_b sum_i tanh(scale f_i n_i) ('tanh');
 * pre_act_loss = coefficient mean_b sum over dead i of relu(theta_i - h_i) n_i.
 *
 * Straight-through, with rect = 1[|h - theta| < bandwidth / 2] / bandwidth: d step / d theta = -rect and
 * d f / d theta = -theta rect; step and f pass nothing else on to h than f's own 1[h > theta].
 */
export function jumpreluPass(parameters: Tensors, x: Float64Array, config: JumpreluTrainingConfig, context: PassContext): Pass {
  const { dIn, dSae, bandwidth, tanhScale, preActCoefficient } = config;
  const rows = x.length / dIn;
  const theta = parameters.log_threshold.map(Math.exp);
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

  const c0 = context.coefficients.l0 / rows;
  const cPre = preActCoefficient / rows;
  let l0 = 0;
  let preAct = 0;
  for (let j = 0; j < h.length; j++) {
    const i = j % dSae;
    const active = h[j] > theta[i];
    const rect = Math.abs(h[j] - theta[i]) < bandwidth / 2 ? 1 / bandwidth : 0;
    if (config.sparsityMode === 'step') {
      l0 += active ? 1 : 0;
      dTheta[i] -= rect * c0;
    } else {
      const u = Math.tanh(tanhScale * f[j] * norms[i]);
      l0 += u;
      df[j] += c0 * (1 - u * u) * tanhScale * norms[i];
      dn[i] += c0 * (1 - u * u) * tanhScale * f[j];
    }
    if (active) dh[j] += df[j];
    dTheta[i] -= theta[i] * rect * df[j];
    if (context.dead[i] && theta[i] > h[j]) {
      preAct += (theta[i] - h[j]) * norms[i];
      dTheta[i] += cPre * norms[i];
      dh[j] -= cPre * norms[i];
      dn[i] += cPre * (theta[i] - h[j]);
    }
  }
  normsBackward(parameters, norms, dn, gradients, config);
  encodeBackward(parameters, centred, dh, gradients, 'b_enc', config);
  gradients.log_threshold = dTheta.map((value, i) => value * theta[i]);

  const losses: Record<string, number> = { mse_loss: mse, l0_loss: c0 * l0 };
  if (preActCoefficient !== 0) losses.pre_act_loss = cPre * preAct;
  const loss = Object.values(losses).reduce((sum, value) => sum + value, 0);
  return { losses, loss, out, featureActs: f, residual: difference(x, out), gradients };
}
