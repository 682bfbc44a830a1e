import { RandomStream, streams } from '../random.ts';
import type { FrameArray } from './halves.ts';
import type { ChunkOrder, FrameChunk } from './types.ts';

/**
 * What `start` makes of each number from `from` to count - 1, in their order. While one result is used the next `ahead` are made, with 1 never two at a
 * time; none is under way any more once the consumer has stopped.
 */
export async function* inOrder<T>(count: number, start: (number: number) => Promise<T>, { from = 0, ahead = 1 }: { from?: number; ahead?: number } = {}): AsyncGenerator<T> {
  const begun: Promise<T>[] = [];
  let next = from;
  const begin = (): void => {
    while (begun.length < ahead && next < count) {
      const result = start(next++);
      result.catch(() => {}); // it is reported where it is awaited, which may be later
      begun.push(result);
    }
  };
  try {
    for (begin(); begun.length > 0;) {
      const result = await begun.shift()!;
      begin();
      yield result;
    }
  } finally {
    await Promise.allSettled(begun);
  }
}

/**
 * The chunks of one epoch from place `from` on: in stored order when `epoch` is undefined, else permuted by the random
 * stream (seed, sourceOrder, epoch). While a chunk is used the next one, or the next `ahead`, are read.
 */
export function readAhead<X extends FrameArray>(
  count: number, read: (number: number) => Promise<FrameChunk<X>>, { seed, epoch, from }: ChunkOrder, ahead = 1,
): AsyncGenerator<FrameChunk<X>> {
  const order = epoch === undefined ? undefined : new RandomStream(seed, streams.sourceOrder, epoch).permutation(count);
  return inOrder(count, (place) => read(order ? order[place]! : place), { from, ahead });
}
