/** The profiler on a device: it changes no bit, it times what runs, and it costs nothing where it does not watch. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Gpu, Profiler, type TimedCommand, type Timing } from '../../src/gpu/index.ts';
import { addRows, peakLaunch, scan } from '../../src/kernels/index.ts';
import { measure, trainingWork, traceOf } from '../../src/profile/index.ts';
import { topkConfig } from '../../src/sae/index.ts';
import { Trainer, type TrainerState, trainerConfig } from '../../src/training/index.ts';
import { fails } from '../support/fails.ts';
import { freshSeed } from '../support/mutate.ts';
import { plantedFrames } from '../support/planted.ts';

const dIn = 6, dSae = 40, batch = 16, steps = 8;
const seed = freshSeed('profiler');
const sae = topkConfig({ d_in: dIn, d_sae: dSae, k: 3 });
// Dead latents from step 4 on, and the end of a window, so that copies, clears and the auxiliary loss are among what is watched.
const training = trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 1000, lr: 3e-3, seed, dead_feature_window: 3, feature_sampling_window: 4 });
const frames = plantedFrames({ seed, dIn, features: 12, active: 2 }, steps * batch);

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open({ profile: true });
});
after(() => gpu.dispose());

const bits = ({ tensors, ...counts }: TrainerState): Record<string, unknown> => ({ ...counts, ...Object.fromEntries([...tensors].map(([name, tensor]) => [name, [...new Uint32Array(tensor.buffer)]])) });

/** Trains without waiting in between, so that commands of several steps are in flight, or held back, at once. */
async function train(): Promise<unknown> {
  const trainer = await Trainer.create({ gpu, sae, training });
  for (let n = 0; n < steps; n++) trainer.train({ x: frames.subarray(n * batch * dIn, (n + 1) * batch * dIn) });
  const end = { metrics: await trainer.metrics(), state: bits(await trainer.state()), firings: await trainer.firings() };
  trainer.dispose();
  return end;
}

test('a profile of training holds every kernel of a step with its rate and floor, and its timeline is a valid trace', async () => {
  const profiler = new Profiler(gpu);
  try {
    const work = await trainingWork(gpu, { sae, training });
    const { profile, timeline } = await measure({ gpu, profiler, work, steps: 6, warmUp: 2, cochlea: 'test' });
    assert.equal(profile.sameBits, true);
    assert.equal(profile.compared, 'state');
    assert.deepEqual([profile.step.submissions, profile.step.rows], [1, batch]);
    assert.equal(profile.step.uploaded, batch * 8 * 4);
    assert.ok(profile.peaks.gflops > 0 && profile.peaks.gigabytes > 0);
    const sum = profile.kernels.reduce((total, { calls }) => total + calls, 0);
    assert.ok(sum >= profile.step.dispatches && profile.step.dispatches > 20, `${sum} calls, ${profile.step.dispatches} dispatches`);
    assert.ok(Math.abs(profile.kernels.reduce((total, { share }) => total + share, 0) - 1) < 1e-9);
    for (const { kernel, flops, bytes, floor, calls, workgroups } of profile.kernels) {
      assert.ok(flops !== undefined && bytes !== undefined && bytes > 0, `${kernel} has no cost`);
      const least = Math.max(flops / profile.peaks.gflops / 1e6, bytes / profile.peaks.gigabytes / 1e6, workgroups > 0 ? calls * profile.peaks.launch : 0);
      assert.ok(Math.abs(floor! - least) <= 1e-12 * least, `${kernel}: floor ${floor}, not ${least}`);
    }
    const encode = profile.kernels.find(({ kernel }) => kernel.startsWith('encode_'))!;
    assert.equal(encode.flops, batch * dSae * (2 * 8 + 1)); // d_in of 6 is padded to 8
    assert.ok(profile.memory['W_enc'] === dSae * 8 * 4 && profile.compilation.some(({ kernel }) => kernel === 'adam'));
    assert.ok(profile.advice.length <= 3);
    assert.equal(gpu.allocatedBytes, 0);

    const { traceEvents } = JSON.parse(traceOf(timeline)) as { traceEvents: { ph: string; name: string; pid: number; tid: number; ts?: number; dur?: number; args?: Record<string, unknown> }[] };
    const spans = traceEvents.filter(({ ph }) => ph === 'X'), kernels = spans.filter(({ pid }) => pid === 2);
    assert.ok(traceEvents.every(({ ph, ts }) => ph === 'M' || (ts! >= 0 && Number.isFinite(ts))) && spans.every(({ dur }) => dur! >= 0));
    assert.equal(kernels.filter(({ name }) => name === 'step_totals').length, profile.steps);
    assert.deepEqual([...new Set(traceEvents.filter(({ ph }) => ph === 'C').map(({ name }) => name))].sort(), ['dead latents', 'l0', 'loss', 'uploaded MB']);
    const named = new Set(traceEvents.filter(({ ph, name }) => ph === 'M' && name === 'thread_name').map(({ pid, tid }) => `${pid} ${tid}`));
    assert.ok(spans.every(({ pid, tid }) => named.has(`${pid} ${tid}`)));
    const submitted = new Map(spans.filter(({ tid, pid }) => pid === 1 && tid === 2).map(({ name, ts, dur }) => [name, ts! + dur!]));
    if (profiler.timing === 'timestamps') {
      for (const { args, ts } of kernels) assert.ok(ts! >= submitted.get(`step ${args!['step']}`)! - 0.002, 'a kernel ran before it was submitted');
    }
  } finally {
    profiler.detach();
  }
});

