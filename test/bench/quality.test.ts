/** The benchmark on synthetic data: its world, its measures, its table, and the beginning of a run beside SAELens'. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { dictionaryQuality, type Quality, reconstructionQuality, sparsityQuality } from '../../bench/quality/metrics.ts';
import { initialDecoder, readPeer } from '../../bench/quality/peer.ts';
import { addRecord, largestDeviation, readRecords, recordOf, type RunRecord } from '../../bench/quality/results.ts';
import { curveVerdict, report, verdict } from '../../bench/quality/table.ts';
import { repeatRun } from '../../bench/quality/train.ts';
import { dIn, World } from '../../bench/quality/world.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { exactLosses } from '../support/exact-losses.ts';
import { assertClose } from '../support/numbers.ts';
import { fixture, shared } from '../support/paths.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-quality-'));
after(() => rmSync(folder, { recursive: true }));

/** SHA-256 of what SAELens was trained on. */
interface Checksums {
  seed: number;
  dict_f32_sha256: string;
  bias_f32_sha256: string;
  T_u32_sha256: string;
  train_0_1024_sha256: string;
  train_1000000_256_sha256: string;
  eval_0_1024_sha256: string;
}

function digest({ buffer, byteOffset, byteLength }: Float32Array | Uint32Array): string {
  const hash = runtime.sha256();
  hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  return hash.hex();
}

describe('the synthetic world', () => {
  for (const expected of JSON.parse(readFileSync(fixture('synthetic', 'checksums.json'), 'utf8')) as Checksums[]) {
    test(`of seed ${expected.seed} is that of the peer's runs, bit for bit`, () => {
      const world = new World(expected.seed);
      assert.deepEqual({
        seed: expected.seed, dict_f32_sha256: digest(world.dictionary), bias_f32_sha256: digest(Float32Array.from(world.bias)),
        T_u32_sha256: digest(world.thresholds),
        train_0_1024_sha256: digest(world.trainingRows(0, 1024)), train_1000000_256_sha256: digest(world.trainingRows(1_000_000, 256)),
        eval_0_1024_sha256: digest(world.heldOutRows(0, 1024)),
      }, Object.fromEntries(Object.entries(expected).filter(([name]) => name === 'seed' || name.endsWith('sha256'))));
    });
  }

  test('gives a row the same numbers whatever comes before it, and others where nothing is trained', () => {
    const world = new World(1);
    const rows = world.trainingRows(0, 8);
    world.heldOutRows(5, 1);
    assert.deepEqual(world.trainingRows(5, 1), rows.slice(5 * dIn, 6 * dIn));
    assert.notDeepEqual(world.heldOutRows(5, 1), rows.slice(5 * dIn, 6 * dIn));
  });
});

describe('quality', () => {
  test('of a reconstruction: total and row by row, against the mean frame', () => {
    // Mean (10, 0); squared distances from it 9, 1, 4; every row is missed by 1.
    const x = Float32Array.of(7, 0, 11, 0, 12, 0), recon = Float32Array.of(7, 1, 10, 0, 12, -1);
    const { ev, ev_legacy: legacy, mse } = reconstructionQuality(x, recon, 2);
    assertClose([ev, legacy, mse], [1 - 3 / 14, 1 - (1 / 9 + 1 + 1 / 4) / 3, 1]);
    assert.deepEqual(reconstructionQuality(x, x, 2), { ev: 1, ev_legacy: 1, mse: 0 });
    assertClose([reconstructionQuality(x, Float32Array.of(10, 0, 10, 0, 10, 0), 2).ev], [0]);
  });

  test('of activations: a zero among the kept ones is not active', () => {
    const acts = { rows: 2, offsets: Uint32Array.of(0, 2, 4), indices: Uint32Array.of(0, 2, 2, 3), values: Float32Array.of(1, 0.5, 2, 0) };
    const { quality, alive } = sparsityQuality(acts, 5);
    assert.equal(quality.l0, 1.5);
    assertClose([quality.dead_frac], [3 / 5]);
    assert.deepEqual([...alive], [1, 0, 1, 0, 0]);
  });

  test('of a dictionary: best cosines from both sides, whatever the length, the dead left out of one', () => {
    const truth = Float32Array.of(1, 0, 0, 2, 3, 4); // the last is (0.6, 0.8)
    const W_dec = Float32Array.of(5, 0, 0, -7, 0, 0, 0.1, 0.1); // one exact, one opposite, one of zeros, one at 45 degrees
    const found = dictionaryQuality(truth, W_dec, Uint8Array.of(1, 1, 0, 1), { dIn: 2, roots: 1 });
    const diagonal = Math.SQRT1_2, oblique = 1.4 * Math.SQRT1_2; // 0.9899 with (0.6, 0.8)
    assertClose([found.mmcs_true, found.mmcs_true_roots, found.mmcs_true_children], [(1 + diagonal + oblique) / 3, 1, (diagonal + oblique) / 2], 1e-7);
    assertClose([found['recovered_0.9'], found['recovered_0.95']], [2 / 3, 2 / 3]);
    // Best true features: of the first 1, of the opposite one 0 with (1, 0), of the last 0.9899; the row of zeros is dead.
    assertClose([found.mmcs_learned_alive], [(1 + 0 + oblique) / 3], 1e-7);
    const blunt = dictionaryQuality(Float32Array.of(1, 0), Float32Array.of(0.93, Math.sqrt(1 - 0.93 ** 2)), Uint8Array.of(1), { dIn: 2, roots: 1 });
    assert.deepEqual([blunt['recovered_0.9'], blunt['recovered_0.95']], [1, 0]);
  });
});

