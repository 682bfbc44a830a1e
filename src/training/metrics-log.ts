import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import { SoleLog } from '../runtime/sole-log.ts';
import type { StepMetrics } from './step-metrics.ts';
import { eventFile, eventFilePath, eventRecords, type ScalarEvent, wallTimes } from './tensorboard.ts';

/** The names under which SAELens logs each metric; losses are `losses/<name>` and coefficients `details/<name>_coefficient`. */
export const metricNames = {
  step: 'step', learningRate: 'details/current_learning_rate', overallLoss: 'losses/overall_loss', explainedVariance: 'metrics/explained_variance',
  explainedVarianceLegacy: 'metrics/explained_variance_legacy', l0: 'metrics/l0', topkThreshold: 'metrics/topk_threshold', dead: 'sparsity/dead_features',
  meanPassesSinceFired: 'sparsity/mean_passes_since_fired', gradientNorm: 'details/gradient_norm',
} as const satisfies Record<keyof Omit<StepMetrics, 'losses' | 'coefficients'>, string>;

/**
 * metrics.jsonl of a run, and with `tensorboard` an event file beside it: every n-th step, and the first and last. Lines are collected and written
 * in a batch, when metrics are read from the GPU and not in between.
 */
export class MetricsLog {
  readonly #file: SoleLog;
  readonly #every: number;
  readonly #steps: number;
  /** The event file. */
  readonly #events: string | undefined;
  #lines = '';
  #pending: ScalarEvent[] = [];
  /** The last metrics in the file when it was opened. */
  readonly last: StepMetrics | undefined;

  private constructor(file: SoleLog, every: number, steps: number, events: string | undefined, last: StepMetrics | undefined) {
    this.#file = file;
    this.#every = every;
    this.#steps = steps;
    this.#events = events;
    this.last = last;
  }

  /** Keeps the lines up to step `from`, which is where the run goes on, and drops those behind it. */
  static async open(path: string, every: number, from: number, steps: number, { tensorboard = false }: { tensorboard?: boolean } = {}): Promise<MetricsLog> {
    const before = from === 0 ? [] : (await readMetrics(path)).filter(({ step }) => step <= from);
    const kept = new TextEncoder().encode(before.map(line).join(''));
    await runtime.files.write(path, kept);
    const events = tensorboard ? await writeEvents(runtime.paths.dirname(path), before, now()) : undefined;
    return new MetricsLog(new SoleLog(path, kept.length), every, steps, events, before.at(-1));
  }

  async add(metrics: StepMetrics): Promise<void> {
    const { step } = metrics;
    if (step % this.#every !== 0 && step !== 1 && step !== this.#steps) return;
    this.#lines += line(metrics);
    if (this.#events !== undefined) this.#pending.push(scalarEvent(metrics, now()));
    if (this.#lines.length > 1 << 14) await this.flush();
  }

  /** Throws `file-exists`, and writes nothing, once another process writes to the same file: a run flushes before each checkpoint and before it saves. */
  async flush(): Promise<void> {
    await (this.#lines === '' ? this.#file.check() : this.#file.append(this.#lines));
    if (this.#events !== undefined && this.#pending.length > 0) await runtime.files.append(this.#events, eventRecords(this.#pending));
    this.#lines = '';
    this.#pending = [];
  }
}

const now = (): number => Date.now() / 1000;

/**
 * Writes a folder's event file anew, of these metrics; steps that are in it already keep their wall times, others get `wallTime`. Returns its path.
 */
async function writeEvents(folder: string, metrics: readonly StepMetrics[], wallTime: number): Promise<string> {
  const path = await eventFilePath(folder, wallTime);
  const known = await runtime.files.info(path) ? wallTimes(await runtime.files.read(path)) : new Map<number, number>();
  await runtime.files.write(path, eventFile(metrics.map((one) => scalarEvent(one, known.get(one.step) ?? wallTime)), wallTime));
  return path;
}

/** Writes an event file of TensorBoard beside a metrics.jsonl, which knows no times: all steps get that of its last change. Returns its path. */
export async function exportEvents(path: string): Promise<string> {
  const { modified = 0 } = await runtime.files.info(path) ?? {};
  return writeEvents(runtime.paths.dirname(path), await readMetrics(path), modified / 1000);
}

function scalarEvent(metrics: StepMetrics, wallTime: number): ScalarEvent {
  const { step, ...scalars } = fieldsOf(metrics);
  return { step: step!, wallTime, scalars };
}

/** Metrics under the names of `metricNames`. */
function fieldsOf(metrics: StepMetrics): Record<string, number | undefined> {
  const fields: Record<string, number | undefined> = {};
  for (const [field, name] of Object.entries(metricNames)) {
    fields[name] = metrics[field as keyof typeof metricNames];
    if (field === 'overallLoss') for (const [loss, value] of Object.entries(metrics.losses)) fields[`losses/${loss}`] = value;
  }
  for (const [coefficient, value] of Object.entries(metrics.coefficients)) fields[`details/${coefficient}_coefficient`] = value;
  return fields;
}

const line = (metrics: StepMetrics): string => `${JSON.stringify(fieldsOf(metrics))}\n`;

/** Reads a metrics.jsonl; a torn last line is left out, what is null there (JSON has no infinity) is NaN. Empty when there is no file. Throws `file-damaged`. */
export async function readMetrics(path: string): Promise<StepMetrics[]> {
  if (!await runtime.files.info(path)) return [];
  const lines = (await runtime.files.readText(path)).split('\n').slice(0, -1);
  return lines.map((text, index) => {
    let fields: unknown;
    try {
      fields = JSON.parse(text);
    } catch {
      throw new CochleaError('file-damaged', `${path}: line ${index + 1} is not JSON`);
    }
    if (!isStep(fields)) throw new CochleaError('file-damaged', `${path}: line ${index + 1} is not the metrics of a step`);
    return metricsOf(fields);
  });
}

function isStep(fields: unknown): fields is Record<string, number | null> {
  return typeof fields === 'object' && fields !== null && Number.isSafeInteger((fields as { step?: unknown }).step)
    && Object.values(fields).every((value) => value === null || typeof value === 'number');
}

function metricsOf(fields: Record<string, number | null>): StepMetrics {
  const metrics: Record<string, unknown> = {};
  for (const [field, name] of Object.entries(metricNames)) if (name in fields) metrics[field] = fields[name] ?? NaN;
  const named = (pattern: RegExp): Record<string, number> =>
    Object.fromEntries(Object.entries(fields).flatMap(([name, value]) => pattern.exec(name)?.[1] ? [[pattern.exec(name)![1]!, value ?? NaN]] : []));
  return { ...metrics, losses: named(/^losses\/(?!overall_loss$)(.*)$/), coefficients: named(/^details\/(.*)_coefficient$/) } as unknown as StepMetrics;
}
