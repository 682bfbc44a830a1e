/** The tables of `eval --behaviour`. */
import { behaviourMetrics, type BehaviourReport, type ConditionName, conditions, type Interval, type Measured, recoveryScores } from '../../src/index.ts';
import { counted, printable, table } from './console.ts';

const titles: Record<ConditionName, string> = {
  untouched: 'untouched', sae: 'SAE', untrained_sae: 'SAE untrained', mean_ablation: 'mean ablation', zero_ablation: 'zero ablation',
};

/** What the untouched model makes of these is known beforehand. */
const withoutIntervals: ReadonlySet<string> = new Set(['tokens_kept', 'output_cosine', 'l0']);

export const short = (value: number): string => (value === 0 ? '0' : Math.abs(value) < 5e-5 ? value.toExponential(1) : Number(value.toPrecision(Math.abs(value) < 1 ? 3 : 4)).toString());

const range = ({ low, high }: Interval): string => (low === null ? '' : ` [${short(low)}, ${short(high)}]`);

const cell = (measured: Measured | undefined, interval = true): string => (measured?.value == null ? '-' : `${short(measured.value)}${interval ? range(measured.interval) : ''}`);

export function describeBehaviour(report: BehaviourReport): string {
  const { settings, clips, frames, positions, withText, units, skipped } = report;
  const shown = conditions.filter((name) => report.conditions[name]);
  const metrics = behaviourMetrics.map(({ name }) => name).filter((name) => report.conditions.sae![name] !== undefined);
  const scores = recoveryScores.map(({ name }) => name).filter((name) => report.scores.sae![name] !== undefined);
  const compared = metrics.filter((name) => !withoutIntervals.has(name));
  const trained = report.scores.sae!, untrained = report.scores.untrained_sae;
  const reasons = new Set([
    ...Object.entries(report.absent).map(([name, reason]) => `${titles[name as ConditionName]}: ${reason}`),
    ...[report.conditions.sae!, report.conditions.mean_ablation!, trained].flatMap((measures) => Object.entries(measures).filter(([name]) => name !== 'l0')
      .flatMap(([name, measured]) => (measured.value === null ? [`${name}: ${measured.reason}`] : measured.interval.low === null ? [measured.interval.reason] : []))),
  ]);
  return [
    `${counted(clips.length, 'clip')}, ${counted(frames, 'frame')} at ${printable(settings.hook)} of ${printable(settings.model)}${settings.head === null ? `, which has no head${units === null ? '' : `; ${units} units`}`
      : `; ${positions} tokens of ${settings.targets === 'text' ? 'the clips\' texts' : 'the untouched model\'s own words'}; ${withText} clips with a text`}`,
    `mean ablation: the mean of the ${settings.mean}${skipped.length > 0 ? `; ${skipped.length} skipped, each named above` : ''}`,
    '',
    table([['', ...metrics], ...shown.map((name) => [titles[name], ...metrics.map((metric) => cell(report.conditions[name]![metric], !withoutIntervals.has(metric)))])]),
    '',
    'share of the loss recovered (1: as untouched, 0: as the ablation)',
    table([['', 'SAE', ...(untrained ? ['SAE untrained', 'SAE less untrained'] : [])],
      ...scores.map((name) => [name, cell(trained[name]), ...(untrained ? [cell(untrained[name]), cell(report.differences.untrained_sae![name])] : [])])]),
    '',
    'the SAE less, on the same resamples',
    table([['', ...compared], ...shown.filter((name) => name !== 'sae').map((name) => [titles[name], ...compared.map((metric) => cell(report.differences[name as 'untouched']![metric]))])]),
    '',
    ...[...reasons],
    `in brackets: 95 % bootstrap intervals over clips (${report.bootstrap.resamples} resamples, seed ${report.bootstrap.seed}); --help says what each of these means.`,
  ].join('\n');
}
