/**
 * cochlea as a library: what the commands do, as typed functions.
 *
 *   const gpu = await Gpu.open();
 *   const sae = await SAE.load(gpu, 'runs/layer3');
 *   const { recon, acts } = await sae.run(frames);
 */
export { ActivationStore, type ActivationInfo, ActivationWriter, exportForms, exportFrames, type ExportOptions, type ExportResult, type FrameChunk, type FrameSource, type FrameStatistics, type MixedBatch, MixingBuffer, type TargetInfo } from './activations/index.ts';
export { type Clip, decodeSound, listClips, loadClip, logMel, resample, type Sound, spectrogram } from './audio/index.ts';
export { type Backend, type BackendName, backendNames, type DeclaredInput, fetchModel, type GpuFrames, type HookPoint, type KnownModel, knownModels, listHooks, type ModelBytes, type MultiEncoder, openEncoder, openMultiEncoder } from './encoders/index.ts';
export {
  type EncoderOutput, openSpliceable, type SpeechHead, type SpliceableModel, type SpliceableOptions, type SplicedClip, type Transcript,
} from './encoders/index.ts';
export { CochleaError, type ErrorCode } from './errors.ts';
export { chooseFeatures, type ClipLatent, collectFirings, evaluate, type Evaluation, type LatentChoice, type LatentOrder, latentOrders, metricDefinitions, saeMetrics } from './evaluation/index.ts';
export { type Behaviour, behaviourMetrics, type ConditionName, conditions, editDistance, evaluateBehaviour, type Interval, type Measured, movedNames, recoveryScores, type Spread, surveyClips, type TargetKind, words } from './evaluation/index.ts';
export { openNpy, openSafetensors, readSaelensFolder, type SaelensConfig, writeSaelensFolder, writeSafetensors } from './formats/index.ts';
export { Gpu, type GpuOptions } from './gpu/index.ts';
export { type Snapshot, snapshot, type SnapshotOptions } from './hub/index.ts';
export { openActivations } from './jobs/activations.ts';
export { type AudioFrames, type AudioOptions, openAudio } from './jobs/audio.ts';
export { type BehaviourJobOptions, type BehaviourReport, openSplicedSae, scoreBehaviour } from './jobs/behaviour.ts';
export { convertSae, type ConvertOptions, type ConvertResult } from './jobs/convert.ts';
export { type DemoOptions, type DemoResult, runDemo } from './jobs/demo.ts';
export { encodeFile } from './jobs/encode.ts';
export { type LocateOptions, locateModel } from './jobs/models.ts';
export { clipFeatures, type ClipFeatures, type FeaturesOptions, type FeaturesResult } from './jobs/features.ts';
export { publish, type PublishOptions, type PublishResult } from './jobs/publish.ts';
export { fromPretrained, listSaes, pull, type PullOptions, type PullResult } from './jobs/pull.ts';
export { reportOn, type ReportOptions } from './jobs/report.ts';
export { steer, type SteerJobOptions, type SteerMode, steerModes, type SteerReport, usualStrengths } from './jobs/steer.ts';
export { checkFrames, type FrameKind, trainedOn, trainedToward } from './jobs/trained-on.ts';
export { verifyFolder } from './jobs/verify.ts';
export { extractActivations, type ExtractOptions, type ExtractResult } from './jobs/extract.ts';
export { loaders, type LoadOptions, type PretrainedSae, readPretrained, type Release, releases, writers } from './pretrained/index.ts';
export { writeEventFiles } from './jobs/tensorboard.ts';
export { transcribe, type TranscribedClip, type TranscribeOptions, type TranscribeResult } from './jobs/transcribe.ts';
export { type Recipe, recipeConfig, recipeOf, recipes, recipesPage, recipeText } from './recipes/index.ts';
export { runtime } from './runtime/index.ts';
export {
  addDirection, type Architecture, architectureOf, architectures, type BaseConfig, baseFields, type Compatibility, dense, type Field, type Frames, inferenceArchitectures, intervene, type LatentEdit, SAE, saeConfig, type SparseActs, topkConfig, type TopkConfig,
  trainedArchitectures, type Weights,
} from './sae/index.ts';
export {
  type ManyOptions, type ManyResult, type MemoryPlan, planLine, planRun, planTable, readMetrics, type RunOptions, type RunResult, type SaeOptions, type StepMetrics, Trainer, trainerConfig, type TrainerConfig, trainerDefaults, type TrainerFields, trainMany, trainRun,
} from './training/index.ts';
export { type Comparison, compareRecords, parseRecord, pinVariants, recordText, type RunComparison, runJob, type VerifyRecord } from './verify/index.ts';
