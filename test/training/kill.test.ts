/** Runs that are interrupted, killed and starved of disk, as processes of their own: what comes out is what an undisturbed run leaves. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { writeSafetensors } from '../../src/formats/index.ts';
import { RandomStream } from '../../src/random.ts';
import { readCheckpoint } from '../../src/training/checkpoint.ts';
import { cochlea, commandLine, type Running, start } from '../support/cli.ts';
import { freshSeed } from '../support/mutate.ts';
import { plantedFrames } from '../support/planted.ts';

const seed = freshSeed('kill and resume');
const dIn = 24;
const folder = mkdtempSync(join(tmpdir(), 'cochlea-kill-'));
const data = join(folder, 'x.safetensors');
const arguments_ = (out: string): string[] => [
  'train', '--activations', data, '--out', out, '--d-sae', '96', '--k', '4', '--batch-size', '64', '--steps', '40', '--lr', '3e-3', '--lr-warm-up-steps', '5',
  '--lr-decay-steps', '10', '--dead-feature-window', '5', '--feature-sampling-window', '7', '--mixing-buffer', '256', '--checkpoint-every', '3', '--log-every', '1',
];
const results = ['cfg.json', 'metrics.jsonl', 'sae_weights.safetensors', 'sparsity.safetensors'];
const hashes = (out: string): Record<string, string> => Object.fromEntries(results.map((name) => [name, createHash('sha256').update(readFileSync(join(out, name))).digest('hex')]));

const undisturbed = join(folder, 'undisturbed');
before(async () => {
  await writeSafetensors(data, [{ name: 'x', dtype: 'F32', shape: [900, dIn], data: plantedFrames({ seed, dIn, features: 40, active: 3 }, 900) }]);
  const { code, stderr } = await cochlea(arguments_(undisturbed));
  assert.equal(code, 0, stderr);
});
after(() => rmSync(folder, { recursive: true }));

/** Names of whole checkpoints, oldest first. */
function checkpoints(out: string): string[] {
  const place = join(out, 'checkpoints');
  return existsSync(place) ? readdirSync(place).filter((name) => !name.endsWith('.partial')).sort() : [];
}

/** Waits until the run has written so many checkpoints from now on, or has ended. */
async function afterCheckpoints(running: Running, out: string, count: number): Promise<void> {
  const seen = new Set(checkpoints(out));
  const before = seen.size;
  while (!running.hasEnded && seen.size < before + count) {
    for (const name of checkpoints(out)) seen.add(name);
    await wait(3);
  }
}

test('Ctrl-C, SIGKILL at random moments and a damaged checkpoint do not change one byte of the result', async (t) => {
  const random = new RandomStream(seed, 1500);
  const out = join(folder, 'disturbed');

  await t.test('Ctrl-C ends with code 130, a checkpoint, and the way to go on', async () => {
    const running = start(arguments_(out));
    await afterCheckpoints(running, out, 1);
    running.kill('SIGINT');
    const { code, stdout, stderr } = await running.ended;
    assert.equal(code, 130, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^stopping: one moment, to leave everything whole \(again: stop at once\)$/m);
    const [, step] = /^cochlea: stopped after step (\d+) of 40: the same command with --resume goes on from here\n$/m.exec(stderr)!;
    assert.equal(checkpoints(out).at(-1), `step-${step!.padStart(8, '0')}`);
    assert.ok(!existsSync(join(out, 'cfg.json')));
  });

  await t.test('SIGKILL leaves what --resume goes on from', async () => {
    const moments: string[] = [];
    const times = 'Deno' in globalThis ? 1 : 3;
    for (let kills = 0; kills < times; kills++) {
      const running = start([...arguments_(out), '--resume']);
      await afterCheckpoints(running, out, 1 + random.below(2));
      const delay = random.below(120);
      await wait(delay);
      running.kill('SIGKILL');
      const { signal } = await running.ended;
      moments.push(`${delay} ms behind ${checkpoints(out).at(-1)}`);
      assert.equal(signal, 'SIGKILL', `the run ended before it could be killed: ${moments.join(', ')}`);
      assert.ok(checkpoints(out).length > 0);
    }
    t.diagnostic?.(`killed ${moments.join(', ')}`);
  });

  await t.test('a damaged newest checkpoint is passed over, and the end is that of an undisturbed run', async () => {
    const [older, newest] = checkpoints(out).slice(-2);
    const path = join(out, 'checkpoints', newest!, 'state.safetensors');
    const bytes = readFileSync(path);
    const at = random.below(bytes.length);
    bytes[at] = bytes[at]! ^ (1 << random.below(8));
    writeFileSync(path, bytes);
    const { code, stdout, stderr } = await cochlea([...arguments_(out), '--resume']);
    assert.equal(code, 0, stderr);
    assert.match(stderr, new RegExp(`^passed over a damaged checkpoint: .*${newest}.*\ngoing on after step ${Number(older!.slice(5))}$`, 'm'));
    assert.match(stdout, /step 40, explained variance 0\.\d{4} on the last batch/);
    assert.deepEqual(hashes(out), hashes(undisturbed));
    assert.deepEqual(readdirSync(out), readdirSync(undisturbed));
  });

  await t.test('--resume of the finished run does nothing and ends with code 0', async () => {
    const { code, stdout } = await cochlea([...arguments_(out), '--resume']);
    assert.equal(code, 0);
    assert.match(stdout, /disturbed was finished already, after 40 steps\n$/);
    assert.deepEqual(hashes(out), hashes(undisturbed));
  });
});

test('a full disk ends the run with one line and leaves its checkpoints whole', async (t) => {
  // A file system of its own in a user namespace, where the system allows one: room for two checkpoints of 60 KiB, not for a third.
  const mount = join(folder, 'small');
  mkdirSync(mount);
  const out = join(mount, 'out'), kept = join(folder, 'kept');
  const script = 'mount -t tmpfs -o size=180k tmpfs "$1" || exit 77; out="$2"; kept="$3"; shift 3; "$@"; code=$?; cp -r "$out" "$kept"; exit $code';
  const { status, stdout, stderr, error } = spawnSync('unshare', ['-rm', 'sh', '-c', script, 'sh', mount, out, kept, ...commandLine(), ...arguments_(out)], { encoding: 'utf8' });
  if (error || status === 77 || /unshare/.test(stderr)) return t.skip('this system gives no user namespace with a file system of its own');
  assert.deepEqual([status, stdout], [1, ''], stderr);
  assert.match(stderr, /^cochlea: cannot (write|append to) .*: the disk is full: when that is mended, the same command with --resume goes on\n/m);
  assert.ok(!/^\s+at /m.test(stderr), 'a stack is shown');
  assert.deepEqual(readdirSync(kept), ['checkpoints', 'manifest.json', 'metrics.jsonl', 'run.json']);
  assert.deepEqual(readdirSync(join(kept, 'checkpoints')), ['step-00000003', 'step-00000006']);
  const found = await readCheckpoint(kept);
  assert.deepEqual([found!.problems, found!.checkpoint.step], [[], 6]);
});
