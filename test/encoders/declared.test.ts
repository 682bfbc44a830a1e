import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { spectrogram } from '../../src/audio/index.ts';
import { listHooks, openEncoder, type DeclaredInput, type EncoderOptions } from '../../src/encoders/index.ts';
import { fails } from '../support/fails.ts';
import { integers, model, node, tensor, tinyEncoder, value, type GraphParts } from './tiny-onnx.ts';

const ramp = (length: number) => Float32Array.from({ length }, (_, i) => i + 1);

/** Puts every `n` values of a waveform into one row: [1, samples] -> [1, rows, n]. */
const rowsOf = (n: number, input: (number | string)[]): GraphParts => ({
  nodes: [node('Reshape', ['x', 'shape'], ['out'])], tensors: [integers('shape', [1, -1, n])],
  inputs: [value('x', input)], outputs: [value('out', [1, 'rows', n])],
});

/** Adds up three frames of a spectrogram to a row: a convolution of kernel 3 and stride 2 over [1, mels, frames]. */
const folded = (mels: number, input: (number | string)[], turn: boolean): GraphParts => ({
  nodes: [
    ...(turn ? [node('Transpose', ['x'], ['bands'], { attributes: { perm: [0, 2, 1] } })] : [node('Abs', ['x'], ['size']), node('Sub', ['x', 'size'], ['negative']), node('Add', ['negative', 'size'], ['bands'])]),
    node('Conv', ['bands', 'k'], ['c'], { attributes: { kernel_shape: [3], strides: [2] } }), node('Transpose', ['c'], ['out'], { attributes: { perm: [0, 2, 1] } }),
  ],
  tensors: [tensor('k', [1, mels, 3], new Float32Array(mels * 3).fill(1))],
  inputs: [value('x', input)], outputs: [value('out', [1, 'rows', 1])],
});

