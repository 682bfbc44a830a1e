import type { Fft } from './fft.ts';
import { CochleaError } from '../errors.ts';
import { planFft } from './fft.ts';

export interface LogMelOptions {
  sampleRate: number;
  /** Window and transform length in samples. */
  nFft: number;
  /** Samples from one frame to the next. */
  hop: number;
  /** Number of mel bands. */
  mels: number;
  /** Hertz. */
  fMin: number;
  fMax: number;
}

export interface LogMel {
  /** [mels, frames], log10 of the power in each band, not below -10. */
  values: Float32Array;
  mels: number;
  frames: number;
}

/** Whisper's front end (openai/whisper, whisper/audio.py): 25 ms windows every 10 ms of 30 s at 16 kHz. */
const whisper = { sampleRate: 16000, nFft: 400, hop: 160, fMin: 0, fMax: 8000 };
const whisperSamples = 30 * 16000;

const floor = 1e-10;

// Slaney's mel scale (Auditory Toolbox, 1998; the default of librosa): linear up to 1 kHz, where 1 mel is 200/3 Hz,
// and logarithmic above, where 27 mels are a factor of 6.4.
const corner = 1000;
const perMel = 200 / 3;
const logStep = Math.log(6.4) / 27;
const toMel = (hz: number): number => (hz < corner ? hz / perMel : corner / perMel + Math.log(hz / corner) / logStep);
const toHz = (mel: number): number => (mel < corner / perMel ? mel * perMel : corner * Math.exp(logStep * (mel - corner / perMel)));

/** A triangle over the bins first .. first + weights.length - 1 of the power spectrum. */
interface Band {
  first: number;
  weights: Float64Array;
}

/** Triangles with corners evenly spaced in mel, each scaled to an area of 1 over hertz (Slaney's normalisation). */
function melBands({ sampleRate, nFft, mels, fMin, fMax }: LogMelOptions): Band[] {
  const bins = Math.floor(nFft / 2) + 1;
  const [low, high] = [toMel(fMin), toMel(fMax)];
  const corners = Array.from({ length: mels + 2 }, (_, i) => toHz(low + ((high - low) * i) / (mels + 1)));
  return Array.from({ length: mels }, (_, band) => {
    const [left, centre, right] = corners.slice(band, band + 3) as [number, number, number];
    const all = Float64Array.from({ length: bins }, (_, bin) => {
      const hz = (bin * sampleRate) / nFft;
      return Math.max(0, Math.min((hz - left) / (centre - left), (right - hz) / (right - centre))) * (2 / (right - left));
    });
    const first = Math.max(0, all.findIndex((w) => w > 0));
    const last = all.findLastIndex((w) => w > 0);
    return { first, weights: all.subarray(first, last + 1) };
  });
}

interface Plan {
  window: Float64Array;
  fft: Fft;
  bands: Band[];
}

const plans = new Map<string, Plan>();

function planFor(options: LogMelOptions): Plan {
  const { sampleRate, nFft, mels, fMin, fMax } = options;
  const key = [sampleRate, nFft, mels, fMin, fMax].join(' ');
  let plan = plans.get(key);
  if (!plan) {
    if (!(fMin >= 0 && fMin < fMax && fMax <= sampleRate / 2)) {
      const hint = 'they must lie between 0 and half the sample rate';
      throw new CochleaError('config', `mel bands from ${fMin} to ${fMax} Hz do not fit a sample rate of ${sampleRate} Hz`, hint);
    }
    // The periodic Hann window, as torch.hann_window and librosa take it.
    const window = Float64Array.from({ length: nFft }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / nFft));
    plans.set(key, (plan = { window, fft: planFft(nFft), bands: melBands(options) }));
  }
  return plan;
}

/** Index into a signal of n samples that is mirrored at both ends without repeating the end samples. */
function mirrored(i: number, n: number): number {
  if (n === 1) return 0;
  const period = 2 * (n - 1);
  const j = ((i % period) + period) % period;
  return j < n ? j : period - j;
}

/**
 * Log-mel spectrogram of a mono signal: windows centred on every `hop`-th sample, the ends mirrored, so there are
 * 1 + floor(n / hop) frames; power spectrum, Slaney's mel bands, log10 of at least 1e-10. As torch.stft with
 * center=True and librosa.filters.mel compute it; here in float64.
 */
export function logMel(samples: Float32Array, options: LogMelOptions): LogMel {
  if (samples.length === 0) throw new CochleaError('audio', 'no samples to take a spectrum of');
  const { nFft, hop, mels } = options;
  const { window, fft, bands } = planFor(options);
  const frames = 1 + Math.floor(samples.length / hop);
  const values = new Float32Array(mels * frames);
  const re = new Float64Array(nFft);
  const im = new Float64Array(nFft);
  const half = Math.floor(nFft / 2);
  const power = [new Float64Array(half + 1), new Float64Array(half + 1)];

  const fill = (into: Float64Array, frame: number): void => {
    const start = frame * hop - half;
    const inside = start >= 0 && start + nFft <= samples.length;
    for (let i = 0; i < nFft; i++) into[i] = window[i]! * samples[inside ? start + i : mirrored(start + i, samples.length)]!;
  };
  for (let frame = 0; frame < frames; frame += 2) {
    // Two real frames share one complex transform Z: theirs are (Z[k] + conj Z[-k]) / 2 and (Z[k] - conj Z[-k]) / 2i.
    fill(re, frame);
    if (frame + 1 < frames) fill(im, frame + 1);
    else im.fill(0);
    fft(re, im);
    for (let k = 0; k <= half; k++) {
      const mirror = (nFft - k) % nFft;
      power[0]![k] = ((re[k]! + re[mirror]!) ** 2 + (im[k]! - im[mirror]!) ** 2) / 4;
      power[1]![k] = ((im[k]! + im[mirror]!) ** 2 + (re[k]! - re[mirror]!) ** 2) / 4;
    }
    for (let second = 0; second < 2 && frame + second < frames; second++) {
      bands.forEach(({ first, weights }, band) => {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i]! * power[second]![first + i]!;
        values[band * frames + frame + second] = Math.log10(Math.max(sum, floor));
      });
    }
  }
  return { values, mels, frames };
}

/**
 * The input of a Whisper encoder, [mels, 3000]: 16 kHz sound padded with zeros or cut to 30 s, its log-mel spectrogram
 * without the last frame, everything more than 8 below the maximum raised to that, then (x + 4) / 4.
 * `mels` is 80, or 128 for large-v3.
 */
export function whisperFeatures(samples: Float32Array, mels: 80 | 128): Float32Array {
  const padded = new Float32Array(whisperSamples);
  padded.set(samples.subarray(0, whisperSamples));
  const { values, frames } = logMel(padded, { ...whisper, mels });
  const kept = frames - 1;
  const out = new Float32Array(mels * kept);
  for (let band = 0; band < mels; band++) out.set(values.subarray(band * frames, band * frames + kept), band * kept);
  const least = out.reduce((a, b) => Math.max(a, b), -Infinity) - 8;
  return out.map((x) => (Math.max(x, least) + 4) / 4);
}
