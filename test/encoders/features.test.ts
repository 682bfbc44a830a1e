import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { spectrogram, whisperFeatures } from '../../src/audio/index.ts';
import { openEncoder } from '../../src/encoders/index.ts';
import { fixture } from '../support/paths.ts';
import { fails } from '../support/fails.ts';
import { signal } from './signal.ts';
import { integers, model, node, tensor, value, type GraphParts } from './tiny-onnx.ts';

/** Some frames of what the feature extractors of Transformers make of 1.5 s, [frames, bands]; test/fixtures/encoders/make.py. */
const stored: Record<string, { frames: number[]; values: number[][] }> = JSON.parse(readFileSync(fixture('encoders', 'features.json'), 'utf8'));

function worst(name: string, at: (frame: number, band: number) => number): number {
  const { frames, values } = stored[name]!;
  return Math.max(...frames.flatMap((frame, row) => values[row]!.map((wanted, band) => Math.abs(at(frame, band) - wanted))));
}

/** What a model is given: an encoder that hands its input on, `input` being its shape and `nodes` making a [1, rows, width] 'out' of it. */
async function given(input: (number | string)[], parts: Omit<GraphParts, 'inputs' | 'outputs'>, options: object, samples: Float32Array) {
  const folder = await mkdtemp(join(tmpdir(), 'cochlea-features-'));
  try {
    const path = join(folder, 'model.onnx');
    await writeFile(path, model({ ...parts, inputs: [value('x', input)], outputs: [value('out', [1, 'rows', 'width'])] }));
    const encoder = await openEncoder({ model: path, hook: 'encoder.out', features: whisperFeatures, spectrogram, ...options });
    const result = await encoder.encode(samples);
    await encoder.close();
    return { ...result, family: encoder.model.family, frameRate: encoder.frameRate };
  } finally {
    await rm(folder, { recursive: true });
  }
}

// A patch for every other row and band of a spectrogram: a kernel of 1 by 1 with stride 2.
const patches: GraphParts = {
  nodes: [node('Unsqueeze', ['x', 'axis'], ['image']), node('Transpose', ['image'], ['turned'], { attributes: { perm: [0, 1, 3, 2] } }),
    node('Conv', ['turned', 'k'], ['patches'], { attributes: { kernel_shape: [1, 1], strides: [2, 2] } }),
    node('Reshape', ['patches', 'flat'], ['rows']), node('Transpose', ['rows'], ['out'], { attributes: { perm: [0, 2, 1] } })],
  tensors: [integers('axis', [1]), integers('flat', [1, 1, -1]), tensor('k', [1, 1, 1, 1], [1])],
};

describe('what a model is given equals what the feature extractors of Transformers make', () => {
  for (const mels of [80, 128] as const) {
    test(`Whisper, ${mels} bands`, () => {
      const features = whisperFeatures(signal(24_000), mels);
      const off = worst(`whisper-${mels}`, (frame, band) => features[band * 3000 + frame]!);
      assert.ok(off < 1e-4, `off by ${off}`);
    });
  }

  test('wav2vec 2.0 and its kin', async () => {
    const identity: GraphParts = {
      nodes: [node('Unsqueeze', ['x', 'axis'], ['t']), node('Conv', ['t', 'k'], ['c'], { attributes: { kernel_shape: [2], strides: [2] } }),
        node('Transpose', ['c'], ['out'], { attributes: { perm: [0, 2, 1] } })],
      tensors: [integers('axis', [1]), tensor('k', [2, 1, 2], [1, 0, 0, 1])],
    };
    for (const family of ['wav2vec2', 'mert']) {
      const { frames, frameRate } = await given(['batch', 'samples'], identity, { family }, signal(24_000));
      const off = worst('wav2vec2', (frame) => frames[frame]!);
      assert.ok(off < 1e-4, `off by ${off}`);
      assert.equal(frameRate, family === 'mert' ? 12_000 : 8000);
    }
  });

  test('AST', async () => {
    const { frames, family, rows, valid, frameRate } = await given(['batch', 1024, 128], patches, {}, signal(24_000));
    assert.equal(family, 'ast');
    // 148 rows of spectrogram: 74 steps of 64 patches, of 512.
    assert.deepEqual([rows, valid], [512 * 64, 74 * 64]);
    assert.ok(Math.abs(frameRate - 64 * 50) < 1e-9);
    // All stored rows and bands, of the extractor's own 1024 rows; padding is 0 before it is brought to scale, as the model sees it too.
    const bands = spectrogram(signal(24_000), { kind: 'kaldi', sampleRate: 16_000, mels: 128 });
    const off = worst('ast', (frame, band) => ((bands[frame * 128 + band] ?? 0) + 4.2677393) / (2 * 4.5689974));
    assert.ok(off < 1e-4, `off by ${off}`);
    const { frames: which, values } = stored['ast']!;
    for (const [n, frame] of which.entries()) {
      if (frame % 2 === 1) continue;
      values[n]!.forEach((wanted, band) => {
        if (band % 2 === 0) assert.ok(Math.abs(frames[(frame / 2) * 64 + band / 2]! - wanted) < 1e-4, `frame ${frame}, band ${band}`);
      });
    }
  });

  test('AST: a long clip in windows has the patches of the whole clip, in order of time', async () => {
    const sound = signal(26 * 16_000 + 77).map((x, i) => x + 0.3 * Math.sin(i * i * 1e-6)), all = spectrogram(sound, { kind: 'kaldi', sampleRate: 16_000, mels: 128 });
    const { frames, rows, valid } = await given(['batch', 1024, 128], patches, {}, sound);
    const steps = Math.ceil(all.length / 128 / 2);
    assert.deepEqual([rows, valid], [3 * 512 * 64, steps * 64]);
    for (let row = 0; row < valid; row++) {
      const wanted = (all[2 * Math.floor(row / 64) * 128 + 2 * (row % 64)]! + 4.2677393) / (2 * 4.5689974);
      assert.ok(Math.abs(frames[row]! - wanted) < 1e-5, `row ${row}`);
    }
    await assert.rejects(given(['batch', 1024, 128], patches, { spectrogram: undefined }, sound), fails('usage', /AST encoder needs a spectrogram/));
  });
});
