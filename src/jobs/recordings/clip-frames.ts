/** One recording through an open model. */
import { meanPooled } from '../../activations/index.ts';
import { type Clip, loadClip, type LoadedClip } from '../../audio/index.ts';
import type { MultiEncoder } from '../../encoders/index.ts';

/** The frames of a clip at a hook point, without padding, and at a second one. */
export interface FramesOfClip {
  frames: Float32Array;
  target?: Float32Array;
  rows: number;
  /** Of the recording: SHA-256 of its file, and seconds of the clip. */
  sha256: string;
  seconds: number;
}

/** `window`: frames of whose mean a row is made. Throws what loadClip and `encode` throw. */
export async function framesOfClip(encoder: MultiEncoder, clip: Clip | LoadedClip, window: number): Promise<FramesOfClip> {
  const { samples, seconds, sha256 } = 'samples' in clip ? clip : await loadClip(clip, encoder.sampleRate);
  const { frames, valid } = await encoder.encode(samples);
  const [kept, target] = frames.map((values, n) => {
    const { dIn } = encoder.hooks[n]!;
    return meanPooled(values.subarray(0, valid * dIn), dIn, window);
  });
  return { frames: kept!, ...(target && { target }), rows: kept!.length / encoder.hooks[0]!.dIn, sha256, seconds };
}
