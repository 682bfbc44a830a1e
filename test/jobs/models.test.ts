/** Models of the Hub, wherever a model is asked for. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ActivationStore, collect } from '../../src/activations/index.ts';
import { listHooks, openEncoder } from '../../src/encoders/index.ts';
import { extractActivations } from '../../src/jobs/extract.ts';
import { locateModel } from '../../src/jobs/recordings/models.ts';
import { fails } from '../encoders/fails.ts';
import { externalTensor, model as onnx, tensor, tinyEncoder } from '../encoders/tiny-onnx.ts';
import { type HubTest, withHub } from '../hub/with-hub.ts';
import { cochlea } from '../support/cli.ts';
import { makeRecordings, tinyHook } from '../support/recordings.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-models-'));
after(() => rmSync(folder, { recursive: true }));
const { model, manifest, sound } = makeRecordings(folder, 4);
const tiny = new Uint8Array(readFileSync(model));
const other = onnx({ ...tinyEncoder(), tensors: [...tinyEncoder().tensors!.slice(0, 2), tensor('tenth', [], [0.5]), ...tinyEncoder().tensors!.slice(3)] });
const samples = Float32Array.from({ length: 400 }, (_, t) => Math.sin(t * 0.05));

/** As transformers.js lays out a speech recogniser. */
const files = {
  'README.md': '# A model', 'config.json': '{"model_type": "none"}', 'preprocessor_config.json': '{"sampling_rate": 8000}', 'tokenizer.json': '{"model": {}}', 'generation_config.json': '{}', 'training.json': '{"lr": 1}',
  'model.safetensors': new Uint8Array(5000), 'onnx/encoder_model.onnx': tiny, 'onnx/encoder_model_fp16.onnx': other, 'onnx/decoder_model_merged.onnx': new Uint8Array(11),
  'onnx/decoder_model_merged_fp16.onnx': new Uint8Array(12), 'onnx/decoder_model.onnx': new Uint8Array(13),
};

async function framesOf(path: string): Promise<{ frames: Float32Array; name: string; source: string; sampleRate: number }> {
  const encoder = await openEncoder({ model: path, hook: tinyHook });
  const { frames } = await encoder.encode(samples);
  await encoder.close();
  return { frames, name: encoder.model.name, source: encoder.model.source, sampleRate: encoder.sampleRate };
}

const asked = ({ server }: HubTest): string[] => server.requests.map(({ url }) => /\/resolve\/[^/]+\/(.*)$/.exec(url)?.[1]).filter((path) => path !== undefined).map((path) => decodeURIComponent(path));

