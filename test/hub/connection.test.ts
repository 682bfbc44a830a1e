import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { snapshot } from '../../src/hub/index.ts';
import { pull } from '../../src/jobs/published/pull.ts';
import { cochlea, complaint } from '../support/cli.ts';
import { type Fault, sha256 } from './hub-server.ts';
import { type HubTest, withHub } from './with-hub.ts';

const weights = new Uint8Array(5000).fill(7);
const files = { 'layer_3/cfg.json': '{}', 'layer_3/sae_weights.safetensors': weights, 'layer_3/optimizer_state.pt': new Uint8Array(9), 'layer_4/sae_weights.safetensors': new Uint8Array(10), 'notes.txt': 'no' };

const failure = async (work: Promise<unknown>): Promise<CochleaError> => {
  const error = await work.then(() => assert.fail('it did not fail'), (caught) => caught as unknown);
  assert.ok(error instanceof CochleaError, String((error as Error).stack));
  assert.ok(!error.line.includes('\n'), error.line);
  return error;
};

describe('a refusal is one line that says what to do', () => {
  const says = (name: string, environment: Record<string, string>, line: RegExp, prepare: (hub: HubTest) => void, repo = 'org/saes'): void => {
    test(name, () => withHub(environment, async (hub) => {
      hub.server.tokens.set('hf_reader', 'read');
      prepare(hub);
      assert.match((await failure(snapshot(repo, { wait: hub.wait }))).line, line);
      assert.deepEqual(hub.pauses, [], 'no use in asking again');
    }));
  };
  says('401 without a token', {}, /^127\.0\.0\.1:\d+ shows org\/saes to nobody without a token: check its name; if it is private or gated, set HF_TOKEN/, ({ server }) => server.put('org/saes', files, { private: true }));
  says('401 with a token', { HF_TOKEN: 'hf_old' }, /does not accept the token of HF_TOKEN: make a new one/, ({ server }) => server.put('org/saes', files));
  says('403 of a gated repository', { HF_TOKEN: 'hf_reader' }, /^org\/saes is gated: ask for access at http.*\/org\/saes$/, ({ server }) => server.put('org/saes', files, { gated: true }));
  says('404', { HF_TOKEN: 'hf_reader' }, /has no repository org\/none: check its name, and whose token it is/, () => {}, 'org/none');
  says('403 of a proxy', {}, /^127\.0\.0\.1:\d+ refuses org\/saes \(not from here \[31m here\): set HF_TOKEN/, ({ server }) => server.fault = () => ({ status: 403, json: { error: 'not from\nhere \u001b[31m\u202e here' } }));
  says('a token that is none', { HF_TOKEN: 'my password' }, /what HF_TOKEN holds is no token of the Hub: tokens begin with hf_/, () => {});
  says('an endpoint that is none', { HF_ENDPOINT: 'hub' }, /HF_ENDPOINT is "hub": it must be an http address/, () => {});

  test('of nobody at the address', () => withHub({}, async ({ server, wait, pauses }) => {
    await server.close();
    assert.match((await failure(snapshot('org/saes', { wait }))).line, /^cannot reach 127\.0\.0\.1:\d+: .+: try again; without a network, --offline/);
    assert.deepEqual(pauses, [1, 2, 4, 8]);
  }));
});

describe('what passes is waited for', () => {
  const once = (hub: HubTest, ...faults: Fault[]): void => {
    hub.server.put('org/saes', files);
    hub.server.fault = () => faults.shift();
  };
  test('as long as the Hub says, and no oftener than it makes sense', () => withHub({}, async (hub) => {
    const { server, pauses, wait, notices, onNotice } = hub;
    once(hub, { status: 429, headers: { 'Retry-After': '17' } }, { status: 429, headers: { RateLimit: '"api";r=0;t=55' } },
      { status: 503, headers: { Date: 'Sun, 01 Nov 2026 10:00:00 GMT', 'Retry-After': 'Sun, 01 Nov 2026 10:00:30 GMT' } }, { status: 500 });
    await snapshot('org/saes', { wait, onNotice });
    assert.deepEqual(pauses, [17, 55, 30, 8]);
    assert.match(notices[0]!, /asks to slow down: trying again in 17 s/);

    pauses.length = 0;
    server.requests.length = 0;
    server.fault = () => ({ status: 500, json: { error: 'broken' } });
    assert.match((await failure(snapshot('org/saes', { wait }))).line, /answers 500 \(broken\): try again later/);
    assert.deepEqual([pauses, server.requests.length], [[1, 2, 4, 8], 5]);

    server.fault = () => ({ status: 429, headers: { 'Retry-After': '3600' } });
    assert.match((await failure(snapshot('org/saes', { wait }))).line, /asks to slow down, and not to ask again for 3600 seconds: try again then/);
  }));

  test('until somebody stops it', () => withHub({}, async (hub) => {
    once(hub, { status: 503, headers: { 'Retry-After': '200' } });
    const stop = new AbortController();
    const began = performance.now();
    const error = await failure(snapshot('org/saes', { signal: stop.signal, onNotice: () => setTimeout(() => stop.abort(), 10) }));
    assert.ok(error.code === 'interrupted' && performance.now() - began < 5000);
  }));
});

test('the token comes from the environment or the standard file, and goes to the Hub alone', () => withHub({}, async ({ server, home }) => {
  server.tokens.set('hf_file', 'read').set('hf_variable', 'read').set('hf_elsewhere', 'read');
  server.put('org/saes', files, { private: true });
  const used = async (): Promise<string | undefined> => {
    server.requests.length = 0;
    rmSync(join(home, 'hub'), { recursive: true, force: true });
    await snapshot('org/saes', {});
    const site = new Set(server.requests.filter(({ url }) => !url.startsWith('/lfs/')).map(({ authorization }) => authorization));
    const storage = server.requests.filter(({ url }) => url.startsWith('/lfs/'));
    assert.ok(site.size === 1 && storage.length === 3 && storage.every(({ authorization }) => authorization === undefined));
    return [...site][0];
  };
  writeFileSync(join(home, 'token'), 'hf_file\n');
  assert.equal(await used(), 'Bearer hf_file');
  writeFileSync(join(home, 'other'), 'hf_elsewhere');
  process.env['HF_TOKEN_PATH'] = join(home, 'other');
  assert.equal(await used(), 'Bearer hf_elsewhere');
  process.env['HF_TOKEN'] = 'hf_variable';
  assert.equal(await used(), 'Bearer hf_variable');
}));

test('offline nobody is asked, and what is missing is named', () => withHub({}, async ({ server }) => {
  const commit = server.put('org/saes', files);
  assert.match((await failure(pull('org/saes', { id: 'layer_3', offline: true }))).line, /org\/saes at main is not in .*hub, and no network is to be used: pull it once without --offline/);
  const online = await pull('org/saes', { id: 'layer_3' });
  server.requests.length = 0;
  process.env['HF_HUB_OFFLINE'] = '1';
  assert.deepEqual(await pull('org/saes', { id: 'layer_3' }), { ...online, downloaded: 0 });
  assert.equal((await pull(`org/saes@${commit}`, { id: 'layer_3' })).revision, commit);
  assert.match((await failure(pull('org/saes', { id: 'layer_4' }))).line, /^org\/saes at main is in the cache without layer_4\/sae_weights.safetensors \(10 bytes\), and no network is to be used/);
  // What Python brought, without a listing: there is what lies there.
  rmSync(join(online.root, '..', '..', 'trees'), { recursive: true });
  assert.equal((await pull('org/saes', { id: 'layer_3' })).folder, online.folder);
  assert.match((await failure(pull('org/saes', { id: 'layer_4' }))).line, /org\/saes has no SAE "layer_4"/);
  assert.deepEqual(server.requests, []);
}));

test('a pull brings what the SAE needs, and no more', () => withHub({}, async ({ server }) => {
  server.put('org/saes', files);
  const { files: got, path } = await pull('org/saes', { id: 'layer_3' });
  assert.deepEqual([got.map((file) => file.path), path], [['layer_3/cfg.json', 'layer_3/sae_weights.safetensors'], 'layer_3']);
  server.put('jbloom/GPT2-Small-SAEs-Reformatted', Object.fromEntries(['cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors', 'big.bin'].flatMap((name) => [0, 1].map((layer) => [`blocks.${layer}.hook_resid_pre/${name}`, `${layer}${name}`]))));
  const release = await pull('gpt2-small-res-jb', { id: 'blocks.1.hook_resid_pre' });
  assert.deepEqual(release.files.map((file) => file.path), ['cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors'].map((name) => `blocks.1.hook_resid_pre/${name}`));
  assert.equal(release.options.loader, 'saelens');
  for (const [name, id, line] of [['org/saes', 'layer_9', /has no SAE "layer_9": name one, such as layer_3/], ['nothing', undefined, /no release is known as 'nothing'/], ['gpt2-small-res-jb', 'blocks.99.x', /has no SAE/]] as const) {
    assert.match((await failure(pull(name, { id }))).line, line);
  }
}));

test('a full disk is one line, and nothing half-written takes a name', { skip: existsSync('/dev/full') ? false : 'there is no /dev/full' }, () => withHub({}, async ({ server, home }) => {
  server.put('org/saes', files);
  const blobs = join(home, 'hub', 'models--org--saes', 'blobs');
  mkdirSync(blobs, { recursive: true });
  symlinkSync('/dev/full', join(blobs, `${sha256(weights)}.cochlea.incomplete`));
  const error = await failure(snapshot('org/saes', { paths: ['layer_3/sae_weights.safetensors'] }));
  assert.match(error.line, /^cannot write .*incomplete: the disk is full$/);
  assert.ok(!existsSync(join(blobs, sha256(weights))) && !existsSync(join(blobs, '..', 'refs')));
}));

test('the commands print where things are, and what is wrong on one line', () => withHub({}, async ({ server, home }) => {
  const commit = server.put('org/saes', files);
  const env = { HF_ENDPOINT: server.endpoint, HF_HOME: home };
  const [pulled, listed, refused, dry] = await Promise.all([
    cochlea(['pull', 'org/saes', 'layer_3'], { env }), cochlea(['pull', 'org/saes', '--list', '--json'], { env }), cochlea(['pull', 'org/none'], { env }),
    cochlea(['publish', home, '--repo', 'me/saes', '--dry-run', '--offline'], { env }),
  ]);
  const folder = join(home, 'hub', 'models--org--saes', 'snapshots', commit, 'layer_3');
  assert.deepEqual(pulled.stdout.split('\n').slice(0, 5), [folder, `org/saes, commit ${commit}, licence not stated`, '2 files, 0.0 MB, of which 0.0 MB came now', '  layer_3/cfg.json', '  layer_3/sae_weights.safetensors']);
  assert.deepEqual((JSON.parse(listed.stdout) as { saes: { id: string }[] }).saes.map(({ id }) => id), ['layer_3', 'layer_4']);
  assert.match(complaint(refused), /shows org\/none to nobody without a token/);
  assert.match(complaint(dry), /is no SAE: there is no cfg.json in it/);
}));
