/** What a model hears in recordings, in words. */
import { loadClip } from '../audio/index.ts';
import { CochleaError } from '../errors.ts';
import { chooseClips, type ClipOptions, Skipped } from './recordings/clips.ts';
import { openTwoParts, type TwoPartsOptions } from './recordings/two-parts.ts';

export interface TranscribeOptions extends ClipOptions, Omit<TwoPartsOptions, 'hook'> {
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
 * without a head, `audio` when no clip could be used, `interrupted` when `signal` aborts, and what chooseClips and openTwoParts throw.
 */
export async function transcribe(options: TranscribeOptions): Promise<TranscribeResult> {
  const { signal, onClip } = options;
  const { clips, problems } = await chooseClips(options);
  const model = await openTwoParts({ ...options, hook: 'encoder.out' });
  const skipped = new Skipped(options, problems), transcribed: TranscribedClip[] = [];
  try {
    const { head } = model;
    if (!head) throw new CochleaError('model', `${model.model.name} has no head: it makes frames, not words`, 'a decoder (decoder_model_merged.onnx) belongs beside the encoder');
    for (const recording of clips) {
      if (signal?.aborted) throw new CochleaError('interrupted', `stopped after ${transcribed.length} of ${clips.length} clips`);
      const heard = await skipped.unless(recording, async (): Promise<TranscribedClip> => {
        const { id, path } = recording, { samples, seconds } = await loadClip(recording, model.sampleRate), clip = await model.open(samples);
        const tokens: number[] = [], texts: string[] = [];
        for (const output of await clip.rest(clip.frames)) {
          const transcript = await head.transcribe(output);
          tokens.push(...transcript.tokens);
          texts.push(head.text(transcript.tokens));
        }
        return { id, path, seconds, text: texts.filter((text) => text !== '').join(' '), tokens };
      });
      if (!heard) continue;
      transcribed.push(heard);
      onClip?.(heard);
    }
    if (transcribed.length === 0) throw new CochleaError('audio', `none of ${clips.length} clips could be used`, skipped.lines[0]);
    return { model: model.model.name, clips: transcribed, skipped: skipped.lines };
  } finally {
    await model.close();
  }
}
