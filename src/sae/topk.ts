/**
 * TopK SAE: "Scaling and evaluating sparse autoencoders", Gao et al. 2024, in the form that SAELens gives it.
 *
 *   h = W_enc (n(t) - b_dec) + b_enc          t: the centred and scaled frame, n: normalize_activations
 *   S = the k largest of h_i |W_dec_i|        (of h_i without rescale_acts_by_decoder_norm)
 *   z_i = relu(h_i) for i in S, else 0        reported activations are z_i |W_dec_i|; decoding divides again
 *   r = W_dec^T z + b_dec,  out = n^-1(r)
 *   mse_loss = mean_b |out - t|^2
 *   auxiliary_reconstruction_loss = c min(n_dead / k_aux, 1) mean_b |W_dec^T a - (t - out)|^2
 *
 * where a holds h at the k_aux = d_in / 2 best of the dead latents and the residual t - out is held fixed.
 * SAELens 6.18 adds b_dec to, and de-normalises, the auxiliary reconstruction; since 6.36.2 it does neither.
 *
 * The decoder norms cancel between encoding and decoding, so with g = d mse / d r:
 *
 *   dz_i = g . W_dec_i where z_i > 0
 *   grad W_dec_i = sum_b z_bi g_b,   grad W_enc_i = sum_b dz_bi xc_b,   grad b_enc_i = sum_b dz_bi
 *   grad b_dec = sum_b g_b - W_enc^T grad b_enc
 *
 * and the same with a, d aux / d r_aux for the auxiliary loss, without the condition z_i > 0.
 */
import { type Gpu, padded, type Recorder, type Tensor } from '../gpu/index.ts';
import {
  auxiliaryRows, columnBlock, columnSums, decodeSparse, encode, entryWords, invertPairs, type InverseIndex, keptGradients, latentGradients, prepareRows, randomUniform,
  residualRows, rowNorms, scaleRows, topkRows,
} from '../kernels/index.ts';
import { streams } from '../random.ts';
import { type Compatibility, rowNormalisation, type TopkConfig } from './config.ts';
import { chunkRows, compactTensor, shardRows, vectorTensor, weightTensor } from './layout.ts';
import type { Parameter, StepInputs, StepState, TrainingForm } from './training-form.ts';

/** Everything that holds the kept pairs of one reconstruction, main or auxiliary. */
interface Pairs {
  indices: Tensor;
  values: Tensor;
  dz: Tensor;
  index: InverseIndex;
}

