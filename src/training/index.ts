export { totalSteps, schedulers, trainerConfig, type TrainerConfig, trainerDefaults } from './config.ts';
export { readMetrics, metricNames } from './metrics-log.ts';
export { inferenceForm } from './export.ts';
export { inputTransform, type Progress, type RunOptions, type RunResult, trainRun } from './run.ts';
export { learningRate } from './schedule.ts';
export { type InputTransform, type StepMetrics, Trainer, type TrainerOptions, type TrainerState } from './trainer.ts';
