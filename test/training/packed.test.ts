/** Frames that are stored in 16 bits stay so until the GPU unpacks them: half the memory, and the bits of a run on numbers. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ActivationStore, ActivationWriter, type FrameSource, MixingBuffer } from '../../src/activations/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { openActivations } from '../../src/jobs/activations.ts';
import { RandomStream } from '../../src/random.ts';
import { trainerConfig, trainMany } from '../../src/training/index.ts';
import { freshSeed } from '../support/mutate.ts';
import { normals } from '../support/numbers.ts';
import { plantedFrames } from '../support/planted.ts';
import { smallSae } from '../support/small-sae.ts';

// Odd, so that a row need not begin with a word.
const dIn = 7, dOut = 5, batch = 15, steps = 12;
const seed = freshSeed('packed frames');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-packed-'));
const place = (...parts: string[]): string => join(folder, ...parts);

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
  const random = new RandomStream(seed, 1710);
  const info = { model: 'synthetic', modelSha256: 'ab'.repeat(32), hook: 'encoder.layers.2', layer: 2, dIn, frameRate: 50, sampleRate: 16000 };
  for (const dtype of ['f16', 'f32'] as const) {
    const writer = await ActivationWriter.open(place(dtype), info, { dtype, resume: false, shardBytes: 2000, target: { hook: 'encoder.layers.3', layer: 3, dOut } });
    for (let clip = 0; clip < 9; clip++) {
      const frames = plantedFrames({ seed: seed + clip, dIn, features: 12, active: 2 }, 30);
      frames[clip] = 2 ** -20 * (clip + 1); // subnormal in float16
      await writer.addClip({ id: `${clip}`, path: `${clip}.wav`, labels: {}, sha256: '0'.repeat(64), seconds: 0.6, frames, target: Float32Array.from(normals(random, 30 * dOut)), rows: 30 });
    }
    await writer.finish();
  }
});
after(() => {
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

/** Frames, targets and the frames before them; what the host computes of a batch: the median, resampling. */
async function train(source: FrameSource, out: string): Promise<void> {
  const training = trainerConfig({
    train_batch_size_samples: batch, total_training_samples: batch * steps, lr: 3e-3, dead_feature_window: 2, feature_sampling_window: 6, seed, b_dec_init_method: 'geometric_median', resample_steps: [5],
  });
  const small = (name: string) => ({ name, sae: smallSae(name, { d_in: dIn, d_sae: 32, normalize_activations: 'expected_average_only_in' }, dOut), training, centre: true });
  await trainMany({
    gpu, source, out: place(out), bufferRows: 3 * batch, shuffle: true, logEvery: 1, mixingSeed: seed, saes: [small('topk'), small('transcoder'), small('temporal_matryoshka_batchtopk')],
  });
}

test('a run on stored halves leaves the bits of a run on the numbers that they are, and takes half the memory to mix them', async () => {
  const source = await openActivations(place('f16'), { target: true });
  assert.equal(source.halves?.format, 'f16');
  const { halves: _, ...numbers } = source;
  await train(source, 'packed');
  await train(numbers, 'numbers');
  for (const name of ['topk', 'transcoder', 'temporal_matryoshka_batchtopk']) {
    for (const file of ['metrics.jsonl', 'sae_weights.safetensors', 'sparsity.safetensors']) {
      assert.ok(readFileSync(place('packed', name, file)).equals(readFileSync(place('numbers', name, file))), `${name}/${file}`);
    }
  }
  const mixing = { seed, bufferRows: 45, batchRows: batch, shuffle: true, target: true, previous: true };
  assert.equal(new MixingBuffer(source, mixing).bytes, (45 + 2 * batch) * (2 * dIn + dOut) * 2);
  assert.equal(new MixingBuffer(numbers, mixing).bytes, (45 + 2 * batch) * (2 * dIn + dOut) * 4);
});

test('a store of float32 is read as numbers', async () => {
  const source = await openActivations(place('f32'));
  assert.equal(source.halves, undefined);
  assert.ok((await new MixingBuffer(source, { seed, bufferRows: 45, batchRows: batch, shuffle: false }).next()).x instanceof Float32Array);
});

test('patterns that are no numbers are found as numbers that are none are', async () => {
  const store = await ActivationStore.open(place('f16'));
  for (const [format, patterns] of [['f16', [0x7c00, 0xfc00, 0x7e01, 0xffff]], ['bf16', [0x7f80, 0xff80, 0x7fc0, 0xffff]]] as const) {
    for (const pattern of patterns) {
      const spoilt: FrameSource = {
        dIn, rows: store.rows, info: store.info, statistics: () => store.statistics(), chunks: (order) => store.chunks(order),
        halves: {
          format,
          async* chunks(order) {
            for await (const chunk of store.halves!.chunks(order)) {
              const x = chunk.x.map((one) => one & 0x3fff); // nothing but numbers, in both formats
              x[4 * dIn + 3] = pattern;
              yield { ...chunk, x };
            }
          },
        },
      };
      const options = { seed, bufferRows: 30, batchRows: 10, shuffle: false };
      await assert.rejects(new MixingBuffer(spoilt, options).next(), /^CochleaError: the frame at 0\.08 s of clip "0" .* holds NaN or infinity/);
      const lenient = new MixingBuffer(spoilt, { ...options, dropNonFinite: true });
      assert.equal((await lenient.next()).format, format);
      assert.equal(lenient.dropped, 1);
    }
  }
});
