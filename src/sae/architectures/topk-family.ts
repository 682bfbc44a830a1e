/**
 * What TopK, BatchTopK, Matryoshka and AbsTopK SAEs share: they keep few latents of each frame and differ in which.
 *
 *   h = W_enc (n(t) - b_dec) + b_enc          t: the centred and scaled frame, n: normalize_activations
 *   S = what is selected by h_i |W_dec_i|     (by h_i without rescale_acts_by_decoder_norm)
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
 *
 * With widths w_1 < ... < w_L = d_sae (Matryoshka) level l is the reconstruction r_l by the first w_l latents, r_L = r, and every inner
 * level adds inner_mse_loss_{w_l} = mean_b |n^-1(r_l) - t|^2. Latents ascend in each row's pairs, so r_l is r_{l-1} and the pairs of one range of
 * latents more; and what reaches the latents of that range is g_l + ... + g_L in the place of g.
 */
import { padded, type Recorder, type Tensor } from '../../gpu/index.ts';
import {
  auxiliaryRows, columnBlock, columnSums, decodeSparse, encode, invertPairs, type InverseIndex, type KeptPairs, keptGradients, latentGradients, type LatentGradients, type LatentRange,
  leavesTops, levelRows, listRange, type Pairs, prepareRows, reconstructRows, residualRows, rowNorms, topkRows, type TopkTensors,
} from '../../kernels/index.ts';
import type { BaseConfig, Field, Parameter, Step, StepState, TrainingContext, TrainingForm } from '../architecture.ts';
import { refuse, rowNormalisation } from '../config.ts';
import { chunkRows, compactTensor, initialiseDecoder, inverseIndexTensors, shardRows, vectorTensor, weightTensor } from '../layout.ts';

export interface FamilyConfig extends BaseConfig {
  /** Latents kept per frame, or per frame on average. */
  k: number;
  /** Select by pre-activation times decoder norm, so that a latent cannot win by a short decoder row. */
  rescale_acts_by_decoder_norm: boolean;
  aux_loss_coefficient: number;
  /** k of the first step, from where it falls linearly to `k` in `k_anneal_steps` steps (after dictionary_learning's k_anneal_steps). */
  k_anneal_start: number | null;
  k_anneal_steps: number;
}

export const familyFields = {
  rescale_acts_by_decoder_norm: { kind: 'boolean', default: true, help: 'rank latents by pre-activation times decoder norm' },
  aux_loss_coefficient: { kind: 'number', default: 1, least: 0, help: 'weight of the dead latents\' auxiliary loss' },
  k_anneal_start: { kind: 'number', default: null, above: 0, nullable: true, help: 'k of the first step, from where it falls linearly to k' },
  k_anneal_steps: { kind: 'integer', default: 0, least: 0, help: 'steps in which k falls' },
} as const satisfies Record<Exclude<keyof FamilyConfig, keyof BaseConfig | 'k'>, Field>;

/** Throws `config` for values of the family's fields that do not go together. */
export function checkFamily({ k, d_sae, k_anneal_start: start, k_anneal_steps: steps }: FamilyConfig): void {
  if (k > d_sae) refuse('k', k, `at most d_sae (${d_sae})`);
  if (start !== null && (start < k || start > d_sae)) refuse('k_anneal_start', start, `from k (${k}) to d_sae (${d_sae})`);
  if ((start === null) !== (steps === 0)) refuse('k_anneal_steps', steps, 'given together with k_anneal_start, and above 0');
}

/** k of a step, not rounded. */
export function kAt({ k, k_anneal_start: start, k_anneal_steps: steps }: FamilyConfig, { time }: Step): number {
  return start === null || time >= steps ? k : start + ((k - start) * time) / steps;
}

/** The largest k of a run. */
export function largestK({ k, k_anneal_start }: FamilyConfig): number {
  return k_anneal_start ?? k;
}

/** What is ranked: pre-activations, and the norms that they are multiplied with. */
type Scores = Pick<TopkTensors, 'norms'>;

/** How a member of the family selects. */
interface Selection {
  /** Where it leaves what is kept. */
  kept: Pairs;
  /** Pre-activations: one tensor that all rows go through in turn, or one for each chunk of rows. */
  h: readonly Tensor[];
  /** Where it wants the largest score of every eight latents, of the rows that `h` holds. */
  tops?: Tensor;
  /** The smallest reported activation of the batch [1, 1], where it is known. */
  smallest?: Tensor;
  /** Records selecting in rows firstRow ... of the batch, whose pre-activations are in `h` now. */
  ofRows?(rec: Recorder, h: Tensor, scores: Scores, firstRow: number, rows: number, step: Step): void;
  /** Records selecting in all rows, whose pre-activations are in the tensors of `h`. */
  ofBatch?(rec: Recorder, scores: Scores, step: Step): void;
}

