/** The SAE that people hold: loaded from a folder, run on frames. */
import { CochleaError } from '../errors.ts';
import { readSaelensFolder, roundToBfloat16, type SaelensConfig, writeSaelensFolder } from '../formats/index.ts';
import type { Gpu, Recorder, Tensor } from '../gpu/index.ts';
import { activate, decodeDense, decodeSparse, encode, noLatent, prepareRows, roundBias, rowNorms, topkRows } from '../kernels/index.ts';
import { checkInference, rowNormalisation } from './config.ts';
import { chunkRows, compactTensor, shardRows, vectorTensor, weightTensor } from './layout.ts';
import { tensorsFromWeights, type Weights, weightsFromTensors } from './weights.ts';

/** Active latents of some frames in CSR form; indices ascend within a row. */
export interface SparseActs {
  rows: number;
  /** [rows + 1] */
  offsets: Uint32Array;
  indices: Uint32Array;
  values: Float32Array;
}

/** Frames that are run at a time: enough to keep a GPU busy, few enough to answer soon. */
const rowsAtATime = 1024;

export class SAE {
  readonly config: SaelensConfig;
  readonly weights: Weights;
  readonly #gpu: Gpu;
  readonly #rows: number;
  readonly #owned: Tensor[] = [];
  readonly #tensors: Record<'W_enc' | 'W_dec' | 'b_enc' | 'b_dec' | 'threshold' | 'norms' | 'frames' | 'centre' | 't' | 'xc' | 'rowAffine' | 'h' | 'r' | 'flags' | 'indices' | 'values' | 'noBias', Tensor>;
  #norms: Float32Array | undefined;

