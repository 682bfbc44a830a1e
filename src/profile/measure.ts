/** Steps of some work, first as if nobody watched, then under the profiler. */
import type { Gpu, Profiler, TimedCommand, TracedSubmission } from '../gpu/index.ts';
import { runtime } from '../runtime/index.ts';
import { adviceOn } from './advice.ts';
import { groupsOf, kernelRows, millisecondsOf, variantOf } from './kernels.ts';
import { measurePeaks } from './peaks.ts';
import { mean, quantile, spreadOf } from './spread.ts';
import { timelineOf } from './timeline.ts';
import type { GpuProfile, Sample, Timeline, TimingNote } from './types.ts';

/** Work that can be begun anew, and then goes the same way. */
export interface Work {
  kind: GpuProfile['kind'];
  configuration: GpuProfile['configuration'];
  /** Frames of a step. */
  rows: number;
  /** What a fingerprint is of. */
  compared: GpuProfile['compared'];
  begin(): Promise<WorkInHand>;
}

export interface WorkInHand {
  /** Hands one step to the GPU, or does it. */
  step(n: number): void | Promise<void>;
  /** Stands for the bits of everything that the steps so far have made. */
  fingerprint(): Promise<string>;
  /** Numbers of each step, by name, for the trace. */
  values?(): { step: number; values: Record<string, number> }[];
  dispose(): void;
}

export interface MeasureOptions {
  gpu: Gpu;
  profiler: Profiler;
  work: Work;
  /** Measured steps of each of the two runs, and steps before them. */
  steps: number;
  warmUp: number;
  cochlea: string;
  onProgress?: (line: string) => void;
}

/** Steps that may be in flight on the GPU while the host records the next, as in training. */
const inFlight = 2;

interface Phase {
  /** Milliseconds of a step, of each window of steps. */
  walls: number[];
  /** Milliseconds of the host on each step. */
  host: number[];
  /** performance.now() at each measured step's begin. */
  began: number[];
  fingerprint: string;
  values: { step: number; values: Record<string, number> }[];
}

export async function measure({ gpu, profiler, work, steps: wanted, warmUp, cochlea, onProgress }: MeasureOptions): Promise<{ profile: GpuProfile; timeline: Timeline }> {
  onProgress?.('measuring the adapter\'s peaks');
  const { peaks, timing } = await measurePeaks(gpu, profiler);
  const compiledBefore = profiler.compilations.length;
  const wait = await waitFor(gpu);

  const run = async (active: boolean, window: number | undefined): Promise<Phase & { window: number; memory: Record<string, number> }> => {
    const hand = await work.begin();
    try {
      return await runPhase(hand, active, window);
    } finally {
      profiler.active = false;
      hand.dispose();
    }
  };
  const runPhase = async (hand: WorkInHand, active: boolean, given: number | undefined) => {
    profiler.active = active;
    const idle = async (): Promise<void> => {
      await profiler.flush();
      await gpu.idle();
    };
    let last = 0;
    for (let n = 0; n < warmUp; n++) {
      profiler.step = n;
      const began = performance.now();
      await hand.step(n);
      await idle();
      last = performance.now() - began;
    }
    // Ends of steps in flight may be seen together; and where waiting takes long (wgpu looks every 11 ms) more steps make one sample.
    const window = given ?? Math.min(16, Math.max(inFlight, Math.ceil((10 * wait) / Math.max(last - wait, wait / 16))));
    const count = Math.ceil(wanted / window) * window;
    const host: number[] = [], began: number[] = [];
    const ended: Promise<number>[] = [Promise.resolve(performance.now())];
    for (let n = 0; n < count; n++) {
      profiler.step = warmUp + n;
      began.push(performance.now());
      const done = hand.step(warmUp + n);
      host.push(performance.now() - began[n]!); // what comes later it waits for
      await done;
      if ((n + 1) % window > 0) continue;
      const end = profiler.flush().then(() => gpu.patiently(gpu.device.queue.onSubmittedWorkDone())).then(() => performance.now());
      end.catch(() => {}); // it is awaited later
      ended.push(end);
      await ended[ended.length - (window > inFlight ? 1 : inFlight)]; // a long window need not overlap with the next one
      onProgress?.(`${active ? 'watched' : 'unwatched'} step ${n + 1} of ${count}`);
    }
    const ends = await Promise.all(ended);
    await idle();
    profiler.step = warmUp + count;
    const walls = ends.slice(1).map((end, n) => (end - ends[n]!) / window);
    const memory = Object.fromEntries([...gpu.allocated].sort((a, b) => b[1] - a[1]));
    return { walls, host, began, window, memory, fingerprint: await hand.fingerprint(), values: hand.values?.() ?? [] };
  };

  onProgress?.('compiling');
  const cold = await firstStep({ gpu, profiler, work });
  const plain = await run(false, undefined);
  const steps = plain.host.length;
  await profiler.collect();
  const before = { submissions: profiler.submissions.length, dropped: profiler.dropped };
  const transfers = { uploads: profiler.uploads.length, readbacks: profiler.readbacks.length };
  const watched = await run(true, plain.window);
  const commands = await profiler.collect();
  gpu.throwIfFailed();

  const measuredSteps = Array.from({ length: steps }, (_, n) => warmUp + n);
  const inside = <T extends { step: number }>(list: readonly T[]): T[] => list.filter(({ step }) => step >= warmUp && step < warmUp + steps);
  const submissions = inside(profiler.submissions.slice(before.submissions));
  const uploads = inside(profiler.uploads.slice(transfers.uploads)), readbacks = inside(profiler.readbacks.slice(transfers.readbacks));
  const measured = inside(commands);
  const kernels = kernelRows(measured, measuredSteps, peaks, timing);
  const busy = busyOf(measured, measuredSteps, timing);
  const wall = spreadOf(plain.walls), watchedWall = spreadOf(watched.walls);
  const idle = Math.max(0, wall.median - busy.median);
  const third = Math.floor(plain.walls.length / 3);
  const bytes = (list: readonly { bytes: number }[]): number => list.reduce((sum, one) => sum + one.bytes, 0) / steps;
  const { limits } = gpu.device;
  const profile: GpuProfile = {
    format: 'cochlea-profile', version: 1, kind: work.kind, cochlea, runtime: runtime.version, adapter: { ...gpu.adapter }, features: gpu.features,
    limits: {
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize, maxBufferSize: limits.maxBufferSize,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    },
    configuration: work.configuration, timing: { ...timing, dropped: profiler.dropped - before.dropped }, peaks, steps, warmUp, kernels,
    step: {
      busy, wall, watchedWall, window: plain.window, overhead: watchedWall.median / wall.median, idle, idleShare: idle / wall.median, host: spreadOf(work.kind === 'training' ? plain.host : recordTimes(submissions, measuredSteps)),
      drift: plain.walls.length < 6 ? undefined : mean(plain.walls.slice(-third)) / mean(plain.walls.slice(0, third)), rows: work.rows,
      rowsPerSecond: (1000 * work.rows) / wall.median, rowsPerSecondWithoutIdle: (1000 * work.rows) / busy.median,
      submissions: submissions.length / steps, passes: submissions.reduce((sum, { passes }) => sum + passes, 0) / steps,
      dispatches: submissions.reduce((sum, { dispatches }) => sum + dispatches, 0) / steps,
      uploaded: bytes(uploads), readBack: bytes(readbacks), readbacks: readbacks.length / steps,
    },
    memory: plain.memory, compilation: compilationOf(profiler.compilations.slice(compiledBefore), cold, commands, timing), sameBits: plain.fingerprint === watched.fingerprint, compared: work.compared, advice: [],
  };
  profile.advice = adviceOn(profile);
  const samples = watched.values.flatMap(({ step, values }): Sample[] => {
    const at = watched.began[step - warmUp];
    return at === undefined ? [] : Object.entries(values).map(([name, value]) => ({ name, at, value }));
  });
  return { profile, timeline: timelineOf({ commands: measured, submissions: profiler.submissions, uploads, readbacks, tick: timing.tick, began: watched.began, samples, timing: profiler.timing }) };
}

