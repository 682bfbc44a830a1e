import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { spectrogram } from '../../src/audio/index.ts';
import { listHooks, openMultiEncoder } from '../../src/encoders/index.ts';
import { fixture } from '../support/paths.ts';
import { signal } from './signal.ts';
import { relativeDifference } from './torch.ts';

/** Per model: hook point -> [first number in NAME.f32, rows, width]; made by test/fixtures/encoders/make.py. */
const expected: Record<string, Record<string, [number, number, number]>> = JSON.parse(readFileSync(fixture('encoders', 'expected.json'), 'utf8'));

function values(model: string, hook: string): Float32Array {
  const [offset, rows, width] = expected[model]![hook]!, bytes = readFileSync(fixture('encoders', `${model}.f32`));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength), 4 * offset, rows * width);
}

/** Rows of the stored tokens of AST: 2 of the whole clip, then 12 bands of 5 patches; as frames come: 5 times 12. */
function inTime(tokens: Float32Array): Float32Array {
  const before = tokens.length / 16 - 60;
  return Float32Array.from({ length: 60 * 16 }, (_, i) => {
    const row = Math.floor(i / 16);
    return tokens[(before + (row % 12) * 5 + Math.floor(row / 12)) * 16 + (i % 16)]!;
  });
}

/** What a path says of it, the tolerance in relative L2: float32, float16 with its 11 bits, dynamic int8. */
const files: [file: string, model: string, family: string, tolerance: number][] = [
  ['hubert-large', 'hubert-large', 'wav2vec2', 1e-5], // TorchScript, norm first, norms in the convolutions
  ['hubert-large-fused', 'hubert-large', 'wav2vec2', 1e-5], // through onnxruntime.transformers.optimizer
  ['hubert-large-fp16', 'hubert-large', 'wav2vec2', 4e-3], // input and output too
  ['hubert-large-fp16-io', 'hubert-large', 'wav2vec2', 4e-3], // casts at the end of the file, out of order
  ['hubert-large-int8', 'hubert-large', 'wav2vec2', 0.06],
  ['wav2vec2-optimised', 'wav2vec2', 'wav2vec2', 1e-5], // dynamo, then ONNX Runtime's extended optimisation, which drops all paths
  ['moonshine', 'moonshine', 'moonshine', 1e-4], // dynamo
  ['ast', 'ast', 'ast', 1e-5],
];

describe('every hook point by one name', () => {
  for (const [file, model, family, tolerance] of files) {
    test(`${file}: all of them equal what PyTorch's modules compute`, async () => {
      const path = fixture('encoders', `${file}.onnx`);
      const described = await listHooks(path);
      const hooks = described.hooks.map(({ name }) => name);
      assert.equal(described.family, family);
      const known = Object.keys(expected[model]!);
      // The convolutions of Moonshine are no module of their own; what they make enters the first layer.
      assert.deepEqual(hooks.filter((name) => name !== 'encoder.conv' || known.includes(name)).sort(), known.sort());
      const width = (name: string) => (expected[model]![name] ?? expected[model]!['encoder.embeddings']!)[2];
      for (const { name, shape } of described.hooks) assert.equal(shape.at(-1), width(name), `width of ${name}`);
      const encoder = await openMultiEncoder({ model: path, hooks, normalize: family === 'ast', spectrogram });
      const { frames, rows, valid } = await encoder.encode(signal(family === 'ast' ? 6400 : 4000));
      await encoder.close();
      // 6400 samples are 38 rows of spectrogram, in which 4 patches begin.
      assert.deepEqual([rows, valid], family === 'ast' ? [60, 48] : [frames[0]!.length / encoder.hooks[0]!.dIn, rows]);
      for (const [n, name] of hooks.entries()) {
        const stored = values(model, name === 'encoder.conv' && !known.includes(name) ? 'encoder.embeddings' : name);
        const off = relativeDifference(frames[n]!, family === 'ast' ? inTime(stored) : stored);
        assert.ok(off < tolerance, `${name} is off by ${off}`);
      }
    });
  }

  test('the notes say where the final norm is', async () => {
    const notes = async (file: string) => {
      const { hooks } = await listHooks(fixture('encoders', `${file}.onnx`));
      return [hooks.find(({ name }) => name === 'encoder.layers.1')!.note, hooks.at(-1)!.note].join(' | ');
    };
    for (const file of ['hubert-large', 'hubert-large-fused', 'hubert-large-int8', 'moonshine', 'ast']) {
      assert.match(await notes(file), /after the last block, before the final norm \| .*, after the final norm$/, file);
    }
    assert.match(await notes('wav2vec2-optimised'), /no final norm follows \| .*the same tensor as encoder\.layers\.1: no final norm$/);
  });
});
