/** A model on the GPU device of the SAE, outside of a page; webgpu.test.ts has the page. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { openEncoder } from '../../src/encoders/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { extractActivations } from '../../src/jobs/extract.ts';
import { makeRecordings, tinyHook, tinyWidth } from '../support/recordings.ts';
import { fails } from '../support/fails.ts';
import { signal } from './signal.ts';
import { relativeDifference } from './torch.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-gpu-'));
after(() => rmSync(folder, { recursive: true }));
const { model, manifest } = makeRecordings(folder, 4);
// V8 11 takes a minute for one function of ONNX Runtime's build for WebGPU.
const skip = 'Deno' in globalThis ? false : 'Node 20 compiles for a minute: Deno and the page run this';

describe('the gpu backend', () => {
  test('needs a device, and has one session without threads', async () => {
    await assert.rejects(openEncoder({ model, hook: tinyHook, backend: 'gpu' }), fails('usage', /^the gpu backend needs a GPU device: /));
    const extract = (given: object) => extractActivations({ model, hook: tinyHook, audio: [manifest], out: join(folder, 'none'), backend: 'gpu', ...given });
    await assert.rejects(extract({ workers: 2 }), fails('usage', /^workers is 2, but one session runs on a GPU, and no threads: leave workers away$/));
    await assert.rejects(extract({ threads: 2 }), fails('usage', /^threads is 2/));
  });

  test('makes the frames of the wasm build to rounding, there and here, and says so in a store', { skip }, async () => {
    const gpu = await Gpu.open();
    try {
      const samples = signal(500);
      const wasm = await openEncoder({ model, hook: tinyHook, backend: 'wasm' }), encoder = await openEncoder({ model, hook: tinyHook, backend: 'gpu', device: gpu.device });
      const expected = await wasm.encode(samples), found = await encoder.encode(samples);
      assert.ok(relativeDifference(found.frames, expected.frames) < 1e-6);
      await wasm.close();
      await encoder.close();
      const { clips } = await extractActivations({ model, hook: tinyHook, audio: [manifest], out: join(folder, 'store'), backend: 'gpu', gpu });
      const { info } = JSON.parse(readFileSync(join(folder, 'store', 'manifest.json'), 'utf8')) as { info: { dIn: number; computedBy: object } };
      assert.deepEqual([clips, info.dIn], [4, tinyWidth]);
      assert.match(JSON.stringify(info.computedBy), /^\{"package":"onnxruntime-web","version":"[\d.]+","provider":"webgpu"\}$/);
      gpu.throwIfFailed();
    } finally {
      gpu.dispose();
    }
  });
});
