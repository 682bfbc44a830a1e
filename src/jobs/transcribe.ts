/** What a model hears in recordings, in words. */
import { loadClip, spectrogram, whisperFeatures } from '../audio/index.ts';
import { openSpliceable } from '../encoders/index.ts';
import { CochleaError } from '../errors.ts';
import { type AudioOptions, chooseClips, skippable } from './audio.ts';

export interface TranscribeOptions extends Pick<AudioOptions, 'audio' | 'model' | 'select' | 'take' | 'threads' | 'strict' | 'onNotice'> {
  /** Of Whisper's multilingual models: the language spoken, as in `en`; else the model finds it. */
  language?: string | undefined;
  signal?: AbortSignal;
  onClip?: (clip: TranscribedClip) => void;
}

export interface TranscribedClip {
  id: string;
  path: string;
  seconds: number;
  text: string;
  /** Of all windows that the clip was cut into, one behind the other. */
  tokens: number[];
}

export interface TranscribeResult {
  model: string;
  clips: TranscribedClip[];
  /** One line each. */
  skipped: string[];
}

/**
 * Transcribes every clip by greedy decoding. What cannot be read is skipped, named and counted (`strict`: thrown). Throws `model` for an encoder
 * without a head, `audio` when no clip could be used, `interrupted` when `signal` aborts, and what listClips and openSpliceable throw.
 */
export async function transcribe(options: TranscribeOptions): Promise<TranscribeResult> {
  const { model: name, threads, language, strict = false, signal, onNotice, onClip } = options;
  const { clips, problems } = await chooseClips(options);
  const model = await openSpliceable({
    model: name, hook: 'encoder.out', features: whisperFeatures, spectrogram, language, ...(threads === undefined ? {} : { threads }), ...(onNotice ? { onProgress: onNotice } : {}),
  });
  const skipped: string[] = [], transcribed: TranscribedClip[] = [];
  const skip = (line: string): void => {
    skipped.push(line);
    onNotice?.(`skipped ${line}`);
  };
  problems.forEach(skip);
  try {
    const { head } = model;
    if (!head) throw new CochleaError('model', `${model.model.name} has no head: it makes frames, not words`, 'a decoder (decoder_model_merged.onnx) belongs beside the encoder');
    for (const { id, path, ...rest } of clips) {
      if (signal?.aborted) throw new CochleaError('interrupted', `stopped after ${transcribed.length} of ${clips.length} clips`);
      try {
        const { samples, seconds } = await loadClip({ id, path, ...rest }, model.sampleRate), clip = await model.open(samples);
        const tokens: number[] = [], texts: string[] = [];
        for (const output of await clip.rest(clip.frames)) {
          const transcript = await head.transcribe(output);
          tokens.push(...transcript.tokens);
          texts.push(head.text(transcript.tokens));
        }
        transcribed.push({ id, path, seconds, text: texts.filter((text) => text !== '').join(' '), tokens });
        onClip?.(transcribed.at(-1)!);
      } catch (error) {
        if (strict || !(error instanceof CochleaError) || !skippable.includes(error.code)) throw error;
        skip(error.message.includes(path) ? error.message : `${path}: ${error.message}`);
      }
    }
    if (transcribed.length === 0) throw new CochleaError('audio', `none of ${clips.length} clips could be used`, skipped[0]);
    return { model: model.model.name, clips: transcribed, skipped };
  } finally {
    await model.close();
  }
}
