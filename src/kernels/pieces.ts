/**
 * Launches that would keep an adapter busy for long go in several dispatches: a driver's watchdog stops what takes seconds. The dense products,
 * whose grids have two dimensions, are cut by their own launchers (encode.ts, dense.ts); what gathers rows, compares rows with rows or selects
 * goes through here.
 *
 * All other kernels are one dispatch, because they go over what is bound to them once or a few times, and memory is what they take: pre-activations
 * are held for 256 MiB of rows at a time (chunkRows in src/sae), frames and kept pairs have fewer numbers, and of weights a dispatch has one shard. A
 * software adapter may need longer for these, but no driver watches it.
 */
import { boundOf, type Kernel, maxGroups, type Recorder, type Shard, type Tensor } from '../gpu/index.ts';
import { costOf } from './costs/index.ts';

/**
 * What a multiply-add that gathers its number costs, in multiply-adds of a dense product, which uses each number often. On hardware about 8, by
 * bandwidth; measured on software adapters 6 to 16, where images and registers help and where not. A number that is only moved or compared costs as much.
 */
const gathering = 16;

/** What costs do not say of a launch that may take longer than they do: `times` as long, and under which other constants. */
interface Longest {
  times?: number;
  constants?: Record<string, number>;
}

/**
 * A dispatch by a shader whose workgroups are numbered from `begin_group` on: in as many pieces as its cost asks for, of whole workgroups, which
 * changes no bit. Workgroups count as alike. Ragged rows and the entries of latents are so on average alone: what holds for the mean of all pieces may
 * not hold for the one with the most pairs.
 */
export function dispatchInPieces(rec: Recorder, kernel: Kernel, tensors: Record<string, Tensor | Shard>, parameters: Record<string, number>, groups: number,
  { times = 1, constants }: Longest = {}): void {
  const { flops, bytes } = costOf(kernel.name, { constants: { ...kernel.constants, ...constants }, parameters, bound: boundOf(tensors) })!;
  const pieces = Math.ceil((gathering * times * Math.max(flops, bytes / 2)) / rec.gpu.dispatchFlops); // four bytes as a multiply-add
  if (pieces <= 1) return rec.dispatch(kernel, tensors, { ...parameters, begin_group: 0 }, groups);
  const most = Math.min(Math.ceil(groups / pieces), maxGroups); // in one row of the grid: none of it reaches into the next piece
  for (let begin = 0; begin < groups; begin += most) {
    const here = Math.min(most, groups - begin);
    rec.dispatch(kernel, tensors, { ...parameters, begin_group: begin }, [here, 1], here / groups);
  }
}
