/**
 * cochlea as a library: what the commands do, as typed functions.
 *
 *   const gpu = await Gpu.open();
 *   const sae = await SAE.load(gpu, 'runs/layer3');
 *   const { recon, acts } = await sae.run(frames);
 */
/// <reference types="@webgpu/types" preserve="true" />
export {
  type ActivationInfo, ActivationStore, ActivationWriter, exportForms, exportFrames, type ExportOptions, type ExportResult, type FrameChunk,
  type FrameSource, type FrameStatistics, type MixedBatch, MixingBuffer, type TargetInfo,
} from './activations/index.ts';
export { type Clip, decodeSound, listClips, loadClip, logMel, resample, type Sound, spectrogram } from './audio/index.ts';
export {
  type Backend, type BackendName, backendNames, type DeclaredInput, type EncoderOutput, fetchModel, type GpuFrames, type HookPoint, type KnownModel,
  knownModels, listHooks, type ModelBytes, type MultiEncoder, openEncoder, openMultiEncoder, openSpliceable, type SpeechHead, type SpliceableModel,
  type SpliceableOptions, type SplicedClip, type Transcript,
} from './encoders/index.ts';
export { CochleaError, type ErrorCode } from './errors.ts';
export {
  type Behaviour, behaviourMetrics, chooseFeatures, type ClipLatent, collectFirings, type ConditionName, conditions, editDistance, evaluate,
  evaluateBehaviour, type Evaluation, type Interval, type LatentChoice, type LatentOrder, latentOrders, type Measured, metricDefinitions, movedNames,
  recoveryScores, saeMetrics, type Spread, surveyClips, type TargetKind, words,
} from './evaluation/index.ts';
export { openNpy, openSafetensors, readSaelensFolder, type SaelensConfig, writeSaelensFolder, writeSafetensors } from './formats/index.ts';
export { Gpu, type GpuOptions } from './gpu/index.ts';
export { snapshot, type Snapshot, type SnapshotOptions } from './hub/index.ts';
export { openActivations } from './jobs/activations.ts';
export { type BehaviourJobOptions, type BehaviourReport, openSplicedSae, scoreBehaviour } from './jobs/behaviour.ts';
export { type DemoOptions, type DemoResult, runDemo } from './jobs/demo.ts';
export { encodeFile } from './jobs/encode.ts';
export { extractActivations, type ExtractOptions, type ExtractResult } from './jobs/extract.ts';
export { clipFeatures, type ClipFeatures, type FeaturesOptions, type FeaturesResult } from './jobs/features.ts';
export { reportOn, type ReportOptions } from './jobs/pages/report.ts';
export { type ConvertOptions, type ConvertResult, convertSae } from './jobs/published/convert.ts';
export { publish, type PublishOptions, type PublishResult } from './jobs/published/publish.ts';
export { fromPretrained, listSaes, pull, type PullOptions, type PullResult } from './jobs/published/pull.ts';
export { type AudioFrames, type AudioOptions, openAudio } from './jobs/recordings/audio.ts';
export { locateModel, type LocateOptions } from './jobs/recordings/models.ts';
export { checkFrames, type FrameKind, trainedOn, trainedToward } from './jobs/recordings/trained-on.ts';
export { steer, type SteerJobOptions, type SteerMode, steerModes, type SteerReport, usualStrengths } from './jobs/steer.ts';
export { writeEventFiles } from './jobs/tensorboard.ts';
export { transcribe, type TranscribedClip, type TranscribeOptions, type TranscribeResult } from './jobs/transcribe.ts';
export { verifyFolder } from './jobs/verify.ts';
export { loaders, type LoadOptions, type PretrainedSae, readPretrained, type Release, releases, writers } from './pretrained/index.ts';
export { type Recipe, recipeConfig, recipeOf, recipes, recipesPage, recipeText } from './recipes/index.ts';
export { runtime } from './runtime/index.ts';
export {
  addDirection, type Architecture, architectureOf, architectures, type BaseConfig, baseFields, type Compatibility, dense, type Field, type Frames,
  inferenceArchitectures, intervene, type LatentEdit, SAE, saeConfig, type SparseActs, topkConfig, type TopkConfig, trainedArchitectures, type Weights,
} from './sae/index.ts';
export {
  type ManyOptions, type ManyResult, type MemoryPlan, planLine, planRun, planTable, readMetrics, type RunOptions, type RunResult, type SaeOptions,
  type StepMetrics, Trainer, trainerConfig, type TrainerConfig, trainerDefaults, type TrainerFields, trainMany, trainRun,
} from './training/index.ts';
export { compareRecords, type Comparison, job as canonicalJob, parseRecord, pinVariants, recordText, type RunComparison, runJob, type VerifyRecord } from './verify/index.ts';
