/** Event files of TensorBoard, read by a parser of the test's own that knows the formats and nothing of the writer. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { CochleaError } from '../../src/errors.ts';
import { writeEventFiles } from '../../src/jobs/tensorboard.ts';
import { MetricsLog } from '../../src/training/metrics-log.ts';
import type { StepMetrics } from '../../src/training/step-metrics.ts';
import { crc32c, wallTimes } from '../../src/training/tensorboard.ts';
import { python, withoutPython } from '../support/python.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-tensorboard-'));
after(() => rmSync(folder, { recursive: true }));

/** CRC-32C bit by bit, from the polynomial as the RFC writes it, unreflected. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const incoming = BigInt((byte >> bit) & 1);
      const top = (crc >> 31n) & 1n;
      crc = ((crc << 1n) & 0xffffffffn) ^ (incoming === top ? 0n : 0x1edc6f41n);
    }
  }
  let reflected = 0n;
  for (let bit = 0n; bit < 32n; bit++) if (crc & (1n << bit)) reflected |= 1n << (31n - bit);
  return Number(reflected ^ 0xffffffffn);
}

const unmask = (stored: number): number => {
  const rotated = (stored - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
};

interface Read {
  wallTime: number;
  step: number;
  version?: string;
  scalars: Record<string, number>;
}

/** Every field of a message: [number, value]; bytes as they are. */
function messageFields(bytes: Uint8Array): [number, number | Uint8Array][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: [number, number | Uint8Array][] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0n, shift = 0n;
    for (;; shift += 7n) {
      const byte = view.getUint8(at++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  };
  while (at < bytes.length) {
    const key = varint();
    if ((key & 7) === 0) found.push([key >> 3, varint()]);
    else if ((key & 7) === 1) found.push([key >> 3, view.getFloat64((at += 8) - 8, true)]);
    else if ((key & 7) === 5) found.push([key >> 3, view.getFloat32((at += 4) - 4, true)]);
    else {
      assert.equal(key & 7, 2);
      const length = varint();
      assert.ok(at + length <= bytes.length);
      found.push([key >> 3, bytes.subarray(at, at += length)]);
    }
  }
  return found;
}

function readEvents(path: string): Read[] {
  const bytes = new Uint8Array(readFileSync(path));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const events: Read[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    assert.equal(unmask(view.getUint32(at + 8, true)), checksum(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    assert.equal(unmask(view.getUint32(at + 12 + length, true)), checksum(data));
    at += 16 + length;
    const fields = new Map(messageFields(data));
    const text = (value: number | Uint8Array): string => new TextDecoder().decode(value as Uint8Array);
    const scalars = fields.has(5) ? messageFields(fields.get(5) as Uint8Array).map(([number, value]) => {
      assert.equal(number, 1);
      const [tag, simple] = messageFields(value as Uint8Array);
      assert.deepEqual([tag![0], simple![0]], [1, 2]);
      return [text(tag![1]), simple![1] as number];
    }) : [];
    events.push({
      wallTime: fields.get(1) as number, step: (fields.get(2) ?? 0) as number, ...(fields.has(3) && { version: text(fields.get(3)!) }), scalars: Object.fromEntries(scalars),
    });
  }
  return events;
}

const metrics = (step: number): StepMetrics => ({
  step, learningRate: 3e-4, overallLoss: 1 / step, losses: { mse_loss: 0.9 / step, auxiliary_reconstruction_loss: 0.1 / step }, coefficients: { l1: step / 1000 },
  explainedVariance: step === 7 ? -Infinity : 0.5, explainedVarianceLegacy: NaN, l0: 32, dead: 3, meanPassesSinceFired: 1.5, gradientNorm: 0.25, topkThreshold: 0.125,
});

const files = (name: string): string[] => readdirSync(join(folder, name)).filter((file) => file !== 'metrics.jsonl');
const eventsOf = (name: string): Read[] => readEvents(join(folder, name, files(name)[0]!));

async function run(name: string, from: number, to: number, tensorboard = true): Promise<void> {
  const log = await MetricsLog.open(join(folder, name, 'metrics.jsonl'), 5, from, 1_000_000, { tensorboard });
  for (let step = from + 1; step <= to; step++) await log.add(metrics(step));
  await log.flush();
}

test('checksums are those of RFC 3720', () => {
  const vectors: [Uint8Array, number][] = [
    [new Uint8Array(32), 0x8a9136aa], [new Uint8Array(32).fill(255), 0x62a8ab43], [Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    [Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c], [new TextEncoder().encode('123456789'), 0xe3069283], [new Uint8Array(0), 0],
  ];
  for (const [bytes, crc] of vectors) assert.deepEqual([crc32c(bytes), checksum(bytes)], [crc, crc]);
});

describe('an event file', () => {
  test('holds what metrics.jsonl holds, under the same names, as float32', async () => {
    const before = Date.now() / 1000;
    await run('one', 0, 30);
    assert.equal(files('one').length, 1);
    // TensorBoard looks for `tfevents` in a name, and takes what follows for a time.
    assert.match(files('one')[0]!, /^events\.out\.tfevents\.\d{10}\.cochlea$/);
    const [head, ...events] = eventsOf('one');
    assert.deepEqual([head!.version, head!.step, head!.scalars], ['brain.Event:2', 0, {}]);
    const lines = readFileSync(join(folder, 'one', 'metrics.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, number | null>);
    assert.deepEqual(events.map(({ step }) => step), [1, 5, 10, 15, 20, 25, 30]);
    for (const [n, { step, wallTime, scalars }] of events.entries()) {
      const { step: logged, ...values } = lines[n]!;
      assert.equal(step, logged);
      assert.deepEqual(Object.keys(scalars), Object.keys(values));
      for (const [tag, value] of Object.entries(values)) assert.deepEqual(scalars[tag], value === null ? NaN : Math.fround(value), tag);
      assert.ok(wallTime >= before && wallTime <= Date.now() / 1000);
    }
    assert.deepEqual(Object.keys(events[0]!.scalars), [
      'details/current_learning_rate', 'losses/overall_loss', 'losses/mse_loss', 'losses/auxiliary_reconstruction_loss', 'metrics/explained_variance', 'metrics/explained_variance_legacy',
      'metrics/l0', 'metrics/topk_threshold', 'sparsity/dead_features', 'sparsity/mean_passes_since_fired', 'details/gradient_norm', 'details/l1_coefficient',
    ]);
  });

  test('of large steps and infinite numbers', async () => {
    const log = await MetricsLog.open(join(folder, 'large', 'metrics.jsonl'), 1, 0, 2 ** 40, { tensorboard: true });
    for (const step of [1, 127, 128, 2 ** 35 + 7]) await log.add({ ...metrics(step), overallLoss: -Infinity });
    await log.flush();
    assert.deepEqual(eventsOf('large').map(({ step }) => step), [0, 1, 127, 128, 2 ** 35 + 7]);
    assert.equal(eventsOf('large')[1]!.scalars['losses/overall_loss'], -Infinity);
  });

  test('goes on where the run goes on: later steps go, earlier ones keep their times', async () => {
    await run('resumed', 0, 20);
    const before = eventsOf('resumed');
    await run('resumed', 12, 25);
    const after = eventsOf('resumed');
    assert.equal(files('resumed').length, 1);
    assert.deepEqual(after.map(({ step }) => step), [0, 1, 5, 10, 15, 20, 25]);
    assert.deepEqual(after.slice(1, 4), before.slice(1, 4));
    assert.ok(after[4]!.wallTime >= before.at(-1)!.wallTime);
    // Begun anew, it has nothing of the old run.
    await run('resumed', 0, 5);
    assert.deepEqual(eventsOf('resumed').map(({ step }) => step), [0, 1, 5]);
  });

  test('asked for later, or damaged, is made of metrics.jsonl', async () => {
    await run('later', 0, 20, false);
    assert.deepEqual(files('later'), []);
    await run('later', 10, 15);
    assert.deepEqual(eventsOf('later').map(({ step }) => step), [0, 1, 5, 10, 15]);
    const path = join(folder, 'later', files('later')[0]!);
    const bytes = readFileSync(path);
    for (const damaged of [bytes.subarray(0, -3), Buffer.concat([bytes.subarray(0, 60), Buffer.alloc(40, 255)]), Buffer.alloc(0)]) {
      writeFileSync(path, damaged);
      await run('later', 15, 20);
      assert.deepEqual(eventsOf('later').map(({ step }) => step), [0, 1, 5, 10, 15, 20]);
      assert.ok(eventsOf('later').every(({ wallTime }) => wallTime > 1e9));
    }
    // Wherever it was cut, the times before are read and nothing else.
    const whole = wallTimes(bytes);
    for (let at = 0; at < bytes.length; at += 7) for (const [step, time] of wallTimes(bytes.subarray(0, at))) assert.equal(time, whole.get(step));
  });

  test('has the same bytes but for its times', async () => {
    await run('again', 0, 30);
    const timeless = (name: string): Omit<Read, 'wallTime'>[] => eventsOf(name).map(({ wallTime: _, ...rest }) => rest);
    assert.deepEqual(timeless('again'), timeless('one'));
    assert.equal(readFileSync(join(folder, 'again', files('again')[0]!)).length, readFileSync(join(folder, 'one', files('one')[0]!)).length);
  });

  test('is read by Python\'s standard library', { skip: withoutPython() }, () => {
    const said = python('read_events.py', join(folder, 'one', files('one')[0]!)).trimEnd().split('\n').map((line) => JSON.parse(line.replaceAll('NaN', 'null')) as { step: number; scalars?: Record<string, number | null>; file_version?: string });
    const expected = eventsOf('one');
    assert.deepEqual(said.map(({ step }) => step), expected.map(({ step }) => step));
    assert.equal(said[0]!.file_version, 'brain.Event:2');
    for (const [n, { scalars }] of expected.entries()) {
      if (n > 0) assert.deepEqual(said[n]!.scalars, Object.fromEntries(Object.entries(scalars).map(([tag, value]) => [tag, Number.isNaN(value) ? null : value])));
    }
  });
});

test('event files are written of runs that have none, of one SAE and of many, the same each time', async () => {
  for (const name of ['many/a', 'many/b', 'single']) await run(name, 0, 10, false);
  const [single] = await writeEventFiles(join(folder, 'single'));
  assert.equal(single, join(folder, 'single', files('single')[0]!));
  const bytes = readFileSync(single!);
  assert.deepEqual(await writeEventFiles(join(folder, 'single')), [single]);
  assert.deepEqual(readFileSync(single!), bytes);
  assert.deepEqual((await writeEventFiles(join(folder, 'many'))).length, 2);
  assert.deepEqual(eventsOf('many/b').map(({ step }) => step), [0, 1, 5, 10]);
  await assert.rejects(writeEventFiles(join(folder, 'nothing')), (error: CochleaError) => error.code === 'file-missing' && /no metrics\.jsonl: name the --out/.test(error.line));
});
