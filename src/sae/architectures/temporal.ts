/**
 * Temporal SAE: "Priors in time: missing inductive biases for language model interpretability", Lubana et al. 2025 (arXiv 2511.01836),
 * as SAELens 6.44.4 runs it. The frames of one call are one clip, in order. What attention over the past predicts of a frame is
 * taken from it, layer by layer; the rest, what is novel in the frame, is encoded sparsely:
 *
 *   e = n(frame) - b_dec, lambda = 1 / (4 d_in)
 *   z_t = relu(lambda W_enc e_t)                                   of every layer, with W_enc = W_dec where weights are tied
 *   p_t = relu(c_proj attention(q_target z_t; k_ctx z_s-1, v_ctx z_s-1 for s <= t))      z before the clip is 0
 *   e_t = e_t - share W_dec^T p_t,  share = <W_dec^T p_t, e_t> / (|W_dec^T p_t| + 1e-6)^2
 *   f_t = relu(lambda W_enc e_t), of which the kval_topk largest are kept with sae_diff_type topk
 *   out_t = n^-1(W_dec^T f_t + sum of what was taken + b_dec)
 *
 * The reported activations are the novel ones f; decoding them alone gives the novel part of a frame, as in SAELens. b_dec is added
 * at the end where weights are untied or it was subtracted at the start; SAELens added it always before 6.44.4.
 *
 * A clip is run some rows at a time. Keys and values of its earlier frames stay on the GPU in blocks of as many rows, through which
 * attention streams, so its memory grows with the clip by n_attn_layers (1 + 1 / bottleneck_factor) d_sae floats a frame and nothing is
 * frames x frames. SAEs saved in bfloat16 are run in float32.
 */
import { CochleaError } from '../../errors.ts';
import type { SaelensConfig } from '../../formats/index.ts';
import type { Recorder, Tensor } from '../../gpu/index.ts';
import { activate, addRows, attend, decodeDense, decodeSparse, encode, prepareRows, removeProjection, topkRows } from '../../kernels/index.ts';
import type { Architecture, BaseConfig, InferenceContext, InferenceForm } from '../architecture.ts';
import { refuse, rowNormalisation } from '../config.ts';
import { uploadVector } from '../inference.ts';
import { compactTensor, shardRows, vectorTensor, weightTensor } from '../layout.ts';

/** SAELens only runs these, and so do we: there is nothing to configure. */
export const temporal: Architecture<BaseConfig> = {
  name: 'temporal',
  title: 'what is novel in a frame after attention over its past (Lubana et al. 2025)',
  fields: {},
  infer: temporalInference,
};

/** SAELens' TemporalSAEConfig with its defaults. */
interface TemporalFields {
  heads: number;
  layers: number;
  bottleneck: number;
  /** Novel latents that a frame keeps; undefined keeps all that are positive. */
  k: number | undefined;
  isTied: boolean;
  /** Multiplies frames and divides the output. */
  factor: number;
}

function temporalFields(config: SaelensConfig): TemporalFields {
  const { d_sae: dSae } = config;
  const whole = (name: string, usual: number): number => {
    const value = config[name] ?? usual;
    if (!(Number.isSafeInteger(value) && (value as number) >= 1)) refuse(name, value, 'a positive whole number');
    return value as number;
  };
  const heads = whole('n_heads', 8), bottleneck = whole('bottleneck_factor', 64);
  if (dSae % (bottleneck * heads) !== 0) refuse('bottleneck_factor', bottleneck, `one whose product with n_heads (${heads}) divides d_sae (${dSae})`);
  const kind = config['sae_diff_type'] ?? 'topk';
  if (kind !== 'topk' && kind !== 'relu') refuse('sae_diff_type', kind, 'topk or relu');
  const hasK = kind === 'topk' && config['kval_topk'] !== undefined && config['kval_topk'] !== null;
  const k = hasK ? whole('kval_topk', 0) : undefined;
  if (k !== undefined && k > dSae) refuse('kval_topk', k, `a whole number from 1 to d_sae (${dSae})`);
  const scalar = config['activation_normalization_factor'] ?? 1;
  if (!(typeof scalar === 'number' && Number.isFinite(scalar) && scalar !== 0)) refuse('activation_normalization_factor', scalar, 'a number other than zero');
  return {
    heads, layers: whole('n_attn_layers', 1), bottleneck, k, isTied: config['tied_weights'] !== false,
    factor: config.normalize_activations === 'constant_scalar_rescale' ? scalar as number : 1,
  };
}

