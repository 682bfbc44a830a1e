/**
 * cochlea as a library: what the commands do, as typed functions.
 *
 *   const gpu = await Gpu.open();
 *   const sae = await SAE.load(gpu, 'runs/layer3');
 *   const { recon, acts } = await sae.run(frames);
 */
export { ActivationStore, type ActivationInfo, ActivationWriter, type FrameChunk, type FrameSource, type FrameStatistics, type MixedBatch, MixingBuffer, type TargetInfo } from './activations/index.ts';
export { type Clip, decodeSound, listClips, loadClip, logMel, resample, type Sound } from './audio/index.ts';
export { fetchModel, type HookPoint, type KnownModel, knownModels, listHooks, type MultiEncoder, openEncoder, openMultiEncoder } from './encoders/index.ts';
export { CochleaError, type ErrorCode } from './errors.ts';
export { chooseFeatures, collectFirings, evaluate, type Evaluation, metricDefinitions, saeMetrics } from './evaluation/index.ts';
export { openNpy, openSafetensors, readSaelensFolder, type SaelensConfig, writeSaelensFolder, writeSafetensors } from './formats/index.ts';
export { Gpu, type GpuOptions } from './gpu/index.ts';
export { openActivations } from './jobs/activations.ts';
export { type AudioFrames, type AudioOptions, openAudio } from './jobs/audio.ts';
export { type DemoOptions, type DemoResult, runDemo } from './jobs/demo.ts';
export { encodeFile } from './jobs/encode.ts';
export { reportOn, type ReportOptions } from './jobs/report.ts';
export { extractActivations, type ExtractOptions, type ExtractResult } from './jobs/extract.ts';
export { runtime } from './runtime/index.ts';
export {
  type Architecture, architectureOf, architectures, type BaseConfig, baseFields, type Compatibility, dense, type Field, inferenceArchitectures, SAE, saeConfig, type SparseActs, topkConfig, type TopkConfig,
  trainedArchitectures, type Weights,
} from './sae/index.ts';
export {
  type ManyOptions, type ManyResult, readMetrics, type RunOptions, type RunResult, type SaeOptions, type StepMetrics, Trainer, trainerConfig, type TrainerConfig, trainerDefaults, type TrainerFields, trainMany, trainRun,
} from './training/index.ts';
