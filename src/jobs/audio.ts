/** Recordings and a model, put together: the frames of each clip at a hook point. */
import type { ActivationInfo, ClipFrames, FrameSource, TargetInfo } from '../activations/index.ts';
import { clipSource, meanPooled } from '../activations/index.ts';
import { type Clip, listClips, loadClip, spectrogram, whisperFeatures } from '../audio/index.ts';
import { type MultiEncoder, openMultiEncoder } from '../encoders/index.ts';
import { CochleaError, type ErrorCode } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { type LocateOptions, locateModel } from './models.ts';

export interface AudioOptions {
  /** A name of `cochlea models`, a path to an .onnx file or its folder, or hf:ORG/NAME[@REVISION][:FILE] (see locateModel). */
  model: string;
  /** A name of `cochlea hooks MODEL`, or a tensor. */
  hook: string;
  /** A second hook point, whose frames are to be the targets of those at `hook`: computed in the same pass. */
  targetHook?: string;
  /** Sound files, folders, manifests. */
  audio: string[];
  /** Only clips whose labels have these values. */
  select?: Record<string, string>;
  /** At most this many clips, spread evenly over what is left. */
  take?: number;
  threads?: number;
  /** One row for so many seconds of sound, the mean of their frames, instead of one per frame. */
  poolSeconds?: number;
  /** Stop at the first recording that cannot be used, instead of skipping and counting it. */
  strict?: boolean;
  /** Of a model of the Hub: ask nobody, take what is in the cache. */
  offline?: boolean;
  /** Ends the fetching of a model. */
  signal?: AbortSignal;
  onFetch?: LocateOptions['onFetch'];
  onNotice?: (line: string) => void;
}

export interface EncodedRecording extends ClipFrames {
  /** SHA-256 of the file. */
  sha256: string;
  seconds: number;
}

/** An open model and the clips to run through it. */
export interface AudioFrames {
  clips: readonly Clip[];
  encoder: MultiEncoder;
  info: ActivationInfo;
  /** Where a second hook point was asked for. */
  targetInfo?: TargetInfo;
  /** What was skipped so far, one line each. */
  readonly skipped: readonly string[];
  /** The frames of a clip without padding; undefined when it had to be skipped. */
  load(clip: Clip): Promise<EncodedRecording | undefined>;
  /** All clips as a source to train on, computed when asked for. */
  source(): FrameSource;
  close(): Promise<void>;
}

/** Frames that training straight from recordings keeps in memory, whatever the size of the data. */
const rememberedBytes = 256 * 2 ** 20;

/** Failures of one recording, which a long run survives. */
export const skippable: readonly ErrorCode[] = ['audio', 'file-missing', 'file-damaged', 'not-finite'];

/** The clips that are asked for, and what stood in the way of others. Throws what listClips throws, `file-missing` when none has the labels, and with `strict` `audio`. */
export async function chooseClips({ audio, select = {}, take = Infinity, strict = false }: Pick<AudioOptions, 'audio' | 'select' | 'take' | 'strict'>): Promise<{ clips: Clip[]; problems: string[] }> {
  const listed = await listClips(audio);
  if (strict && listed.problems.length > 0) throw new CochleaError('audio', listed.problems[0]!, 'mend it, or leave --strict away');
  const wanted = Object.entries(select);
  const matching = listed.clips.filter(({ labels }) => wanted.every(([label, value]) => labels[label] === value));
  const clips = take >= matching.length ? matching : Array.from({ length: take }, (_, n) => matching[Math.floor((n * matching.length) / take)]!);
  if (clips.length === 0) {
    throw new CochleaError('file-missing', `none of ${listed.clips.length} clips has ${wanted.map(([label, value]) => `${label}=${value}`).join(' and ')}`, 'look at the labels in the manifest');
  }
  return { clips, problems: listed.problems };
}

