/** What two records say of each other. */
import type { CheckRecord, Environment, TrainingRecord, VerifyRecord } from './record.ts';

export interface Comparison {
  /**
   * `identical`: every bit that was compared. `within the bound`: integer state is the same, and what rounds differs by no more than rounding may do.
   * `different` otherwise, and `not comparable` when the records are of different jobs.
   */
  verdict: 'identical' | 'within the bound' | 'different' | 'not comparable';
  /** Whether that is what may be expected. */
  ok: boolean;
  /** What differs between the two machines, and in what they computed. */
  notes: string[];
  /** One line: the verdict. */
  line: string;
  /** Of all results, the largest distance that two of them can have, in bounds of the float64 result. */
  largest: number;
}

/** What differs between two machines, one line each. Empty: the same bits are promised. */
export function environmentDifferences(here: Environment, there: Environment): string[] {
  const lines: string[] = [];
  const name = ({ vendor, architecture, device }: Environment['adapter']): string => [vendor, architecture, device].filter((part) => part !== '').join(' ');
  if (name(here.adapter) !== name(there.adapter)) lines.push(`adapter: ${name(here.adapter)} here, ${name(there.adapter)} there`);
  if (here.adapter.description !== there.adapter.description) lines.push(`driver: ${here.adapter.description || 'not told'} here, ${there.adapter.description || 'not told'} there`);
  if (here.runtime !== there.runtime) lines.push(`runtime: ${here.runtime} here, ${there.runtime} there`);
  for (const shader of changedShaders(here, there)) lines.push(`shader ${shader} changed`);
  for (const key of differing(here.variants, there.variants)) lines.push(`variant of ${key}: ${here.variants[key] ?? 'none'} here, ${there.variants[key] ?? 'none'} there`);
  return lines;
}

/** Shaders of which the two have other texts, or that only one has. */
export function changedShaders(here: Environment, there: Environment): string[] {
  return differing(here.shaders, there.shaders);
}

function differing(here: Record<string, string>, there: Record<string, string>): string[] {
  return [...new Set([...Object.keys(here), ...Object.keys(there)])].filter((key) => here[key] !== there[key]).sort();
}

/** Compares what ran here with a record; training over the steps that both have. */
export function compareRecords(here: VerifyRecord, there: VerifyRecord): Comparison {
  if (JSON.stringify(here.job) !== JSON.stringify(there.job) || here.checks.some(({ name }, n) => there.checks[n]?.name !== name)) {
    return { verdict: 'not comparable', ok: false, notes: [], largest: 0, line: 'not comparable: the record is of another job: make it anew with this version' };
  }
  const environment = environmentDifferences(here, there);
  const kernels = compareChecks(here.checks, there.checks);
  const steps = Math.min(links(here.batches).length, links(there.batches).length);
  const shuffled = firstDifference(here.batches, there.batches, steps);
  const failures = [...kernels.failures, ...(shuffled === undefined ? [] : [`the shuffled batches differ, first that of step ${shuffled + 1}: they are integer work on equal inputs`])];
  const notes = [...environment, ...kernels.notes];
  const trained = Object.keys(here.training).map((name) => compareTraining(name, here, there, steps));
  for (const { failure, note } of trained) {
    if (failure) failures.push(failure);
    if (note) notes.push(note);
  }
  const differs = kernels.differ > 0 || trained.some(({ note }) => note !== undefined);
  if (failures.length === 0 && differs && environment.length === 0) {
    failures.push('adapter, driver, runtime, shaders and variants are the same, and the bits are not');
  }
  const what = `${kernels.results} results of ${here.checks.length} checks and ${steps} training steps of ${trained.length} architectures`;
  const result = { notes: [...failures, ...notes], largest: kernels.largest };
  if (failures.length > 0) return { ...result, verdict: 'different', ok: false, line: `different: ${failures[0]}${failures.length > 1 ? ` (and ${failures.length - 1} more)` : ''}` };
  if (!differs) return { ...result, verdict: 'identical', ok: true, line: `identical: ${what}` };
  const apart = kernels.differ === 0 ? 'all kernels\' results on fixed inputs are identical'
    : `${kernels.differ} of ${kernels.results} results on fixed inputs differ, by at most ${rounded(kernels.largest)} of the float64 bound`;
  const parted = trained.find(({ note }) => note)?.note;
  return { ...result, verdict: 'within the bound', ok: true, line: `within the bound: integer state is identical; ${apart}; ${parted ?? 'training is identical'}` };
}

