/**
 * A family says how sound becomes a model's input, which samples a frame stands for, and which frames are real. Models that hear
 * the waveform have a clock that follows from the strided convolutions at their start; Whisper and AST see a spectrogram of
 * fixed length; of any other model a file beside it says what it takes (declared.ts).
 *
 * Clips longer than a family takes at once are cut into windows whose frames are put one behind the other, so
 * that row i of the result stands at i / frameRate seconds of the clip whatever the windows were. Waveform
 * models: as few windows as `maxSeconds` allows, equally long to within a frame, overlapping by just the samples
 * that the last frame of one and the first of the next share; a split clip has exactly as many frames as an
 * unsplit one. Spectrograms: windows of the model's own length, the last one padded.
 */
import { CochleaError } from '../errors.ts';
import { onlyInput, soundInput, standardize, stemClock } from './clock.ts';
import { declaredFamily, type DeclaredInput } from './declared.ts';
import { integerAttribute, type Model } from './graph.ts';
import { activationNodes } from './hooks.ts';
import type { RunInput } from './session.ts';

/**
 * wav2vec2 is also HuBERT, WavLM, UniSpeech and data2vec; mert is the same at 24 kHz; waveform any model with strided
 * convolutions; declared as its file says.
 */
export const familyNames = ['moonshine', 'wav2vec2', 'mert', 'whisper', 'ast', 'waveform', 'declared'] as const;
export type FamilyName = (typeof familyNames)[number];

/** Computes the input [mels, 3000] of a Whisper encoder from at most 30 s of 16 kHz sound. */
export type WhisperFeatures = (samples: Float32Array, mels: 80 | 128) => Float32Array;

/** What of a spectrogram is asked for: `spectrogram` of the audio room knows how to make it. */
export interface SpectrogramSpec {
  readonly kind: 'kaldi' | 'log-mel';
  readonly sampleRate: number;
  readonly mels: number;
  readonly nFft?: number | undefined;
  readonly hop?: number | undefined;
  readonly fMin?: number | undefined;
  readonly fMax?: number | undefined;
}

/** Computes [frames, mels], natural logarithm. */
export type Spectrogram = (samples: Float32Array, spec: SpectrogramSpec) => Float32Array;

export interface Window {
  /** Samples from ... to - 1 of the clip. */
  readonly from: number;
  readonly to: number;
  /** Frames the model makes of them. */
  readonly rows: number;
  /** Frames before padding. */
  readonly valid: number;
}

export interface Family {
  readonly name: FamilyName;
  readonly sampleRate: number;
  /** Samples from one frame to the next. */
  readonly hop: number;
  /** Samples that the first frame needs. */
  readonly fewestSamples: number;
  /** Frames of every window; undefined when they depend on its length. */
  readonly rowsPerWindow: number | undefined;
  /** Where a window's rows lie among the model's own, when not in the same order; rows that are no frames come before them. */
  readonly order?: { readonly place: (row: number) => number; readonly mostBefore: number };
  /** What is done to the whole clip before it is cut into windows. */
  prepare(samples: Float32Array): Float32Array;
  windows(samples: number): Window[];
  /** The model's inputs for one window. */
  feed(samples: Float32Array): Record<string, RunInput>;
}

export interface FamilyOptions {
  /** Instead of the family the graph looks like. */
  family?: FamilyName | undefined;
  /** Needed by Whisper encoders, `whisperFeatures` of the audio room: encoders know nothing of spectrograms. */
  features?: WhisperFeatures | undefined;
  /** Needed by AST and by declared models that take spectrograms: `spectrogram` of the audio room. */
  spectrogram?: Spectrogram | undefined;
  /** What a model takes that no family knows (as cochlea-input.json by the model says). */
  input?: DeclaredInput | undefined;
  /** Mean and half of what the spectrogram of AST is divided by (as preprocessor_config.json says, else those of AudioSet). */
  mean?: number | undefined;
  std?: number | undefined;
  /** Longest window of waveform models in seconds (30). */
  maxSeconds?: number | undefined;
  /** Whether wav2vec 2.0 and its kin get each clip with mean 0 and variance 1 (as preprocessor_config.json by the model says, else yes). */
  normalize?: boolean | undefined;
  /** Hz (as preprocessor_config.json says, else 16,000, or 24,000 for MERT); Whisper's is fixed. */
  sampleRate?: number | undefined;
}

