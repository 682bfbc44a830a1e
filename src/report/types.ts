/** What a report shows. Ids, labels and texts may hold anything: they are escaped. Times are seconds from the beginning of the clip. */
export interface ReportData {
  title: string;
  /** A sentence or two below the title. */
  summary?: string;
  run: RunFacts;
  /** Scores on held-out frames: the SAE first, then baselines. What `evaluate` returns, with a name. */
  scores: ReportScores[];
  /** Which metrics to list, in which order, and what they mean. */
  metrics: readonly { name: string; unit: string; definition: string; source: string }[];
  curves: Curve[];
  density: { edges: number[]; counts: number[]; silent: number };
  /** A whole held-out recording with some latents over time. */
  recording?: Recording;
  features: ReportFeature[];
  /** How many labels were tried for each feature's best label. */
  labelsTried?: number;
  /** What strips and the recording play, by index. */
  sounds: ReportSound[];
}

export interface RunFacts {
  model: string;
  hook: string;
  layer: number | null;
  /** Frames per second. */
  frameRate: number;
  architecture: string;
  dIn: number;
  dSae: number;
  k: number | null;
  steps: number;
  /** Frames per step. */
  batch: number;
  seed: number;
  /** The GPU, or what stood in for it. */
  adapter: string;
  software: { name: string; version: string }[];
  training: Amount;
  heldOut: Amount;
  /** Where the recordings come from and on what terms. */
  licence: string;
}

interface Amount {
  clips: number;
  hours: number;
  frames: number;
}

type Value = { value: number } | { value: null; reason: string };
type Range = { low: number; high: number } | { low: null; high: null; reason: string };

export interface ReportScores {
  name: string;
  metrics: Readonly<Record<string, Value>>;
  /** 95 % intervals of some of the metrics. */
  intervals: Readonly<Record<string, Range>>;
}

/** One number over the steps of training. */
export interface Curve {
  name: string;
  unit: string;
  scale: 'linear' | 'log';
  points: { step: number; value: number }[];
}

export interface ReportFeature {
  latent: number;
  /** Share of frames in which it fires. */
  density: number;
  /** Mean over its firings, and maximum. */
  meanActivation: number;
  maxActivation: number;
  /** Clips in which it fires. */
  clips: number;
  label?: { label: string; precision: number; recall: number; f1: number; hits: number; fired: number; support: number };
  /** The strongest firings, at most one per clip. */
  top: Strip[];
  /** Firings drawn at random from all of them. */
  random: Strip[];
}

export interface Segment {
  start: number;
  end: number;
  label: string;
}

/** A stretch of a clip with its sound. */
export interface Stretch {
  clip: string;
  start: number;
  end: number;
  /** Log-mel spectrogram of exactly this stretch, [mels, frames], log10 of power, lowest band first. */
  mel: { values: Float32Array; mels: number; frames: number };
  /** What to play: a sound, and the second in it at which the stretch begins. */
  sound?: { index: number; offset: number };
  /** Phones or words. */
  segments?: Segment[];
}

/** A few moments around one firing. */
export interface Strip extends Stretch {
  firing: { time: number; value: number };
  /** The latent's activation per frame; frame n lasts from `activationStart` + n / frameRate to the next. */
  activation: Float32Array;
  activationStart: number;
}

export interface Recording extends Stretch {
  /** What is said. */
  text?: string;
  /** Latents with their activation per frame, from the beginning of the clip on. */
  latents: { latent: number; label?: string; activation: Float32Array }[];
}

/** A file as it is, in a format that browsers play; or samples (full scale 1), which become a 16-bit WAV. */
export type ReportSound =
  | { bytes: Uint8Array; type: 'audio/ogg' | 'audio/flac' | 'audio/mpeg' | 'audio/mp4' | 'audio/wav' }
  | { samples: Float32Array; sampleRate: number };
