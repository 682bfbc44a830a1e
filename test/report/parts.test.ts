import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeSound } from '../../src/audio/index.ts';
import { densityChart, lineChart, logTicks, ticks } from '../../src/report/charts.ts';
import { loudest, soundUri, spectrogramText, wav } from '../../src/report/media.ts';
import { counted, duration, percent, significant, tickLabel, whole } from '../../src/report/numbers.ts';

describe('sound and spectrograms in a report', () => {
  test('a WAV decodes to the samples that went in, clipped to full scale', async () => {
    const samples = Float32Array.from({ length: 1600 }, (_, n) => 1.2 * Math.sin(n / 9));
    const sound = await decodeSound(wav(samples, 16000), 'x.wav');
    assert.equal(sound.sampleRate, 16000);
    assert.equal(sound.samples.length, samples.length);
    sound.samples.forEach((sample, n) => assert.ok(Math.abs(sample - Math.max(-1, Math.min(1, samples[n]))) < 1e-4, `sample ${n}: ${sample}`));
  });

  test('bytes of any length become the data: URI that they are', () => {
    for (const length of [0, 1, 2, 3, 70_000]) {
      const bytes = Uint8Array.from({ length }, (_, n) => (n * 31) & 255);
      const uri = soundUri({ bytes, type: 'audio/flac' });
      assert.ok(uri.startsWith('data:audio/flac;base64,'));
      assert.deepEqual(Uint8Array.from(atob(uri.split(',')[1]), (letter) => letter.charCodeAt(0)), bytes);
    }
  });

  test('a spectrogram spans 60 dB in 64 levels, highest band first', () => {
    const mel = { values: Float32Array.from([-2, -8, -4.8, -9, 0, -100]), mels: 2, frames: 3 };
    assert.equal(loudest([mel, { ...mel, values: new Float32Array([-3]) }]), 0);
    // Below the maximum by 9, 0 and 100 in the upper band, by 2, 8 and 4.8 in the lower: levels 0 63 0, 42 0 12.6.
    assert.equal(spectrogramText(mel, 0), 'A/AqAN');
    // In a page whose loudest cell is 4 higher, the stretch is as dark as if its own were 1 higher.
    assert.equal(spectrogramText({ values: Float32Array.from([-1, 0]), mels: 1, frames: 2 }, 4), spectrogramText({ values: Float32Array.from([-1, 0, 1]), mels: 1, frames: 3 }, 1).slice(0, 2));
  });
});

describe('numbers in a report', () => {
  test('what is one has no s', () => assert.deepEqual([0, 1, 2, 1000].map((n) => counted(n, 'frame')), ['0 frames', '1 frame', '2 frames', '1,000 frames']));

  test('have as many digits as asked for, and a true minus', () => {
    assert.deepEqual([0, 0.81234, 12, 1234.4, 123456, -0.00832, 1.234e-7, -5e9].map((value) => significant(value)),
      ['0', '0.812', '12.0', '1,234', '123,456', '−0.00832', '1.23e−7', '−5.00e9']);
    assert.equal(significant(0.81234, 4), '0.8123');
    assert.deepEqual([0, 999.5, 1234567, -1000].map(whole), ['0', '1,000', '1,234,567', '−1,000']);
    assert.deepEqual([percent(0.0312), percent(1), duration(0.25), duration(12.34)], ['3.12\u202f%', '100\u202f%', '15.0 min', '12.3 h']);
  });

  test('on an axis show the step', () => {
    assert.deepEqual(ticks(0, 1, 4).map((tick) => tickLabel(tick, 0.25)), ['0', '0.25', '0.50', '0.75', '1.00']);
    assert.deepEqual(ticks(1, 1000, 4), [250, 500, 750, 1000]);
    assert.deepEqual(ticks(-3, 3, 3), [-2, 0, 2]);
    assert.deepEqual(ticks(2, 2, 4), [2]);
    assert.deepEqual(logTicks(3, 250), [3, 10, 30, 100]);
    assert.deepEqual(logTicks(30, 250), [50, 100, 200]);
    assert.deepEqual(logTicks(0.001, 10), [0.001, 0.01, 0.1, 1, 10]);
    assert.deepEqual([tickLabel(20000, 10000), tickLabel(12500, 2500), tickLabel(2e6, 1e6), tickLabel(-1, 0.5)], ['20k', '12.5k', '2e6', '−1.0']);
  });
});

describe('charts', () => {
  const numbers = (path: string): number[][] => [...path.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
  const pathOf = (svg: string): number[][] => numbers(/<path class="line" d="([^"]*)"/.exec(svg)![1]);

  test('draw a line through its points, linear and logarithmic', () => {
    const points = [1, 10, 100].map((value, n) => ({ step: n, value }));
    const chart = { name: 'loss', unit: 'x', points };
    assert.deepEqual(pathOf(lineChart({ ...chart, scale: 'log' }).text), [[52, 160], [202, 86], [352, 12]]);
    assert.deepEqual(pathOf(lineChart({ ...chart, scale: 'linear' }).text), [[52, 158.5], [202, 145.2], [352, 12]]);
  });

  test('leave out what is not finite or has no logarithm, and thin out what is long', () => {
    const points = [{ step: 0, value: NaN }, { step: 1, value: 0 }, { step: 2, value: 5 }, { step: 3, value: 6 }];
    assert.equal(pathOf(lineChart({ name: 'a', unit: '', scale: 'log', points }).text).length, 2);
    const long = Array.from({ length: 10_001 }, (_, step) => ({ step, value: step % 2 }));
    const thin = pathOf(lineChart({ name: 'a', unit: '', scale: 'linear', points: long }).text);
    assert.ok(thin.length <= 400 && thin.length > 300);
    assert.match(lineChart({ name: 'a', unit: '', scale: 'linear', points: [] }).text, /no values/);
  });

  test('draw a bar per bin that holds latents', () => {
    const { text } = densityChart({ edges: [-2, -1, 0], counts: [5, 10], silent: 1 }, 16);
    const bars = [...text.matchAll(/<rect class="bar" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)].map((bar) => bar.slice(1).map(Number));
    assert.deepEqual(bars, [[52.75, 86, 148.5, 74], [202.75, 12, 148.5, 148]]);
    assert.match(text, /5 latents fire in 1\.0 to 10\u202f% of the frames/);
  });
});
