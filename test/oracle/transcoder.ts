/**
 * Transcoders (inference only) read one hook point and write another: no b_dec at the input, the input normalised, the
 * output left as decoded. SAELens names transcoder, skip_transcoder (W_skip) and jumprelu_transcoder (threshold).
 */

import { addTo, matmul, matmulTransposeB } from './matrix.ts';
import { normalize } from './normalize.ts';
import type { Normalization } from './normalize.ts';
import type { Tensors } from './linear.ts';

export interface TranscoderConfig {
  dIn: number;
  dOut: number;
  dSae: number;
  normalizeActivations: Normalization;
}

/** W_enc [dSae, dIn], W_dec [dSae, dOut], b_dec [dOut]; optionally W_skip [dOut, dIn] on the raw input, threshold [dSae]. */
export function transcoderRun(parameters: Tensors, x: Float64Array, { dIn, dOut, dSae, normalizeActivations }: TranscoderConfig) {
  const rows = x.length / dIn;
  const h = matmulTransposeB(normalize(x, dIn, normalizeActivations).x, parameters.W_enc, rows, dIn, dSae);
  const featureActs = h.map((value, j) => {
    const pre = value + parameters.b_enc[j % dSae];
    return pre > (parameters.threshold?.[j % dSae] ?? 0) ? Math.max(pre, 0) : 0;
  });
  const out = matmul(featureActs, parameters.W_dec, rows, dSae, dOut).map((value, j) => value + parameters.b_dec[j % dOut]);
  if (parameters.W_skip) addTo(out, matmulTransposeB(x, parameters.W_skip, rows, dIn, dOut));
  return { featureActs, out };
}
