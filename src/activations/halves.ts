/** Frames as they come: numbers, or the patterns of 16 bits that they are stored as. */
import { decodeElements } from '../formats/dtype.ts';

export type FrameArray = Float32Array | Uint16Array;

/** What patterns of 16 bits are patterns of. */
export type HalfFormat = 'f16' | 'bf16';

/** The numbers of frames. Those that are numbers already are given back as they are. */
export function frameNumbers(frames: FrameArray, format: HalfFormat = 'f16'): Float32Array {
  if (frames instanceof Float32Array) return frames;
  const numbers = new Float32Array(frames.length);
  decodeElements(new Uint8Array(frames.buffer, frames.byteOffset, frames.byteLength), format === 'f16' ? 'F16' : 'BF16', numbers, 0);
  return numbers;
}

/** Whether row `row` of frames [rows, width] holds neither NaN nor infinity. */
export function isFiniteRow(frames: FrameArray, format: HalfFormat | undefined, row: number, width: number): boolean {
  const begin = row * width, end = begin + width;
  if (frames instanceof Float32Array) {
    let zero = 0; // stays 0 unless a value is NaN or infinite
    for (let i = begin; i < end; i++) zero += frames[i]! - frames[i]!;
    return zero === 0;
  }
  const exponent = format === 'bf16' ? 0x7f80 : 0x7c00;
  for (let i = begin; i < end; i++) if ((frames[i]! & exponent) === exponent) return false;
  return true;
}
