import type { OggStream } from './ogg.ts';
import type { Channels } from './sound.ts';
import { decodeFlac } from './decode-flac.ts';
import { alone, join, readOgg } from './ogg.ts';
import { concatenate, decoding, letters, soundError, truncated, viewOf } from './sound.ts';

type Codec = 'opus' | 'vorbis' | 'flac';

function codecOf(stream: OggStream): Codec | undefined {
  const head = stream.packets[0] ?? new Uint8Array();
  if (letters(head, 0, 8) === 'OpusHead') return 'opus';
  if (letters(head, 0, 7) === '\x01vorbis') return 'vorbis';
  if (letters(head, 0, 5) === '\x7fFLAC') return 'flac';
  return undefined;
}

/**
 * Decodes Ogg files with Opus, Vorbis or FLAC inside. Of streams that run side by side the first such one is taken;
 * chained files are joined, and must keep their sample rate.
 */
export async function decodeOgg(bytes: Uint8Array, name: string): Promise<Channels> {
  const decoders = { opus: decodeOpus, vorbis: decodeVorbis, flac: decodeOggFlac };
  const links: Channels[] = [];
  for (const streams of readOgg(bytes, name)) {
    const stream = streams.find(codecOf);
    if (!stream) throw soundError(name, 'holds neither Opus nor Vorbis nor FLAC', 'convert it, e.g. with `ffmpeg -i in.ogg out.flac`');
    links.push(await decoders[codecOf(stream)!](stream, name));
  }
  const [first] = links;
  const { sampleRate, channels } = first!;
  if (links.length === 1) return first!;
  if (links.some((link) => link.sampleRate !== sampleRate || link.channels.length !== channels.length)) {
    throw soundError(name, 'is a chain of recordings with different sample rates or channels', 'cut it apart first');
  }
  return { sampleRate, channels: channels.map((_, c) => concatenate(links.map((link) => link.channels[c]!))) };
}

/** Samples at 48 kHz in one Opus packet, from its first two bytes (RFC 6716, section 3.1 and 3.2). */
function opusSamples(packet: Uint8Array): number {
  if (packet.length === 0) return 0;
  const config = packet[0]! >> 3;
  const frame = config < 12 ? [480, 960, 1920, 2880][config & 3]! : config < 16 ? [480, 960][config & 1]! : [120, 240, 480, 960][config & 3]!;
  const code = packet[0]! & 3;
  return frame * (code === 0 ? 1 : code < 3 ? 2 : (packet[1] ?? 0) & 63);
}

/** Ogg Opus, RFC 7845: always decoded at 48 kHz, the pre-skip cut off, the end at the last granule position. */
async function decodeOpus(stream: OggStream, name: string): Promise<Channels> {
  const sampleRate = 48000;
  const head = stream.packets[0]!;
  const damaged = (): Error => soundError(name, 'is damaged: its Opus header is not valid');
  if (head.length < 19 || head[8]! >> 4 !== 0 || head[9] === 0) throw damaged();
  const view = viewOf(head);
  const channels = head[9]!;
  const preSkip = view.getUint16(10, true);
  const gain = 10 ** (view.getInt16(16, true) / (20 * 256));
  const family = head[18]!;
  if (family === 0 ? channels > 2 : head.length < 21 + channels) throw damaged();
  const streamCount = family === 0 ? 1 : head[19]!;
  const coupledStreamCount = family === 0 ? channels - 1 : head[20]!;
  const channelMappingTable = family === 0 ? [0, 1].slice(0, channels) : [...head.subarray(21, 21 + channels)];
  const coded = streamCount + coupledStreamCount;
  const unmapped = channelMappingTable.some((c) => c >= coded && c !== 255);
  if (streamCount === 0 || coupledStreamCount > streamCount || coded > 255 || unmapped) throw damaged();

  const audio = stream.packets.slice(2);
  const { OpusDecoder } = await import('opus-decoder');
  const decoded = await decoding(name, 'opus', async () => {
    const decoder = new OpusDecoder({ sampleRate, channels, streamCount, coupledStreamCount, channelMappingTable, preSkip: 0 });
    await decoder.ready;
    try {
      return decoder.decodeFrames(audio);
    } finally {
      decoder.free();
    }
  });
  if (decoded.errors.length > 0) throw soundError(name, `is damaged (opus): ${decoded.errors[0]!.message}`);
  const pages = stream.pages.filter((page) => page.granule > 0 && page.packets.length > 0);
  const [first] = pages;
  if (!first) throw soundError(name, 'is truncated: it has an Opus header and no sound');

  // A recording that was joined while it ran does not start at zero; one whose only page is the last is cut at its end.
  const onFirst = first.packets.reduce((n, packet) => n + opusSamples(packet), 0);
  const start = first.last ? 0 : Math.max(0, first.granule - onFirst);
  const end = pages.at(-1)!.granule - start;
  if (decoded.samplesDecoded < end) throw truncated(name, decoded.samplesDecoded - preSkip, end - preSkip, sampleRate);
  return {
    sampleRate,
    channels: decoded.channelData.map((samples) => {
      const kept = samples.subarray(Math.min(preSkip, end), end);
      return gain === 1 ? kept : kept.map((x) => x * gain);
    }),
  };
}

/** Ogg Vorbis I: the decoder trims the end at the last granule position. */
async function decodeVorbis(stream: OggStream, name: string): Promise<Channels> {
  const { OggVorbisDecoder } = await import('@wasm-audio-decoders/ogg-vorbis');
  const decoded = await decoding(name, 'vorbis', async () => {
    const decoder = new OggVorbisDecoder();
    await decoder.ready;
    try {
      return await decoder.decodeFile(alone(stream));
    } finally {
      decoder.free();
    }
  });
  const granules = stream.pages.map((page) => page.granule).filter((granule) => granule > 0);
  // Positions count samples, so what lies between the first and the last page of sound must be there.
  const promised = granules.length > 0 ? granules.at(-1)! - granules[0]! : 0;
  if (decoded.errors.length > 0) throw soundError(name, `is damaged (vorbis): ${decoded.errors[0]!.message}`);
  if (decoded.samplesDecoded < promised) throw truncated(name, decoded.samplesDecoded, promised, decoded.sampleRate);
  return { sampleRate: decoded.sampleRate, channels: decoded.channelData.map((samples) => samples.subarray(0, decoded.samplesDecoded)) };
}

/** Ogg FLAC (RFC 9639, section 10.1): the first packet is nine bytes of mapping, then a native FLAC stream goes on packet by packet. */
function decodeOggFlac(stream: OggStream, name: string): Promise<Channels> {
  return decodeFlac(join([stream.packets[0]!.subarray(9), ...stream.packets.slice(1)]), name);
}
