/** Verdicts on pairs of records: one that is kept, and what somebody else might have found. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { shaders } from '../../src/kernels/index.ts';
import { compareRecords, parseRecord, recordText, type VerifyRecord } from '../../src/verify/index.ts';
import { held, keptRecord } from '../support/verify-records.ts';

const kept = keptRecord('swiftshader', 'node')!;

/** The kept record with something changed. */
function changedBy(change: (record: VerifyRecord) => void): VerifyRecord {
  const record = structuredClone(kept);
  change(record);
  return record;
}

const elsewhere = (record: VerifyRecord): void => {
  record.adapter.device = 'another';
};
const outputOf = (record: VerifyRecord, check: string, output: string) => record.checks.find(({ name }) => name === check)!.outputs[output]!;
const flipped = (digest: string): string => (digest.startsWith('0') ? '1' : '0') + digest.slice(1);
/** Other bits of pre-activations, so far from the float64 result. */
const otherBits = (record: VerifyRecord, worst: number): void => {
  const output = outputOf(record, 'pre-activations', 'h');
  output.digest = flipped(output.digest);
  output.worst = worst;
};
/** Changes a chain from a step on, and in the trace of that step from a kernel on. */
function apart(record: VerifyRecord, architecture: string, step: number, kernel?: string): void {
  const training = record.training[architecture]!;
  training.chain = training.chain.split(' ').map((link, n) => (n < step ? link : flipped(link))).join(' ');
  const trace = training.traces.find((one) => one.step === step);
  if (!kernel || !trace) return;
  const from = trace.kernels.split(' ').indexOf(kernel);
  assert.ok(from >= 0, `${kernel} runs in step ${step}`);
  trace.digests = trace.digests.split(' ').map((digest, n) => (n < from ? digest : flipped(digest))).join(' ');
}
const encoder = kept.checks.find(({ name }) => name === 'pre-activations')!.shaders[0]!;
const selection = kept.checks.find(({ name }) => name === 'selection of a row')!.shaders[0]!;

test('a record is identical to itself, wherever it is said to come from', () => {
  const { verdict, ok, line, notes } = compareRecords(kept, kept);
  assert.deepEqual([verdict, ok, notes], ['identical', true, []]);
  assert.match(line, /^identical: \d+ results of \d+ checks and 200 training steps of 3 architectures$/);
  const other = compareRecords(kept, changedBy(elsewhere));
  assert.deepEqual([other.verdict, other.ok], ['identical', true]);
  assert.match(other.notes.join(), /adapter: .* another there/);
});

test('a record of fewer steps is compared over those that both have', () => {
  const short = changedBy((record) => {
    const cut = (chain: string, links: number): string => chain.split(' ').slice(0, links).join(' ');
    record.batches = cut(record.batches, 7);
    for (const training of Object.values(record.training)) training.chain = cut(training.chain, 8);
    apart(record, 'topk', 8); // behind its end
  });
  assert.match(compareRecords(short, kept).line, /identical: .* and 7 training steps/);
});

test('other bits on another adapter are within the bound as long as they are within it', () => {
  const within = compareRecords(kept, changedBy((record) => {
    elsewhere(record);
    otherBits(record, 0.9);
  }));
  assert.deepEqual([within.verdict, within.ok], ['within the bound', true]);
  assert.ok(within.largest > 0.9 && within.largest < 2, String(within.largest));
  assert.match(within.line, /1 of \d+ results on fixed inputs differ, by at most 0\.9\d* of the float64 bound; training is identical/);
  for (const side of [0, 1]) {
    const over = changedBy((record) => {
      elsewhere(record);
      otherBits(record, 3);
    });
    const { verdict, ok, line } = side === 0 ? compareRecords(kept, over) : compareRecords(over, kept);
    assert.deepEqual([verdict, ok], ['different', false]);
    assert.match(line, new RegExp(`pre-activations, h \\(${encoder}\\): ${side === 0 ? 'there' : 'here'} 3 times as far from the float64 result as rounding allows`));
  }
});

test('other bits on the same adapter, driver, runtime, shaders and variants are different, however near', () => {
  const { verdict, ok, line } = compareRecords(kept, changedBy((record) => otherBits(record, 0.01)));
  assert.deepEqual([verdict, ok], ['different', false]);
  assert.match(line, /are the same, and the bits are not/);
  for (const change of [(record: VerifyRecord) => void (record.runtime = 'node 99'), (record: VerifyRecord) => void (record.variants['encode'] = 'other')]) {
    const other = changedBy((record) => {
      otherBits(record, 0.01);
      change(record);
    });
    assert.equal(compareRecords(kept, other).verdict, 'within the bound');
  }
});

test('integer state must be the same everywhere: selections, random numbers, shuffles', () => {
  const changes: [change: (record: VerifyRecord) => void, says: RegExp][] = [
    [(record) => void (outputOf(record, 'selection of a row', 'indices').digest = '0'.repeat(16)), /selection of a row, indices .* integer work on equal inputs differs/],
    [(record) => void (outputOf(record, 'random numbers', 'W').digest = '0'.repeat(16)), /random numbers, W .* arithmetic without rounding on equal inputs differs/],
    [(record) => void (record.batches = record.batches.split(' ').map((link, n) => (n < 3 ? link : flipped(link))).join(' ')), /shuffled batches differ, first that of step 4/],
    [(record) => apart(record, 'topk', 1, selection), new RegExp(`topk at step 1: ${selection} is integer work on equal inputs and differs`)],
  ];
  for (const [change, says] of changes) {
    const { verdict, ok, line } = compareRecords(kept, changedBy((record) => {
      elsewhere(record);
      change(record);
    }));
    assert.deepEqual([verdict, ok], ['different', false]);
    assert.match(line, says);
  }
});

