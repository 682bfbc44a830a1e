/** A small page on clips. `text` stands for everything that somebody else writes. */
import { RandomStream } from '../../src/random.ts';
import type { ClipPageData, ClipPicture } from '../../src/report/index.ts';

export const frameRate = 50;
const sampleRate = 16_000;

/** Activations of the latents of every clip on its 150 frames (3 s); one that never fires, one with signs. */
export const clipActivations: Record<number, (frame: number) => number> = {
  7: (frame) => (frame >= 50 && frame < 75 ? (frame - 49) / 5 : 0),
  1042: (frame) => (frame % 30 < 3 ? 1.25 : 0),
  3: () => 0,
  88: (frame) => (frame === 10 ? -4 : frame === 149 ? 0.5 : 0),
};

export function sampleClips(text: (what: string) => string = (what) => what, count = 2): ClipPageData {
  const random = new RandomStream(29, 100);
  const clip = (n: number): ClipPicture => ({
    clip: text(`clip-${n}`), start: 0, end: 3, mel: { values: Float32Array.from({ length: 32 * 150 }, () => -6 + 4 * random.uniform()), mels: 32, frames: 150 },
    sound: { index: n, offset: 0 }, ...(n === 0 ? { text: text('Some words.') } : {}), frames: 150, l0: 1.5,
    latents: [7, 1042, 3, 88].map((latent) => {
      const activation = Float32Array.from({ length: 150 }, (_, frame) => clipActivations[latent]!(frame));
      const firings = activation.filter((value) => value !== 0).length;
      const runs = latent === 7 ? [{ from: 1, to: 1.5, peak: 5 }] : latent === 1042 ? [0, 0.6, 1.2, 1.8, 2.4].map((from) => ({ from, to: from + 0.06, peak: 1.25 }))
        : latent === 88 ? [{ from: 0.2, to: 0.22, peak: -4 }, { from: 2.98, to: 3, peak: 0.5 }] : [];
      const peak = latent === 7 ? 5 : latent === 1042 ? 1.25 : latent === 88 ? -4 : undefined;
      return { latent, firings, share: firings / 150, mean: 0.25, peak, peakTime: peak === undefined ? undefined : latent === 7 ? 1.48 : latent === 88 ? 0.2 : 0, runs, activation };
    }),
  });
  return {
    title: text('What it hears'), sae: { name: text('sae'), architecture: 'topk', dIn: 288, dSae: 1152 }, model: text('moonshine-tiny'), hook: text('encoder.layers.3'), hookNote: 'after the block',
    frameRate, order: { name: 'peak', definition: 'the largest activation' }, clips: Array.from({ length: count }, (_, n) => clip(n)),
    sounds: Array.from({ length: count }, () => ({ samples: Float32Array.from({ length: 3 * sampleRate }, (_, n) => 0.2 * Math.sin((2 * Math.PI * 440 * n) / sampleRate)), sampleRate })),
  };
}
