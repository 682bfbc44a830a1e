/** From trained weights to those of the SAE that is used: raw frames in, raw frames out. */
import type { BaseConfig, InputTransform } from './architecture.ts';
import { foldDecoderNorms, foldInputTransform, type Weights } from './weights.ts';

/** Folds centring and scale into the weights of an SAE that reconstructs its own input. */
export function foldedInput(config: BaseConfig, weights: Weights, { mean, scale }: InputTransform): Weights {
  const plain = scale === 1 && mean.every((value) => value === 0);
  return plain ? weights : foldInputTransform(weights, mean, scale, config.apply_b_dec_to_input);
}

/** The same, and then decoder norms where the SAE ranks latents by them (SAELens' save_inference_model). */
export function foldedNorms(config: BaseConfig & { rescale_acts_by_decoder_norm: boolean }, weights: Weights, input: InputTransform): Weights {
  const folded = foldedInput(config, weights, input);
  return config.rescale_acts_by_decoder_norm ? foldDecoderNorms(folded) : folded;
}
