import { shaders, type ShaderName } from '../shaders.gen.ts';
import type { Cost, CountOf, Launch } from './cost.ts';
import { products } from './products.ts';
import { rows } from './rows.ts';
import { selection } from './selection.ts';

export type { Cost, Launch } from './cost.ts';

const peaks: Record<string, CountOf> = {
  /** 192 multiply-adds a round, and the sum of three vec4s (peak_compute.wgsl). */
  peak_compute: ({ WG }, { groups, rounds }) => [groups! * WG! * (2 * 192 * rounds! + 8), 4 * groups! * WG!],
  /** A multiply-add an element (peak_bandwidth.wgsl). */
  peak_bandwidth: (_, { quads }) => [2 * 4 * quads!, 3 * 4 * quads!],
  /** Nothing (peak_launch.wgsl). */
  peak_launch: () => [0, 0],
};

const counts: Record<string, CountOf> = { ...products, ...rows, ...selection, ...peaks };

/** Names of the kernels whose costs are known. */
export const costedKernels: readonly string[] = Object.keys(counts);

const defaults = new Map<string, Record<string, number>>();

/** A shader's constants as its text has them; those that are made of others are left out. */
function defaultsOf(name: string): Record<string, number> {
  const known = defaults.get(name);
  if (known) return known;
  const found: Record<string, number> = {};
  for (const [, constant, value] of shaders[name as ShaderName].text.matchAll(/^const (\w+) = (\d+)u;/gm)) found[constant!] = Number(value);
  defaults.set(name, found);
  return found;
}

/** What a dispatch of a kernel costs at least (see cost.ts); undefined for a kernel that is none of src/kernels. Constants that were not replaced may be left out. */
export function costOf(kernel: string, { constants, parameters, bound, share = 1 }: Launch): Cost | undefined {
  const count = counts[kernel];
  if (!count) return undefined;
  const [flops, words] = count({ ...defaultsOf(kernel), ...constants }, parameters, bound);
  return { flops: share * flops, bytes: share * 4 * words };
}
