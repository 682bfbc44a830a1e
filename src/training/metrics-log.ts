import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { StepMetrics } from './step-metrics.ts';

/** The names under which SAELens logs each metric; losses are `losses/<name>` and coefficients `details/<name>_coefficient`. */
export const metricNames = {
  step: 'step', learningRate: 'details/current_learning_rate', overallLoss: 'losses/overall_loss', explainedVariance: 'metrics/explained_variance',
  explainedVarianceLegacy: 'metrics/explained_variance_legacy', l0: 'metrics/l0', topkThreshold: 'metrics/topk_threshold', dead: 'sparsity/dead_features',
  meanPassesSinceFired: 'sparsity/mean_passes_since_fired', gradientNorm: 'details/gradient_norm',
} as const satisfies Record<keyof Omit<StepMetrics, 'losses' | 'coefficients'>, string>;

/** metrics.jsonl of a run: every n-th step, and the first and last. Lines are collected and written in a batch. */
export class MetricsLog {
  readonly #path: string;
  readonly #every: number;
  readonly #steps: number;
  #lines = '';
  /** The last metrics in the file when it was opened. */
  readonly last: StepMetrics | undefined;

  private constructor(path: string, every: number, steps: number, last: StepMetrics | undefined) {
    this.#path = path;
    this.#every = every;
    this.#steps = steps;
    this.last = last;
  }

  /** Keeps the lines up to step `from`, which is where the run goes on, and drops those behind it. */
  static async open(path: string, every: number, from: number, steps: number): Promise<MetricsLog> {
    const before = from === 0 ? [] : (await readMetrics(path)).filter(({ step }) => step <= from);
    await runtime.files.write(path, before.map(line).join(''));
    return new MetricsLog(path, every, steps, before.at(-1));
  }

  async add(metrics: StepMetrics): Promise<void> {
    const { step } = metrics;
    if (step % this.#every !== 0 && step !== 1 && step !== this.#steps) return;
    this.#lines += line(metrics);
    if (this.#lines.length > 1 << 14) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#lines !== '') await runtime.files.append(this.#path, this.#lines);
    this.#lines = '';
  }
}

function line(metrics: StepMetrics): string {
  const fields: Record<string, number | undefined> = {};
  for (const [field, name] of Object.entries(metricNames)) {
    fields[name] = metrics[field as keyof typeof metricNames];
    if (field === 'overallLoss') for (const [loss, value] of Object.entries(metrics.losses)) fields[`losses/${loss}`] = value;
  }
  for (const [coefficient, value] of Object.entries(metrics.coefficients)) fields[`details/${coefficient}_coefficient`] = value;
  return `${JSON.stringify(fields)}\n`;
}

/** Reads a metrics.jsonl; a torn last line is left out, what is null there (JSON has no infinity) is NaN. Empty when there is no file. */
export async function readMetrics(path: string): Promise<StepMetrics[]> {
  if (!await runtime.files.info(path)) return [];
  const lines = (await runtime.files.readText(path)).split('\n').slice(0, -1);
  return lines.map((text, index) => {
    try {
      return metricsOf(JSON.parse(text) as Record<string, number | null>);
    } catch {
      throw new CochleaError('file-damaged', `${path}: line ${index + 1} is not JSON`);
    }
  });
}

function metricsOf(fields: Record<string, number | null>): StepMetrics {
  const metrics: Record<string, unknown> = {};
  for (const [field, name] of Object.entries(metricNames)) if (name in fields) metrics[field] = fields[name] ?? NaN;
  const named = (pattern: RegExp): Record<string, number> =>
    Object.fromEntries(Object.entries(fields).flatMap(([name, value]) => pattern.exec(name)?.[1] ? [[pattern.exec(name)![1]!, value ?? NaN]] : []));
  return { ...metrics, losses: named(/^losses\/(?!overall_loss$)(.*)$/), coefficients: named(/^details\/(.*)_coefficient$/) } as unknown as StepMetrics;
}