const quality: Quality = {
  ev: 0.8, ev_legacy: 0.8, mse: 1, l0: 8, dead_frac: 0.1, mmcs_true: 0.9, mmcs_true_roots: 0.99, mmcs_true_children: 0.8,
  'recovered_0.9': 0.5, 'recovered_0.95': 0.4, mmcs_learned_alive: 0.7,
};
const record: RunRecord = {
  name: 'topk_k8', seed: 1, compatibility: 'saelens-6.18', steps: 4000, wholeSteps: 4000, adapter: 'an adapter', runtime: 'a runtime', secondsPerStep: 0.1,
  deviation: [1e-7, 1e-7, 1e-4], peerDrift: [1e-7, 1e-7, 5e-4], mseDeviation: [1e-7, 1e-7, 2e-4], quality, peer: quality, peerSpread: { ...quality, ev: 0.06 },
};

describe('the verdict', () => {
  test('of a metric goes by its direction and by how far the peer\'s seeds lie apart', () => {
    const more = (ours: number, spread = 0) => verdict(ours, 0.8, 'more', spread), less = (ours: number, spread = 0) => verdict(ours, 8, 'less', spread);
    assert.deepEqual([more(0.8), more(0.81), more(0.79, 0.02), more(0.79, 0.005)], ['+', '+', '~', '-']);
    assert.deepEqual([less(8), less(7), less(8.1, 0.2), less(8.1)], ['+', '+', '~', '-']);
    assert.equal(verdict(NaN, 0.8, 'more', 1), '-');
  });

  test('of a loss curve allows one percent, or what the peer\'s own precision makes of it', () => {
    assert.equal(curveVerdict({ deviation: [0, 0.01, 0.009], peerDrift: [0, 0, 0] }), '+');
    assert.equal(curveVerdict({ deviation: [0, 0, 0.017], peerDrift: [0, 0, 0.018] }), '~');
    assert.equal(curveVerdict({ deviation: [0, 0, 0.019], peerDrift: [0, 0, 0.018] }), '-');
    assert.equal(curveVerdict({ deviation: [0, 0.015, 0], peerDrift: [0, 0, 0.018] }), '-');
  });

  test('of a deviation takes the worst step, and only those that both have', () => {
    assertClose([largestDeviation([2, 3, 99], [2, 4])], [0.25]);
    assert.equal(largestDeviation([], [1]), 0);
  });

  test('is counted over all cells, those of the mean too', () => {
    const second: RunRecord = { ...record, seed: 2, quality: { ...quality, ev: 0.7, l0: 7, mmcs_true: 0.8 }, deviation: [0, 0, 0.5] };
    const text = report([second, record]);
    assert.match(text, /^topk_k8, saelens-6\.18 +seed 1 +seed 2 +mean\n/);
    assert.match(text, /\nexplained variance +0\.8000 \/ 0\.8000 \+ +0\.7000 \/ 0\.8000 - +0\.7500 \/ 0\.8000 -\n/);
    assert.match(text, /\nL0 +8\.000 \/ 8\.000 \+ +7\.000 \/ 8\.000 \+ +7\.500 \/ 8\.000 \+\n/);
    assert.match(text, /\nfirst 200 losses off by +0\.010 % \+ +50 % -\n/);
    assert.match(text, /\nmean best cosine +0\.9000 \/ 0\.9000 \+ +0\.8000 \/ 0\.9000 ~ +0\.8500 \/ 0\.9000 ~\n/);
    assert.match(text, /\n12 cells \+, 2 cells ~, 3 cells -$/);
  });

  test('is not given on a run that was stopped', () => {
    const { quality: _, ...stopped } = { ...record, steps: 200 };
    assert.match(report([stopped]), /^topk_k8, saelens-6\.18 +seed 1, 200 steps +mean\n[- ]+\nfirst 200 losses off by +0\.010 % \+\n/);
    assert.match(report([{ ...stopped, compatibility: 'corrected' }]), /\nfirst 200 losses off by +0\.010 %\n/, 'corrected mathematics may lead elsewhere');
  });
});

