import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type GemmResult, relativeDifference, rowsOf } from '../../bench/peers/gemm.ts';
import { installPeers, peersFolder } from '../../bench/peers/install.ts';
import { readOptions } from '../../bench/peers/options.ts';
import { type StepResult, stepRows } from '../../bench/peers/step.ts';
import { gemmTable, merge, stepTable, torchTable } from '../../bench/peers/table.ts';
import { readTorch, type TorchResult } from '../../bench/peers/torch.ts';
import { inTurns, noise, spreadOf, type Timing } from '../../bench/timing.ts';
import { repo } from '../support/paths.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-peers-'));
after(() => rmSync(folder, { recursive: true, force: true }));

describe('options', () => {
  test('have defaults, and may be given', () => {
    assert.deepEqual(readOptions([]), { sizes: 'standard', parts: ['gemm', 'step', 'torch'], mostRows: 4096, turns: 3, budget: 20, json: false, help: false });
    const { sizes, parts, mostRows, turns, json } = readOptions(['--sizes', 'small', '--parts', 'step,gemm', '--rows', '128', '--turns', '7', '--json']);
    assert.deepEqual({ sizes, parts, mostRows, turns, json }, { sizes: 'small', parts: ['step', 'gemm'], mostRows: 128, turns: 7, json: true });
  });

  const refusals: [string[], RegExp][] = [
    [['--sizes', 'huge'], /--sizes is huge: it must be one of standard, small/], [['--sizes', 'toString'], /--sizes is toString/], [['--rows', '0'], /--rows is 0/],
    [['--turns', '2.5'], /--turns is 2\.5: it must be a positive whole number/], [['--parts', 'gemm,'], /--parts has an empty name: there are gemm, step, torch/], [['--fast'], /Unknown option/],
  ];
  for (const [args, why] of refusals) test(`refuse ${args.join(' ')}`, () => assert.throws(() => readOptions(args), (error: { code: string; line: string }) => error.code === 'usage' && why.test(error.line)));

  test('that cannot be end the program before anything is installed or opened', () => {
    const inDeno = 'Deno' in globalThis;
    const main = fileURLToPath(new URL(`../../bench/peers/main.${inDeno ? 'ts' : 'js'}`, import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.execPath, [...(inDeno ? ['run', '-A', '--no-lock', '--no-check'] : []), main, '--sizes', 'huge'], { encoding: 'utf8', env: { ...process.env, COCHLEA_ADAPTER: 'no such adapter' } });
    assert.deepEqual([status, stdout, stderr], [2, '', '--sizes is huge: it must be one of standard, small\n']);
  });
});

describe('the rows that are measured', () => {
  const shape = { m: 4096, k: 768, n: 24_576 };
  const fast = { software: false, bindingBytes: 2 ** 31, most: 4096 };

  test('are all where the adapter is fast and binds them', () => {
    assert.equal(rowsOf(shape, fast), 4096);
    assert.equal(stepRows({ dIn: 768, dSae: 24_576, k: 32, batch: 4096 }, fast), 4096);
  });

  test('are fewer where a binding is too small, the adapter slow, or fewer were asked for', () => {
    assert.equal(rowsOf(shape, { ...fast, bindingBytes: 2 ** 27 }), 1344);
    assert.equal(rowsOf(shape, { ...fast, software: true }), 512);
    assert.equal(rowsOf({ ...shape, k: 384, n: 3072 }, { ...fast, software: true }), 4096);
    assert.equal(rowsOf(shape, { ...fast, most: 100 }), 64);
    assert.equal(stepRows({ dIn: 768, dSae: 24_576, k: 32, batch: 4096 }, { ...fast, software: true }), 256);
    assert.equal(stepRows({ dIn: 384, dSae: 3072, k: 32, batch: 4096 }, { ...fast, software: true }), 2048);
    assert.equal(stepRows({ dIn: 384, dSae: 3072, k: 32, batch: 4096 }, { ...fast, most: 100 }), 100);
  });
});

describe('results are compared', () => {
  const a = noise(1000, 1);

  test('by their largest difference over the largest entry', () => {
    const b = a.slice();
    assert.equal(relativeDifference(a, b), 0);
    b[500]! += 0.01;
    const off = relativeDifference(a, b);
    assert.ok(Math.abs(off - 0.01) < 1e-4, `${off}`);
  });

  test('so that an engine that computes nothing, something shorter or no numbers is found out', () => {
    assert.equal(relativeDifference(a, new Float32Array(1000)), 1);
    assert.equal(relativeDifference(new Float32Array(1000), new Float32Array(1000)), Infinity);
    assert.equal(relativeDifference(a, a.subarray(1)), Infinity);
    assert.throws(() => relativeDifference(a, a.map((value, n) => (n === 3 ? NaN : value))), { code: 'not-finite' });
  });
});

describe('turns', () => {
  test('go round, each beginning with the next', async () => {
    const order: string[] = [];
    const work = (name: string) => async () => void order.push(name);
    const timing = await inTurns({ a: work('a'), b: work('b'), c: work('c') }, { atLeast: 3, budget: 0, software: true });
    assert.equal(order.join(''), 'abcbcacab');
    assert.equal(timing.b.wall.runs, 3);
    assert.ok(timing.a.cpu.least >= 0 && timing.a.cpu.most >= timing.a.cpu.median);
  });

  test('on a software adapter end with what failed', async () => {
    await assert.rejects(inTurns({ a: () => Promise.reject(new Error('no')) }, { atLeast: 1, budget: 0, software: true }), /^Error: no$/);
  });

  test('are told by their median and extremes', () => {
    assert.deepEqual(spreadOf([3, 1, 2]), { median: 2, least: 1, most: 3, runs: 3 });
    assert.deepEqual(spreadOf([4, 1, 2, 3]), { median: 2.5, least: 1, most: 4, runs: 4 });
  });
});

const once = (seconds: number): Timing => ({ wall: spreadOf([seconds]), cpu: spreadOf([2 * seconds]) });
const adapter = { vendor: '', architecture: '', device: '', description: 'an adapter', software: true };
const versions = { tfjs: '4', jaxjs: '0.1', runtime: 'node' };
const engines = { gpu: { adapter, variants: new Map([['encode', 'direct']]) }, versions };
const gemm: GemmResult = {
  m: 512, k: 8, n: 16, cochlea: 9, tfjs: 3, jaxjs: 4.5, rows: 64, repeats: 1, form: { cochlea: '[n, k]', tfjs: '[k, n]', jaxjs: '[k, n]' }, ratio: { wall: 2, cpu: 2.5 },
  difference: 1e-7, differenceAllowed: 1e-6, timing: { cochlea: once(1), tfjs: once(3), jaxjs: once(2) },
};
const size = { dIn: 8, dSae: 16, k: 2, batch: 64 };
const step: StepResult = {
  ...size, cochleaTopk: 600, cochleaStandard: 200, jaxjsStandard: 100, rows: 64, repeats: 1, ratio: { wall: { standard: 2, topk: 6 }, cpu: { standard: 2.5, topk: 7 } },
  losses: { cochlea: [2, 1], jaxjs: [2, 1] }, timing: { cochleaTopk: once(1), cochleaStandard: once(3), jaxjsStandard: once(6) },
};
const speed = (rowsPerSecond: number) => ({ rowsPerSecond, secondsPerStep: { median: 1, least: 1, most: 1 }, losses: [2, 1] });
const torch: TorchResult = { version: '2.9', device: 'a GPU', step: [{ ...size, float32: speed(300), tf32: speed(1200) }] };

describe('torch', () => {
  test('is read from the last line that its script writes', () => {
    assert.deepEqual(readTorch({ code: 0, stdout: `warning\n${JSON.stringify(torch)}\n`, stderr: '' }), torch);
  });

  test('is absent, with a reason, where there is no python, no torch, no CUDA or no result', () => {
    assert.deepEqual(readTorch({ code: 1, stdout: '', stderr: 'Traceback\nModuleNotFoundError: No module named \'torch\'\n' }), { absent: 'ModuleNotFoundError: No module named \'torch\'' });
    assert.deepEqual(readTorch({ code: 3, stdout: '', stderr: '' }), { absent: 'python3 ended with code 3' });
    for (const stdout of ['', 'done', '{"step":[{"float32":{},"tf32":{}}]}', 'null']) assert.match((readTorch({ code: 0, stdout, stderr: '' }) as { absent: string }).absent, /^torch_step\.py wrote no result/);
  });

  test('stands beside the step of the same shape and rows, and beside no other', () => {
    assert.deepEqual(merge(engines, [gemm], [step], torch).step[0]!.overTorch, { float32: 2, tf32: 0.5 });
    assert.equal(merge(engines, [], [{ ...step, rows: 32 }], torch).step[0]!.overTorch, null);
    assert.equal(merge(engines, [], [{ ...step, k: 3 }], torch).step[0]!.overTorch, null);
  });
});

test('the result is one object with everything, and torch null with a reason where there is none', () => {
  const result = merge(engines, [gemm], [step], { absent: 'no CUDA' });
  assert.deepEqual(JSON.parse(JSON.stringify(result)), { adapter, versions, variants: { encode: 'direct' }, gemm: [gemm], step: [{ ...step, overTorch: null }], torch: null, torchAbsent: 'no CUDA' });
});

test('the tables judge by CPU time on a software adapter and by the clock on hardware, and say what was left out', () => {
  const table = gemmTable(gemm, adapter);
  assert.match(table, /^product 512 x 8 x 16 \(measured on 64 of 512 rows\), 1 turns\n/);
  assert.match(table, /\n {2}cochlea {7}9\.00 GFLOP\/s .* CPU 2\.00 s/);
  assert.match(table, /cochlea is 2\.50 times as fast as the faster peer by CPU time, 2\.00 by the clock; results differ by 1\.0e-7$/);
  const onHardware = { ...gemm, rows: 512, ratio: { wall: 2, cpu: null } };
  assert.match(gemmTable(onHardware, { software: false }), /^product 512 x 8 x 16, 1 turns\n[^]*is 2\.00 times as fast as the faster peer by the clock;/);
  assert.doesNotMatch(gemmTable(onHardware, { software: false }), /CPU/);
  assert.match(stepTable(step, adapter), /dense step is 2\.50 times as fast as jax-js' \(same losses\), its TopK step 7\.00 times$/);
  assert.equal(torchTable({ absent: 'no CUDA' }, [step]), 'torch: none (no CUDA)');
  assert.match(torchTable(torch, [step]), /float32 +300 rows\/s {3}cochlea's TopK step is 2\.00 times as fast\n.*tf32 +1200 rows\/s .* 0\.50 times/);
});

describe('the peers', () => {
  test('are found in the repository', () => assert.equal(peersFolder(), repo('bench', 'peers')));

  const manifest = (version: string): string => JSON.stringify({ dependencies: { peer: version } });
  writeFileSync(join(folder, 'package.json'), manifest('1.2.3'));

  test('that cannot be installed end in one line', async () => {
    await assert.rejects(installPeers(folder, join(folder, 'no-npm')), (error: { code: string; line: string }) => (
      error.code === 'fetch' && /^the peers \(peer\) cannot be installed: .*ENOENT.*: they are needed from the npm registry once; npm ci in .* says more$/.test(error.line) && !error.line.includes('\n')));
  });

  test('that are there in the right version are not installed again', async () => {
    mkdirSync(join(folder, 'node_modules', 'peer'), { recursive: true });
    writeFileSync(join(folder, 'node_modules', 'peer', 'package.json'), '{"version":"1.2.3"}');
    await installPeers(folder, join(folder, 'no-npm'));
    writeFileSync(join(folder, 'package.json'), manifest('1.2.4'));
    await assert.rejects(installPeers(folder, join(folder, 'no-npm')), { code: 'fetch' });
  });
});