/** Allocates a TopK SAE for training with batches of at most `batch` rows. */
export function topkTraining(gpu: Gpu, config: TopkConfig, batch: number, inputs: StepInputs, state: StepState, compatibility: Compatibility): TrainingForm {
  const { d_in: dIn, d_sae: dSae, k } = config;
  const owned: Tensor[] = [];
  const own = (tensor: Tensor): Tensor => {
    owned.push(tensor);
    return tensor;
  };
  const perShard = shardRows(gpu, dIn, dSae, batch);
  const weight = (label: string): Tensor => own(weightTensor(gpu, label, dIn, dSae, perShard));
  const vector = (label: string, n: number, dtype?: 'u32'): Tensor => own(vectorTensor(gpu, label, n, dtype));
  const frames = (label: string): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows: batch, columns: dIn }));
  const pairsOf = (label: string, kept: number): Pairs => ({
    indices: own(compactTensor(gpu, `${label} indices`, batch, kept, 'u32')),
    values: own(compactTensor(gpu, `${label} values`, batch, kept)),
    dz: own(compactTensor(gpu, `${label} gradients`, batch, kept)),
    index: {
      counts: vector(`${label} counts`, dSae, 'u32'),
      starts: vector(`${label} starts`, dSae + 1, 'u32'),
      entries: own(compactTensor(gpu, `${label} entries`, batch * kept, entryWords, 'u32')),
      bitmap: own(gpu.tensor({ label: `${label} bitmap`, dtype: 'u32', rows: dSae, columns: Math.ceil(batch / 32), shardRows: perShard })),
    },
  });

  const W_enc = weight('W_enc'), W_dec = weight('W_dec');
  const b_enc = vector('b_enc', dSae), b_dec = vector('b_dec', dIn);
  const gradients = { W_enc: weight('grad W_enc'), W_dec: weight('grad W_dec'), b_enc: vector('grad b_enc', 2 * padded(dSae)) };
  const gradBDec = vector('grad b_dec', dIn);
  const parameters: Parameter[] = [
    { name: 'b_dec', value: b_dec, gradient: gradBDec },
    { name: 'W_dec', value: W_dec, gradient: gradients.W_dec },
    { name: 'W_enc', value: W_enc, gradient: gradients.W_enc },
    { name: 'b_enc', value: b_enc, gradient: gradients.b_enc },
  ];

  const kAux = Math.floor(dIn / 2);
  const hasAuxiliary = config.aux_loss_coefficient > 0 && kAux > 0;
  const main = pairsOf('kept', k);
  const auxiliary = hasAuxiliary ? pairsOf('auxiliary', kAux) : undefined;
  const chunk = chunkRows(gpu, dSae, batch);
  const h = own(compactTensor(gpu, 'pre-activations', chunk, dSae));
  const norms = vector('decoder norms', dSae);
  const t = frames('target'), xc = frames('encoder input'), out = frames('reconstruction'), g = frames('reconstruction gradient');
  const gAux = auxiliary ? frames('auxiliary gradient') : undefined;
  const rowAffine = own(compactTensor(gpu, 'row affine', batch, 2));
  const stats = own(compactTensor(gpu, 'row statistics', batch, 4));
  const auxStats = vector('auxiliary statistics', batch);
  const mean = vector('batch mean', dIn);
  const partial = own(gpu.tensor({ label: 'partial sums', dtype: 'f32', rows: Math.ceil(Math.max(batch, dSae) / columnBlock), columns: dIn }));
  const { flags, dead } = state;
  const as618 = compatibility === 'saelens-6.18';

  /** Forward and backward of the auxiliary loss, on top of what the main loss left in the gradients. */
  function recordAuxiliary(rec: Recorder, rows: number, kept: Pairs, gradient: Tensor): void {
    decodeSparse(rec, { ...kept, W_dec, b_dec, r: gradient }, rows, as618 ? 1 : 0);
    auxiliaryRows(rec, { t, out, rowAffine, dead, rAux: gradient, auxStats }, rows, { kAux, coefficient: config.aux_loss_coefficient, affine: as618 });
    keptGradients(rec, { ...kept, g: gradient, W_dec }, rows, false);
    invertPairs(rec, kept, kept.index, rows, true);
    latentGradients(rec, kept.index, { g: gradient, xc }, gradients, true);
    if (as618) columnSums(rec, { M: gradient, total: gradBDec, partial }, rows, 1, true);
  }

  return {
    parameters,
    results: { counts: main.index.counts, stats, auxStats, gradB: gradients.b_enc, gradBDec },

    /** SAELens: Kaiming-uniform decoder rows brought to decoder_init_norm, the encoder a copy, biases zero. */
    initialise(rec, seed) {
      randomUniform(rec, W_dec, { seed, stream: streams.initialisation, substream: 0, bound: Math.sqrt(6 / dIn) });
      if (config.decoder_init_norm !== null) {
        rowNorms(rec, { W: W_dec, norms });
        scaleRows(rec, { W: W_dec, norms }, config.decoder_init_norm);
      }
      W_dec.shards.forEach((shard, n) => rec.copy(shard.buffer, W_enc.shards[n]!.buffer, shard.buffer.size));
    },

    record(rec, { rows, scale, mayBeDead }) {
      const aux = mayBeDead ? auxiliary : undefined;
      for (const { index } of aux ? [main, aux] : [main]) {
        rec.clear(index.counts);
        rec.clear(index.bitmap);
      }
      prepareRows(rec, { frames: inputs.frames, centre: inputs.centre, b_dec, t, xc, rowAffine }, rows,
        { scale, normalise: rowNormalisation(config.normalize_activations), subtractBDec: config.apply_b_dec_to_input });
      columnSums(rec, { M: t, total: mean, partial }, rows, 1 / rows, false);
      if (config.rescale_acts_by_decoder_norm) rowNorms(rec, { W: W_dec, norms });
      const scores = config.rescale_acts_by_decoder_norm ? { norms } : {};
      for (let first = 0; first < rows; first += chunk) {
        const here = Math.min(chunk, rows - first);
        encode(rec, { xc, W_enc, b_enc, h }, first, here);
        topkRows(rec, { h, ...main, flags, ...scores }, first, here, k);
        if (aux) topkRows(rec, { h, ...aux, flags, ...scores, list: dead }, first, here, kAux);
      }
      decodeSparse(rec, { ...main, W_dec, b_dec, r: out }, rows, 1);
      residualRows(rec, { t, mean, rowAffine, values: main.values, r: out, g, stats }, rows);
      keptGradients(rec, { ...main, g, W_dec }, rows, true);
      invertPairs(rec, main, main.index, rows, false);
      latentGradients(rec, main.index, { g, xc }, gradients, false);
      columnSums(rec, { M: g, total: gradBDec, partial }, rows, 1, false);
      if (aux && gAux) recordAuxiliary(rec, rows, aux, gAux);
      if (config.apply_b_dec_to_input) columnSums(rec, { M: W_enc, weights: gradients.b_enc, total: gradBDec, partial }, dSae, -1, true);
    },

    dispose() {
      for (const tensor of owned) gpu.free(tensor);
    },
  };
}
