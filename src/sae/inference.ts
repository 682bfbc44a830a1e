/**
 * What running an SAE takes, whatever its activation: rows made ready, encoded, activated, decoded. Two kinds: dense activations, and
 * kept pairs.
 *
 * An SAE saved in bfloat16 is run as torch runs it, rounding after every operation, because its thresholds decide on rounded numbers;
 * with a row normalisation it is run in float32.
 */
import { roundToBfloat16 } from '../formats/index.ts';
import type { Recorder, Tensor } from '../gpu/index.ts';
import { decodeDense, decodeSparse, encode, prepareRows, roundBias } from '../kernels/index.ts';
import type { InferenceContext, InferenceForm } from './architecture.ts';
import { rowNormalisation } from './config.ts';
import { chunkRows, compactTensor, shardRows, vectorTensor, weightTensor } from './layout.ts';
import { decoderNorms } from './weights.ts';

/** Rows of this SAE that are run at a time: enough to keep a GPU busy, few enough to answer soon. */
export const rowsAtATime = (gpu: InferenceContext['gpu'], dSae: number): number => chunkRows(gpu, dSae, 1024);

/** The tensors that every such SAE has. */
export interface InferenceTensors {
  W_enc: Tensor;
  W_dec: Tensor;
  b_dec: Tensor;
  frames: Tensor;
  t: Tensor;
  xc: Tensor;
  h: Tensor;
  r: Tensor;
  rowAffine: Tensor;
  flags: Tensor;
  /** Zeros [1, d_sae] and [1, d_in]. */
  noBias: Tensor;
  noCentre: Tensor;
}

/** A vector of the SAE on the GPU. */
export function uploadVector({ gpu, own }: InferenceContext, label: string, data: Float32Array): Tensor {
  const tensor = own(vectorTensor(gpu, label, data.length));
  gpu.upload(tensor, data);
  return tensor;
}

/** Allocates and fills what all share; `dOut` where it is not d_in; `gathered` as kernels look at the rows of W_dec one by one. */
export function inferenceTensors(context: InferenceContext, dOut: number = context.config.d_in, gathered = false): InferenceTensors {
  const { gpu, config, weights, rows, own } = context;
  const { d_in: dIn, d_sae: dSae } = config;
  const perShard = shardRows(gpu, Math.max(dIn, dOut), dSae);
  const frames = (label: string, columns: number): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows, columns }));
  const weight = (label: 'W_enc' | 'W_dec', columns: number): Tensor => {
    const tensor = own(weightTensor(gpu, label, columns, dSae, perShard, gathered && label === 'W_dec'));
    const data = weights[label];
    if (data) gpu.upload(tensor, data);
    return tensor;
  };
  return {
    W_enc: weight('W_enc', dIn), W_dec: weight('W_dec', dOut), b_dec: uploadVector(context, 'b_dec', weights.b_dec),
    frames: frames('frames', dIn), t: frames('target', dIn), xc: frames('encoder input', dIn), r: frames('reconstruction', dOut),
    h: own(compactTensor(gpu, 'pre-activations', rows, dSae)), rowAffine: own(compactTensor(gpu, 'row affine', rows, 2)),
    flags: own(vectorTensor(gpu, 'flags', 1, 'u32')), noBias: own(vectorTensor(gpu, 'no bias', dSae)), noCentre: own(vectorTensor(gpu, 'no centre', dIn)),
  };
}

/** Whether this SAE is run with torch's rounding. */
const rounds = ({ config }: InferenceContext): boolean => config.dtype === 'bfloat16' && rowNormalisation(config.normalize_activations) === 'none';

/** Records t and xc from the frames, then h = xc W_enc^T + bias. */
function recordEncoder(rec: Recorder, context: InferenceContext, tensors: InferenceTensors, bias: Tensor, rows: number): void {
  const { config } = context;
  const { frames, noCentre, b_dec, t, xc, rowAffine, W_enc, h, flags, noBias } = tensors;
  const rounding = rounds(context);
  rec.clear(flags);
  prepareRows(rec, { frames, centre: noCentre, b_dec: config.apply_b_dec_to_input ? b_dec : noCentre, t, xc, rowAffine }, rows,
    { scale: 1, normalise: rowNormalisation(config.normalize_activations), subtractBDec: config.apply_b_dec_to_input && !rounding });
  encode(rec, { xc, W_enc, b_enc: rounding ? noBias : bias, h }, 0, rows);
  if (rounding) roundBias(rec, { a: h, bias }, rows);
}

