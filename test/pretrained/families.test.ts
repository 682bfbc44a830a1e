/**
 * Published families: small files that Python's own zipfile, pickle and numpy wrote (test/fixtures/pretrained/make.py), and what they give by the
 * definitions of their own projects, computed there in float64.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { loadPretrainedFolder, type LoadOptions, readPretrained } from '../../src/pretrained/index.ts';
import { dense } from '../../src/sae/index.ts';
import { fixture } from '../support/paths.ts';

interface Expected {
  rows: number;
  x: number[];
  acts: number[];
  recon: number[];
  architecture: string;
  loader: string;
  /** What the files do not say. */
  scale?: number;
  /** Of numbers about 1. */
  tolerance?: number;
}

const expected = JSON.parse(readFileSync(fixture('pretrained', 'expected.json'), 'utf8')) as Record<string, Expected>;
const at = (name: string): string => fixture('pretrained', ...name.split('/'));
const optionsOf = (name: string, { scale }: Expected): LoadOptions => ({ ...(scale ? { scale } : {}), ...(name === 'audiosae/layer_4' ? { threshold: 'per-frame' as const } : {}) });

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.dispose());

function assertNear(actual: ArrayLike<number>, wanted: readonly number[], tolerance: number, what: string): void {
  assert.equal(actual.length, wanted.length, what);
  wanted.forEach((value, i) => assert.ok(Math.abs(actual[i]! - value) <= tolerance * Math.max(1, Math.abs(value)), `${what} ${i}: ${actual[i]} is not ${value}`));
}

