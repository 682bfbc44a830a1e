/** Standard SAE (Bricken et al. 2023; loss of "Update on how we train SAEs", Conerly et al. 2024): ReLU and a decoder-weighted L1. */

import {
  decode, decodeBackward, decoderNorms, encodeBackward, encoderInput, normsBackward, preActivations, reconstructionError, zerosLike,
} from './linear.ts';
import type { Pass, PassContext, SaeConfig, Tensors } from './linear.ts';
import { difference } from './matrix.ts';
import { denormalize } from './normalize.ts';

export interface StandardTrainingConfig extends SaeConfig {
  /** p of the sparsity norm; 1 is L1. */
  lpNorm: number;
}

function encode(parameters: Tensors, x: Float64Array, config: SaeConfig) {
  const { normalized, centred } = encoderInput(parameters, x, config);
  const f = preActivations(centred, parameters.W_enc, parameters.b_enc, config).map((h) => Math.max(h, 0));
  return { normalized, centred, f };
}

export function standardRun(parameters: Tensors, x: Float64Array, config: SaeConfig) {
  const { normalized, f } = encode(parameters, x, config);
  return { featureActs: f, out: denormalize(decode(parameters, f, config), config.dIn, normalized) };
}

/** mse_loss; l1_loss = l1 mean_b ||f n||_p with n_i = ||W_dec_i||, through which gradients flow. */
export function standardPass(parameters: Tensors, x: Float64Array, config: StandardTrainingConfig, context: PassContext): Pass {
  const { dIn, dSae, lpNorm: p } = config;
  const rows = x.length / dIn;
  const { normalized, centred, f } = encode(parameters, x, config);
  const norms = decoderNorms(parameters, config);
  const gradients = zerosLike(parameters);

  const { out, loss: mse, dr } = reconstructionError(decode(parameters, f, config), x, normalized, dIn);
  const df = decodeBackward(parameters, f, dr, gradients, config);

  let sparsity = 0;
  const dn = new Float64Array(dSae);
  const c = context.coefficients.l1 / rows;
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let i = 0; i < dSae; i++) sum += (f[row * dSae + i] * norms[i]) ** p;
    const norm = sum ** (1 / p);
    sparsity += norm;
    for (let i = 0; i < dSae; i++) {
      const w = f[row * dSae + i] * norms[i];
      if (w === 0) continue;
      const dw = c * w ** (p - 1) * norm ** (1 - p);
      df[row * dSae + i] += dw * norms[i];
      dn[i] += dw * f[row * dSae + i];
    }
  }
  normsBackward(parameters, norms, dn, gradients, config);
  encodeBackward(parameters, centred, df.map((value, j) => (f[j] > 0 ? value : 0)), gradients, 'b_enc', config);
  const losses = { mse_loss: mse, l1_loss: c * sparsity };
  return { losses, loss: losses.mse_loss + losses.l1_loss, out, featureActs: f, residual: difference(x, out), gradients };
}