/** What a selection is allocated with. */
interface SelectionContext {
  /** Rows of a chunk. */
  chunk: number;
  state: StepState;
  /** Another selection's pre-activations, which is done with them when this one begins. */
  h?: readonly Tensor[];
  own(tensor: Tensor): Tensor;
}

export interface FamilyOptions {
  select(context: SelectionContext): Selection;
  /** Kept values have their sign: no relu, and a value of zero is one that is not kept. */
  signed?: boolean;
  /** Of the nested levels, the last d_sae. */
  widths?: readonly number[];
  /** Each level's dead latents reconstruct what is left over at that level. */
  auxiliaryPerLevel?: boolean;
  /** A further loss of what is kept. */
  further?(parts: FamilyParts): FurtherLoss;
}

/** What a further loss works on. */
export interface FamilyParts {
  /** What the batch keeps, and the tensors that its pre-activations went through. */
  kept: KeptPairs;
  h: readonly Tensor[];
  scores: Scores;
  W_enc: Tensor;
  b_enc: Tensor;
  b_dec: Tensor;
  gradients: LatentGradients;
  /** Where the loss goes, row by row. */
  lossRows: Tensor;
  column: number;
  chunk: number;
  own(tensor: Tensor): Tensor;
  /** Room for gradients of further pairs and for their inverse index. */
  withGradients(label: string, pairs: Pairs): KeptPairs & { index: InverseIndex };
}

export interface FurtherLoss {
  name: string;
  /** Records the loss, adding to the gradients of the kept values. */
  recordValues(rec: Recorder, step: Step): void;
  /** Records what the loss adds to the weights' gradients besides. */
  recordWeights(rec: Recorder, step: Step): void;
}

/**
 * Selects in each row by itself, with as many slots as the largest k has; k is rounded. Rows go through one tensor of pre-activations, chunk by chunk.
 * `usesTops`: a selection that can look at the tops of eights alone.
 */
export function rowSelection({ gpu, config, batch }: TrainingContext<FamilyConfig>,
  select: (rec: Recorder, tensors: TopkTensors, firstRow: number, rows: number, k: number) => void, usesTops: boolean): Pick<FamilyOptions, 'select'> {
  const slots = Math.round(largestK(config));
  return {
    select({ chunk, state: { flags }, own }) {
      const kept = { indices: own(compactTensor(gpu, 'kept indices', batch, slots, 'u32')), values: own(compactTensor(gpu, 'kept values', batch, slots)) };
      const h = own(compactTensor(gpu, 'pre-activations', chunk, config.d_sae));
      const tops = usesTops && leavesTops(gpu, config.d_in, config.d_sae) ? { tops: own(compactTensor(gpu, 'largest scores', chunk, Math.ceil(config.d_sae / 8))) } : {};
      return {
        kept, h: [h], ...tops,
        ofRows: (rec, now, scores, firstRow, rows, step) => select(rec, { ...kept, ...scores, ...tops, h: now, flags }, firstRow, rows, Math.round(kAt(config, step))),
      };
    },
  };
}

/** One nested reconstruction: its own latents, r, and the gradient that these get, which may take the place of r. */
interface Level {
  range: LatentRange;
  r: Tensor;
  g: Tensor;
}

