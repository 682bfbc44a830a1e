import type { Fft } from './fft.ts';
import { CochleaError } from '../errors.ts';
import { planFft } from './fft.ts';

// Decibels that what lies above the lower Nyquist frequency loses, and the part of the band below it that passes.
const attenuation = 110;
const passband = 0.95;

/**
 * Overlap-save in blocks (A. V. Oppenheim and R. W. Schafer, Discrete-Time Signal Processing, section 8.7.3): a block of
 * `down * units` input samples spans the same time as `up * units` output samples, so the spectrum of the one, weighed
 * and cut or extended with zeros, is the spectrum of the other. `margin` units at either end are lost to the wrap-around.
 */
interface Plan {
  up: number;
  down: number;
  units: number;
  margin: number;
  forward: Fft;
  backward: Fft;
  /** What each bin below the lower Nyquist frequency is multiplied with. */
  gains: Float64Array;
}

const plans = new Map<string, Plan>();

/** Samples in the blocks of a plan. */
const blocks = ({ up, down, units }: Plan): number => (up + down) * units;

/** Of all plans that are kept: those of odd ratios have a million and more, with tables of some 150 MB, and recordings of ever new rates must not add up. */
const mostKept = 2 ** 21;

/** Terms of a ratio: beyond this a plan takes gigabytes and minutes. No recorder has such a rate, only a damaged header. */
const largestTerm = 2 ** 18;

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

/** Modified Bessel function of the first kind, order zero: sum over k of ((x/2)^k / k!)^2. */
function besselI0(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function makePlan(up: number, down: number): Plan {
  // Frequencies in cycles per sample of the higher of the two rates, at which the filter is written down. Its transition
  // runs from `passband` times the lower Nyquist frequency up to that frequency, so nothing aliases into the output.
  const [more, less] = [Math.max(up, down), Math.min(up, down)];
  const nyquist = (0.5 * less) / more;
  const width = (1 - passband) * nyquist;
  const cutoff = nyquist - width / 2;
  const beta = 0.1102 * (attenuation - 8.7);
  const reach = (attenuation - 7.95) / (2.285 * 2 * Math.PI * width) / 2;

  const margin = Math.ceil(reach / more);
  const units = 2 ** Math.ceil(Math.log2(12 * margin));
  const size = more * units;
  const taps = new Float64Array(size);
  let sum = 0;
  for (let t = -Math.floor(reach); t <= reach; t++) {
    const angle = 2 * Math.PI * cutoff * t;
    const tap = (angle === 0 ? 1 : Math.sin(angle) / angle) * besselI0(beta * Math.sqrt(1 - (t / reach) ** 2));
    taps[(t + size) % size] = tap;
    sum += tap;
  }
  const [forward, backward] = [planFft(down * units), planFft(up * units)];
  // The taps are symmetric about time zero: their spectrum is real, and the filter delays nothing.
  (up > down ? backward : forward)(taps, new Float64Array(size));
  const gains = taps.subarray(0, (less * units) / 2).map((gain) => gain / sum / (down * units));
  return { up, down, units, margin, forward, backward, gains };
}

/**
 * Changes the sample rate by the ratio of two integers, with a Kaiser-windowed sinc of linear phase.
 *
 * `samples` is mono at `from` Hz; the result is at `to` Hz and has ceil(n * to / from) samples; sample i of it lies at
 * the time i / to, with no delay. Outside the recording there is silence. Equal rates give back the same array.
 *
 * Design (J. F. Kaiser, 1974; Oppenheim and Schafer, section 7.5.3): for an attenuation of A dB, beta = 0.1102 (A - 8.7),
 * and the filter spans (A - 7.95) / (2.285 dw) samples, where dw is the width of the transition in radians per sample.
 * Here A = 110 dB, the passband reaches to 0.95 of the lower Nyquist frequency and the stopband begins at that frequency.
 * The gain at 0 Hz is exactly 1.
 *
 * Throws CochleaError `audio` for rates that are no whole numbers, and for those whose ratio in lowest terms has one beyond 2^18.
 */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  for (const rate of [from, to]) {
    if (!Number.isInteger(rate) || rate < 1) throw new CochleaError('audio', `${rate} is not a sample rate`, 'rates are whole numbers of hertz');
  }
  if (from === to) return samples;
  const common = divisor(from, to);
  if (Math.max(from, to) / common > largestTerm) {
    throw new CochleaError('audio', `${from} Hz is no rate that can be turned into ${to} Hz: their ratio is ${to / common} to ${from / common}`, 'its header may be damaged');
  }
  const key = `${to / common}/${from / common}`, plan = plans.get(key) ?? makePlan(to / common, from / common);
  plans.delete(key);
  plans.set(key, plan); // the latest stand last
  let kept = [...plans.values()].reduce((sum, one) => sum + blocks(one), 0);
  for (const [oldest, one] of plans) {
    if (kept <= mostKept || oldest === key) break;
    plans.delete(oldest);
    kept -= blocks(one);
  }
  return convolve(samples, plan);
}

function convolve(samples: Float32Array, { up, down, units, margin, forward, backward, gains }: Plan): Float32Array {
  const out = new Float32Array(Math.ceil((samples.length * up) / down));
  const step = units - 2 * margin;
  const [re, im] = [new Float64Array(down * units), new Float64Array(down * units)];
  const [outRe, outIm] = [new Float64Array(up * units), new Float64Array(up * units)];

  const fill = (into: Float64Array, block: number): void => {
    const start = down * (block * step - margin);
    const from = Math.max(0, start);
    into.fill(0);
    if (from < samples.length) into.set(samples.subarray(from, start + into.length), from - start);
  };
  const take = (block: number, result: Float64Array): void => {
    const at = up * block * step;
    const count = Math.min(up * step, out.length - at);
    if (count > 0) out.set(result.subarray(up * margin, up * margin + count), at);
  };
  // The gains are real, so two blocks go through together, as the real and the imaginary part of one.
  for (let block = 0; up * block * step < out.length; block += 2) {
    fill(re, block);
    fill(im, block + 1);
    forward(re, im);
    outRe.fill(0);
    outIm.fill(0);
    outRe[0] = re[0]! * gains[0]!;
    outIm[0] = im[0]! * gains[0]!;
    for (let k = 1; k < gains.length; k++) {
      outRe[k] = re[k]! * gains[k]!;
      outIm[k] = im[k]! * gains[k]!;
      outRe[outRe.length - k] = re[re.length - k]! * gains[k]!;
      outIm[outIm.length - k] = im[im.length - k]! * gains[k]!;
    }
    backward(outIm, outRe);
    take(block, outRe);
    take(block + 1, outIm);
  }
  return out;
}
