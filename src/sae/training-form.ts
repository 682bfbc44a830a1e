/** What a trainer needs of an architecture, whatever it is. */
import type { Recorder, Tensor } from '../gpu/index.ts';

/** A trained tensor, and where its gradient is left. The gradient may be wider; its beginning counts. */
export interface Parameter {
  name: string;
  value: Tensor;
  gradient: Tensor;
}

/** What all SAEs that train on one stream share. */
export interface StepInputs {
  /** The raw batch [batch, d_in]. */
  frames: Tensor;
  /** Subtracted from every frame [1, d_in]. */
  centre: Tensor;
}

/** What a trainer keeps per SAE and the architecture reads or writes. */
export interface StepState {
  /** Dead latents at the start of the step: a count, then latents [1, d_sae + 1]. */
  dead: Tensor;
  /** Bit 0: a pre-activation was not finite. */
  flags: Tensor;
}

/** What one step leaves for the trainer. */
export interface StepResults {
  /** Rows of the batch in which each latent fired [1, d_sae]. */
  counts: Tensor;
  /** Per row: squared error, squared deviation from the batch's mean, their ratio, active latents [batch, 4]. */
  stats: Tensor;
  /** Auxiliary loss per row [1, batch]. */
  auxStats: Tensor;
  /** Gradients of b_enc, then from padded(d_sae) on every latent's squared gradient norm. */
  gradB: Tensor;
  gradBDec: Tensor;
}

export interface TrainingForm {
  /** In SAELens' optimiser order. */
  readonly parameters: readonly Parameter[];
  readonly results: StepResults;
  /** Records the initialisation of all parameters from a seed. */
  initialise(rec: Recorder, seed: number): void;
  /**
   * Records forward and backward pass of the first `rows` rows. `scale` multiplies the centred frames. `mayBeDead` is false
   * while no latent can be dead yet: the auxiliary loss is then left out.
   */
  record(rec: Recorder, step: { rows: number; scale: number; mayBeDead: boolean }): void;
  dispose(): void;
}
