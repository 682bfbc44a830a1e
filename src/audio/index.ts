export type { Clip, LoadedClip } from './clips.ts';
export type { LogMel, LogMelOptions } from './mel.ts';
export type { Sound } from './sound.ts';
export { listClips, loadClip } from './clips.ts';
export { decodeSound } from './decode.ts';
export { spectrogram } from './fbank.ts';
export { logMel, whisperFeatures } from './mel.ts';
export { resample } from './resample.ts';
