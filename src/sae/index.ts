export { checkInference, type Compatibility, inferenceArchitectures, topkConfig, type TopkConfig, topkDefaults } from './config.ts';
export { dense, SAE, type SparseActs } from './sae.ts';
export { topkTraining } from './topk.ts';
export type { Parameter, StepInputs, StepResults, StepState, TrainingForm } from './training-form.ts';
export { foldDecoderNorms, foldInputTransform, tensorsFromWeights, transpose, type Weights, weightsFromTensors } from './weights.ts';
