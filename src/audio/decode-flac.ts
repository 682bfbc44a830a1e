import type { Channels } from './sound.ts';
import { decoding, letters, soundError, truncated, viewOf } from './sound.ts';

/**
 * Decodes a native FLAC stream (RFC 9639), exactly: integer samples divided by 2^(bits-1).
 * Frames whose checksum is wrong are dropped by the decoder; the sample count of STREAMINFO brings that to light.
 */
export async function decodeFlac(bytes: Uint8Array, name: string): Promise<Channels> {
  // STREAMINFO is always first: 4 bytes of block header, then the rate (20 bits), channels (3), bits - 1 (5), samples (36).
  const hasHeader = bytes.length >= 42 && letters(bytes, 0, 4) === 'fLaC' && (bytes[4]! & 0x7f) === 0;
  if (!hasHeader) throw soundError(name, 'is truncated or damaged: it has no flac header');
  const view = viewOf(bytes);
  const sampleRate = view.getUint32(18) >>> 12;
  const bits = (((bytes[20]! & 1) << 4) | (bytes[21]! >> 4)) + 1;
  if (bits > 24) {
    throw soundError(name, `has ${bits} bits per sample, flac is read up to 24`, 'convert it, e.g. with `ffmpeg -i in.flac -c:a pcm_f32le out.wav`');
  }
  const promised = (bytes[21]! & 0x0f) * 2 ** 32 + view.getUint32(22);

  const { FLACDecoder } = await import('@wasm-audio-decoders/flac');
  const decoded = await decoding(name, 'flac', async () => {
    const decoder = new FLACDecoder();
    await decoder.ready;
    try {
      return await decoder.decodeFile(bytes);
    } finally {
      decoder.free();
    }
  });
  if (decoded.errors.length > 0) throw soundError(name, `is damaged (flac): ${decoded.errors[0]!.message}`);
  if (decoded.samplesDecoded > 0 && (decoded.sampleRate !== sampleRate || decoded.bitDepth !== bits)) {
    const frames = `${decoded.sampleRate} Hz, ${decoded.bitDepth} bits`;
    throw soundError(name, `is damaged: its flac header says ${sampleRate} Hz, ${bits} bits, its frames say ${frames}`);
  }
  // Zero stands for "not known when the header was written".
  if (promised !== 0 && decoded.samplesDecoded !== promised) throw truncated(name, decoded.samplesDecoded, promised, sampleRate);
  const channels = decoded.channelData.map((samples) => samples.subarray(0, decoded.samplesDecoded));
  restoreScale(channels, bits);
  return { channels, sampleRate };
}

/** The decoder divides by 2^(bits-1) - 1; rounding recovers the integer, which a float32 holds up to 24 bits. */
function restoreScale(channels: Float32Array[], bits: number): void {
  const full = 2 ** (bits - 1);
  for (const samples of channels) {
    for (let i = 0; i < samples.length; i++) samples[i] = Math.round(samples[i]! * (full - 1)) / full;
  }
}
