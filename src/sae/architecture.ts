/**
 * What an SAE architecture is to the rest of the house: its configuration, its training form, its inference form and its way to disk. One file
 * of `architectures/` defines one of these, and one line of `architectures/index.ts` registers it.
 */
import type { Json, SaelensConfig } from '../formats/index.ts';
import type { Gpu, Recorder, Tensor } from '../gpu/index.ts';
import type { ParameterName, Weights } from './weights.ts';

/** How a run treats what SAELens 6.18 does and later versions corrected. */
export type Compatibility = 'corrected' | 'saelens-6.18';

/** What every architecture has, under SAELens' field names. */
export interface BaseConfig {
  architecture: string;
  d_in: number;
  d_sae: number;
  /** Whether b_dec is subtracted from the input before encoding. */
  apply_b_dec_to_input: boolean;
  normalize_activations: 'none' | 'expected_average_only_in' | 'constant_norm_rescale' | 'layer_norm';
  /** Length of every decoder row at the start; null leaves rows as they are drawn. */
  decoder_init_norm: number | null;
}

/** One field of a configuration: what it may be, and what --help says of it. */
export type Field = { help: string; nullable?: boolean } & (
  | { kind: 'integer' | 'number'; default: number | null; above?: number; least?: number; most?: number }
  | { kind: 'boolean'; default: boolean }
  | { kind: 'choice'; default: string; choices: readonly string[] }
  | { kind: 'integers'; default: readonly number[] }
);

/** A trained tensor, and where its gradient is left. The gradient may be wider; its beginning counts. */
export interface Parameter {
  name: ParameterName;
  value: Tensor;
  gradient: Tensor;
  /** What the number of a latent begins as, in vectors of one per latent, where that is not 0. Resampled latents get it again. */
  initial?: number;
}

/** What all SAEs that train on one stream share. */
export interface StepInputs {
  /** The raw batch [batch, d_in]. */
  frames: Tensor;
  /** Subtracted from every frame [1, d_in]. */
  centre: Tensor;
  /** What a transcoder is to give [batch, d_out], raw, and what is subtracted from it [1, d_out]. */
  targets?: Tensor;
  targetCentre?: Tensor;
  /** What a temporal architecture compares with: the frame before each of `frames` in its clip [batch, d_in]. */
  previous?: Tensor;
}

/** What a trainer keeps per SAE and the architecture reads or writes. */
export interface StepState {
  /** Dead latents at the start of the step: a count, then latents ascending [1, d_sae + 1]. */
  dead: Tensor;
  /** Bit 0: a pre-activation was not finite. */
  flags: Tensor;
}

/** What one step leaves for the trainer. */
export interface StepResults {
  /** Rows of the batch in which each latent fired [1, d_sae], u32. */
  counts: Tensor;
  /** Per row: squared error, squared deviation from the batch's mean, their ratio, active latents [batch, 4]. */
  stats: Tensor;
  /** The losses besides mse_loss under their logged names, coefficients in, in the columns of `lossRows`. */
  losses: readonly string[];
  /** [batch, losses.length], unpadded; the loss is the sum over rows divided by their number. */
  lossRows: Tensor;
  /**
   * Squared norms that add up to the squared norm of all gradients but b_dec's: elements first ... first + count - 1 of the tensor. The
   * first d_sae belong to the latents, in order, and have the squares of their rows of grad W_dec in them.
   */
  squares: { tensor: Tensor; first: number; count: number };
  gradBDec: Tensor;
  /** What the running threshold follows [1, 1], +infinity when nothing fired: the smallest positive activation of the batch as reported, or a mean over its rows. */
  smallest?: Tensor;
}

export interface Step {
  rows: number;
  /** Multiplies the centred frames (and `previous`). */
  scale: number;
  /** Multiplies the centred targets. */
  targetScale: number;
  /** False while no latent can be dead yet: losses of dead latents are then left out. */
  mayBeDead: boolean;
  /** Steps done before this one. */
  time: number;
  /** Of `coefficients`, as the schedule has them at this step. */
  coefficients: Readonly<Record<string, number>>;
}

