import { CochleaError } from '../../errors.ts';
import { type LoadOptions, readPretrained, writers } from '../../pretrained/index.ts';
import { runtime } from '../../runtime/index.ts';

export interface ConvertOptions extends LoadOptions {
  /** The form to write: the name of one of `writers`. */
  to: string;
  /** The SAE below the folder, where it holds many. */
  id?: string;
}

export interface ConvertResult {
  out: string;
  /** Family that it was read as, and form that it was written in. */
  from: string;
  to: string;
  architecture: string;
  dIn: number;
  dSae: number;
  files: string[];
  notes: string[];
}

/**
 * Writes an SAE that lies in any published form in another one. Numbers of float32, and narrower ones, keep their bits unless the reader folds
 * something into them. Throws `file-exists` for an output folder that is not empty; `config` with the reason where the form cannot say what the
 * SAE is: nothing is written then.
 */
export async function convertSae(input: string, out: string, { to, id, ...options }: ConvertOptions): Promise<ConvertResult> {
  const { files } = runtime;
  const writer = writers.find(({ name }) => name === to);
  if (!writer) throw new CochleaError('usage', `there is no form ${JSON.stringify(to.slice(0, 60))}`, `these are: ${writers.map(({ name }) => name).join(', ')}`);
  if (await files.info(out) && (await files.list(out)).length > 0) throw new CochleaError('file-exists', `${out} is not empty`, 'choose another folder');
  const { config, weights, logSparsity, notes, loader } = await readPretrained(input, id, options);
  await writer.write(out, { config, weights, ...(logSparsity ? { logSparsity } : {}) });
  return { out, from: loader, to, architecture: config.architecture, dIn: config.d_in, dSae: config.d_sae, files: await files.list(out), notes };
}
