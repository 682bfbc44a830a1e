/**
 * Matching pursuit SAE: "From flat to hierarchical: extracting sparse representations with matching pursuit", Costa et al. 2025, as
 * SAELens has it since 6.26. The dictionary is tied: there is no W_enc. With xc = n(t) - b_dec and r_0 = xc, iteration by iteration
 *
 *   j_t = argmax_i r_t . W_i,   v_t = relu(r_t . W_j_t),   r_t+1 = r_t - v_t W_j_t          W: the rows of W_dec
 *   f_i = sum of v_t with j_t = i,   r = W_dec^T f + b_dec,   out = n^-1(r)
 *   mse_loss = mean_b |out - t|^2                                                           the only loss
 *
 * until max_iterations are done (null: d_in of them), |r_t| < residual_threshold, or an iteration brought no new latent and
 * stop_on_duplicate_support is set. Rows begin at unit length and are free afterwards, so a latent may be taken again. b_dec is
 * neither subtracted nor added without apply_b_dec_to_input.
 *
 * The choice is constant under differentiation; the values are not. Reverse mode through the iterations, with g = d mse / d r and q_T = g:
 *
 *   c_t = q_t+1 . W_j_t,   grad W_j_t += v_t q_t+1 + c_t r_t,   q_t = q_t+1 - c_t W_j_t,   grad b_dec = sum_b q_0
 *
 * so the backward pass is the pursuit of g with the same atoms in reverse. Each iteration multiplies all of W with the residuals of
 * all rows: a step costs max_iterations times what encoding costs elsewhere.
 */
import { padded, type Tensor } from '../../gpu/index.ts';
import {
  columnBlock, columnSums, decodeDense, decodeSparse, gatheredGradients, invertPairs, mergePicks, type Picks, prepareRows, pursue, pursuitGradients,
  residualRows,
} from '../../kernels/index.ts';
import type { Architecture, BaseConfig, Exported, InferenceContext, InferenceForm, InputTransform, Parameter, TrainingContext, TrainingForm } from '../architecture.ts';
import { refuse, rowNormalisation } from '../config.ts';
import { chunkRows, compactTensor, initialiseDecoder, inverseIndexTensors, shardRows, vectorTensor, weightTensor } from '../layout.ts';
import type { Weights } from '../weights.ts';

export interface MatchingPursuitConfig extends BaseConfig {
  architecture: 'matching_pursuit';
  /** The most latents taken of a frame; null: d_in. */
  max_iterations: number | null;
  /** A frame is done when its residual is shorter; 0: never. In units of the frames that the SAE sees. */
  residual_threshold: number;
  stop_on_duplicate_support: boolean;
}

export const matchingPursuit: Architecture<MatchingPursuitConfig> = {
  name: 'matching_pursuit',
  title: 'latents taken off each frame one after the other (Costa et al. 2025)',
  fields: {
    max_iterations: { kind: 'integer', default: 32, least: 1, nullable: true, help: 'the most latents taken of a frame, and what a step costs; null is d_in, SAELens\' default' },
    residual_threshold: { kind: 'number', default: 0.01, least: 0, help: 'a frame is done when what is left of it is shorter than this; 0: never' },
    stop_on_duplicate_support: { kind: 'boolean', default: true, help: 'stop a frame when a latent comes a second time' },
  },
  base: { decoder_init_norm: 1 },
  check({ decoder_init_norm }) {
    if (decoder_init_norm !== 1) refuse('decoder_init_norm', decoder_init_norm, '1 for matching pursuit');
  },
  train: pursuitTraining,
  infer: pursuitInference,
  export: exportPursuit,
};

/** Allocates what each row picks. */
function picksTensors(own: (tensor: Tensor) => Tensor, gpu: TrainingContext<MatchingPursuitConfig>['gpu'], rows: number, picks: number): Picks {
  return {
    indices: own(compactTensor(gpu, 'picked latents', rows, picks, 'u32')), values: own(compactTensor(gpu, 'picked values', rows, picks)),
    firstSlots: own(compactTensor(gpu, 'first picks', rows, picks, 'u32')),
  };
}

