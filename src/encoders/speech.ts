/** A model cut in two at a hook point, with what turns its output into words: the types. splice.ts makes the one, heads/ the other. */
import type { Encoder, EncoderOptions } from './encoder.ts';

/** What the encoder makes of one window of a clip. */
export interface EncoderOutput {
  /** As the model gives it, padding included: a decoder wants it all. */
  readonly data: Float32Array;
  /** [1, rows, width]. Of models with a CTC head in the same graph the width is the vocabulary. */
  readonly dims: readonly number[];
  /** [valid, width]: the rows that stand for sound, in the order of time. Of an output that has no rows (a label of the clip) all of it, as one. */
  readonly frames: Float32Array;
  readonly valid: number;
  /** Length of the window's sound, which says how much there can be to say. */
  readonly seconds: number;
}

/** One clip up to the hook point; what follows can be run on it any number of times. */
export interface SplicedClip {
  /**
   * [rows, dIn]: the frames at the hook point that are sound, no padding, of all windows one behind the other. In models of float16 not
   * rounded to it, as the model does not round them on their way.
   */
  readonly frames: Float32Array;
  readonly rows: number;
  /** The windows that a clip was cut into, in order; their rows sum to `rows`. */
  readonly windows: readonly { readonly firstRow: number; readonly rows: number }[];
  /**
   * The rest of the model on `frames` [rows, dIn] in place of the clip's own; rows of padding stay as the model made them. One
   * output per window. With the clip's own frames these are the bits that the whole model makes.
   */
  rest(frames: Float32Array): Promise<EncoderOutput[]>;
  /** Frees what is held of the clip. */
  dispose(): void;
}

export interface Transcript {
  /** The end token included where the model gave it; of a CTC head after collapsing. */
  readonly tokens: number[];
  /** [steps, vocabulary], row i made tokens[i] (before any were suppressed); of a CTC head [frames, vocabulary], sound only. */
  readonly logits: Float32Array;
  /** What the decoder was given to start with: start token, language, task; empty of a CTC head. */
  readonly prompt: readonly number[];
}

/** What turns an encoder's output into words. */
export interface SpeechHead {
  readonly kind: 'seq2seq' | 'ctc';
  /** Logits per token or frame. */
  readonly vocabulary: number;
  /**
   * Teacher forcing in one pass: logits [tokens.length, vocabulary], row i predicts tokens[i] from the prompt and the tokens before
   * it. Throws CochleaError `usage` for a CTC head, whose frames do not depend on tokens, `not-finite` when the decoder makes NaN.
   * @param prompt the head's own unless given. Whisper's names the language that the model hears: what is compared between two
   * outputs wants the prompt of one of them
   */
  forced(output: EncoderOutput, tokens: readonly number[], prompt?: readonly number[]): Promise<Float32Array>;
  /** Greedy decoding; of equal logits the smaller token. Throws CochleaError `not-finite` as `forced`. */
  transcribe(output: EncoderOutput, prompt?: readonly number[]): Promise<Transcript>;
  /** The words of tokens, special tokens left out. */
  text(tokens: readonly number[]): string;
  /** The tokens of words as in training, with the end token; undefined where the tokenizer only decodes. */
  readonly encode: ((text: string) => number[]) | undefined;
  /** Of a CTC head: the token between tokens. */
  readonly blank?: number;
}

export interface SpliceableModel extends Pick<Encoder, 'model' | 'hook' | 'dIn' | 'sampleRate' | 'frameRate'> {
  /** Undefined where the model has none: HuBERT, WavLM, AST and others are encoders alone. */
  readonly head: SpeechHead | undefined;
  /** Throws as `Encoder.encode`. */
  open(samples: Float32Array): Promise<SplicedClip>;
  /** Frees the model and its head. */
  close(): Promise<void>;
}

/** The wasm build of ONNX Runtime runs both parts, whose bits are those of the whole there. */
export interface SpliceableOptions extends Omit<EncoderOptions, 'model' | 'backend' | 'device'> {
  /** A name of `knownModels`, a path of an .onnx file, or a folder with one. */
  model: string;
  /** Whether to open the head, where there is one (yes); the decoder of a known model is fetched for it. */
  head?: boolean | undefined;
  /** Of Whisper's multilingual models: the language spoken, as in `en` (as generation_config.json says, else found by the model). */
  language?: string | undefined;
}
