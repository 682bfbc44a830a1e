/**
 * A family says how sound becomes a model's input, which samples a frame stands for, and which frames are
 * real. Two kinds exist: models that hear the waveform, whose clock follows from the strided convolutions
 * at their start, and Whisper, which sees 30 s of log-mel spectrogram at a time.
 *
 * Clips longer than a family takes at once are cut into windows whose frames are put one behind the other, so
 * that row i of the result stands at i / frameRate seconds of the clip whatever the windows were. Waveform
 * models: as few windows as `maxSeconds` allows, equally long to within a frame, overlapping by just the samples
 * that the last frame of one and the first of the next share; a split clip has exactly as many frames as an
 * unsplit one. Whisper: windows of 30 s, the last one padded.
 */
import { CochleaError } from '../errors.ts';
import { integerAttribute, type GraphNode, type Model, type ValueInfo } from './graph.ts';
import { activationNodes } from './hooks.ts';
import type { RunInput } from './session.ts';

export const familyNames = ['moonshine', 'wav2vec2', 'whisper', 'waveform'] as const;
export type FamilyName = (typeof familyNames)[number];

/** Computes the input [mels, 3000] of a Whisper encoder from at most 30 s of 16 kHz sound. */
export type WhisperFeatures = (samples: Float32Array, mels: 80 | 128) => Float32Array;

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
  /** Longest window of waveform models in seconds (30). */
  maxSeconds?: number | undefined;
  /** Whether wav2vec 2.0 and its kin get each clip with mean 0 and variance 1 (as preprocessor_config.json by the model says, else yes). */
  normalize?: boolean | undefined;
  /** Hz (as preprocessor_config.json says, else 16,000); Whisper's is fixed. */
  sampleRate?: number | undefined;
}

interface Clock {
  hop: number;
  /** n samples give floor((n - needs) / hop) + 1 frames. */
  needs: number;
  firstKernel: number;
}

const slidingOps = ['Conv', 'ConvInteger', 'MaxPool', 'AveragePool'];

/**
 * The clock of the convolutions and poolings up to the last strided one. One with kernel k, stride s, dilation d and padding p makes
 * floor((n - a) / s) + 1 of n, a = d (k - 1) + 1 - p; a second one behind it gives a form of the same kind with stride
 * s1 s2 and a = a1 + s1 (a2 - 1).
 */
function stemClock(nodes: readonly GraphNode[], file: string): Clock | undefined {
  const sliding = nodes.filter((node) => slidingOps.includes(node.op)).map((node) => {
    const [kernel, stride, dilation] = ['kernel_shape', 'strides', 'dilations'].map((name) => integerAttribute(node, name, file)?.[0]);
    const padding = (integerAttribute(node, 'pads', file) ?? []).reduce((a, b) => a + b, 0);
    return { kernel: kernel ?? 0, stride: stride ?? 1, dilation: dilation ?? 1, padding };
  });
  const stem = sliding.slice(0, sliding.findLastIndex(({ stride }) => stride > 1) + 1);
  if (stem.length === 0 || stem.some(({ kernel, stride }) => kernel < 1 || stride < 1)) return undefined;
  const clock: Clock = { hop: 1, needs: 1, firstKernel: stem[0]!.kernel };
  for (const { kernel, stride, dilation, padding } of stem) {
    clock.needs += clock.hop * (dilation * (kernel - 1) - padding);
    clock.hop *= stride;
  }
  return clock;
}

/** (x - mean) / sqrt(variance + 1e-7), as the feature extractor of wav2vec 2.0 does (Transformers, Wav2Vec2FeatureExtractor). */
function standardize(samples: Float32Array): Float32Array {
  let sum = 0, squares = 0;
  for (const x of samples) sum += x;
  const mean = sum / samples.length;
  for (const x of samples) squares += (x - mean) ** 2;
  const scale = 1 / Math.sqrt(squares / samples.length + 1e-7);
  return samples.map((x) => (x - mean) * scale);
}

const soundInput = (model: Model): ValueInfo | undefined => model.inputs.find(({ name }) => name !== 'attention_mask');

/** The only input of a model but for an attention mask. */
function onlyInput(model: Model): ValueInfo {
  const input = soundInput(model);
  if (!input || model.inputs.some((other) => other.name !== input.name && other.name !== 'attention_mask')) {
    throw new CochleaError(
      'model', `${model.file}: it has the inputs ${model.inputs.map(({ name }) => name).join(', ') || '(none)'}`,
      'an encoder takes one, the sound: export the encoder alone',
    );
  }
  return input;
}

function waveform(model: Model, name: FamilyName, options: FamilyOptions): Family {
  const { name: input, shape = [] } = onlyInput(model);
  const clock = stemClock(activationNodes(model), model.file);
  if (!clock) {
    throw new CochleaError('hook', `${model.file}: no strided convolution before the hook says how long a frame is`, 'choose a later hook');
  }
  const { hop, needs } = clock;
  const sampleRate = options.sampleRate ?? 16_000, maxSeconds = options.maxSeconds ?? 30;
  const fewestSamples = Math.max(needs, 1);
  const longest = Math.floor((maxSeconds * sampleRate - needs) / hop) + 1;
  if (!(longest >= 1)) {
    throw new CochleaError(
      'usage', `windows of ${maxSeconds} s are shorter than one frame`, `take at least ${(fewestSamples / sampleRate).toFixed(3)} s`,
    );
  }
  if (typeof shape.at(-1) === 'number') {
    throw new CochleaError('model', `${model.file}: it takes clips of exactly ${shape.at(-1)} samples`, 'export it with a dynamic length');
  }
  const masked = model.inputs.some((other) => other.name === 'attention_mask');
  return {
    name, sampleRate, hop, fewestSamples, rowsPerWindow: undefined,
    prepare: (samples) => (name === 'wav2vec2' && options.normalize !== false ? standardize(samples) : samples),
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

/** The family a graph looks like; undefined when its input is neither a waveform nor Whisper's spectrogram. */
export function guessFamily(model: Model): FamilyName | undefined {
  const { shape = [] } = soundInput(model) ?? {};
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
  const name = options.family ?? guessFamily(model);
  if (name === undefined) {
    throw new CochleaError(
      'model',
      `${model.file}: its input of shape [${(soundInput(model)?.shape ?? []).join(', ')}] is neither a waveform nor the spectrogram of Whisper`,
      'this encoder cannot be used',
    );
  }
  if (!familyNames.includes(name)) {
    throw new CochleaError('usage', `no family of models is called '${name}'`, `there are ${familyNames.join(', ')}`);
  }
  return name === 'whisper' ? whisper(cut, options) : waveform(cut, name, options);
}
