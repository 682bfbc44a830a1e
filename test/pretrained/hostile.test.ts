/** Files that are wrong, by accident or on purpose: one clear line each, and nothing read from elsewhere. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { writeSafetensors, writeTorch } from '../../src/formats/index.ts';
import { readPretrained } from '../../src/pretrained/index.ts';
import { RandomStream } from '../../src/random.ts';
import { freshSeed, mutate } from '../support/mutate.ts';
import { fixture } from '../support/paths.ts';

const root = mkdtempSync(join(tmpdir(), 'cochlea-hostile-'));
after(() => rmSync(root, { recursive: true }));
let folders = 0;

/** A copy of a published SAE, with some files changed. */
function changed(name: string, files: Record<string, string | Uint8Array>): string {
  const folder = join(root, String(folders++), ...name.split('/').slice(-3));
  cpSync(fixture('pretrained', ...name.split('/')), folder, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), content);
  }
  return folder;
}

/** The same with fields of its configuration changed; undefined takes one away. */
function configured(name: string, file: string, fields: Record<string, unknown>, inside?: string): string {
  const config = JSON.parse(readFileSync(fixture('pretrained', ...name.split('/'), file), 'utf8')) as Record<string, Record<string, unknown>>;
  Object.assign(inside ? config[inside]! : config, fields);
  return changed(name, { [file]: JSON.stringify(config) });
}

const refused = (path: string, message: RegExp, id?: string): Promise<void> => assert.rejects(readPretrained(path, id), (error: unknown) => {
  assert.ok(error instanceof CochleaError, String(error));
  assert.match(error.line, message);
  assert.ok(!error.line.includes('\n') && error.line.length < 2000, error.line);
  return true;
});

describe('a configuration', () => {
  const sparsify = 'sparsify-topk/layers.3', dictionary = 'dictionary-topk-old';

  test('that is too large, no JSON or no object is refused', async () => {
    await refused(changed(sparsify, { 'cfg.json': ' '.repeat(1 << 21) }), /cfg\.json has 2097152 bytes, a configuration at most 1048576/);
    await refused(changed(sparsify, { 'cfg.json': '{"k": 3' }), /cfg\.json is not JSON/);
    for (const text of ['[]', 'null', '3', '"x"']) await refused(changed(sparsify, { 'cfg.json': text }), /cfg\.json is not an object of named values/);
    await refused(changed(sparsify, { 'cfg.json': '['.repeat(500_000) }), /cfg\.json is not JSON/);
    const saelens = fixture('saelens', 'topk');
    const folder = join(root, 'saelens');
    cpSync(saelens, folder, { recursive: true });
    writeFileSync(join(folder, 'cfg.json'), ' '.repeat(1 << 21));
    await refused(folder, /cfg\.json has 2097152 bytes/);
  });

  test('with a field of a wrong kind is refused by the field\'s name', async () => {
    for (const value of [undefined, null, '6', 0, -1, 2.5, 1e30, [], {}, true]) await refused(configured(sparsify, 'cfg.json', { d_in: value }), /cfg\.json: d_in is .*: it must be a whole number of at least 1/);
    await refused(configured(sparsify, 'cfg.json', { transcode: 'no' }), /transcode is "no": it must be true or false/);
    await refused(configured(dictionary, 'config.json', { k: 'three' }, 'trainer'), /config\.json: trainer: k is "three"/);
    await refused(configured(dictionary, 'config.json', { dict_class: 7 }, 'trainer'), /dict_class is "7": it must be a text/);
    await refused(configured(dictionary, 'config.json', { trainer: [1] }), /config\.json: trainer is not an object/);
    await refused(configured('llama-scope', 'hyperparams.json', { dataset_average_activation_norm: { in: 0 } }), /the mean norm of its frames is 0/);
  });

  test('cannot reach what it does not have', async () => {
    const trainer = '{"dict_class": "AutoEncoder", "layer": 3}';
    await refused(changed(dictionary, { 'config.json': `{"__proto__": {"trainer": ${trainer}}}` }), /holds no SAE that is known here/);
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'CrossCoder', '']) {
      await refused(configured(dictionary, 'config.json', { dict_class: name }, 'trainer'), /these have a form here: AutoEncoder, AutoEncoderNew, GatedAutoEncoder/);
    }
    await readPretrained(changed(dictionary, { 'config.json': readFileSync(fixture('pretrained', dictionary, 'config.json'), 'utf8').replace('{', '{"__proto__": {"polluted": true},') }));
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });

  test('of an SAE that has no form here is refused by name', async () => {
    await refused(configured(sparsify, 'cfg.json', { transcode: true }), /is a TopK transcoder: neither SAELens nor cochlea has a form/);
    await refused(configured(sparsify, 'cfg.json', { skip_connection: true }), /is an SAE with a skip connection/);
    await refused(configured(sparsify, 'cfg.json', { activation: 'relu' }), /is one with the activation "relu"/);
    await refused(configured('llama-scope', 'hyperparams.json', { use_glu_encoder: true }), /it has a GLU encoder/);
    await refused(configured('llama-scope', 'hyperparams.json', { norm_activation: 'batch-wise' }), /norm_activation is "batch-wise": a frame cannot be normalised by those beside it/);
    await refused(configured('llama-scope', 'hyperparams.json', { hook_point_out: 'blocks.6.hook_mlp_out' }), /it reads blocks\.5\.hook_resid_post and writes blocks\.6\.hook_mlp_out/);
    await refused(configured('llama-scope', 'hyperparams.json', { act_fn: 'swish' }), /its activation is "swish"/);
  });
});

