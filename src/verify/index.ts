export { changedShaders, compareRecords, type Comparison } from './compare.ts';
export { job, runJob } from './job.ts';
export { parseRecord, pinVariants, recordText, type VerifyRecord } from './record.ts';
export { readRun, type RunComparison, verifyRun } from './run.ts';
