/** A model that can be spliced, wherever it lies: with its decoder, and with the features of sound that encoders ask for. */
import { spectrogram, whisperFeatures } from '../../audio/index.ts';
import { openSpliceable, type SpliceableModel } from '../../encoders/index.ts';
import { type LocateOptions, locateModel } from './models.ts';

export interface TwoPartsOptions extends Pick<LocateOptions, 'offline' | 'signal' | 'onFetch' | 'onNotice'> {
  /** A name of `cochlea models`, a path to an .onnx file or its folder, or hf:ORG/NAME[@REVISION][:FILE] (see locateModel). */
  model: string;
  /** A name of `cochlea hooks MODEL`, or a tensor. */
  hook: string;
  /** Threads of the model, at most 4 unless told. */
  threads?: number | undefined;
  /** Of Whisper's multilingual models: the language spoken, as in `en`; else the model finds it. */
  language?: string | undefined;
}

/** Brings the model here and opens it. Throws what locateModel and openSpliceable throw. */
export async function openTwoParts({ model, hook, threads, language, ...asked }: TwoPartsOptions): Promise<SpliceableModel> {
  const { offline, signal, onFetch, onNotice } = asked;
  const path = await locateModel(model, { decoder: true, offline, signal, onFetch, onNotice });
  return openSpliceable({ model: path, hook, features: whisperFeatures, spectrogram, threads, language, onProgress: onNotice });
}
