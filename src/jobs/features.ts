/** What an SAE hears in recordings, and when: the latents of each clip, and a page to see and hear them on. */
import { inOrder } from '../activations/index.ts';
import { type Clip, loadClip } from '../audio/index.ts';
import { CochleaError } from '../errors.ts';
import { activationOf, checkNamed, type ClipLatent, clipLatents, type LatentChoice, latentOrders } from '../evaluation/index.ts';
import { type ClipPicture, renderClips, type ReportSound } from '../report/index.ts';
import type { SAE, SparseActs } from '../sae/index.ts';
import { type AudioOptions, openAudio } from './recordings/audio.ts';
import { Skipped } from './recordings/clips.ts';
import { columns, fileSound, pictureRate, spectrogram } from './pages/pictures.ts';
import { checkFrames, trainedOn } from './recordings/trained-on.ts';

export interface FeaturesOptions extends Omit<AudioOptions, 'model' | 'hook' | 'targetHook'> {
  sae: SAE;
  /** What the SAE was trained on, unless told. */
  model?: string;
  hook?: string;
  choice: LatentChoice;
  /** Only this part of each clip, in seconds from its beginning; times in the result count from the beginning of the part. */
  start?: number;
  end?: number;
  /** Also draw a page; `sae` is what it calls the SAE. */
  page?: { sae: string };
  onProgress?: (progress: { clips: number; clipsDone: number }) => void;
}

export interface ClipFeatures {
  clip: string;
  path: string;
  /** The part of the file that was heard, in seconds. */
  start: number;
  end: number;
  /** Frames of sound; frame i stands at start + i / frameRate seconds of the file. Padding is no frame. */
  frames: number;
  /** Latents that fire on a frame, in the mean. */
  l0: number;
  latents: ClipLatent[];
}

export interface FeaturesResult {
  model: string;
  modelSha256: string;
  hook: string;
  frameRate: number;
  dSae: number;
  clips: ClipFeatures[];
  skipped: readonly string[];
  /** With `page`. */
  html?: string;
}

/** A page holds sound and spectrograms of all its clips: more than this makes it slow. Seconds. */
const pageSeconds = 900;

/**
 * Runs recordings through the model and the SAE, clip by clip. What cannot be used is skipped, named and counted (`strict`: thrown).
 * Throws `usage` when nothing says which model or hook point, `config` for a latent that the SAE does not have or a width that does not fit, `audio` when no clip
 * can be used, `interrupted`, and what openAudio throws.
 */
export async function clipFeatures(options: FeaturesOptions): Promise<FeaturesResult> {
  const { sae, choice, start, end, page, signal, onNotice, onProgress } = options;
  if ('latents' in choice) checkNamed(choice.latents, sae.dSae);
  const audio = await openAudio({ ...options, ...trainedOn(sae, options) });
  try {
    const { model, modelSha256, hook, frameRate } = audio.info;
    checkFrames(sae, audio.info, onNotice);
    const found: ClipFeatures[] = [];
    const drawing = page && new Drawing();
    const refused = new Skipped(options), count = audio.clips.length;
    const encoded = inOrder(count, async (n) => {
      const clip = part(audio.clips[n]!, start, end);
      return { clip, loaded: await audio.load(clip), done: n + 1 };
    }, { ahead: audio.ahead });
    for await (const { clip, loaded, done } of encoded) {
      if (signal?.aborted) {
        await audio.close(); // what is being encoded is not waited for
        throw new CochleaError('interrupted', `stopped after ${done - 1} of ${count} clips`);
      }
      onProgress?.({ clips: count, clipsDone: done });
      if (!loaded) continue;
      const { frames: x, rows, seconds } = loaded;
      const acts = await refused.unless(clip, () => activations(sae, x, clip));
      if (!acts) continue;
      const from = clip.start ?? 0;
      const features: ClipFeatures = {
        clip: clip.id, path: clip.path, start: from, end: from + seconds, frames: rows, l0: acts.indices.length / rows, latents: clipLatents(acts, { dSae: sae.dSae, frameRate }, choice),
      };
      found.push(features);
      await drawing?.add(clip, features, acts);
    }
    const skipped = [...audio.skipped, ...refused.lines];
    if (found.length === 0) throw new CochleaError('audio', `none of ${count} clips could be used`, skipped[0]);
    const result = { model, modelSha256, hook, frameRate, dSae: sae.dSae, clips: found, skipped };
    if (!page || !drawing) return result;
    const { note } = audio.encoder.hooks[0]!.hook;
    const html = renderClips({
      title: `What ${page.sae} hears in ${found.length === 1 ? found[0]!.clip : `${found.length} clips`}`,
      sae: { name: page.sae, architecture: sae.config.architecture, dIn: sae.dIn, dSae: sae.dSae }, model, hook, frameRate,
      ...(note === undefined ? {} : { hookNote: note }), ...('by' in choice ? { order: { name: choice.by, definition: latentOrders[choice.by] } } : {}),
      clips: drawing.clips, sounds: drawing.sounds,
    });
    return { ...result, html };
  } finally {
    await audio.close();
  }
}

async function activations(sae: SAE, x: Float32Array, { id }: Clip): Promise<SparseActs> {
  const bad = x.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new CochleaError('not-finite', `frame ${Math.floor(bad / sae.dIn)} of clip ${JSON.stringify(id)} holds NaN or infinity`, 'check the recording');
  return sae.encodeSparse(x);
}

/** A part of a clip as a clip of its own. */
function part(clip: Clip, start: number | undefined, end: number | undefined): Clip {
  if (start === undefined && end === undefined) return clip;
  const first = clip.start ?? 0;
  const last = end === undefined ? clip.end : Math.min(first + end, clip.end ?? Infinity);
  return { ...clip, start: first + (start ?? 0), ...(last === undefined ? {} : { end: last }) };
}

/** The pictures and sounds of a page, as its clips come. */
class Drawing {
  readonly clips: ClipPicture[] = [];
  readonly sounds: ReportSound[] = [];
  #seconds = 0;

  async add(clip: Clip, { frames, l0, latents }: ClipFeatures, acts: SparseActs): Promise<void> {
    const { samples } = await loadClip(clip, pictureRate);
    const end = samples.length / pictureRate, { text } = clip.labels, whole = clip.start === undefined && clip.end === undefined, start = clip.start ?? 0;
    this.#seconds += end;
    if (this.#seconds > pageSeconds) throw new CochleaError('usage', `a page shows at most ${pageSeconds / 60} minutes of sound`, 'choose with --start and --end, --select or --take');
    // Of a part only the part is put in: the rest of the recording may be hours.
    this.sounds.push(whole ? await fileSound(clip) : { samples, sampleRate: pictureRate });
    this.clips.push({
      clip: clip.id, start: 0, end, mel: spectrogram(samples, columns.recording), sound: { index: this.sounds.length - 1, offset: 0 },
      ...(whole ? {} : { part: { start, end: start + end } }), ...(text === undefined || text === '' ? {} : { text }), frames, l0,
      latents: latents.map((one) => ({ ...one, activation: activationOf(one.latent, acts) })),
    });
  }
}
