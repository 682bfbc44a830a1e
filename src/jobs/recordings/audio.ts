/** Recordings and a model, put together: the frames of each clip at a hook point. */
import type { ActivationInfo, ClipFrames, FrameSource, TargetInfo } from '../../activations/index.ts';
import { clipSource } from '../../activations/index.ts';
import { type Clip, spectrogram, whisperFeatures } from '../../audio/index.ts';
import { type BackendName, type MultiEncoder, prepareEncoder } from '../../encoders/index.ts';
import type { Gpu } from '../../gpu/index.ts';
import { runtime } from '../../runtime/index.ts';
import { type ClipEncoder, openClipEncoder } from './clip-encoder.ts';
import type { FramesOfClip } from './clip-frames.ts';
import { chooseClips, type ClipOptions, Skipped } from './clips.ts';
import { type LocateOptions, locateModel } from './models.ts';

export interface AudioOptions extends ClipOptions {
  /** A name of `cochlea models`, a path to an .onnx file or its folder, or hf:ORG/NAME[@REVISION][:FILE] (see locateModel). */
  model: string;
  /** A name of `cochlea hooks MODEL`, or a tensor. */
  hook: string;
  /** A second hook point, whose frames are to be the targets of those at `hook`: computed in the same pass. */
  targetHook?: string;
  /** Sessions of the model that encode clips side by side: unless told as many as processors, where there are recordings and memory enough. */
  workers?: number;
  /** Threads of each session: unless told those that are left over. */
  threads?: number;
  /** What runs the model: `auto` (unless told), which is onnxruntime-node where it is installed, `wasm`, `native`, or `gpu`. */
  backend?: BackendName;
  /** Of the gpu backend: with its device the model and whatever else is on it share the adapter. */
  gpu?: Gpu;
  /** One row for so many seconds of sound, the mean of their frames, instead of one per frame. */
  poolSeconds?: number;
  /** Of a model of the Hub: ask nobody, take what is in the cache. */
  offline?: boolean;
  /** Ends the fetching of a model. */
  signal?: AbortSignal;
  onFetch?: LocateOptions['onFetch'];
  onNotice?: (line: string) => void;
  /** Told in one line what runs the model, once it is open. */
  onEncoder?: (line: string) => void;
}

/** Frames, and targets, of a clip with what is known of it. */
export type EncodedRecording = ClipFrames & FramesOfClip;

/** An open model and the clips to run through it. */
export interface AudioFrames {
  clips: readonly Clip[];
  encoder: Pick<MultiEncoder, 'model' | 'backend' | 'hooks' | 'sampleRate' | 'frameRate'>;
  info: ActivationInfo;
  /** Where a second hook point was asked for. */
  targetInfo?: TargetInfo;
  /** What was skipped so far, one line each. */
  readonly skipped: readonly string[];
  /** The frames of a clip without padding; undefined when it had to be skipped. Several calls at a time come back, and skip, in the order of the calls. */
  load(clip: Clip): Promise<EncodedRecording | undefined>;
  /** So many calls of `load` at a time keep all processors busy. */
  readonly ahead: number;
  /** All clips as a source to train on, computed when asked for. */
  source(): FrameSource;
  /** What is being encoded is given up. */
  close(): Promise<void>;
}

/** Frames that training straight from recordings keeps in memory, whatever the size of the data. */
const rememberedBytes = 256 * 2 ** 20;

/** Lists the clips and opens the model cut off at its hooks. Throws what listClips and openMultiEncoder throw. */
export async function openAudio(options: AudioOptions): Promise<AudioFrames> {
  const { model, hook, targetHook, workers, threads, backend, poolSeconds, gpu, onNotice, onEncoder, offline, signal, onFetch } = options;
  const { clips, problems } = await chooseClips(options);
  const hooks = targetHook === undefined ? [hook] : [hook, targetHook];
  const prepared = await prepareEncoder({
    model: await locateModel(model, { offline, signal, onFetch, onNotice }), hooks, features: whisperFeatures, spectrogram,
    ...(backend === undefined ? {} : { backend }), ...(onNotice ? { onProgress: onNotice } : {}),
  });
  const encoder = await openClipEncoder(prepared, { workers, threads }, clips, onNotice, gpu?.device);
  onEncoder?.(describeEncoder(prepared.backend, encoder));
  const skipped = new Skipped(options, problems);
  const [{ hook: { name }, dIn }, second] = [encoder.hooks[0]!, encoder.hooks[1]];
  const window = poolSeconds === undefined ? 1 : Math.max(1, Math.round(poolSeconds * encoder.frameRate));
  const targetInfo: TargetInfo | undefined = second && { hook: second.hook.name, layer: layerOf(second.hook.name), dOut: second.dIn };
  const { name: _, ...computedBy } = prepared.backend;
  const info: ActivationInfo = {
    model: prepared.model.name, modelSha256: prepared.model.sha256, ...(/^(hf|npm):/.test(prepared.model.source) && { modelSource: prepared.model.source }), hook: name, layer: layerOf(name), dIn,
    frameRate: encoder.frameRate / window, sampleRate: encoder.sampleRate, dataSha256: await listingHash(clips), computedBy,
  };

  let before: Promise<unknown> = Promise.resolve();
  const load = async (clip: Clip): Promise<EncodedRecording | undefined> => {
    const { id, path, labels } = clip;
    const encoding = encoder.encode(clip, window);
    const turn = before;
    before = Promise.allSettled([turn, encoding]);
    await turn;
    return skipped.unless(clip, async () => ({ id, path, labels, ...await encoding }));
  };
  const { sampleRate, frameRate, hooks: open, ahead } = encoder;
  return {
    clips, encoder: { ...prepared, hooks: open, sampleRate, frameRate }, info, skipped: skipped.lines, load, ahead, ...(targetInfo && { targetInfo }),
    source: () => {
      // Small sets are encoded once, not once per epoch; of larger ones the first clips are remembered.
      const known = new Map<number, ClipFrames>();
      let room = rememberedBytes;
      return clipSource({
        info, ...(targetInfo && { targetInfo }), count: clips.length, ahead,
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

/** E.g. `encoder: onnxruntime-node 1.30.0 (cpu), 2 workers of 1 thread`. */
function describeEncoder({ package: name, version, provider }: MultiEncoder['backend'], { workers, threads }: ClipEncoder): string {
  const each = threads === undefined ? '' : ` of ${threads} thread${threads === 1 ? '' : 's'}`;
  return `encoder: ${name} ${version} (${provider}), ${workers} worker${workers === 1 ? '' : 's'}${each}`;
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
