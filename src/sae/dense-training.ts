/**
 * What SAEs whose activations are matrices have in common in training: weights and their gradients, and the batch taken chunk by chunk,
 * because activations and their gradients [rows, d_sae] need not fit for all of it. An architecture adds what lies between the products.
 *
 *   r = f W_dec + b_dec                  g = d mse / d r
 *   grad W_dec = f^T g                   df = g W_dec^T            and through |W_dec_i| where a penalty has decoder norms in it
 *   grad W_enc = dh^T xc                 grad b_dec = sum_b g_b - sum_i (sum_b dh_bi) W_enc_i
 *
 * the last term where b_dec is subtracted from the input. Of a transcoder, r is compared with another stream's rows; where it has a skip path
 * from the scaled frames x, r has x W_skip^T in it as well, and grad W_skip = g^T x.
 */
import { padded, type Recorder, type Tensor } from '../gpu/index.ts';
import {
  type Chunk, columnBlock, columnSums, decodeDense, denseGradients, encode, latentSquares, latentSums, prepareRows, randomUniform, residualRows, rowSquares,
} from '../kernels/index.ts';
import { streams } from '../random.ts';
import type { BaseConfig, Parameter, Step, StepResults, TrainingContext } from './architecture.ts';
import { rowNormalisation } from './config.ts';
import { chunkRows, compactTensor, initialiseDecoder, shardRows, vectorTensor, weightTensor } from './layout.ts';

/** What a transcoder writes: the rows of `targets`, d_out numbers each. */
export interface TranscoderOutput {
  dOut: number;
  skip: boolean;
}

