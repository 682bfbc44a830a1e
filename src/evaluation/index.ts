export { meanReconstruction } from './baselines.ts';
export type { SaeLike } from './batches.ts';
export type { Interval } from './bootstrap.ts';
export { chooseFeatures, type ChoiceOptions } from './choose-features.ts';
export { evaluate, type Evaluation, type MetricValue } from './evaluate.ts';
export { type FrameLabel, type LabelScore, type Segment, segmentLabels } from './labels.ts';
export type { DensityHistogram } from './latent-sums.ts';
export { type LatentMetric, latentMetrics, type MetricDefinition, metricDefinitions, type SaeMetric, saeMetrics } from './metric-definitions.ts';
export { collectFirings, type Firing, type Firings, type FiringsOptions, type LatentFirings } from './top-activations.ts';
