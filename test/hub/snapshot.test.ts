import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { snapshot } from '../../src/hub/index.ts';
import { gitHash, type Recorded, sha256 } from './hub-server.ts';
import { type HubTest, withHub } from './with-hub.ts';

/** Bytes that differ everywhere, so that a piece at a wrong place shows. */
function noise(size: number, seed: string): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let n = 0; n * 64 < size; n++) pieces.push(createHash('sha512').update(`${seed} ${n}`).digest());
  return new Uint8Array(Buffer.concat(pieces).subarray(0, size));
}

const weights = noise(300_000, 'weights');
const config = '{"d_in": 8}';
const files = { 'README.md': '# SAEs', 'layer 3/cfg.json': config, 'layer 3/sae_weights.safetensors': weights, 'layer 4/sae_weights.safetensors': noise(1000, 'other') };

const failure = async (work: Promise<unknown>): Promise<CochleaError> => {
  const error = await work.then(() => assert.fail('it did not fail'), (caught) => caught as unknown);
  assert.ok(error instanceof CochleaError, String((error as Error).stack));
  assert.ok(!error.line.includes('\n'), error.line);
  return error;
};

const below = (folder: string): string[] => readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1)).sort();

const content = ({ requests, storage }: HubTest['server']): Recorded[] => requests.filter(({ url, method }) => method === 'GET' && url.startsWith('/lfs/') && storage !== '');

describe('a snapshot', () => {
  test('lies in the cache as Python\'s huggingface_hub lays it out', () => withHub({}, async ({ server, home }) => {
    const commit = server.put('org/saes', files, { card: { license: 'mit' } });
    const { folder, revision, licence, downloaded, files: got } = await snapshot('org/saes', { paths: ['layer 3', 'README.md'] });
    assert.deepEqual([revision, licence, downloaded], [commit, 'mit', weights.length + config.length + 6]);
    assert.deepEqual(got.map(({ path }) => path).sort(), ['README.md', 'layer 3/cfg.json', 'layer 3/sae_weights.safetensors']);
    const own = join(home, 'hub', 'models--org--saes');
    assert.equal(folder, join(own, 'snapshots', commit));
    const names = [gitHash(Buffer.from('# SAEs')), gitHash(Buffer.from(config)), sha256(weights)];
    assert.deepEqual(below(own), [
      ...names.map((name) => join('blobs', name)), join('refs', 'main'), ...got.map(({ path }) => join('snapshots', commit, path)), join('trees', `${commit}.json`),
    ].sort());
    // huggingface_hub: refs hold the commit without a line end; links lead to blobs by relative paths.
    assert.equal(readFileSync(join(own, 'refs', 'main'), 'utf8'), commit);
    assert.equal(readlinkSync(join(folder, 'layer 3', 'cfg.json')), join('..', '..', '..', 'blobs', names[1]!));
    assert.equal(readlinkSync(join(folder, 'README.md')), join('..', '..', 'blobs', names[0]!));
    assert.deepEqual(new Uint8Array(readFileSync(join(folder, 'layer 3', 'sae_weights.safetensors'))), weights);
    const { format_version: version, files: tree } = JSON.parse(readFileSync(join(own, 'trees', `${commit}.json`), 'utf8'));
    assert.equal(version, 1);
    assert.deepEqual(tree['layer 3/sae_weights.safetensors'], { ...tree['layer 3/sae_weights.safetensors'], size: weights.length, lfs_sha256: sha256(weights), lfs_size: weights.length });
    assert.deepEqual(tree['README.md'], { size: 6, blob_id: names[0] });
  }));

  test('is of one commit, and asks nobody for one that is whole', () => withHub({}, async ({ server }) => {
    const first = server.put('org/saes', files);
    const pinned = await snapshot('org/saes', {});
    server.put('org/saes', { ...files, 'layer 3/cfg.json': '{"d_in": 9}' });
    server.requests.length = 0;
    assert.deepEqual(await snapshot('org/saes', { revision: first }), { ...pinned, downloaded: 0 });
    assert.deepEqual(server.requests, []);
    const now = await snapshot('org/saes', {});
    assert.notEqual(now.revision, first);
    assert.equal(readFileSync(join(now.folder, 'layer 3', 'cfg.json'), 'utf8'), '{"d_in": 9}');
    // Only what changed came.
    assert.deepEqual([now.downloaded, content(server).length], [11, 0]);
    await snapshot('org/saes', { revision: 'v1' }).then(() => assert.fail(), (error: CochleaError) => assert.match(error.line, /no such revision \(Invalid rev id: v1\)/));
  }));

  test('uses what Python left in the cache', () => withHub({}, async ({ server, home }) => {
    server.put('org/saes', files);
    const blobs = join(home, 'hub', 'models--org--saes', 'blobs');
    mkdirSync(blobs, { recursive: true });
    writeFileSync(join(blobs, sha256(weights)), weights);
    const { folder } = await snapshot('org/saes', { paths: ['layer 3/sae_weights.safetensors'] });
    assert.deepEqual(content(server), []);
    assert.ok(lstatSync(join(folder, 'layer 3', 'sae_weights.safetensors')).isSymbolicLink());
  }));

  test('comes in pages, and with files of no bytes', () => withHub({}, async ({ server }) => {
    server.pageSize = 2;
    server.put('org/saes', { ...files, 'empty.txt': '' });
    const { folder } = await snapshot('org/saes', {});
    assert.equal(readFileSync(join(folder, 'empty.txt'), 'utf8'), '');
    assert.equal(server.requests.filter(({ url }) => url.includes('/tree/')).length, 4);
  }));
});

