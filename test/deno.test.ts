import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { repo } from './support/paths.ts';
import { chooseTestAdapter, testFiles } from './support/suite.ts';

const deno = repo('node_modules', '.bin', 'deno');

/** Runs files in a process of their own. */
async function runFiles(files: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(deno, ['test', '-A', '--no-lock', '--no-check', ...files], { cwd: repo(), env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (piece) => output += piece);
  child.stderr.on('data', (piece) => output += piece);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, output };
}

describe('the suite passes in Deno, from the sources', { skip: existsSync(deno) ? false : 'the npm package deno is not installed', concurrency: 2 }, () => {
  // Two processes: a wait for wgpu takes 11 ms whatever it waits for, and half of the time of one process is such waits.
  const files = existsSync(deno) ? testFiles(repo('test'), { portable: true, extension: '.ts' }).map((file) => repo('test', file)) : [];
  for (const half of [0, 1]) {
    test(`half ${half + 1}`, async (t) => {
      await chooseTestAdapter();
      const own = files.filter((_, n) => n % 2 === half);
      const { code, output } = await runFiles(own);
      const total = /^\w+ \| (\d+) passed.* \| (\d+) failed.*$/m.exec(output);
      assert.equal(code, 0, `deno test ended with ${code}:\n${output.split('\n').slice(-100).join('\n')}`);
      assert.ok(total && Number(total[1]) >= own.length, `deno test did not run every file:\n${output.slice(-2000)}`);
      t.diagnostic(`Deno: ${total[0]}`);
    });
  }
});

test('what Deno was not allowed is told on one line, with the flag that allows it', { skip: existsSync(deno) ? false : 'the npm package deno is not installed' }, async () => {
  const child = spawn(deno, ['run', '--no-prompt', '--no-lock', '--no-check', '--allow-read', '--allow-env', repo('cli', 'main.ts'), 'devices'], { cwd: repo(), env: { ...process.env, NO_COLOR: '1', COCHLEA_CACHE: '' }, stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (piece) => output += piece);
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  assert.deepEqual([code, output], [1, 'cochlea: Deno: Requires sys access to "homedir", run again with the --allow-sys flag\n']);
});