describe('a model of no known family, its input declared', () => {
  let folder: string;
  before(async () => { folder = await mkdtemp(join(tmpdir(), 'cochlea-declared-')); });
  after(() => rm(folder, { recursive: true }));
  const save = async (name: string, parts: GraphParts, declared?: unknown): Promise<string> => {
    await mkdir(join(folder, name), { recursive: true });
    await writeFile(join(folder, name, 'model.onnx'), model(parts));
    if (declared !== undefined) await writeFile(join(folder, name, 'cochlea-input.json'), JSON.stringify(declared));
    return join(folder, name);
  };
  const encode = async (path: string, samples: Float32Array, options: Partial<EncoderOptions> = {}) => {
    const encoder = await openEncoder({ model: path, hook: 'encoder.out', spectrogram, ...options });
    try {
      return { ...encoder, ...await encoder.encode(samples) };
    } finally {
      await encoder.close();
    }
  };

  test('a waveform of fixed length is cut and padded; rows of padding are not valid', async () => {
    const path = await save('fixed', rowsOf(5, [1, 20]), { kind: 'waveform', sampleRate: 1000, length: 20, perRow: 5 });
    assert.equal((await listHooks(path)).family, 'declared');
    const { model: { family }, frames, rows, valid, dIn, frameRate, sampleRate } = await encode(path, ramp(47));
    assert.deepEqual([family, rows, valid, dIn, frameRate, sampleRate], ['declared', 12, 10, 5, 200, 1000]);
    assert.deepEqual(frames, Float32Array.from({ length: 60 }, (_, i) => (i < 47 ? i + 1 : 0)));
    assert.equal((await encode(path, ramp(1))).valid, 1);
  });

  test('a waveform of any length takes the clock of its convolutions, and mean 0 and variance 1 when it says so', async () => {
    const parts = tinyEncoder(), input: DeclaredInput = { kind: 'waveform', sampleRate: 8000, normalize: true };
    const path = await save('clocked', parts);
    const given = await encode(path, ramp(101), { hook: 'encoder.embeddings', input });
    const known = await encode(path, ramp(101), { hook: 'encoder.embeddings', family: 'wav2vec2', sampleRate: 8000 });
    assert.deepEqual([given.frames, given.rows, given.valid, given.frameRate], [known.frames, known.rows, known.valid, 4000]);
  });

  for (const kind of ['kaldi', 'log-mel'] as const) {
    test(`a ${kind} spectrogram is made, scaled, turned and padded as declared`, async () => {
      const sampleRate = 8000, mels = 12, length = 21, samples = ramp(4500).map((x) => Math.sin(x * x * 1e-4));
      const sizes = { nFft: 256, hop: 80, fMin: 50, fMax: 3000 }, seen = spectrogram(samples, { kind, sampleRate, mels, ...sizes });
      const sounding = kind === 'kaldi' ? 1 + Math.floor((4500 - 200) / 80) : Math.ceil(4500 / 80);
      // Windows of 21 frames begin every 10 rows of 2 frames; a row needs 3 frames.
      const total = Math.floor((sounding - 3) / 2) + 1;
      for (const melsFirst of [true, false]) {
        const declared = { kind, sampleRate, mels, length, mean: -3, std: 2, log: 'log10', melsFirst, ...(kind === 'log-mel' && sizes) };
        const path = await save(`${kind}-${melsFirst}`, folded(mels, melsFirst ? [1, mels, length] : [1, length, mels], !melsFirst), declared);
        const { frames, rows, valid, frameRate } = await encode(path, samples);
        assert.deepEqual([rows, valid, frameRate], [10 * Math.ceil(total / 10), total, 50]);
        for (let row = 0; row < valid; row++) {
          // Windows of centred frames see the mirrored edge of their own stretch of sound: compared are the rows away from it.
          if (kind === 'log-mel' && (row % 10 === 0 || row % 10 === 9)) continue;
          let sum = 0;
          for (let i = 0; i < 3 * mels; i++) sum += (Math.LOG10E * seen[2 * row * mels + i]! + 3) / 2;
          assert.ok(Math.abs(frames[row]! - sum) < 1e-3, `row ${row}: ${frames[row]} for ${sum}`);
        }
        if (rows > valid + 1) assert.ok(Math.abs(frames[rows - 1]! - 3 * mels * 1.5) < 1e-4, 'padding is 0 before mean and std');
      }
    });
  }

  test('what cannot be is refused by the file and what is wrong in it', async () => {
    const cases: [unknown, RegExp][] = [
      [[], /cochlea-input\.json: it is no JSON object/], [{ kind: 'tape', sampleRate: 1 }, /kind is "tape", not one of waveform, kaldi, log-mel/],
      [{ kind: 'waveform', sampleRate: 0.5 }, /sampleRate is 0\.5, not a whole number/], [{ kind: 'waveform' }, /kind and sampleRate must be there/],
      [{ kind: 'kaldi', sampleRate: 16_000 }, /a spectrogram needs mels/], [{ kind: 'waveform', sampleRate: 1, tempo: 3 }, /nothing is called 'tempo'/],
      [{ kind: 'kaldi', sampleRate: 1, mels: 8, std: 0 }, /std is 0, not a positive number/], [{ kind: 'waveform', sampleRate: 1, normalize: 1 }, /normalize is 1, not true or false/],
    ];
    for (const [declared, pattern] of cases) await assert.rejects(encode(await save('wrong', rowsOf(5, [1, 20]), declared), ramp(9)), fails('config', pattern));
    const path = await save('unsaid', rowsOf(5, [1, 20]));
    await assert.rejects(encode(path, ramp(9), { input: { kind: 'waveform', sampleRate: 1000 } }), fails('model', /how many samples a row stands for.*declare perRow/));
    await assert.rejects(encode(path, ramp(9), { family: 'declared' }), fails('usage', /nothing declares what it takes/));
    await assert.rejects(encode(path, ramp(9), { input: { kind: 'kaldi', sampleRate: 1000, mels: 4 }, spectrogram: undefined }), fails('usage', /declared to take a spectrogram/));
  });

  test('config.json tells MERT from HuBERT: 24 kHz, normalised', async () => {
    const path = await save('mert', tinyEncoder());
    await writeFile(join(path, 'config.json'), JSON.stringify({ model_type: 'mert_model' }));
    const { model: { family }, sampleRate, frames } = await encode(path, ramp(60), { hook: 'encoder.embeddings' });
    assert.deepEqual([family, sampleRate], ['mert', 24_000]);
    assert.deepEqual(frames, (await encode(path, ramp(60), { hook: 'encoder.embeddings', family: 'wav2vec2' })).frames);
  });
});
