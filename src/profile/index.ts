export { type Change, type Comparison, compareProfiles, readProfile } from './against.ts';
export { type ExtractionOptions, profileExtraction } from './extraction.ts';
export { measure, type MeasureOptions, type Work, type WorkInHand } from './measure.ts';
export { roofline } from './roofline.ts';
export { traceOf } from './timeline.ts';
export { encodeWork, trainingWork } from './training.ts';
export { type ClipTimes, type ExtractionProfile, type GpuProfile, type KernelRow, type Profile, stages, type Timeline } from './types.ts';
