/** Manifests of runs: what they hold, that stops leave no trace in them, and what verify makes of them. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openTensorSource } from '../../src/activations/index.ts';
import { writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { shaders } from '../../src/kernels/index.ts';
import { saeConfig } from '../../src/sae/index.ts';
import { type ManifestContent, readManifest, type RunOptions, trainerConfig, trainRun } from '../../src/training/index.ts';
import { verifyRun } from '../../src/verify/index.ts';
import { cochlea } from '../support/cli.ts';
import { fails } from '../support/fails.ts';
import { plantedFrames } from '../support/planted.ts';

const dIn = 8, batch = 32, steps = 20, seed = 20261122;
const folder = mkdtempSync(join(tmpdir(), 'cochlea-verify-run-'));
const place = (...names: string[]): string => join(folder, ...names);
const data = place('x.safetensors');

let gpu: Gpu;
let source: Awaited<ReturnType<typeof openTensorSource>>;
before(async () => {
  gpu = await Gpu.open();
  await writeFrames(data, seed);
  source = await openTensorSource(data);
  await trainRun(options('whole'));
});
after(async () => {
  await source.close();
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

const writeFrames = (path: string, of: number): Promise<void> => writeSafetensors(path, [{ name: 'x', dtype: 'F32', shape: [400, dIn], data: plantedFrames({ seed: of, dIn, features: 20, active: 2 }, 400) }]);

function options(out: string, given: Partial<RunOptions> = {}): RunOptions {
  return {
    gpu, source, out: place(out), sae: saeConfig({ architecture: 'jumprelu', d_in: dIn, d_sae: 24, normalize_activations: 'expected_average_only_in' }),
    training: trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * steps, lr: 3e-3, dead_feature_window: 2, feature_sampling_window: 6, resample_steps: [3, 9], seed }),
    centre: true, bufferRows: 128, shuffle: true, logEvery: 1, checkpointEvery: 5, record: { flags: { activations: data } }, ...given,
  };
}

const text = (out: string): string => readFileSync(place(out, 'manifest.json'), 'utf8');

/** A copy of the whole run whose manifest says something else. */
function changed(out: string, change: (manifest: ManifestContent) => void): string {
  cpSync(place('whole'), place(out), { recursive: true });
  const manifest = JSON.parse(text('whole')) as ManifestContent;
  change(manifest);
  writeFileSync(place(out, 'manifest.json'), JSON.stringify(manifest));
  return place(out);
}

test('a manifest says what the bits of a run depend on, and what its first steps left', async () => {
  const { seed: own, mixing_seed, data_sha256, environments, digests } = await readManifest(place('whole'));
  assert.deepEqual([own, mixing_seed, data_sha256], [seed, seed, source.info.dataSha256]);
  assert.deepEqual(Object.keys(digests), ['1', '2', '4', '8', '16']);
  assert.ok(Object.values(digests).every((digest) => /^[0-9a-f]{16}$/.test(digest)) && new Set(Object.values(digests)).size === 5);
  assert.equal(environments.length, 1);
  assert.deepEqual(environments[0]!.adapter, { ...gpu.adapter });
  assert.deepEqual(Object.keys(environments[0]!.shaders), Object.keys(shaders));
});

test('a run that was stopped and resumed leaves the manifest of one that was not, wherever it stopped', async () => {
  for (const stop of [3, 8, 13]) {
    const out = `stopped after ${stop}`;
    const controller = new AbortController();
    const stopped = { signal: controller.signal, onProgress: ({ metrics }: { metrics: { step: number } }) => void (metrics.step >= stop && controller.abort()) };
    await assert.rejects(trainRun(options(out, stopped)), fails('interrupted', /stopped after step/));
    // What a kill between two writes leaves: digests of steps that the newest checkpoint has not seen.
    const ahead = JSON.parse(text(out)) as ManifestContent;
    writeFileSync(place(out, 'manifest.json'), JSON.stringify({ ...ahead, digests: { ...ahead.digests, 16: 'f'.repeat(16), 100: 'f'.repeat(16) } }));
    await trainRun(options(out, { resume: true }));
    assert.equal(text(out), text('whole'));
  }
});

