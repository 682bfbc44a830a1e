import { frameNumbers } from '../activations/halves.ts'; // the trainer runs in pages, which have no packages
import { architectureOf, type BaseConfig, type InputTransform } from '../sae/index.ts';
import type { TrainerConfig } from './config.ts';
import { geometricMedian, meanRow } from './geometric-median.ts';
import type { TrainingBatch } from './stream-inputs.ts';

/** Rows as an SAE has them before or behind it, in float64. */
export interface SeenFrames {
  /** What the encoder sees, but for b_dec [rows, d_in]: centred, scaled, normalised row by row where the SAE does that. */
  frames: Float64Array;
  /** What the decoder is to give, b_dec included [rows, d_out]: the same, but for transcoders. */
  targets: Float64Array;
}

/** A batch as the SAE sees it; the same as prepare_rows.wgsl, for what the host does now and then. */
export function seenFrames(sae: BaseConfig, input: InputTransform, { x, target, format }: TrainingBatch): SeenFrames {
  const frames = transformed(frameNumbers(x, format), input);
  normalise(frames, sae);
  return { frames, targets: architectureOf(sae.architecture).needs === 'targets' ? transformed(frameNumbers(target!, format), input.target!) : frames };
}

/** What b_dec begins as by b_dec_init_method [d_out], from a batch of at least one row. */
export function initialBias(method: TrainerConfig['b_dec_init_method'], sae: BaseConfig, input: InputTransform, batch: TrainingBatch): Float32Array {
  const { targets } = seenFrames(sae, input, batch);
  const columns = architectureOf(sae.architecture).needs === 'targets' ? input.target!.mean.length : sae.d_in;
  if (method === 'zeros') return new Float32Array(columns);
  return Float32Array.from((method === 'mean' ? meanRow : geometricMedian)(targets, columns));
}

function transformed(x: Float32Array, { mean, scale }: { mean: Float32Array; scale: number }): Float64Array {
  return Float64Array.from(x, (value, at) => (value - mean[at % mean.length]!) * scale);
}

function normalise(frames: Float64Array, { normalize_activations: how, d_in: dIn }: BaseConfig): void {
  if (how !== 'constant_norm_rescale' && how !== 'layer_norm') return;
  for (let first = 0; first < frames.length; first += dIn) {
    const row = frames.subarray(first, first + dIn);
    const shift = how === 'layer_norm' ? row.reduce((sum, value) => sum + value, 0) / dIn : 0;
    const squares = row.reduce((sum, value) => sum + (value - shift) ** 2, 0);
    const divisor = how === 'layer_norm' ? Math.sqrt(squares / (dIn - 1)) + 1e-5 : Math.sqrt(squares / dIn);
    row.forEach((value, d) => row[d] = (value - shift) / divisor);
  }
}
