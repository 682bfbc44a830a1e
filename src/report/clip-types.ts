import type { ReportSound, Stretch } from './types.ts';

/** What a page on clips shows: what an SAE hears in each of them, and when. Ids and texts may hold anything: they are escaped. */
export interface ClipPageData {
  title: string;
  sae: {
    /** Its folder. */
    name: string;
    architecture: string;
    dIn: number;
    dSae: number;
  };
  model: string;
  hook: string;
  /** What there is to know of the hook point, such as whether the model's final norm comes before it. */
  hookNote?: string;
  /** Frames per second. */
  frameRate: number;
  /** How the latents were chosen: an order with its definition; undefined: they were named. */
  order?: { name: string; definition: string };
  clips: ClipPicture[];
  /** What the clips play, by index. */
  sounds: ReportSound[];
}

/** A whole clip, from `start` 0 to `end`. */
export interface ClipPicture extends Stretch {
  /** Where it lies in its recording, in seconds, when it is not the whole of it. */
  part?: { start: number; end: number };
  /** What is said. */
  text?: string;
  frames: number;
  /** Latents that fire on a frame, in the mean. */
  l0: number;
  latents: ClipPictureLatent[];
}

export interface ClipPictureLatent {
  latent: number;
  /** Frames on which it fires, and their share. */
  firings: number;
  share: number;
  /** Over all frames, 0 where it does not fire. */
  mean: number;
  /** Undefined when it never fires. */
  peak: number | undefined;
  peakTime: number | undefined;
  /** Consecutive firing frames, in seconds. */
  runs: readonly { from: number; to: number; peak: number }[];
  /** Per frame; frame i stands at i / frameRate seconds. */
  activation: Float32Array;
}
