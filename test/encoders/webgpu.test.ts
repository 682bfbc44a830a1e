/** A model on the GPU of a page of headless Chromium, whose frames an SAE on the same device takes where they are. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Found } from '../browser/encoder.ts';
import { launchChromium } from '../support/chromium.ts';
import { repo } from '../support/paths.ts';
import { serveFolder } from '../support/static-server.ts';
import { model, tinyEncoder } from './tiny-onnx.ts';

const ort = '/node_modules/onnxruntime-web/dist';
const page = `<!doctype html><meta charset="utf-8"><title>cochlea</title>
<script type="importmap">{ "imports": { "onnxruntime-web": "${ort}/ort.wasm.bundle.min.mjs", "onnxruntime-web/webgpu": "${ort}/ort.webgpu.bundle.min.mjs" } }</script>
<script type="module">
  import * as encoder from '/test/browser/encoder.js';
  window.encoder = encoder;
</script>`;

test('in a page, frames stay on the GPU from a model to an SAE, and are those of the wasm build', async (t) => {
  const browser = await launchChromium();
  if (!browser) return t.skip('there is no bundled Chromium for this machine');
  const built = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  const server = await serveFolder(built, { '/': page }, {
    '/node_modules/': (rest) => readFile(repo('node_modules', rest)), '/model/': async () => model(tinyEncoder()),
  });
  try {
    const tab = await browser.newPage();
    const complaints: string[] = [];
    tab.on('pageerror', (error) => complaints.push(String(error)));
    await tab.goto(`${server.origin}/`);
    await tab.waitForFunction('window.encoder !== undefined', { timeout: 60_000 }).catch((error: Error) => {
      throw new Error(`the page did not load: ${[...complaints, error.message].join('; ')}`);
    });
    const samples = 400;
    const found = (await tab.evaluate(`encoder.encodeBothWays('/model/tiny.onnx', ['encoder.layers.0', 'encoder.out'], ${samples})`)) as Found;
    assert.deepEqual(found.backends, ['wasm onnxruntime-web wasm', 'gpu onnxruntime-web webgpu']);
    const frames = (samples - 4) / 2 + 1; // kernel 4, stride 2
    assert.deepEqual([found.rows, found.valid], [frames, frames]);
    for (const [n, off] of found.off.entries()) assert.ok(found.size[n]! > 0.5 && off < 1e-5 * found.size[n]!, `hook ${n} is off by ${off}`);
    assert.deepEqual([found.same, found.fired], [true, 3 * frames]);
    assert.equal(found.readBack.encoder, 0);
    assert.ok(found.readBack.sae > 0 && found.readBack.sae < 100_000); // activations, which are asked for
    assert.match(found.refused, /^the gpu backend needs a GPU device$/);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    await server.close();
  }
});
