import { RandomStream, streams } from '../random.ts';
import type { FrameArray } from './halves.ts';
import type { ChunkOrder, FrameChunk } from './types.ts';

/**
 * The chunks of one epoch from place `from` on: in stored order when `epoch` is undefined, else permuted by the random
 * stream (seed, sourceOrder, epoch). While a chunk is used the next one is read; never two at a time, and none is
 * under way any more once the consumer has stopped.
 */
export async function* readAhead<X extends FrameArray>(
  count: number, read: (number: number) => Promise<FrameChunk<X>>, { seed, epoch, from }: ChunkOrder,
): AsyncGenerator<FrameChunk<X>> {
  const order = epoch === undefined ? undefined : new RandomStream(seed, streams.sourceOrder, epoch).permutation(count);
  const start = (place: number): Promise<FrameChunk<X>> | undefined => {
    if (place >= count) return undefined;
    const chunk = read(order ? order[place]! : place);
    chunk.catch(() => {}); // it is reported where it is awaited, which may be later
    return chunk;
  };
  let ahead = start(from);
  try {
    while (ahead) {
      const chunk = await ahead;
      ahead = start(++from);
      yield chunk;
    }
  } finally {
    await ahead?.catch(() => {});
  }
}
