/** From a trained SAE to the one that is used: raw frames in, raw frames out, in SAELens' inference form. */
import type { ActivationInfo } from '../activations/index.ts';
import { type Json, type SaelensConfig, saelensVersion } from '../formats/index.ts';
import { foldDecoderNorms, foldInputTransform, type TopkConfig, type Weights } from '../sae/index.ts';
import type { InputTransform } from './trainer.ts';

/**
 * Folds centring and scale into the weights, then decoder norms where the architecture ranks by them (SAELens' save_inference_model), and
 * writes the configuration with what is known of the frames in `metadata`.
 */
export function inferenceForm(config: TopkConfig, weights: Weights, input: InputTransform, metadata: Record<string, Json>): { config: SaelensConfig; weights: Weights } {
  const plain = input.scale === 1 && input.mean.every((value) => value === 0);
  let folded = plain ? weights : foldInputTransform(weights, input.mean, input.scale, config.apply_b_dec_to_input);
  if (config.rescale_acts_by_decoder_norm) folded = foldDecoderNorms(folded);
  return {
    weights: folded,
    config: {
      d_in: config.d_in, d_sae: config.d_sae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: config.apply_b_dec_to_input,
      normalize_activations: config.normalize_activations === 'expected_average_only_in' ? 'none' : config.normalize_activations,
      reshape_activations: 'none', metadata, k: config.k, rescale_acts_by_decoder_norm: config.rescale_acts_by_decoder_norm, architecture: config.architecture,
    },
  };
}

/** SAELens' metadata keys, filled for frames of sound, and ours behind them. */
export function audioMetadata(info: ActivationInfo, architecture: string): Record<string, Json> {
  return {
    sae_lens_version: saelensVersion, sae_lens_training_version: saelensVersion, training_architecture: architecture,
    model_name: info.model, hook_name: info.hook, hook_head_index: null, dataset_path: info.dataSha256,
    // SAELens' own activation store wants these to be set; frames of sound have no tokens to prepend.
    context_size: 1, prepend_bos: false, seqpos_slice: [null],
    layer: info.layer, frame_rate: info.frameRate, sample_rate: info.sampleRate, model_sha256: info.modelSha256, data_sha256: info.dataSha256,
  };
}
