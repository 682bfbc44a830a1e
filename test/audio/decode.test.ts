import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeSound } from '../../src/audio/decode.ts';
import { CochleaError } from '../../src/errors.ts';
import { fixChecksums } from './mutate.ts';
import { ascii, bytes, chirp, chunk, sample, tone, u32, wav } from './sounds.ts';

const rejects = (file: Uint8Array, what: RegExp): Promise<void> =>
  assert.rejects(decodeSound(file, 'x.wav'), (error) => {
    assert.ok(error instanceof CochleaError, String(error));
    assert.equal(error.code, 'audio');
    assert.match(error.message, /^x\.wav: /);
    assert.match(error.message, what);
    return true;
  });

test('wav of every width is divided by its own full scale', async () => {
  for (const [bits, values] of [
    [8, [-128, -1, 0, 64, 127]],
    [16, [-32768, -1, 0, 12345, 32767]],
    [24, [-8388608, -1, 0, 1234567, 8388607]],
    [32, [-2147483648, -256, 0, 1234567890, 2147483647]],
  ] as const) {
    for (const extensible of [false, true]) {
      const { samples, sampleRate } = await decodeSound(wav([...values], { bits, extensible, sampleRate: 22050 }), 'x.wav');
      assert.equal(sampleRate, 22050);
      assert.deepEqual(samples, Float32Array.from(values, (v) => v / 2 ** (bits - 1)), `${bits} bits`);
    }
  }
});

test('float wav passes through', async () => {
  const values = [-1, -0.25, 0, 1e-9, 0.1, 1.5];
  for (const bits of [32, 64]) {
    for (const extensible of [false, true]) {
      assert.deepEqual((await decodeSound(wav(values, { kind: 'float', bits, extensible }), 'x.wav')).samples, Float32Array.from(values));
    }
  }
});

test('channels are mixed by their mean', async () => {
  const { samples } = await decodeSound(wav([3000, 9000, -600, 100, 200, 300], { channels: 3 }), 'x.wav');
  assert.deepEqual(samples, Float32Array.of(3800 / 32768, 200 / 32768));
});

test('unknown wav chunks are skipped, odd ones with their pad byte', async () => {
  const around: [Uint8Array, Uint8Array, Uint8Array] = [chunk('JUNK', new Uint8Array(13)), chunk('LIST', ascii('INFOabc')), chunk('id3 ', new Uint8Array(5))];
  assert.deepEqual((await decodeSound(wav([1, 2, 3], { around }), 'x.wav')).samples, Float32Array.of(1 / 32768, 2 / 32768, 3 / 32768));
  const eightBits = wav([5, 6, 7], { bits: 8 });
  assert.equal((await decodeSound(eightBits.subarray(0, eightBits.length - 1), 'x.wav')).samples.length, 3, 'the last pad byte may be missing');
});

test('a wav written to a pipe goes to the end of the file', async () => {
  for (const size of [0xffffffff, 0x7ffff000, 0x80000000]) {
    const file = wav([1, 2, 3]);
    new DataView(file.buffer).setUint32(40, size, true);
    assert.equal((await decodeSound(file, 'x.wav')).samples.length, 3);
  }
});

test('RF64 takes its data size from the ds64 chunk', async () => {
  const make = (dataSize: number): Uint8Array => {
    const file = wav([1, 2, 3], { around: [chunk('ds64', bytes(u32(0, 0, dataSize, 0, 3, 0, 0))), new Uint8Array(), chunk('tail', new Uint8Array(8))] });
    file.set(ascii('RF64'), 0);
    file.set([255, 255, 255, 255], file.length - 16 - 6 - 4);
    return file;
  };
  assert.equal((await decodeSound(make(6), 'x.wav')).samples.length, 3);
  await rejects(make(6000), /truncated/);
});