test('training that parts is told by its first differing step and kernel, with the size of what was kept', () => {
  const { verdict, ok, line } = compareRecords(kept, changedBy((record) => {
    elsewhere(record);
    apart(record, 'jumprelu', 1, encoder);
    const sample = record.training['jumprelu']!.samples.find(({ step }) => step === 1)!;
    const word = parseInt(sample.values['W_dec']!.slice(0, 8), 16);
    sample.values['W_dec'] = (word ^ 1).toString(16).padStart(8, '0') + sample.values['W_dec']!.slice(8);
  }));
  assert.deepEqual([verdict, ok], ['within the bound', true]);
  assert.match(line, new RegExp(`jumprelu differs first at step 1 in ${encoder} \\(on fixed inputs within [\\d.]+ of the float64 bound here and [\\d.]+ there\\); `
    + 'parameters\' kept elements are at most \\d\\.\\de-\\d+ apart after step 1 \\(W_dec\\); later steps have no bound and are not compared'));
  const late = compareRecords(kept, changedBy((record) => {
    elsewhere(record);
    apart(record, 'batchtopk', 57);
  }));
  assert.match(late.line, /batchtopk differs first at step 57, whose kernels are not kept; .* after step 100; later steps are not compared/);
});

test('records of other jobs and formats, and what is no record, are refused', () => {
  const { verdict, ok, line } = compareRecords(kept, changedBy((record) => void (record.job['batch'] = 65)));
  assert.deepEqual([verdict, ok], ['not comparable', false]);
  assert.match(line, /^not comparable: /);
  const refused = (text: string, code: string): void => assert.throws(() => parseRecord(text, 'r.json'), (error) => error instanceof CochleaError && error.code === code && error.message.includes('r.json'));
  refused('{', 'file-damaged');
  refused('null', 'file-damaged');
  refused('{"format":"cochlea manifest 1"}', 'file-damaged');
  refused(recordText(changedBy((record) => void ((record as { format: string }).format = 'cochlea verify 99'))), 'config');
  refused(JSON.stringify({ ...kept, checks: undefined }), 'file-damaged');
});

test('a record with any part damaged is refused by name, or compared: never more than a line', () => {
  /** Every place in a record, a few deep; of lists the first of their items. */
  const places = (value: unknown, path: string[] = []): string[][] => (typeof value !== 'object' || value === null ? [] : Object.keys(value).slice(0, Array.isArray(value) ? 1 : 20)
    .flatMap((key) => [[...path, key], ...places((value as Record<string, unknown>)[key], [...path, key])]));
  const differing = changedBy((record) => {
    elsewhere(record);
    otherBits(record, 0.5);
    apart(record, 'topk', 1, encoder);
  });
  let refused = 0;
  for (const path of places(differing)) {
    for (const instead of [undefined, null, 7, 'x', [], {}, [null]]) {
      const record = structuredClone(differing) as unknown as Record<string, unknown>;
      const parent = path.slice(0, -1).reduce((one, key) => one[key] as Record<string, unknown>, record);
      parent[path.at(-1)!] = instead;
      try {
        compareRecords(kept, parseRecord(JSON.stringify(record), 'r.json'));
      } catch (error) {
        assert.ok(error instanceof CochleaError && error.message.includes('r.json'), `${path.join('.')} = ${JSON.stringify(instead)}: ${String(error)}`);
        refused++;
      }
    }
  }
  assert.ok(refused > 500, String(refused));
});

test('a fresh record that differs says which shader changed, and otherwise that none did', () => {
  const shader = Object.keys(kept.shaders)[0]!;
  const changed = (record: VerifyRecord): void => void (record.shaders[shader] = 'fffffffffff0');
  assert.match(held(changedBy(changed), kept, 'kept'), /^identical/); // a comment may change
  assert.throws(() => held(changedBy((record) => {
    changed(record);
    otherBits(record, 2);
  }), kept, 'kept'), new RegExp(`shader ${shader} changed: run npm run verify:records`));
  assert.throws(() => held(changedBy((record) => otherBits(record, 0.1)), kept, 'kept'), /bits are not[^]*no shader changed/);
  assert.throws(() => held(changedBy((record) => void (record.job['k'] = 9)), kept, 'kept'), /job changed: run npm run verify:records/);
});

/** Shaders that the job does not run on a software adapter, and why. */
const notRun: [pattern: RegExp, why: string][] = [
  [/^(encode_tiled|encode_wide|encode_resident|topk_rows|topk_tops|weighted_rows_tiled|weighted_rows_resident|decode_image|kept_gradients|kept_gradients_image|reconstruct_image|latent_gradients_image)$/, 'another variant of a kernel that the job runs'],
  [/^peak_/, 'measures an adapter, computes nothing'],
  [/^digest$/, 'what the job looks with'],
];

test('every shader runs in the job, or has its reason not to', () => {
  const run = new Set(kept.checks.flatMap((check) => check.shaders));
  const left = Object.keys(shaders).filter((name) => !run.has(name) && !notRun.some(([pattern]) => pattern.test(name)));
  assert.deepEqual(left, [], 'give these a check in src/verify/checks, then npm run verify:records');
});
