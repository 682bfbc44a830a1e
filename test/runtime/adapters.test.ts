import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { choose, ensureAdapter, type Machine, unpackSoftwareAdapter } from '../../src/runtime/adapters.ts';
import { runtime } from '../../src/runtime/index.ts';
import type { ProbeReport } from '../../src/runtime/probe.ts';

const h200: ProbeReport = { name: 'NVIDIA H200', backend: 'vulkan', driver: 'NVIDIA: 570.86', software: false };
const arc: ProbeReport = { name: 'Intel(R) Arc(tm) A770', backend: 'vulkan', driver: 'Mesa 25.0', software: false, adapter: 'Intel(R) Arc(tm) A770' };
const lavapipe25: ProbeReport = { name: 'llvmpipe (LLVM 19.1.7, 256 bits)', backend: 'vulkan', driver: 'llvmpipe: Mesa 25.0.7 (LLVM 19.1.7)', software: true };
const lavapipe22: ProbeReport = { ...lavapipe25, driver: 'llvmpipe: Mesa 22.3.6' };
const lavapipeInDeno: ProbeReport = { name: 'llvmpipe (LLVM 15.0.6, 256 bits)', driver: 'llvmpipe (LLVM 15.0.6, 256 bits)', software: true };
const nothing: ProbeReport = { failed: 'no adapter', absent: true };
const crash: ProbeReport = { failed: 'the driver crashed (SIGSEGV)' };

const bundle = { loader: '/cache/libvulkan.so.1', driver: '/cache/vk_swiftshader_icd.json' };
const nvidia = '/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json';
const lvp = '/usr/share/vulkan/icd.d/lvp_icd.json';

/** A machine whose probes answer by the driver files that they are given; 'as is' without any. */
function machine(answers: Record<string, ProbeReport>, options: Partial<Machine> = {}): Machine & { probes: string[] } {
  const probes: string[] = [];
  return {
    wanted: undefined, env: {}, drivers: [], probes,
    software: async () => bundle,
    probe: async (setup) => {
      const key = setup.env['VK_DRIVER_FILES'] ?? 'as is';
      probes.push(key);
      return answers[key] ?? nothing;
    },
    ...options,
  };
}

const missing = (message: RegExp) => (error: unknown): boolean => error instanceof CochleaError && error.code === 'gpu-missing' && message.test(error.message);

describe('without a wish', () => {
  test('a GPU is taken as it is, at the cost of one probe and without unpacking anything', async () => {
    const here = machine({ 'as is': h200 }, { software: () => assert.fail('unpacked') });
    const choice = await choose(here);
    assert.deepEqual(here.probes, ['as is']);
    assert.equal(choice.line, 'GPU: NVIDIA H200 (Vulkan)');
    assert.equal(choice.software, false);
    assert.deepEqual(choice.setup, { env: {} });
  });

  test('a GPU whose machine has no Vulkan loader is reached with the bundled one', async () => {
    const choice = await choose(machine({ [nvidia]: h200 }, { drivers: [lvp, nvidia] }));
    assert.equal(choice.line, 'GPU: NVIDIA H200 (Vulkan)');
    assert.deepEqual(choice.setup, { env: { VK_DRIVER_FILES: nvidia }, loader: bundle.loader });
  });

  test('lavapipe of Mesa 24 or later goes before SwiftShader, an older or unknown one after it', async () => {
    assert.match((await choose(machine({ 'as is': lavapipe25 }))).line, /^no GPU found: running on the software adapter llvmpipe/);
    for (const old of [lavapipe22, lavapipeInDeno]) {
      const choice = await choose(machine({ 'as is': old }));
      assert.equal(choice.line, 'no GPU found: running on the bundled software adapter SwiftShader (slow, same code)');
      assert.deepEqual(choice.setup, { env: { VK_DRIVER_FILES: bundle.driver }, loader: bundle.loader });
      const bare = await choose(machine({ 'as is': old }, { software: async () => ({ reason: 'none is bundled for linux-arm64' }) }));
      assert.match(bare.name, /llvmpipe/);
      assert.match(bare.line, /^no GPU found/);
    }
  });

  test('a driver that crashes is passed over, and the line says so', async () => {
    const choice = await choose(machine({ 'as is': crash, [nvidia]: crash }, { drivers: [nvidia] }));
    assert.equal(choice.line, 'no working GPU (the driver crashed (SIGSEGV)): running on the bundled software adapter SwiftShader (slow, same code)');
    assert.deepEqual(choice.tried, ['as the machine is: the driver crashed (SIGSEGV)', 'with the bundled Vulkan loader: the driver crashed (SIGSEGV)', 'the bundled software adapter: SwiftShader']);
  });

  test('nothing at all is an error that says what was tried', async () => {
    const bare = machine({ 'as is': crash }, { software: async () => { throw new CochleaError('file-system', 'cannot unpack into /cache: disk full', 'set COCHLEA_CACHE'); } });
    await assert.rejects(choose(bare), missing(/^there is no GPU and no software adapter \(tried as the machine is: the driver crashed \(SIGSEGV\); the bundled software adapter: cannot unpack into \/cache: disk full: set COCHLEA_CACHE\)$/));
  });
});

