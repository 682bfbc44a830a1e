/** A profile against an earlier one: which kernels changed by more than the two runs' own noise. */
import { CochleaError } from '../errors.ts';
import { runtime } from '../runtime/index.ts';
import type { GpuProfile, Profile, Spread } from './types.ts';

export interface Change {
  /** Kernel and variant, or `busy`, `wall`. */
  what: string;
  /** Milliseconds of a step; undefined where there was none. */
  before: number | undefined;
  after: number | undefined;
  /** after over before. */
  ratio: number | undefined;
  /** Half of what is noise: the root of the sum of squares of both runs' half distances from p10 to p90. */
  band: number;
  verdict: 'faster' | 'slower' | 'within noise' | 'new' | 'gone';
}

export interface Comparison {
  /** Where the two were not made under the same conditions, and so say little. */
  differences: string[];
  changes: Change[];
}

/** Reads what an earlier --json printed. Throws `file-damaged` for anything else. */
export async function readProfile(path: string): Promise<GpuProfile> {
  const text = await runtime.files.readText(path);
  const damaged = (why: string): CochleaError => new CochleaError('file-damaged', `${path} ${why}`, 'give a file with what `cochlea profile --json` printed');
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw damaged('is not JSON');
  }
  const { format, version, kind, kernels, step, configuration, adapter, timing } = (found ?? {}) as Partial<Omit<GpuProfile, 'kind'>> & { kind?: Profile['kind'] };
  if (format !== 'cochlea-profile') throw damaged('is no profile');
  if (version !== 1) throw damaged(`is a profile of version ${version}, not 1`);
  if (kind === 'extraction') throw damaged('is the profile of an extraction: these have no kernels');
  const isSpread = (value: unknown): value is Spread => ['median', 'p10', 'p90'].every((name) => Number.isFinite((value as Record<string, unknown> | undefined)?.[name]));
  const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;
  const whole = [configuration, adapter, timing].every(isObject) && isSpread(step?.busy) && isSpread(step?.wall) && Array.isArray(kernels)
    && kernels.every((row) => typeof row?.kernel === 'string' && typeof row.variant === 'string' && isSpread(row.time));
  if (!whole) throw damaged('lacks kernels, their times, or what they were measured on');
  return found as GpuProfile;
}

/** Compares `after` with `before`, the largest change first. A change is outside the band when medians are farther apart than it is wide. */
export function compareProfiles(before: GpuProfile, after: GpuProfile): Comparison {
  const change = (what: string, one: Spread | undefined, other: Spread | undefined): Change => {
    const band = Math.hypot(halfWidth(one), halfWidth(other));
    if (!one || !other) return { what, before: one?.median, after: other?.median, ratio: undefined, band, verdict: one ? 'gone' : 'new' };
    const delta = other.median - one.median;
    const verdict = Math.abs(delta) <= band ? 'within noise' : delta < 0 ? 'faster' : 'slower';
    return { what, before: one.median, after: other.median, ratio: one.median > 0 ? other.median / one.median : undefined, band, verdict };
  };
  const timesOf = ({ kernels }: GpuProfile): Map<string, Spread> => new Map(kernels.map(({ kernel, variant, time }) => [variant === '' ? kernel : `${kernel} ${variant}`, time]));
  const [old, now] = [timesOf(before), timesOf(after)];
  const kernels = [...new Set([...now.keys(), ...old.keys()])].map((name) => change(name, old.get(name), now.get(name)));
  const moved = ({ before: one = 0, after: other = 0 }: Change): number => Math.abs(other - one);
  return {
    differences: differencesOf(before, after),
    changes: [change('busy', before.step.busy, after.step.busy), change('wall', before.step.wall, after.step.wall), ...kernels.sort((a, b) => moved(b) - moved(a))],
  };
}

function halfWidth(spread: Spread | undefined): number {
  return spread ? (spread.p90 - spread.p10) / 2 : 0;
}

function differencesOf(before: GpuProfile, after: GpuProfile): string[] {
  const facts = ({ kind, runtime: version, adapter, timing, configuration }: GpuProfile): Record<string, unknown> => ({
    kind, runtime: version, adapter: adapter.description || adapter.device, timing: timing.mode, ...configuration,
  });
  const [one, other] = [facts(before), facts(after)];
  return [...new Set([...Object.keys(one), ...Object.keys(other)])].filter((name) => one[name] !== other[name]).map((name) => `${name}: ${one[name] ?? 'none'} before, ${other[name] ?? 'none'} now`);
}