describe('a transfer that breaks', () => {
  test('goes on where it was, within one call', () => withHub({}, async ({ server, wait, pauses, notices, onNotice }) => {
    server.put('org/saes', files);
    const ranges: (string | undefined)[] = [];
    server.fault = ({ url, range }) => {
      if (!url.startsWith('/lfs/')) return undefined;
      ranges.push(range);
      return ranges.length < 3 ? { cutAfter: 100_000 } : undefined;
    };
    const { folder } = await snapshot('org/saes', { paths: ['layer 3'], wait, onNotice });
    assert.deepEqual(new Uint8Array(readFileSync(join(folder, 'layer 3', 'sae_weights.safetensors'))), weights);
    // What was on its way when a connection broke may be lost, and comes again; nothing else does.
    const from = ranges.map((range) => Number(/^bytes=(\d+)-$/.exec(range ?? 'bytes=0-')![1]));
    assert.ok(from[0] === 0 && from[1]! > 30_000 && from[1]! <= 100_000 && from[2]! > from[1]! + 30_000 && from[2]! <= from[1]! + 100_000, String(ranges));
    assert.deepEqual(content(server).map(({ sent }) => sent), [100_000, 100_000, weights.length - from[2]!]);
    assert.deepEqual(pauses, [1, 1]);
    assert.match(notices[0]!, /sae_weights.safetensors broke off after \d+ of 300000 bytes \(.+\): trying again in 1 s/);
  }));

  test('goes on in the next call, also after it was stopped', () => withHub({}, async ({ server, home, wait, pauses }) => {
    server.put('org/saes', files);
    server.fault = ({ url, range }) => (url.startsWith('/lfs/') ? { cutAfter: range ? 0 : 120_000 } : undefined);
    const error = await failure(snapshot('org/saes', { paths: ['layer 3'], wait }));
    assert.match(error.line, /^cannot reach 127\.0\.0\.1:\d+: layer 3\/sae_weights.safetensors broke off after \d+ of 300000 bytes/);
    assert.deepEqual(pauses, [1, 2, 4, 8]);
    const own = join(home, 'hub', 'models--org--saes');
    assert.deepEqual(below(own).filter((name) => name.includes(sha256(weights))), [join('blobs', `${sha256(weights)}.cochlea.incomplete`)]);
    assert.ok(!below(own).some((name) => name.startsWith('refs')), 'a branch must not lead to a snapshot that is not whole');

    const stop = new AbortController();
    server.fault = () => undefined;
    const stopped = await failure(snapshot('org/saes', { paths: ['layer 3'], wait, signal: stop.signal, onProgress: ({ done }) => done > 150_000 && stop.abort() }));
    assert.equal(stopped.code, 'interrupted');
    server.requests.length = 0;
    await snapshot('org/saes', { paths: ['layer 3'], wait });
    const [last] = content(server);
    assert.ok(Number(/^bytes=(\d+)-$/.exec(last!.range!)![1]) > 150_000, last!.range);
  }));

  test('begins anew where a server has no ranges, or what lay there was damaged', () => withHub({}, async ({ server, home, wait }) => {
    server.put('org/saes', files);
    let requests = 0;
    server.fault = ({ url }) => (url.startsWith('/lfs/') ? (++requests === 1 ? { cutAfter: 100_000 } : { noRanges: true }) : undefined);
    const { folder } = await snapshot('org/saes', { paths: ['layer 3'], wait });
    assert.deepEqual(new Uint8Array(readFileSync(join(folder, 'layer 3', 'sae_weights.safetensors'))), weights);

    server.fault = () => undefined;
    const other = noise(1000, 'other');
    writeFileSync(join(home, 'hub', 'models--org--saes', 'blobs', `${sha256(other)}.cochlea.incomplete`), noise(500, 'damage'));
    const again = await snapshot('org/saes', { paths: ['layer 4'], wait });
    assert.deepEqual(new Uint8Array(readFileSync(join(again.folder, 'layer 4', 'sae_weights.safetensors'))), other);
  }));

  test('ends when nothing comes any more', () => withHub({ HF_HUB_DOWNLOAD_TIMEOUT: '0.1' }, async ({ server, wait }) => {
    server.put('org/saes', files);
    server.fault = ({ url, range }) => (url.startsWith('/lfs/') ? { stallAfter: range ? 0 : 10_000 } : undefined);
    assert.match((await failure(snapshot('org/saes', { paths: ['layer 3'], wait }))).line, /\(nothing came for 0\.1 s\)/);
  }));

  test('of two processes at once gives one whole file', () => withHub({}, async ({ server, wait }) => {
    server.put('org/saes', files);
    const both = await Promise.allSettled([0, 1].map(() => snapshot('org/saes', { wait }))); // all, so that nothing is written when the folder is removed
    for (const { folder } of both.map((one) => {
      if (one.status === 'rejected') throw one.reason;
      return one.value;
    })) assert.deepEqual(new Uint8Array(readFileSync(join(folder, 'layer 3', 'sae_weights.safetensors'))), weights);
  }));
});