for (const variant of ['tiled', 'wide_f16']) {
  test(`a variant that was asked for is in the manifest, and runs again when the run goes on or is verified: ${variant}`, async (t) => {
    if (variant === 'wide_f16' && !gpu.features.includes('shader-f16')) return t.skip('the adapter has no shader-f16');
    const controller = new AbortController();
    const ask = (asked?: string): void => {
      gpu.variants.clear(); // as in a new process
      if (asked) gpu.variants.set('encode', asked);
    };
    try {
      ask(variant);
      await trainRun(options(variant));
      ask(variant);
      const stopped = { signal: controller.signal, onProgress: ({ metrics }: { metrics: { step: number } }) => void (metrics.step >= 8 && controller.abort()) };
      await assert.rejects(trainRun(options(`${variant}, stopped`, stopped)), fails('interrupted', /stopped after step/));
      ask();
      await trainRun(options(`${variant}, stopped`, { resume: true }));
      assert.equal(text(`${variant}, stopped`), text(variant));
      const { environments, digests } = JSON.parse(text(variant)) as ManifestContent, whole = JSON.parse(text('whole')) as ManifestContent;
      assert.deepEqual(environments.map(({ variants }) => variants), [{ encode: variant }]);
      if (variant === 'wide_f16') assert.notEqual(digests['1'], whole.digests['1']);
      ask();
      assert.equal((await verifyRun(gpu, place(variant), source, { steps: 4 })).verdict, 'identical');
    } finally {
      ask();
    }
  });
}

test('the manifest does not change what a run computes: its last digest is that of the run without any stop or check', async () => {
  const found = await verifyRun(gpu, place('whole'), source, { steps: 16 });
  assert.deepEqual([found.verdict, found.ok, found.compared, found.first, found.notes], ['identical', true, [1, 2, 4, 8, 16], undefined, []]);
  assert.match(found.line, /^identical: 5 digests of the first 16 steps of /);
  assert.deepEqual((await verifyRun(gpu, place('whole'), source, { steps: 5 })).compared, [1, 2, 4]);
});

test('a digest that differs is told by the steps between which it parted', async () => {
  const found = await verifyRun(gpu, changed('other bits', ({ digests }) => void (digests['8'] = '0'.repeat(16))), source, { steps: 16 });
  assert.deepEqual([found.verdict, found.ok, found.first], ['different', false, 8]);
  assert.match(found.line, /differs first between step 4 and step 8, though adapter, driver, runtime, shaders and variants are the same/);
  const elsewhere = changed('elsewhere', ({ digests, environments }) => {
    digests['1'] = '0'.repeat(16);
    environments[0]!.shaders['adam'] = '0'.repeat(12);
    (environments[0]!.adapter as Record<string, string>)['device'] = 'another';
  });
  const { ok, line, notes } = await verifyRun(gpu, elsewhere, source, { steps: 2 });
  assert.equal(ok, false);
  assert.match(line, /between step 0 and step 1, on another machine or program: adapter: .* another there \(and 1 more\)/);
  assert.deepEqual(notes.slice(1), ['shader adam changed']);
});

test('a run without a manifest, with a damaged one, without a digest so early and on other frames is refused', async () => {
  await assert.rejects(verifyRun(gpu, place('nothing'), source, { steps: 4 }), fails('file-missing', /holds no run.json/));
  const none = changed('none', () => {});
  rmSync(join(none, 'manifest.json'));
  await assert.rejects(verifyRun(gpu, none, source, { steps: 4 }), fails('file-missing', /has no manifest.json/));
  writeFileSync(join(none, 'manifest.json'), '{"format":');
  await assert.rejects(verifyRun(gpu, none, source, { steps: 4 }), fails('file-damaged', /is no manifest of a run/));
  const late = changed('late', (manifest) => void (manifest.digests = {}));
  await assert.rejects(verifyRun(gpu, late, source, { steps: 4 }), fails('config', /no digest of its first 4 steps/));
  const bare = changed('bare', () => {});
  for (const text of ['null', '{}', '{"sae":{"architecture":"topk"},"training":null}']) {
    writeFileSync(join(bare, 'run.json'), text);
    await assert.rejects(verifyRun(gpu, bare, source, { steps: 4 }), fails('file-damaged', /run\.json does not say how the run was made/), text);
  }
  await writeFrames(place('other.safetensors'), seed + 1);
  const other = await openTensorSource(place('other.safetensors'));
  await assert.rejects(verifyRun(gpu, place('whole'), other, { steps: 4 }), fails('config', /trained on other frames: .* by --data/));
  await other.close();
});

test('cochlea verify FOLDER finds the frames that the run names, and ends with the verdict and its exit code', async () => {
  const right = await cochlea(['verify', place('whole'), '--steps', '2']);
  assert.equal(right.code, 0, right.stderr);
  assert.match(right.stdout.trimEnd().split('\n').at(-1)!, /^identical: 2 digests of the first 2 steps of /);
  const wrong = changed('wrong', ({ digests }) => void (digests['2'] = '0'.repeat(16)));
  const { code, stdout } = await cochlea(['verify', wrong, '--steps', '2', '--data', data]);
  assert.equal(code, 1);
  assert.match(stdout.trimEnd().split('\n').at(-1)!, /^different: .* differs first between step 1 and step 2/);
  const both = await cochlea(['verify', wrong, '--out', place('record.json')]);
  assert.deepEqual([both.code, both.stderr], [2, `cochlea: --out is for the fixed job, and ${wrong} is a run: leave one of them away\n`]);
});
