import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planFft } from '../../src/audio/fft.ts';
import { logMel, whisperFeatures } from '../../src/audio/mel.ts';
import { RandomStream } from '../../src/random.ts';

const seed = 11;

function noise(n: number, stream: number): Float64Array {
  const random = new RandomStream(seed, stream);
  return Float64Array.from({ length: n }, () => 2 * random.uniform() - 1);
}

function directDft(re: Float64Array, im: Float64Array): [Float64Array, Float64Array] {
  const n = re.length;
  const outRe = new Float64Array(n);
  const outIm = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    for (let j = 0; j < n; j++) {
      const angle = (-2 * Math.PI * ((j * k) % n)) / n;
      outRe[k] = outRe[k]! + re[j]! * Math.cos(angle) - im[j]! * Math.sin(angle);
      outIm[k] = outIm[k]! + re[j]! * Math.sin(angle) + im[j]! * Math.cos(angle);
    }
  }
  return [outRe, outIm];
}

test(`the transform equals the direct sum for every kind of length (seed ${seed})`, () => {
  // Powers of two, small factors, primes below and above the change to Bluestein's algorithm.
  for (const n of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 25, 30, 49, 64, 97, 101, 127, 160, 202, 400, 441, 512, 618]) {
    const [re, im] = [noise(n, 1000), noise(n, 1001)];
    const [wantedRe, wantedIm] = directDft(re, im);
    const [gotRe, gotIm] = [re.slice(), im.slice()];
    const fft = planFft(n);
    fft(gotRe, gotIm);
    for (let k = 0; k < n; k++) {
      assert.ok(Math.abs(gotRe[k]! - wantedRe[k]!) < 1e-11 * n && Math.abs(gotIm[k]! - wantedIm[k]!) < 1e-11 * n, `length ${n}, bin ${k}`);
    }
    fft(gotIm, gotRe);
    for (let j = 0; j < n; j++) assert.ok(Math.abs(gotRe[j]! / n - re[j]!) < 1e-12 && Math.abs(gotIm[j]! / n - im[j]!) < 1e-12, `inverse of length ${n}`);
  }
});

/** Slaney's mel filters bin by bin, from the break points in hertz; written apart from src to check it. */
function melFilter(mels: number, band: number, hz: number, fMin: number, fMax: number): number {
  const logarithmic = 27 / Math.log(6.4);
  const mel = (f: number): number => (f < 1000 ? (3 * f) / 200 : 15 + logarithmic * Math.log(f / 1000));
  const back = (m: number): number => (m < 15 ? (200 * m) / 3 : 1000 * Math.exp((m - 15) / logarithmic));
  const point = (i: number): number => back(mel(fMin) + ((mel(fMax) - mel(fMin)) * i) / (mels + 1));
  const [left, centre, right] = [point(band), point(band + 1), point(band + 2)];
  const height = hz <= left || hz >= right ? 0 : hz < centre ? (hz - left) / (centre - left) : (right - hz) / (right - centre);
  return (2 * height) / (right - left);
}

/** One log-mel frame by the definition: mirrored ends, Hann window, direct sum, power, filters, log10. */
function directFrame(x: Float32Array, frame: number, o: { sampleRate: number; nFft: number; hop: number; mels: number; fMin: number; fMax: number }): number[] {
  const windowed = Float64Array.from({ length: o.nFft }, (_, i) => {
    let at = frame * o.hop - Math.floor(o.nFft / 2) + i;
    while (at < 0 || at >= x.length) at = at < 0 ? -at : 2 * (x.length - 1) - at;
    return x[at]! * Math.sin((Math.PI * i) / o.nFft) ** 2;
  });
  const power = Array.from({ length: Math.floor(o.nFft / 2) + 1 }, (_, k) => {
    let [re, im] = [0, 0];
    windowed.forEach((value, j) => {
      re += value * Math.cos((2 * Math.PI * ((j * k) % o.nFft)) / o.nFft);
      im += value * Math.sin((2 * Math.PI * ((j * k) % o.nFft)) / o.nFft);
    });
    return re * re + im * im;
  });
  return Array.from({ length: o.mels }, (_, band) =>
    Math.log10(Math.max(1e-10, power.reduce((sum, p, k) => sum + p * melFilter(o.mels, band, (k * o.sampleRate) / o.nFft, o.fMin, o.fMax), 0))));
}

