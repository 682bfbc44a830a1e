/**
 * What a dispatch costs at least, from its parameters alone.
 *
 * FLOPs: every addition, subtraction, multiplication, division and function (sqrt, exp, log, pow) of the equations in the shader's header,
 * each once per element that they are written for, padding to whole vec4s included where the kernel runs over it. A sum of n terms is n
 * additions. Comparisons, maxima, selections, negations and integers are none.
 *
 * Bytes: every element that the equations read or write, once, as if a cache held all that is used twice; of a scattered row that many pairs
 * share, once. So this is the least traffic with memory, and no estimate of what an adapter really moves.
 *
 * What only the data know is taken as full: all slots of kept pairs (spread evenly over latents, where a dispatch is for a part of them),
 * every activation of a dense code above zero; and lists of dead latents as long as they must be for what is kept from them.
 */
import type { Bound } from '../../gpu/index.ts';

export interface Cost {
  flops: number;
  bytes: number;
}

/** A dispatch as the recorder saw it, with all of the shader's constants. */
export interface Launch {
  constants: Readonly<Record<string, number>>;
  parameters: Readonly<Record<string, number>>;
  /** Rows of what was bound, of the whole tensor where this is one shard of it, and columns where it is not. */
  bound: Readonly<Record<string, Bound>>;
  /** Of all this, what is done: less than 1 for a piece (see pieces.ts). */
  share?: number;
}

/** FLOPs, and 32-bit words. `c`: constants, `p`: parameters, `bound` by the shader's names. */
export type CountOf = (c: Record<string, number>, p: Record<string, number>, bound: Launch['bound']) => readonly [flops: number, words: number];

/** The share of a weight's latents that a dispatch is for. */
export function shareOf(latents: number, weight: { of: number } | undefined): number {
  return weight ? latents / weight.of : 1;
}

/** Slots of kept pairs: k in each row, or in all rows together where they are ragged. */
export function pairsOf(c: Record<string, number>, p: Record<string, number>): number {
  return c['RAGGED'] ? p['k']! : p['rows']! * p['k']!;
}