test('damaged wav files say what is wrong', async () => {
  const good = wav(Array.from({ length: 16000 }, (_, i) => i % 100));
  await rejects(new Uint8Array(), /is empty/);
  await rejects(good.subarray(0, 16044), /truncated or damaged: 0\.500 s of the 1\.000 s/);
  await rejects(good.subarray(0, 36), /has no data chunk/);
  await rejects(good.subarray(0, 20), /fmt/);
  await rejects(bytes(ascii('RIFF'), u32(20), ascii('WAVE'), chunk('data', new Uint8Array(4))), /before any fmt/);
  await rejects(wav([]), /holds no samples/);
  await rejects(wav([0, NaN, 0], { kind: 'float', bits: 32 }), /not a finite number, at 0\.000 s/);
  await rejects(wav([1], { sampleRate: 0 }), /sample rate of 0/);
  const adpcm = wav([1, 2]);
  adpcm[20] = 17;
  await rejects(adpcm, /wav coding that is not read here \(format 17/);
});

test('what is no sound, or of another kind, is refused by name', async () => {
  await rejects(ascii('hello, this is a text file'), /not a sound file/);
  await rejects(new Uint8Array(5000), /not a sound file/);
  await rejects(ascii('FORM____AIFF'), /an AIFF file/);
  await rejects(bytes(ascii('ID3'), [4, 0, 0, 0, 0, 0, 100]), /not a sound file/);
});

/** Signal to noise in dB of a decoded file against the signal it was made from; a shift of one sample would show. */
function quality(samples: Float32Array, sampleRate: number, signal: (t: number) => number, delay = 0): number {
  let noise = 0;
  let power = 0;
  // The ends are left out: lossy coders smear them.
  for (let i = 2000; i < samples.length - 2000; i++) {
    const wanted = signal((i - delay) / sampleRate);
    noise += (wanted - samples[i]!) ** 2;
    power += wanted ** 2;
  }
  return 10 * Math.log10(power / noise);
}

const mean = (t: number): number => (chirp(t) + tone(t)) / 2;

const recordings: { name: string; rate: number; length: number; signal: (t: number) => number; decibels: number; delay?: number }[] = [
  { name: 'chirp-16bit.flac', rate: 16000, length: 19200, signal: chirp, decibels: 92 },
  { name: 'chirp-24bit.flac', rate: 16000, length: 8000, signal: chirp, decibels: 140 },
  { name: 'chirp-flac.oga', rate: 16000, length: 19200, signal: chirp, decibels: 92 },
  { name: 'chirp-alac.m4a', rate: 16000, length: 19200, signal: chirp, decibels: 92 },
  { name: 'chirp.mp3', rate: 32000, length: 38400, signal: mean, decibels: 25 },
  { name: 'chirp-vorbis.ogg', rate: 44100, length: 52920, signal: mean, decibels: 33 },
  { name: 'chirp.opus', rate: 48000, length: 57600, signal: mean, decibels: 36 },
  { name: 'chirp.m4a', rate: 44100, length: 52920, signal: mean, decibels: 28 },
  // Without a tag that tells it, the encoder's delay stays: 576 + 529 samples for LAME, 1,024 for this AAC encoder.
  { name: 'chirp-untagged.mp3', rate: 16000, length: 20736, signal: chirp, decibels: 25, delay: 1105 },
  { name: 'chirp.aac', rate: 44100, length: 54272, signal: mean, decibels: 27, delay: 1024 },
];

for (const { name, rate, length, signal, decibels, delay = 0 } of recordings) {
  test(`${name} decodes to its true length, in time with its source`, async () => {
    const { samples, sampleRate } = await decodeSound(await sample(name), name);
    assert.equal(sampleRate, rate);
    assert.equal(samples.length, length);
    const right = quality(samples, rate, signal, delay);
    assert.ok(right >= decibels, `${right.toFixed(1)} dB`);
    for (const off of [-1, 1]) assert.ok(quality(samples, rate, signal, delay + off) < right, 'one sample off is worse');
  });

  test(`${name} cut short, or with its middle missing, is an error`, async () => {
    const whole = await sample(name);
    for (const share of [0.001, 0.1, 0.5, 0.9, 0.999]) {
      // An odd length never falls between two frames of the untagged mp3, where nothing would be missing.
      await rejects(whole.subarray(0, Math.floor(whole.length * share) | 1), /truncated|damaged|not a sound file/);
    }
    const middle = Math.floor(whole.length / 2);
    await rejects(bytes(whole.subarray(0, middle - 40), whole.subarray(middle + 41)), /truncated|damaged/);
  });
}

test('16-bit flac gives the integers back exactly', async () => {
  const { samples } = await decodeSound(await sample('chirp-16bit.flac'), 'x');
  assert.deepEqual(samples, Float32Array.from(samples, (_, i) => (Math.round(chirp(i / 16000) * 32768) + 0) / 32768));
});

test('tags around mp3 and flac, and behind aac and mp4, are passed over', async () => {
  const id3 = bytes(ascii('ID3'), [4, 0, 0, 0, 0, 1, 2], new Uint8Array(130).fill(0xff), new Uint8Array(50));
  const id3v1 = bytes(ascii('TAG'), new Uint8Array(125));
  // APEv2: version 2000, size without head, no items, flags: has a head, and is it.
  const ape = (flags: number, size: number): Uint8Array => bytes(ascii('APETAGEX'), [0xd0, 7, 0, 0], [size, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, flags], new Uint8Array(8));
  const item = bytes([3, 0, 0, 0, 0, 0, 0, 0], ascii('Title'), [0], ascii('abc')), size = item.length + 32;
  const tails = [id3v1, bytes(ape(0xa0, size), item, ape(0x80, size)), bytes(item, ape(0, size), id3v1)];
  for (const name of ['chirp.mp3', 'chirp-untagged.mp3', 'chirp-16bit.flac', 'chirp-24bit.flac', 'chirp.aac', 'chirp.m4a']) {
    const plain = await decodeSound(await sample(name), name);
    for (const tail of tails) {
      const tagged = await decodeSound(bytes(/flac|mp3/.test(name) ? id3 : [], await sample(name), tail), name);
      assert.deepEqual(tagged, plain);
    }
  }
});

test('chained Ogg files are joined', async () => {
  for (const name of ['chirp.opus', 'chirp-vorbis.ogg', 'chirp-flac.oga']) {
    const file = await sample(name);
    const once = await decodeSound(file, name);
    const twice = await decodeSound(bytes(file, file), name);
    assert.equal(twice.samples.length, 2 * once.samples.length, name);
    assert.deepEqual(twice.samples.subarray(once.samples.length), once.samples);
  }
});

test('the gain in an Opus header is applied', async () => {
  const file = await sample('chirp.opus');
  const plain = await decodeSound(file, 'x');
  const louder = file.slice();
  louder.set([0, 6], 28 + 16); // 6 * 256 / 256 = 6 dB
  fixChecksums(louder);
  const { samples } = await decodeSound(louder, 'x');
  const i = 20000;
  assert.ok(Math.abs(samples[i]! / plain.samples[i]! - 10 ** (6 / 20)) < 1e-5);
});

test('many files decode side by side', async () => {
  const names = recordings.map(({ name }) => name);
  const together = await Promise.all([...names, ...names].map(async (name) => (await decodeSound(await sample(name), name)).samples.length));
  assert.deepEqual(together, [...recordings, ...recordings].map(({ length }) => length));
});
