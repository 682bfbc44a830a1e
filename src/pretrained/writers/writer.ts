/** What writes an SAE in another project's form. One file of this folder is one form; `index.ts` lists them. */
import { CochleaError } from '../../errors.ts';
import { runtime } from '../../runtime/index.ts';
import type { FloatDType, SaelensConfig } from '../../formats/index.ts';
import { decoderNorms, type Weights } from '../../sae/index.ts';
import type { PretrainedSae } from '../loader.ts';

export type SaeToWrite = Pick<PretrainedSae, 'config' | 'weights' | 'logSparsity'>;

export interface Writer {
  readonly name: string;
  readonly title: string;
  /**
   * Writes the files into a folder; numbers keep their bits. Throws `config` with the reason where the form has no place for what the SAE is, before
   * anything is written.
   */
  write(folder: string, sae: SaeToWrite): Promise<void>;
}

/** Refuses an SAE: what it is, and why the form cannot say it. */
export function refuse(form: string, what: string, why: string): never {
  throw new CochleaError('config', `this SAE cannot be written for ${form}: ${what}`, why);
}

/** Forms that know nothing but frames as they are. */
export function checkPlain(form: string, { normalize_activations: normalise }: SaelensConfig): void {
  if (normalise !== 'none') refuse(form, `its normalize_activations is ${normalise}`, 'the form has no field for a normalisation');
}

/** The shape of a kept number is that of its file; wider ones than float32 are not held here. */
export function elementType(form: string, { dtype }: SaelensConfig): FloatDType {
  if (dtype === 'float64') refuse(form, 'its dtype is float64', 'weights are held as float32');
  return dtype === 'bfloat16' ? 'BF16' : dtype === 'float16' ? 'F16' : 'F32';
}

/** Whether all rows of the decoder have unit length, up to rounding. */
export const hasUnitRows = (weights: Weights): boolean => decoderNorms(weights).every((norm) => Math.abs(norm - 1) < 1e-3);

/** TopK SAEs here may rank latents by h_i |W_dec_i|; elsewhere they are ranked by h_i, which with unit rows is the same. */
export function checkRanking(form: string, { config, weights }: SaeToWrite): void {
  if (config['rescale_acts_by_decoder_norm'] === true && !decoderNorms(weights).every((norm) => Math.abs(norm - 1) < 1e-5)) {
    refuse(form, 'it ranks latents by decoder norms, and these are not 1', 'fold the norms into the weights first (SAELens: fold_W_dec_norm)');
  }
}

/** Writes an object as a JSON file. */
export const writeJson = (folder: string, name: string, value: unknown): Promise<void> => (
  runtime.files.write(runtime.paths.join(folder, name), `${JSON.stringify(value, null, 2)}\n`));
