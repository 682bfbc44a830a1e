export type { EncodedClip, Encoder, EncoderOptions, ModelDescription, MultiEncoder, MultiEncoderOptions } from './encoder.ts';
export type { DeclaredInput } from './declared.ts';
export type { FamilyName, Spectrogram, SpectrogramSpec, WhisperFeatures } from './families.ts';
export { chooseEncoderFile } from './models.ts';
export { externalFiles } from './weights.ts';
export type { HookKind, HookPoint } from './hooks.ts';
export type { KnownModel } from './models.ts';
export { listHooks, openEncoder, openMultiEncoder } from './encoder.ts';
export { fetchModel, knownModels } from './models.ts';
