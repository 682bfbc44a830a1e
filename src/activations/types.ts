import type { FrameArray, HalfFormat } from './halves.ts';
import type { FrameStatistics } from './statistics.ts';

/** The program that ran the model. Another, or another version, adds in another order. */
export interface ComputedBy {
  package: string;
  version: string;
  /** ONNX Runtime's execution provider. */
  provider: string;
}

/** Where frames come from. */
export interface ActivationInfo {
  /** Name and SHA-256 of the model. */
  model: string;
  modelSha256: string;
  /** Where the model came from, where that is a place for everybody: npm:PACKAGE@VERSION/FILE, hf:ORG/NAME@COMMIT:FILE. */
  modelSource?: string;
  /** Name of the hook point, and its layer where it belongs to one. */
  hook: string;
  layer: number | null;
  dIn: number;
  /** Frames per second of sound. */
  frameRate: number;
  /** Samples per second of the sound that the model was given. */
  sampleRate: number;
  /** SHA-256 over what the frames were computed from. */
  dataSha256: string;
  /** Not known of frames that came from elsewhere. */
  computedBy?: ComputedBy;
}

/** Where a source's second stream comes from: what a transcoder is to give for the frames, row by row. Else as in ActivationInfo. */
export interface TargetInfo {
  hook: string;
  layer: number | null;
  dOut: number;
}

export interface ClipLabel {
  id: string;
  path: string;
  labels: Record<string, string>;
}

/** Some rows of a source, in order. Never padding. */
export interface FrameChunk<X extends FrameArray = Float32Array> {
  /** [rows, dIn] */
  x: X;
  /** [rows, dOut], of the same moments; where the source has a second stream. */
  target?: X;
  rows: number;
  /** Per row: the index of its clip in `clips`. */
  clip: Uint32Array;
  /** Per row: seconds from the beginning of its clip. */
  time: Float32Array;
  clips: ClipLabel[];
}

/** From chunk `from` on, in the order that (seed, epoch) gives; epoch undefined: as they are stored. */
export interface ChunkOrder {
  seed: number;
  epoch: number | undefined;
  from: number;
}

export interface FrameSource {
  readonly dIn: number;
  readonly info: ActivationInfo;
  /** Rows of one epoch, when known. */
  readonly rows: number | undefined;
  /**
   * The chunks of one epoch from chunk `from` on, in an order that depends on (seed, epoch) alone; epoch
   * undefined: stored order. Holds one chunk and at most the next.
   */
  chunks(order: ChunkOrder): AsyncIterable<FrameChunk>;
  /** Where frames, and targets, are stored in 16 bits: the same chunks with the patterns as they are, which take half the memory. */
  readonly halves?: { format: HalfFormat; chunks(order: ChunkOrder): AsyncIterable<FrameChunk<Uint16Array>> };
  statistics(): Promise<FrameStatistics>;
  /** These three where the source has a second stream. */
  readonly dOut?: number;
  readonly targetInfo?: TargetInfo;
  targetStatistics?(): Promise<FrameStatistics>;
}
