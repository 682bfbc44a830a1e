/**
 * Gated SAE (Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders") as SAELens
 * trains it: unlike in the paper, the decoder of the auxiliary reconstruction is not held constant.
 */

import {
  decode, decodeBackward, decoderNorms, encodeBackward, encoderInput, inputBackward, normsBackward, preActivations,
  reconstructionError, squaredError, subtractBDec, zerosLike,
} from './linear.ts';
import type { Pass, PassContext, SaeConfig, Tensors } from './linear.ts';
import { addTo, columnSums, difference, matmulTransposeA } from './matrix.ts';
import { denormalize } from './normalize.ts';

/** Gate pi = x_c W_encᵀ + b_gate, magnitude m = x_c (W_enc exp(r_mag))ᵀ + b_mag, f = 1[pi > 0] relu(m). */
function encode(parameters: Tensors, x: Float64Array, config: SaeConfig) {
  const { normalized, centred } = encoderInput(parameters, x, config);
  const W_mag = parameters.W_enc.map((w, j) => w * Math.exp(parameters.r_mag[Math.floor(j / config.dIn)]));
  const gate = preActivations(centred, parameters.W_enc, parameters.b_gate, config);
  const magnitude = preActivations(centred, W_mag, parameters.b_mag, config);
  const f = gate.map((pi, j) => (pi > 0 ? Math.max(magnitude[j], 0) : 0));
  return { normalized, centred, W_mag, f };
}

export function gatedRun(parameters: Tensors, x: Float64Array, config: SaeConfig) {
  const { normalized, f } = encode(parameters, x, config);
  return { featureActs: f, out: denormalize(decode(parameters, f, config), config.dIn, normalized) };
}

/**
 * mse_loss; with q = relu(pi) of the input as it came, not normalised: l1_loss = l1 mean_b sum_i q_i n_i and
 * auxiliary_reconstruction_loss = mean_b ||q W_dec + b_dec - x||².
 */
export function gatedPass(parameters: Tensors, x: Float64Array, config: SaeConfig, context: PassContext): Pass {
  const { dIn, dSae } = config;
  const rows = x.length / dIn;
  const { normalized, centred, W_mag, f } = encode(parameters, x, config);
  const norms = decoderNorms(parameters, config);
  const gradients = zerosLike(parameters);

  const { out, loss: mse, dr } = reconstructionError(decode(parameters, f, config), x, normalized, dIn);
  const df = decodeBackward(parameters, f, dr, gradients, config);
  const dm = df.map((value, j) => (f[j] > 0 ? value : 0)); // nothing flows through the gate
  const dW_mag = matmulTransposeA(dm, centred, dSae, rows, dIn);
  dW_mag.forEach((value, j) => {
    const i = Math.floor(j / dIn);
    gradients.W_enc[j] += value * Math.exp(parameters.r_mag[i]);
    gradients.r_mag[i] += value * W_mag[j];
  });
  addTo(gradients.b_mag, columnSums(dm, rows, dSae));
  inputBackward(W_mag, dm, gradients, config);

  const rawCentred = subtractBDec(parameters, x, config);
  const q = preActivations(rawCentred, parameters.W_enc, parameters.b_gate, config).map((pi) => Math.max(pi, 0));
  const auxiliary = squaredError(decode(parameters, q, config), x, dIn);
  const dq = decodeBackward(parameters, q, auxiliary.gradient, gradients, config);
  const c = context.coefficients.l1 / rows;
  const sums = columnSums(q, rows, dSae);
  const sparsity = sums.reduce((total, sum, i) => total + sum * norms[i], 0);
  normsBackward(parameters, norms, sums.map((sum) => c * sum), gradients, config);
  const dpi = dq.map((value, j) => (q[j] > 0 ? value + c * norms[j % dSae] : 0));
  encodeBackward(parameters, rawCentred, dpi, gradients, 'b_gate', config);

  const losses = { mse_loss: mse, l1_loss: c * sparsity, auxiliary_reconstruction_loss: auxiliary.loss };
  const loss = losses.mse_loss + losses.l1_loss + losses.auxiliary_reconstruction_loss;
  return { losses, loss, out, featureActs: f, residual: difference(x, out), gradients };
}
