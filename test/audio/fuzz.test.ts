import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { decodeSound } from '../../src/audio/decode.ts';
import { CochleaError } from '../../src/errors.ts';
import { RandomStream } from '../../src/random.ts';
import { fixChecksums, mutate } from './mutate.ts';
import { sample, wav } from './sounds.ts';

const seed = 20261122;
const rounds = 200;

// FFmpeg and libopus write their own complaints to the console, hundreds of them here.
const { error } = console;
before(() => void (console.error = () => {}));
after(() => void (console.error = error));

const tone = wav(Array.from({ length: 8000 }, (_, i) => Math.round(9000 * Math.sin(i / 7))), { channels: 2 });

const files = ['tone.wav', 'chirp-16bit.flac', 'chirp.mp3', 'chirp-untagged.mp3', 'chirp-vorbis.ogg', 'chirp.opus', 'chirp.m4a', 'chirp.aac'];

for (const [stream, name] of files.entries()) {
  const isOgg = /ogg|opus/.test(name);
  test(`${rounds} damaged copies of ${name} give an error or finite sound (seed ${seed})`, async () => {
    const whole = name === 'tone.wav' ? tone : await sample(name);
    const random = new RandomStream(seed, 1000 + stream);
    let errors = 0;
    for (let round = 0; round < rounds; round++) {
      const damaged = mutate(whole, random);
      // Every second Ogg file gets its checksums mended, or no damage would ever reach the decoders.
      if (isOgg && round % 2 === 0) fixChecksums(damaged);
      try {
        const { samples, sampleRate } = await decodeSound(damaged, name);
        assert.ok(samples.length > 0 && sampleRate > 0 && samples.every(Number.isFinite), `round ${round}`);
      } catch (failure) {
        assert.ok(failure instanceof CochleaError && failure.code === 'audio', `round ${round}: ${String(failure)}`);
        assert.ok(failure.message.startsWith(`${name}: `) && !failure.line.includes('\n'), failure.line);
        errors++;
      }
    }
    assert.ok(errors > rounds / 5, `only ${errors} of ${rounds} were noticed`);
    const { samples } = await decodeSound(whole, name);
    assert.ok(samples.length > 0, 'the decoder still works afterwards');
  });
}

test('random bytes behind every magic number are an error', async () => {
  const random = new RandomStream(seed, 2000);
  const heads = ['RIFF\0\0\0\0WAVEfmt ', 'fLaC', 'OggS', '\0\0\0\x18ftypM4A ', '\xff\xfb\x90\x64', '\xff\xf1\x50\x80', 'ID3\x04\0\0\0\0\0\0'];
  for (const head of heads) {
    for (let round = 0; round < 20; round++) {
      const noise = Uint8Array.from({ length: 4000 }, () => random.below(256));
      noise.set(Uint8Array.from(head, (c) => c.charCodeAt(0)));
      await assert.rejects(decodeSound(noise, 'noise'), (failure) => failure instanceof CochleaError && failure.code === 'audio');
    }
  }
});
