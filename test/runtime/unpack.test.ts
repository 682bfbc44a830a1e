import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CochleaError } from '../../src/errors.ts';
import { unpackSoftwareAdapter } from '../../src/runtime/adapters.ts';
import { runtime } from '../../src/runtime/index.ts';
import { readTar } from '../../src/runtime/tar.ts';
import { installFolder } from '../../src/runtime/unpack.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-unpack-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A tar archive of one entry per name, as POSIX ustar or, with `gnu`, as GNU tar writes it. */
function tar(entries: { name: string; content?: string; type?: string; prefix?: string }[], gnu = false): Uint8Array {
  const blocks: Buffer[] = [];
  for (const { name, content = '', type = '0', prefix = '' } of entries) {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write('0000644\0' + '0001750\0' + '0001750\0', 100);
    header.write(`${content.length.toString(8).padStart(11, '0')}\0${'15165740450'}\0${' '.repeat(8)}${type}`, 124);
    header.write(gnu ? 'ustar  \0' : 'ustar\x0000', 257, 'latin1');
    header.write(prefix, 345);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
    body.write(content);
    blocks.push(header, body);
  }
  return new Uint8Array(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

const damaged = (message: RegExp) => (error: unknown): boolean => error instanceof CochleaError && error.code === 'file-damaged' && message.test(error.message);
const textOf = (archive: Uint8Array) => Object.fromEntries([...readTar(archive)].map(([name, bytes]) => [name, new TextDecoder().decode(bytes)]));

describe('a tar archive', () => {
  test('gives its files, in both dialects', () => {
    const long = 'x'.repeat(1000);
    assert.deepEqual(textOf(tar([{ name: 'lib/', type: '5' }, { name: 'lib/a.so', content: long }, { name: 'empty' }, { name: 'link', type: '2' }, { name: 'b', content: 'b', prefix: 'deep/er' }])),
      { 'lib/a.so': long, empty: '', 'deep/er/b': 'b' });
    assert.deepEqual(textOf(tar([{ name: 'a', content: 'A', type: '\0', prefix: '15165740450' }], true)), { a: 'A' });
  });

  test('with names that lead out of the folder is refused', () => {
    for (const name of ['/etc/passwd', '../x', 'a/../../x', 'a\\b', '']) assert.throws(() => readTar(tar([{ name, content: 'x' }])), damaged(/it holds the name/));
  });

  test('that is cut or changed is refused', () => {
    const whole = tar([{ name: 'a', content: 'content' }]);
    for (const length of [0, 100, 512, 515, 1024]) assert.throws(() => readTar(whole.slice(0, length)), damaged(/cut off/));
    for (const at of [0, 130, 150, 258]) {
      const changed = whole.slice();
      changed[at] = changed[at]! ^ 1;
      assert.throws(() => readTar(changed), damaged(/not a tar header/));
    }
  });
});

describe('installFolder', () => {
  const fill = (content: string, calls: string[]) => async (beside: string): Promise<void> => {
    calls.push(content);
    mkdirSync(join(beside, 'lib'));
    writeFileSync(join(beside, 'lib', 'one'), content);
    writeFileSync(join(beside, 'two'), content.repeat(1000));
  };

  test('fills once, and again only when a file is missing, changed or cut', async () => {
    const target = join(folder, 'once', 'adapter');
    const calls: string[] = [];
    await installFolder(target, fill('first', calls));
    await installFolder(target, fill('second', calls));
    assert.deepEqual(calls, ['first']);
    const harms = [
      () => rmSync(join(target, 'two')),
      () => writeFileSync(join(target, 'lib', 'one'), 'firsT'),
      () => writeFileSync(join(target, 'two'), ''),
      () => writeFileSync(join(target, 'contents.json'), '{"two":'),
      () => rmSync(join(target, 'contents.json')),
    ];
    for (const [n, harm] of harms.entries()) {
      harm();
      await installFolder(target, fill(`repair ${n}`, calls));
      assert.equal(readFileSync(join(target, 'lib', 'one'), 'utf8'), `repair ${n}`);
      assert.equal(calls.length, n + 2);
    }
    assert.deepEqual(readdirSync(join(folder, 'once')), ['adapter']);
  });

  test('that fails leaves what was there, and nothing beside it', async () => {
    const target = join(folder, 'failing', 'adapter');
    const breaks = async (beside: string): Promise<void> => {
      writeFileSync(join(beside, 'half'), 'half');
      throw new Error('no more');
    };
    await assert.rejects(installFolder(target, breaks), (error) => error instanceof CochleaError && error.code === 'file-system' && /cannot unpack into .*adapter: no more/.test(error.message));
    assert.deepEqual(readdirSync(join(folder, 'failing')), []);
  });

  test('removes what a killed process left an hour ago, not what one is still filling', async () => {
    const parent = join(folder, 'abandoned');
    for (const name of ['.adapter.partial-old', '.adapter.partial-new', '.other.partial-old']) mkdirSync(join(parent, name), { recursive: true });
    const longAgo = Date.now() / 1000 - 4000;
    for (const name of ['.adapter.partial-old', '.other.partial-old']) utimesSync(join(parent, name), longAgo, longAgo);
    await installFolder(join(parent, 'adapter'), fill('x', []));
    assert.deepEqual(readdirSync(parent).sort(), ['.adapter.partial-new', '.other.partial-old', 'adapter']);
  });
});

describe('the software adapter', { skip: process.platform === 'linux' && process.arch === 'x64' ? false : 'it is bundled for Linux on x64 only' }, () => {
  const environment = async <T>(cache: string, work: () => Promise<T>): Promise<T> => {
    const before = process.env['COCHLEA_CACHE'];
    process.env['COCHLEA_CACHE'] = cache;
    try {
      return await work();
    } finally {
      if (before === undefined) delete process.env['COCHLEA_CACHE'];
      else process.env['COCHLEA_CACHE'] = before;
    }
  };

  test('unpacks from the package, once, and repairs itself', async () => {
    await environment(join(folder, 'cache'), async () => {
      const adapter = await unpackSoftwareAdapter();
      assert.ok('driver' in adapter);
      assert.match(readFileSync(adapter.driver, 'utf8'), /libvk_swiftshader\.so/);
      assert.ok(statSync(adapter.loader).size > 100_000);
      const { ino, size } = statSync(adapter.loader);
      assert.deepEqual(await unpackSoftwareAdapter(), adapter);
      assert.equal(statSync(adapter.loader).ino, ino);
      writeFileSync(adapter.loader, 'torn');
      await unpackSoftwareAdapter();
      assert.equal(statSync(adapter.loader).size, size);
    });
  });

  test('may be unpacked by several processes at a time', async () => {
    const cache = join(folder, 'shared-cache');
    const child = fileURLToPath(import.meta.url).replace(/unpack\.test\.([jt]s)$/, 'unpack-adapter.$1');
    const args = runtime.name === 'deno' ? ['run', '-A', '--no-lock', '--no-check', child] : [child];
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => new Promise<string>((resolve) => {
      const running = spawn(process.execPath, args, { env: { ...process.env, COCHLEA_CACHE: cache }, stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      running.stdout.on('data', (piece) => output += piece);
      running.on('close', (code) => resolve(`${code} ${output.trim()}`));
    })));
    assert.equal(new Set(outcomes).size, 1);
    const driver = outcomes[0]!.replace(/^0 /, '');
    assert.ok(existsSync(driver), outcomes[0]);
    assert.equal(readdirSync(join(cache, 'adapter')).length, 1);
  });
});