function waveform(model: Model, name: FamilyName, options: FamilyOptions): Family {
  const { name: input, shape = [] } = onlyInput(model);
  const clock = stemClock(activationNodes(model), model.file);
  if (!clock) {
    throw new CochleaError('hook', `${model.file}: no strided convolution before the hook says how long a frame is`, 'choose a later hook');
  }
  const { hop, needs } = clock;
  const sampleRate = options.sampleRate ?? (name === 'mert' ? 24_000 : 16_000), maxSeconds = options.maxSeconds ?? 30;
  const fewestSamples = Math.max(needs, 1);
  const longest = Math.floor((maxSeconds * sampleRate - needs) / hop) + 1;
  if (!(longest >= 1)) {
    throw new CochleaError(
      'usage', `windows of ${maxSeconds} s are shorter than one frame`, `take at least ${(fewestSamples / sampleRate).toFixed(3)} s`,
    );
  }
  if (typeof shape.at(-1) === 'number') {
    throw new CochleaError(
      'model', `${model.file}: it takes clips of exactly ${shape.at(-1)} samples`,
      'export it with a dynamic length, or declare its input in cochlea-input.json beside it',
    );
  }
  const masked = model.inputs.some((other) => other.name === 'attention_mask');
  return {
    name, sampleRate, hop, fewestSamples, rowsPerWindow: undefined,
    prepare: (samples) => ((name === 'wav2vec2' || name === 'mert') && options.normalize !== false ? standardize(samples) : samples),
    windows: (samples) => {
      const frames = Math.floor((samples - needs) / hop) + 1, count = Math.ceil(frames / longest);
      return Array.from({ length: count }, (_, index) => {
        const first = Math.floor((index * frames) / count), end = Math.floor(((index + 1) * frames) / count);
        return { from: first * hop, to: index === count - 1 ? samples : (end - 1) * hop + needs, rows: end - first, valid: end - first };
      });
    },
    feed: (samples) => ({
      [input]: { data: samples, dims: shape.length === 3 ? [1, 1, samples.length] : [1, samples.length] },
      ...(masked && { attention_mask: { data: new BigInt64Array(samples.length).fill(1n), dims: [1, samples.length] } }),
    }),
  };
}

const whisperWindow = 30 * 16_000;
const whisperSteps = 3000; // of 10 ms

function whisper(model: Model, { features }: FamilyOptions): Family {
  const { name: input, shape = [] } = onlyInput(model);
  const mels = shape[1];
  if (mels !== 80 && mels !== 128) {
    throw new CochleaError('model', `${model.file}: Whisper has 80 or 128 mel bands, this model's input is [${shape.join(', ')}]`);
  }
  if (!features) {
    throw new CochleaError(
      'usage', `${model.file}: a Whisper encoder needs log-mel features`, 'pass `features: whisperFeatures` to openEncoder',
    );
  }
  const stride = stemClock(activationNodes(model), model.file)?.hop ?? 1; // 2, or 1 within the stem
  const hop = (whisperWindow / whisperSteps) * stride;
  return {
    name: 'whisper', sampleRate: 16_000, hop, fewestSamples: hop, rowsPerWindow: whisperSteps / stride,
    prepare: (samples) => samples,
    windows: (samples) => Array.from({ length: Math.ceil(samples / whisperWindow) }, (_, index) => {
      const from = index * whisperWindow, to = Math.min(samples, from + whisperWindow);
      return { from, to, rows: whisperSteps / stride, valid: Math.ceil((to - from) / hop) };
    }),
    feed: (samples) => ({ [input]: { data: features(samples, mels), dims: [1, mels, whisperSteps] } }),
  };
}

const astStep = 160; // samples from one row of the spectrogram to the next, at 16 kHz
const astWindow = 400;

/** The patches of an Audio Spectrogram Transformer: 16 by 16, one every 10 bands and every 10 rows (100 ms). */
function astPatches(model: Model): { kernel: readonly number[]; strides: readonly number[] } | undefined {
  const conv = activationNodes(model).find(({ op }) => op === 'Conv');
  const [kernel, strides] = ['kernel_shape', 'strides'].map((name) => conv && integerAttribute(conv, name, model.file));
  return kernel?.length === 2 && strides?.length === 2 && strides.every((stride) => stride > 1) ? { kernel, strides } : undefined;
}

