import { CochleaError } from '../../errors.ts';
import { type LoadOptions, readPretrained, writers } from '../../pretrained/index.ts';
import { runtime } from '../../runtime/index.ts';
import { writeWholeFolder } from '../../runtime/whole-folder.ts';
import type { Weights } from '../../sae/index.ts';

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
 * something into them. The folder appears whole or not at all. Throws `file-exists` when there is something at `out`; `config` with the reason where the form cannot say what the
 * SAE is: nothing is written then.
 */
export async function convertSae(input: string, out: string, { to, id, ...options }: ConvertOptions): Promise<ConvertResult> {
  const writer = writers.find(({ name }) => name === to);
  if (!writer) throw new CochleaError('usage', `there is no form ${JSON.stringify(to.slice(0, 60))}`, `these are: ${writers.map(({ name }) => name).join(', ')}`);
  return writeWholeFolder(out, async (folder) => {
    const { config, weights, logSparsity, notes, loader } = await readPretrained(input, id, options);
    await writer.write(folder, { config, weights, ...(logSparsity ? { logSparsity } : {}) });
    const { architecture, d_in: dIn, d_sae: dSae } = config;
    return { out, from: loader, to, architecture, dIn, dSae, files: await runtime.files.list(folder), notes: [...notes, ...strayNumbers(weights)] };
  });
}

/** A note for each tensor with numbers that are none. */
function strayNumbers({ attention = {}, ...plain }: Weights): string[] {
  const tensors = [...Object.entries(plain), ...Object.entries(attention).map(([name, { data }]) => [name, data] as const)];
  return tensors.flatMap(([name, data]) => {
    let stray = 0;
    for (const value of data) if (!Number.isFinite(value)) stray++;
    return stray > 0 ? [`${stray} of the ${data.length} numbers of ${name} are NaN or infinite`] : [];
  });
}