/** Recording and submitting, in milliseconds of each step; of the watched run, since work that waits for its results shows no other. */
function recordTimes(submissions: readonly TracedSubmission[], steps: readonly number[]): number[] {
  return steps.map((n) => submissions.filter(({ step }) => step === n).reduce((sum, { recordBegan, submitted }) => sum + submitted - recordBegan, 0));
}

/** Milliseconds that waiting for nothing takes. */
async function waitFor(gpu: Gpu): Promise<number> {
  const waits: number[] = [];
  for (let n = 0; n < 5; n++) {
    const began = performance.now();
    gpu.device.queue.submit([gpu.device.createCommandEncoder().finish()]);
    await gpu.idle();
    waits.push(performance.now() - began);
  }
  return quantile(waits, 0.5);
}

function busyOf(commands: readonly TimedCommand[], steps: readonly number[], timing: TimingNote): GpuProfile['step']['busy'] {
  const perStep = new Map(steps.map((step) => [step, 0]));
  for (const command of commands) {
    const milliseconds = millisecondsOf(command, timing);
    if (Number.isFinite(milliseconds)) perStep.set(command.step, perStep.get(command.step)! + milliseconds);
  }
  const samples = [...perStep.values()], spread = spreadOf(samples);
  return timing.mode === 'quantised' ? { ...spread, median: mean(samples) } : spread;
}

/** One watched step on a device that has compiled nothing of it. */
async function firstStep({ gpu, profiler, work }: Pick<MeasureOptions, 'gpu' | 'profiler' | 'work'>): Promise<TimedCommand[]> {
  profiler.active = true;
  profiler.step = -1;
  try {
    const hand = await work.begin();
    try {
      await hand.step(0);
      await profiler.flush();
      await gpu.idle();
    } finally {
      hand.dispose();
    }
    return await profiler.collect();
  } finally {
    profiler.active = false;
  }
}

function compilationOf(compilations: Profiler['compilations'], cold: readonly TimedCommand[], warm: readonly TimedCommand[], timing: TimingNote): GpuProfile['compilation'] {
  const [first, later] = [cold, warm].map(groupsOf) as [ReturnType<typeof groupsOf>, ReturnType<typeof groupsOf>];
  const times = (group: TimedCommand[] | undefined): number[] => (group ?? []).map((command) => millisecondsOf(command, timing)).filter(Number.isFinite);
  return compilations.map(({ kernel, constants, milliseconds }) => {
    const variant = variantOf(constants), key = `${kernel} ${variant}`;
    const usual = times(later.get(key)), [firstRun = 0] = times(first.get(key));
    return { kernel, variant, call: milliseconds, firstRun: usual.length > 0 ? Math.max(0, firstRun - quantile(usual, 0.5)) : 0 };
  }).sort((a, b) => b.call + b.firstRun - a.call - a.firstRun);
}
