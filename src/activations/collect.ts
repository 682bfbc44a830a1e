import type { ClipLabel, FrameChunk, FrameSource } from './types.ts';

/**
 * The first `maxRows` rows of a source in stored order, as one chunk (fewer when it has fewer), with their targets where
 * it has them: a fixed set of frames to evaluate on. A clip that was cut in two by the source is one clip again.
 */
export async function collect(source: FrameSource, maxRows: number): Promise<FrameChunk> {
  const { dIn, dOut } = source;
  const parts: FrameChunk[] = [];
  let rows = 0;
  for await (const chunk of source.chunks({ seed: 0, epoch: undefined, from: 0 })) {
    const used = Math.min(chunk.rows, maxRows - rows);
    parts.push({ ...chunk, rows: used });
    rows += used;
    if (rows >= maxRows) break;
  }
  const whole: FrameChunk = { x: new Float32Array(rows * dIn), rows, clip: new Uint32Array(rows), time: new Float32Array(rows), clips: [] };
  if (dOut !== undefined) whole.target = new Float32Array(rows * dOut);
  const indices = new Map<string, number>();
  const indexOf = (clip: ClipLabel): number => {
    const known = indices.get(clip.id);
    if (known !== undefined) return known;
    indices.set(clip.id, whole.clips.length);
    return whole.clips.push(clip) - 1;
  };
  let at = 0;
  for (const part of parts) {
    whole.x.set(part.x.subarray(0, part.rows * dIn), at * dIn);
    if (dOut !== undefined) whole.target!.set(part.target!.subarray(0, part.rows * dOut), at * dOut);
    whole.time.set(part.time.subarray(0, part.rows), at);
    for (let row = 0; row < part.rows; row++) whole.clip[at + row] = indexOf(part.clips[part.clip[row]!]!);
    at += part.rows;
  }
  return whole;
}
