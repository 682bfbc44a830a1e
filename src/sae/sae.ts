/** The SAE that people hold: loaded from a folder, run on frames. */
import { CochleaError } from '../errors.ts';
import { readSaelensFolder, type SaelensConfig, writeSaelensFolder } from '../formats/index.ts';
import type { DeviceRows, Gpu, Tensor } from '../gpu/index.ts';
import { noLatent } from '../kernels/index.ts';
import type { InferenceForm } from './architecture.ts';
import { inferenceOf } from './architectures/index.ts';
import { rowsAtATime } from './inference.ts';
import { inferenceWeights } from './read.ts';
import { tensorsFromWeights, type Weights } from './weights.ts';

/** What an SAE makes of frames. */
export interface SaeRun {
  /** [rows, d_out] */
  recon: Float32Array;
  acts: SparseActs;
  /** What each row's decoded activations were multiplied by, to undo the normalisation of the row [rows]. Absent where rows are not normalised. */
  gain?: Float32Array;
}

/** Active latents of some frames in CSR form; indices ascend within a row. */
export interface SparseActs {
  rows: number;
  /** [rows + 1] */
  offsets: Uint32Array;
  indices: Uint32Array;
  values: Float32Array;
}

/** Frames [rows, d_in]: on the host, or on the GPU where the SAE is, as an encoder on the same device leaves them. */
export type Frames = Float32Array | DeviceRows;

export class SAE {
  readonly config: SaelensConfig;
  readonly weights: Weights;
  readonly #gpu: Gpu;
  readonly #rows: number;
  readonly #owned: Tensor[] = [];
  readonly #form: InferenceForm;
  /** Settles when the call that is at work is done. */
  #running: Promise<void> | undefined;