function pursuitTraining({ gpu, config, batch, inputs, state }: TrainingContext<MatchingPursuitConfig>): TrainingForm {
  const { d_in: dIn, d_sae: dSae, apply_b_dec_to_input: applied } = config;
  const picksPerRow = config.max_iterations ?? dIn;
  const owned: Tensor[] = [];
  const own = (tensor: Tensor): Tensor => {
    owned.push(tensor);
    return tensor;
  };
  const perShard = shardRows(gpu, dIn, dSae, batch);
  const weight = (label: string, gathered = false): Tensor => own(weightTensor(gpu, label, dIn, dSae, perShard, gathered));
  const vector = (label: string, n: number, dtype?: 'u32'): Tensor => own(vectorTensor(gpu, label, n, dtype));
  const frames = (label: string): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows: batch, columns: dIn }));

  const W_dec = weight('W_dec', true), b_dec = vector('b_dec', dIn);
  const gradWDec = weight('grad W_dec'), gradBDec = vector('grad b_dec', dIn);
  const parameters: Parameter[] = [{ name: 'b_dec', value: b_dec, gradient: gradBDec }, { name: 'W_dec', value: W_dec, gradient: gradWDec }];

  const picks = picksTensors(own, gpu, batch, picksPerRow);
  const kept = {
    indices: own(compactTensor(gpu, 'kept indices', batch, picksPerRow, 'u32')), values: own(compactTensor(gpu, 'kept values', batch, picksPerRow)),
    dz: own(compactTensor(gpu, 'kept slots', batch, picksPerRow)),
  };
  const index = inverseIndexTensors(gpu, own, 'kept', { dSae, batch, pairs: batch * picksPerRow, perShard });
  const forwardRows = chunkRows(gpu, dSae, batch);
  const backwardRows = chunkRows(gpu, picksPerRow * padded(dIn), batch);
  const h = own(compactTensor(gpu, 'products', forwardRows, dSae));
  const shares = own(gpu.tensor({ label: 'picks\' gradients', dtype: 'f32', rows: backwardRows * picksPerRow, columns: dIn }));
  const t = frames('target'), xc = frames('pursued'), residual = frames('residual'), out = frames('reconstruction'), q = frames('reconstruction gradient');
  const rowAffine = own(compactTensor(gpu, 'row affine', batch, 2)), stats = own(compactTensor(gpu, 'row statistics', batch, 4));
  const lossRows = own(compactTensor(gpu, 'no other losses', batch, 0));
  const done = vector('rows done', batch, 'u32'), noBias = vector('no bias', dSae), sums = vector('gradient squares', dSae), mean = vector('batch mean', dIn);
  const norms = vector('decoder norms', dSae);
  const partial = own(gpu.tensor({ label: 'partial sums', dtype: 'f32', rows: Math.ceil(batch / columnBlock), columns: dIn }));
  const options = { residualThreshold: config.residual_threshold, stopOnDuplicateSupport: config.stop_on_duplicate_support };

  return {
    parameters,
    results: { counts: index.counts, stats, losses: [], lossRows, squares: { tensor: sums, first: 0, count: dSae }, gradBDec },

    /** SAELens: Kaiming-uniform rows brought to unit length, b_dec zero. */
    initialise(rec, seed) {
      initialiseDecoder(rec, { W_dec, norms }, seed, 1);
    },

    record(rec, { rows, scale }) {
      for (const tensor of [index.counts, index.bitmap, done, gradBDec]) rec.clear(tensor);
      prepareRows(rec, { frames: inputs.frames, centre: inputs.centre, b_dec, t, xc, rowAffine }, rows,
        { scale, normalise: rowNormalisation(config.normalize_activations), subtractBDec: applied });
      columnSums(rec, { M: t, total: mean, partial }, rows, 1 / rows, false);
      rec.copy(xc.buffer, residual.buffer, xc.buffer.size);
      for (let first = 0; first < rows; first += forwardRows) {
        pursue(rec, { ...picks, W_dec, residual, h, noBias, done, flags: state.flags }, first, Math.min(forwardRows, rows - first), options);
      }
      mergePicks(rec, { ...picks, kept }, rows);
      decodeSparse(rec, { ...kept, W_dec, b_dec, r: out }, rows, applied ? 1 : 0);
      residualRows(rec, { t, mean, rowAffine, values: kept.values, r: out, g: q, stats }, rows);
      invertPairs(rec, kept, index, rows, false);
      for (let first = 0; first < rows; first += backwardRows) {
        const here = Math.min(backwardRows, rows - first);
        rec.clear(shares);
        pursuitGradients(rec, { ...picks, W_dec, q, residual, shares }, first, here);
        gatheredGradients(rec, index, { M: shares, grad: gradWDec, sums }, { kind: 'slot', picks: picksPerRow, firstRow: first, rows: here }, 0, first > 0);
      }
      if (applied) columnSums(rec, { M: q, total: gradBDec, partial }, rows, 1, false);
    },

    dispose() {
      for (const tensor of owned) gpu.free(tensor);
    },
  };
}