function compareChecks(here: readonly CheckRecord[], there: readonly CheckRecord[]): { failures: string[]; notes: string[]; results: number; differ: number; largest: number } {
  const failures: string[] = [], notes: string[] = [];
  let results = 0, differ = 0, largest = 0;
  for (const [n, { name, kind, shaders, outputs }] of here.entries()) {
    for (const [output, own] of Object.entries(outputs)) {
      const other = there[n]!.outputs[output];
      const what = `${name}, ${output} (${shaders.join(', ')})`;
      results++;
      if (!other) {
        failures.push(`${what}: the record does not have it`);
        continue;
      }
      for (const [where, { worst = 0 }] of [['here', own], ['there', other]] as const) {
        if (worst > 1) failures.push(`${what}: ${where} ${rounded(worst)} times as far from the float64 result as rounding allows`);
      }
      if (own.digest === other.digest) continue;
      differ++;
      if (kind !== 'rounded') {
        failures.push(`${what}: ${kind === 'integer' ? 'integer work' : 'arithmetic without rounding'} on equal inputs differs`);
        continue;
      }
      // |a - b| is at most |a - reference| + |b - reference|.
      const share = (own.worst ?? 0) + (other.worst ?? 0);
      largest = Math.max(largest, share);
      const seen = largestDifference(own.samples, other.samples);
      notes.push(`${what}: bits differ, by at most ${rounded(share)} of the float64 bound${seen === 0 ? '' : `; by ${seen.toExponential(1)} in the elements that are kept`}`);
    }
  }
  return { failures, notes, results, differ, largest };
}

/** What is said of an architecture's training: nothing where it is the same. */
function compareTraining(name: string, here: VerifyRecord, there: VerifyRecord, steps: number): { note?: string; failure?: string } {
  const own = here.training[name]!, other = there.training[name];
  if (!other) return { failure: `the record has no training of ${name}` };
  const step = firstDifference(own.chain, other.chain, steps + 1);
  if (step === undefined) return {};
  const kernel = firstKernel(own, other, step);
  const size = differenceAt(own, other, step);
  const when = step === 0 ? 'its initialisation (step 0)' : `step ${step}`;
  if (!kernel) return { note: `${name} differs first at ${when}, whose kernels are not kept${size}; later steps are not compared` };
  if ('others' in kernel) return { note: `${name} differs first at ${when}, where other kernels run (${kernel.others})${size}; later steps are not compared` };
  const note = `${name} differs first at ${when} in ${kernel.name}${ofBound(kernel.name, here, there)}${size}; later steps have no bound and are not compared`;
  return isInteger(kernel.name, here.checks) ? { note, failure: `${name} at ${when}: ${kernel.name} is integer work on equal inputs and differs` } : { note };
}

/** The first kernel of a step whose results differ though all before it are the same; undefined where the step's kernels are not kept. */
function firstKernel(here: TrainingRecord, there: TrainingRecord, step: number): { name: string } | { others: string } | undefined {
  const [own, other] = [here, there].map(({ traces }) => traces.find((trace) => trace.step === step));
  if (!own || !other) return undefined;
  const [names, otherNames] = [links(own.kernels), links(other.kernels)];
  const at = links(own.digests).findIndex((digest, n) => digest !== links(other.digests)[n] || names[n] !== otherNames[n]);
  if (at < 0) return undefined;
  return names[at] === otherNames[at] ? { name: names[at]! } : { others: `${names[at]} here, ${otherNames[at] ?? 'none'} there` };
}

/** A kernel is integer work when a check says so that ran it; those that make exact floats of whole numbers round elsewhere. */
function isInteger(kernel: string, checks: readonly CheckRecord[]): boolean {
  return checks.some(({ kind, shaders }) => kind === 'integer' && shaders.includes(kernel));
}

function ofBound(kernel: string, here: VerifyRecord, there: VerifyRecord): string {
  const worst = [here, there].map(({ checks }) => Math.max(0, ...checks.filter(({ shaders }) => shaders.includes(kernel)).flatMap(({ outputs }) => Object.values(outputs).map(({ worst = 0 }) => worst))));
  return ` (on fixed inputs within ${rounded(worst[0]!)} of the float64 bound here and ${rounded(worst[1]!)} there)`;
}

/** The size of a difference in the parameters, after the first step at which numbers were kept. */
function differenceAt(here: TrainingRecord, there: TrainingRecord, step: number): string {
  const own = here.samples.find((sample) => sample.step >= step), other = there.samples.find((sample) => sample.step === own?.step);
  if (!own || !other) return '';
  const sizes = Object.entries(own.values).map(([name, values]) => ({ name, size: largestDifference(values, other.values[name] ?? values) }));
  const { name, size } = sizes.reduce((a, b) => (b.size > a.size ? b : a));
  return size === 0 ? `; the parameters' kept elements are the same after step ${own.step}` : `; parameters' kept elements are at most ${size.toExponential(1)} apart after step ${own.step} (${name})`;
}

function largestDifference(here: string, there: string): number {
  const floats = (text: string): Float32Array => new Float32Array(Uint32Array.from(links(text), (word) => parseInt(word, 16)).buffer);
  const other = floats(there);
  return floats(here).reduce((most, value, n) => Math.max(most, Math.abs(value - other[n]!)), 0);
}

/** The first of so many links that differs. One may be cut to fewer digits than the other. */
function firstDifference(here: string, there: string, count: number): number | undefined {
  const [own, other] = [links(here), links(there)];
  for (let n = 0; n < count; n++) {
    const digits = Math.min(own[n]!.length, other[n]?.length ?? 0);
    if (digits === 0 || own[n]!.slice(0, digits) !== other[n]!.slice(0, digits)) return n;
  }
  return undefined;
}

const links = (text: string): string[] => text.split(' ');
const rounded = (value: number): string => String(Number(value.toPrecision(2)));
