import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { wav } from '../audio/sounds.ts';
import { model, tinyEncoder } from '../encoders/tiny-onnx.ts';

/** Where the model of `makeRecordings` is hooked: it makes 8,000 frames of 4 numbers per second of sound. */
export const tinyHook = 'encoder.layers.0', tinyWidth = 4;

/**
 * A folder with a tiny encoder, tiny.onnx, and sound: `count` short wav files in two folders (16 kHz, lengths of their own), a manifest of them with
 * a label `voice`, and, when asked for, one file that is no sound.
 */
export function makeRecordings(folder: string, count: number, options: { damaged?: boolean } = {}): { model: string; sound: string; manifest: string } {
  const place = (...parts: string[]): string => {
    const path = join(folder, ...parts);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  };
  writeFileSync(place('tiny.onnx'), model(tinyEncoder()));
  const lines = ['path,voice'];
  for (let n = 0; n < count; n++) {
    const name = `${n % 2 === 0 ? 'even' : 'odd'}/${String(n).padStart(3, '0')}.wav`;
    const samples = Array.from({ length: 200 + 10 * n }, (_, t) => Math.round(9000 * Math.sin(t * (0.01 + 0.003 * n)) + 2000 * Math.sin(t * t * 1e-3)));
    writeFileSync(place('sound', ...name.split('/')), wav(samples));
    lines.push(`sound/${name},${n % 2 === 0 ? 'low' : 'high'}`);
  }
  if (options.damaged) writeFileSync(place('sound', 'odd', '001-torn.wav'), 'RIFF but nothing else');
  writeFileSync(place('manifest.csv'), `${lines.join('\n')}\n`);
  return { model: join(folder, 'tiny.onnx'), sound: join(folder, 'sound'), manifest: join(folder, 'manifest.csv') };
}
