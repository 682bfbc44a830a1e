import type { Channels, Sound } from './sound.ts';
import { decodeAdts, decodeMp4, startsLikeAdts } from './decode-aac.ts';
import { decodeFlac } from './decode-flac.ts';
import { decodeMp3, startsLikeMp3 } from './decode-mp3.ts';
import { decodeOgg } from './decode-ogg.ts';
import { decodeWav } from './decode-wav.ts';
import { letters, soundError, viewOf } from './sound.ts';

const convert = 'wav, flac, mp3, ogg (Opus, Vorbis, FLAC), m4a and aac are read; convert it, e.g. with `ffmpeg -i in out.flac`';

/** Sound files of other kinds, by the letters they begin with, so that the error can say what they are. */
const foreign: [string, string][] = [
  ['FORM', 'an AIFF file'],
  ['caff', 'a Core Audio file'],
  ['.snd', 'a Sun audio file'],
  ['NIST_1A', 'a NIST SPHERE file'],
  ['#!AMR', 'an AMR file'],
  ['MThd', 'a MIDI file: it holds notes, not sound'],
  ['RIFX', 'a big-endian wav file'],
  ['\x1a\x45\xdf\xa3', 'a WebM or Matroska file'],
  ['\x30\x26\xb2\x75', 'a Windows Media file'],
];

function decoderOf(bytes: Uint8Array): ((bytes: Uint8Array, name: string) => Channels | Promise<Channels>) | undefined {
  const head = letters(bytes, 0, 4);
  if (['RIFF', 'RF64', 'BW64'].includes(head) && letters(bytes, 8, 4) === 'WAVE') return decodeWav;
  if (head === 'fLaC') return decodeFlac;
  if (head === 'OggS') return decodeOgg;
  if (['ftyp', 'moov', 'mdat', 'wide'].includes(letters(bytes, 4, 4))) return decodeMp4;
  if (startsLikeAdts(bytes)) return decodeAdts;
  if (startsLikeMp3(bytes)) return decodeMp3;
  return undefined;
}

/** ID3v2 tags, and zeros behind them, may stand before mp3, aac and flac: four bytes of seven bits give the size after ten of header. */
function withoutTags(bytes: Uint8Array): Uint8Array {
  let rest = bytes;
  while (letters(rest, 0, 3) === 'ID3' && rest.length >= 10) {
    const size = rest.subarray(6, 10).reduce((n, byte) => n * 128 + (byte & 0x7f), 0);
    rest = rest.subarray(10 + size + (rest[5]! & 0x10 ? 10 : 0));
    rest = rest.subarray(Math.max(0, rest.findIndex((byte) => byte !== 0)));
  }
  return rest;
}

/**
 * Tags that taggers put behind flac, aac and mp4 as well, and decoders take for damage: ID3v1, 128 bytes, and before it or alone APEv2, whose last 32
 * bytes give the size of all but its own head, and by the highest bit of the flags whether there is one.
 */
function withoutLastTags(bytes: Uint8Array): Uint8Array {
  const rest = bytes.length > 128 && letters(bytes, bytes.length - 128, 3) === 'TAG' ? bytes.subarray(0, -128) : bytes;
  const foot = rest.length - 32;
  if (foot < 0 || letters(rest, foot, 8) !== 'APETAGEX') return rest;
  const view = viewOf(rest);
  const start = rest.length - view.getUint32(foot + 12, true) - (view.getUint32(foot + 20, true) >= 2 ** 31 ? 32 : 0);
  return start > 0 && start <= foot ? rest.subarray(0, start) : rest;
}

/** The mean of the channels, summed in double precision. */
function mix({ channels }: Channels): Float32Array {
  if (channels.length <= 1) return channels[0] ?? new Float32Array();
  const mono = new Float32Array(channels[0]!.length);
  for (let i = 0; i < mono.length; i++) {
    let sum = 0;
    for (const samples of channels) sum += samples[i]!;
    mono[i] = sum / channels.length;
  }
  return mono;
}

/**
 * Decodes a whole recording, known by its bytes and not by its name, and mixes it to mono.
 * Decoders are loaded when the first file of their kind is met; wav needs none.
 *
 * Throws CochleaError `audio` with `name` in front: for an empty file, an unknown kind, no samples, samples that are not
 * finite, damage that the container or the decoder notices, and a file that ends before the length which its container
 * promises (a wav data size, FLAC's sample count, an Ogg page or packet, an mp3 frame or frame count, an MP4 box).
 * A file cut exactly where nothing promises more (between Ogg pages, between the frames of a plain mp3 or aac) cannot be
 * told from a whole one, and gives what is there.
 */
export async function decodeSound(bytes: Uint8Array, name: string): Promise<Sound> {
  if (bytes.length === 0) throw soundError(name, 'is empty');
  const tagged = withoutTags(bytes);
  const decode = decoderOf(tagged);
  const body = decode === decodeWav || decode === decodeOgg ? tagged : withoutLastTags(tagged);
  if (!decode) {
    const kind = foreign.find(([magic]) => letters(body, 0, magic.length) === magic)?.[1];
    throw soundError(name, kind ? `is ${kind}` : 'is not a sound file that is read here', convert);
  }
  const decoded = await decode(body, name);
  const { sampleRate } = decoded;
  // Also a guard: headers are not checksummed everywhere, and a rate of 3 GHz would ask the resampler for the moon.
  if (!(sampleRate >= 1000 && sampleRate <= 768000)) throw soundError(name, `claims a sample rate of ${sampleRate} Hz`);
  const samples = mix(decoded);
  if (samples.length === 0) throw soundError(name, 'holds no samples');
  const bad = samples.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) throw soundError(name, `has a sample that is not a finite number, at ${(bad / sampleRate).toFixed(3)} s`);
  return { samples, sampleRate };
}
