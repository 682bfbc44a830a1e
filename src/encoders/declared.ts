/**
 * A model of no known family, whose input a person declares: in cochlea-input.json beside the model, or as an option. What is not
 * declared and can be read off the graph is; all that is declared is checked.
 */
import { CochleaError } from '../errors.ts';
import { onlyInput, standardize, stemClock } from './clock.ts';
import type { Family, FamilyOptions } from './families.ts';
import type { Model } from './graph.ts';
import { activationNodes } from './hooks.ts';

export interface DeclaredInput {
  /** A waveform, Kaldi's filter banks or a log-mel spectrogram (`kaldiFbank`, `logMel` of the audio room). */
  readonly kind: 'waveform' | 'kaldi' | 'log-mel';
  /** Hz. */
  readonly sampleRate: number;
  /** What the model takes at once, padded with silence: samples of a waveform, frames of a spectrogram. Left out: all of a clip. */
  readonly length?: number;
  /** Samples, or frames of the spectrogram, that one row of the output stands for. Left out: as the strided convolutions say. */
  readonly perRow?: number;
  /** Waveform: each clip with mean 0 and variance 1. */
  readonly normalize?: boolean;
  /** Spectrogram: bands; and of a log-mel one the window and step in samples and the limits in Hz. */
  readonly mels?: number;
  readonly nFft?: number;
  readonly hop?: number;
  readonly fMin?: number;
  readonly fMax?: number;
  /** Which logarithm (ln); then mean is taken away and the rest divided by std. */
  readonly log?: 'ln' | 'log10' | 'dB';
  readonly mean?: number;
  readonly std?: number;
  /** [mels, frames] instead of [frames, mels]. */
  readonly melsFirst?: boolean;
}

const kinds = { kind: ['waveform', 'kaldi', 'log-mel'], log: ['ln', 'log10', 'dB'] } as const;
const whole = ['sampleRate', 'length', 'perRow', 'mels', 'nFft', 'hop'], real = ['fMin', 'fMax', 'mean', 'std'];
const flags = ['normalize', 'melsFirst'];
const scale = { ln: 1, log10: Math.LOG10E, dB: 10 * Math.LOG10E };

/** Checks what was read from a file. `where` names it in messages. Throws CochleaError `config`. */
export function readDeclared(value: unknown, where: string): DeclaredInput {
  const fail = (what: string): never => {
    const least = 'the least is {"kind": "waveform", "sampleRate": 16000}, or {"kind": "log-mel", "sampleRate": 16000, "mels": 64}';
    throw new CochleaError('config', `${where}: ${what}`, least);
  };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('it is no JSON object');
  for (const [name, own] of Object.entries(value)) {
    if (name in kinds) {
      const allowed: readonly string[] = kinds[name as keyof typeof kinds];
      if (!allowed.includes(own as string)) fail(`${name} is ${JSON.stringify(own)}, not one of ${allowed.join(', ')}`);
    } else if (whole.includes(name)) {
      if (!Number.isSafeInteger(own) || (own as number) < 1) fail(`${name} is ${JSON.stringify(own)}, not a whole number of at least 1`);
    } else if (real.includes(name)) {
      const positive = name === 'std';
      if (!Number.isFinite(own) || (positive && !((own as number) > 0))) fail(`${name} is ${own}, not a ${positive ? 'positive ' : ''}number`);
    } else if (flags.includes(name)) {
      if (typeof own !== 'boolean') fail(`${name} is ${JSON.stringify(own)}, not true or false`);
    } else fail(`nothing is called '${name}'`);
  }
  const input = value as DeclaredInput;
  if (input.kind === undefined || input.sampleRate === undefined) fail('kind and sampleRate must be there');
  if (input.kind !== 'waveform' && input.mels === undefined) fail('a spectrogram needs mels');
  return input;
}

/** Frames of a spectrogram of n samples: Kaldi's windows lie within the sound, the others are centred on every step of it. */
function framesIn(samples: number, { kind, sampleRate }: DeclaredInput, hop: number): number {
  return kind === 'kaldi' ? 1 + Math.floor((samples - Math.floor(0.025 * sampleRate)) / hop) : Math.ceil(samples / hop);
}