function pursuitInference({ gpu, config, weights, rows, own }: InferenceContext): InferenceForm {
  const { d_in: dIn, d_sae: dSae, apply_b_dec_to_input: applied } = config;
  const given = config['max_iterations'] ?? dIn, threshold = config['residual_threshold'] ?? 0.01;
  if (!(Number.isSafeInteger(given) && (given as number) >= 1)) refuse('max_iterations', given, 'a positive whole number or null');
  if (!(typeof threshold === 'number' && threshold >= 0)) refuse('residual_threshold', threshold, 'zero or a positive number');
  const picksPerRow = given as number;
  const vector = (label: string, n: number, dtype?: 'u32'): Tensor => own(vectorTensor(gpu, label, n, dtype));
  const frameRows = (label: string): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows, columns: dIn }));
  const W_dec = own(weightTensor(gpu, 'W_dec', dIn, dSae, shardRows(gpu, dIn, dSae), true)), b_dec = vector('b_dec', dIn);
  gpu.upload(W_dec, weights.W_dec);
  if (applied) gpu.upload(b_dec, weights.b_dec);
  const frames = frameRows('frames'), t = frameRows('target'), residual = frameRows('residual'), r = frameRows('reconstruction');
  const h = own(compactTensor(gpu, 'products', rows, dSae)), rowAffine = own(compactTensor(gpu, 'row affine', rows, 2));
  const flags = vector('flags', 1, 'u32'), done = vector('rows done', rows, 'u32'), noBias = vector('no bias', dSae), noCentre = vector('no centre', dIn);
  const picks = picksTensors(own, gpu, rows, picksPerRow);
  const kept = {
    indices: own(compactTensor(gpu, 'kept indices', rows, picksPerRow, 'u32')), values: own(compactTensor(gpu, 'kept values', rows, picksPerRow)),
    dz: own(compactTensor(gpu, 'kept slots', rows, picksPerRow)),
  };
  const normalise = rowNormalisation(config.normalize_activations);
  const options = { residualThreshold: threshold as number, stopOnDuplicateSupport: config['stop_on_duplicate_support'] !== false };
  return {
    frames, r, flags, codes: h, acts: { indices: kept.indices, values: kept.values }, ...(normalise === 'none' ? {} : { rowAffine }),
    record(rec, here, decode) {
      rec.clear(flags);
      rec.clear(done);
      prepareRows(rec, { frames, centre: noCentre, b_dec, t, xc: residual, rowAffine }, here, { scale: 1, normalise, subtractBDec: applied });
      pursue(rec, { ...picks, W_dec, residual, h, noBias, done, flags }, 0, here, options);
      mergePicks(rec, { ...picks, kept }, here);
      if (decode) decodeSparse(rec, { ...kept, W_dec, b_dec, r }, here, 1);
    },
    recordDecode(rec, here) {
      decodeDense(rec, { f: h, W_dec, b_dec, r }, here);
    },
  };
}

/**
 * The pursuit of (x - mean) scale with b_dec is that of x with b_dec / scale + mean, all of it 1 / scale as large: activations, residuals
 * and so their threshold. An SAE that trained without b_dec needs one to take the mean off, so what is written always applies it.
 */
function exportPursuit(config: MatchingPursuitConfig, { W_dec, b_dec }: Weights, { mean, scale }: InputTransform): Exported {
  return {
    architecture: 'matching_pursuit',
    fields: {
      max_iterations: config.max_iterations, residual_threshold: config.residual_threshold / scale, stop_on_duplicate_support: config.stop_on_duplicate_support,
      apply_b_dec_to_input: true,
    },
    weights: { W_dec, b_dec: mean.map((value, d) => (config.apply_b_dec_to_input ? b_dec[d]! / scale : 0) + value) },
  };
}
