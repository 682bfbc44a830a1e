/** Joins what a profiler saw with what kernels cost and what the adapter can do. */
import type { TimedCommand } from '../gpu/index.ts';
import { costOf } from '../kernels/index.ts';
import { mean, spreadOf } from './spread.ts';
import type { BoundKind, KernelRow, Peaks, TimingNote } from './types.ts';

export function variantOf(constants: Readonly<Record<string, number>>): string {
  return Object.entries(constants).map(([name, value]) => `${name}=${value}`).sort().join(' ');
}

export const millisecondsOf = ({ begin, end }: TimedCommand, { tick }: Pick<TimingNote, 'tick'>): number => ((end - begin) * tick) / 1e6;

/** Commands by kernel and constants. */
export function groupsOf(commands: readonly TimedCommand[]): Map<string, TimedCommand[]> {
  const groups = new Map<string, TimedCommand[]>();
  for (const command of commands) {
    const key = `${command.kernel} ${variantOf(command.constants)}`;
    const group = groups.get(key);
    if (group) group.push(command);
    else groups.set(key, [command]);
  }
  return groups;
}

/** A clear writes, a copy reads as much too. */
const transferOf = ({ kernel, bytes }: TimedCommand): { flops: number; bytes: number } => ({ flops: 0, bytes: kernel === 'copy' ? 2 * bytes : bytes });

/** One row per kernel and variant, longest first, of the commands of `steps` steps. Dropped times take the mean of the group's others. */
export function kernelRows(commands: readonly TimedCommand[], steps: readonly number[], peaks: Peaks, timing: Pick<TimingNote, 'tick' | 'mode'>): KernelRow[] {
  const rows = [...groupsOf(commands).values()].map((group): KernelRow => {
    const known = mean(group.map((command) => millisecondsOf(command, timing)).filter(Number.isFinite));
    const perStep = new Map(steps.map((step) => [step, 0]));
    let flops: number | undefined = 0, bytes: number | undefined = 0, workgroups = 0;
    for (const command of group) {
      const milliseconds = millisecondsOf(command, timing);
      perStep.set(command.step, perStep.get(command.step)! + (Number.isFinite(milliseconds) ? milliseconds : Number.isFinite(known) ? known : 0));
      const cost = command.bytes > 0 ? transferOf(command) : costOf(command.kernel, command);
      flops = cost && flops !== undefined ? flops + cost.flops : undefined;
      bytes = cost && bytes !== undefined ? bytes + cost.bytes : undefined;
      workgroups += command.grid[0] * command.grid[1];
    }
    const n = steps.length, samples = [...perStep.values()];
    const spread = spreadOf(samples);
    // A clock of 65.5 microseconds rounds to what no step took; only the mean of many means something.
    const time = timing.mode === 'quantised' ? { ...spread, median: mean(samples) } : spread;
    const { kernel, constants } = group[0]!;
    return {
      kernel, variant: variantOf(constants), calls: group.length / n, workgroups: workgroups / n, flops: flops && flops / n, bytes: bytes && bytes / n, time,
      share: 0, ...ratesOf({ flops: flops && flops / n, bytes: bytes && bytes / n, launches: group.filter(({ grid: [x] }) => x > 0).length / n, milliseconds: time.median }, peaks),
    };
  });
  const all = rows.reduce((sum, { time }) => sum + time.median, 0);
  for (const row of rows) row.share = all > 0 ? row.time.median / all : 0;
  return rows.sort((a, b) => b.time.median - a.time.median);
}

/**
 * Rates, and the floor: no kernel is faster than its FLOPs at the peak of arithmetic, its bytes at that of memory, and its dispatches one by
 * one (the roofline model; Williams, Waterman and Patterson 2009).
 */
export function ratesOf({ flops, bytes, launches, milliseconds }: { flops: number | undefined; bytes: number | undefined; launches: number; milliseconds: number }, peaks: Peaks):
  Pick<KernelRow, 'gflops' | 'gigabytes' | 'intensity' | 'bound' | 'floor' | 'overFloor'> {
  if (flops === undefined || bytes === undefined) return { gflops: undefined, gigabytes: undefined, intensity: undefined, bound: undefined, floor: undefined, overFloor: undefined };
  const floors: [BoundKind, number][] = [['compute', flops / peaks.gflops / 1e6], ['bandwidth', bytes / peaks.gigabytes / 1e6], ['launch', launches * peaks.launch]];
  const [bound, floor] = floors.reduce((highest, one) => (one[1] > highest[1] ? one : highest));
  const rate = (amount: number): number | undefined => (milliseconds > 0 ? amount / milliseconds / 1e6 : undefined);
  return {
    gflops: rate(flops), gigabytes: rate(bytes), intensity: bytes > 0 ? flops / bytes : undefined, bound, floor,
    overFloor: floor > 0 && milliseconds > 0 ? milliseconds / floor : undefined,
  };
}
