/**
 * Neuron resampling: Bricken et al. 2023, "Towards monosemanticity", appendix; dictionary_learning's resample_neurons. Dead latents, those that
 * have been silent for more than dead_feature_window steps, take up frames of the present batch that are reconstructed badly:
 *
 *   p_b ~ |e_b|^4                     the square of the frame's loss, of which the squared error is what all architectures have
 *   W_dec_i = u |W_dec|_alive,  W_enc_i = 0.2 |W_enc|_alive u',  biases and thresholds as at the start, Adam's moments zero
 *
 * u and u' are directions of length 1: of the frame as the encoder sees it, b_dec subtracted; for a transcoder u is of the target less
 * b_dec. |..|_alive are mean lengths over latents that are alive; with unit_norm_decoder that of W_dec is 1, as in the paper. As in
 * dictionary_learning no frame is taken twice, so where more latents are dead than the batch has frames, the first ones are resampled. The
 * learning rate does not warm up again, as it does there.
 */
import type { Gpu, Tensor } from '../gpu/index.ts';
import { rowNorms } from '../kernels/index.ts';
import { RandomStream, streams } from '../random.ts';
import type { BaseConfig, InputTransform, TrainingForm } from '../sae/index.ts';
import type { TrainerConfig } from './config.ts';
import { seenFrames } from './seen-frames.ts';
import type { TrainingBatch } from './stream-inputs.ts';

/** A resampled latent's encoder row, against the mean length of those that are alive. */
const encoderShare = 0.2;

export interface Resampling {
  gpu: Gpu;
  sae: BaseConfig;
  config: TrainerConfig;
  input: InputTransform;
  form: TrainingForm;
  /** Adam's, of each of the form's parameters. */
  moments: readonly { m: Tensor; v: Tensor }[];
  /** Steps since each latent fired [1, d_sae], u32. */
  since: Tensor;
}

/** Resamples after step `step` (from 1), whose batch this was and whose errors are still there. Returns how many latents begin anew. */
export async function resample(trainer: Resampling, batch: TrainingBatch, step: number): Promise<number> {
  const { gpu, config, form, moments, since } = trainer;
  const silent = await gpu.downloadIntegers(since);
  const dead = [...silent.keys()].filter((i) => silent[i]! > config.dead_feature_window);
  if (dead.length === 0) return 0;
  const { encoder, decoder } = await directions(trainer, batch);
  const stats = await gpu.downloadFloats(form.results.stats);
  const weights = Float64Array.from(encoder, (direction, row) => (direction && decoder[row] ? stats[row * 4]! ** 2 : 0));
  const chosen = drawWithoutReplacement(weights, dead.length, new RandomStream(config.seed, streams.resampling, step));
  const latents = dead.slice(0, chosen.length);
  const isDead = new Set(dead);

  for (const [n, { name, value, initial = 0 }] of form.parameters.entries()) {
    const { m, v } = moments[n]!;
    if (value.rows === 1 && value.columns === since.columns && name !== 'b_dec') {
      for (const [tensor, fresh] of [[value, initial], [m, 0], [v, 0]] as const) {
        const numbers = await gpu.downloadFloats(tensor);
        for (const i of latents) numbers[i] = fresh;
        gpu.upload(tensor, numbers);
      }
    } else if (name === 'W_enc' || name === 'W_dec') {
      const alive = name === 'W_dec' && config.unit_norm_decoder ? 1 : await meanAliveNorm(gpu, value, isDead);
      const [towards, length] = name === 'W_enc' ? [encoder, encoderShare * alive] : [decoder, alive];
      latents.forEach((latent, at) => {
        gpu.upload(value, Float32Array.from(towards[chosen[at]!]!, (part) => part * length), latent);
        for (const tensor of [m, v]) gpu.upload(tensor, new Float32Array(value.columns), latent);
      });
    }
  }
  for (const i of latents) silent[i] = 0;
  gpu.upload(since, silent);
  return latents.length;
}

/** Per frame of the batch, where new rows may point: vectors of length 1; undefined where a frame, less b_dec, has no direction. */
async function directions({ gpu, sae, input, form }: Resampling, batch: TrainingBatch): Promise<{ encoder: Direction[]; decoder: Direction[] }> {
  const { frames, targets } = seenFrames(sae, input, batch);
  const bias = await gpu.downloadFloats(form.parameters.find(({ name }) => name === 'b_dec')!.value);
  const lessBias = (rows: Float64Array): Float64Array => rows.map((value, at) => value - bias[at % bias.length]!);
  const encoder = unitRows(sae.apply_b_dec_to_input ? lessBias(frames) : frames, sae.d_in);
  return { encoder, decoder: targets === frames && sae.apply_b_dec_to_input ? encoder : unitRows(lessBias(targets), bias.length) };
}

type Direction = Float64Array | undefined;

function unitRows(vectors: Float64Array, columns: number): Direction[] {
  return Array.from({ length: vectors.length / columns }, (_, row) => {
    const vector = vectors.subarray(row * columns, (row + 1) * columns);
    const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
    return length > 0 ? vector.map((value) => value / length) : undefined;
  });
}

/** The mean length of a weight's rows that are not dead; of all rows where all are. */
async function meanAliveNorm(gpu: Gpu, W: Tensor, dead: ReadonlySet<number>): Promise<number> {
  const norms = gpu.tensor({ label: 'row norms', dtype: 'f32', rows: 1, columns: W.rows });
  try {
    const rec = gpu.record();
    rowNorms(rec, { W, norms });
    rec.submit();
    const lengths = await gpu.downloadFloats(norms);
    const counted = dead.size < lengths.length ? lengths.filter((_, i) => !dead.has(i)) : lengths;
    return counted.reduce((sum, length) => sum + length, 0) / counted.length;
  } finally {
    gpu.free(norms);
  }
}

/** Up to `count` different indices, one after the other with probabilities proportional to the weights of those that are left. */
export function drawWithoutReplacement(weights: Float64Array, count: number, random: RandomStream): number[] {
  const left = weights.slice();
  const drawn: number[] = [];
  while (drawn.length < count) {
    const total = left.reduce((sum, weight) => sum + weight, 0);
    if (!(total > 0 && Number.isFinite(total))) break;
    const uniform = (random.word() * 2 ** 21 + (random.word() >>> 11)) * 2 ** -53;
    let rest = uniform * total;
    let index = left.findIndex((weight) => (rest -= weight) < 0);
    if (index < 0) index = left.findLastIndex((weight) => weight > 0); // rounding of the sum
    drawn.push(index);
    left[index] = 0;
  }
  return drawn;
}
