/** Ours beside the peer's, configuration by configuration, with a verdict in every cell. */
import type { Quality } from './metrics.ts';
import type { RunRecord } from './results.ts';

/**
 * `+` at least the peer's; `~` below it by less than the peer's seeds differ among themselves; `-` below it by more. A mean over n seeds counts
 * as n^-1/2 of that. Losses: see `curveVerdict`.
 */
export type Verdict = '+' | '~' | '-';

/** The loss curve may leave the peer's by so much. */
const lossTolerance = 0.01;

const shown: { metric: keyof Quality; label: string; better: 'more' | 'less'; digits: number }[] = [
  { metric: 'ev', label: 'explained variance', better: 'more', digits: 4 },
  { metric: 'l0', label: 'L0', better: 'less', digits: 3 },
  { metric: 'dead_frac', label: 'dead share', better: 'less', digits: 4 },
  { metric: 'recovered_0.9', label: 'recovered (cosine > 0.9)', better: 'more', digits: 4 },
  { metric: 'mmcs_true', label: 'mean best cosine', better: 'more', digits: 4 },
];

export function verdict(ours: number, theirs: number, better: 'more' | 'less', spread: number): Verdict {
  const ahead = better === 'more' ? ours - theirs : theirs - ours;
  return ahead >= 0 ? '+' : -ahead < spread ? '~' : '-';
}

/** Only then must the losses be the peer's; corrections may change them. */
const sameMathematics = ({ compatibility, set = {} }: RunRecord): boolean => compatibility === 'saelens-6.18' && Object.keys(set).length === 0;

/**
 * `+` where the loss stays within one percent. Training amplifies rounding: `~` where it stays within what the peer's own float32 run
 * strays from its float64 run.
 */
export function curveVerdict({ deviation, peerDrift }: Pick<RunRecord, 'deviation' | 'peerDrift'>): Verdict {
  if (deviation.every((value) => value <= lossTolerance)) return '+';
  return deviation.every((value, n) => value <= Math.max(lossTolerance, peerDrift[n]!)) ? '~' : '-';
}

/** All tables and what they come to. */
export function report(records: readonly RunRecord[]): string {
  const counts: Record<Verdict, number> = { '+': 0, '~': 0, '-': 0 };
  const groups = new Map<string, RunRecord[]>();
  for (const record of records) {
    const set = JSON.stringify(record.set ?? {});
    const title = `${record.name}, ${record.compatibility}${set === '{}' ? '' : `, ${set}`}`;
    groups.set(title, [...groups.get(title) ?? [], record]);
  }
  const tables = [...groups].map(([title, group]) => table(title, group.sort((a, b) => a.seed - b.seed), counts));
  return [
    ...tables,
    'Cells are ours / SAELens\'. + at least as good; ~ less good, by less than SAELens\' seeds differ (losses: its float32 from its float64 runs); - less good.\n'
    + `${counts['+']} cells +, ${counts['~']} cells ~, ${counts['-']} cells -`,
  ].join('\n\n');
}

function table(title: string, records: readonly RunRecord[], counts: Record<Verdict, number>): string {
  const count = (one: Verdict): Verdict => {
    counts[one]++;
    return one;
  };
  const whole = records.filter((record) => record.quality !== undefined);
  const quality = whole.length === 0 ? [] : shown.map(({ metric, label, better, digits }) => {
    const spread = records[0]!.peerSpread[metric];
    const cell = (a: number, b: number, noise: number): string => `${a.toFixed(digits)} / ${b.toFixed(digits)} ${count(verdict(a, b, better, noise))}`;
    const cells = records.map(({ quality: ours, peer }) => (ours ? cell(ours[metric], peer[metric], spread) : ''));
    const means = [mean(whole.map(({ quality: ours }) => ours![metric])), mean(whole.map(({ peer }) => peer[metric]))] as const;
    return [label, ...cells, cell(...means, spread / Math.sqrt(whole.length))];
  });
  const percent = (value: number): string => `${(100 * value).toPrecision(2)} %`;
  const curve = (record: RunRecord): string => percent(Math.max(...record.deviation)) + (sameMathematics(record) ? ` ${count(curveVerdict(record))}` : '');
  return columns([
    [title, ...records.map(({ seed, steps, wholeSteps }) => `seed ${seed}${steps < wholeSteps ? `, ${steps} steps` : ''}`), 'mean'],
    ...quality,
    ['first 200 losses off by', ...records.map(curve), ''],
    ['their squared errors', ...records.map(({ mseDeviation }) => percent(Math.max(...mseDeviation))), ''],
    ['ms per step', ...records.map(({ secondsPerStep }) => (1000 * secondsPerStep).toFixed(1)), ''],
  ]);
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Rows of cells under each other; the first row stands apart. */
function columns(rows: readonly string[][]): string {
  const widths = rows[0]!.map((_, n) => Math.max(...rows.map((row) => row[n]!.length)));
  const line = (row: string[]): string => row.map((cell, n) => cell.padEnd(widths[n]!)).join('  ').trimEnd();
  return [line(rows[0]!), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.slice(1).map(line)].join('\n');
}
