/**
 * A model and all processors: threads with a session each, to which clips are handed as they become free. Reading, decoding, resampling and features are
 * done there too. A session of its own for each clip loses nothing to waiting at every operation, as threads of one session do.
 */
import { type Clip, loadClip, type LoadedClip, spectrogram, whisperFeatures } from '../../audio/index.ts';
import { type MultiEncoder, type PreparedEncoder, startEncoder } from '../../encoders/index.ts';
import { CochleaError } from '../../errors.ts';
import { runtime, type WorkerThread } from '../../runtime/index.ts';
import { type FramesOfClip, framesOfClip } from './clip-frames.ts';

export type ClipRequest =
  | { readonly kind: 'open'; readonly prepared: PreparedEncoder; readonly threads: number }
  | { readonly kind: 'clip'; readonly clip: Clip | LoadedClip; readonly window: number };

/** What is known of a model once it is open. */
export type OpenAnswer = Pick<MultiEncoder, 'hooks' | 'sampleRate' | 'frameRate'>;

export interface ClipEncoder extends OpenAnswer {
  /** Sessions that run side by side, and the threads of each; undefined: as ONNX Runtime was set up before. */
  readonly workers: number;
  readonly threads: number | undefined;
  /** So many calls of `encode` at a time keep all of them busy. */
  readonly ahead: number;
  /** See framesOfClip. Throws `runtime` when the thread of this clip dies. */
  encode(clip: Clip, window: number): Promise<FramesOfClip>;
  /** What is being encoded is given up. */
  close(): Promise<void>;
}

export interface Share {
  workers?: number | undefined;
  threads?: number | undefined;
}

const most = { threads: 4, workers: 64 };

/** Recordings below this, in bytes, are encoded before another session would be open. */
const worthASession = 256 * 1024;

/** The weights, once more as matrix products want them, and the activations of half a minute. */
const sessionBytes = (weights: number): number => 2 * weights + 512 * 2 ** 20;

/**
 * How many sessions with how many threads. Unless told: one per processor, as far as there are recordings enough (`bytes` of `clips` of them) and memory; what
 * processors are left over become threads of the sessions, four of each at most.
 */
export function shareOut(
  { workers, threads }: Share, { clips, bytes, weights }: { clips: number; bytes: number; weights: number },
  machine: { processors: number; memory: number }, onNotice?: (line: string) => void,
): { workers: number; threads: number | undefined } {
  for (const [name, value] of Object.entries({ workers, threads })) {
    if (value !== undefined && (!Number.isInteger(value) || value < 1 || value > 64)) {
      throw new CochleaError('usage', `${name} must be a whole number from 1 to 64, not ${value}`);
    }
  }
  const worthIt = workers ?? Math.min(most.workers, Math.floor(machine.processors / (threads ?? 1)), 1 + Math.floor(bytes / worthASession));
  const wanted = Math.max(1, Math.min(worthIt, clips));
  const each = sessionBytes(weights);
  const possible = Math.max(1, Math.floor((0.8 * machine.memory) / each));
  if (wanted > possible) {
    onNotice?.(`${possible} of ${wanted} workers: each takes about ${gigabytes(each)} of memory, and ${gigabytes(machine.memory)} are free`);
  }
  const chosen = Math.min(wanted, possible);
  if (chosen === 1) return { workers: 1, threads };
  return { workers: chosen, threads: threads ?? Math.min(most.threads, Math.max(1, Math.floor(machine.processors / chosen))) };
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** Opens a prepared model on as many threads as shareOut says, or on a GPU device. Throws as `openMultiEncoder`. */
export async function openClipEncoder(
  prepared: PreparedEncoder, share: Share, clips: readonly Clip[], onNotice?: (line: string) => void, device?: GPUDevice,
): Promise<ClipEncoder> {
  if (prepared.backend.name === 'gpu') {
    const given = Object.entries(share).find(([, value]) => value !== undefined);
    if (given) throw new CochleaError('usage', `${given[0]} is ${given[1]}, but one session runs on a GPU, and no threads`, `leave ${given[0]} away`);
    return openHere(prepared, undefined, device);
  }
  const bytes = await recordingBytes(clips);
  const machine = { processors: runtime.processors, memory: runtime.freeMemory() };
  const { workers, threads } = shareOut(share, { clips: clips.length, bytes, weights: prepared.cut.size }, machine, onNotice);
  return workers === 1 ? openHere(prepared, threads) : openThreads(prepared, workers, threads!, onNotice);
}

async function recordingBytes(clips: readonly Clip[]): Promise<number> {
  let sum = 0;
  for (const path of new Set(clips.map((clip) => clip.path))) sum += (await runtime.files.info(path).catch(() => undefined))?.size ?? 0;
  return sum;
}

/** One session, in this thread. */
async function openHere(prepared: PreparedEncoder, threads: number | undefined, device?: GPUDevice): Promise<ClipEncoder> {
  const encoder = await startEncoder(prepared, { features: whisperFeatures, spectrogram, ...(threads === undefined ? {} : { threads }), ...(device && { device }) });
  const { hooks, sampleRate, frameRate } = encoder;
  let running: Promise<unknown> = Promise.resolve();
  return {
    hooks, sampleRate, frameRate, workers: 1, threads, ahead: 1,
    encode: (clip, window) => {
      const made = running.then(() => framesOfClip(encoder, clip, window));
      running = made.catch(() => {});
      return made;
    },
    close: async () => {
      await running;
      await encoder.close();
    },
  };
}

async function openThreads(prepared: PreparedEncoder, count: number, threads: number, onNotice?: (line: string) => void): Promise<ClipEncoder> {
  const all = Array.from({ length: count }, () => runtime.startWorker('./clip-worker', import.meta.url));
  const request: ClipRequest = { kind: 'open', prepared, threads };
  const answers = await Promise.allSettled(all.map((thread) => thread.ask(request) as Promise<OpenAnswer>));
  const opened = all.filter((_, n) => answers[n]!.status === 'fulfilled');
  const refusal = answers.find((answer) => answer.status === 'rejected')?.reason as Error | undefined;
  if (refusal) {
    await Promise.all(all.filter((thread) => !opened.includes(thread)).map((thread) => thread.end()));
    if (opened.length === 0) throw refusal;
    onNotice?.(`${opened.length} of ${count} workers: the others could not open the model (${refusal.message})`);
  }
  const { hooks, sampleRate, frameRate } = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))[0]!;
  const idle = [...opened];
  const waiting: ((thread: WorkerThread) => void)[] = [];
  const free = (thread: WorkerThread): void => {
    const next = waiting.shift();
    if (next) next(thread);
    else idle.push(thread);
  };
  return {
    hooks, sampleRate, frameRate, workers: opened.length, threads, ahead: 2 * opened.length,
    async encode(clip, window) {
      // A long recording that many clips are cut from is decoded here, once, not in every thread.
      const cut = clip.start !== undefined || clip.end !== undefined;
      const given = cut ? await loadClip(clip, sampleRate) : clip;
      const thread = idle.shift() ?? await new Promise<WorkerThread>((resolve) => waiting.push(resolve));
      try {
        const transfer = 'samples' in given ? [given.samples.buffer as ArrayBuffer] : [];
        return await thread.ask({ kind: 'clip', clip: given, window } satisfies ClipRequest, transfer) as FramesOfClip;
      } finally {
        free(thread);
      }
    },
    close: async () => {
      await Promise.all(opened.map((thread) => thread.end()));
    },
  };
}
