export { renderReport } from './render.ts';
export type { Curve, Recording, ReportData, ReportFeature, ReportScores, ReportSound, RunFacts, Segment, Strip } from './types.ts';
