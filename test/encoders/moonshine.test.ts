/** Moonshine tiny with its real weights, from sound to words and back to the middle of the model. */
import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { listClips, loadClip } from '../../src/audio/index.ts';
import { openEncoder, openSpliceable, type SpliceableModel } from '../../src/encoders/index.ts';
import { repo } from '../support/paths.ts';
import { unreachable } from './npm.ts';

const words = (text: string): string[] => text.toLowerCase().replace(/\bmr\./g, 'mister').replace(/[^a-z ]/g, ' ').split(' ').filter((word) => word !== '');

/** Words that have to be changed, added or taken out. */
function edits(a: readonly string[], b: readonly string[]): number {
  let row = b.map((_, j) => j + 1);
  row.unshift(0);
  a.forEach((word, i) => {
    const next = [i + 1];
    b.forEach((other, j) => next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (word === other ? 0 : 1))));
    row = next;
  });
  return row.at(-1)!;
}

describe('Moonshine tiny', () => {
  const model = 'moonshine-tiny';
  let reason: string | undefined, spliceable: SpliceableModel | undefined;
  const clips: { text: string; samples: Float32Array }[] = [];
  before(async () => {
    reason = await unreachable(model) ?? await unreachable(model, 'decoder');
    if (reason !== undefined) return;
    spliceable = await openSpliceable({ model, hook: 'encoder.layers.3' });
    const listed = (await listClips([repo('demo', 'audio', 'manifest.csv')])).clips.filter(({ labels }) => labels['language'] === 'en');
    for (const clip of listed) clips.push({ text: clip.labels['text']!, samples: (await loadClip(clip, spliceable.sampleRate)).samples });
  });
  after(() => spliceable?.close());
  const ready = (t: TestContext): boolean => {
    if (reason !== undefined) t.skip(reason);
    return reason === undefined;
  };

  test('real recordings are transcribed, and the tokens are those that its tokenizer makes of the words', async (t) => {
    if (!ready(t)) return;
    const head = spliceable!.head!, said: string[] = [];
    let wrong = 0, count = 0;
    for (const { text, samples } of clips) {
      const clip = await spliceable!.open(samples), [output] = await clip.rest(clip.frames);
      const { tokens } = await head.transcribe(output!), heard = head.text(tokens);
      clip.dispose();
      said.push(heard);
      assert.equal(tokens.at(-1), 2);
      assert.deepEqual(head.encode!(heard), tokens);
      wrong += edits(words(heard), words(text));
      count += words(text).length;
    }
    assert.deepEqual(words(said[0]!), words(clips[0]!.text));
    assert.deepEqual(words(said[4]!), words(clips[4]!.text));
    // One slip ("ill-sposed") is the model's; of another sentence the reader's "a more a amiable" is mended.
    assert.ok(clips.length === 5 && count === 71 && wrong <= 2, `${wrong} of ${count} words: ${said.join(' / ')}`);
  });

  test('the untouched stream: the model\'s own bits, tokens and logits, at every layer', async (t) => {
    if (!ready(t)) return;
    const head = spliceable!.head!, { samples } = clips[4]!;
    const encoder = await openEncoder({ model, hook: 'encoder.out' }), { frames } = await encoder.encode(samples);
    await encoder.close();
    const whole = { data: frames, dims: [1, frames.length / 288, 288], frames, valid: frames.length / 288, seconds: samples.length / 16_000 };
    const own = await head.transcribe(whole), forced = await head.forced(whole, own.tokens);
    for (let layer = 0; layer < 6; layer++) {
      const cut = layer === 3 ? spliceable! : await openSpliceable({ model, hook: `encoder.layers.${layer}`, head: false });
      const clip = await cut.open(samples), [output] = await clip.rest(clip.frames);
      assert.deepEqual(output, whole, `layer ${layer}`);
      if (layer === 3) {
        assert.deepEqual(await head.transcribe(output!), own);
        assert.deepEqual(await head.forced(output!, own.tokens), forced);
      } else await cut.close();
    }
    // Teacher forcing computes in one pass what greedy decoding computed token by token.
    assert.ok(own.logits.every((x, i) => Math.abs(x - forced[i]!) < 1e-3));
  });

  test('another clip\'s stream brings its words along; a stream of zeros brings none of them', async (t) => {
    if (!ready(t)) return;
    const head = spliceable!.head!, [long, short] = [clips[3]!.samples, clips[4]!.samples];
    const donor = await spliceable!.open(long.subarray(0, short.length)), clip = await spliceable!.open(short);
    assert.equal(donor.frames.length, clip.frames.length);
    const heard = async (frames: Float32Array): Promise<string> => head.text((await head.transcribe((await clip.rest(frames))[0]!)).tokens);
    const [wanted] = await donor.rest(donor.frames), [got] = await clip.rest(donor.frames);
    assert.deepEqual(got, wanted);
    assert.match(await heard(donor.frames), /^Had he married/);
    assert.equal(await heard(clip.frames), 'He might even have been made amiable himself.');
    assert.ok(edits(words(await heard(new Float32Array(clip.frames.length))), words(clips[4]!.text)) >= 7);
  });
});
