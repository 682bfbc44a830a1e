/** What profiles become: comparisons, pictures, advice. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { TimedCommand } from '../../src/gpu/index.ts';
import { CochleaError } from '../../src/errors.ts';
import { adviceOn } from '../../src/profile/advice.ts';
import { compareProfiles, type GpuProfile, readProfile, roofline, traceOf } from '../../src/profile/index.ts';
import { kernelRows, ratesOf } from '../../src/profile/kernels.ts';
import { quantile } from '../../src/profile/spread.ts';
import { timelineOf } from '../../src/profile/timeline.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-profile-'));
after(() => rmSync(folder, { recursive: true }));

const peaks = { gflops: 100, gigabytes: 10, launch: 0.01 };
const spread = (median: number, half = 0) => ({ median, p10: median - half, p90: median + half });

/** A kernel whose times are known, with a cost given. */
function row(kernel: string, time: ReturnType<typeof spread>, { flops = 1e8, bytes = 1e7, calls = 1 } = {}): GpuProfile['kernels'][number] {
  return { kernel, variant: '', calls, workgroups: 1, flops, bytes, time, share: 0, ...ratesOf({ flops, bytes, launches: calls, milliseconds: time.median }, peaks) };
}

function profile(kernels: GpuProfile['kernels'], changes: Partial<GpuProfile> = {}): GpuProfile {
  const busy = kernels.reduce((sum, { time }) => sum + time.median, 0);
  kernels.forEach((one) => one.share = one.time.median / busy);
  return {
    format: 'cochlea-profile', version: 1, kind: 'training', cochlea: '1', runtime: 'node 20', adapter: { vendor: '', architecture: '', device: '', description: 'An <adapter> & more', software: true },
    features: [], limits: {}, configuration: { architecture: 'topk', d_sae: 64 }, timing: { mode: 'exact', tick: 1, note: '', dropped: 0 }, peaks, steps: 30, warmUp: 3, kernels,
    step: {
      busy: spread(busy), wall: spread(busy * 1.01), watchedWall: spread(busy), window: 1, overhead: 1, idle: busy * 0.01, idleShare: 0.01, host: spread(0.1), drift: 1, rows: 8, rowsPerSecond: 1,
      rowsPerSecondWithoutIdle: 1, submissions: 1, passes: 1, dispatches: 4, uploaded: 0, readBack: 0, readbacks: 0,
    },
    memory: {}, compilation: [], sameBits: true, compared: 'state', advice: [], ...changes,
  };
}

test('a change counts when medians are farther apart than the noise of both runs', () => {
  const before = profile([row('same', spread(10, 3)), row('slow', spread(10, 0.3)), row('fast', spread(10, 0.3)), row('edge', spread(10, 3)), row('gone', spread(1))]);
  const after = profile([row('same', spread(13, 4)), row('slow', spread(10.6, 0.4)), row('fast', spread(9, 0.4)), row('edge', spread(15, 4)), row('new', spread(2))]);
  const { changes, differences } = compareProfiles(before, after);
  const verdicts = Object.fromEntries(changes.map(({ what, verdict }) => [what, verdict]));
  assert.deepEqual({ ...verdicts, busy: undefined, wall: undefined }, {
    same: 'within noise', slow: 'slower', fast: 'faster', edge: 'within noise', gone: 'gone', new: 'new', busy: undefined, wall: undefined,
  });
  const slow = changes.find(({ what }) => what === 'slow')!;
  assert.ok(Math.abs(slow.band - 0.5) < 1e-12 && Math.abs(slow.ratio! - 1.06) < 1e-12);
  assert.deepEqual(changes.slice(0, 3).map(({ what }) => what), ['busy', 'wall', 'edge'], 'the largest change first');
  assert.deepEqual(differences, []);
  const elsewhere = profile(after.kernels, { runtime: 'deno 2', configuration: { architecture: 'topk', d_sae: 128 } });
  assert.deepEqual(compareProfiles(before, elsewhere).differences, ['runtime: node 20 before, deno 2 now', 'd_sae: 64 before, 128 now']);
});

