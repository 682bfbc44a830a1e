/**
 * Means over windows of `window` rows: frames [rows, width] become [windows, width], in stored order. The last window has the rows that are left,
 * and is left out where they are fewer than half a window, unless there is no other.
 */
export function meanPooled(frames: Float32Array, width: number, window: number): Float32Array {
  if (window === 1) return frames;
  const rows = frames.length / width;
  const windows = rows === 0 ? 0 : Math.max(1, Math.round(rows / window));
  const pooled = new Float32Array(windows * width);
  for (let n = 0; n < windows; n++) {
    const first = n * window, end = Math.min(rows, first + window);
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let row = first; row < end; row++) sum += frames[row * width + column]!;
      pooled[n * width + column] = sum / (end - first);
    }
  }
  return pooled;
}