  private constructor(gpu: Gpu, config: SaelensConfig, weights: Weights) {
    this.#gpu = gpu;
    this.config = config;
    this.weights = weights;
    this.#rows = rowsAtATime(gpu, config.d_sae);
    const own = (tensor: Tensor): Tensor => {
      this.#owned.push(tensor);
      return tensor;
    };
    try {
      this.#form = inferenceOf(config)({ gpu, config, weights, rows: this.#rows, own });
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** An SAE on the GPU from weights in host memory. Throws `config` for what cannot be run, `gpu-memory` for what does not fit. */
  static async create(gpu: Gpu, config: SaelensConfig, weights: Weights): Promise<SAE> {
    inferenceOf(config);
    return gpu.allocate(`an SAE of ${config.d_sae} latents`, () => new SAE(gpu, config, weights));
  }

  /**
   * Reads a SAELens folder (cfg.json, sae_weights.safetensors), training or inference form. Of an architecture that exists for training only
   * (batchtopk) it is what that is saved as.
   */
  static async load(gpu: Gpu, folder: string): Promise<SAE> {
    const { config, weights } = inferenceWeights(await readSaelensFolder(folder));
    return SAE.create(gpu, config, weights);
  }

  get dIn(): number {
    return this.config.d_in;
  }

  get dSae(): number {
    return this.config.d_sae;
  }

  /** Numbers in a reconstruction: d_in, but for transcoders. */
  get dOut(): number {
    return this.weights.b_dec.length;
  }

  /** Whether the rows of one call are one clip, in order, because each depends on those before it (temporal SAEs). */
  get isSequential(): boolean {
    return this.#form.sequence !== undefined;
  }

  /** Feature activations of frames x [rows, d_in], dense [rows, d_sae]. */
  async encode(x: Frames): Promise<Float32Array> {
    const acts = await this.encodeSparse(x);
    return dense(acts, this.dSae);
  }

  /** Feature activations of frames x [rows, d_in], sparse. */
  async encodeSparse(x: Frames): Promise<SparseActs> {
    return (await this.#alone(() => this.#run(x, false))).acts;
  }

  /** Reconstructions [rows, d_in] of frames x [rows, d_in]. */
  async forward(x: Frames): Promise<Float32Array> {
    return (await this.run(x)).recon;
  }

  /** Activations and reconstructions in one pass. */
  async run(x: Frames): Promise<SaeRun> {
    return this.#alone(() => this.#run(x, true));
  }

  /**
   * Reconstructions [rows, d_out] of feature activations f [rows, d_sae]. Where normalize_activations works row by row, the result is
   * still normalised: only forward() knows the rows' own statistics.
   */
  async decode(f: Float32Array): Promise<Float32Array> {
    return this.#alone(() => this.#decode(f));
  }

  async #decode(f: Float32Array): Promise<Float32Array> {
    const { acts, codes, r } = this.#form;
    const norms = 'norms' in acts ? acts.norms : undefined;
    const rows = wholeRows(f.length, this.dSae, 'd_sae');
    const result = new Float32Array(rows * this.dOut);
    for (let first = 0; first < rows; first += this.#rows) {
      const here = Math.min(this.#rows, rows - first);
      const part = f.slice(first * this.dSae, (first + here) * this.dSae);
      if (norms) for (let at = 0; at < part.length; at++) part[at]! /= Math.max(norms[at % this.dSae]!, 1e-30);
      this.#gpu.upload(codes, part);
      const rec = this.#gpu.record();
      this.#form.recordDecode(rec, here);
      rec.submit();
      result.set((await this.#gpu.downloadFloats(r)).subarray(0, here * this.dOut), first * this.dOut);
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

  /** Lets calls that are made side by side take their turns: all of them go through the same tensors. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running) await this.#running;
    const result = work();
    const over = (): void => void (this.#running = undefined);
    this.#running = result.then(over, over);
    return result;
  }

  async #run(given: Frames, reconstruct: boolean): Promise<SaeRun> {
    const { frames, prepareInput, rowAffine } = this.#form;
    // Rounding to bfloat16 is the host's work.
    const x = prepareInput && !(given instanceof Float32Array) ? new Float32Array(await this.#gpu.readBuffer(given.buffer, 4 * given.rows * this.dIn)) : given;
    const rows = x instanceof Float32Array ? wholeRows(x.length, this.dIn, 'd_in') : x.rows;
    const recon = new Float32Array(reconstruct ? rows * this.dOut : 0);
    const gain = reconstruct && rowAffine ? new Float32Array(rows) : undefined;
    const parts: SparseActs[] = [];
    await this.#form.sequence?.begin(rows);
    for (let first = 0; first < rows; first += this.#rows) {
      const here = Math.min(this.#rows, rows - first);
      const rec = this.#gpu.record();
      if (x instanceof Float32Array) {
        const part = x.subarray(first * this.dIn, (first + here) * this.dIn);
        this.#gpu.upload(frames, prepareInput ? prepareInput(part) : part);
      } else rec.copyRows(x, first, frames, here);
      this.#form.record(rec, here, reconstruct);
      rec.submit();
      parts.push(await this.#readActs(here, first));
      if (reconstruct) await this.#readReconstruction(here, recon.subarray(first * this.dOut, (first + here) * this.dOut), gain?.subarray(first, first + here));
    }
    return { recon, acts: concatenate(parts), ...(gain && { gain }) };
  }

  async #readActs(rows: number, firstRow: number): Promise<SparseActs> {
    const { flags, acts } = this.#form;
    if ((await this.#gpu.downloadIntegers(flags))[0] !== 0) {
      throw new CochleaError('not-finite', `a pre-activation of frames ${firstRow} to ${firstRow + rows - 1} is NaN or infinite`, 'check the frames and the weights');
    }
    if ('f' in acts) return sparse((await this.#gpu.downloadFloats(acts.f)).subarray(0, rows * this.dSae), rows, this.dSae);
    return keptRows(await this.#gpu.downloadIntegers(acts.indices), await this.#gpu.downloadFloats(acts.values), rows, acts.indices.columns, acts.norms);
  }

  async #readReconstruction(rows: number, into: Float32Array, gain: Float32Array | undefined): Promise<void> {
    const { r, rowAffine } = this.#form;
    into.set((await this.#gpu.downloadFloats(r)).subarray(0, rows * this.dOut));
    if (!rowAffine || !gain) return;
    const affine = await this.#gpu.downloadFloats(rowAffine);
    gain.forEach((_, row) => gain[row] = affine[row * 2]!);
    for (let at = 0; at < into.length; at++) {
      const row = Math.floor(at / this.dOut);
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

/** Kept pairs [.., k] as sparse rows: empty slots and zeros left out, latents ascending and each once, values larger by their latents' norms. */
function keptRows(kept: Uint32Array, values: Float32Array, rows: number, k: number, norms: Float32Array | undefined): SparseActs {
  const offsets = new Uint32Array(rows + 1);
  const indices: number[] = [], found: number[] = [];
  for (let row = 0; row < rows; row++) {
    const slots: number[] = [];
    for (let at = row * k; at < (row + 1) * k; at++) if (kept[at] !== noLatent && values[at] !== 0) slots.push(at);
    if (slots.some((at, n) => n > 0 && kept[at]! < kept[slots[n - 1]!]!)) slots.sort((a, b) => kept[a]! - kept[b]! || a - b);
    for (const at of slots) {
      const latent = kept[at]!, value = norms ? values[at]! * norms[latent]! : values[at]!;
      if (indices.length > offsets[row]! && indices.at(-1) === latent) found[found.length - 1]! += value;
      else {
        indices.push(latent);
        found.push(value);
      }
    }
    offsets[row + 1] = indices.length;
  }
  return { rows, offsets, indices: Uint32Array.from(indices), values: Float32Array.from(found) };
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