test('what --against is given is read whole or refused in one line', async () => {
  const path = join(folder, 'earlier.json');
  const earlier = profile([row('adam', spread(1))]);
  const give = (content: unknown): void => writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  give(earlier);
  assert.deepEqual(await readProfile(path), JSON.parse(JSON.stringify(earlier)));
  const refused: [unknown, RegExp][] = [
    ['{"format":', /is not JSON/], ['null', /is no profile/], [{ ...earlier, format: 'other' }, /is no profile/], [{ ...earlier, version: 2 }, /version 2, not 1/],
    [{ ...earlier, kind: 'extraction' }, /have no kernels/], [{ ...earlier, kernels: [{ kernel: 'adam', variant: '' }] }, /lacks kernels, their times/],
    [{ ...earlier, step: {} }, /lacks/], [{ ...earlier, adapter: undefined }, /lacks/], [{ ...earlier, timing: null }, /what they were measured on/], [{ ...earlier, configuration: null }, /lacks/],
  ];
  for (const [content, why] of refused) {
    give(content);
    await assert.rejects(readProfile(path), (error) => error instanceof CochleaError && error.code === 'file-damaged' && why.test(error.message) && error.message.includes(path) && !error.message.includes('\n'));
  }
  await assert.rejects(readProfile(join(folder, 'nothing.json')), (error) => error instanceof CochleaError && error.code === 'file-missing');
});

test('what bounds a kernel is the largest of arithmetic, memory and launches', () => {
  const rates = (flops: number, bytes: number, launches: number) => ratesOf({ flops, bytes, launches, milliseconds: 4 }, peaks);
  assert.deepEqual(rates(2e8, 1e7, 1), { gflops: 50, gigabytes: 2.5, intensity: 20, bound: 'compute', floor: 2, overFloor: 2 });
  assert.deepEqual(rates(5e7, 1e7, 1), { gflops: 12.5, gigabytes: 2.5, intensity: 5, bound: 'bandwidth', floor: 1, overFloor: 4 });
  assert.deepEqual(rates(0, 1000, 8), { gflops: 0, gigabytes: 0.00025, intensity: 0, bound: 'launch', floor: 0.08, overFloor: 50 });
  assert.deepEqual([quantile([3, 1, 2], 0.5), quantile([1, 2], 0.9), quantile([], 0.5)], [2, 1.9, NaN]);
});

function command(kernel: string, step: number, begin: number, end: number, more: Partial<TimedCommand> = {}): TimedCommand {
  return { kernel, constants: {}, parameters: { quads: 25 }, bound: {}, grid: [1, 1], share: 1, bytes: 0, step, submission: step, begin, end, ...more };
}

test('rows sum a kernel\'s dispatches of each step; a time that was dropped counts as the mean of the others', () => {
  const commands = [
    command('add_rows', 0, 0, 1e6), command('add_rows', 0, 1e6, 3e6), command('clear', 0, 3e6, 3.5e6, { bytes: 400, grid: [0, 0] }),
    command('add_rows', 1, 4e6, 6e6), command('add_rows', 1, NaN, NaN), command('clear', 1, 7e6, 7.5e6, { bytes: 400, grid: [0, 0] }),
  ];
  const [first, second] = kernelRows(commands, [0, 1], peaks, { tick: 2, mode: 'calibrated' });
  const mean = (2 * (1 + 2 + 2)) / 3; // milliseconds, at two nanoseconds a tick
  assert.equal(first!.kernel, 'add_rows');
  assert.ok(Math.abs(first!.time.median - (6 + 4 + mean) / 2) < 1e-9);
  assert.deepEqual([first!.calls, first!.flops, first!.bytes, second!.kernel, second!.bytes, second!.time.median], [2, 400, 2400, 'clear', 400, 1]);
  const strange = kernelRows([command('not ours', 0, 0, 1e6)], [0], peaks, { tick: 1, mode: 'exact' })[0]!;
  assert.deepEqual([strange.flops, strange.floor, strange.bound, strange.time.median], [undefined, undefined, undefined, 1]);
});

