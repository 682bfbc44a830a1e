/** What reads one family of published SAEs. One file of `loaders/` is one family; `loaders/index.ts` lists them. */
import type { Json, SaelensConfig } from '../formats/index.ts';
import type { Weights } from '../sae/index.ts';
import type { FileSet } from './files.ts';

/** An SAE in host memory in the inference form of cochlea: SAELens' configuration, weights latent-major. */
export interface PretrainedSae {
  config: SaelensConfig;
  weights: Weights;
  /** log10(firing frequency + 1e-10) per latent, where it was published with the SAE. */
  logSparsity?: Float32Array;
  /** What whoever uses the SAE has to know, a sentence each. */
  notes: string[];
}

export interface LoadOptions {
  /** Name of the loader, where the files do not say it. */
  loader?: string;
  /**
   * For a BatchTopK SAE that was saved without its threshold: the threshold, or 'per-frame' for the k largest of each frame, which is what
   * the family itself does with one frame at a time.
   */
  threshold?: number | 'per-frame';
  /** Frames were multiplied with this in training, where the files do not say it (SAELens' norm_scaling_factor). */
  scale?: number;
  /** Other values for fields of the configuration, as a registry has them. */
  overrides?: Readonly<Record<string, Json>>;
  /** What is known of the SAE besides; fields that its own files have are left as those say. */
  metadata?: Readonly<Record<string, Json>>;
}

export interface Loader {
  readonly name: string;
  /** One line: whose SAEs, and which files. */
  readonly title: string;
  /** Files of the SAE at `path` of a repository; those after `optional` need not be there. */
  files(path: string): { needed: string[]; optional: string[] };
  /** Whether these are files of the family: by their names, and where those are shared by what is in them. */
  detect(files: FileSet): boolean | Promise<boolean>;
  /** Throws `file-missing`, `file-damaged`; `config` for an SAE that has no form here, with the reason. */
  read(files: FileSet, options: LoadOptions): Promise<PretrainedSae>;
}

/** What a loader found out. */
export interface Found {
  architecture: string;
  dIn: number;
  dSae: number;
  dtype: string;
  applyBDec: boolean;
  normalise?: string;
  reshape?: string;
  /** Fields of the architecture. */
  fields?: Record<string, Json>;
  /** Undefined ones are left out. */
  metadata?: Record<string, Json | undefined>;
}

/** The configuration that SAELens would have for it. */
export function configOf({ architecture, dIn, dSae, dtype, applyBDec, normalise = 'none', reshape = 'none', fields, metadata = {} }: Found): SaelensConfig {
  const known = Object.entries(metadata).filter((entry): entry is [string, Json] => entry[1] !== undefined);
  return {
    architecture, d_in: dIn, d_sae: dSae, dtype, device: 'cpu', apply_b_dec_to_input: applyBDec, normalize_activations: normalise, reshape_activations: reshape,
    ...fields, metadata: Object.fromEntries(known),
  };
}
