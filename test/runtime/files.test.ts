import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CochleaError } from '../../src/errors.ts';
import { runtime } from '../../src/runtime/index.ts';

const { files } = runtime;
const folder = mkdtempSync(join(tmpdir(), 'cochlea-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const coded = (code: string, message: RegExp) => (error: unknown): boolean => (
  error instanceof CochleaError && error.code === code && message.test(error.message)
);

async function* breaking(first: Uint8Array, error: Error): AsyncGenerator<Uint8Array> {
  yield first;
  throw error;
}

describe('writeNew', () => {
  test('writes where nothing is, and leaves alone what is there', async () => {
    const place = join(folder, 'new');
    assert.equal(await files.writeNew(join(place, 'deep', 'target'), 'first'), true);
    assert.equal(await files.writeNew(join(place, 'deep', 'target'), 'second'), false);
    assert.equal(await files.readText(join(place, 'deep', 'target')), 'first');
    assert.deepEqual(await files.list(join(place, 'deep')), ['target']);
    await assert.rejects(files.writeNew(join(place, 'deep', 'target', 'below'), 'x'), coded('file-system', /below/));
  });

  test('of many at a time lets one through', async () => {
    const place = join(folder, 'race');
    const through = await Promise.all(Array.from({ length: 20 }, (_, n) => files.writeNew(join(place, 'target'), `content ${n}`)));
    assert.equal(through.filter(Boolean).length, 1);
    assert.equal(await files.readText(join(place, 'target')), `content ${through.indexOf(true)}`);
    assert.deepEqual(await files.list(place), ['target']);
  });
});

describe('write', () => {
  test('makes the folders, takes text, bytes and pieces, and leaves the target alone in its folder', async () => {
    const place = join(folder, 'a', 'b');
    await files.write(join(place, 'text'), 'äöü');
    await files.write(join(place, 'bytes'), Uint8Array.of(1, 2, 3));
    await files.write(join(place, 'pieces'), [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3)]);
    assert.equal(await files.readText(join(place, 'text')), 'äöü');
    assert.deepEqual(await files.read(join(place, 'pieces')), await files.read(join(place, 'bytes')));
    assert.deepEqual(await files.list(place), ['bytes', 'pieces', 'text']);
  });

  test('that fails halfway leaves the old file and nothing beside it', async () => {
    const place = join(folder, 'failing');
    await files.write(join(place, 'target'), 'old');
    await assert.rejects(files.write(join(place, 'target'), breaking(new Uint8Array(100_000), new Error('the source broke'))), coded('file-system', /cannot write .*target: the source broke/));
    assert.equal(await files.readText(join(place, 'target')), 'old');
    assert.deepEqual(await files.list(place), ['target']);
    await assert.rejects(files.write(join(place, 'new'), breaking(new Uint8Array(1), new CochleaError('not-finite', 'NaN'))), coded('not-finite', /NaN/));
    assert.deepEqual(await files.list(place), ['target']);
  });

  test('by many at a time leaves one of their contents, whole', async () => {
    const place = join(folder, 'many');
    const contents = Array.from({ length: 12 }, (_, i) => new Uint8Array(50_000 + i).fill(i));
    await Promise.all(contents.map((content) => files.write(join(place, 'target'), content)));
    const result = await files.read(join(place, 'target'));
    assert.deepEqual(result, contents[result[0]!]);
    assert.deepEqual(await files.list(place), ['target']);
  });

  test('clears away what a killed process left of this target an hour ago, and nothing else', async () => {
    const place = join(folder, 'abandoned');
    mkdirSync(place);
    const names = { dead: '.target.0123456789ab.partial', living: '.target.ba9876543210.partial', other: '.target.x.0123456789ab.partial' };
    for (const name of Object.values(names)) writeFileSync(join(place, name), 'half');
    const longAgo = Date.now() / 1000 - 4000;
    for (const name of [names.dead, names.other]) utimesSync(join(place, name), longAgo, longAgo);
    await files.write(join(place, 'target'), 'whole');
    assert.deepEqual(await files.list(place), [names.living, names.other, 'target']);
  });

  test('whoever has a folder alone clears away all that was left, or what was left of its own files', async () => {
    const place = join(folder, 'alone');
    await files.removePartials(place); // not there
    mkdirSync(place);
    const names = ['.target.0123456789ab.partial', '.target.x.ba9876543210.partial', '.target.short.partial', '.partial', 'target'];
    for (const name of names) writeFileSync(join(place, name), 'half');
    await files.removePartials(place, (name) => name === 'target');
    assert.deepEqual(await files.list(place), names.slice(1).sort());
    await files.removePartials(place);
    assert.deepEqual(await files.list(place), names.slice(2).sort());
  });

  test('on a full disk says so, leaves the old file and nothing beside it', async (t) => {
    // A file system of 64 KiB in a user namespace of its own, where the system allows one.
    const child = fileURLToPath(import.meta.url).replace(/files\.test\.([jt]s)$/, 'full-disk.$1');
    const run = runtime.name === 'deno' ? [process.execPath, 'run', '-A', '--no-lock', '--no-check', child] : [process.execPath, child];
    const mount = join(folder, 'small');
    mkdirSync(mount);
    const script = 'mount -t tmpfs -o size=64k tmpfs "$1" || exit 77; shift; exec "$@"';
    const { status, stdout, stderr, error } = spawnSync('unshare', ['-rm', 'sh', '-c', script, 'sh', mount, ...run, mount], { encoding: 'utf8' });
    if (error || status === 77 || /unshare/.test(stderr)) return t.skip('this system gives no user namespace with a file system of its own');
    assert.equal(status, 0, stderr);
    const { message, code, target, names } = JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, unknown>;
    assert.equal(code, 'file-system');
    assert.match(message as string, /cannot write .*target: the disk is full/);
    assert.equal(target, 'old');
    assert.deepEqual(names, ['target']);
  });
});

