import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openSpliceable, type EncoderOutput, type SpeechHead, type SpliceableModel, type SpliceableOptions } from '../../src/encoders/index.ts';
import { fails } from '../support/fails.ts';
import { ctcConfig, ctcVocabulary, spoken, tinyCtc } from './tiny-ctc.ts';
import { decoderGraphs, plainLogits, tinyDecoder } from './tiny-decoder.ts';
import { model, node, tensor, tinyEncoder, value, type GraphParts } from './tiny-onnx.ts';

const sound = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * i * 1e-3));
const close = (actual: Float32Array, expected: readonly Float64Array[]) => {
  assert.equal(actual.length, expected.reduce((sum, row) => sum + row.length, 0));
  actual.forEach((x, i) => assert.ok(Math.abs(x - expected[Math.floor(i / expected[0]!.length)]![i % expected[0]!.length]!) < 2e-4));
};
const largest = (row: Float64Array, allowed: (token: number) => boolean = () => true) =>
  row.reduce((best, x, token) => (allowed(token) && (best < 0 || x > row[best]!) ? token : best), -1);

/** The tiny encoder without the head in its graph: [1, frames, 4]. */
function bareEncoder(): GraphParts {
  const parts = tinyEncoder();
  return { ...parts, nodes: parts.nodes.slice(0, -1), outputs: [value('/encoder/layers.1/Add_1_output_0', ['batch', 'frames', 4])] };
}

/** Letters of the alphabet are tokens 4 to 29, with a space before them 30 to 55; byte-level, as Whisper's. */
function tokenizer(): Record<string, unknown> {
  const letters = [...'abcdefghijklmnopqrstuvwxyz'];
  const vocab = Object.fromEntries([['Ġ', 3], ...letters.map((letter, i) => [letter, 4 + i]), ...letters.map((letter, i) => [`Ġ${letter}`, 30 + i])]);
  const added = ['<|endoftext|>', '<|startoftranscript|>', '<|en|>', '<|ru|>', '<|transcribe|>', '<|notimestamps|>', '<|0.00|>'];
  return {
    version: '1.0', normalizer: null, post_processor: null,
    added_tokens: added.map((content, i) => ({ id: i < 2 ? i + 1 : 54 + i, content, special: content !== '<|0.00|>', single_word: false, lstrip: false, rstrip: false, normalized: false })),
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab, merges: letters.map((letter) => `Ġ ${letter}`), byte_fallback: false },
  };
}
const vocabulary = 61;
const multilingual = {
  decoder_start_token_id: 2, eos_token_id: 1, lang_to_id: { '<|en|>': 56, '<|ru|>': 57 }, task_to_id: { transcribe: 58 }, no_timestamps_token_id: 59,
  suppress_tokens: [26, 49], begin_suppress_tokens: [1, 37], max_length: 16,
};