describe('a model of the Hub', () => {
  test('is its encoder, with the small files that belong to it, of one commit, and stays there for offline', () => withHub({}, async (hub) => {
    const commit = hub.server.put('org/tiny', files);
    const path = await locateModel('hf:org/tiny', hub);
    assert.deepEqual(asked(hub).sort(), ['config.json', 'generation_config.json', 'onnx/encoder_model.onnx', 'preprocessor_config.json', 'tokenizer.json']);
    assert.equal(path, join(hub.home, 'hub', 'models--org--tiny', 'snapshots', commit, 'onnx', 'encoder_model.onnx'));
    assert.match(hub.notices.join('\n'), /^fetching org\/tiny from the Hub, once: 0\.0 MB$/);
    const { frames, ...about } = await framesOf(path);
    assert.deepEqual(about, { name: 'org/tiny', source: `hf:org/tiny@${commit}:onnx/encoder_model.onnx`, sampleRate: 8000 }); // as preprocessor_config.json says
    assert.deepEqual(frames, (await framesOf(model)).frames);

    hub.server.put('org/tiny', { ...files, 'onnx/encoder_model.onnx': other });
    const before = hub.server.requests.length;
    assert.equal(await locateModel('hf:org/tiny', { ...hub, offline: true }), path);
    assert.equal(await locateModel(about.source, hub), path);
    assert.equal(hub.server.requests.length, before, 'offline, and for a commit that is here, nobody is asked');
    const moved = await locateModel('org/tiny', hub);
    assert.notEqual(moved, path);
    assert.notDeepEqual((await framesOf(moved)).frames, frames);
    assert.equal(await locateModel(`org/tiny@${commit}`, hub), path);
  }));

  test('can be another file of it, with the decoder in the same precision', () => withHub({}, async (hub) => {
    hub.server.put('org/tiny', files);
    const path = await locateModel('org/tiny@main:onnx/encoder_model_fp16.onnx', hub);
    assert.deepEqual(new Uint8Array(readFileSync(path)), other);
    assert.ok(!existsSync(join(path, '..', 'decoder_model_merged_fp16.onnx')));
    assert.equal(await locateModel('org/tiny:onnx/encoder_model_fp16.onnx', { ...hub, decoder: true }), path);
    assert.ok(existsSync(join(path, '..', 'decoder_model_merged_fp16.onnx')));
    assert.deepEqual(asked(hub).filter((name) => name.includes('decoder')), ['onnx/decoder_model_merged_fp16.onnx']);
    hub.server.put('org/alone', { 'model.onnx': tiny, 'model_quantized.onnx': other });
    assert.deepEqual(new Uint8Array(readFileSync(await locateModel('hf:org/alone', { ...hub, decoder: true }))), tiny);
  }));

  test('brings the files that its graph keeps weights in, and no others', () => withHub({}, async (hub) => {
    const parts = tinyEncoder();
    const kernel = new Uint8Array(new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0.5, 0.5, 0.5, 0.5, 1, -1, 1, -1]).buffer);
    parts.tensors![1] = externalTensor('kernel', [4, 1, 4], { location: './encoder_model.onnx_data', offset: '0', length: '64' });
    const split = { 'config.json': '{}', 'onnx/encoder_model.onnx': onnx(parts), 'onnx/encoder_model.onnx_data': kernel, 'onnx/decoder_model.onnx_data': new Uint8Array(1000) };
    hub.server.put('org/large', split);
    const path = await locateModel('hf:org/large', hub);
    assert.deepEqual(asked(hub).sort(), ['config.json', 'onnx/encoder_model.onnx', 'onnx/encoder_model.onnx_data']);
    assert.deepEqual((await framesOf(path)).frames, (await framesOf(model)).frames);
    const before = hub.server.requests.length;
    assert.equal(await locateModel('hf:org/large', { ...hub, offline: true }), path);
    assert.equal(hub.server.requests.length, before);
    const { 'onnx/encoder_model.onnx_data': _, ...torn } = split;
    hub.server.put('org/torn', torn);
    await assert.rejects(locateModel('hf:org/torn', hub), fails('file-missing', /org\/torn has no onnx\/encoder_model\.onnx_data, which holds weights of onnx\/encoder_model\.onnx/));
  }));

  test('is compared with its hash before it is there', () => withHub({}, async (hub) => {
    hub.server.put('org/tiny', files);
    const wrong = tiny.slice();
    wrong[100]! ^= 1;
    hub.server.fault = ({ url }) => (url.startsWith('/lfs/') ? { content: wrong } : undefined);
    await assert.rejects(locateModel('hf:org/tiny', hub), fails('file-damaged', /onnx\/encoder_model\.onnx of org\/tiny .* SHA-256/));
    hub.server.fault = () => undefined;
    assert.deepEqual(new Uint8Array(readFileSync(await locateModel('hf:org/tiny', hub))), tiny);
  }));

  test('that cannot be had says why, and what is there', () => withHub({}, async (hub) => {
    hub.server.put('org/torch', { 'config.json': '{}', 'model.safetensors': new Uint8Array(10), 'README.md': '' });
    hub.server.put('org/several', { 'a.onnx': tiny, 'b/c.onnx': other });
    hub.server.put('org/tiny', files);
    const refused = (name: string, code: Parameters<typeof fails>[0], line: RegExp, options = {}): Promise<void> => assert.rejects(locateModel(name, { ...hub, ...options }), fails(code, line), name);
    await refused('hf:org/torch', 'file-missing', /^org\/torch has no \.onnx file: it has config\.json, model\.safetensors, README\.md; export it to ONNX, or /);
    await refused('hf:org/several', 'usage', /^org\/several has 2 \.onnx files: name one of them, as hf:org\/several:a\.onnx; there are a\.onnx, b\/c\.onnx$/);
    await refused('hf:org/tiny:onnx/none.onnx', 'file-missing', /^org\/tiny has no ONNX file onnx\/none\.onnx: it has onnx\/encoder_model\.onnx, /);
    await refused('hf:org/tiny:config.json', 'file-missing', /^org\/tiny has no ONNX file config\.json/);
    await refused('hf:org/tiny@nowhere', 'fetch', /^org\/tiny has no such revision/);
    await refused('hf:org/gone', 'fetch', /^\S+ shows org\/gone to nobody without a token: check its name/);
    await refused('folder/gone', 'fetch', /^there is no file or folder folder\/gone, and of the Hub: \S+ shows folder\/gone to nobody without a token: check its name/);
    await refused('hf:a/b/c', 'usage', /^hf:a\/b\/c is no model of the Hub: it is hf:ORG\/NAME, /);
    await refused('hf:org/tiny', 'file-missing', /^org\/tiny at main is not in \S+, and no network is to be used/, { offline: true });
  }));

  test('does not stand in the way of what lies on this disk, or of models known by name', () => withHub({}, async (hub) => {
    hub.server.put('org/tiny', files);
    mkdirSync(join(folder, 'org', 'tiny', 'onnx'), { recursive: true });
    writeFileSync(join(folder, 'org', 'tiny', 'onnx', 'model.onnx'), other);
    const { stdout } = await cochlea(['hooks', 'org/tiny', '--json'], { cwd: folder });
    assert.equal((JSON.parse(stdout) as { source: string }).source, 'org/tiny');
    for (const local of [model, './org/tiny', 'moonshine-tiny', 'folder/gone.onnx', 'gone', join(folder, 'org/tiny'), 'a/b/c']) assert.equal(await locateModel(local, hub), local);
    assert.equal(hub.server.requests.length, 0);
    await assert.rejects(listHooks('gone'), fails('file-missing', /^no model 'gone': give the path of an \.onnx file or of its folder, ORG\/NAME of the Hugging Face Hub, or one of moonshine-tiny, /));
  }));
});