/** Lists the clips and opens the model cut off at its hooks. Throws what listClips and openMultiEncoder throw. */
export async function openAudio(options: AudioOptions): Promise<AudioFrames> {
  const { model, hook, targetHook, threads, poolSeconds, strict = false, onNotice, offline, signal, onFetch } = options;
  const { clips, problems } = await chooseClips(options);
  const hooks = targetHook === undefined ? [hook] : [hook, targetHook];
  const located = await locateModel(model, { offline, signal, onFetch, onNotice });
  const encoder = await openMultiEncoder({ model: located, hooks, features: whisperFeatures, spectrogram, ...(threads === undefined ? {} : { threads }), ...(onNotice ? { onProgress: onNotice } : {}) });
  const skipped: string[] = [];
  const skip = (line: string): void => {
    skipped.push(line);
    onNotice?.(`skipped ${line}`);
  };
  problems.forEach(skip);
  const [{ hook: { name }, dIn }, second] = [encoder.hooks[0]!, encoder.hooks[1]];
  const window = poolSeconds === undefined ? 1 : Math.max(1, Math.round(poolSeconds * encoder.frameRate));
  const targetInfo: TargetInfo | undefined = second && { hook: second.hook.name, layer: layerOf(second.hook.name), dOut: second.dIn };
  const info: ActivationInfo = {
    model: encoder.model.name, modelSha256: encoder.model.sha256, ...(/^(hf|npm):/.test(encoder.model.source) && { modelSource: encoder.model.source }), hook: name, layer: layerOf(name), dIn,
    frameRate: encoder.frameRate / window, sampleRate: encoder.sampleRate, dataSha256: await listingHash(clips),
  };

  const load = async (clip: Clip): Promise<EncodedRecording | undefined> => {
    try {
      const { samples, seconds, sha256 } = await loadClip(clip, encoder.sampleRate);
      const { frames: [frames, target], valid } = await encoder.encode(samples);
      const pooled = (values: Float32Array, width: number): Float32Array => meanPooled(values.subarray(0, valid * width), width, window);
      const kept = pooled(frames!, dIn);
      return {
        id: clip.id, path: clip.path, labels: clip.labels, frames: kept, rows: kept.length / dIn, sha256, seconds,
        ...(targetInfo && { target: pooled(target!, targetInfo.dOut) }),
      };
    } catch (error) {
      if (strict || !(error instanceof CochleaError) || !skippable.includes(error.code)) throw error;
      skip(error.message.includes(clip.path) ? error.message : `${clip.path}: ${error.message}`);
      return undefined;
    }
  };
  return {
    clips, encoder, info, skipped, load, ...(targetInfo && { targetInfo }),
    source: () => {
      // Small sets are encoded once, not once per epoch; of larger ones the first clips are remembered.
      const known = new Map<number, ClipFrames>();
      let room = rememberedBytes;
      return clipSource({
        info, ...(targetInfo && { targetInfo }), count: clips.length,
        load: async (index) => {
          const remembered = known.get(index);
          if (remembered) return remembered;
          const { id, path, labels } = clips[index]!;
          const none = new Float32Array(0);
          const loaded = await load(clips[index]!) ?? { id, path, labels, frames: none, rows: 0, ...(targetInfo && { target: none }) };
          const bytes = loaded.frames.byteLength + (loaded.target?.byteLength ?? 0);
          if (bytes <= room) {
            room -= bytes;
            known.set(index, { ...loaded, frames: loaded.frames.slice(), ...(loaded.target && { target: loaded.target.slice() }) });
          }
          return loaded;
        },
      });
    },
    close: () => encoder.close(),
  };
}

function layerOf(hook: string): number | null {
  const layer = /\.layers\.(\d+)/.exec(hook);
  return layer ? Number(layer[1]) : null;
}

/** Stands for the recordings without reading them all: ids, cuts and file sizes. */
async function listingHash(clips: readonly Clip[]): Promise<string> {
  const hash = runtime.sha256();
  for (const { id, path, start, end } of clips) {
    hash.update(new TextEncoder().encode(`${JSON.stringify([id, start ?? null, end ?? null, (await runtime.files.info(path))?.size ?? null])}\n`));
  }
  return hash.hex();
}