let unwatched: Promise<unknown> | undefined;

for (const timing of ['timestamps', 'wall'] as Timing[]) {
  test(`watched by ${timing}, training leaves the bits that it leaves unwatched, and every command has a time`, async (t) => {
    if (timing === 'timestamps' && !gpu.features.includes('timestamp-query')) return t.skip('the adapter has no timestamps');
    unwatched ??= train();
    const expected = await unwatched;
    const profiler = new Profiler(gpu, timing);
    try {
      profiler.active = true;
      const found = await train();
      profiler.active = false;
      assert.deepEqual(found, expected);
      const commands = await profiler.collect();
      const named = (name: string): TimedCommand[] => commands.filter(({ kernel }) => kernel === name);
      assert.equal(named('step_totals').length, steps);
      assert.equal(named('adam').length, 4 * steps);
      assert.ok(named('copy').length >= 2); // each fourth step the firing counts move on
      assert.ok(named('clear').length >= steps && named('clear').every(({ bytes }) => bytes > 0));
      assert.equal(profiler.dropped, 0);
      assert.ok(commands.every(({ begin, end }) => end >= begin) && commands.some(({ begin, end }) => end > begin));
      for (const [n, { begin, submission }] of commands.entries()) {
        const before = commands[n - 1];
        if (before && before.submission === submission) assert.ok(begin >= before.begin, `command ${n} begins before the one before it`);
      }
      assert.deepEqual(await profiler.collect(), []);
      const { uploads, readbacks } = profiler;
      assert.equal(uploads.filter(({ bytes }) => bytes === batch * 8 * 4).length, steps);
      assert.ok(readbacks.length > 0 && readbacks.every(({ began, ended }) => ended >= began));
    } finally {
      profiler.detach();
    }
  });
}

test('a profiler that is not active sees transfers and compilations alone, and recorders make one pass', async () => {
  const profiler = new Profiler(gpu);
  try {
    const a = gpu.tensor({ label: 'a', dtype: 'f32', rows: 2, columns: 4 }), b = gpu.tensor({ label: 'b', dtype: 'f32', rows: 2, columns: 4 });
    gpu.upload(a, Float32Array.from({ length: 8 }, (_, n) => n));
    gpu.upload(b, new Float32Array(8).fill(1));
    const rec = gpu.record();
    addRows(rec, { a, b }, 2, 2);
    rec.submit();
    assert.deepEqual([...await gpu.downloadFloats(a)], [2, 4, 6, 8, 10, 12, 14, 16]);
    assert.deepEqual([profiler.submissions.length, profiler.uploads.length, profiler.readbacks.length, (await profiler.collect()).length], [0, 2, 1, 0]);
    profiler.active = true;
    const counts = gpu.tensor({ label: 'counts', dtype: 'u32', rows: 1, columns: 5 }), starts = gpu.tensor({ label: 'starts', dtype: 'u32', rows: 1, columns: 6 });
    gpu.upload(counts, Uint32Array.of(1, 2, 3, 4, 5));
    const watched = gpu.record();
    peakLaunch(watched, a);
    watched.clear(starts);
    scan(watched, { counts, starts }, 5);
    watched.submit();
    assert.deepEqual([...await gpu.downloadIntegers(starts)], [0, 1, 3, 6, 10, 15]);
    assert.deepEqual((await profiler.collect()).map(({ kernel }) => kernel), ['peak_launch', 'clear', 'index_scan']);
    assert.deepEqual(profiler.submissions.map(({ dispatches, passes }) => [dispatches, passes]), [[2, 2]]);
    assert.deepEqual(profiler.compilations.map(({ kernel }) => kernel), ['add_rows']); // others were compiled by tests before this one
    [a, b, counts, starts].forEach((tensor) => gpu.free(tensor));
  } finally {
    profiler.detach();
  }
});

for (const timing of ['timestamps', 'wall'] as const satisfies Timing[]) {
  test(`a device that is lost ends a profile by ${timing} with what happened, wherever it is waited for`, async (t) => {
    for (const submissions of [1, 20, 60]) {
      const other = await Gpu.open({ profile: true });
      if (timing === 'timestamps' && !other.device.features.has('timestamp-query')) {
        other.dispose();
        return t.skip('the adapter has no timestamps');
      }
      const { queue } = other.device, submit = queue.submit.bind(queue);
      let submitted = 0;
      queue.submit = (commands) => {
        submit(commands);
        if (++submitted === submissions) other.device.destroy();
      };
      try {
        const profiler = new Profiler(other, timing);
        await assert.rejects(measure({ gpu: other, profiler, work: await trainingWork(other, { sae, training }), steps: 4, warmUp: 1, cochlea: 'test' }), fails('gpu-lost', /^the GPU device was lost/));
      } finally {
        other.dispose();
      }
    }
  });
}
