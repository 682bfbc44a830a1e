/** What the adapter can do at best, and what the ticks of its clock are, measured before anything else. */
import { CochleaError } from '../errors.ts';
import type { Gpu, Profiler, Recorder, TimedCommand } from '../gpu/index.ts';
import { costOf, peakBandwidth, peakCompute, peakLaunch, peakWorkgroup } from '../kernels/index.ts';
import { runtime } from '../runtime/index.ts';
import { quantile } from './spread.ts';
import type { Peaks, TimingNote } from './types.ts';

/** Long enough that a clock of 65.5 microseconds is off by less than a percent; software adapters have better ones, and share their cores. */
const longEnough = { hardware: 10, software: 3 }; // milliseconds
const repeats = 12;

/** Of each of the triad's arrays: more than caches hold, and for software adapters what they do hold, because those peaks are to be the highest. */
const triadBytes = { hardware: 256 * 2 ** 20, software: 4 * 2 ** 20 };

/** Periods of timestamps that Vulkan drivers have, in nanoseconds: NVIDIA and software, AMD, Apple, Intel. */
const knownTicks = [1, 10, 1000 / 24, 1000 / 38.4, 1000 / 19.2, 1000 / 12];

/** How Dawn rounds timestamps for pages, in nanoseconds. */
const quantum = 65_536;

interface Timed {
  commands: TimedCommand[];
  /** Milliseconds on the host. */
  wall: number;
}

/** Measures the peaks and calibrates the clock. The profiler must be that of the device. */
export async function measurePeaks(gpu: Gpu, profiler: Profiler): Promise<{ peaks: Peaks; timing: TimingNote }> {
  const { software } = gpu.adapter;
  const time = async (record: (rec: Recorder) => void): Promise<Timed> => {
    const began = performance.now();
    const rec = gpu.record();
    record(rec);
    rec.submit();
    return { commands: await profiler.collect(), wall: performance.now() - began };
  };
  const groups = software ? 64 : 4096;
  const rows = 4096, columns = Math.floor(Math.min(gpu.bindingBytes, triadBytes[software ? 'software' : 'hardware']) / rows / 16) * 4;
  const tensors = await gpu.allocate('measuring the memory', () => {
    const memory = (label: string) => gpu.tensor({ label, dtype: 'f32', rows, columns });
    return { sums: gpu.tensor({ label: 'sums', dtype: 'f32', rows: groups * peakWorkgroup, columns: 4 }), a: memory('a'), b: memory('b'), c: memory('c') };
  });
  const { sums, ...triad } = tensors;
  const wasActive = profiler.active;
  profiler.active = true;
  try {
    // The first dispatch of a pipeline may compile it.
    await time((rec) => [peakCompute(rec, sums, groups, 1), ...[1, 4, 16].map((per) => peakBandwidth(rec, triad, per)), peakLaunch(rec, sums)]);
    const compute = (rounds: number): Promise<Timed> => time((rec) => peakCompute(rec, sums, groups, rounds));
    const { rounds, tick, snapped } = await calibrate(compute, longEnough[software ? 'software' : 'hardware'], profiler.timing === 'timestamps' && runtime.name === 'deno');
    const best = async (run: () => Promise<Timed>): Promise<{ gflops: number; gigabytes: number }> => {
      const found = { gflops: 0, gigabytes: 0 };
      for (let n = 0; n < repeats; n++) {
        for (const command of (await run()).commands) {
          const { flops, bytes } = costOf(command.kernel, command)!, nanoseconds = (command.end - command.begin) * tick;
          if (!(nanoseconds > 0)) continue;
          found.gflops = Math.max(found.gflops, flops / nanoseconds);
          found.gigabytes = Math.max(found.gigabytes, bytes / nanoseconds);
        }
      }
      return found;
    };
    const { gflops } = await best(() => compute(rounds));
    const { gigabytes } = await best(() => time((rec) => [1, 4, 16].forEach((per) => peakBandwidth(rec, triad, per))));
    const empty = await time((rec) => Array.from({ length: 64 }, () => peakLaunch(rec, sums)));
    const launch = quantile(empty.commands.map(({ begin, end }) => ((end - begin) * tick) / 1e6).filter(Number.isFinite), 0.5);
    if (!(gflops > 0 && gigabytes > 0)) throw new CochleaError('gpu-error', 'the adapter\'s timestamps do not move', 'profile without them: --wall');
    const quantised = profiler.timing === 'timestamps' && empty.commands.every(({ begin, end }) => begin % quantum === 0 && end % quantum === 0);
    return { peaks: { gflops, gigabytes, launch: Number.isFinite(launch) ? launch : 0 }, timing: timingNote(profiler, { tick, snapped, quantised }) };
  } finally {
    profiler.active = wasActive;
    for (const tensor of Object.values(tensors)) gpu.free(tensor);
  }
}

/**
 * Rounds that take long enough, and the tick in nanoseconds. wgpu gives raw ticks and no period; the difference between a long and a
 * longer run, on its clock and on the host's, is what a tick is. Where that is within 15 % of a period that drivers have, it is that one.
 */
async function calibrate(compute: (rounds: number) => Promise<Timed>, least: number, ticks: boolean): Promise<{ rounds: number; tick: number; snapped: boolean }> {
  const shortest = async (rounds: number): Promise<number> => Math.min((await compute(rounds)).wall, (await compute(rounds)).wall);
  const wayThereAndBack = await shortest(1);
  let rounds = 16;
  while (rounds < 2 ** 24 && await shortest(rounds) - wayThereAndBack < least) rounds *= 2;
  if (!ticks) return { rounds, tick: 1, snapped: true };
  const short = await compute(rounds), long = await compute(32 * rounds);
  const elapsed = ({ commands: [command] }: Timed): number => command!.end - command!.begin;
  const measured = ((long.wall - short.wall) * 1e6) / (elapsed(long) - elapsed(short));
  const known = knownTicks.find((tick) => Math.abs(measured / tick - 1) < 0.15);
  return { rounds, tick: known ?? measured, snapped: known !== undefined };
}

function timingNote({ timing, dropped }: Profiler, { tick, snapped, quantised }: { tick: number; snapped: boolean; quantised: boolean }): TimingNote {
  if (timing === 'wall') return { mode: 'wall', tick: 1, dropped, note: 'the host\'s clock: every dispatch is a submission that is waited for, less what an empty one takes' };
  if (quantised) return { mode: 'quantised', tick, dropped, note: 'timestamps in steps of 65.5 microseconds: the mean over all steps counts, short kernels are uncertain' };
  if (runtime.name === 'deno') {
    return { mode: 'calibrated', tick, dropped, note: `timestamps in ticks of ${Number(tick.toFixed(3))} ns, ${snapped ? 'found' : 'measured'} against the host's clock` };
  }
  return { mode: 'exact', tick, dropped, note: 'timestamps of a pass per dispatch' };
}
