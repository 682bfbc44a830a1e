/** Runs that lose their device or run out of its memory: they go on, and leave the bytes of an undisturbed run. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type FrameSource, openTensorSource } from '../../src/activations/index.ts';
import { writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { topkConfig, type TopkConfig } from '../../src/sae/index.ts';
import { type ManyOptions, planLine, planRun, type RunOptions, trainerConfig, trainMany, trainRun } from '../../src/training/index.ts';
import { refuseTooLarge } from '../../src/training/memory-plan.ts';
import { fails } from '../support/fails.ts';
import { freshSeed } from '../support/mutate.ts';
import { plantedFrames } from '../support/planted.ts';

const dIn = 8, dSae = 72, batch = 64, steps = 20;
const seed = freshSeed('survival');
const folder = mkdtempSync(join(tmpdir(), 'cochlea-survives-'));
const place = (...parts: string[]): string => join(folder, ...parts);
const results = ['cfg.json', 'manifest.json', 'metrics.jsonl', 'sae_weights.safetensors', 'sparsity.safetensors'];
const bytesOf = (...out: string[]): Record<string, string> => Object.fromEntries(results.map((name) => [name, createHash('sha256').update(readFileSync(place(...out, name))).digest('hex')]));
const recordOf = (...out: string[]): Record<string, unknown> => JSON.parse(readFileSync(place(...out, 'run.json'), 'utf8')) as Record<string, unknown>;

let source: FrameSource & { close(): Promise<void> };
let expected: Record<string, string>;
let plain: Gpu;
before(async () => {
  await writeSafetensors(place('x.safetensors'), [{ name: 'x', dtype: 'F32', shape: [500, dIn], data: plantedFrames({ seed, dIn, features: 20, active: 2 }, 500) }]);
  source = await openTensorSource(place('x.safetensors'));
  plain = await Gpu.open();
  await trainRun(options(plain, 'undisturbed'));
  expected = bytesOf('undisturbed');
  assert.equal(recordOf('undisturbed')['recoveries'], undefined);
});
after(async () => {
  plain.dispose();
  await source.close();
  rmSync(folder, { recursive: true });
});

function options(gpu: Gpu, out: string, given: Partial<RunOptions> = {}): RunOptions {
  return {
    gpu, source, out: place(out), sae: topkConfig({ d_in: dIn, d_sae: dSae, k: 4, normalize_activations: 'expected_average_only_in' }),
    training: trainerConfig({
      train_batch_size_samples: batch, total_training_samples: batch * steps, lr: 3e-3, lr_warm_up_steps: 2, lr_decay_steps: 4, feature_sampling_window: 6, seed,
    }),
    centre: true, bufferRows: 2 * batch, shuffle: true, logEvery: 1, checkpointEvery: 6, ...given,
  };
}

async function withGpu(given: Parameters<typeof Gpu.open>[0], use: (gpu: Gpu) => Promise<void>): Promise<void> {
  const gpu = await Gpu.open(given);
  try {
    await use(gpu);
  } finally {
    gpu.dispose();
  }
}

/** The source in chunks of one batch. `at` is called before each with its number, counted over all recoveries. */
function watched(at: (batchNumber: number) => void): FrameSource {
  let served = 0;
  const { rows, info, halves: _, ...rest } = source;
  return {
    ...rest, dIn, rows, info, statistics: () => source.statistics(),
    async* chunks(order) {
      for await (const chunk of source.chunks({ ...order, from: 0 })) {
        for (let row = 0, n = 0; row < chunk.rows; row += batch, n++) {
          if (n < order.from) continue;
          at(++served);
          const here = Math.min(batch, chunk.rows - row);
          yield { ...chunk, rows: here, x: chunk.x.subarray(row * dIn, (row + here) * dIn), clip: chunk.clip.subarray(row, row + here), time: chunk.time.subarray(row, row + here) };
        }
      }
    },
  };
}

describe('a run whose device is lost', () => {
  test('goes on from the start before its first checkpoint and from the newest one after that, with all its SAEs, to the same bytes, and says so', async () => {
    const { sae, training, centre, onProgress: _, ...stream } = options(plain, '');
    const many = (out: string): ManyOptions => (
      { ...stream, out: place(out), mixingSeed: seed, saes: [{ name: 'a', sae, training, centre }, { name: 'b', sae: topkConfig({ ...sae as TopkConfig, d_sae: 24 }), training, centre: false }] }
    );
    await trainMany(many('both'));
    const notices: string[] = [], counts: number[] = [];
    // The first time is before the first checkpoint, which is after step 6; the second, from the start again, after step 14.
    const { recoveries, trained } = await trainMany({
      ...many('lost'), source: watched((n) => (n === 5 || n === 22) && plain.device.destroy()), onNotice: (line) => notices.push(line), onProgress: (progress) => counts.push(progress.recoveries),
    });
    for (const name of ['a', 'b']) {
      assert.deepEqual(bytesOf('lost', name), bytesOf('both', name), name);
      assert.deepEqual(readdirSync(place('lost', name)).sort(), readdirSync(place('both', name)).sort());
      assert.deepEqual(recordOf('lost', name)['recoveries'], { device_lost: 2, out_of_memory: 0 });
    }
    assert.deepEqual(bytesOf('lost', 'a'), expected);
    assert.deepEqual([recoveries, trained, counts.at(-1)], [2, steps, 2]);
    // Of some seeds' frames it is also said that they lie far from the origin.
    assert.deepEqual(notices.filter((line) => line.includes('device')).map((line) => line.replace(/^\w: |\(.*\)/g, '')), ['from the beginning', 'after step 12'].map((where) => `the GPU device was lost : going on ${where} on a new one`));
    assert.equal(plain.allocatedBytes, 0);
  });

  test('before its first step goes on too', async () => withGpu({}, async (gpu) => {
    gpu.device.destroy();
    await gpu.device.lost;
    const notices: string[] = [];
    assert.equal((await trainRun(options(gpu, 'early', { onNotice: (line) => notices.push(line) }))).recoveries, 1);
    assert.deepEqual(bytesOf('early'), expected);
    assert.equal(notices.filter((line) => /^the GPU device was lost \(.*\): going on from the beginning on a new one$/.test(line)).length, 1);
    assert.deepEqual(recordOf('early')['recoveries'], { device_lost: 1, out_of_memory: 0 });
  }));

  test('again and again without getting on stops; the same command with resume goes on, and goes on counting', async () => {
    await assert.rejects(trainRun(options(plain, 'stuck', { source: watched((n) => n > 13 && plain.device.destroy()) })),
      fails('gpu-lost', /^the GPU device was lost \(.*\), for the 4th time after step 12: a smaller batch size /));
    assert.deepEqual(recordOf('stuck')['recoveries'], { device_lost: 3, out_of_memory: 0 });
    await plain.reopen();
    const { recoveries } = await trainRun(options(plain, 'stuck', { source: watched(() => {}), resume: true }));
    assert.deepEqual(bytesOf('stuck'), expected);
    assert.equal(recoveries, 3);
  });
});

