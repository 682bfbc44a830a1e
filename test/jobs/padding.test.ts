/** One second of sound in a model's window of thirty: its frames are counted, stored, trained on and scored, and padding is nowhere. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ActivationStore, collect, type FrameSource, MixingBuffer } from '../../src/activations/index.ts';
import { loadClip, spectrogram, whisperFeatures } from '../../src/audio/index.ts';
import { openEncoder } from '../../src/encoders/index.ts';
import { collectFirings, evaluate } from '../../src/evaluation/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { openAudio } from '../../src/jobs/recordings/audio.ts';
import { extractActivations } from '../../src/jobs/extract.ts';
import { RandomStream } from '../../src/random.ts';
import { topkConfig } from '../../src/sae/index.ts';
import { readMetrics, trainerConfig, trainRun } from '../../src/training/index.ts';
import { wav } from '../audio/sounds.ts';
import { madeUpSae } from '../evaluation/made-up.ts';
import { assertClose } from '../support/numbers.ts';
import { paddedHook as hook, paddedModels, paddedWidth as width } from '../support/padded-models.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-padding-'));
after(() => rmSync(folder, { recursive: true }));
const clip = join(folder, 'one-second.wav');
writeFileSync(clip, wav(Array.from({ length: 16_000 }, (_, t) => Math.round(8000 * Math.sin(t * (0.05 + t * 4e-6)) + 3000 * Math.sin(t * t * 1e-4)))));

/** What is in the rows of padding: nothing; what would move every mean; what no store takes and what statistics leave out. */
const contents = { nothing: 0, loud: 1e6, NaN };
type Content = keyof typeof contents;

const sorted = (rows: Float32Array): number[][] => Array.from({ length: rows.length / width }, (_, row) => [...rows.subarray(row * width, (row + 1) * width)]).sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!);