describe('an SAE as it is published', () => {
  for (const [name, facts] of Object.entries(expected)) {
    test(`${name} is recognised, and encodes and decodes as its own project does`, async () => {
      const { sae } = await loadPretrainedFolder(gpu, at(name), undefined, optionsOf(name, facts));
      const { rows, architecture, tolerance = 2e-6 } = facts;
      assert.deepEqual([sae.config.architecture, sae.dIn, sae.dSae, sae.dOut], [architecture, facts.x.length / rows, facts.acts.length / rows, facts.recon.length / rows]);
      const { recon, acts } = await sae.run(Float32Array.from(facts.x));
      assert.ok(acts.indices.length > 0 && acts.indices.length < facts.acts.length, 'some latents fire, and not all');
      assertNear(dense(acts, sae.dSae), facts.acts, tolerance, 'activation');
      assertNear(recon, facts.recon, 4 * tolerance, 'reconstruction');
      sae.dispose();
    });
  }

  test('is found by its loader without being told', async () => {
    for (const [name, facts] of Object.entries(expected)) assert.equal((await readPretrained(at(name), undefined, optionsOf(name, facts))).loader, facts.loader, name);
  });

  test('says where it belongs, as far as its files do', async () => {
    const metadata = async (name: string, id?: string): Promise<unknown[]> => {
      const { config } = await readPretrained(at(name), id, { threshold: 'per-frame' });
      return [config.metadata['model_name'], config.metadata['hook_name'], config.reshape_activations];
    };
    assert.deepEqual(await metadata('dictionary-topk'), ['EleutherAI/pythia-70m-deduped', 'blocks.3.hook_resid_post', 'none']);
    assert.deepEqual(await metadata('audiosae', 'layer_4'), [undefined, 'encoder.layers.3', 'none']);
    assert.deepEqual(await metadata('mwhanna', 'layer_8.safetensors'), ['Qwen/Qwen3-4B', 'blocks.8.mlp.hook_in', 'none']);
    assert.deepEqual(await metadata('clt'), ['google/gemma-2-2b', 'blocks.3.hook_resid_mid', 'none']);
    assert.deepEqual(await metadata('deepseek-r1'), [undefined, 'blocks.19.hook_resid_post', 'none']);
    const [hookZ] = Object.keys(expected).filter((name) => name.startsWith('hook-z'));
    assert.deepEqual(await metadata(hookZ!), ['gpt2-small', 'blocks.3.attn.hook_z', 'hook_z']);
    const attention = await readPretrained(at('gemma-scope-2b-pt-res/layer_5/width_16k/average_l0_7'), undefined, { metadata: { hook_name: 'blocks.5.attn.hook_z' } });
    assert.equal(attention.config.reshape_activations, 'hook_z');
    const batchtopk = await readPretrained(at('dictionary-matryoshka'));
    assert.deepEqual([batchtopk.config.metadata['training_architecture'], batchtopk.config.metadata['training_architecture_details']], ['matryoshka_batchtopk', { k: 4 }]);
    assert.equal((await readPretrained(at('deepseek-r1'))).config.dtype, 'bfloat16');
    assert.deepEqual(await metadata('gemma-scope-2/resid_post/layer_9_width_16k_l0_small'), ['gemma-v3-4b-it', 'model.layers.9.output', 'none']);
  });

  test('is the same by whatever path, and whatever lies above its repository', async () => {
    const everything = Object.entries(expected).filter(([name, { loader }]) => /^gemma-scope(-transcoder)?$|^audiosae$/.test(loader) && !name.includes('.'));
    for (const [name, facts] of everything) {
      const [plain, winding] = await Promise.all([at(name), `${at(name)}/.`].map((path) => readPretrained(path, undefined, optionsOf(name, facts))));
      assert.deepEqual([winding!.config, winding!.weights, winding!.notes, winding!.loader], [plain!.config, plain!.weights, plain!.notes, plain!.loader], name);
    }
    const root = mkdtempSync(join(tmpdir(), 'transcoder-'));
    try {
      cpSync(at('gemma-scope-2b-pt-res'), join(root, 'gemma-scope-2b-pt-res'), { recursive: true });
      cpSync(at('gemma-scope-2b-pt-transcoders'), join(root, 'models--google--gemma-scope-2b-pt-transcoders', 'snapshots', 'c'.repeat(40)), { recursive: true });
      const named = (start: string): string => Object.keys(expected).find((name) => name.startsWith(start))!;
      const sae = named('gemma-scope-2b-pt-res/'), transcoder = named('gemma-scope-2b-pt-transcoders/');
      assert.equal((await readPretrained(join(root, sae))).loader, 'gemma-scope');
      const cached = transcoder.replace('gemma-scope-2b-pt-transcoders', `models--google--gemma-scope-2b-pt-transcoders/snapshots/${'c'.repeat(40)}`);
      assert.equal((await readPretrained(join(root, cached))).loader, 'gemma-scope-transcoder');
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  test('is one of many files when it is asked for', async () => {
    const [seven, eight] = await Promise.all([7, 8].map((layer) => readPretrained(at('mwhanna'), `layer_${layer}.safetensors`)));
    assert.deepEqual(eight!.weights.W_enc, seven!.weights.W_enc!.map((value) => -value));
    await assert.rejects(readPretrained(at('mwhanna')), line(/holds no SAE that is known here; it has config\.yaml, layer_7\.safetensors, layer_8\.safetensors/));
    await assert.rejects(readPretrained(at('mwhanna'), 'layer_9.safetensors'), line(/has no layer_9\.safetensors/));
  });

  test('of BatchTopK without its threshold is refused, or takes what it is given', async () => {
    await assert.rejects(readPretrained(at('audiosae'), 'layer_4'), line(/a BatchTopK SAE without its threshold.*give a threshold, or per-frame/));
    const { config, weights } = await readPretrained(at('audiosae'), 'layer_4', { threshold: 0.25 });
    assert.deepEqual([config.architecture, config.metadata['training_architecture_details']], ['jumprelu', { k: 3 }]);
    assert.deepEqual(weights.threshold, new Float32Array(10).fill(0.25));
    // What the file says counts.
    assert.deepEqual((await readPretrained(at('audiosae'), 'layer_3', { threshold: 0.25 })).weights.threshold, new Float32Array(10).fill(0.5));
    assert.match((await readPretrained(at('dictionary-batchtopk-unset'))).notes.join(), /threshold was never estimated/);
  });

  test('that was trained on scaled frames says so, until the factor is known', async () => {
    const unknown = await readPretrained(at('llama-scope-r1'));
    assert.equal(unknown.config.normalize_activations, 'expected_average_only_in');
    assert.match(unknown.notes.join(), /mean norm of sqrt\(d_in\) first/);
    const known = await readPretrained(at('llama-scope-r1'), undefined, { scale: 0.375 });
    assert.deepEqual([known.config.normalize_activations, known.notes], ['none', []]);
    assert.deepEqual(known.weights.W_enc, unknown.weights.W_enc!.map((value) => value * 0.375));
    assert.deepEqual(known.weights.threshold, unknown.weights.threshold);
  });
});

const line = (message: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof CochleaError, String(error));
  assert.match(error.line, message);
  assert.ok(!error.line.includes('\n'));
  return true;
};