describe('COCHLEA_ADAPTER', () => {
  test('gpu takes no software', async () => {
    assert.equal((await choose(machine({ 'as is': h200 }, { wanted: 'gpu' }))).name, 'NVIDIA H200');
    await assert.rejects(choose(machine({ 'as is': lavapipe25 }, { wanted: 'GPU' })), missing(/COCHLEA_ADAPTER=GPU asks for \(tried as the machine is: llvmpipe/));
  });

  test('swiftshader looks at nothing else', async () => {
    const here = machine({ 'as is': h200 }, { wanted: 'swiftshader', env: { DENO_WEBGPU_BACKEND: 'vulkan' } });
    const choice = await choose(here);
    assert.deepEqual(here.probes, []);
    assert.equal(choice.line, 'running on the bundled software adapter SwiftShader (slow, same code)');
    assert.deepEqual(choice.setup.env, { DENO_WEBGPU_BACKEND: 'vulkan', VK_DRIVER_FILES: bundle.driver });
    await assert.rejects(choose({ ...here, software: async () => ({ reason: 'none is bundled for darwin-arm64' }) }), missing(/none is bundled for darwin-arm64/));
  });

  test('lavapipe takes any of them, also past a GPU', async () => {
    const choice = await choose(machine({ 'as is': h200, [lvp]: lavapipe22 }, { wanted: 'lavapipe', drivers: [nvidia, lvp] }));
    assert.match(choice.line, /^running on the software adapter llvmpipe/);
    assert.equal(choice.setup.env['VK_DRIVER_FILES'], lvp);
  });

  test('a part of a name chooses among GPUs', async () => {
    const choice = await choose(machine({ 'as is': h200, '/x/intel.json': arc }, { wanted: 'a770', drivers: [nvidia, '/x/intel.json'] }));
    assert.equal(choice.line, 'GPU: Intel(R) Arc(tm) A770 (Vulkan)');
    assert.equal(choice.setup.adapter, 'Intel(R) Arc(tm) A770');
    await assert.rejects(choose(machine({ 'as is': h200 }, { wanted: 'Radeon' })), missing(/no adapter is what COCHLEA_ADAPTER=Radeon asks for \(tried as the machine is: NVIDIA H200; the bundled software adapter: SwiftShader\)/));
  });
});

const bundled = await unpackSoftwareAdapter();

test('in this process, a crashing driver is survived and the GPU then opens', {
  skip: runtime.name !== 'node' ? 'only Node has an environment variable that makes a child crash' : 'reason' in bundled ? bundled.reason : false,
}, async () => {
  const before = process.env['COCHLEA_ADAPTER'];
  delete process.env['COCHLEA_ADAPTER'];
  process.env['NODE_OPTIONS'] = `--import data:text/javascript,process.kill(process.pid,'SIGSEGV')`;
  try {
    const choice = await ensureAdapter();
    assert.match(choice.line, /^no working GPU \(the driver crashed \(SIGSEGV\)\): running on the bundled/);
    assert.equal(await ensureAdapter(), choice);
  } finally {
    delete process.env['NODE_OPTIONS'];
    if (before !== undefined) process.env['COCHLEA_ADAPTER'] = before;
  }
  const adapter = await (await runtime.gpu())!.requestAdapter();
  assert.match(adapter!.info.description, /SwiftShader/);
  runtime.releaseGpu();
});