describe('decoders', () => {
  let folder: string;
  const decoder = tinyDecoder(vocabulary, 5), graphs = decoderGraphs(decoder);
  type Files = Partial<Record<'alone' | 'withPast' | 'merged', boolean>> & { said?: unknown; tokens?: unknown; encoder?: GraphParts; suffix?: string };
  /** A folder as optimum writes it. */
  const save = async (name: string, { said = { decoder_start_token_id: 2, eos_token_id: 1 }, tokens = tokenizer(), encoder = bareEncoder(), suffix = '', ...which }: Files) => {
    const place = join(folder, name, 'onnx');
    await mkdir(place, { recursive: true });
    await writeFile(join(place, `encoder_model${suffix}.onnx`), model(encoder));
    const names = { alone: 'decoder_model', withPast: 'decoder_with_past_model', merged: 'decoder_model_merged' } as const;
    for (const key of ['alone', 'withPast', 'merged'] as const) if (which[key]) await writeFile(join(place, `${names[key]}${suffix}.onnx`), model(graphs[key]));
    await writeFile(join(folder, name, 'generation_config.json'), JSON.stringify(said));
    if (tokens) await writeFile(join(folder, name, 'tokenizer.json'), JSON.stringify(tokens));
    return join(folder, name);
  };
  const opened = async <T>(path: string, work: (head: SpeechHead, output: EncoderOutput, spliceable: SpliceableModel) => Promise<T>, options: Partial<SpliceableOptions> = {}, samples = sound(40)): Promise<T> => {
    const spliceable = await openSpliceable({ model: path, hook: 'encoder.out', ...options });
    try {
      const clip = await spliceable.open(samples), [output] = await clip.rest(clip.frames);
      return await work(spliceable.head!, output!, spliceable);
    } finally {
      await spliceable.close();
    }
  };
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cochlea-heads-'));
  });
  after(() => rm(folder, { recursive: true }));

  /** Greedy decoding in float64, without a cache. */
  const greedy = (states: Float32Array, prompt: readonly number[], most: number, allowed: (token: number, first: boolean) => boolean = () => true, end = 1) => {
    const tokens: number[] = [], rows: Float64Array[] = [];
    while (tokens.length < most && tokens.at(-1) !== end) {
      rows.push(plainLogits(decoder, states, [...prompt, ...tokens]).at(-1)!);
      tokens.push(largest(rows.at(-1)!, (token) => allowed(token, tokens.length === 0)));
    }
    return { tokens, rows };
  };

  for (const [what, files] of [
    ['one graph, no cache', { alone: true }], ['one graph and one with the past', { alone: true, withPast: true }], ['both in one behind a flag', { merged: true }],
  ] as const) {
    test(`${what}: greedy and teacher-forced logits are those of plain arithmetic`, async () => {
      const path = await save(what, { ...files, said: { decoder_start_token_id: 2, eos_token_id: 60, max_length: 14 } });
      await opened(path, async (head, output) => {
        assert.deepEqual([head.kind, head.vocabulary], ['seq2seq', vocabulary]);
        const { tokens, logits, prompt } = await head.transcribe(output);
        const expected = greedy(output.frames, [2], 13, undefined, 60);
        assert.deepEqual([tokens, prompt], [expected.tokens, [2]]);
        assert.ok(tokens.length > 4);
        close(logits, expected.rows);
        const other = [9, 33, 2, 0, 60];
        close(await head.forced(output, other), plainLogits(decoder, output.frames, [2, ...other.slice(0, -1)]));
        close(await head.forced(output, tokens), expected.rows);
        assert.equal((await head.forced(output, [])).length, 0);
        assert.deepEqual(await head.transcribe(output), { tokens, logits, prompt });
        await assert.rejects(head.forced(output, [vocabulary]), fails('usage', /61 is no token: there are 61, from 0 on/));
        const broken = { ...output, data: output.data.map(() => NaN) };
        await assert.rejects(head.transcribe(broken), fails('not-finite', /the decoder made NaN/));
      });
    });
  }

  test('Whisper\'s prompt, suppressed tokens and language; the language that the model hears, where none is named', async () => {
    const path = await save('multilingual', { merged: true, said: multilingual });
    const allowed = (token: number, first: boolean) => ![26, 49].includes(token) && !(first && [1, 37].includes(token));
    for (const [language, token] of [['en', 56], ['ru', 57], [undefined, undefined]] as const) {
      await opened(path, async (head, output) => {
        const heard = largest(plainLogits(decoder, output.frames, [2])[0]!, (id) => id === 56 || id === 57);
        const prompt = [2, token ?? heard, 58, 59], transcript = await head.transcribe(output);
        const expected = greedy(output.frames, prompt, 16 - 4, allowed);
        assert.deepEqual([transcript.prompt, transcript.tokens], [prompt, expected.tokens]);
        assert.notDeepEqual(expected.tokens, greedy(output.frames, prompt, 16 - 4).tokens);
        assert.notDeepEqual(expected.tokens, greedy(output.frames, prompt, 16 - 4, (id) => allowed(id, false)).tokens);
        close(transcript.logits, expected.rows);
        close(await head.forced(output, [10, 11]), plainLogits(decoder, output.frames, [...prompt, 10]).slice(3));
        close(await head.forced(output, [10, 11], [2, 56, 58, 59]), plainLogits(decoder, output.frames, [2, 56, 58, 59, 10]).slice(3));
      }, { language });
    }
    await assert.rejects(openSpliceable({ model: path, hook: 'encoder.out', language: 'fr' }), fails('usage', /no language 'fr': it knows en, ru$/));
    const english = await save('english', { merged: true, said: { ...multilingual, lang_to_id: undefined, forced_decoder_ids: [[2, 59], [1, 56]] } });
    await opened(english, async (head, output) => assert.deepEqual((await head.transcribe(output)).prompt, [2, 56, 59]));
    await assert.rejects(openSpliceable({ model: english, hook: 'encoder.out', language: 'en' }), fails('usage', /knows no languages to choose from/));
  });

  test('a real Whisper encoder: all 1,500 rows go to the decoder, and texts begin with a space', async () => {
    const kernel = Float32Array.from({ length: 4 * 80 * 3 }, (_, i) => (i % 3 === 1 && i % 240 < 12 ? Math.sin(i) : 0));
    const encoder: GraphParts = {
      nodes: [
        node('Conv', ['input_features', 'kernel'], ['c'], { attributes: { kernel_shape: [3], strides: [2], pads: [1, 1] } }),
        node('Transpose', ['c'], ['last_hidden_state'], { attributes: { perm: [0, 2, 1] } }),
      ],
      tensors: [tensor('kernel', [4, 80, 3], kernel)], inputs: [value('input_features', ['batch', 80, 3000])], outputs: [value('last_hidden_state', ['batch', 1500, 4])],
    };
    const path = await save('whisper', { merged: true, said: multilingual, encoder });
    const features = (samples: Float32Array, mels: number) => Float32Array.from({ length: mels * 3000 }, (_, i) => samples[i % 3000] ?? -1);
    await opened(path, async (head, output, { model: { family } }) => {
      assert.deepEqual([family, output.valid, output.dims], ['whisper', 100, [1, 1500, 4]]);
      close(await head.forced(output, [10]), plainLogits(decoder, output.data, [2, 56, 58, 59]).slice(3));
      assert.deepEqual(head.encode!('a bc'), [30, 31, 6, 1]);
      assert.equal(head.text([2, 56, 58, 59, 60, 30, 31, 6, 1]), 'a bc');
    }, { features, language: 'en' }, sound(32_000));
  });

  test('Moonshine ends a text after six tokens per second of sound, and its npm packages need no tokenizer', async () => {
    const path = await save('moonshine', { merged: true, said: {}, tokens: null });
    await rm(join(path, 'generation_config.json'));
    await opened(path, async (head, output) => {
      const { tokens, prompt } = await head.transcribe(output);
      assert.deepEqual(prompt, [1]);
      assert.deepEqual(tokens, greedy(output.frames, [1], 5, undefined, 2).tokens);
      assert.equal(head.text([1, 1126, 3237, 29889, 2259, 2]), 'And Mr. John');
      assert.deepEqual(head.encode!('And Mr. John'), [1126, 3237, 29889, 2259, 2]);
      assert.deepEqual([head.text([]), head.text([40_000])], ['', '']);
      assert.deepEqual(await head.transcribe({ ...output, seconds: 0.1 }), { tokens: [], logits: new Float32Array(0), prompt: [1] });
    }, { family: 'moonshine' }, sound(15_000));
  });

  test('a decoder of the encoder\'s precision is taken, or the one there is; head: false leaves it alone', async () => {
    const path = await save('half', { alone: true, suffix: '_fp16' });
    await opened(path, async (head) => assert.equal(head.kind, 'seq2seq'), { model: join(path, 'onnx', 'encoder_model_fp16.onnx') });
    const other = await save('other', { alone: true });
    await writeFile(join(other, 'onnx', 'encoder_model_q8.onnx'), model(bareEncoder()));
    await opened(other, async (head) => assert.equal(head.kind, 'seq2seq'), { model: join(other, 'onnx', 'encoder_model_q8.onnx') });
    await opened(other, async (head) => assert.equal(head, undefined), { model: join(other, 'onnx', 'encoder_model.onnx'), head: false });
  });

  test('what is missing or damaged beside a decoder is named', async () => {
    const open = (path: string) => openSpliceable({ model: path, hook: 'encoder.out' });
    await assert.rejects(open(await save('silent', { alone: true, said: {} })), fails('model', /nothing beside it says which tokens start and end a text/));
    await assert.rejects(open(await save('wordless', { alone: true, tokens: null })), fails('file-missing', /wordless: a decoder is there, but no tokenizer\.json/));
    await assert.rejects(open(await save('odd', { alone: true, tokens: { model: 3 } })), fails('file-damaged', /tokenizer\.json: not a tokenizer/));
    const path = await save('broken', { alone: true });
    await writeFile(join(path, 'generation_config.json'), '{');
    await assert.rejects(open(path), fails('file-damaged', /generation_config\.json: not JSON/));
    await writeFile(join(path, 'generation_config.json'), '{"decoder_start_token_id": 2, "eos_token_id": 1}');
    await writeFile(join(path, 'onnx', 'decoder_model.onnx'), model(graphs.withPast));
    await assert.rejects(open(path), fails('model', /it starts from a cache that only another graph makes/));
    await writeFile(join(path, 'onnx', 'decoder_model.onnx'), model({ ...graphs.alone, inputs: [...graphs.alone.inputs!, value('style', [1])] }));
    await assert.rejects(open(path), fails('model', /a decoder with an input 'style' is not supported/));
  });
});