/** The projections of one attention layer, and the keys and values of the clip's blocks so far. */
interface AttentionLayer {
  q: Linear;
  k: Linear;
  v: Linear;
  out: Linear;
  blocks: { k: Tensor; v: Tensor }[];
}

interface Linear {
  weight: Tensor;
  bias: Tensor;
}

/** An affine map of the SAE on the GPU, as torch's Linear keeps it: weight [out, in]. */
function uploadLinear({ gpu, weights, own }: InferenceContext, name: string, columns: number): Linear {
  const take = (part: 'weight' | 'bias'): Float32Array => {
    const tensor = weights.attention?.[`${name}.${part}`];
    if (!tensor) throw new CochleaError('file-damaged', `the SAE has no tensor ${name}.${part}`);
    return tensor.data;
  };
  const data = take('weight'), bias = take('bias');
  const weight = own(weightTensor(gpu, name, columns, bias.length, shardRows(gpu, columns, bias.length)));
  gpu.upload(weight, data);
  const vector = own(vectorTensor(gpu, name, bias.length));
  gpu.upload(vector, bias);
  return { weight, bias: vector };
}

function temporalInference(context: InferenceContext): InferenceForm {
  const { gpu, config, weights, rows, own } = context;
  const { d_in: dIn, d_sae: dSae, apply_b_dec_to_input: subtractBDec } = config;
  const { heads, layers: layerCount, bottleneck, k, isTied, factor } = temporalFields(config);
  const normalise = config.normalize_activations === 'constant_scalar_rescale' ? 'none' : rowNormalisation(config.normalize_activations);
  const inner = dSae / bottleneck;
  const vector = (label: string, n: number, dtype?: 'u32'): Tensor => own(vectorTensor(gpu, label, n, dtype));
  const matrix = (label: string, columns: number, count = rows): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows: count, columns }));

  // lambda is a factor of the encoder from here on.
  const W_enc = own(weightTensor(gpu, 'W_enc', dIn, dSae, shardRows(gpu, dIn, dSae)));
  const W_dec = own(weightTensor(gpu, 'W_dec', dIn, dSae, shardRows(gpu, dIn, dSae), true));
  const encoder = isTied ? weights.W_dec : weights.W_enc;
  if (!encoder) throw new CochleaError('file-damaged', 'the SAE has no tensor W_enc', 'only with tied_weights is there none');
  gpu.upload(W_enc, encoder.map((value) => value / (4 * dIn)));
  gpu.upload(W_dec, weights.W_dec);
  const b_dec = uploadVector(context, 'b_dec', weights.b_dec);
  const none = { latents: vector('no bias', dSae), frame: vector('no centre', dIn) };
  const outputBias = !isTied || subtractBDec ? b_dec : none.frame;
  const layers = Array.from({ length: layerCount }, (_, n): AttentionLayer => {
    const linear = (part: string): Linear => uploadLinear(context, `attn_layers.${n}.${part}`, dSae);
    return { q: linear('q_target'), k: linear('k_ctx'), v: linear('v_ctx'), out: linear('c_proj'), blocks: [] };
  });

  const frames = matrix('frames', dIn), t = matrix('target', dIn), e = matrix('encoder input', dIn), along = matrix('predicted direction', dIn);
  const predicted = matrix('predicted part', dIn), r = matrix('reconstruction', dIn);
  const z = matrix('codes', dSae), attended = matrix('attended values', dSae), query = matrix('queries', inner);
  const h = own(compactTensor(gpu, 'pre-activations', rows, dSae)), rowAffine = own(compactTensor(gpu, 'row affine', rows, 2));
  const rowsAtATime = Math.max(1, Math.min(rows, Math.floor(gpu.bindingBytes / (4 * heads * rows))));
  const attention = {
    weights: own(compactTensor(gpu, 'attention weights', rowsAtATime * heads, rows)), running: own(compactTensor(gpu, 'running softmax', rows, 2 * heads)),
    carry: own(compactTensor(gpu, 'carried softmax', rows, heads)), flags: vector('flags', 1, 'u32'),
  };
  const { flags } = attention;
  const pairs = k === undefined ? undefined : {
    indices: own(compactTensor(gpu, 'kept indices', rows, k, 'u32')), values: own(compactTensor(gpu, 'kept values', rows, k)),
  };

  /** Blocks of the clip that are done. */
  let done = 0;

  /** Records one layer: what its attention predicts of the rows is moved from e to `predicted`. */
  function recordLayer(rec: Recorder, layer: AttentionLayer, here: number, isFirst: boolean): void {
    const block = layer.blocks[done]!;
    encode(rec, { xc: e, W_enc, b_enc: none.latents, h: z }, 0, here);
    activate(rec, { h: z, flags, threshold: none.latents }, here);
    for (const [{ weight, bias }, into] of [[layer.q, query], [layer.k, block.k], [layer.v, block.v]] as const) {
      encode(rec, { xc: z, W_enc: weight, b_enc: bias, h: into }, 0, here);
    }
    for (let n = 0; n <= done; n++) {
      const own = n === done;
      attend(rec, { ...attention, ...layer.blocks[n]!, q: query, keyBias: layer.k.bias, valueBias: layer.v.bias, o: attended }, here,
        { heads, keys: own ? here : rows, first: n === 0, last: own, own });
    }
    encode(rec, { xc: attended, W_enc: layer.out.weight, b_enc: layer.out.bias, h: z }, 0, here);
    activate(rec, { h: z, flags, threshold: none.latents }, here);
    decodeDense(rec, { f: z, W_dec, b_dec: none.frame, r: along }, here);
    removeProjection(rec, { a: along, x: e, taken: predicted }, here, isFirst);
  }

  return {
    frames, r, flags, codes: h, acts: pairs ?? { f: h }, ...(normalise === 'none' ? {} : { rowAffine }),

    sequence: {
      async begin(count) {
        done = 0;
        const missing = Math.ceil(count / rows) - layers[0]!.blocks.length;
        if (missing <= 0) return;
        const made: Tensor[] = [];
        const make = (label: string, columns: number): Tensor => {
          const tensor = gpu.tensor({ label, dtype: 'f32', rows, columns });
          made.push(tensor);
          return tensor;
        };
        const block = () => ({ k: make('keys of the clip', inner), v: make('values of the clip', dSae) });
        try {
          const added = await gpu.allocate(`attention over ${count} frames`, () => layers.map(() => Array.from({ length: missing }, block)));
          added.forEach((blocks, n) => layers[n]!.blocks.push(...blocks));
        } catch (error) {
          for (const tensor of made) gpu.free(tensor);
          throw error;
        }
        made.forEach(own);
      },
    },

    record(rec, here, decode) {
      rec.clear(flags);
      prepareRows(rec, { frames, centre: none.frame, b_dec, t, xc: e, rowAffine }, here, { scale: factor, normalise, subtractBDec });
      layers.forEach((layer, n) => recordLayer(rec, layer, here, n === 0));
      done++;
      encode(rec, { xc: e, W_enc, b_enc: none.latents, h }, 0, here);
      if (pairs) topkRows(rec, { h, ...pairs, flags }, 0, here, pairs.indices.columns);
      else activate(rec, { h, flags, threshold: none.latents }, here);
      if (!decode) return;
      if (pairs) decodeSparse(rec, { ...pairs, W_dec, b_dec: outputBias, r }, here, 1);
      else decodeDense(rec, { f: h, W_dec, b_dec: outputBias, r }, here);
      addRows(rec, { a: r, b: predicted }, here, 1 / factor);
    },

    recordDecode(rec, here) {
      decodeDense(rec, { f: h, W_dec, b_dec: outputBias, r }, here);
      rec.clear(predicted);
      addRows(rec, { a: r, b: predicted }, here, 1 / factor);
    },
  };
}
