import { CochleaError } from '../errors.ts';

/** One recording in memory. */
export interface Sound {
  /** Mono, full scale = 1. */
  samples: Float32Array;
  /** Hertz. */
  sampleRate: number;
}

/** What a decoder hands on, before the channels are mixed. */
export interface Channels {
  /** One array per channel, all of one length, full scale = 1. */
  channels: Float32Array[];
  sampleRate: number;
}

const repair = 'leave it out, or make it whole again, e.g. with `ffmpeg -i in out.flac`';

/** An error about one recording; it names the file first. */
export function soundError(name: string, what: string, hint = repair, cause?: unknown): CochleaError {
  return new CochleaError('audio', `${name}: ${what}`, hint, { cause });
}

/** The error of a file that ends before the length which its own headers promise. */
export function truncated(name: string, has: number, promised: number, sampleRate: number): CochleaError {
  const seconds = (samples: number): string => (samples / sampleRate).toFixed(3);
  return soundError(name, `is truncated or damaged: ${seconds(has)} s of the ${seconds(promised)} s that its header promises`);
}

/** Runs a decoder of another project; whatever it throws becomes an error that names the file. */
export async function decoding<T>(name: string, format: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CochleaError) throw error;
    throw soundError(name, `is damaged (${format}): ${firstLine(error)}`, repair, error);
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
}

/** ASCII letters at an offset, for magic numbers. */
export function letters(bytes: Uint8Array, offset: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(offset, offset + length));
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Joins pieces of one channel. */
export function concatenate(pieces: Float32Array[]): Float32Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Float32Array(pieces.reduce((n, piece) => n + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