/** `matrices`: how many of [rows, d_sae] the architecture asks for by `codes`. `losses` besides mse_loss. `output`: a transcoder's. `gathered`: kernels look at the rows of W_dec, and of gradients of reconstructions, one by one. */
export function denseTraining({ gpu, config, batch, inputs }: TrainingContext<BaseConfig>, matrices: number, losses: readonly string[], output?: TranscoderOutput, gathered = false) {
  const { d_in: dIn, d_sae: dSae, apply_b_dec_to_input: applied } = config;
  const owned: Tensor[] = [];
  const own = (tensor: Tensor): Tensor => {
    owned.push(tensor);
    return tensor;
  };
  const dOut = output?.dOut ?? dIn;
  const perShard = shardRows(gpu, Math.max(dIn, dOut), dSae);
  const weight = (label: string, columns: number, byRow = false): Tensor => own(weightTensor(gpu, label, columns, dSae, perShard, byRow));
  const vector = (label: string, n: number, dtype?: 'u32'): Tensor => own(vectorTensor(gpu, label, n, dtype));
  const frames = (label: string, columns = dIn, byRow = false): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows: batch, columns, gathered: byRow }));
  const perRow = (label: string, columns: number): Tensor => own(compactTensor(gpu, label, batch, columns));
  const chunk = chunkRows(gpu, matrices * dSae, batch);

  const W_enc = weight('W_enc', dIn), W_dec = weight('W_dec', dOut, gathered), b_dec = vector('b_dec', dOut);
  const gradWEnc = weight('grad W_enc', dIn), gradWDec = weight('grad W_dec', dOut), gradBDec = vector('grad b_dec', dOut);
  const t = frames('target', dOut), xc = frames('encoder input'), out = frames('reconstruction', dOut), g = frames('reconstruction gradient', dOut, gathered);
  const rowAffine = perRow('row affine', 2), active = perRow('active latents', 1), stats = perRow('row statistics', 4), lossRows = perRow('row losses', losses.length);
  const mean = vector('batch mean', dOut), norms = vector('decoder norms', dSae), noBias = vector('no bias', dSae), counts = vector('firings of the batch', dSae, 'u32');
  const sums = vector('latent sums', latentSums * padded(dSae));
  const partial = own(gpu.tensor({ label: 'partial sums', dtype: 'f32', rows: Math.ceil(Math.max(batch, dSae) / columnBlock), columns: dOut }));
  const x = output ? frames('scaled frames') : t;
  const skipWeight = (label: string): Tensor => own(weightTensor(gpu, label, dIn, dOut, shardRows(gpu, dIn, dOut)));
  const skip = output?.skip ? { W: skipWeight('W_skip'), gradient: skipWeight('grad W_skip'), squares: vector('gradient squares', dSae + dOut) } : undefined;

  const codes = (label: string): Tensor => own(compactTensor(gpu, label, chunk, dSae));
  const prepareInput = (rec: Recorder, into: Tensor, { rows, scale }: Step, normalise: ReturnType<typeof rowNormalisation>): void => (
    prepareRows(rec, { frames: inputs.frames, centre: inputs.centre, b_dec: output ? inputs.centre : b_dec, t: x, xc: into, rowAffine }, rows, { scale, normalise, subtractBDec: applied })
  );
  /** r = x W_skip^T + b_dec, to which decoding adds. */
  const recordSkip = (rec: Recorder, r: Tensor, rows: number): void => {
    if (skip) encode(rec, { xc: x, W_enc: skip.W, b_enc: b_dec, h: r }, 0, rows);
  };
  /** df = M W_dec^T for a chunk. */
  const codeGradients = (rec: Recorder, M: Tensor, df: Tensor, { firstRow, rows }: Chunk): void => encode(rec, { xc: M, W_enc: W_dec, b_enc: noBias, h: df }, firstRow, rows);

  return {
    own, W_enc, W_dec, b_dec, gradWDec, gradWEnc, t, xc, out, g, mean, rowAffine, stats, norms, active, lossRows, counts,
    /** [1, 3 padded(d_sae)]: the gradient of the encoder's bias at its beginning; see latentSquares. */
    sums,
    /** The first parameters of all these architectures. */
    parameters: [
      { name: 'b_dec', value: b_dec, gradient: gradBDec }, { name: 'W_dec', value: W_dec, gradient: gradWDec }, { name: 'W_enc', value: W_enc, gradient: gradWEnc },
      ...(skip ? [{ name: 'W_skip', value: skip.W, gradient: skip.gradient } as const] : []),
    ] satisfies Parameter[],
    results: { counts, stats, losses, lossRows, squares: skip ? { tensor: skip.squares, first: 0, count: dSae + dOut } : { tensor: sums, first: padded(dSae), count: dSae }, gradBDec } satisfies StepResults,
    /** [rows of a chunk, d_sae] */
    codes,
    /** [d_sae, d_in], sharded as the weights are. */
    weight: (label: string): Tensor => weight(label, dIn),
    /** [batch, d_in], or so many columns. */
    frames,
    /** [batch, columns], unpadded */
    perRow,
    /** [1, n], by default a number per latent. */
    vector: (label: string, n = dSae, dtype?: 'u32'): Tensor => vector(label, n, dtype),

    /**
     * SAELens: Kaiming-uniform decoder rows brought to decoder_init_norm, the encoder a copy, the rest zero. A transcoder's two sides live in different
     * spaces: its encoder is drawn by itself, uniform in +-sqrt(6 / d_sae), as in SAELens.
     */
    initialise(rec: Recorder, seed: number): void {
      initialiseDecoder(rec, { W_dec, norms }, seed, config.decoder_init_norm);
      if (output) randomUniform(rec, W_enc, { seed, stream: streams.initialisation, substream: 1, bound: Math.sqrt(6 / dSae) });
      else W_dec.shards.forEach((shard, n) => rec.copy(shard.buffer, W_enc.shards[n]!.buffer, shard.buffer.size));
    },

    /** Target, encoder input xc and the batch's mean. */
    prepare(rec: Recorder, step: Step): void {
      prepareInput(rec, xc, step, rowNormalisation(config.normalize_activations));
      if (output) {
        // g is free until there is an error. The output is not normalised, so there is nothing to undo.
        prepareRows(rec, { frames: inputs.targets!, centre: inputs.targetCentre!, b_dec: inputs.targetCentre!, t, xc: g, rowAffine }, step.rows,
          { scale: step.targetScale, normalise: 'none', subtractBDec: false });
      }
      columnSums(rec, { M: t, total: mean, partial }, step.rows, 1 / step.rows, false);
    },

    /** Into r what decoding adds to, where there is a skip path; returns whether there is. */
    recordSkip(rec: Recorder, r: Tensor, rows: number): boolean {
      recordSkip(rec, r, rows);
      return skip !== undefined;
    },

    /** What the encoder would see without row normalisation. Before `prepare`, which knows how to undo one. */
    prepareRaw: (rec: Recorder, into: Tensor, step: Step): void => prepareInput(rec, into, step, 'none'),

    chunks: (rows: number): Chunk[] => (
      Array.from({ length: Math.ceil(rows / chunk) }, (_, n) => ({ firstRow: n * chunk, rows: Math.min(chunk, rows - n * chunk), batch: rows }))
    ),

    /** h = xc W_enc^T + bias for a chunk. */
    encode: (rec: Recorder, input: Tensor, bias: Tensor, h: Tensor, { firstRow, rows }: Chunk): void => encode(rec, { xc: input, W_enc, b_enc: bias, h }, firstRow, rows, { roundable: true }),

    codeGradients,

    /** From codes f of a chunk with `active` latents: the reconstruction, its error, the rows' statistics, grad W_dec and df. */
    reconstruct(rec: Recorder, f: Tensor, df: Tensor, chunk: Chunk): void {
      if (chunk.firstRow === 0) recordSkip(rec, out, chunk.batch);
      decodeDense(rec, { f, W_dec, ...(skip ? {} : { b_dec }), r: out }, chunk.rows, chunk.firstRow);
      residualRows(rec, { t, mean, rowAffine, active, r: out, g, stats }, chunk.rows, chunk);
      denseGradients(rec, { a: f, M: g, gradient: gradWDec }, chunk, chunk.firstRow > 0);
      codeGradients(rec, g, df, chunk);
    },

    /** grad W_enc (+)= dh^T input for a chunk; the first chunk's begin it. */
    encoderGradients: (rec: Recorder, dh: Tensor, input: Tensor, chunk: Chunk): void => denseGradients(rec, { a: dh, M: input, gradient: gradWEnc }, chunk, chunk.firstRow > 0),

    /**
     * After the last chunk: grad b_dec, the decoder norms' part of grad W_dec (with `throughNorms`), and the squares. `outputs`: gradients of other
     * reconstructions with b_dec in them; `pulls`: sums of dh per latent besides `sums`; `others`: gradients of other parameters.
     */
    finish(rec: Recorder, rows: number, { throughNorms, outputs = [], pulls = [], others = [] }: { throughNorms: boolean; outputs?: Tensor[]; pulls?: Tensor[]; others?: Tensor[] }): void {
      [g, ...outputs].forEach((M, n) => columnSums(rec, { M, total: gradBDec, partial }, rows, 1, n > 0));
      if (applied) for (const weights of [sums, ...pulls]) columnSums(rec, { M: W_enc, weights, total: gradBDec, partial }, dSae, -1, true);
      latentSquares(rec, { W_dec, gradWDec, gradWEnc, sums }, others, throughNorms);
      if (!skip) return;
      denseGradients(rec, { a: g, M: x, gradient: skip.gradient }, { firstRow: 0, rows, batch: rows }, false);
      rec.copy(sums.buffer, skip.squares.buffer, 4 * dSae, 4 * padded(dSae));
      rowSquares(rec, { M: skip.gradient, squares: skip.squares }, dSae);
    },

    dispose(): void {
      for (const tensor of owned) gpu.free(tensor);
    },
  };
}
