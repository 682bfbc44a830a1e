/** What happened when, on the host and on the GPU, and the file of it that Perfetto and chrome://tracing open. */
import type { TimedCommand, Timing, TracedSubmission, Transfer } from '../gpu/index.ts';
import { variantOf } from './kernels.ts';
import type { Sample, Span, Timeline } from './types.ts';

interface Seen {
  commands: readonly TimedCommand[];
  /** All of the profiler's: commands count from the first. */
  submissions: readonly TracedSubmission[];
  uploads: readonly Transfer[];
  readbacks: readonly Transfer[];
  /** Nanoseconds. */
  tick: number;
  /** When each step began on the host. */
  began: readonly number[];
  samples: readonly Sample[];
  timing: Timing;
}

export const gpuTrack = 'GPU kernels';

/**
 * Spans of both sides. The two clocks have nothing in common, so GPU times are moved by the least that lets no command run before it was
 * submitted.
 */
export function timelineOf({ commands, submissions, uploads, readbacks, tick, began, samples, timing }: Seen): Timeline {
  const spans: Span[] = [];
  const used = [...new Set(commands.map(({ submission }) => submission))];
  for (const n of used) {
    const { step, recordBegan, recordEnded, submitted, dispatches } = submissions[n]!;
    spans.push({ track: 'record', name: `step ${step}`, began: recordBegan, ended: recordEnded, details: { dispatches } });
    if (timing === 'timestamps') spans.push({ track: 'submit', name: `step ${step}`, began: recordEnded, ended: submitted });
  }
  for (const { step, bytes, began: from, ended } of readbacks) spans.push({ track: 'map', name: `read back, step ${step}`, began: from, ended, details: { bytes } });
  const whole = commands.filter(({ begin, end }) => Number.isFinite(begin) && Number.isFinite(end));
  const milliseconds = tick / 1e6;
  const shift = timing === 'wall' ? 0 : whole.reduce((most, { submission, begin }) => Math.max(most, submissions[submission]!.submitted - begin * milliseconds), -Infinity);
  for (const { kernel, constants, begin, end, step, grid } of whole) {
    const details: Record<string, string | number> = { step, workgroups: grid[0] * grid[1] };
    if (Object.keys(constants).length > 0) details['variant'] = variantOf(constants);
    spans.push({ track: gpuTrack, name: kernel, began: begin * milliseconds + shift, ended: end * milliseconds + shift, details });
  }
  const uploaded = began.map((at, n) => {
    const next = began[n + 1] ?? Infinity;
    return { name: 'uploaded MB', at, value: uploads.filter((one) => one.began >= at && one.began < next).reduce((sum, { bytes }) => sum + bytes / 1e6, 0) };
  });
  return { spans, samples: [...samples, ...uploaded] };
}

/** The Trace Event Format, complete events and counters, in microseconds from the first: https://ui.perfetto.dev opens it. */
export function traceOf({ spans, samples }: Timeline): string {
  const zero = [...spans.map(({ began }) => began), ...samples.map(({ at }) => at)].reduce((least, at) => Math.min(least, at), Infinity);
  const microseconds = (at: number): number => Number(((at - zero) * 1000).toFixed(3));
  const tracks = [...new Set(spans.map(({ track }) => track))];
  const place = (track: string): { pid: number; tid: number } => ({ pid: track === gpuTrack ? 2 : 1, tid: tracks.indexOf(track) + 1 });
  const names = [
    ...[[1, 'CPU'], [2, 'GPU']].map(([pid, name]) => ({ ph: 'M', name: 'process_name', pid, tid: 0, args: { name } })),
    ...tracks.map((track) => ({ ph: 'M', name: 'thread_name', ...place(track), args: { name: track } })),
  ];
  const events = [
    ...spans.map(({ track, name, began, ended, details }) => (
      { ph: 'X', name, cat: track, ...place(track), ts: microseconds(began), dur: Number((Math.max(0, ended - began) * 1000).toFixed(3)), ...(details && { args: details }) })),
    ...samples.filter(({ value }) => Number.isFinite(value)).map(({ name, at, value }) => ({ ph: 'C', name, pid: 1, tid: 0, ts: microseconds(at), args: { value } })),
  ].sort((a, b) => a.ts - b.ts);
  return `${JSON.stringify({ displayTimeUnit: 'ms', traceEvents: [...names, ...events] })}\n`;
}