test('the store says which commit of which model made its frames', () => withHub({}, async (hub) => {
  const commit = hub.server.put('org/tiny', files);
  const out = join(folder, 'store');
  await extractActivations({ model: 'org/tiny', hook: tinyHook, audio: [manifest], out, onNotice: hub.onNotice });
  const { info, ...store } = await ActivationStore.open(out);
  assert.deepEqual([info.model, info.modelSource], ['org/tiny', `hf:org/tiny@${commit}:onnx/encoder_model.onnx`]);
  assert.ok(store);
  const local = join(folder, 'local-store');
  await extractActivations({ model, hook: tinyHook, audio: [manifest], out: local });
  const other = await ActivationStore.open(local);
  assert.equal(other.info.modelSource, undefined, 'a path of this machine says nothing elsewhere');
  assert.deepEqual(new Set((await collect(other, 1 << 20)).clips.map(({ id }) => id)).size, 4);
}));

test('train and features take it by name, and a trained SAE finds its commit again without a network', () => withHub({}, async (hub) => {
  const commit = hub.server.put('org/tiny', files);
  const sae = join(folder, 'sae');
  const trained = await cochlea(['train', '--audio', manifest, '--model', 'hf:org/tiny', '--hook', tinyHook, '--d-sae', '16', '--k', '2', '--batch-size', '64', '--steps', '2', '--out', sae]);
  assert.equal(trained.code, 0, trained.stderr);
  const { model_name, model_source } = (JSON.parse(readFileSync(join(sae, 'cfg.json'), 'utf8')) as { metadata: Record<string, string> }).metadata;
  assert.deepEqual([model_name, model_source], ['org/tiny', `hf:org/tiny@${commit}:onnx/encoder_model.onnx`]);
  hub.server.put('org/tiny', { ...files, 'onnx/encoder_model.onnx': other });
  const before = hub.server.requests.length;
  const features = await cochlea(['features', sae, join(sound, 'even', '000.wav'), '--json']);
  assert.equal(features.code, 0, features.stderr);
  assert.equal((JSON.parse(features.stdout) as { model: string }).model, 'org/tiny');
  assert.doesNotMatch(features.stderr, /trained on another file/);
  assert.equal(hub.server.requests.length, before);
}));