/**
 * AST has one token per patch of spectrogram, in the order of frequency and within it of time, behind one or two that stand for the
 * whole clip. Rows here are the patches in the order of time and within it of frequency, so that with 12 patches every 100 ms there are
 * 120 rows a second; the tokens of the whole clip are left out. Features: Transformers, ASTFeatureExtractor.
 */
function ast(model: Model, { spectrogram, mean = -4.2677393, std = 4.5689974, normalize = true }: FamilyOptions): Family {
  const { name: input, shape = [] } = onlyInput(model);
  const patches = astPatches(model);
  if (!patches) throw new CochleaError('hook', `${model.file}: no patches are cut from the spectrogram before the hook`, 'choose a later hook');
  if (!spectrogram) {
    throw new CochleaError('usage', `${model.file}: an AST encoder needs a spectrogram`, 'pass `spectrogram` of the audio room to openEncoder');
  }
  const length = typeof shape[1] === 'number' ? shape[1] : 1024, mels = typeof shape[2] === 'number' ? shape[2] : 128;
  const high = Math.floor((mels - patches.kernel[0]!) / patches.strides[0]!) + 1;
  const steps = Math.floor((length - patches.kernel[1]!) / patches.strides[1]!) + 1;
  const step = astStep * patches.strides[1]!;
  return {
    name: 'ast', sampleRate: 16_000, hop: step / high, fewestSamples: astWindow, rowsPerWindow: high * steps,
    order: { place: (row) => (row % high) * steps + Math.floor(row / high), mostBefore: 2 },
    prepare: (samples) => samples,
    windows: (samples) => {
      const sounding = Math.ceil((1 + Math.floor((samples - astWindow) / astStep)) / patches.strides[1]!);
      return Array.from({ length: Math.ceil(sounding / steps) }, (_, index) => {
        const from = index * steps * step, to = Math.min(samples, from + (length - 1) * astStep + astWindow);
        return { from, to, rows: high * steps, valid: high * Math.min(steps, sounding - index * steps) };
      });
    },
    feed: (samples) => {
      const bands = new Float32Array(length * mels);
      bands.set(spectrogram(samples, { kind: 'kaldi', sampleRate: 16_000, mels }).subarray(0, bands.length));
      return { [input]: { data: normalize ? bands.map((x) => (x - mean) / (2 * std)) : bands, dims: [1, length, mels] } };
    },
  };
}

/** The family a graph looks like; undefined when its input is neither a waveform nor the spectrogram of Whisper or AST. */
export function guessFamily(model: Model): FamilyName | undefined {
  const { shape = [] } = soundInput(model) ?? {};
  if (shape.length === 3 && shape[1] !== 1 && shape[2] !== whisperSteps && astPatches(model)) return 'ast';
  if (shape.length === 3 && (shape[1] === 80 || shape[1] === 128)) {
    return shape[2] === whisperSteps || typeof shape[2] === 'string' ? 'whisper' : undefined;
  }
  if (shape.length !== 2 && !(shape.length === 3 && shape[1] === 1)) return undefined;
  const clock = stemClock(activationNodes(model), model.file);
  if (clock?.hop === 384 && clock.firstKernel === 127) return 'moonshine';
  if (clock?.firstKernel === 10) return 'wav2vec2'; // also HuBERT, WavLM, UniSpeech, data2vec
  return clock && 'waveform';
}

/**
 * The family of a model, and its clock at the hook: `cut` is the part of the model that ends there.
 * Throws CochleaError `model` when the model has no family or cannot be of the one asked for, `hook` when there are no frames yet.
 */
export function chooseFamily(model: Model, cut: Model, options: FamilyOptions): Family {
  const name = options.family ?? (options.input ? 'declared' : guessFamily(model));
  if (name === undefined) {
    throw new CochleaError(
      'model',
      `${model.file}: its input of shape [${(soundInput(model)?.shape ?? []).join(', ')}] is neither a waveform nor the spectrogram of ` +
      'Whisper or AST',
      'declare what it takes in cochlea-input.json beside it',
    );
  }
  if (!familyNames.includes(name)) {
    throw new CochleaError('usage', `no family of models is called '${name}'`, `there are ${familyNames.join(', ')}`);
  }
  if (name === 'declared') return declaredFamily(cut, options);
  return name === 'whisper' ? whisper(cut, options) : name === 'ast' ? ast(cut, options) : waveform(cut, name, options);
}
