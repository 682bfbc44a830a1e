import type { Channels } from './sound.ts';
import { letters, soundError, truncated, viewOf } from './sound.ts';

// RIFF/WAVE: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft 1991);
// WAVE_FORMAT_EXTENSIBLE: Microsoft, Multiple Channel Audio Data and WAVE Files;
// RF64: EBU Tech 3306 (BW64, ITU-R BS.2088, has the same ds64 chunk).

const pcm = 1;
const float = 3;
const extensible = 0xfffe;

// Writers that cannot seek back leave a size near 2^31 or 2^32 (ffmpeg, sox, arecord): "until the end of the file".
const streamedSize = 0x7fff0000;

interface Format {
  kind: number;
  channels: number;
  sampleRate: number;
  frameBytes: number;
}

function readFormat(bytes: Uint8Array, name: string): Format {
  if (bytes.length < 16) throw soundError(name, 'is damaged: its fmt chunk is too short');
  const view = viewOf(bytes);
  let kind = view.getUint16(0, true);
  // The sub-format is a GUID whose first two bytes are the plain format tag.
  if (kind === extensible && bytes.length >= 26) kind = view.getUint16(24, true);
  return { kind, channels: view.getUint16(2, true), sampleRate: view.getUint32(4, true), frameBytes: view.getUint16(12, true) };
}

/**
 * A reader of one sample at a byte offset, full scale = 1. Integers are divided by 2^(bits-1), so that every
 * 16-bit file gives the same numbers as libsndfile; depths between whole bytes are left-justified in their container.
 */
function sampleReader(view: DataView, { kind, channels, frameBytes }: Format): ((offset: number) => number) | undefined {
  const width = frameBytes / channels;
  if (kind === pcm && width === 1) return (at) => (view.getUint8(at) - 128) / 128;
  if (kind === pcm && width === 2) return (at) => view.getInt16(at, true) / 32768;
  if (kind === pcm && width === 3) return (at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 8388608;
  if (kind === pcm && width === 4) return (at) => view.getInt32(at, true) / 2147483648;
  if (kind === float && width === 4) return (at) => view.getFloat32(at, true);
  if (kind === float && width === 8) return (at) => view.getFloat64(at, true);
  return undefined;
}

/**
 * Reads RIFF, RF64 and BW64 wave files: PCM of 8 to 32 bits, float of 32 and 64 bits, plain or extensible.
 * Unknown chunks are skipped, a missing pad byte at the end is forgiven.
 * Throws CochleaError `audio` for every other coding, a missing chunk, or fewer samples than promised.
 */
export function decodeWav(bytes: Uint8Array, name: string): Channels {
  const view = viewOf(bytes);
  let format: Format | undefined;
  let longDataSize: number | undefined;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const id = letters(bytes, at, 4);
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    if (id === 'ds64' && size >= 16 && start + 16 <= bytes.length) longDataSize = Number(view.getBigUint64(start + 8, true));
    if (id === 'fmt ') format = readFormat(bytes.subarray(start, start + size), name);
    if (id === 'data') {
      if (!format) throw soundError(name, 'is damaged: its data chunk comes before any fmt chunk');
      const promised = longDataSize ?? (size < streamedSize ? size : undefined);
      return readData(bytes.subarray(start), promised ?? Math.min(size, bytes.length - start), format, name);
    }
    at = start + size + (size % 2);
  }
  throw soundError(name, format ? 'is truncated: it has no data chunk' : 'is damaged: it has no fmt chunk');
}

function readData(bytes: Uint8Array, size: number, format: Format, name: string): Channels {
  const { channels, sampleRate, frameBytes } = format;
  const read = channels > 0 ? sampleReader(viewOf(bytes), format) : undefined;
  if (!read) {
    throw soundError(name, `has a wav coding that is not read here (format ${format.kind}, ${channels} channels, ${frameBytes} bytes per frame)`,
      'PCM and float are read; convert it, e.g. with `ffmpeg -i in.wav -c:a pcm_s16le out.wav`');
  }
  const frames = Math.floor(size / frameBytes);
  if (size > bytes.length) throw truncated(name, Math.floor(bytes.length / frameBytes), frames, sampleRate);
  const width = frameBytes / channels;
  return {
    sampleRate,
    channels: Array.from({ length: channels }, (_, channel) => {
      const samples = new Float32Array(frames);
      for (let i = 0, at = channel * width; i < frames; i++, at += frameBytes) samples[i] = read(at);
      return samples;
    }),
  };
}
