import { CochleaError } from '../errors.ts';
import type { Gpu, Shard, Tensor } from '../gpu/index.ts';

/** Throws unless the tensor holds at least `rows` rows of exactly `columns` columns. */
export function expectShape(what: string, tensor: Tensor, rows: number, columns: number): void {
  if (tensor.rows < rows || tensor.columns !== columns) {
    throw new CochleaError('gpu-error', `${what}: ${tensor.label} is [${tensor.rows}, ${tensor.columns}], expected [${rows}, ${columns}]`);
  }
}

/** Throws unless two weights are split into the same shards. */
export function expectSameShards(what: string, a: Tensor, b: Tensor): void {
  if (a.shards.length !== b.shards.length || a.shards.some((shard, i) => shard.rows !== b.shards[i]!.rows)) {
    throw new CochleaError('gpu-error', `${what}: ${a.label} and ${b.label} are split differently`);
  }
}

/** Latents from ... end - 1. */
export interface LatentRange {
  from: number;
  end: number;
}

/** The shards that hold latents of a range (all without one), and in each of them which: first_latent ... are its rows from `before` on. */
export function shardParts(weight: Tensor, { from, end }: LatentRange = { from: 0, end: weight.rows }): { shard: Shard; first_latent: number; latents: number; before: number }[] {
  return weight.shards.flatMap((shard) => {
    const first = Math.max(shard.first, from);
    const latents = Math.min(shard.first + shard.rows, end) - first;
    return latents > 0 ? [{ shard, first_latent: first, latents, before: first - shard.first }] : [];
  });
}

/** Workgroups of `size` invocations that cover n. */
export function groupsFor(n: number, size = 64): number {
  return Math.ceil(n / size);
}

/**
 * Invocations of a workgroup that works on one row or one latent. Hardware wants a wave or two; a software adapter runs a workgroup on one CPU
 * core and pays at every barrier for every vector of lanes in it, so there the fewest is the fastest (SwiftShader has 4 lanes, lavapipe 8).
 */
export function rowWorkgroup(gpu: Gpu): number {
  if (!gpu.adapter.software) return 64;
  return /llvmpipe/i.test(gpu.adapter.description) ? 8 : 4;
}

/** Invocations of a subgroup where a workgroup of one subgroup is what serves best: on software adapters, whose barriers are dear. */
export function subgroupOf({ adapter, subgroups }: Gpu): 4 | 8 | undefined {
  return adapter.software && (subgroups?.size === 4 || subgroups?.size === 8) ? subgroups.size : undefined;
}

/** Lanes of the kernels that gather from images, on an adapter that has them (see gpu/images.ts). */
export function imageLanes(gpu: Gpu): 4 | 8 | undefined {
  return gpu.gathersImages ? subgroupOf(gpu) : undefined;
}
