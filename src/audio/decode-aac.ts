import type { Frame, LibAV, LibAVWrapper, Packet } from '@libav.js/variant-fat';
import type { Channels } from './sound.ts';
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { concatenate, decoding, soundError, truncated, viewOf } from './sound.ts';

// FFmpeg as WebAssembly (LGPL-2.1) reads MP4 and decodes what phones put into it: AAC, and Apple's lossless ALAC.

const quiet = -8;
const endOfFile = -541478725;
const tryAgain = -6;
const audio = 1;
const codecAac = 86018;
const planar16 = 6;
const planar32 = 7;
const planarFloat = 8;

let loaded: Promise<LibAV> | undefined;
let files = 0;

async function load(): Promise<LibAV> {
  const page = globalThis as { LibAV?: Partial<LibAVWrapper> };
  try {
    if (runtime.name === 'browser' && page.LibAV === undefined) {
      // In a page this package is a plain script: it finds the rest of itself through a global.
      page.LibAV = { base: import.meta.resolve('@libav.js/variant-fat').replace(/\/[^/]*$/, '') };
    }
    const module = (await import('@libav.js/variant-fat')) as unknown as { default?: LibAVWrapper };
    const av = await (module.default ?? (page.LibAV as LibAVWrapper)).LibAV({ noworker: true });
    await av.av_log_set_level(quiet);
    return av;
  } catch (error) {
    const hint = 'install @libav.js/variant-fat, or convert the file';
    throw new CochleaError('runtime', `the decoder of m4a and aac cannot be loaded: ${String(error)}`, hint, { cause: error });
  }
}

/** Notes a step that frees something; the steps run last to first when the decoding is over, well or badly. */
type Later = (step: () => Promise<unknown>) => void;

/** Runs with the one loaded FFmpeg. After a trap its memory cannot be trusted, and the next caller gets a new one. */
async function withFfmpeg(name: string, work: (av: LibAV, later: Later) => Promise<Channels>): Promise<Channels> {
  loaded ??= load();
  const mine = loaded;
  const steps: (() => Promise<unknown>)[] = [];
  try {
    const av = await mine;
    return await decoding(name, 'm4a or aac', async () => {
      try {
        return await work(av, (step) => void steps.unshift(step));
      } finally {
        for (const step of steps) await step();
      }
    });
  } catch (error) {
    const failure = error as Error;
    if (loaded === mine && (failure.cause instanceof WebAssembly.RuntimeError || (failure as CochleaError).code === 'runtime')) loaded = undefined;
    throw error;
  }
}

/** Collects decoded frames; all must be planar and alike. */
function collector(name: string) {
  const pieces: Float32Array[][] = [];
  let sampleRate = 0;
  return {
    add(frames: Frame[]): void {
      for (const { data, format, sample_rate: rate = 0 } of frames) {
        const scale = { [planar16]: 1 / 32768, [planar32]: 1 / 2147483648, [planarFloat]: 1 }[format];
        if (scale === undefined) throw soundError(name, 'has a coding that is not read here', 'convert it, e.g. with `ffmpeg -i in.m4a out.flac`');
        const planes = (data as (Float32Array | Int32Array | Int16Array)[]).map((plane) =>
          plane instanceof Float32Array ? plane : Float32Array.from(plane, (x) => x * scale));
        const alike = rate === sampleRate && planes.length === pieces.length;
        if (pieces.length > 0 && !alike) throw soundError(name, 'changes its sample rate or channels midway');
        sampleRate = rate;
        planes.forEach((plane, c) => (pieces[c] ??= []).push(plane));
      }
    },
    channels(): Channels {
      return { sampleRate, channels: pieces.map(concatenate) };
    },
  };
}

/**
 * Decodes the first sound track of an MP4, M4A or MOV file. The edit list cuts the encoder's priming samples and the
 * padding at the end, as in every player; without one (fragmented files) the priming stays.
 */
export async function decodeMp4(bytes: Uint8Array, name: string): Promise<Channels> {
  checkBoxes(bytes, name);
  return withFfmpeg(name, async (av, later) => {
    const file = `${files++}`;
    await av.writeFile(file, bytes);
    later(() => av.unlink(file));
    const [format, streams] = await av.ff_init_demuxer_file(file);
    later(() => av.avformat_close_input_js(format));
    const stream = streams.find((s) => s.codec_type === audio);
    if (!stream) throw soundError(name, 'has no sound track', 'leave it out');
    const [, context, packet, frame] = await av.ff_init_decoder(stream.codec_id, stream.codecpar);
    later(() => av.ff_free_decoder(context, packet, frame));
    const sound = collector(name);
    for (let status = 0; status !== endOfFile; ) {
      const [result, packets] = await av.ff_read_multi(format, packet, undefined, { limit: 1 << 20 });
      status = result;
      if (status < 0 && status !== endOfFile && status !== tryAgain) throw new Error(await av.ff_error(status));
      sound.add(await av.ff_decode_multi(context, packet, frame, packets[stream.index] ?? [], status === endOfFile));
    }
    const { channels, sampleRate } = sound.channels();
    const promised = Math.round(stream.duration * sampleRate);
    const has = channels[0]?.length ?? 0;
    // AAC comes in frames of 1,024 samples (2,048 with SBR) and may lack one at either end.
    if (has < promised - 4096) throw truncated(name, has, promised, sampleRate);
    return { sampleRate, channels: promised > 0 ? channels.map((samples) => samples.subarray(0, promised)) : channels };
  });
}

/** The boxes of an ISO base media file (ISO 14496-12) state their sizes: one that goes beyond the end was cut off. */
function checkBoxes(bytes: Uint8Array, name: string): void {
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length; ) {
    const short = at + 8 <= bytes.length ? view.getUint32(at) : -1;
    if (short === 0) return; // "until the end of the file"
    const size = short === 1 && at + 16 <= bytes.length ? Number(view.getBigUint64(at + 8)) : short;
    if (size < 8 || at + size > bytes.length) throw soundError(name, `is truncated or damaged: its box at byte ${at} is not whole`);
    at += size;
  }
}

/** True at the head of an ADTS frame: twelve set bits, layer 0. */
export function startsLikeAdts(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && (bytes[1]! & 0xf6) === 0xf0;
}

/** Decodes a bare AAC stream (ADTS, ISO 14496-3 annex 1.A): nothing in it tells the priming samples, so they stay. */
export async function decodeAdts(bytes: Uint8Array, name: string): Promise<Channels> {
  const packets: Packet[] = [];
  for (let at = 0; at < bytes.length; ) {
    const frame = bytes.subarray(at);
    if (!startsLikeAdts(frame)) throw soundError(name, `is damaged: there is no AAC frame at byte ${at}`);
    const size = ((frame[3]! & 3) << 11) | (frame[4]! << 3) | (frame[5]! >> 5);
    if (frame.length < 7 || size > frame.length) throw soundError(name, 'is truncated: its last AAC frame is not whole');
    if (size < 7) throw soundError(name, `is damaged: the AAC frame at byte ${at} is too short`);
    packets.push({ data: frame.slice(0, size) });
    at += size;
  }
  return withFfmpeg(name, async (av, later) => {
    const [, context, packet, frame] = await av.ff_init_decoder(codecAac);
    later(() => av.ff_free_decoder(context, packet, frame));
    const sound = collector(name);
    sound.add(await av.ff_decode_multi(context, packet, frame, packets, true));
    return sound.channels();
  });
}