describe('memory', () => {
  const planned = (): number => planRun(options(plain, 'unused')).gpuBytes;
  /** What the metrics of some steps take while they are read; there may be two of these at a time. */
  const reading = 64 * 128;

  test('that the start takes is refused with the sum that shows why, and nothing stays allocated or written', async () => {
    await withGpu({ memoryBytes: planned() - 1 }, async (gpu) => {
      await assert.rejects(trainRun(options(gpu, 'never')), fails('gpu-memory',
        /^training 72 latents .* does not fit on .*; the run takes .* on the GPU: parameters .* \(W_.*\), gradients .*, moments .*, activations .* \(pre-activations .*\), batch .*buffers of up to .*: lower d_sae or the batch size$/));
      assert.equal(gpu.allocatedBytes, 0);
      await gpu.allocate('something smaller', () => gpu.tensor({ label: 'small', dtype: 'f32', rows: 1, columns: 1000 }));
    });
    assert.ok(!existsSync(place('never', 'checkpoints')));
  });

  test('of a software adapter is that of the machine: what is more than that is refused', () => {
    const plan = planRun(options(plain, 'unused'));
    assert.equal(plan.gpuBytes, plan.tensors.reduce((sum, { bytes }) => sum + bytes, 0));
    assert.match(planLine(plan), /^memory: .* on the GPU \(.*, .*, .*, \d+ smaller\), .* for frames that are mixed$/);
    const { software } = plain.adapter;
    try {
      plain.adapter.software = true;
      const needed = plan.gpuBytes + plan.mixingBytes + plan.readBackBytes;
      refuseTooLarge(plain, plan, needed);
      assert.throws(() => refuseTooLarge(plain, plan, needed - 1), fails('gpu-memory', /^the run takes .* for what is read back to be written; .*, all in the machine's own memory, of which .* are free: lower d_sae or the batch size$/));
      plain.adapter.software = false;
      refuseTooLarge(plain, plan, 0);
    } finally {
      plain.adapter.software = software;
    }
  });

  test('that one binding does not take is refused by name, with the sum, before anything is read', async () => {
    await withGpu({ maxBindingBytes: 4096 }, async (gpu) => {
      const unread: FrameSource = { ...watched(() => assert.fail('a batch was read')), statistics: () => assert.fail('statistics were read') };
      await assert.rejects(trainRun(options(gpu, 'unbound', { source: unread })), fails('gpu-memory', /^step records \(8\.0 KiB\) cannot be bound in one piece: the run takes .*, of which it binds 4\.0 KiB at a time: lower /));
      assert.equal(gpu.allocatedBytes, 0);
    });
  });

  test('that runs out later makes chunks of rows smaller, once, and not one bit different; then it ends the run with the plan', async () => {
    // One byte short of reading anything back; half of the pre-activations make room for two readings.
    await withGpu({ memoryBytes: planned() + reading - 1 }, async (gpu) => {
      const notices: string[] = [];
      const { recoveries } = await trainRun(options(gpu, 'tight', { onNotice: (line) => notices.push(line) }));
      assert.deepEqual([recoveries, gpu.workShare], [1, 0.5]);
      assert.deepEqual(bytesOf('tight'), expected);
      assert.deepEqual(recordOf('tight')['recoveries'], { device_lost: 0, out_of_memory: 1 });
      assert.equal(notices.length, 1);
      assert.match(notices[0]!, /^the GPU reported: no memory for .*: going on from the beginning, with chunks of rows half as large$/);

      const hoard = (n: number): void => {
        if (n === 3) gpu.tensor({ label: 'of another', dtype: 'f32', rows: 1, columns: 2 ** 16 });
      };
      await assert.rejects(trainRun(options(gpu, 'again', { source: watched(hoard) })),
        fails('gpu-memory', /^the GPU reported: no memory for of another: .*; the run takes .* on the GPU: parameters .*: lower d_sae or the batch size$/));
    });
  });
});
