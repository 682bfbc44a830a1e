/** From the sums of clips to numbers with intervals: per condition, as shares recovered, and as differences between conditions. */
import { addSums, behaviourMetrics, type ConditionName, conditions, type HeadKind, noSums, recoveryScores, type Sums } from './behaviour-metrics.ts';
import type { MetricValue } from './evaluate.ts';
import { type Interval, resampledIntervals } from './resample.ts';

/** A number with its 95 % bootstrap interval over clips, or why there is none. */
export type Measured = MetricValue & { interval: Interval };

export type Measures = Record<string, Measured>;

export interface BehaviourResults {
  /** By condition, those of `behaviourMetrics` that the model has. */
  conditions: Partial<Record<ConditionName, Measures>>;
  /** `recoveryScores` of the SAE, and of the same SAE untrained. */
  scores: Partial<Record<'sae' | 'untrained_sae', Measures>>;
  /** The SAE's metrics (and beside the untrained one its scores) less those of another condition, on the same resamples. */
  differences: Partial<Record<Exclude<ConditionName, 'sae'>, Measures>>;
  /** Conditions that could not be had, and why. */
  absent: Partial<Record<ConditionName, string>>;
  bootstrap: { resamples: number; seed: number };
}

type ByCondition = Record<ConditionName, Sums>;

interface Statistic {
  /** Where its value goes. */
  into: Measures;
  name: string;
  absent: string;
  of(sums: ByCondition): number;
}

export interface SummaryOptions {
  head: HeadKind;
  absent: Partial<Record<ConditionName, string>>;
  seed: number;
  resamples: number;
}

/** The metrics of one set of sums, without intervals. */
export function valuesOf(sums: Sums, head: HeadKind): Record<string, number | null> {
  return Object.fromEntries(behaviourMetrics.filter(({ heads }) => heads.includes(head)).map(({ name, of }) => [name, finiteOrNull(of(sums))]));
}

const finiteOrNull = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** `clips`: per clip the sums of every condition that is not absent. */
export function summarise(clips: readonly Partial<Record<ConditionName, Sums>>[], { head, absent, seed, resamples }: SummaryOptions): BehaviourResults {
  const results: BehaviourResults = { conditions: {}, scores: {}, differences: {}, absent, bootstrap: { resamples, seed } };
  const present = conditions.filter((name) => !(name in absent));
  const statistics: Statistic[] = [];
  const metrics = behaviourMetrics.filter(({ heads }) => heads.includes(head)), scores = recoveryScores.filter(({ heads }) => heads.includes(head));
  for (const name of present) {
    const into = results.conditions[name] = {};
    for (const { of, ...metric } of metrics) statistics.push({ into, name: metric.name, absent: metric.absent, of: (sums) => of(sums[name]) });
  }
  for (const name of (['sae', 'untrained_sae'] as const).filter((one) => present.includes(one))) {
    const into = results.scores[name] = {};
    for (const { of, ...score } of scores) statistics.push({ into, name: score.name, absent: score.absent, of: (sums) => of(sums[name], sums.untouched, sums[score.ablation]) });
  }
  for (const name of present) {
    if (name === 'sae') continue;
    const into = results.differences[name] = {};
    for (const { of, ...metric } of metrics) statistics.push({ into, name: metric.name, absent: metric.absent, of: (sums) => of(sums.sae) - of(sums[name]) });
    if (name !== 'untrained_sae') continue;
    for (const { of, ...score } of scores) {
      const ofScore = (sums: ByCondition, own: Sums): number => of(own, sums.untouched, sums[score.ablation]);
      statistics.push({ into, name: score.name, absent: score.absent, of: (sums) => ofScore(sums, sums.sae) - ofScore(sums, sums.untrained_sae) });
    }
  }

  const drawn = (weights: Uint32Array): number[] => {
    const sums = Object.fromEntries(present.map((name) => [name, noSums()])) as ByCondition;
    clips.forEach((clip, n) => {
      if (weights[n] > 0) for (const name of present) addSums(sums[name], clip[name]!, weights[n]);
    });
    return statistics.map(({ of }) => of(sums));
  };
  const values = drawn(new Uint32Array(clips.length).fill(1));
  const intervals = resampledIntervals(clips.length, { resamples, seed }, drawn, (n) => (Number.isFinite(values[n]) ? `in some resamples ${statistics[n].absent}` : statistics[n].absent));
  statistics.forEach(({ into, name, absent: reason }, n) => {
    const value = finiteOrNull(values[n]);
    into[name] = { ...(value === null ? { value, reason } : { value }), interval: intervals[n] };
  });
  return results;
}
