import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { writeSaelensFolder } from '../../src/formats/index.ts';
import { publish } from '../../src/jobs/published/publish.ts';
import { listSaes, pull } from '../../src/jobs/published/pull.ts';
import { readInputMean, writeInputMean } from '../../src/training/input-mean.ts';
import { sha256 } from './hub-server.ts';
import { type HubTest, withHub } from './with-hub.ts';

const metadata = { model_name: 'openai/whisper-small', hook_name: 'encoder.layers.3', layer: 3, sample_rate: 16_000, frame_rate: 50, l0: 31.98765, num_dead_features: 2, data_sha256: 'da7a' };

/** An SAE of 4 x 8 as `train` leaves it; its numbers depend on `seed`. */
async function trained(folder: string, seed: number, W_dec?: Float32Array): Promise<string> {
  const tensor = (...shape: number[]) => ({ shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, n) => Math.sin(seed + n)) });
  const tensors = { W_enc: tensor(4, 8), W_dec: W_dec ? { shape: [8, 4], data: W_dec } : tensor(8, 4), b_enc: tensor(8), b_dec: tensor(4) };
  const config = {
    architecture: 'topk', d_in: 4, d_sae: 8, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: true, normalize_activations: 'none', reshape_activations: 'none',
    k: 2, rescale_acts_by_decoder_norm: false, metadata,
  };
  await writeSaelensFolder(folder, { config, tensors: Object.entries(tensors), logSparsity: new Float32Array(8).fill(-2) });
  const flags = { activations: join('/home', 'somebody', 'secret', 'acts'), dSae: 8, arch: 'topk', centre: true, out: '/home/somebody/runs/3', quiet: true };
  writeFileSync(join(folder, 'run.json'), JSON.stringify({ cochlea: '0.1.0', command: 'train', flags, adapter: { description: 'SwiftShader Device', software: true } }));
  return folder;
}

const withToken = (work: (hub: HubTest) => Promise<void>) => () => withHub({ HF_TOKEN: 'hf_writer' }, async (hub) => {
  hub.server.tokens.set('hf_writer', 'write').set('hf_reader', 'read');
  await work(hub);
});

const failure = async (work: Promise<unknown>): Promise<CochleaError> => {
  const error = await work.then(() => assert.fail('it did not fail'), (caught) => caught as unknown);
  assert.ok(error instanceof CochleaError, String((error as Error).stack));
  assert.ok(!error.line.includes('\n'), error.line);
  return error;
};