test('in a trace no kernel runs before it was submitted, and dropped times are left out', () => {
  const submission = (step: number, submitted: number) => ({ step, recordBegan: submitted - 2, recordEnded: submitted - 1, submitted, dispatches: 1, passes: 1 });
  const { spans, samples } = timelineOf({
    commands: [command('adam', 0, 5e6, 6e6), command('adam', 1, 8e6, 9e6), command('adam', 1, NaN, NaN)], submissions: [submission(0, 100), submission(1, 104)],
    uploads: [{ step: 0, bytes: 2e6, began: 98.5, ended: 98.5 }], readbacks: [{ step: 1, bytes: 8, began: 105, ended: 106 }], tick: 1, began: [98, 102], samples: [{ name: 'loss', at: 98, value: NaN }], timing: 'timestamps',
  });
  assert.deepEqual(spans.filter(({ track }) => track === 'GPU kernels').map(({ began, ended }) => [began, ended]), [[101, 102], [104, 105]]);
  assert.deepEqual(samples.filter(({ name }) => name === 'uploaded MB').map(({ value }) => value), [2, 0]);
  const { traceEvents } = JSON.parse(traceOf({ spans, samples })) as { traceEvents: { name: string; ts?: number }[] };
  assert.ok(!traceEvents.some(({ name }) => name === 'loss') && Math.min(...traceEvents.flatMap(({ ts }) => ts ?? [])) === 0);
});

/** Throws unless every tag is closed by its own, attributes are quoted and nothing is left unescaped: a small part of XML, the one that is written. */
function checkXml(text: string): Map<string, number> {
  const open: string[] = [], counts = new Map<string, number>();
  const rest = text.replace(/<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/gi, (_, closing: string, name: string, __, alone: string) => {
    if (closing) assert.equal(open.pop(), name);
    else counts.set(name, (counts.get(name) ?? 0) + 1);
    if (!closing && !alone) open.push(name);
    return '';
  });
  assert.deepEqual(open, []);
  assert.ok(!/[<>]/.test(rest) && !/&(?!amp;|lt;|gt;|quot;)/.test(text), 'something is not escaped');
  assert.ok(!/NaN|undefined|Infinity/.test(text), 'a number is none');
  return counts;
}

test('the roofline is well-formed, with a dot for each kernel that computes and the others by name', () => {
  const kernels = [row('encode', spread(9), { flops: 8e8 }), row('adam', spread(3)), row('a <b> & "c"', spread(1), { bytes: 1e3 }), row('scan', spread(0.5), { flops: 0 }), row('tiny', spread(0.001), { flops: 1, bytes: 4 })];
  const svg = roofline(profile(kernels));
  const counts = checkXml(svg);
  assert.equal(counts.get('circle'), 4 + 3); // and three in the legend
  assert.match(svg, /without floating point: scan</);
  assert.match(svg, /a &lt;b&gt; &amp; &quot;c&quot;/);
  const places = [...svg.matchAll(/<circle class="\w+" cx="([\d.-]+)" cy="([\d.-]+)"/g)].slice(3).map(([, x, y]) => [Number(x), Number(y)]);
  assert.ok(places.every(([x, y]) => x! >= 84 && x! <= 930 && y! >= 86 && y! <= 546.1), JSON.stringify(places));
  checkXml(roofline(profile([row('scan', spread(1), { flops: 0 })])));
});

test('advice follows from the numbers, and is at most three lines', () => {
  const calm = profile([row('encode', spread(1.05)), row('adam', spread(1.02))]);
  assert.match(adviceOn(calm).join('\n'), /^nothing stands out/);
  const idle = profile(calm.kernels, { step: { ...calm.step, idle: 2, idleShare: 0.5, host: spread(3), wall: spread(4) } });
  assert.match(adviceOn(idle)[0]!, /the GPU waits 50 % of a step; the host needs 3 ms a step/);
  const far = profile([row('decode', spread(8))]);
  assert.match(adviceOn(far)[0]!, /decode takes 100 % of the kernels' time at 8\.0 x its floor \(8 ms, 12\.5 GFLOP\/s|decode takes 100 % of the kernels' time at 8\.0 x its floor \(8 ms, 1\.25 GB\/s/);
  const launches = profile([row('encode', spread(1.05)), row('scan', spread(1), { flops: 0, bytes: 8, calls: 50 })]);
  assert.match(adviceOn(launches)[0]!, /50 dispatches of 1 kernels do less than a launch costs/);
  const everything = profile([row('a', spread(8)), row('b', spread(8)), row('c', spread(8))], { step: { ...idle.step, drift: 1.5 }, timing: { ...calm.timing, dropped: 3 } });
  assert.equal(adviceOn(everything).length, 3);
});
