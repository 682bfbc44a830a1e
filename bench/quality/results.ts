/** What was measured, one record per run, in a JSON file that grows run by run, so that hours of training can be had in pieces. */
import { CochleaError } from '../../src/errors.ts';
import { runtime } from '../../src/runtime/index.ts';
import type { Compatibility } from '../../src/sae/index.ts';
import type { Quality } from './metrics.ts';
import type { PeerResults, PeerRun } from './peer.ts';
import type { Repeated, Settings } from './train.ts';

/** Where the peer tells how far its float32 and float64 runs differ: the steps of each span, and its name. */
const spans = [[0, 50, 'max_rel_first_50'], [50, 100, 'max_rel_50_100'], [100, 200, 'max_rel_100_200']] as const;

export interface RunRecord {
  name: string;
  seed: number;
  compatibility: Compatibility;
  /** Settings that differ from SAELens' run; absent in older files. */
  set?: Settings;
  /** Steps trained, and those of a whole run. */
  steps: number;
  wholeSteps: number;
  adapter: string;
  runtime: string;
  secondsPerStep: number;
  /** Largest relative deviation of the loss from the peer's in steps 1 to 50, 51 to 100, 101 to 200. */
  deviation: number[];
  /** The same of the peer's float32 run from its float64 run. */
  peerDrift: number[];
  /** Of the squared error alone, which where it is a small part of the loss takes the whole difference. */
  mseDeviation: number[];
  /** Absent when the run was stopped before its end. */
  quality?: Quality;
  peer: Quality;
  /** Largest minus smallest of the peer's seeds. */
  peerSpread: Quality;
}

/** Two are of the same run when these agree. */
export type RunKey = Pick<RunRecord, 'name' | 'seed' | 'compatibility' | 'set'>;
export const isSameRun = (a: RunKey, b: RunKey): boolean => (
  a.name === b.name && a.seed === b.seed && a.compatibility === b.compatibility && JSON.stringify(a.set ?? {}) === JSON.stringify(b.set ?? {}));

export function recordOf(repeated: Repeated, run: PeerRun, peer: PeerResults, rest: { compatibility: Compatibility; set: Settings; adapter: string }): RunRecord {
  const deviations = (term: 0 | 1): number[] => spans.map(([from, to]) => (
    largestDeviation(repeated.losses.slice(from, to).map((loss) => loss[term]), run.loss_first200_total_mse.slice(from, to).map((loss) => loss[term]))));
  const drift = peer.drift_f32_vs_f64_first200_relative_loss[run.name];
  return {
    name: run.name, seed: run.seed, ...rest, steps: repeated.losses.length, wholeSteps: run.steps,
    runtime: runtime.version, secondsPerStep: repeated.secondsPerStep,
    deviation: deviations(0), peerDrift: spans.map(([, , name]) => drift?.[name] ?? 0), mseDeviation: deviations(1),
    ...(repeated.quality ? { quality: repeated.quality } : {}), peer: run.inference, peerSpread: spreadOf(peer.runs.filter(({ name }) => name === run.name)),
  };
}

function spreadOf(runs: readonly PeerRun[]): Quality {
  const spread = (metric: keyof Quality): number => {
    const values = runs.map(({ inference }) => inference[metric]);
    return Math.max(...values) - Math.min(...values);
  };
  const metrics = Object.keys(runs[0]!.inference) as (keyof Quality)[];
  return Object.fromEntries(metrics.map((metric) => [metric, spread(metric)])) as unknown as Quality;
}

/** max |a / b - 1| over the steps that both have. */
export function largestDeviation(ours: readonly number[], theirs: readonly number[]): number {
  return Math.max(0, ...ours.slice(0, theirs.length).map((loss, t) => Math.abs(loss / theirs[t]! - 1)));
}

/** The records of a file; none when there is no file yet. Throws `file-damaged`. */
export async function readRecords(path: string): Promise<RunRecord[]> {
  if (!await runtime.files.info(path)) return [];
  const text = await runtime.files.readText(path);
  try {
    return JSON.parse(text) as RunRecord[];
  } catch {
    throw new CochleaError('file-damaged', `${path} is not JSON`, 'remove it to measure anew');
  }
}

/** Adds a record to a file, in the place of an earlier one of the same run. */
export async function addRecord(path: string, record: RunRecord): Promise<void> {
  const others = (await readRecords(path)).filter((one) => !isSameRun(one, record));
  await runtime.files.write(path, `${JSON.stringify([...others, record], null, 1)}\n`);
}
