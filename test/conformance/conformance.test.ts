/** The engine against what SAELens 6.18 recorded of itself: every case of the fixtures whose architecture the engine has. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openSafetensors, writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { fixture } from '../support/paths.ts';
import { checkCase, isSupported } from './check.ts';
import { copiedFixtures, givenFixtures } from './fixture-set.ts';

const { read, cases, reduced } = await givenFixtures();
if (reduced) console.log(reduced);

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.dispose());

for (const kind of ['training', 'inference'] as const) {
  describe(`${kind} as SAELens records it`, () => {
    for (const one of cases.filter((entry) => entry.kind === kind)) {
      test(one.name, { skip: isSupported(one) ? false : `architecture ${one.architecture}` }, async (t) => {
        const worst = await checkCase(gpu, read, one);
        assert.ok(worst, 'this case was not run');
        t.diagnostic?.(Object.entries(worst).map(([what, deviation]) => `${what} ${deviation.toExponential(1)}`).join(', '));
      });
    }
  });
}

test('every architecture of the set is trained and run', { skip: reduced ?? false }, () => {
  assert.deepEqual(cases.filter((one) => !isSupported(one)), []);
  assert.ok(cases.length >= 89, `${cases.length} cases`);
});

describe('npm run test:fixtures', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cochlea-fixtures-'));
  after(() => rmSync(folder, { recursive: true }));
  const run = (...names: string[]) => {
    const main = fileURLToPath(import.meta.url).replace(/conformance[/\\]conformance\.test\.([jt]s)$/, 'fixtures-main.$1');
    const args = 'Deno' in globalThis ? ['run', '-A', '--no-lock', '--no-check', main] : [main];
    return spawnSync(process.execPath, [...args, ...names], { encoding: 'utf8', env: { ...process.env, COCHLEA_FIXTURES: folder } });
  };

  before(async () => {
    // A set of the same layout: the copied cases, one of them spoilt, and one of an architecture that nobody knows.
    cpSync(fixture('saelens-train'), folder, { recursive: true });
    cpSync(fixture('saelens', 'topk'), join(folder, 'infer', 'spoilt'), { recursive: true });
    cpSync(fixture('saelens', 'topk'), join(folder, 'infer', 'foreign'), { recursive: true });
    writeFileSync(join(folder, 'infer', 'foreign', 'cfg.json'), JSON.stringify({ ...JSON.parse(new TextDecoder().decode(await copiedFixtures().read('infer/topk/cfg.json'))), architecture: 'foreign' }));
    const path = join(folder, 'infer', 'spoilt', 'io.safetensors');
    const file = await openSafetensors(path);
    const tensors = await Promise.all([...file.tensors].map(async ([name, { shape }]) => ({ name, dtype: 'F32' as const, shape, data: await file.readFloat32(name) })));
    await file.close();
    const recon = tensors.find(({ name }) => name === 'recon')!.data;
    recon[0] = recon[0]! + 0.01;
    await writeSafetensors(path, tensors);
    const entry = (name: string, architecture = 'topk') => ({ case: name, architecture });
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({
      infer: [entry('trained_topk_auxk'), entry('spoilt'), entry('not_asked_for'), entry('foreign', 'foreign')], train: [entry('topk_auxk'), entry('strange', 'strange')],
    }));
  });

  test('prints a line per case that is asked for and fails when one fails', () => {
    const { status, stdout } = run('trained_topk_auxk', 'spoilt', 'foreign', 'topk_auxk', 'strange');
    assert.equal(status, 1, stdout);
    assert.match(stdout, /^trained_topk_auxk +inference +\S+e-\d+ +ok$/m);
    assert.match(stdout, /^topk_auxk +training +\S+e-\d+ +ok$/m);
    assert.match(stdout, /^spoilt +inference +- +FAILED: spoilt: forward deviates by /m);
    assert.match(stdout, /^foreign +inference +- +unsupported architecture$/m);
    assert.match(stdout, /^strange +training +- +unsupported architecture$/m);
    assert.match(stdout, /\n2 passed, 1 failed, 2 skipped\n$/);
    assert.equal(stdout.split('\n').length, 7);
  });

  test('refuses a name that is not there', () => {
    const { status, stderr } = run('trained_topk_auxk', 'trained_topk');
    assert.equal(status, 1);
    assert.match(stderr, /^no case trained_topk in .*: there are foreign, not_asked_for, spoilt, strange, topk_auxk, trained_topk_auxk\n$/);
  });
});
