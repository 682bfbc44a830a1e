export type { Backend, BackendName } from './backend.ts';
export type { EncodedClip, Encoder, EncoderOptions, ModelDescription, MultiEncoder, MultiEncoderOptions, PreparedEncoder } from './encoder.ts';
export type { DeclaredInput } from './declared.ts';
export type { FamilyName, Spectrogram, SpectrogramSpec, WhisperFeatures } from './families.ts';
export type { HookKind, HookPoint } from './hooks.ts';
export type { KnownModel } from './models.ts';
export { backendNames, chooseBackend } from './backend.ts';
export { listHooks, openEncoder, openMultiEncoder, prepareEncoder, startEncoder } from './encoder.ts';
export { fetchModel, knownModels } from './models.ts';