/** Allocates a member of the family for training. */
export function trainFamily({ gpu, config, batch, inputs, state, compatibility }: TrainingContext<FamilyConfig>, options: FamilyOptions): TrainingForm {
  const { d_in: dIn, d_sae: dSae } = config;
  const { signed = false, widths = [dSae] } = options;
  const { flags, dead } = state;
  const as618 = compatibility === 'saelens-6.18';
  const owned: Tensor[] = [];
  const own = (tensor: Tensor): Tensor => {
    owned.push(tensor);
    return tensor;
  };
  const perShard = shardRows(gpu, dIn, dSae, batch);
  const weight = (label: string, gathered = false): Tensor => own(weightTensor(gpu, label, dIn, dSae, perShard, gathered));
  const vector = (label: string, n: number, dtype?: 'u32'): Tensor => own(vectorTensor(gpu, label, n, dtype));
  const gatheredVector = (label: string): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows: 1, columns: dIn, gathered: true }));
  const frames = (label: string, gathered = false): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows: batch, columns: dIn, gathered }));
  const withGradients = (label: string, pairs: Pairs): KeptPairs & { index: InverseIndex } => ({
    ...pairs,
    dz: own(compactTensor(gpu, `${label} gradients`, pairs.values.rows, pairs.values.columns)),
    index: inverseIndexTensors(gpu, own, label, { dSae, batch, pairs: pairs.values.rows * pairs.values.columns, perShard }),
  });

  const W_enc = weight('W_enc'), W_dec = weight('W_dec', true);
  const b_enc = vector('b_enc', dSae), b_dec = gatheredVector('b_dec');
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
  const chunk = chunkRows(gpu, dSae, batch);
  const selection = options.select({ chunk, state, own });
  const main = withGradients('kept', selection.kept);
  const auxiliary = hasAuxiliary ? {
    ...withGradients('auxiliary', { indices: own(compactTensor(gpu, 'auxiliary indices', batch, kAux, 'u32')), values: own(compactTensor(gpu, 'auxiliary values', batch, kAux)) }),
    g: frames('auxiliary gradient', true),
  } : undefined;
  const partOfDead = hasAuxiliary && options.auxiliaryPerLevel ? vector('dead latents of a level', dSae + 1, 'u32') : undefined;
  const norms = vector('decoder norms', dSae);
  const scores = config.rescale_acts_by_decoder_norm ? { norms } : {};
  const t = frames('target'), xc = frames('encoder input', true), out = frames('reconstruction');
  const levels = widths.map((width, l): Level => {
    const r = l < widths.length - 1 ? frames(`reconstruction of ${width} latents`, true) : out;
    return { range: { from: widths[l - 1] ?? 0, end: width }, r, g: r === out ? frames('reconstruction gradient', true) : r };
  });
  const outermost = levels.at(-1)!, inner = levels.slice(0, -1);
  const losses = ['auxiliary_reconstruction_loss', ...inner.map(({ range }) => `inner_mse_loss_${range.end}`)];
  const rowAffine = own(compactTensor(gpu, 'row affine', batch, 2));
  const stats = own(compactTensor(gpu, 'row statistics', batch, 4));
  const lossRows = own(compactTensor(gpu, 'losses', batch, losses.length + (options.further ? 1 : 0)));
  const further = options.further?.({ kept: main, h: selection.h, scores, W_enc, b_enc, b_dec, gradients, lossRows, column: losses.length, chunk, own, withGradients });
  if (further) losses.push(further.name);
  const mean = gatheredVector('batch mean');
  const partial = own(gpu.tensor({ label: 'partial sums', dtype: 'f32', rows: Math.ceil(Math.max(batch, dSae) / columnBlock), columns: dIn }));

  type Auxiliary = NonNullable<typeof auxiliary>;

  /** The dead latents of the list that rows firstRow ... use for the auxiliary loss. */
  const selectAuxiliary = (rec: Recorder, { indices, values }: Auxiliary, h: Tensor, firstRow: number, rows: number, list: Tensor): void => (
    topkRows(rec, { h, indices, values, flags, ...scores, list }, firstRow, rows, kAux, signed)
  );

  const clear = (rec: Recorder, { index }: { index: InverseIndex }): void => {
    rec.clear(index.counts);
    rec.clear(index.bitmap);
  };

  /** Forward and backward of the auxiliary loss, on top of what the main loss left in the gradients. */
  function recordAuxiliary(rec: Recorder, rows: number, aux: Auxiliary): void {
    const { g } = aux;
    decodeSparse(rec, { ...aux, W_dec, b_dec, r: g }, rows, as618 ? 1 : 0);
    auxiliaryRows(rec, { t, out, rowAffine, dead, rAux: g, lossRows }, rows, { kAux, coefficient: config.aux_loss_coefficient, affine: as618, column: 0 });
    keptGradients(rec, { ...aux, W_dec }, rows, false);
    invertPairs(rec, aux, aux.index, rows, true);
    latentGradients(rec, aux.index, { g, xc }, gradients, true);
    if (as618) columnSums(rec, { M: g, total: gradBDec, partial }, rows, 1, true);
  }

  /** The same for the dead latents of one level alone, whose gradients are begun here: the main loss adds to them. */
  function recordLevelAuxiliary(rec: Recorder, rows: number, aux: Auxiliary, list: Tensor, { range, r }: Level): void {
    const { g } = aux;
    clear(rec, aux);
    listRange(rec, { list: dead, part: list }, range);
    selection.h.forEach((h, n) => {
      if (n * chunk < rows) selectAuxiliary(rec, aux, h, n * chunk, Math.min(chunk, rows - n * chunk), list);
    });
    decodeSparse(rec, { ...aux, W_dec, b_dec, r: g }, rows, 0);
    auxiliaryRows(rec, { t, out: r, rowAffine, dead: list, rAux: g, lossRows }, rows,
      { kAux, coefficient: config.aux_loss_coefficient, affine: false, column: 0, add: r !== out, raw: r !== out });
    keptGradients(rec, { ...aux, W_dec }, rows, false);
    invertPairs(rec, aux, aux.index, rows, true);
    latentGradients(rec, aux.index, { g, xc }, gradients, false, range);
  }

  /** From kept pairs to the gradients of their values, level by level, each level's dead latents' loss among them. */
  function recordLevels(rec: Recorder, rows: number, aux: Auxiliary | undefined, nested: Tensor | undefined): void {
    levels.forEach(({ range, r }, l) => {
      const before = levels[l - 1];
      decodeSparse(rec, { ...main, W_dec, b_dec, r, ...(before ? { before: before.r } : {}) }, rows, 1, range);
    });
    residualRows(rec, { ...main, t, mean, rowAffine, r: out, g: outermost.g, stats }, rows);
    if (aux && nested) recordLevelAuxiliary(rec, rows, aux, nested, outermost);
    for (let l = inner.length - 1; l >= 0; l--) {
      if (aux && nested) recordLevelAuxiliary(rec, rows, aux, nested, levels[l]!);
      levelRows(rec, { t, rowAffine, outer: levels[l + 1]!.g, r: levels[l]!.r, lossRows }, rows, 1 + l);
    }
    for (const { range, g } of levels) keptGradients(rec, { ...main, g, W_dec }, rows, !signed, range);
  }

  return {
    parameters,
    results: {
      counts: main.index.counts, stats, losses, lossRows, squares: { tensor: gradients.b_enc, first: padded(dSae), count: dSae }, gradBDec,
      ...(selection.smallest ? { smallest: selection.smallest } : {}),
    },

    /** SAELens: Kaiming-uniform decoder rows brought to decoder_init_norm, the encoder a copy, biases zero. */
    initialise(rec, seed) {
      initialiseDecoder(rec, { W_dec, norms }, seed, config.decoder_init_norm);
      W_dec.shards.forEach((shard, n) => rec.copy(shard.buffer, W_enc.shards[n]!.buffer, shard.buffer.size));
    },

    record(rec, step) {
      const { rows, scale, mayBeDead } = step;
      const aux = mayBeDead ? auxiliary : undefined;
      const nested = aux && partOfDead;
      if (!aux) rec.clear(lossRows);
      clear(rec, main);
      if (aux) clear(rec, aux);
      prepareRows(rec, { frames: inputs.frames, centre: inputs.centre, b_dec, t, xc, rowAffine }, rows,
        { scale, normalise: rowNormalisation(config.normalize_activations), subtractBDec: config.apply_b_dec_to_input });
      columnSums(rec, { M: t, total: mean, partial }, rows, 1 / rows, false);
      if (scores.norms) rowNorms(rec, { W: W_dec, norms });
      for (let first = 0, n = 0; first < rows; first += chunk, n++) {
        const h = selection.h[n % selection.h.length]!;
        const here = Math.min(chunk, rows - first);
        encode(rec, { xc, W_enc, b_enc, h }, first, here, { roundable: true, ...(selection.tops && { tops: { tops: selection.tops, ...scores, absolute: signed } }) });
        selection.ofRows?.(rec, h, scores, first, here, step);
        if (aux && !nested) selectAuxiliary(rec, aux, h, first, here, dead);
      }
      selection.ofBatch?.(rec, scores, step);
      if (inner.length === 0) {
        reconstructRows(rec, { ...main, W_dec, b_dec, mean, t, rowAffine, out, g: outermost.g, stats }, rows, { relu: !signed, keepOut: aux !== undefined });
        if (nested) recordLevelAuxiliary(rec, rows, aux, nested, outermost);
      } else recordLevels(rec, rows, aux, nested);
      further?.recordValues(rec, step);
      invertPairs(rec, main, main.index, rows, false);
      for (const { range, g } of levels) latentGradients(rec, main.index, { g, xc }, gradients, nested !== undefined, range);
      further?.recordWeights(rec, step);
      columnSums(rec, { M: levels[0]!.g, total: gradBDec, partial }, rows, 1, false);
      if (aux && !nested) recordAuxiliary(rec, rows, aux);
      if (config.apply_b_dec_to_input) columnSums(rec, { M: W_enc, weights: gradients.b_enc, total: gradBDec, partial }, dSae, -1, true);
    },

    dispose() {
      for (const tensor of owned) gpu.free(tensor);
    },
  };
}
