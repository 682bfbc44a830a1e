/** Strips and recordings of a report: clips read again, cut around firings, with spectrogram, activation, labels and sound. */
import type { FrameChunk } from '../../activations/index.ts';
import { type Clip, loadClip } from '../../audio/index.ts';
import { CochleaError } from '../../errors.ts';
import type { Firing, LatentFirings, Segment } from '../../evaluation/index.ts';
import type { Recording, ReportFeature, ReportSound, Strip } from '../../report/index.ts';
import type { SparseActs } from '../../sae/index.ts';
import { columns, fileSound, pictureRate, spectrogram } from './pictures.ts';

/** Seconds on either side of a firing. */
const reach = 0.75;
/** Latents over time under a recording. */
const rowsOfRecording = 12;

interface OpenClip {
  clip: Clip;
  samples: Float32Array;
  sound: number;
  /** Its frames are rows first ... first + rows - 1. */
  first: number;
  rows: number;
}

export class ReportPictures {
  readonly sounds: ReportSound[] = [];
  readonly #clips: ReadonlyMap<string, Clip>;
  readonly #frames: FrameChunk;
  readonly #acts: SparseActs;
  readonly #frameRate: number;
  readonly #segments: ReadonlyMap<string, readonly Segment[]>;
  readonly #open = new Map<string, Promise<OpenClip>>();

  /** `acts` are the activations on `frames`. */
  constructor(clips: readonly Clip[], frames: FrameChunk, acts: SparseActs, frameRate: number, segments: ReadonlyMap<string, readonly Segment[]>) {
    this.#clips = new Map(clips.map((clip) => [clip.id, clip]));
    this.#frames = frames;
    this.#acts = acts;
    this.#frameRate = frameRate;
    this.#segments = segments;
  }

  async feature({ latent, firings, clips, sum, max, label, top, random }: LatentFirings, frames: number): Promise<ReportFeature> {
    const strips = async (list: readonly Firing[]): Promise<Strip[]> => {
      const made: Strip[] = [];
      for (const firing of list) made.push(await this.#strip(latent, firing));
      return made;
    };
    return {
      latent, density: firings / frames, meanActivation: sum / firings, maxActivation: max, clips, ...(label ? { label } : {}),
      top: await strips(top), random: await strips(random),
    };
  }

  /** A whole clip with the latents that are most of it: the largest sums over its frames, among those with a moment of their own. */
  async recording(id: string, latents: readonly LatentFirings[]): Promise<Recording> {
    const opened = await this.#clip(id);
    const { clip, samples, sound, first, rows } = opened;
    const sums = new Map<number, number>();
    for (let at = this.#acts.offsets[first]!; at < this.#acts.offsets[first + rows]!; at++) {
      sums.set(this.#acts.indices[at]!, (sums.get(this.#acts.indices[at]!) ?? 0) + this.#acts.values[at]!);
    }
    // What fires in most frames of everything says nothing about a moment.
    const telling = latents.filter(({ latent, firings }) => sums.has(latent) && firings < 0.25 * this.#frames.rows);
    const strongest = telling.sort((a, b) => sums.get(b.latent)! - sums.get(a.latent)! || a.latent - b.latent).slice(0, rowsOfRecording);
    const end = samples.length / pictureRate;
    return {
      clip: id, start: 0, end, mel: spectrogram(samples, columns.recording), sound: { index: sound, offset: clip.start ?? 0 }, ...this.#tier(id),
      ...(clip.labels['text'] === undefined ? {} : { text: clip.labels['text'] }),
      latents: strongest.map(({ latent, label }) => ({ latent, ...(label ? { label: label.label } : {}), activation: this.#activation(latent, opened, 0, rows) })),
    };
  }

  async #strip(latent: number, firing: Firing): Promise<Strip> {
    const opened = await this.#clip(firing.clip);
    const { clip, samples, sound, rows } = opened;
    const seconds = samples.length / pictureRate;
    const middle = Math.max(Math.min(reach, seconds / 2), Math.min(firing.time, seconds - reach));
    const start = Math.max(0, middle - reach), end = Math.min(seconds, middle + reach);
    const from = Math.max(0, Math.floor(start * this.#frameRate)), to = Math.min(rows, Math.ceil(end * this.#frameRate));
    return {
      clip: firing.clip, start, end, firing: { time: firing.time, value: firing.value },
      mel: spectrogram(samples.subarray(Math.round(start * pictureRate), Math.round(end * pictureRate)), columns.strip),
      sound: { index: sound, offset: (clip.start ?? 0) + start }, ...this.#tier(firing.clip),
      activation: this.#activation(latent, opened, from, to), activationStart: from / this.#frameRate,
    };
  }

  #tier(id: string): { segments?: Segment[] } {
    const segments = this.#segments.get(id);
    return segments ? { segments: [...segments] } : {};
  }

  /** Of frames from ... to - 1 of a clip. */
  #activation(latent: number, { first }: OpenClip, from: number, to: number): Float32Array {
    const { offsets, indices, values } = this.#acts;
    return Float32Array.from({ length: to - from }, (_, n) => {
      const row = first + from + n;
      for (let at = offsets[row]!; at < offsets[row + 1]!; at++) if (indices[at] === latent) return values[at]!;
      return 0;
    });
  }

  #clip(id: string): Promise<OpenClip> {
    const known = this.#open.get(id);
    if (known) return known;
    const opening = this.#load(id);
    this.#open.set(id, opening);
    return opening;
  }

  async #load(id: string): Promise<OpenClip> {
    const clip = this.#clips.get(id);
    const index = this.#frames.clips.findIndex((one) => one.id === id);
    if (!clip || index < 0) throw new CochleaError('config', `clip ${JSON.stringify(id)} is not among those of the report`);
    const { samples } = await loadClip(clip, pictureRate);
    this.sounds.push(await fileSound(clip));
    const first = this.#frames.clip.indexOf(index);
    return { clip, samples, sound: this.sounds.length - 1, first, rows: this.#frames.clip.lastIndexOf(index) + 1 - first };
  }
}
