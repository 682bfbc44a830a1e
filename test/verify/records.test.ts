/** The canonical job on this machine's software adapter: twice, and against the record that is kept of it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Gpu } from '../../src/gpu/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { ensureAdapter } from '../../src/runtime/adapters.ts';
import { compareRecords, parseRecord, pinVariants, recordText, runJob, type VerifyRecord } from '../../src/verify/index.ts';
import { cochlea } from '../support/cli.ts';
import { held, keptName, keptPath, keptRecord, stepsOfTests, version } from '../support/verify-records.ts';

describe('the canonical job', () => {
  let gpu: Gpu, record: VerifyRecord;
  before(async () => {
    await ensureAdapter();
    gpu = await Gpu.open();
    const adapter = keptName(gpu.adapter), kept = adapter && keptRecord(adapter, runtime.name);
    if (kept) pinVariants(gpu, kept);
    record = await runJob(gpu, { cochlea: version, steps: stepsOfTests });
  });
  after(() => gpu.dispose());

  test('leaves the bits of the record that is kept of this adapter in this runtime', (t) => {
    const adapter = keptName(gpu.adapter);
    if (!adapter) return t.skip(`no record is kept of ${gpu.adapter.description || gpu.adapter.device}`);
    const kept = keptRecord(adapter, runtime.name);
    assert.ok(kept, `there is no ${keptPath(adapter, runtime.name)}: run npm run verify:records`);
    t.diagnostic(held(record, kept, `${adapter} in ${runtime.name}`));
  });

  test('leaves the same record again', async () => {
    const steps = 4;
    const again = await runJob(gpu, { cochlea: version, steps });
    assert.deepEqual(again.checks, record.checks);
    assert.match(compareRecords(again, record).line, new RegExp(`^identical: .* and ${steps} training steps of 3 architectures$`));
  });

  test('finds every result within its bound, and frees what it took', () => {
    const over = record.checks.flatMap(({ name, outputs }) => Object.values(outputs).filter(({ worst = 0 }) => worst > 1).map(() => name));
    assert.deepEqual(over, []);
    assert.ok(record.checks.some(({ kind, outputs }) => kind === 'rounded' && Object.values(outputs).some(({ worst = 0 }) => worst > 0)));
    assert.deepEqual([...gpu.allocated.keys()], []);
  });

  test('is read back from a file as it was', () => {
    const text = recordText(record);
    assert.deepEqual(parseRecord(text, 'record'), JSON.parse(JSON.stringify(record)));
    assert.ok(text.length < 32_000, `a record of ${text.length} bytes`);
  });
});

test('cochlea verify holds lavapipe against its record', async (t) => {
  const path = keptPath('lavapipe', runtime.name);
  const { code, stdout, stderr } = await cochlea(['verify', '--against', path, '--steps', String(stepsOfTests)], { env: { COCHLEA_ADAPTER: 'lavapipe' } });
  if (/no adapter is what COCHLEA_ADAPTER=lavapipe asks for|there is no GPU/.test(stderr)) return t.skip('this machine has no lavapipe');
  const folder = mkdtempSync(join(tmpdir(), 'cochlea-verify-'));
  try {
    if (code !== 0) {
      // Says what to do where a shader changed; writes a record of its own for that.
      const out = join(folder, 'found.json');
      await cochlea(['verify', '--out', out, '--steps', String(stepsOfTests)], { env: { COCHLEA_ADAPTER: 'lavapipe' } });
      held(parseRecord(readFileSync(out, 'utf8'), out), keptRecord('lavapipe', runtime.name)!, `lavapipe in ${runtime.name}`);
    }
    assert.equal(code, 0, stdout + stderr);
    const verdict = stdout.trimEnd().split('\n').at(-1)!;
    assert.match(verdict, /^(identical|within the bound): /);
    t.diagnostic(verdict);
    // The same record with another bit in what an integer kernel left.
    const other = join(folder, 'other.json');
    const changed = keptRecord('lavapipe', runtime.name)!;
    changed.checks.find(({ kind }) => kind === 'integer')!.outputs['indices']!.digest = '0123456789abcdef';
    writeFileSync(other, recordText(changed));
    const wrong = await cochlea(['verify', '--against', other, '--steps', '1', '--json'], { env: { COCHLEA_ADAPTER: 'lavapipe' } });
    assert.equal(wrong.code, 1, wrong.stderr);
    assert.equal((JSON.parse(wrong.stdout) as { verdict: string }).verdict, 'different');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
