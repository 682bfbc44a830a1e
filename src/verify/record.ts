/** What a run of the canonical job found, as it is kept in a file. */
import { CochleaError } from '../errors.ts';
import type { Gpu } from '../gpu/index.ts';
import { runEnvironment } from '../training/manifest.ts';
import type { Kind } from './bench.ts';

export const recordFormat = 'cochlea verify 1';

/** Everything that bits may depend on. */
export interface Environment {
  cochlea: string;
  adapter: { vendor: string; architecture: string; device: string; description: string };
  /** Where the adapter's description says it. */
  driver: string | null;
  runtime: string;
  /** The first 12 digits of the SHA-256 of every shader's text. */
  shaders: Record<string, string>;
  /** Of kernel families that have several. */
  variants: Record<string, string>;
}

/** What a check left in one tensor. */
export interface OutputRecord {
  digest: string;
  /** Of `rounded`: the largest distance from the float64 result, as a share of what rounding allows there. */
  worst?: number;
  /** Some elements' bits. */
  samples: string;
}

export interface CheckRecord {
  name: string;
  family: string;
  kind: Kind;
  /** Kernels that ran. */
  shaders: string[];
  outputs: Record<string, OutputRecord>;
}

/** One architecture's training. */
export interface TrainingRecord {
  /**
   * Per step, separated by blanks: the digest of the step before and of all that training goes on from, 64 bits of which all but the last are cut to 32. The
   * first is that of the initialisation, step 0.
   */
  chain: string;
  /** Of some steps: kernels in the order in which they ran, and digests of what each wrote, both separated by blanks. */
  traces: { step: number; kernels: string; digests: string }[];
  /** After some steps: bits of some numbers of each parameter. */
  samples: { step: number; values: Record<string, string> }[];
  /** Of the last step. */
  final: { explained_variance: number; l0: number; mse_loss: number };
}

export interface VerifyRecord extends Environment {
  format: typeof recordFormat;
  /** What the job was: records of other jobs cannot be compared. */
  job: Record<string, number>;
  checks: CheckRecord[];
  /** The batches, as they were shuffled: a chain like those of training, from step 1. */
  batches: string;
  training: Record<string, TrainingRecord>;
}

export function environmentOf(gpu: Gpu, cochlea: string): Environment {
  const { software: _, ...adapter } = gpu.adapter;
  const { runtime, shaders, variants } = runEnvironment(gpu, 0);
  return {
    cochlea, adapter, driver: /\d+\.\d/.test(adapter.description) ? adapter.description : null, runtime, shaders, variants,
  };
}

/** Runs the variants that were run there, as far as this is the same adapter: another one may not have them. */
export function pinVariants(gpu: Gpu, there: Pick<Environment, 'adapter' | 'variants'>): void {
  if ((['vendor', 'architecture', 'device'] as const).some((field) => gpu.adapter[field] !== there.adapter[field])) return;
  for (const [family, variant] of Object.entries(there.variants)) gpu.variants.set(family, variant);
}

/** Lines as short as they can be read with. */
export function recordText(record: VerifyRecord): string {
  const lines = Object.entries(record).map(([name, value]) => {
    const items = Array.isArray(value) ? value.map((one) => `  ${JSON.stringify(one)}`) : undefined;
    return ` ${JSON.stringify(name)}: ${items ? `[\n${items.join(',\n')}\n ]` : JSON.stringify(value)}`;
  });
  return `{\n${lines.join(',\n')}\n}\n`;
}

/** Throws `file-damaged` for what is no record, `config` for one of another version. */
export function parseRecord(text: string, path: string): VerifyRecord {
  let record: Partial<VerifyRecord> | null = null;
  try {
    record = JSON.parse(text) as Partial<VerifyRecord>;
  } catch {
    throw new CochleaError('file-damaged', `${path} is not JSON`, 'a record is what `cochlea verify --out` writes');
  }
  if (typeof record?.format !== 'string' || !record.format.startsWith('cochlea verify ')) throw new CochleaError('file-damaged', `${path} is no record`, 'a record is what `cochlea verify --out` writes');
  if (record.format !== recordFormat) throw new CochleaError('config', `${path} is of format ${JSON.stringify(record.format)}, this version writes ${JSON.stringify(recordFormat)}`, 'make the record anew');
  const lacking = Object.entries(parts).find(([part, isWhole]) => !isWhole(record[part as keyof typeof parts]));
  if (lacking) throw new CochleaError('file-damaged', `${path} is a record that lacks a part: \`${lacking[0]}\` is not whole`, 'make the record anew');
  return record as VerifyRecord;
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const isNumber: Check = (value) => typeof value === 'number' && Number.isFinite(value);
const isMapOf = (each: Check): Check => (value) => typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(each);
const isListOf = (each: Check): Check => (value) => Array.isArray(value) && value.every(each);
export const isMap = isMapOf(() => true);
/** Whether a value of JSON has these fields, each as its check asks. */
export const hasFields = (fields: Record<string, Check>): Check => (value) =>
  isMap(value) && Object.entries(fields).every(([name, check]) => check((value as Record<string, unknown>)[name]));

/** What comparing reads of a record. */
const parts: Record<Exclude<keyof VerifyRecord, 'format' | 'cochlea' | 'driver'>, Check> = {
  adapter: hasFields({ vendor: isText, architecture: isText, device: isText, description: isText }),
  runtime: isText, shaders: isMapOf(isText), variants: isMapOf(isText), job: isMapOf(isNumber),
  checks: isListOf(hasFields({
    name: isText, kind: isText, shaders: isListOf(isText),
    outputs: isMapOf(hasFields({ digest: isText, samples: isText, worst: (value) => value === undefined || isNumber(value) })),
  })),
  batches: isText,
  training: isMapOf(hasFields({
    chain: isText, traces: isListOf(hasFields({ step: isNumber, kernels: isText, digests: isText })), samples: isListOf(hasFields({ step: isNumber, values: isMapOf(isText) })),
  })),
};
