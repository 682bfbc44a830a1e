/** What pages show and play of a recording: spectrograms, and sound as browsers take it. */
import { type Clip, loadClip, logMel, type LogMel } from '../../audio/index.ts';
import type { ReportSound } from '../../report/index.ts';
import { runtime } from '../../runtime/index.ts';

/** Spectrograms are drawn from sound at this rate, with bands up to half of it. */
export const pictureRate = 16_000;
/** Samples from one column of a spectrogram to the next: fine for a strip, coarse for a whole recording. */
export const columns = { strip: 160, recording: 320 };

const soundTypes = { '.opus': 'audio/ogg', '.ogg': 'audio/ogg', '.flac': 'audio/flac', '.mp3': 'audio/mpeg', '.m4a': 'audio/mp4', '.wav': 'audio/wav' } as const;

/** Log-mel bands of samples at `pictureRate`, a column every `hop` samples. */
export function spectrogram(samples: Float32Array, hop: number): LogMel {
  return logMel(samples, { sampleRate: pictureRate, nFft: 400, hop, mels: 64, fMin: 0, fMax: pictureRate / 2 });
}

/** The whole file that a clip is from. What browsers cannot play goes in as samples, from the beginning of the file like the others. */
export async function fileSound({ id, path }: Clip): Promise<ReportSound> {
  const type = (soundTypes as Record<string, (typeof soundTypes)[keyof typeof soundTypes]>)[runtime.paths.extname(path).toLowerCase()];
  if (type) return { bytes: await runtime.files.read(path), type };
  return { samples: (await loadClip({ id, path, labels: {} }, pictureRate)).samples, sampleRate: pictureRate };
}