/** What both kinds of form have in common. */
function common(context: InferenceContext, tensors: InferenceTensors): Pick<InferenceForm, 'frames' | 'r' | 'flags' | 'codes' | 'prepareInput' | 'recordDecode' | 'rowAffine'> {
  const { config, weights, own, gpu } = context;
  const { W_dec, b_dec, r, h } = tensors;
  const rounding = rounds(context);
  const none = rounding ? own(vectorTensor(gpu, 'no output bias', r.columns)) : b_dec;
  const dIn = config.d_in;
  return {
    frames: tensors.frames, r, flags: tensors.flags, codes: h,
    ...(rowNormalisation(config.normalize_activations) === 'none' ? {} : { rowAffine: tensors.rowAffine }),
    ...(rounding ? {
      prepareInput(frames: Float32Array): Float32Array {
        const rounded = roundToBfloat16(frames);
        return config.apply_b_dec_to_input ? roundToBfloat16(rounded.map((value, at) => value - weights.b_dec[at % dIn]!)) : rounded;
      },
    } : {}),
    recordDecode(rec, rows) {
      decodeDense(rec, { f: h, W_dec, b_dec: none, r }, rows);
      if (rounding) roundBias(rec, { a: r, bias: b_dec }, rows);
    },
  };
}

/**
 * An SAE whose activations f [rows, d_sae] come from pre-activations h, in place: `record` turns h = xc W_enc^T + `bias` into f
 * and flags what is not finite.
 */
export function denseInference(context: InferenceContext, bias: Float32Array | undefined, record: (rec: Recorder, tensors: { h: Tensor; flags: Tensor }, rows: number) => void): InferenceForm {
  const tensors = inferenceTensors(context);
  const added = bias ? uploadVector(context, 'b_enc', bias) : tensors.noBias;
  const shared = common(context, tensors);
  return {
    ...shared, acts: { f: tensors.h },
    record(rec, rows, decode) {
      recordEncoder(rec, context, tensors, added, rows);
      record(rec, tensors, rows);
      if (decode) shared.recordDecode(rec, rows);
    },
  };
}

/** An SAE that keeps at most k latents of each row: `select` fills indices and values [rows, k] from h. */
export function keptInference(context: InferenceContext, k: number,
  select: (rec: Recorder, tensors: { h: Tensor; indices: Tensor; values: Tensor; flags: Tensor; norms?: Tensor }, rows: number) => void): InferenceForm {
  const { gpu, config, weights, rows, own } = context;
  const tensors = inferenceTensors(context, context.config.d_in, true);
  const b_enc = uploadVector(context, 'b_enc', weights.b_enc!);
  const { h, flags, W_dec, b_dec, r } = tensors;
  const shared = common(context, tensors);
  const indices = own(compactTensor(gpu, 'kept indices', rows, k, 'u32')), values = own(compactTensor(gpu, 'kept values', rows, k));
  const norms = config['rescale_acts_by_decoder_norm'] === true ? Float32Array.from(decoderNorms(weights)) : undefined;
  const scores = norms ? { norms: uploadVector(context, 'decoder norms', norms) } : {};
  const rounding = rounds(context);
  return {
    ...shared, acts: norms ? { indices, values, norms } : { indices, values },
    record(rec, here, decode) {
      recordEncoder(rec, context, tensors, b_enc, here);
      select(rec, { h, indices, values, flags, ...scores }, here);
      if (!decode) return;
      decodeSparse(rec, { indices, values, W_dec, b_dec, r }, here, rounding ? 0 : 1);
      if (rounding) roundBias(rec, { a: r, bias: b_dec }, here);
    },
  };
}