test('a record takes the place of an earlier one of the same run', async () => {
  const file = join(folder, 'records.json');
  assert.deepEqual(await readRecords(file), []);
  await addRecord(file, { ...record, steps: 200 });
  await addRecord(file, { ...record, compatibility: 'corrected' });
  await addRecord(file, record);
  assert.deepEqual(await readRecords(file), [{ ...record, compatibility: 'corrected' }, record]);
  writeFileSync(file, '[{');
  await assert.rejects(readRecords(file), /records\.json is not JSON/);
});

const decoderFolder = shared('fixtures/synthetic');

const skip = decoderFolder ? false : 'no ../shared/fixtures/synthetic with the peer\'s initial weights';

test('thirty steps of TopK follow the peer\'s losses', { skip }, async (t) => {
  const peer = await readPeer(fixture('synthetic'));
  const run = peer.runs[0]!;
  const decoder = await initialDecoder(decoderFolder!, run.seed);
  const gpu = await Gpu.open();
  try {
    const repeated = await repeatRun({ gpu, run, decoder, compatibility: 'saelens-6.18', set: {}, steps: run.loss_first200_total_mse.length });
    assert.equal(repeated.losses.length, 30);
    assert.equal(repeated.quality, undefined);
    const { deviation, mseDeviation, peerDrift, peerSpread } = recordOf(repeated, run, peer, { compatibility: 'saelens-6.18', set: {}, adapter: '' });
    const off = Math.max(...deviation, ...mseDeviation);
    t.diagnostic?.(`off by ${off.toExponential(1)}, ${(1000 * repeated.secondsPerStep).toFixed(0)} ms a step`);
    assert.ok(off < 1e-5, `off by ${off}`);
    assert.ok(off > 0 && deviation[1] === 0 && deviation[2] === 0, 'only steps that were trained are compared');
    assert.ok(peerDrift.every((drift) => drift > 0 && drift < 1e-3));
    assert.ok(Object.values(peerSpread).every((spread) => spread === 0), 'one seed does not differ from itself');
  } finally {
    gpu.dispose();
  }
});

test('exact arithmetic of JumpReLU begins as the peer did', { skip }, async () => {
  const run = (await readPeer(decoderFolder!)).runs.find(({ name, seed }) => name.startsWith('jumprelu') && seed === 1)!;
  const stored = run.loss_first200_total_mse.slice(0, 3).map(([loss]) => loss);
  const off = largestDeviation(exactLosses(run, await initialDecoder(decoderFolder!, run.seed), stored.length), stored);
  assert.ok(off < 2e-6, `off by ${off}`); // float32, in seven digits
});

test('npm run bench:quality trains nothing twice, and refuses what there is not', async () => {
  const inDeno = 'Deno' in globalThis;
  const main = fileURLToPath(new URL(`../../bench/quality/main.${inDeno ? 'ts' : 'js'}`, import.meta.url));
  const bench = (...args: string[]) => spawnSync(process.execPath, [...(inDeno ? ['run', '-A', '--no-lock', '--no-check'] : []), main, ...args], {
    encoding: 'utf8', env: { ...process.env, NO_COLOR: '1', COCHLEA_ADAPTER: 'no such adapter' },
  });
  const file = join(folder, 'done.json');
  await addRecord(file, record);
  const args = ['--json', file, '--data', fixture('synthetic'), '--seeds', '1'];
  const done = bench(...args);
  assert.deepEqual([done.status, done.stderr], [0, '']);
  assert.equal(done.stdout, `${report([record])}\n`);
  const missing = bench(...args, '--compatibility', 'corrected');
  assert.deepEqual([missing.status, missing.stdout], [1, '']);
  assert.match(missing.stderr, /no such adapter/);
  const refusals: [string[], RegExp][] = [
    [['--only', 'topk_k9'], /no configuration topk_k9: there are topk_k8\n/], [['--seeds', '4'], /no run of topk_k8 with seed 4: there are 1\n/],
    [['--steps', '0'], /--steps is 0/], [['--fast'], /Unknown option/], [['--set', '{"lr":1}'], /--set is \{"lr":1\}: it must be a JSON object with objects "training" and "sae"/],
  ];
  for (const [wrong, why] of refusals) {
    const refused = bench(...args, ...wrong);
    assert.equal(refused.status, 2, wrong.join(' '));
    assert.match(refused.stderr, why);
  }
});