describe('reading', () => {
  test('at any offset gives what is there, shorter only at the end', async () => {
    const path = join(folder, 'numbers');
    await files.write(path, Uint8Array.from({ length: 1000 }, (_, i) => i));
    const handle = await files.open(path);
    assert.equal(handle.size, 1000);
    assert.deepEqual(await handle.read(997, 100), Uint8Array.of(229, 230, 231));
    assert.deepEqual(await handle.read(300, 2), Uint8Array.of(44, 45));
    assert.equal((await handle.read(1000, 1)).length, 0);
    await handle.close();
  });

  test('of what is not there, or is a folder, names it', async () => {
    const missing = join(folder, 'nowhere', 'x');
    for (const work of [files.read, files.readText, files.open, files.list]) {
      await assert.rejects(work(missing), coded('file-missing', /no such file or folder: .*nowhere/));
    }
    await assert.rejects(files.read(folder), coded('file-system', /it is a folder/));
    assert.equal(await files.info(missing), undefined);
    assert.equal(await files.info(join(folder, 'numbers', 'x')), undefined);
  });

  test('and writing below a file, or in the place of a folder, names the file', async () => {
    const file = join(folder, 'numbers'), below = join(file, 'deep', 'x');
    const inTheWay = coded('file-system', /cannot [a-z ]+ .*numbers.*: .*numbers is a file, not a folder$/);
    for (const work of [
      () => files.write(below, 'x'), () => files.append(below, 'x'), () => files.openToWrite(below),
      () => files.makeFolder(below), () => files.makeFolder(file), () => files.write(join(file, 'x'), 'x'),
    ]) {
      await assert.rejects(work, inTheWay);
    }
    await files.removePartials(file); // nothing of that kind is there
    await files.remove(below);
    assert.equal((await files.info(file))!.size, 1000);
  });

  test('tells folders from files, and lists names by code unit', async () => {
    const place = join(folder, 'names');
    for (const name of ['b', 'a', 'B', 'ä', '10', '9']) await files.write(join(place, name), name);
    assert.deepEqual(await files.list(place), ['10', '9', 'B', 'a', 'b', 'ä']);
    assert.equal((await files.info(place))!.isDirectory, true);
    assert.deepEqual({ ...(await files.info(join(place, 'ä')))!, modified: 0 }, { isDirectory: false, isFile: true, size: 2, modified: 0 });
  });
});

test('append adds to the end; a full device says so', { skip: process.platform === 'linux' ? false : 'needs /dev/full' }, async () => {
  const path = join(folder, 'log', 'lines');
  await files.append(path, 'one\n');
  await files.append(path, new TextEncoder().encode('two\n'));
  assert.equal(await files.readText(path), 'one\ntwo\n');
  await assert.rejects(files.append('/dev/full', 'three'), coded('file-system', /cannot append to \/dev\/full: the disk is full/));
});

test('what is to be written behind a file, as a folder, says so', async () => {
  const file = join(folder, 'a file');
  await files.write(file, 'x');
  for (const path of [join(file, 'y'), join(file, 'z', 'y')]) {
    for (const work of [() => files.write(path, 'y'), () => files.writeNew(path, 'y'), () => files.append(path, 'y'), () => files.openToWrite(path), () => files.makeFolder(path), () => files.link(path, file)]) {
      await assert.rejects(work(), coded('file-system', /cannot (write|append to|create) .*a file.*y: .*a file is a file, not a folder$/));
    }
    await files.removePartials(path);
  }
  await files.removePartials(file);
  assert.equal(await files.readText(file), 'x');
});

test('where no folder can be made, that is said, and not tried for ever', { skip: process.platform === 'linux' ? false : 'needs /proc' }, async () => {
  for (const path of ['/proc/none/y', '/proc/none/z/y']) {
    for (const work of [() => files.write(path, 'y'), () => files.append(path, 'y'), () => files.openToWrite(path), () => files.makeFolder(path), () => files.link(path, folder)]) {
      await assert.rejects(work(), coded('file-system', /^cannot (write|append to|create) \/proc\/none\/.*y: no folder can be made there$/));
    }
  }
});

test('rename, remove and temporary folders', async () => {
  const place = await files.temporaryFolder('cochlea-');
  assert.deepEqual(readdirSync(place), []);
  await files.write(join(place, 'x', 'y'), 'z');
  await files.rename(join(place, 'x'), join(place, 'w'));
  assert.equal(readFileSync(join(place, 'w', 'y'), 'utf8'), 'z');
  await files.remove(place);
  await files.remove(place);
  assert.equal(await files.info(place), undefined);
  await assert.rejects(files.rename(place, join(folder, 'elsewhere')), coded('file-missing', /cochlea-/));
});