export interface TrainingForm {
  /** In SAELens' optimiser order. */
  readonly parameters: readonly Parameter[];
  readonly results: StepResults;
  /** Records the initialisation of all parameters from a seed. */
  initialise(rec: Recorder, seed: number): void;
  /** Records forward and backward pass of the first `rows` rows. */
  record(rec: Recorder, step: Step): void;
  dispose(): void;
}

export interface TrainingContext<C extends BaseConfig> {
  gpu: Gpu;
  config: C;
  /** The most rows of a step. */
  batch: number;
  inputs: StepInputs;
  state: StepState;
  compatibility: Compatibility;
}

/** An SAE as it runs: the first rows of `frames` in, activations and the reconstruction out. */
export interface InferenceForm {
  /** Where the raw frames go [rows, d_in]. */
  readonly frames: Tensor;
  /** The reconstruction [rows, d_out], complete once `record` was told to decode. */
  readonly r: Tensor;
  /** Bit 0 of its word: something was not finite. */
  readonly flags: Tensor;
  /** Dense activations [rows, d_sae] unpadded, or kept pairs [rows, k] with `norms` by which reported activations are larger. */
  readonly acts: { f: Tensor } | { indices: Tensor; values: Tensor; norms?: Float32Array };
  /** Gain and shift per row [rows, 2] that undo a row normalisation of the output; absent where there is none to undo. */
  readonly rowAffine?: Tensor;
  /** For SAEs whose rows depend on those before: all rows of a call are one clip, in order. `begin` is awaited before its first row. */
  readonly sequence?: { begin(rows: number): Promise<void> };
  record(rec: Recorder, rows: number, decode: boolean): void;
  /** Turns frames [rows, d_in] into what is uploaded, where they are not uploaded as they are. */
  prepareInput?(frames: Float32Array): Float32Array;
  /** Records decoding of dense activations f [rows, d_sae], as reported, into r. Not for architectures whose output needs the input too. */
  recordDecode(rec: Recorder, rows: number): void;
  /** Where `recordDecode` takes its activations from [rows, d_sae]. */
  readonly codes: Tensor;
}

export interface InferenceContext {
  gpu: Gpu;
  config: SaelensConfig;
  weights: Weights;
  /** Rows to run at a time. */
  rows: number;
  /** Makes a tensor that is freed with the SAE. */
  own(tensor: Tensor): Tensor;
}

/** Centring and scaling of the frames: the SAE trains on (x - mean) * scale, a transcoder's target likewise. */
export interface InputTransform {
  mean: Float32Array;
  scale: number;
  target?: { mean: Float32Array; scale: number };
}

/** A trained SAE on its way to the form that is used: raw frames in, raw frames out. */
export interface Exported {
  /** The architecture that the file says, and its fields beside SAELens' common ones. */
  architecture: string;
  fields: Record<string, Json>;
  weights: Weights;
}

export interface Architecture<C extends BaseConfig = BaseConfig> {
  name: C['architecture'];
  /** One line for --help and docs: what it is, and the paper. */
  title: string;
  /** The fields beside BaseConfig's. */
  fields: { readonly [name in Exclude<keyof C, keyof BaseConfig>]: Field };
  /** Where BaseConfig's defaults are other ones. A value that is fixed is also refused by `check`. */
  base?: Partial<BaseConfig>;
  /** Throws `config` for values that do not go together. Kinds and ranges of single fields have been checked. */
  check?(config: C): void;
  /** Loss coefficients that warm up linearly: name -> final value and steps. */
  coefficients?(config: C): Record<string, { final: number; warmUpSteps: number }>;
  /** What it needs of a stream besides frames. */
  needs?: 'targets' | 'previous';
  /** Absent for what can only be run. */
  train?(context: TrainingContext<C>): TrainingForm;
  /** Runs what is on disk under this name. Absent where SAELens saves under another name (batchtopk is saved as jumprelu). */
  infer?(context: InferenceContext): InferenceForm;
  /** Present where `train` is. `threshold` is the running threshold, where the form has one. */
  export?(config: C, weights: Weights, input: InputTransform, threshold: number): Exported;
}
