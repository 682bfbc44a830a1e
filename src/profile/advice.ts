/** What to do about it: at most three lines, the one that could save most first. Each follows from numbers of the profile. */
import type { ExtractionProfile, GpuProfile, KernelRow } from './types.ts';

const most = 3;
/** Shares of a step that are worth a line. */
const worth = 0.05;

interface Finding {
  /** Milliseconds of a step that could be had. */
  saves: number;
  line: string;
}

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
const time = (milliseconds: number): string => `${Number(milliseconds.toPrecision(3))} ms`;

/** Lines for a profile whose other fields are filled in. */
export function adviceOn({ kernels, step, timing, peaks, configuration }: Omit<GpuProfile, 'advice'>): string[] {
  const found: Finding[] = [];
  const wall = step.wall.median;
  if (step.idleShare > worth) {
    const why = step.host.median > 0.7 * step.wall.median
      ? `the host needs ${time(step.host.median)} a step to upload and record: a larger --batch-size gives it fewer steps`
      : step.readbacks > 1 ? `${step.readbacks.toFixed(0)} readbacks a step are waited for: more rows at a time make fewer` : 'steps are too short for the way there and back: a larger --batch-size';
    found.push({ saves: step.idle, line: `the GPU waits ${percent(step.idleShare)} of a step; ${why}` });
  }
  for (const row of kernels.slice(0, 3)) {
    const line = farFromFloor(row);
    if (line !== undefined) found.push({ saves: row.time.median - row.floor!, line });
  }
  const small = kernels.filter(({ bound }) => bound === 'launch');
  const inLaunches = small.reduce((sum, { time: { median } }) => sum + median, 0);
  if (inLaunches > worth * wall) {
    const calls = small.reduce((sum, row) => sum + row.calls, 0);
    found.push({ saves: inLaunches / 2, line: `${calls.toFixed(0)} dispatches of ${small.length} kernels do less than a launch costs (${time(peaks.launch)} each, ${percent(inLaunches / wall)} of a step): larger batches, or kernels made one` });
  }
  const uploading = step.uploaded / 1e6 / peaks.gigabytes; // at the least
  if (uploading > worth * wall) found.push({ saves: uploading, line: `a step uploads ${(step.uploaded / 1e6).toFixed(1)} MB, which takes memory ${time(uploading)} at its best: many SAEs on one stream (--saes of train) share it` });
  const { drift = 1 } = step;
  if (Math.abs(drift - 1) > 0.1) {
    found.push({ saves: Math.abs(drift - 1) * wall, line: `the last third of the steps took ${drift.toFixed(2)} x the first: the machine is ${drift > 1 ? 'getting hot, or' : 'warming up, or'} busy with something else; more --steps tell` });
  }
  if (timing.dropped > 0) found.push({ saves: 0, line: `${timing.dropped} timestamps were absurd and are left out; the driver is to blame` });
  if (found.length === 0 && configuration['d_sae'] !== undefined) found.push({ saves: 0, line: 'nothing stands out: kernels are near their floors and the GPU is busy' });
  return found.sort((a, b) => b.saves - a.saves).slice(0, most).map(({ line }) => line);
}

/** Of a kernel that takes much and is far from what it must. */
function farFromFloor({ kernel, share, bound, floor, overFloor, time: { median }, gflops, gigabytes }: KernelRow): string | undefined {
  if (floor === undefined || overFloor === undefined || bound === 'launch' || share < 2 * worth || overFloor < 1.5) return undefined;
  const rate = bound === 'compute' ? `${gflops!.toPrecision(3)} GFLOP/s` : `${gigabytes!.toPrecision(3)} GB/s`;
  return `${kernel} takes ${percent(share)} of the kernels' time at ${overFloor.toFixed(1)} x its floor (${time(median)}, ${rate}; ${bound} allows ${time(floor)})`;
}

export function adviceOnExtraction({ stages, clips }: Omit<ExtractionProfile, 'advice'>): string[] {
  const [largest] = Object.entries(stages).sort((a, b) => b[1].total - a[1].total);
  if (!largest || clips.length === 0) return [];
  const [stage, { share }] = largest;
  const what: Record<string, string> = {
    model: 'a smaller model, an earlier --hook (what lies behind it is not computed) or more --threads',
    decode: 'wav or flac instead of what is decoded by WebAssembly', resample: 'recordings at the model\'s own rate', features: 'nothing that a flag would change',
    write: 'a faster disk, or --dtype f16',
  };
  return [`${stage} takes ${percent(share)} of the work: ${what[stage]} would help most`];
}
