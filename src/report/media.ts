/** Sound and spectrograms as text inside the page. */
import type { ReportSound } from './types.ts';

/** A sound as a data: URI. */
export function soundUri(sound: ReportSound): string {
  if ('bytes' in sound) return `data:${sound.type};base64,${base64(sound.bytes)}`;
  return `data:audio/wav;base64,${base64(wav(sound.samples, sound.sampleRate))}`;
}

/** Mono 16-bit PCM in a RIFF container. Samples outside -1 ... 1 are clipped. */
export function wav(samples: Float32Array, sampleRate: number): Uint8Array {
  const bytes = new Uint8Array(44 + 2 * samples.length);
  const view = new DataView(bytes.buffer);
  const letters = (at: number, text: string): void => [...text].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  letters(0, 'RIFF');
  view.setUint32(4, bytes.length - 8, true);
  letters(8, 'WAVEfmt ');
  view.setUint32(16, 16, true); // bytes of the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per frame
  view.setUint16(34, 16, true); // bits per sample
  letters(36, 'data');
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, n) => view.setInt16(44 + 2 * n, Math.max(-32768, Math.min(32767, Math.round(sample * 32767))), true));
  return bytes;
}

function base64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** The 64 levels of a spectrogram, one character each. */
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** log10 of power from the loudest cell down to where the picture is black: 60 dB. */
const range = 6;

/** log10 of power: a stretch whose loudest cell lies more than 30 dB below the loudest of the page is not brightened further. Silence should look silent. */
const quiet = 3;

interface Mel {
  values: Float32Array;
  mels: number;
  frames: number;
}

/** The loudest cell of all spectrograms. */
export function loudest(mels: readonly Mel[]): number {
  return mels.reduce((max, { values }) => values.reduce((a, b) => Math.max(a, b), max), -Infinity);
}

/** One character per cell, a row per band, highest band first. A 6-bit level is one base64 digit: a quarter less than bytes in base64. */
export function spectrogramText({ values, mels, frames }: Mel, pageMaximum: number): string {
  const maximum = Math.max(loudest([{ values, mels, frames }]), pageMaximum - quiet);
  let text = '';
  for (let band = mels - 1; band >= 0; band--) {
    for (let frame = 0; frame < frames; frame++) {
      const level = ((values[band * frames + frame] - maximum) / range + 1) * (digits.length - 1);
      text += digits[Math.max(0, Math.min(digits.length - 1, Math.round(level)))];
    }
  }
  return text;
}
