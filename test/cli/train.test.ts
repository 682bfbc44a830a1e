/** What `train` makes of architectures' options, and of many SAEs at once. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { writeSafetensors } from '../../src/formats/index.ts';
import { architectures, trainedArchitectures } from '../../src/sae/index.ts';
import { cochlea, complaint } from '../support/cli.ts';
import { freshSeed } from '../support/mutate.ts';
import { plantedFrames } from '../support/planted.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-train-'));
after(() => rmSync(folder, { recursive: true }));
const place = (name: string): string => join(folder, name);
const x = place('x.safetensors'), dIn = 8;
const common = ['--activations', x, '--d-sae', '32', '--batch-size', '32', '--steps', '4', '--mixing-buffer', '64', '--quiet'];
const read = (...parts: string[]): Buffer => readFileSync(place(join(...parts)));
const listed = (name: string, list: unknown): string => {
  writeFileSync(place(name), JSON.stringify(list));
  return place(name);
};

before(async () => {
  const data = plantedFrames({ seed: freshSeed('train command'), dIn, features: 16, active: 2 }, 200);
  await writeSafetensors(x, [{ name: 'x', dtype: 'F32', shape: [200, dIn], data }]);
});

describe('train --arch', () => {
  test('NAME --help lists NAME\'s own options with their defaults, and no other\'s', async () => {
    const { code, stdout } = await cochlea(['train', '--arch', 'gated', '--help']);
    assert.equal(code, 0);
    assert.match(stdout, /^gated: .*Rajamanoharan/m);
    assert.match(stdout, /^ {2}--l1-coefficient +.* \(default: 1\)$/m);
    assert.doesNotMatch(stdout, /--(k|lp-norm|matryoshka-widths|jumprelu-bandwidth)\b/);
    const all = await cochlea(['train', '--help']);
    for (const name of trainedArchitectures) assert.ok(all.stdout.includes(`  ${name.padEnd(30)} ${architectures.get(name)!.title}`), name);
  });

  test('refuses the options of others by name, and values that cannot be', async () => {
    const refuse = async (args: string[], line: RegExp, code = 2): Promise<void> => {
      const outcome = await cochlea(['train', ...common, '--out', place('refused'), ...args]);
      assert.match(complaint(outcome), line);
      assert.equal(outcome.code, code);
    };
    await refuse(['--arch', 'topk', '--l1-coefficient', '3'], /^cochlea: --l1-coefficient is no option of --arch topk: it belongs to standard, gated/);
    await refuse(['--arch', 'standard', '--no-rescale-acts-by-decoder-norm'], /^cochlea: --rescale-acts-by-decoder-norm is no option of --arch standard: it belongs to topk, /);
    await refuse(['--arch', 'matryoshka_batchtopk', '--matryoshka-widths', '8,four'], /--matryoshka-widths .*It must be numbers with commas between them/);
    await refuse(['--arch', 'jumprelu', '--l0-coefficient', '-1'], /^cochlea: l0_coefficient is -1: it must be zero or a positive number$/);
    await refuse(['--arch', 'topk', '--k', '33'], /^cochlea: k is 33: it must be at most d_sae \(32\)$/);
    await refuse(['--arch', 'transcoder'], /^cochlea: .*x\.safetensors has no tensor "y"; it has "x"/, 1);
    await refuse(['--target-hook', 'encoder.layers.2'], /^cochlea: no SAE of this run has targets: leave --target-hook away/);
    await refuse(['--d-sae', '16', '--expansion', '2'], /^cochlea: --d-sae and --expansion exclude each other/);
  });
});

describe('train --saes', () => {
  test('trains each as it is trained alone', async () => {
    const saes = listed('saes.json', [
      { name: 'a', k: 4 }, { name: 'b', arch: 'batchtopk', 'd-sae': 48, k: 2.5, lr: 0.01, seed: 5 }, { name: 'c', arch: 'standard', l1_coefficient: 0.1, centre: false },
    ]);
    const outcome = await cochlea(['train', ...common, '--saes', saes, '--out', place('many')]);
    assert.deepEqual([outcome.code, outcome.stderr], [0, '']);
    const alone = await cochlea(['train', ...common, '--arch', 'standard', '--l1-coefficient', '0.1', '--no-centre', '--out', place('alone')]);
    assert.deepEqual([alone.code, alone.stderr], [0, '']);
    assert.deepEqual(read('many', 'c', 'sae_weights.safetensors'), read('alone', 'sae_weights.safetensors'));
    assert.deepEqual(read('many', 'c', 'metrics.jsonl'), read('alone', 'metrics.jsonl'));
    const b = JSON.parse(read('many', 'b', 'cfg.json').toString()) as { architecture: string; d_sae: number };
    assert.deepEqual([b.architecture, b.d_sae], ['jumprelu', 48]);
  });

  test('takes "none" on the command line, and none or null in a file, for what may be null', async () => {
    const saes = listed('none.json', [
      { name: 'raw', k: 4, 'decoder-init-norm': null }, { name: 'too', k: 4, 'decoder-init-norm': 'none' }, { name: 'pursuit', arch: 'matching_pursuit', 'decoder-init-norm': 1 },
    ]);
    const outcome = await cochlea(['train', ...common, '--saes', saes, '--max-iterations', 'none', '--normalize-activations', 'none', '--out', place('none')]);
    assert.deepEqual([outcome.code, outcome.stderr], [0, '']);
    const sae = (name: string): Record<string, unknown> => (JSON.parse(read('none', name, 'run.json').toString()) as { sae: Record<string, unknown> }).sae;
    assert.deepEqual([sae('raw')['decoder_init_norm'], sae('too')['decoder_init_norm'], sae('pursuit')['max_iterations']], [null, null, null]);
    assert.equal(sae('raw')['normalize_activations'], 'none');
    assert.deepEqual(read('none', 'raw', 'sae_weights.safetensors'), read('none', 'too', 'sae_weights.safetensors'));
  });

  test('names what is wrong in its file', async () => {
    const refuse = async (list: unknown, line: RegExp): Promise<void> => {
      const outcome = await cochlea(['train', ...common, '--saes', listed('wrong.json', list), '--out', place('refused')]);
      assert.match(complaint(outcome), line);
      assert.equal(outcome.code, 2);
    };
    await refuse({}, /wrong\.json is not a list of SAEs/);
    await refuse([], /wrong\.json is not a list of SAEs/);
    await refuse([7], /wrong\.json, SAE 1 is not an object/);
    await refuse([{ k: 3 }], /wrong\.json, SAE 1 has no name/);
    await refuse([{ name: 'a' }, { name: 'b', colour: 'red' }], /wrong\.json, SAE 2: colour is no flag of train/);
    await refuse([{ name: 'a', steps: 3 }], /wrong\.json, SAE 1: steps is the same for all SAEs of a run/);
    await refuse([{ name: 'a', arch: 'gated', k: 3 }], /--k is no option of --arch gated/);
    const all = listed('all.json', [{ name: 'a' }, { name: 'b', arch: 'batchtopk', 'd-sae': 48 }]);
    for (const [flags, line] of [
      [['--l1-coefficient', '3'], /^cochlea: --l1-coefficient is no option of any SAE in .*all\.json: leave it away, or change an --arch$/],
      [['--expansion', '2'], /^cochlea: --d-sae and --expansion exclude each other/],
    ] as const) assert.match(complaint(await cochlea(['train', ...common, '--saes', all, '--out', place('refused'), ...flags])), line);
    await refuse([{ name: 'a' }, { name: 'A' }], /two SAEs have the name A/);
    await refuse([{ name: '../a' }], /an SAE cannot have the name/);
  });
});
