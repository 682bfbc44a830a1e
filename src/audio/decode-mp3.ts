import type { Channels } from './sound.ts';
import { decoding, letters, soundError, truncated, viewOf } from './sound.ts';

interface Header {
  /** What must stay the same from frame to frame: version, layer, sample rate. */
  stream: number;
  bytes: number;
  samples: number;
  sampleRate: number;
  /** Length of the layer III side information. */
  side: number;
}

// Kilobits per second by bit rate index, for MPEG-1 layers I, II, III and MPEG-2 layers I and II/III (ISO 11172-3, 13818-3).
const bitRates = [
  [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

function readHeader(bytes: Uint8Array, at: number): Header | undefined {
  const [a, b, c, d] = bytes.subarray(at, at + 4);
  if (d === undefined || a !== 0xff || (b! & 0xe0) !== 0xe0) return undefined;
  const version = (b! >> 3) & 3; // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
  const layer = 4 - ((b! >> 1) & 3); // 1, 2, 3; 4 is reserved
  const rateIndex = (c! >> 2) & 3;
  if (version === 1 || layer === 4 || rateIndex === 3) return undefined;
  const sampleRate = [44100, 48000, 32000][rateIndex]! >> (version === 3 ? 0 : version === 2 ? 1 : 2);
  const kbps = bitRates[version === 3 ? layer - 1 : layer === 1 ? 3 : 4]![c! >> 4];
  // Index 0 is "free format", which no common encoder writes.
  if (!kbps) return undefined;
  const samples = layer === 1 ? 384 : layer === 3 && version !== 3 ? 576 : 1152;
  const slot = layer === 1 ? 4 : 1;
  const length = (Math.floor((samples / 8 / slot) * kbps * 1000 / sampleRate) + ((c! >> 1) & 1)) * slot;
  const mono = d! >> 6 === 3;
  const side = version === 3 ? (mono ? 17 : 32) : mono ? 9 : 17;
  return { stream: (b! & 0x1e) << 8 | (c! & 0x0c), bytes: length, samples, sampleRate, side };
}

/** True when the bytes begin with an MPEG audio frame that is followed by another one, or by the end. */
export function startsLikeMp3(bytes: Uint8Array): boolean {
  const first = readHeader(bytes, 0);
  if (!first) return false;
  return first.bytes >= bytes.length || first.stream === readHeader(bytes, first.bytes)?.stream || isTag(bytes, first.bytes);
}

/** Tags that programs write behind the last frame; zeros are padding. */
function isTag(bytes: Uint8Array, at: number): boolean {
  return letters(bytes, at, 3) === 'TAG' || letters(bytes, at, 8) === 'APETAGEX' || letters(bytes, at, 11) === 'LYRICSBEGIN'
    || letters(bytes, at, 3) === 'ID3' || bytes.subarray(at).every((byte) => byte === 0);
}

/** What the header in a first frame without sound says: the number of frames behind it, and samples to cut off at both ends. */
interface Info {
  frames: number | undefined;
  cut: number;
}

/** Reads a Xing or Info header, with the extension of LAME, or a VBRI header. */
function readInfo(frame: Uint8Array, side: number): Info | undefined {
  const view = viewOf(frame);
  const xing = 4 + side;
  if (['Xing', 'Info'].includes(letters(frame, xing, 4)) && frame.length >= xing + 12) {
    const flags = view.getUint32(xing + 4);
    if ((flags & 1) === 0) return { frames: undefined, cut: 0 };
    const lame = xing + 12 + (flags & 2 ? 4 : 0) + (flags & 4 ? 100 : 0) + (flags & 8 ? 4 : 0);
    // Twelve bits each of encoder delay and padding stand 21 bytes behind the encoder's name.
    const named = lame + 24 <= frame.length && frame[lame] !== 0;
    const bits = named ? view.getUint32(lame + 20) & 0xffffff : 0;
    return { frames: view.getUint32(xing + 8), cut: (bits >> 12) + (bits & 0xfff) };
  }
  if (letters(frame, 36, 4) === 'VBRI' && frame.length >= 54) return { frames: view.getUint32(50), cut: 0 };
  return undefined;
}

// The decoder's own delay, which it takes off at the start and gives back at the end where the padding allows.
const decoderDelay = 529;

/**
 * Decodes MPEG audio layers I to III. The frames are walked first: a file with something else between its frames,
 * with a last frame cut off, or with fewer frames than its Xing or VBRI header counts is an error. Encoder delay and
 * padding are cut off when a LAME tag states them, and stay (some 1,105 samples at the start) when none does.
 */
export async function decodeMp3(bytes: Uint8Array, name: string): Promise<Channels> {
  const first = readHeader(bytes, 0);
  if (!first) throw soundError(name, 'is damaged: it does not begin with an MPEG audio frame');
  const info = readInfo(bytes.subarray(0, first.bytes), first.side);
  let frames = info ? -1 : 0;
  let at = 0;
  while (at < bytes.length && !isTag(bytes, at)) {
    const header = readHeader(bytes, at);
    if (header?.stream !== first.stream) throw soundError(name, `is damaged: there is no MPEG audio frame at byte ${at}`);
    at += header.bytes;
    frames++;
  }
  const { sampleRate, samples: perFrame } = first;
  if (at > bytes.length) throw truncated(name, (frames - 1) * perFrame, Math.max(frames, info?.frames ?? 0) * perFrame, sampleRate);
  // Some writers count the frame that holds the count.
  if (info?.frames !== undefined && frames < info.frames - 1) throw truncated(name, frames * perFrame, info.frames * perFrame, sampleRate);

  const { MPEGDecoder } = await import('mpg123-decoder');
  const decoded = await decoding(name, 'mp3', async () => {
    const decoder = new MPEGDecoder();
    await decoder.ready;
    // The decoder reports an error and reads on, for ever when the error stays: throwing from its report ends that.
    Object.assign(decoder, { _getErrorMessage: (code: number) => {
      throw new Error(`mpg123 error ${code}`);
    } });
    try {
      return decoder.decode(bytes.subarray(0, at));
    } finally {
      decoder.free();
    }
  });
  // The decoder skips what it cannot make out; a count that is wrong by one frame is common, and harmless.
  const expected = frames * perFrame - (info?.cut ?? 0);
  if (Math.abs(decoded.samplesDecoded - expected) > perFrame + decoderDelay) throw truncated(name, decoded.samplesDecoded, expected, sampleRate);
  return { sampleRate, channels: decoded.channelData.map((samples) => samples.subarray(0, decoded.samplesDecoded)) };
}
