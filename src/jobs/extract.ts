/** Activations of recordings, written to a store. */
import { ActivationWriter, type FrameStatistics, inOrder, type StoreDType } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import { type AudioOptions, openAudio } from './recordings/audio.ts';

export interface ExtractOptions extends AudioOptions {
  /** Folder of the store. */
  out: string;
  /** float16 halves the store; the residual streams of some models overflow it. Default f32. */
  dtype?: StoreDType;
  /** Go on with a store that was interrupted. */
  resume?: boolean;
  onProgress?: (progress: ExtractProgress) => void;
}

export interface ExtractProgress {
  clips: number;
  clipsDone: number;
  frames: number;
  /** Seconds of sound. */
  seconds: number;
  /** Seconds of sound per second of work. */
  speed: number;
  /** Seconds of work, should the clips that are left take as long as those of this call. */
  secondsLeft: number;
}

export interface ExtractResult {
  out: string;
  clips: number;
  frames: number;
  /** Seconds of sound that this call encoded, and how long that took. */
  seconds: number;
  elapsed: number;
  skipped: readonly string[];
  dataSha256: string;
  statistics: FrameStatistics | undefined;
  /** Of the frames at `targetHook`. */
  targetStatistics: FrameStatistics | undefined;
}

/**
 * Runs every clip through the model up to its hooks and stores the frames, with a second hook those of both. What cannot be read is skipped, named and counted (`strict`:
 * thrown). Throws `file-exists` when the store is there and `resume` is not set, and `interrupted` when `signal` aborts.
 */
export async function extractActivations(options: ExtractOptions): Promise<ExtractResult> {
  const { out, dtype = 'f32', resume = false, signal, onProgress, strict, onNotice } = options;
  const audio = await openAudio(options);
  try {
    const { dataSha256: _, ...info } = audio.info;
    const writer = await ActivationWriter.open(out, info, { dtype, resume, ...(audio.targetInfo && { target: audio.targetInfo }) });
    if (writer.complete) {
      const missing = audio.clips.filter(({ id }) => !writer.has(id)).length;
      onNotice?.(`${out} was complete already${missing > 0 ? `; ${missing} of these ${audio.clips.length} clips are not in it` : ''}`);
    }
    const began = performance.now();
    let frames = 0, seconds = 0, clipsDone = 0, tried = 0;
    const refused: string[] = [];
    const left = writer.complete ? [] : audio.clips.flatMap((clip, n) => (writer.has(clip.id) ? [] : [{ clip, number: n + 1 }]));
    const stopWhenTold = async (): Promise<void> => {
      if (!signal?.aborted) return;
      await audio.close(); // what is being encoded is not waited for
      throw new CochleaError('interrupted', `stopped after ${clipsDone} of ${audio.clips.length} clips`, 'the same command with --resume goes on from here');
    };
    if (left.length > 0) await stopWhenTold();
    const encoded = inOrder(left.length, async (n) => ({ ...left[n]!, loaded: await audio.load(left[n]!.clip) }), { ahead: audio.ahead });
    for await (const { number, loaded } of encoded) {
      await stopWhenTold();
      clipsDone = number;
      tried++;
      if (!loaded) continue;
      try {
        await writer.addClip(loaded);
      } catch (error) {
        if (strict || !(error instanceof CochleaError) || error.code !== 'not-finite') throw error;
        refused.push(error.message);
        onNotice?.(`skipped ${error.message}`);
        continue;
      }
      frames += loaded.rows;
      seconds += loaded.seconds;
      const elapsed = (performance.now() - began) / 1000;
      onProgress?.({ clips: audio.clips.length, clipsDone, frames, seconds, speed: seconds / elapsed, secondsLeft: (elapsed / tried) * (left.length - tried) });
    }
    const elapsed = (performance.now() - began) / 1000;
    // Left unfinished, so that --resume can try again.
    if (!audio.clips.some(({ id }) => writer.has(id))) throw new CochleaError('audio', `none of ${audio.clips.length} clips could be used`, audio.skipped[0] ?? refused[0]);
    const manifest = await writer.finish();
    return {
      out, clips: manifest.clips, frames: manifest.rows, seconds, elapsed, skipped: [...audio.skipped, ...refused],
      dataSha256: manifest.info.dataSha256, statistics: manifest.statistics, targetStatistics: manifest.targetStatistics,
    };
  } finally {
    await audio.close();
  }
}