for (const { family, frames, rows, files, make } of paddedModels) {
  describe(`the padding of a ${family} model`, () => {
    const place = (content: Content, ...parts: string[]): string => join(folder, family, content, ...parts);
    const options = (content: Content) => ({ model: place(content, 'model.onnx'), hook, audio: [clip] });
    const stores = {} as Record<Content, ActivationStore>;
    /** The frames that the encoder says are sound. */
    let expected: Float32Array;

    before(async () => {
      for (const content of Object.keys(contents) as Content[]) {
        mkdirSync(place(content), { recursive: true });
        writeFileSync(place(content, 'model.onnx'), make(contents[content]));
        for (const [name, text] of Object.entries(files)) writeFileSync(place(content, name), text);
        const result = await extractActivations({ ...options(content), out: place(content, 'store') });
        assert.deepEqual([result.frames, result.clips, result.skipped], [frames, 1, []]);
        stores[content] = await ActivationStore.open(place(content, 'store'));
      }
      const encoder = await openEncoder({ model: place('loud', 'model.onnx'), hook, features: whisperFeatures, spectrogram });
      assert.equal(encoder.model.family, family);
      const { samples } = await loadClip({ id: '', path: clip, labels: {} }, encoder.sampleRate);
      const encoded = await encoder.encode(samples);
      await encoder.close();
      assert.deepEqual([encoded.rows, encoded.valid], [rows, frames]);
      expected = encoded.frames.slice(0, frames * width);
      assert.ok(expected.every((value) => Math.abs(value) < 1000), 'a frame of sound is one of padding');
      assert.ok(encoded.frames.subarray(frames * width).every((value) => Math.abs(value) > 1e5), 'a frame of padding is one of sound');
    });

    test('is in no store and no statistic, whatever it holds', async () => {
      for (const store of Object.values(stores)) {
        const { manifest } = store, { x, time, clips } = await collect(store, 1 << 20);
        assert.deepEqual([manifest.rows, manifest.clips, x.length / width, clips.length, manifest.statistics!.rows], [frames, 1, frames, 1, frames]);
        assert.deepEqual(x, expected);
        assert.deepEqual([...time], [...Float32Array.from({ length: frames }, (_, i) => i / store.info.frameRate)]);
        assert.ok(time.every((seconds) => seconds < 1));
        const { mean, meanNorm, meanSquaredNorm } = await store.statistics();
        const norms = sorted(expected).map((row) => row.reduce((sum, value) => sum + value * value, 0));
        const means = Array.from({ length: width }, (_, d) => expected.filter((_, at) => at % width === d).reduce((a, b) => a + b, 0) / frames);
        assertClose([...mean, meanNorm, meanSquaredNorm], [...means, norms.reduce((a, b) => a + Math.sqrt(b), 0) / frames, norms.reduce((a, b) => a + b, 0) / frames]);
      }
      const shards = (content: Content): string => readFileSync(place(content, 'store', 'shards.jsonl'), 'utf8');
      assert.equal(new Set((Object.keys(contents) as Content[]).map(shards)).size, 1, 'the shards have other checksums');
    });

    test('is in no batch, of a store or straight from recordings', async () => {
      const epoch = async (source: FrameSource): Promise<void> => {
        const buffer = new MixingBuffer(source, { seed: 3, bufferRows: frames, batchRows: frames / 2, shuffle: true });
        const served = new Float32Array(frames * width);
        for (const half of [0, 1]) served.set((await buffer.next()).x as Float32Array, half * served.length / 2);
        assert.deepEqual(sorted(served), sorted(expected));
      };
      for (const content of Object.keys(contents) as Content[]) {
        await epoch(stores[content]);
        const audio = await openAudio(options(content));
        await epoch(audio.source());
        const statistics = await audio.source().statistics();
        assert.deepEqual([statistics.rows, statistics.mean, statistics.meanNorm], [frames, stores.nothing.manifest.statistics!.mean, stores.nothing.manifest.statistics!.meanNorm]);
        await audio.close();
      }
    });

    test('is in no mean of a window of frames', async () => {
      const pooled = await Promise.all((Object.keys(contents) as Content[]).map(async (content) => {
        const audio = await openAudio({ ...options(content), poolSeconds: 0.1 });
        const loaded = await audio.load(audio.clips[0]!);
        await audio.close();
        return loaded!;
      }));
      for (const { rows: windows, frames: x } of pooled) {
        assert.equal(windows, 10);
        assert.deepEqual(x, pooled[0]!.frames);
        const each = frames / 10;
        assertClose([...x.subarray(9 * width)], Array.from({ length: width }, (_, d) => Array.from({ length: each }, (_, n) => expected[(9 * each + n) * width + d]!).reduce((a, b) => a + b, 0) / each), 1e-5);
      }
    });

    test('is in no metric, no count and no top activation', async () => {
      const sae = madeUpSae(new RandomStream(5, 100), width, 12);
      const order = { seed: 0, epoch: undefined, from: 0 };
      const [first, ...others] = await Promise.all(Object.values(stores).map(async (store) => ({
        evaluation: await evaluate(sae, store.chunks(order)), firings: await collectFirings(sae, store.chunks(order), { top: 5, random: 200 }),
      })));
      const { evaluation, firings } = first!;
      assert.deepEqual([evaluation.frames, evaluation.clips, firings.frames, firings.clips], [frames, 1, frames, 1]);
      const fired = sae.dense(expected);
      for (const { latent, firings: count, top, random } of firings.latents) {
        assert.equal(count, fired.filter((value, at) => at % 12 === latent && value !== 0).length);
        assert.ok([...top, ...random].every(({ time, value }) => time < 1 && value < 1e5));
      }
      for (const other of others) assert.deepEqual(other, first);
    });
  });
}

test('a run on padded windows ends with the same bytes whatever is in the padding', async () => {
  const gpu = await Gpu.open();
  const ends: { weights: string; steps: number[] }[] = [];
  for (const content of Object.keys(contents) as Content[]) {
    const source = await ActivationStore.open(join(folder, 'whisper', content, 'store'));
    const out = join(folder, 'runs', content);
    await trainRun({
      gpu, source, out, sae: topkConfig({ d_in: width, d_sae: 16, k: 2, normalize_activations: 'expected_average_only_in' }),
      training: trainerConfig({ train_batch_size_samples: 25, total_training_samples: 100, lr: 1e-3, seed: 1 }), centre: true, shuffle: true, bufferRows: 50, logEvery: 1,
    });
    ends.push({ weights: readFileSync(join(out, 'sae_weights.safetensors')).toString('base64'), steps: (await readMetrics(join(out, 'metrics.jsonl'))).map(({ overallLoss }) => overallLoss) });
  }
  gpu.dispose();
  assert.equal(ends[0]!.steps.length, 4); // two epochs of 50 frames
  for (const end of ends) assert.deepEqual(end, ends[0]);
});
