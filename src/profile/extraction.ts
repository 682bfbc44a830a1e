/** Where the time of an extraction goes: each clip's way from its file to a store. */
import { ActivationWriter } from '../activations/index.ts';
import { decodeSound, listClips, loadClip, resample, spectrogram, whisperFeatures } from '../audio/index.ts';
import { type BackendName, openMultiEncoder } from '../encoders/index.ts';
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { adviceOnExtraction } from './advice.ts';
import { spreadOf } from './spread.ts';
import { type ClipTimes, type ExtractionProfile, type Span, stages, type Timeline } from './types.ts';

export interface ExtractionOptions {
  model: string;
  hook: string;
  audio: string[];
  /** At most this many clips, spread evenly. */
  take?: number;
  threads?: number;
  backend?: BackendName;
  cochlea: string;
  onProgress?: (line: string) => void;
}

/**
 * Extracts to a temporary store and times the stages of each clip. Features are what an encoder computes of the sound by itself (log-mel of
 * Whisper); with other encoders they are part of the model. A clip cut from a long file is decoded from the whole of it. Recordings that cannot
 * be used are left out and named. Throws what listClips and openMultiEncoder throw, and `audio` when no clip could be used.
 */
export async function profileExtraction({ model, hook, audio, take = Infinity, threads, backend, cochlea, onProgress }: ExtractionOptions): Promise<{ profile: ExtractionProfile; timeline: Timeline }> {
  const listed = await listClips(audio);
  const clips = take >= listed.clips.length ? listed.clips : Array.from({ length: take }, (_, n) => listed.clips[Math.floor((n * listed.clips.length) / take)]!);
  const skipped = [...listed.problems];
  const spans: Span[] = [];
  const now = (): number => performance.now();
  let featuresMs = 0;
  const opening = now();
  const encoder = await openMultiEncoder({
    model, hooks: [hook], ...(threads === undefined ? {} : { threads }), ...(backend === undefined ? {} : { backend }), ...(onProgress ? { onProgress } : {}),
    features: (...given: Parameters<typeof whisperFeatures>) => {
      const began = now();
      const made = whisperFeatures(...given);
      featuresMs += now() - began;
      return made;
    },
    spectrogram: (...given: Parameters<typeof spectrogram>) => {
      const began = now();
      const made = spectrogram(...given);
      featuresMs += now() - began;
      return made;
    },
  });
  const open = now() - opening;
  const folder = await runtime.files.temporaryFolder('cochlea-profile-');
  const found: ClipTimes[] = [];
  const began = now();
  try {
    const { dIn } = encoder.hooks[0]!;
    const writer = await ActivationWriter.open(runtime.paths.join(folder, 'store'), {
      model: encoder.model.name, modelSha256: encoder.model.sha256, hook, layer: null, dIn, frameRate: encoder.frameRate, sampleRate: encoder.sampleRate,
    }, { dtype: 'f32', resume: false });
    for (const clip of clips) {
      const times = Object.fromEntries(stages.map((stage) => [stage, 0])) as ClipTimes['times'];
      const timed = async <T>(stage: keyof typeof times, work: () => T | Promise<T>): Promise<T> => {
        const from = now(), features = featuresMs;
        const made = await work();
        const to = now();
        times[stage] += to - from - (featuresMs - features);
        times.features += featuresMs - features;
        spans.push({ track: 'extraction', name: stage, began: from, ended: to, details: { clip: clip.id } });
        return made;
      };
      try {
        let samples: Float32Array, sha256 = '';
        if (clip.start === undefined && clip.end === undefined) {
          const sound = await timed('decode', async () => decodeSound(await runtime.files.read(clip.path), clip.path));
          samples = await timed('resample', () => resample(sound.samples, sound.sampleRate, encoder.sampleRate));
        } else {
          ({ samples, sha256 } = await timed('decode', () => loadClip(clip, encoder.sampleRate)));
        }
        const { frames: [frames], valid } = await timed('model', () => encoder.encode(samples));
        const seconds = samples.length / encoder.sampleRate;
        await timed('write', () => writer.addClip({ id: clip.id, path: clip.path, labels: clip.labels, sha256, seconds, frames: frames!.subarray(0, valid * dIn), rows: valid }));
        found.push({ id: clip.id, seconds, frames: valid, times });
        onProgress?.(`clip ${found.length} of ${clips.length}`);
      } catch (error) {
        if (!(error instanceof CochleaError) || !['audio', 'file-missing', 'file-damaged', 'not-finite'].includes(error.code)) throw error;
        skipped.push(error.message);
      }
    }
    if (found.length === 0) throw new CochleaError('audio', `none of ${clips.length} clips could be used`, skipped[0]);
    // Shards are written when they are full: what is left belongs to all clips.
    const writing = now();
    await writer.finish();
    const share = (now() - writing) / found.length;
    for (const { times } of found) times.write += share;
  } finally {
    await encoder.close();
    await runtime.files.remove(folder);
  }
  const elapsed = (now() - began) / 1000;
  const sum = (of: (clip: ClipTimes) => number): number => found.reduce((total, clip) => total + of(clip), 0);
  const all = stages.reduce((total, stage) => total + sum(({ times }) => times[stage]), 0);
  const ofStages = Object.fromEntries(stages.map((stage) => {
    const total = sum(({ times }) => times[stage]);
    return [stage, { total, share: total / all, spread: spreadOf(found.map(({ times }) => times[stage])) }];
  })) as ExtractionProfile['stages'];
  const without = {
    format: 'cochlea-profile', version: 1, kind: 'extraction', cochlea, runtime: runtime.version,
    configuration: { model: encoder.model.name, hook, backend: encoder.backend.package, ...(threads === undefined ? {} : { threads }) },
    open, clips: found, stages: ofStages, speed: sum(({ seconds }) => seconds) / elapsed, framesPerSecond: sum(({ frames }) => frames) / elapsed, skipped,
  } as const;
  return { profile: { ...without, advice: adviceOnExtraction(without) }, timeline: { spans, samples: [] } };
}
