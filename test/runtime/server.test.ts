import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { runtime } from '../../src/runtime/index.ts';

test('the runtime knows which it is', () => {
  assert.match(runtime.version, runtime.name === 'deno' ? /^deno \d+\./ : /^node \d+\./);
  assert.ok(runtime.processors >= 1);
  assert.ok(runtime.residentBytes() > 1 << 20);
});

test('COCHLEA_CACHE moves the cache folder', () => {
  const before = process.env['COCHLEA_CACHE'];
  try {
    process.env['COCHLEA_CACHE'] = join(tmpdir(), 'elsewhere');
    assert.equal(runtime.cacheFolder(), join(tmpdir(), 'elsewhere'));
    delete process.env['COCHLEA_CACHE'];
    assert.match(runtime.cacheFolder(), /cochlea/);
  } finally {
    if (before !== undefined) process.env['COCHLEA_CACHE'] = before;
  }
});

test('SHA-256 does not depend on how the bytes are cut', () => {
  const empty = runtime.sha256();
  assert.equal(empty.hex(), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  const cut = runtime.sha256();
  for (const piece of ['a', '', 'bc']) cut.update(new TextEncoder().encode(piece));
  assert.equal(cut.hex(), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i * 7);
  const window = runtime.sha256();
  window.update(bytes.subarray(100, 900));
  assert.equal(window.hex(), createHash('sha256').update(bytes.slice(100, 900)).digest('hex'));
});

describe('run', () => {
  const script = (code: string): string[] => (runtime.name === 'deno' ? ['eval', code] : ['--input-type=module', '-e', code]);
  const evaluate = (code: string, options?: { cwd?: string; env?: Record<string, string> }) => (
    runtime.run(process.execPath, script(`import process from 'node:process'; ${code}`), options)
  );

  test('gives code, output and errors, and passes the environment', async () => {
    const result = await evaluate('console.log(process.env.GREETING, process.env.PATH !== undefined); console.error("aside"); process.exitCode = 3;', { env: { GREETING: 'hello $HOME' } });
    assert.deepEqual({ ...result, stderr: result.stderr.trim() }, { code: 3, stdout: 'hello $HOME true\n', stderr: 'aside' });
  });

  test('works in the folder that it is told', async () => {
    const place = await runtime.files.temporaryFolder('cochlea-run-');
    assert.match((await evaluate('console.log(process.cwd())', { cwd: place })).stdout, /cochlea-run-/);
    await runtime.files.remove(place);
  });

  test('takes megabytes of output', async () => {
    assert.equal((await evaluate('process.stdout.write("x".repeat(5e6))')).stdout.length, 5e6);
  });

  test('of a program that is not there says so', async () => {
    await assert.rejects(runtime.run('no-such-program-here', []), (error) => error instanceof CochleaError && error.code === 'runtime' && /no-such-program-here/.test(error.message));
  });
});