test(`log-mel equals the definition summed up directly (seed ${seed})`, () => {
  const whisper = { sampleRate: 16000, nFft: 400, hop: 160, mels: 80, fMin: 0, fMax: 8000 };
  const cases = [
    whisper,
    { ...whisper, mels: 128 },
    { sampleRate: 22050, nFft: 1024, hop: 300, mels: 40, fMin: 50, fMax: 7600 },
    { sampleRate: 8000, nFft: 211, hop: 80, mels: 20, fMin: 100, fMax: 4000 },
  ];
  for (const options of cases) {
    const x = Float32Array.from(noise(options.hop * 12 + 31, 1002), (v, i) => v * 0.1 + Math.sin(i * 0.2) * (i % 700 < 350 ? 1 : 1e-4));
    const { values, mels, frames } = logMel(x, options);
    assert.equal(mels, options.mels);
    assert.equal(frames, 13);
    assert.equal(values.length, mels * frames);
    for (const frame of [0, 1, 6, 11, 12]) {
      directFrame(x, frame, options).forEach((wanted, band) => assert.ok(Math.abs(values[band * frames + frame]! - wanted) < 2e-6, `frame ${frame}, band ${band}`));
    }
  }
});

test('silence lies at the floor, and very short sounds have a spectrum too', () => {
  const options = { sampleRate: 16000, nFft: 400, hop: 160, mels: 80, fMin: 0, fMax: 8000 };
  assert.ok(logMel(new Float32Array(1000), options).values.every((v) => v === -10));
  for (const n of [1, 2, 50, 199]) assert.ok(logMel(new Float32Array(n).fill(0.5), options).values.every(Number.isFinite));
  assert.throws(() => logMel(new Float32Array(), options), /no samples/);
  assert.throws(() => logMel(new Float32Array(10), { ...options, fMax: 9000 }), /mel bands from 0 to 9000 Hz do not fit/);
});

for (const mels of [80, 128] as const) {
  test(`Whisper features with ${mels} bands follow Whisper's definition (seed ${seed})`, () => {
    const seconds = 2.5;
    const x = Float32Array.from(noise(16000 * seconds, 1003), (v, i) => 0.02 * v + 0.6 * Math.sin(2 * Math.PI * 440 * (i / 16000)) * Math.exp(-i / 9000));
    const features = whisperFeatures(x, mels);
    assert.equal(features.length, mels * 3000);
    const padded = new Float32Array(480000);
    padded.set(x);
    const options = { sampleRate: 16000, nFft: 400, hop: 160, mels, fMin: 0, fMax: 8000 };
    // The maximum over all frames is that of the loud beginning.
    const frames = [0, 1, 2, 3, 4, 5, 100, 249, 250, 251, 1500, 2999].map((frame) => ({ frame, direct: directFrame(padded, frame, options) }));
    const most = Math.max(...frames.flatMap(({ direct }) => direct));
    assert.ok(Math.abs(features.reduce((a, b) => Math.max(a, b)) - (most + 4) / 4) < 1e-6);
    for (const { frame, direct } of frames) {
      direct.forEach((value, band) => assert.ok(Math.abs(features[band * 3000 + frame]! - (Math.max(value, most - 8) + 4) / 4) < 1e-6, `frame ${frame}, band ${band}`));
    }
    const longer = new Float32Array(500000);
    longer.set(padded);
    longer.fill(0.3, 480000);
    assert.deepEqual(whisperFeatures(longer, mels), features, 'what lies beyond 30 s is cut off');
  });
}
