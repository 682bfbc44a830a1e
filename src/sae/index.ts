export type {
  Architecture, BaseConfig, Compatibility, Exported, Field, InferenceContext, InferenceForm, InputTransform, Parameter, Step, StepInputs, StepResults, StepState, TrainingContext, TrainingForm,
} from './architecture.ts';
export { architectureOf, architectures, inferenceArchitectures, saeConfig, trainedArchitectures } from './architectures/index.ts';
export { topk, topkConfig, type TopkConfig } from './architectures/topk.ts';
export { baseFields, configOf } from './config.ts';
export { inferenceWeights } from './read.ts';
export { addDirection, intervene, type Intervened, type LatentChange, latentChange, latentDirections, type LatentEdit, refuseTranscoder } from './interventions.ts';
export { dense, type Frames, SAE, type SaeRun, type SparseActs } from './sae.ts';
export { decoderNorms, foldDecoderNorms, foldInputTransform, type ParameterName, tensorsFromWeights, transpose, type Weights, weightsFromTensors } from './weights.ts';
