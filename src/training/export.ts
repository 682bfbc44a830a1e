/** From a trained SAE to the one that is used: raw frames in, raw frames out, in SAELens' inference form. */
import type { ActivationInfo, TargetInfo } from '../activations/index.ts';
import { type Json, type SaelensConfig, saelensVersion } from '../formats/index.ts';
import { architectureOf, type BaseConfig, type InputTransform, type Weights } from '../sae/index.ts';

/** The architecture's inference form under SAELens' fields, with what is known of the frames in `metadata`. `threshold`: the running one, where there is one. */
export function inferenceForm(config: BaseConfig, trained: Weights, input: InputTransform, metadata: Record<string, Json>, threshold = 0): { config: SaelensConfig; weights: Weights } {
  const trainedAs = architectureOf(config.architecture);
  const { architecture, fields, weights } = trainedAs.export!(config, trained, input, threshold);
  // What the saved architecture has no field for, where SAELens keeps it since 6.46.
  const details = Object.fromEntries(Object.keys(trainedAs.fields).map((name) => [name, (config as unknown as Record<string, Json>)[name]!]));
  return {
    weights,
    config: {
      d_in: config.d_in, d_sae: config.d_sae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: config.apply_b_dec_to_input,
      normalize_activations: config.normalize_activations === 'expected_average_only_in' ? 'none' : config.normalize_activations,
      reshape_activations: 'none', metadata: { ...metadata, training_architecture_details: details }, ...fields, architecture,
    },
  };
}

/** SAELens' metadata keys, filled for frames of sound, and ours behind them. `target`: what a transcoder gives. */
export function audioMetadata(info: ActivationInfo, architecture: string, target?: TargetInfo): Record<string, Json> {
  return {
    sae_lens_version: saelensVersion, sae_lens_training_version: saelensVersion, training_architecture: architecture,
    model_name: info.model, hook_name: info.hook, hook_head_index: null, ...(target ? { hook_name_out: target.hook, hook_head_index_out: null } : {}), dataset_path: info.dataSha256,
    // SAELens' own activation store wants these to be set; frames of sound have no tokens to prepend.
    context_size: 1, prepend_bos: false, seqpos_slice: [null],
    layer: info.layer, ...(target ? { layer_out: target.layer } : {}), frame_rate: info.frameRate, sample_rate: info.sampleRate, model_sha256: info.modelSha256, ...(info.modelSource === undefined ? {} : { model_source: info.modelSource }), data_sha256: info.dataSha256,
  };
}
