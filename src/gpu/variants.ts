/** Which variant of a kernel family runs. Variants may add in different orders, so a choice decides bits: it is made once, written down, and can be given. */
import { CochleaError } from '../errors.ts';
import type { Gpu } from './gpu.ts';

/** The next power of two: shapes in one class run with one variant. */
export function sizeClass(n: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, n)));
}

/** The name of a choice: a family and the class of its shapes, e.g. `encode 512x4096`. */
export function choiceName(family: string, shape: readonly number[]): string {
  return `${family} ${shape.map(sizeClass).join('x')}`;
}

/**
 * The variant of a choice by its name: what `gpu.variants` has under it or under its family's (so a pin
 * without a class holds for all), else the first of `able`, which is written down. Those of `asked` run only where they are given, on adapters that
 * have the feature beside them. Throws `config` for one that cannot run.
 */
export function variantFor<V extends string>(gpu: Gpu, name: string, able: readonly V[], asked: ReadonlyMap<V, GPUFeatureName> = new Map()): V {
  const given = gpu.variants.get(name) ?? gpu.variants.get(name.split(' ')[0]!);
  if (given === undefined) {
    gpu.variants.set(name, able[0]!);
    return able[0]!;
  }
  const possible = [...able, ...asked.keys()].find((variant) => variant === given), needed = possible && asked.get(possible);
  const lacks = needed !== undefined && !gpu.features.includes(needed);
  if (possible && !lacks) return possible;
  throw new CochleaError('config', `${name} cannot run as ${given} on ${gpu.adapter.description || gpu.adapter.device}${lacks ? `, which has no ${needed}` : ''}`, `one of ${able.join(', ')} can`);
}
