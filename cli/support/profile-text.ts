/** Profiles as people read them. */
import { type Comparison, type ExtractionProfile, type GpuProfile, type KernelRow, stages } from '../../src/profile/index.ts';
import { table } from './console.ts';

/** Kernels that are shown one by one; the rest is summed. */
const shown = 24;

/** Three significant digits, without an exponent. */
function short(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '-';
  return value !== 0 && Math.abs(value) < 0.0005 ? '0' : Number(value.toPrecision(3)).toString();
}

const milliseconds = (value: number | undefined): string => (value === undefined ? '-' : value.toFixed(value < 0.01 ? 4 : value < 10 ? 3 : value < 1000 ? 1 : 0));
const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
const spread = ({ median, p10, p90 }: { median: number; p10: number; p90: number }): string => `${milliseconds(median)} ms (p10 ${milliseconds(p10)}, p90 ${milliseconds(p90)})`;

function size(bytes: number): string {
  const [unit, factor] = bytes >= 2 ** 30 ? ['GiB', 2 ** 30] : bytes >= 2 ** 20 ? ['MiB', 2 ** 20] : bytes >= 1024 ? ['KiB', 1024] : ['B', 1];
  return `${short(bytes / Number(factor))} ${unit}`;
}

const variantTo = 44;

function kernelTable(kernels: readonly KernelRow[]): string {
  const head = ['kernel', 'calls', 'ms', 'share', 'GFLOP/s', 'GB/s', 'FLOP/B', 'floor ms', 'x floor', 'bound', 'variant'];
  const line = ({ kernel, variant, calls, time, share, gflops, gigabytes, intensity, bound, floor, overFloor }: KernelRow): string[] => [
    kernel, short(calls), milliseconds(time.median), percent(share), short(gflops), short(gigabytes), short(intensity), milliseconds(floor), short(overFloor), bound ?? '-',
    variant.length > variantTo ? `${variant.slice(0, variantTo - 3)}...` : variant,
  ];
  const rest = kernels.slice(shown);
  const others = rest.length === 0 ? [] : [[
    `${rest.length} more`, short(rest.reduce((sum, { calls }) => sum + calls, 0)), milliseconds(rest.reduce((sum, { time }) => sum + time.median, 0)),
    percent(rest.reduce((sum, row) => sum + row.share, 0)), '-', '-', '-', '-', '-', '-', '',
  ]];
  return table([head, ...kernels.slice(0, shown).map(line), ...others]);
}

export function describeProfile(found: GpuProfile): string {
  const { cochlea, runtime, adapter, features, limits, timing, peaks, configuration, steps, warmUp, kernels, step, memory, compilation, sameBits, compared, advice } = found;
  const bytes = Object.values(memory).reduce((sum, one) => sum + one, 0);
  const largest = Object.entries(memory).slice(0, 8).map(([label, one]) => `${label} ${size(one)}`).join(', ');
  const compiling = compilation.reduce((sum, { call, firstRun }) => sum + call + firstRun, 0);
  const slowest = compilation.slice(0, 3).map(({ kernel, call, firstRun }) => `${kernel} ${milliseconds(call + firstRun)}`).join(', ');
  const limitLine = Object.entries(limits).map(([name, value]) => `${name} ${/Size$/.test(name) ? size(value) : value}`).join(', ');
  return [
    table([
      ['cochlea', `${cochlea}, ${runtime}`],
      ['adapter', `${[adapter.vendor, adapter.architecture, adapter.device, adapter.description].filter((part) => part !== '').join(' / ')}${adapter.software ? ' (software)' : ''}`],
      ['features', features.join(', ') || 'none'],
      ['limits', limitLine],
      ['peaks', `${short(peaks.gflops)} GFLOP/s, ${short(peaks.gigabytes)} GB/s, ${milliseconds(peaks.launch)} ms a launch, measured here`],
      ['clock', timing.note],
      [found.kind, `${Object.entries(configuration).map(([name, value]) => `${name} ${value}`).join(', ')}; ${steps} steps after ${warmUp}`],
    ]),
    '',
    kernelTable(kernels),
    '',
    table([
      ['GPU busy', `${spread(step.busy)} a step`],
      ['step', `${spread(step.wall)}${step.window > 1 ? `, over ${step.window} steps at a time` : ''}; ${short(step.rowsPerSecond)} rows/s, ${short(step.rowsPerSecondWithoutIdle)} if the GPU never waited`],
      ['GPU idle', `${milliseconds(step.idle)} ms, ${percent(step.idleShare)}`],
      ['CPU', `${spread(step.host)} to upload, record and submit`],
      ['a step has', `${short(step.dispatches)} dispatches in ${short(step.passes)} passes and ${short(step.submissions)} submissions; ${size(step.uploaded)} up, ${size(step.readBack)} down in ${short(step.readbacks)} readbacks`],
      ['memory', `${size(bytes)}: ${largest}`],
      ['compiling', `${milliseconds(compiling)} ms for ${compilation.length} pipelines: ${slowest}`],
      ['profiling', `${spread(step.watchedWall)} a step, ${step.overhead.toFixed(2)} x unwatched; ${sameBits ? `the same bits (${compared})` : `NOT the same bits (${compared})`}${timing.dropped > 0 ? `; ${timing.dropped} times dropped` : ''}`],
      ...(step.drift === undefined ? [] : [['drift', `last third ${step.drift.toFixed(3)} x the first`]]),
    ]),
    ...(advice.length > 0 ? ['', ...advice.map((line) => `* ${line}`)] : []),
  ].join('\n');
}

export function describeComparison({ differences, changes }: Comparison): string {
  const outside = changes.filter(({ verdict }) => verdict !== 'within noise');
  const rows = changes.map(({ what, before, after, ratio, band, verdict }) => [
    what, milliseconds(before), milliseconds(after), ratio === undefined ? '-' : ratio.toFixed(3), milliseconds(band), verdict,
  ]);
  return [
    '',
    ...differences.map((line) => `not the same conditions: ${line}`),
    table([['against', 'ms before', 'ms now', 'ratio', 'noise ms', 'verdict'], ...rows]),
    outside.length === 0 ? 'nothing changed by more than noise' : `outside of noise: ${outside.map(({ what, verdict }) => `${what} ${verdict}`).join(', ')}`,
  ].join('\n');
}

export function describeExtraction(found: ExtractionProfile): string {
  const { cochlea, runtime, configuration, open, clips, stages: ofStages, speed, framesPerSecond, skipped, advice } = found;
  const rows = clips.slice(0, shown).map(({ id, seconds, frames, times }) => [id, seconds.toFixed(2), String(frames), ...stages.map((stage) => milliseconds(times[stage]))]);
  return [
    table([
      ['cochlea', `${cochlea}, ${runtime}`],
      ['extraction', Object.entries(configuration).map(([name, value]) => `${name} ${value}`).join(', ')],
    ]),
    '',
    table([
      ['clip', 'seconds', 'frames', ...stages.map((stage) => `${stage} ms`)],
      ...rows,
      [`all ${clips.length}`, '-', '-', ...stages.map((stage) => milliseconds(ofStages[stage].total))],
      ['share', '-', '-', ...stages.map((stage) => percent(ofStages[stage].share))],
    ]),
    '',
    `opening the model ${milliseconds(open)} ms; then ${short(framesPerSecond)} frames/s, sound at ${speed.toFixed(1)} x real time`,
    ...skipped.map((line) => `skipped ${line}`),
    ...advice.map((line) => `* ${line}`),
  ].join('\n');
}