describe('tensors', () => {
  const sizes = { dIn: 6, dSae: 12 };
  const numbers = (...shape: number[]) => ({ dtype: 'F32' as const, shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5) });
  const sparsifyTensors = { 'encoder.weight': numbers(sizes.dSae, sizes.dIn), 'encoder.bias': numbers(sizes.dSae), W_dec: numbers(sizes.dSae, sizes.dIn), b_dec: numbers(sizes.dIn) };

  async function withSparsify(tensors: Record<string, ReturnType<typeof numbers>>): Promise<string> {
    const folder = changed('sparsify-topk/layers.3', {});
    await writeSafetensors(join(folder, 'sae.safetensors'), Object.entries(tensors).map(([name, tensor]) => ({ name, ...tensor })));
    return folder;
  }

  test('that are missing, of another shape, on their side or too many are refused by name', async () => {
    await readPretrained(await withSparsify(sparsifyTensors));
    const { W_dec: _, ...without } = sparsifyTensors;
    await refused(await withSparsify(without), /there is no tensor W_dec; it has "/);
    await refused(await withSparsify({ ...sparsifyTensors, W_dec: numbers(sizes.dIn, sizes.dSae) }), /W_dec has shape \[6, 12\], not \[12, 6\]/);
    await refused(await withSparsify({ ...sparsifyTensors, b_dec: numbers(sizes.dIn + 1) }), /b_dec has shape \[7\], not \[6\]/);
    await refused(await withSparsify({ ...sparsifyTensors, W_skip: numbers(6, 6) }), /the tensor "W_skip" does not belong to this kind of SAE/);
  });

  test('of openai\'s with an activation that has no form here are refused', async () => {
    const state = { pre_bias: numbers(6), latent_bias: numbers(10), 'encoder.weight': numbers(10, 6), 'decoder.weight': numbers(6, 10) };
    const folder = join(root, 'openai');
    mkdirSync(folder);
    const saved = async (fields: Parameters<typeof writeTorch>[1] & object): Promise<string> => {
      await writeTorch(join(folder, '6.pt'), { ...state, ...fields });
      return folder;
    };
    assert.deepEqual((await readPretrained(await saved({ activation: 'TopK', activation_state_dict: { k: 4, postact_fn: 'ReLU' } }))).config['k'], 4);
    await refused(await saved({ activation: 'TopK', activation_state_dict: { k: 4, postact_fn: 'Identity' } }), /after TopK comes "Identity": only ReLU has a form here/);
    await refused(await saved({ activation: 'Identity' }), /its activation is "Identity": ReLU and TopK have a form here/);
    await refused(await saved({ activation: 'TopK', activation_state_dict: { k: -1, postact_fn: 'ReLU' } }), /k is "-1": it must be a whole number/);
    await refused(await saved({ activation: 'TopK' }), /activation_state_dict is not an object/);
  });
});

test('an id stays below its folder', async () => {
  const ids = ['..', '../dictionary-topk', 'layer_4/..', 'layer_4/../../dictionary-topk', '/etc', '/', '', 'a//b', '.', './layer_4', 'C:/x', 'C:x', '..\\x', 'layer_4\\ae.pt', 'a\0b'];
  for (const id of ids) await refused(fixture('pretrained', 'audiosae'), /is no SAE of .*: an id is a path below the folder/, id);
  await refused(fixture('pretrained', 'audiosae'), /has no layer_9/, 'layer_9');
});

test('configurations that are damaged anyhow give an SAE or one clear line', async () => {
  const seed = freshSeed('hostile configurations');
  const random = new RandomStream(seed, 1);
  const files = ['dictionary-topk-old/config.json', 'dictionary-gated/config.json', 'audiosae/layer_3/config.json', 'sparsify-groupmax/layers.3/cfg.json', 'llama-scope/hyperparams.json', 'llama-scope-r1/config.json', 'mwhanna-skip/config.yaml'];
  let loaded = 0, refusals = 0;
  for (const path of files) {
    const name = path.split('/').slice(0, -1).join('/'), file = path.split('/').at(-1)!;
    const folder = changed(name, {}), whole = new Uint8Array(readFileSync(fixture('pretrained', ...path.split('/'))));
    for (let n = 0; n < 150; n++) {
      writeFileSync(join(folder, file), mutate(whole, random));
      try {
        const { weights, config } = await readPretrained(folder, file === 'config.yaml' ? 'layer_7.safetensors' : undefined);
        assert.equal(weights.W_enc!.length, config.d_in * config.d_sae);
        loaded++;
      } catch (error) {
        assert.ok(error instanceof CochleaError && !error.line.includes('\n'), `${path}: ${String(error)} ${(error as Error).stack}`);
        refusals++;
      }
    }
  }
  assert.ok(loaded > 50 && refusals > 200, `${loaded} loaded, ${refusals} refused`);
});