describe('what is not as listed', () => {
  for (const [name, path, wrong] of [['a large file', 'layer 3/sae_weights.safetensors', noise(300_000, 'wrong')], ['a small file', 'layer 3/cfg.json', Buffer.from('{"d_in": 7}')]] as const) {
    test(`is refused by its hash, and nothing of it stays: ${name}`, () => withHub({}, async ({ server, home, wait }) => {
      server.put('org/saes', files);
      server.fault = ({ url }) => (url.startsWith('/lfs/') || url.includes('/resolve/') && !name.includes('large') ? { content: new Uint8Array(wrong) } : undefined);
      const error = await failure(snapshot('org/saes', { paths: [path], wait }));
      assert.equal(error.code, 'file-damaged');
      assert.match(error.line, new RegExp(`${path} of org/saes .* its ${name.includes('large') ? 'SHA-256' : 'git hash'} is [0-9a-f]+, not [0-9a-f]+: it was removed`));
      assert.deepEqual(below(join(home, 'hub', 'models--org--saes')).filter((left) => !left.startsWith('trees')), []);
      server.fault = () => undefined;
      await snapshot('org/saes', { paths: [path], wait });
    }));
  }

  test('is refused when it is longer, before it fills the disk', () => withHub({}, async ({ server, home, wait }) => {
    server.put('org/saes', files);
    server.fault = ({ url }) => (url.startsWith('/lfs/') ? { content: noise(3_000_000, 'long') } : undefined);
    assert.match((await failure(snapshot('org/saes', { paths: ['layer 3'], wait }))).line, /more bytes came/);
    assert.deepEqual(below(join(home, 'hub', 'models--org--saes')).filter((left) => left.includes(sha256(weights))), []);
  }));

  test('is refused by a name that leads elsewhere, before anything is written', () => withHub({}, async ({ server, home, wait }) => {
    server.put('org/saes', files);
    const names = ['../../../evil', '/etc/passwd', 'a/../../evil', 'C:\\evil', 'a\\..\\..\\evil', 'D:evil', 'a//b', './a', 'a\0b', 'a\nb', ''];
    for (const path of names) {
      server.relist = (entries) => [...entries, { type: 'file', path, size: 4, oid: gitHash(Buffer.from('evil')) }];
      assert.match((await failure(snapshot('org/saes', { wait }))).line, /lists a file whose name/, JSON.stringify(path));
    }
    for (const [change, what] of [[{ oid: '../../evil' }, /git hash is none/], [{ lfs: { oid: '../evil', size: 4 } }, /SHA-256 is none/], [{ size: -1 }, /size is no number/], [{ size: 1e300 }, /size is no number/]] as const) {
      server.relist = (entries) => [...entries, { type: 'file', path: 'a', ...{ size: 4, oid: gitHash(Buffer.from('evil')) }, ...change }];
      assert.match((await failure(snapshot('org/saes', { wait }))).line, what);
    }
    // A file where a folder must be.
    server.relist = (entries) => [...entries, { type: 'file', path: 'README.md/evil', size: 6, oid: gitHash(Buffer.from('# SAEs')) }];
    assert.equal((await failure(snapshot('org/saes', { wait }))).code, 'file-system');
    assert.deepEqual(readdirSync(home), ['hub']);
    for (const name of ['../evil', 'org/..', 'a/b/c', 'org/na me', '', 'org--x/y']) assert.equal((await failure(snapshot(name, { wait }))).code, 'usage', name);
    for (const revision of ['../main', 'a/../b', '/x', '', 'a b', '..']) assert.equal((await failure(snapshot('org/saes', { revision, wait }))).code, 'usage', revision);
  }));

  test('is refused when the listing ends early', () => withHub({}, async ({ server, wait }) => {
    server.put('org/saes', files);
    server.relist = (entries) => entries.slice(0, -1);
    assert.match((await failure(snapshot('org/saes', { wait }))).line, /listing of org\/saes at [0-9a-f]{8} ends early: 1 of its files are not in it, such as "layer 4\/sae_weights.safetensors"/);
    server.relist = (entries) => entries;
    server.fault = ({ url }) => (url.includes('/tree/') ? { text: '[{"type":"file","path":"READ' } : undefined);
    assert.match((await failure(snapshot('org/saes', { wait }))).line, /answer on org\/saes at [0-9a-f]{8} cannot be read/);
  }));
});
