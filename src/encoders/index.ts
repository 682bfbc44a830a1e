export type { EncodedClip, Encoder, EncoderOptions, ModelDescription, MultiEncoder, MultiEncoderOptions } from './encoder.ts';
export type { DeclaredInput } from './declared.ts';
export type { FamilyName, Spectrogram, SpectrogramSpec, WhisperFeatures } from './families.ts';
export type { HookKind, HookPoint } from './hooks.ts';
export type { KnownModel } from './models.ts';
export { listHooks, openEncoder, openMultiEncoder } from './encoder.ts';
export { fetchModel, knownModels } from './models.ts';
export type { EncoderOutput, SpeechHead, SpliceableModel, SpliceableOptions, SplicedClip, Transcript } from './speech.ts';
export { openSpliceable } from './splice.ts';