const uploads = ({ server }: HubTest) => server.requests.filter(({ method, url }) => method === 'PUT' && /^\/(lfs|part)\//.test(url));

describe('publishing', () => {
  test('and pulling gives the same bytes', withToken(async (hub) => {
    const { server, home } = hub;
    const folders = [await trained(join(home, 'layer 3', 'layer3'), 3), await trained(join(home, 'layer5'), 5)];
    await writeInputMean(folders[1]!, Float32Array.of(1, 2, 3, 4));
    const result = await publish({ folders, repo: 'me/saes', licence: 'mit' });
    assert.deepEqual([server.isPrivate('me/saes'), result.creates, result.private], [true, true, true]);
    assert.deepEqual([...server.files('me/saes').keys()].sort(), [
      '.gitattributes', 'README.md', ...['layer3', 'layer5'].flatMap((name) => ['cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors'].map((file) => `${name}/${file}`)), 'layer5/input_mean.safetensors',
    ].sort());
    const got = await pull('me/saes', { id: 'layer5' });
    assert.equal(got.files.length, 4);
    assert.deepEqual(await readInputMean(got.folder, 4), Float32Array.of(1, 2, 3, 4));
    assert.deepEqual([got.folder, got.licence], [join(home, 'hub', 'models--me--saes', 'snapshots', result.commit!, 'layer5'), null]);
    for (const file of ['cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors']) {
      assert.deepEqual(readFileSync(join(got.folder, file)), readFileSync(join(folders[1]!, file)), file);
    }
    assert.deepEqual((await listSaes('me/saes')).saes.map(({ id }) => id), ['layer3', 'layer5']);
    assert.match((await failure(pull('me/saes'))).line, /has 2 SAEs: name one, such as layer3, layer5/);
    assert.equal((await pull('me/saes', { all: true })).files.length, 7);
    // The token is for the site; storage has addresses of its own.
    assert.ok(server.requests.filter(({ url }) => /^\/(lfs|part|complete)\//.test(url)).every(({ authorization }) => authorization === undefined));
    assert.ok(server.requests.filter(({ url }) => url.startsWith('/api/')).every(({ authorization }) => authorization === 'Bearer hf_writer'));
  }));

  test('in parts, when the Hub wants them', withToken(async (hub) => {
    hub.server.partBytes = 100;
    const folder = await trained(join(hub.home, 'one'), 1);
    await publish({ folders: [folder], repo: 'me/saes', visibility: 'public' });
    const weights = readFileSync(join(folder, 'sae_weights.safetensors'));
    assert.deepEqual(hub.server.objects.get(sha256(weights)), new Uint8Array(weights));
    assert.equal(uploads(hub).filter(({ url }) => url.includes(sha256(weights))).length, Math.ceil(weights.length / 100));
    assert.equal(hub.server.isPrivate('me/saes'), false);
    assert.equal((await pull('me/saes')).path, 'one');
  }));

  test('sends nothing that is there, and goes on after an interruption', withToken(async (hub) => {
    const { server, home, wait } = hub;
    const folders = [await trained(join(home, 'a'), 1), await trained(join(home, 'b'), 2)];
    const last = sha256(readFileSync(join(folders[1]!, 'sae_weights.safetensors')));
    server.fault = ({ url }) => (url.endsWith(last) ? { refuseBody: true } : undefined);
    assert.match((await failure(publish({ folders, repo: 'me/saes', wait }))).line, /^cannot reach 127\.0\.0\.1/);
    assert.deepEqual([...server.files('me/saes').keys()], ['.gitattributes']);
    const arrived = [...server.objects.keys()];
    assert.ok(arrived.length >= 1 && !arrived.includes(last));
    server.fault = () => undefined;
    server.requests.length = 0;
    assert.equal((await publish({ folders, repo: 'me/saes', wait })).commit !== undefined, true);
    assert.ok(uploads(hub).every(({ url }) => !arrived.some((oid) => url.endsWith(oid))), 'what had arrived came again');

    server.requests.length = 0;
    const again = await publish({ folders, repo: 'me/saes', wait });
    assert.deepEqual([again.commit, [...new Set(again.files.map(({ state }) => state))]], [undefined, ['same']]);
    assert.deepEqual(server.requests.filter(({ method }) => method !== 'GET'), []);
    await trained(folders[0]!, 7);
    const changed = await publish({ folders, repo: 'me/saes', wait });
    assert.deepEqual(changed.files.filter(({ state }) => state !== 'same').map(({ path, state }) => [path, state]), [['a/sae_weights.safetensors', 'changed']]);
    assert.equal(uploads(hub).length, 1);
  }));

  test('on a branch of its own', withToken(async ({ server, home }) => {
    server.put('me/saes', { 'README.md': 'old' });
    const { url } = await publish({ folders: [await trained(join(home, 'a'), 1)], repo: 'me/saes', branch: 'v2' });
    assert.equal(url, `${server.endpoint}/me/saes/tree/v2`);
    assert.deepEqual([server.files('me/saes').size, server.files('me/saes', 'v2').size], [1, 4]);
    assert.equal((await pull('me/saes@v2')).files.length, 3);
  }));

  test('shows in a dry run what would go up, and touches nothing', withToken(async ({ server, home }) => {
    const folder = await trained(join(home, 'a'), 1);
    const planned = await publish({ folders: [folder], repo: 'me/saes', dryRun: true, datasets: ['openslr/librispeech_asr'] });
    assert.ok(server.requests.every(({ method }) => method === 'GET'));
    const weights = readFileSync(join(folder, 'sae_weights.safetensors'));
    assert.deepEqual(planned.files.find(({ path }) => path === 'a/sae_weights.safetensors'), { path: 'a/sae_weights.safetensors', size: weights.length, sha256: sha256(weights), state: 'new' });
    server.requests.length = 0;
    assert.equal((await publish({ folders: [folder], repo: 'me/saes', dryRun: true, offline: true })).files.length, 4);
    assert.deepEqual(server.requests, []);
    const done = await publish({ folders: [folder], repo: 'me/saes', datasets: ['openslr/librispeech_asr'] });
    assert.equal(new TextDecoder().decode(server.files('me/saes').get('README.md')), planned.card);
    assert.deepEqual(done.files, planned.files);
  }));

  test('refuses what is no SAE, and one with NaN, before anything is asked', withToken(async ({ server, home }) => {
    mkdirSync(join(home, 'empty'));
    const nan = await trained(join(home, 'nan'), 1, new Float32Array(32).fill(1).fill(NaN, 3, 5));
    const good = await trained(join(home, 'x', 'good'), 1);
    cpSync(good, join(home, 'y', 'good'), { recursive: true });
    cpSync(good, join(home, 'torn'), { recursive: true });
    writeFileSync(join(home, 'torn', 'sae_weights.safetensors'), readFileSync(join(good, 'sae_weights.safetensors')).subarray(0, -1));
    for (const [folders, line] of [
      [['empty'], /empty is no SAE: there is no cfg.json/], [['none'], /no such folder/], [['nan'], /2 of the 32 numbers of W_dec are NaN or infinite/],
      [['x/good', 'y/good'], /two of the folders are called good/], [['torn'], /not a whole safetensors file/],
    ] as const) assert.match((await failure(publish({ folders: folders.map((name) => join(home, name)), repo: 'me/saes' }))).line, line);
    assert.equal((await failure(publish({ folders: [nan], repo: 'me/saes' }))).code, 'not-finite');
    assert.match((await failure(publish({ folders: [good], repo: 'saes' }))).line, /USER\/NAME/);
    assert.deepEqual(server.requests, []);
  }));

  test('does not overwrite what somebody else committed meanwhile', withToken(async ({ server, home }) => {
    server.put('me/saes', { 'README.md': 'old' });
    server.fault = ({ url }) => {
      if (url.endsWith('/preupload/main')) server.put('me/saes', { 'README.md': 'theirs' });
      return undefined;
    };
    assert.match((await failure(publish({ folders: [await trained(join(home, 'a'), 1)], repo: 'me/saes' }))).line, /changed by somebody else meanwhile: run the command again/);
    assert.equal(new TextDecoder().decode(server.files('me/saes').get('README.md')), 'theirs');
  }));

  test('needs a token that may write', withToken(async ({ home }) => {
    const folders = [await trained(join(home, 'a'), 1)];
    process.env['HF_TOKEN'] = 'hf_reader';
    assert.match((await failure(publish({ folders, repo: 'me/saes' }))).line, /refuses me\/saes \(You don't have the rights.*\): the token of HF_TOKEN needs the right to write it/);
    delete process.env['HF_TOKEN'];
    const error = await failure(publish({ folders, repo: 'me/saes' }));
    assert.deepEqual([error.code, /needs a token of the Hub/.test(error.line)], ['config', true]);
  }));
});

describe('the model card', () => {
  test('says what the folder says, and no more', withToken(async ({ home }) => {
    const folder = await trained(join(home, 'a'), 1);
    writeFileSync(join(folder, 'evaluation.json'), JSON.stringify({ frames: 1200, clips: 7, metrics: { explained_variance: { value: 0.91234 }, l0: { value: null, reason: 'x' } }, intervals: { explained_variance: { low: 0.9, high: 0.92 } } }));
    const { card } = await publish({ folders: [folder], repo: 'me/saes', dryRun: true, offline: true, licence: 'cc-by-4.0' });
    assert.ok(card.startsWith('---\nlibrary_name: saelens\nlicense: cc-by-4.0\ntags:\n- saelens\n- sparse-autoencoder\n- interpretability\n- audio\nbase_model:\n- openai/whisper-small\n---\n\n# saes\n'), card);
    for (const part of ['| hook point | encoder.layers.3 |', '| L0 in training | 31.99 |', '| trained on | SwiftShader Device |', 'On 1200 frames of 7 clips', '| explained&#95;variance | 0.9123 | 0.9 to 0.92 |', '"activations": "acts"', 'SAE.from_pretrained("me/saes", "a")']) {
      assert.ok(card.includes(part), `${part}\n${card}`);
    }
    for (const absent of ['somebody', 'datasets', 'undefined', 'null', 'SHA-256 of the model', 'steps', 'quiet']) assert.ok(!card.includes(absent), `${absent}\n${card}`);
  }));

  test('leaves what people wrote, replaces its own sections and adds new ones', withToken(async ({ server, home }) => {
    const theirs = '---\nlicense: apache-2.0\ntags: [mine, audio]\nwidget:\n  - text: hello\n---\n# My title\n\nMy words.\n';
    server.put('me/saes', { 'README.md': theirs });
    const read = (): string => new TextDecoder().decode(server.files('me/saes').get('README.md'));
    await publish({ folders: [await trained(join(home, 'a'), 1)], repo: 'me/saes' });
    const first = read();
    assert.ok(first.startsWith('---\nlicense: apache-2.0\ntags:\n- mine\n- audio\n- saelens\n- sparse-autoencoder\n- interpretability\nwidget:\n  - text: hello\nlibrary_name: saelens\n'), first);
    assert.ok(first.includes('# My title\n\nMy words.\n\n<!-- cochlea: a -->\n## a\n'), first);
    await publish({ folders: [await trained(join(home, 'b'), 2)], repo: 'me/saes' });
    assert.ok(read().startsWith(first.trimEnd()) && read().includes('<!-- cochlea: b -->'), read());
    server.put('me/saes', { ...Object.fromEntries(server.files('me/saes')), 'README.md': `${read().replace('## a', '## stale')}\nThe end.\n` });
    await publish({ folders: [join(home, 'a')], repo: 'me/saes' });
    assert.ok(!read().includes('## stale') && read().endsWith('The end.\n') && read().split('<!-- cochlea: a -->').length === 2, read());
  }));
});
