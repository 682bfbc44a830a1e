/**
 * How the benchmarks take time. What is to be compared runs in turns within one process, so that whatever else the machine does meets all of it; a
 * figure is the median of its turns, given with the least and the most. On a software adapter the CPU time of the whole process says more than
 * the wall's: the threads that stand in for a GPU share their cores with others.
 */
import process from 'node:process';
import { runtime } from '../src/runtime/index.ts';

export interface Spread {
  median: number;
  least: number;
  most: number;
  runs: number;
}

/** Seconds of one piece of work: by the clock, and of all the process' threads. */
export interface Timing {
  wall: Spread;
  cpu: Spread;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
  return { median, least: sorted[0]!, most: sorted.at(-1)!, runs: sorted.length };
}

export interface TakenOn {
  /** Of the adapter. */
  software: boolean;
}

/** Seconds that a piece of work takes until the GPU has done it. */
export async function take(work: () => Promise<unknown>, { software }: TakenOn): Promise<{ wall: number; cpu: number }> {
  const before = process.cpuUsage(), from = performance.now();
  await (software ? runtime.patiently(work()) : work()); // also the peers' work: all wait alike
  const { user, system } = process.cpuUsage(before);
  return { wall: (performance.now() - from) / 1000, cpu: (user + system) / 1e6 };
}

export interface Turns extends TakenOn {
  /** Turns at least. */
  atLeast: number;
  /** No turn begins after so many seconds, once there are enough of them. */
  budget: number;
  atMost?: number;
}

/** Runs all of them in turns, each time beginning with another. What they do must have been done once before: nothing is compiled in here. */
export async function inTurns<Name extends string>(works: Record<Name, () => Promise<unknown>>, { atLeast, budget, atMost = 30, software }: Turns): Promise<Record<Name, Timing>> {
  const names = Object.keys(works) as Name[];
  const taken = names.map(() => ({ wall: [] as number[], cpu: [] as number[] }));
  const began = performance.now();
  for (let turn = 0; turn < atMost && (turn < atLeast || performance.now() - began < 1000 * budget); turn++) {
    for (let place = 0; place < names.length; place++) {
      const which = (turn + place) % names.length;
      const { wall, cpu } = await take(works[names[which]!], { software });
      taken[which]!.wall.push(wall);
      taken[which]!.cpu.push(cpu);
    }
  }
  return Object.fromEntries(names.map((name, n) => [name, { wall: spreadOf(taken[n]!.wall), cpu: spreadOf(taken[n]!.cpu) }])) as Record<Name, Timing>;
}

/** The clock by which an adapter is judged: CPU time on a software adapter, wall time on hardware. */
export const judgedBy = ({ software }: TakenOn): 'cpu' | 'wall' => (software ? 'cpu' : 'wall');

/** Numbers that look like frames and weights, the same everywhere: a hash of the index, uniform in [-scale, scale). */
export function noise(count: number, seed: number, scale = 1): Float32Array {
  const values = new Float32Array(count);
  for (let n = 0; n < count; n++) {
    let word = Math.imul(n + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    values[n] = (((word ^ (word >>> 16)) >>> 0) / 2 ** 31 - 1) * scale;
  }
  return values;
}
