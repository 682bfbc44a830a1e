import { readFile } from 'node:fs/promises';
import { fixture } from '../support/paths.ts';

/** Little-endian pieces of a RIFF file. */
export function u16(...values: number[]): Uint8Array {
  return new Uint8Array(Uint16Array.from(values).buffer);
}

export function u32(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

export function bytes(...pieces: ArrayLike<number>[]): Uint8Array {
  return Uint8Array.from(pieces.flatMap((piece) => Array.from(piece)));
}

export function chunk(id: string, content: Uint8Array): Uint8Array {
  return bytes(ascii(id), u32(content.length), content, content.length % 2 ? [0] : []);
}

export interface WavOptions {
  kind?: 'pcm' | 'float';
  bits?: number;
  channels?: number;
  sampleRate?: number;
  extensible?: boolean;
  /** Chunks before fmt, between fmt and data, after data. */
  around?: [Uint8Array, Uint8Array, Uint8Array];
}

/** A wav file of interleaved values: integers for PCM, numbers for float. */
export function wav(values: number[], { kind = 'pcm', bits = 16, channels = 1, sampleRate = 16000, extensible = false, around }: WavOptions = {}): Uint8Array {
  const width = bits / 8;
  const data = new Uint8Array(values.length * width);
  const view = new DataView(data.buffer);
  values.forEach((value, i) => {
    const at = i * width;
    if (kind === 'float') {
      if (bits === 32) view.setFloat32(at, value, true);
      else view.setFloat64(at, value, true);
    } else if (bits === 8) view.setUint8(at, value + 128);
    else for (let b = 0; b < width; b++) view.setUint8(at + b, Math.floor(value / 2 ** (8 * b)) & 0xff);
  });
  const tag = kind === 'float' ? 3 : 1;
  const frame = channels * width;
  const plain = bytes(u16(extensible ? 0xfffe : tag, channels), u32(sampleRate, sampleRate * frame), u16(frame, bits));
  const guid = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
  const format = extensible ? bytes(plain, u16(22, bits), u32(0), u16(tag), guid) : plain;
  const body = bytes(ascii('WAVE'), around?.[0] ?? [], chunk('fmt ', format), around?.[1] ?? [], chunk('data', data), around?.[2] ?? []);
  return bytes(ascii('RIFF'), u32(body.length), body);
}

/** The signal of the files in fixtures/audio: a chirp from 200 to 2,000 Hz in 1.2 s, and a tone of 700 Hz on the right. */
export const chirp = (t: number): number => 0.5 * Math.sin(2 * Math.PI * (200 * t + 750 * t * t));
export const tone = (t: number): number => 0.25 * Math.sin(2 * Math.PI * 700 * t);

export async function sample(name: string): Promise<Uint8Array> {
  return new Uint8Array(await readFile(fixture('audio', name)));
}
