export { biasInitialisations, totalSteps, schedulers, trainerConfig, type TrainerConfig, trainerDefaults, type TrainerFields } from './config.ts';
export { readMetrics, metricNames } from './metrics-log.ts';
export { inferenceForm } from './export.ts';
export { inputTransform } from './input-transform.ts';
export { type ManyOptions, type ManyProgress, type ManyResult, type Progress, type RunOptions, type RunResult, type SaeOptions, trainMany, trainRun } from './run.ts';
export { learningRate } from './schedule.ts';
export type { StepMetrics } from './step-metrics.ts';
export type { TrainingBatch } from './stream-inputs.ts';
export { Trainer, type TrainerOptions, type TrainerState } from './trainer.ts';
