/**
 * `npm test [-- PART ...]` runs every test file (or those whose path holds a PART) under Node's own test runner, and
 * `deno task test` those that are not Node's alone under Deno's.
 */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { chooseTestAdapter, testFiles } from './support/suite.ts';

const folder = dirname(fileURLToPath(import.meta.url));
const inDeno = 'Deno' in globalThis;
const files = testFiles(folder, { portable: inDeno, extension: inDeno ? '.ts' : '.js', filter: process.argv.slice(2) }).map((file) => join(folder, file));
if (files.length === 0) {
  console.error(`no test file has ${process.argv.slice(2).join(' or ')} in its path`);
  process.exit(1);
}
console.error(`${files.length} test files on ${await chooseTestAdapter()}`);
// Node may wait for ever at its end for a background compilation that waits for a collection (nodejs/node#54918): none run here.
const args = inDeno ? ['test', '-A', '--no-lock', '--no-check', ...files] : ['--no-concurrent-recompilation', '--test', '--test-reporter=spec', '--test-concurrency=2', ...files];
const child = spawn(process.execPath, args, { stdio: 'inherit' });
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 1;
  if (signal) console.error(`the test runner ended by ${signal}`);
});