/** Throws CochleaError `usage` without a declaration or a maker of spectrograms, `model` when the frames of the output cannot be told. */
export function declaredFamily(model: Model, { input: declared, spectrogram, maxSeconds = 30 }: FamilyOptions): Family {
  if (!declared) throw new CochleaError('usage', `${model.file}: nothing declares what it takes`, 'put cochlea-input.json beside it');
  const { name, shape = [] } = onlyInput(model);
  const { kind, sampleRate, mels = 0, melsFirst = false, mean = 0, std = 1, log = 'ln' } = declared;
  const waveform = kind === 'waveform';
  if (!waveform && !spectrogram) {
    throw new CochleaError('usage', `${model.file}: it is declared to take a spectrogram`, 'pass `spectrogram` of the audio room to openEncoder');
  }
  const hop = waveform ? 1 : kind === 'kaldi' ? Math.floor(0.01 * sampleRate) : declared.hop ?? Math.floor(0.01 * sampleRate);
  const clock = stemClock(activationNodes(model), model.file);
  const perRow = declared.perRow ?? clock?.hop;
  if (perRow === undefined) {
    const what = `no strided convolution says how many ${waveform ? 'samples' : 'frames'} a row stands for`;
    throw new CochleaError('model', `${model.file}: ${what}`, 'declare perRow');
  }
  // Padding within the model makes a last row of less than `perRow`; without it a row needs all of its convolutions' reach.
  const needs = declared.perRow === undefined && clock ? Math.max(1, clock.needs) : 1;
  const rowsIn = (length: number): number => Math.floor((length - needs) / perRow) + 1;
  const most = declared.length ?? Math.floor((maxSeconds * sampleRate) / hop / perRow) * perRow;
  const rowSamples = perRow * hop, rowsPerWindow = declared.length === undefined ? undefined : rowsIn(declared.length);
  const windowRows = rowsIn(most);
  if (!(windowRows >= 1)) {
    throw new CochleaError('model', `${model.file}: ${most} ${waveform ? 'samples' : 'frames'} are less than one row`, 'declare a greater length');
  }
  const fewestSamples = kind === 'kaldi' ? Math.floor(0.025 * sampleRate) + (needs - 1) * hop : needs * hop;
  return {
    name: 'declared', sampleRate, hop: rowSamples, fewestSamples, rowsPerWindow,
    prepare: (samples) => (waveform && declared.normalize ? standardize(samples) : samples),
    windows: (samples) => {
      const total = rowsIn(framesIn(samples, declared, hop));
      return Array.from({ length: Math.ceil(total / windowRows) }, (_, index) => {
        const from = index * windowRows * rowSamples, valid = Math.min(windowRows, total - index * windowRows);
        const reach = kind === 'kaldi' ? (most - 1) * hop + Math.floor(0.025 * sampleRate) : most * hop;
        return { from, to: Math.min(samples, from + reach), rows: rowsPerWindow ?? valid, valid };
      });
    },
    feed: (samples) => {
      const channel = shape.length === (waveform ? 3 : 4) ? [1, 1] : [1];
      if (waveform) {
        const data = new Float32Array(declared.length ?? samples.length);
        data.set(samples.subarray(0, data.length));
        return { [name]: { data, dims: [...channel, data.length] } };
      }
      const { nFft, fMin, fMax } = declared;
      const bands = spectrogram!(samples, { kind, sampleRate, mels, nFft, hop, fMin, fMax });
      const frames = declared.length ?? framesIn(samples.length, declared, hop), sounding = Math.min(frames, bands.length / mels);
      const data = new Float32Array(frames * mels);
      // Padding is 0 before mean and std, as the feature extractors of Transformers pad.
      for (let i = 0; i < data.length; i++) {
        const frame = melsFirst ? i % frames : Math.floor(i / mels), band = melsFirst ? Math.floor(i / frames) : i % mels;
        data[i] = ((frame < sounding ? bands[frame * mels + band]! * scale[log] : 0) - mean) / std;
      }
      return { [name]: { data, dims: [...channel, ...(melsFirst ? [mels, frames] : [frames, mels])] } };
    },
  };
}
