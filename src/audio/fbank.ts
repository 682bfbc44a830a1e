/** Mel filter banks as Kaldi computes them (feat/feature-fbank.cc), the input of the Audio Spectrogram Transformer. */
import { CochleaError } from '../errors.ts';
import { planFft } from './fft.ts';
import { logMel } from './mel.ts';

const toMel = (hz: number): number => 1127 * Math.log(1 + hz / 700);

/** Smallest power of a band before the logarithm: the float32 epsilon, as Kaldi and torchaudio have it. */
const floor = 2 ** -23;

/**
 * Log mel filter banks of a mono signal, [frames, mels]: windows of 25 ms every 10 ms that lie wholly within the signal, so there are
 * 1 + floor((n - window) / hop) frames; each without its mean, with a pre-emphasis of 0.97, in a symmetric Hann window and
 * padded to a power of two; power spectrum; triangles in mel from 20 Hz to half the sample rate; natural logarithm. As torchaudio's
 * kaldi.fbank with window_type 'hanning' and dither 0 does, samples at full scale 1. Throws CochleaError `audio` when no window fits.
 */
export function kaldiFbank(samples: Float32Array, { sampleRate, mels }: { sampleRate: number; mels: number }): Float32Array {
  const length = Math.floor(0.025 * sampleRate), hop = Math.floor(0.01 * sampleRate);
  if (samples.length < length) throw new CochleaError('audio', `${samples.length} samples are shorter than a window of ${length}`);
  const size = 2 ** Math.ceil(Math.log2(length)), fft = planFft(size);
  const window = Float64Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (length - 1)));
  const low = toMel(20), step = (toMel(sampleRate / 2) - low) / (mels + 1);
  const bands = Array.from({ length: mels }, (_, band) => Float64Array.from({ length: size / 2 }, (_, bin) => {
    const place = (toMel((bin * sampleRate) / size) - low) / step - band; // 0 at the left corner, 1 at the top, 2 at the right corner
    return Math.max(0, Math.min(place, 2 - place));
  })).map((weights) => {
    const first = Math.max(0, weights.findIndex((w) => w > 0));
    return { first, weights: weights.subarray(first, weights.findLastIndex((w) => w > 0) + 1) };
  });
  const frames = 1 + Math.floor((samples.length - length) / hop);
  const out = new Float32Array(frames * mels), re = new Float64Array(size), im = new Float64Array(size), power = new Float64Array(size / 2);
  for (let frame = 0; frame < frames; frame++) {
    const own = samples.subarray(frame * hop, frame * hop + length);
    let mean = 0;
    for (const x of own) mean += x / length;
    re.fill(0);
    im.fill(0);
    for (let i = 0; i < length; i++) re[i] = window[i]! * (own[i]! - mean - 0.97 * (own[Math.max(0, i - 1)]! - mean));
    fft(re, im);
    for (let bin = 0; bin < power.length; bin++) power[bin] = re[bin]! ** 2 + im[bin]! ** 2;
    bands.forEach(({ first, weights }, band) => {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i]! * power[first + i]!;
      out[frame * mels + band] = Math.log(Math.max(sum, floor));
    });
  }
  return out;
}

export interface SpectrogramSpec {
  /** `kaldi` as kaldiFbank, whose windows and bands follow from the sample rate; `log-mel` as logMel, by the sizes below. */
  readonly kind: 'kaldi' | 'log-mel';
  readonly sampleRate: number;
  readonly mels: number;
  /** Samples. */
  readonly nFft?: number | undefined;
  readonly hop?: number | undefined;
  /** Hertz. */
  readonly fMin?: number | undefined;
  readonly fMax?: number | undefined;
}

/** A spectrogram as models ask for it, [frames, mels], natural logarithm. Throws as kaldiFbank and logMel. */
export function spectrogram(samples: Float32Array, spec: SpectrogramSpec): Float32Array {
  const { kind, sampleRate, mels, fMin = 0, fMax = sampleRate / 2 } = spec;
  const { nFft = Math.floor(0.025 * sampleRate), hop = Math.floor(0.01 * sampleRate) } = spec;
  if (kind === 'kaldi') return kaldiFbank(samples, { sampleRate, mels });
  const { values, frames } = logMel(samples, { sampleRate, mels, nFft, hop, fMin, fMax });
  return Float32Array.from({ length: frames * mels }, (_, i) => Math.LN10 * values[(i % mels) * frames + Math.floor(i / mels)]!);
}