  private constructor(gpu: Gpu, config: SaelensConfig, weights: Weights) {
    const { d_in: dIn, d_sae: dSae } = config;
    this.#gpu = gpu;
    this.config = config;
    this.weights = weights;
    this.#rows = chunkRows(gpu, dSae, rowsAtATime);
    const perShard = shardRows(gpu, dIn, dSae);
    const own = (tensor: Tensor): Tensor => {
      this.#owned.push(tensor);
      return tensor;
    };
    const vector = (label: string, n: number, dtype?: 'u32'): Tensor => own(vectorTensor(gpu, label, n, dtype));
    const frames = (label: string): Tensor => own(gpu.tensor({ label, dtype: 'f32', rows: this.#rows, columns: dIn }));
    this.#tensors = {
      W_enc: own(weightTensor(gpu, 'W_enc', dIn, dSae, perShard)), W_dec: own(weightTensor(gpu, 'W_dec', dIn, dSae, perShard)),
      b_enc: vector('b_enc', dSae), b_dec: vector('b_dec', dIn), threshold: vector('threshold', dSae), norms: vector('decoder norms', dSae),
      frames: frames('frames'), centre: vector('centre', dIn), t: frames('target'), xc: frames('encoder input'),
      rowAffine: own(compactTensor(gpu, 'row affine', this.#rows, 2)), h: own(compactTensor(gpu, 'pre-activations', this.#rows, dSae)),
      r: frames('reconstruction'), flags: vector('flags', 1, 'u32'), noBias: vector('no bias', dSae),
      indices: own(compactTensor(gpu, 'kept indices', this.#rows, this.#k, 'u32')), values: own(compactTensor(gpu, 'kept values', this.#rows, this.#k)),
    };
  }

  /** An SAE on the GPU from weights in host memory. Throws `config` for what cannot be run, `gpu-memory` for what does not fit. */
  static async create(gpu: Gpu, config: SaelensConfig, weights: Weights): Promise<SAE> {
    checkInference(config);
    const k = config['k'];
    if (config.architecture === 'topk' && !(Number.isSafeInteger(k) && (k as number) >= 1 && (k as number) <= config.d_sae)) {
      throw new CochleaError('config', `k is ${JSON.stringify(k) ?? 'missing'}`, `a TopK SAE needs a whole number from 1 to d_sae (${config.d_sae})`);
    }
    const sae = await gpu.allocate(`an SAE of ${config.d_sae} latents`, () => new SAE(gpu, config, weights));
    const { W_enc, W_dec, b_enc, b_dec, threshold, norms } = sae.#tensors;
    gpu.upload(W_enc, weights.W_enc);
    gpu.upload(W_dec, weights.W_dec);
    gpu.upload(b_enc, weights.b_enc);
    gpu.upload(b_dec, weights.b_dec);
    if (weights.threshold) gpu.upload(threshold, weights.threshold);
    if (config['rescale_acts_by_decoder_norm'] === true) {
      const rec = gpu.record();
      rowNorms(rec, { W: W_dec, norms });
      rec.submit();
      sae.#norms = await gpu.downloadFloats(norms);
    }
    return sae;
  }

  /** Reads a SAELens folder (cfg.json, sae_weights.safetensors), training or inference form. */
  static async load(gpu: Gpu, folder: string): Promise<SAE> {
    const { config, tensors } = await readSaelensFolder(folder);
    checkInference(config);
    return SAE.create(gpu, config, weightsFromTensors(tensors));
  }

  get dIn(): number {
    return this.config.d_in;
  }

  get dSae(): number {
    return this.config.d_sae;
  }

  get #k(): number {
    return this.config.architecture === 'topk' ? Number(this.config['k']) : 1;
  }

  /** Feature activations of frames x [rows, d_in], dense [rows, d_sae]. */
  async encode(x: Float32Array): Promise<Float32Array> {
    const acts = await this.encodeSparse(x);
    return dense(acts, this.dSae);
  }

  /** Feature activations of frames x [rows, d_in], sparse. */
  async encodeSparse(x: Float32Array): Promise<SparseActs> {
    return (await this.#run(x, false)).acts;
  }

  /** Reconstructions [rows, d_in] of frames x [rows, d_in]. */
  async forward(x: Float32Array): Promise<Float32Array> {
    return (await this.#run(x, true)).recon;
  }

  /** Activations and reconstructions in one pass. */
  async run(x: Float32Array): Promise<{ recon: Float32Array; acts: SparseActs }> {
    return this.#run(x, true);
  }

  /**
   * Reconstructions [rows, d_in] of feature activations f [rows, d_sae]. Where normalize_activations works row by row, the result is
   * still normalised: only forward() knows the rows' own statistics.
   */
  async decode(f: Float32Array): Promise<Float32Array> {
    const rows = wholeRows(f.length, this.dSae, 'd_sae');
    const { W_dec, b_dec, r, h, centre } = this.#tensors;
    const result = new Float32Array(rows * this.dIn);
    for (let first = 0; first < rows; first += this.#rows) {
      const here = Math.min(this.#rows, rows - first);
      const codes = f.slice(first * this.dSae, (first + here) * this.dSae);
      if (this.#norms) for (let at = 0; at < codes.length; at++) codes[at]! /= Math.max(this.#norms[at % this.dSae]!, 1e-30);
      this.#gpu.upload(h, codes);
      const rec = this.#gpu.record();
      decodeDense(rec, { f: h, W_dec, b_dec: this.#rounds ? centre : b_dec, r }, here);
      if (this.#rounds) roundBias(rec, { a: r, bias: b_dec }, here);
      rec.submit();
      result.set((await this.#gpu.downloadFloats(r)).subarray(0, here * this.dIn), first * this.dIn);
    }
    return result;
  }

  /** Writes the folder that SAELens reads; `logSparsity` as in its sparsity.safetensors. */
  async save(folder: string, logSparsity?: Float32Array): Promise<void> {
    await writeSaelensFolder(folder, { config: this.config, tensors: tensorsFromWeights(this.weights), logSparsity });
  }

  dispose(): void {
    for (const tensor of this.#owned) this.#gpu.free(tensor);
  }

  async #run(x: Float32Array, reconstruct: boolean): Promise<{ recon: Float32Array; acts: SparseActs }> {
    const rows = wholeRows(x.length, this.dIn, 'd_in');
    const recon = new Float32Array(reconstruct ? rows * this.dIn : 0);
    const parts: SparseActs[] = [];
    for (let first = 0; first < rows; first += this.#rows) {
      const here = Math.min(this.#rows, rows - first);
      const frames = x.subarray(first * this.dIn, (first + here) * this.dIn);
      this.#gpu.upload(this.#tensors.frames, this.#rounds ? this.#roundedInput(frames) : frames);
      const rec = this.#gpu.record();
      this.#record(rec, here, reconstruct);
      rec.submit();
      parts.push(await this.#readActs(here, first));
      if (reconstruct) await this.#readReconstruction(here, recon.subarray(first * this.dIn, (first + here) * this.dIn));
    }
    return { recon, acts: concatenate(parts) };
  }

  #record(rec: Recorder, rows: number, reconstruct: boolean): void {
    const { frames, centre, b_dec, t, xc, rowAffine, W_enc, W_dec, b_enc, h, r, flags, norms, threshold, indices, values, noBias } = this.#tensors;
    const topk = this.config.architecture === 'topk';
    const rounds = this.#rounds;
    rec.clear(flags);
    prepareRows(rec, { frames, centre, b_dec, t, xc, rowAffine }, rows,
      { scale: 1, normalise: rowNormalisation(this.config.normalize_activations), subtractBDec: this.config.apply_b_dec_to_input && !rounds });
    encode(rec, { xc, W_enc, b_enc: rounds ? noBias : b_enc, h }, 0, rows);
    if (rounds) roundBias(rec, { a: h, bias: b_enc }, rows);
    if (topk) topkRows(rec, { h, indices, values, flags, ...(this.#norms ? { norms } : {}) }, 0, rows, this.#k);
    else activate(rec, { h, flags, threshold }, rows);
    if (!reconstruct) return;
    // The centre is all zeros: as a bias it adds nothing.
    if (topk) decodeSparse(rec, { indices, values, W_dec, b_dec, r }, rows, rounds ? 0 : 1);
    else decodeDense(rec, { f: h, W_dec, b_dec: rounds ? centre : b_dec, r }, rows);
    if (rounds) roundBias(rec, { a: r, bias: b_dec }, rows);
  }

  /** An SAE saved in bfloat16 is run as torch runs it, rounding after every operation; with a row normalisation it is run in float32. */
  get #rounds(): boolean {
    return this.config.dtype === 'bfloat16' && rowNormalisation(this.config.normalize_activations) === 'none';
  }

  #roundedInput(frames: Float32Array): Float32Array {
    const rounded = roundToBfloat16(frames);
    if (!this.config.apply_b_dec_to_input) return rounded;
    return roundToBfloat16(rounded.map((value, at) => value - this.weights.b_dec[at % this.dIn]!));
  }

  async #readActs(rows: number, firstRow: number): Promise<SparseActs> {
    const { flags, indices, values, h } = this.#tensors;
    if ((await this.#gpu.downloadIntegers(flags))[0] !== 0) {
      throw new CochleaError('not-finite', `a pre-activation of frames ${firstRow} to ${firstRow + rows - 1} is NaN or infinite`, 'check the frames and the weights');
    }
    if (this.config.architecture !== 'topk') return sparse((await this.#gpu.downloadFloats(h)).subarray(0, rows * this.dSae), rows, this.dSae);
    const kept = await this.#gpu.downloadIntegers(indices);
    const z = await this.#gpu.downloadFloats(values);
    const offsets = new Uint32Array(rows + 1);
    const outIndices: number[] = [], outValues: number[] = [];
    for (let row = 0; row < rows; row++) {
      for (let at = row * this.#k; at < (row + 1) * this.#k; at++) {
        if (kept[at] === noLatent || !(z[at]! > 0)) continue;
        outIndices.push(kept[at]!);
        outValues.push(this.#norms ? z[at]! * this.#norms[kept[at]!]! : z[at]!);
      }
      offsets[row + 1] = outIndices.length;
    }
    return { rows, offsets, indices: Uint32Array.from(outIndices), values: Float32Array.from(outValues) };
  }

  async #readReconstruction(rows: number, into: Float32Array): Promise<void> {
    into.set((await this.#gpu.downloadFloats(this.#tensors.r)).subarray(0, rows * this.dIn));
    if (rowNormalisation(this.config.normalize_activations) === 'none') return;
    const affine = await this.#gpu.downloadFloats(this.#tensors.rowAffine);
    for (let at = 0; at < into.length; at++) {
      const row = Math.floor(at / this.dIn);
      into[at] = into[at]! * affine[row * 2]! + affine[row * 2 + 1]!;
    }
  }
}

function wholeRows(length: number, columns: number, name: string): number {
  const rows = length / columns;
  if (!Number.isInteger(rows)) throw new CochleaError('config', `${length} numbers are not whole rows of ${name} ${columns}`);
  return rows;
}

function sparse(f: Float32Array, rows: number, columns: number): SparseActs {
  const offsets = new Uint32Array(rows + 1);
  const indices: number[] = [], values: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++) {
      const value = f[row * columns + i]!;
      if (value === 0) continue;
      indices.push(i);
      values.push(value);
    }
    offsets[row + 1] = indices.length;
  }
  return { rows, offsets, indices: Uint32Array.from(indices), values: Float32Array.from(values) };
}

/** The matrix [rows, d_sae] of sparse activations. */
export function dense(acts: SparseActs, dSae: number): Float32Array {
  const f = new Float32Array(acts.rows * dSae);
  for (let row = 0; row < acts.rows; row++) {
    for (let at = acts.offsets[row]!; at < acts.offsets[row + 1]!; at++) f[row * dSae + acts.indices[at]!] = acts.values[at]!;
  }
  return f;
}

function concatenate(parts: readonly SparseActs[]): SparseActs {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const count = parts.reduce((sum, part) => sum + part.indices.length, 0);
  const result = { rows, offsets: new Uint32Array(rows + 1), indices: new Uint32Array(count), values: new Float32Array(count) };
  let row = 0, at = 0;
  for (const part of parts) {
    for (let n = 1; n <= part.rows; n++) result.offsets[row + n] = at + part.offsets[n]!;
    result.indices.set(part.indices, at);
    result.values.set(part.values, at);
    row += part.rows;
    at += part.indices.length;
  }
  return result;
}
