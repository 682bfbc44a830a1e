export { renderClips } from './clip-page.ts';
export type { ClipPageData, ClipPicture, ClipPictureLatent } from './clip-types.ts';
export { renderReport } from './render.ts';
export type { Curve, Recording, ReportData, ReportFeature, ReportScores, ReportSound, RunFacts, Segment, Strip } from './types.ts';
