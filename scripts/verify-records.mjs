// Makes the records of test/fixtures/verify anew: the canonical job on SwiftShader and lavapipe in Node and Deno, as far as this machine has them,
// and on SwiftShader in Chromium. Needs dist/: npm run verify:records builds it.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const record = (adapter, runtime) => `${root}test/fixtures/verify/${adapter}-${runtime}.json`;

/** Runs `cochlea verify --out` in a runtime; the reason where it cannot be done. */
function make(adapter, runtime, program, args) {
  if (!existsSync(program)) return `${program} is not installed`;
  const path = record(adapter, runtime);
  const { status, stdout, stderr } = spawnSync(program, [...args, 'verify', '--out', path], { cwd: root, encoding: 'utf8', env: { ...process.env, COCHLEA_ADAPTER: adapter } });
  if (status !== 0) return `${stdout}${stderr}`.trim().split('\n').at(-1);
  console.log(`${adapter} in ${runtime}: ${stdout.trim().split('\n').at(-1)}`);
}

const runtimes = [
  ['node', process.execPath, [`${root}dist/cli/main.js`]],
  ['deno', `${root}node_modules/.bin/deno`, ['run', '-A', '--no-lock', '--no-check', `${root}cli/main.ts`]],
];
for (const adapter of ['swiftshader', 'lavapipe']) {
  for (const [runtime, program, args] of runtimes) {
    const reason = make(adapter, runtime, program, args);
    if (reason) console.log(`${adapter} in ${runtime}: not made: ${reason}`);
  }
}

const { recordInChromium } = await import(`${root}dist/test/support/verify-page.js`);
const { recordText } = await import(`${root}dist/src/verify/index.js`);
const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
// Chromium runs on its own SwiftShader alone; it refuses lavapipe.
try {
  const found = await recordInChromium(version);
  writeFileSync(record('swiftshader', 'chromium'), recordText(found));
  console.log(`swiftshader in chromium: ${found.runtime}`);
} catch (error) {
  console.log(`swiftshader in chromium: not made: ${String(error.message ?? error).split('\n')[0]}`);
}