describe('CTC heads', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cochlea-ctc-'));
  });
  after(() => rm(folder, { recursive: true }));
  const save = async (name: string, files: Record<string, unknown>) => {
    await mkdir(join(folder, name));
    await writeFile(join(folder, name, 'model.onnx'), model(tinyCtc()));
    for (const [file, content] of Object.entries(files)) await writeFile(join(folder, name, file), JSON.stringify(content));
    return { model: join(folder, name), hook: 'stream' };
  };

  for (const [what, files] of [
    ['vocab.json', { 'config.json': ctcConfig, 'vocab.json': ctcVocabulary, 'tokenizer_config.json': { pad_token: '<pad>', word_delimiter_token: '|' } }],
    ['tokenizer.json', { 'config.json': ctcConfig, 'tokenizer.json': { model: { vocab: { ...ctcVocabulary, C: undefined } }, added_tokens: [{ id: 7, content: 'C' }] } }],
  ] as const) {
    test(`repeats collapse, blanks part them, the delimiter parts words: ${what}`, async () => {
      const spliceable = await openSpliceable(await save(what, files)), { head } = spliceable;
      assert.deepEqual([head!.kind, head!.vocabulary], ['ctc', 8]);
      const clip = await spliceable.open(spoken([0, 5, 5, 0, 5, 6, 4, 4, 7, 7, 3, 2, 0, 7, 0])), [output] = await clip.rest(clip.frames);
      const { tokens, logits } = await head!.transcribe(output!);
      assert.deepEqual(tokens, [5, 5, 6, 4, 7, 3, 2, 7]);
      assert.equal(head!.text(tokens), 'AAB CC');
      assert.deepEqual(logits, output!.frames);
      assert.deepEqual(head!.encode!(' aab  c?'), [5, 5, 6, 4, 7, 3]);
      const [edited] = await clip.rest(clip.frames.map((x) => (x === 5 ? 6 : x)));
      assert.equal(head!.text((await head!.transcribe(edited!)).tokens), 'BB CC');
      await assert.rejects(head!.forced(output!, []), fails('usage', /a CTC head predicts no token/));
      await assert.rejects(head!.transcribe({ ...output!, frames: output!.frames.map(() => NaN) }), fails('not-finite', /the logits of frame 0 hold NaN/));
      await spliceable.close();
    });
  }

  test('of equal logits the smaller token wins', async () => {
    const spliceable = await openSpliceable(await save('ties', { 'config.json': ctcConfig, 'vocab.json': ctcVocabulary }));
    const clip = await spliceable.open(spoken([5.5, 0, 6.5])), [output] = await clip.rest(clip.frames);
    assert.deepEqual((await spliceable.head!.transcribe(output!)).tokens, [5, 6]);
    await spliceable.close();
  });

  test('an encoder alone has no head; a CTC model without its vocabulary says what is missing', async () => {
    const alone = await openSpliceable(await save('alone', { 'config.json': { architectures: ['HubertModel'] }, 'vocab.json': ctcVocabulary }));
    assert.equal(alone.head, undefined);
    await alone.close();
    await assert.rejects(openSpliceable(await save('mute', { 'config.json': ctcConfig })), fails('file-missing', /a CTC model without vocab\.json or tokenizer\.json/));
    await assert.rejects(
      openSpliceable(await save('blankless', { 'config.json': { architectures: ['HubertForCTC'] }, 'vocab.json': { A: 0, B: 1 } })), fails('model', /nothing says which token is the blank/),
    );
  });
});
