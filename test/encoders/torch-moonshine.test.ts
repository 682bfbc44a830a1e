import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { readModel } from '../../src/encoders/weights.ts';
import { fetchModel, listHooks, openEncoder, openMultiEncoder } from '../../src/encoders/index.ts';
import { shared } from '../support/paths.ts';
import { unreachable } from './npm.ts';
import { floats, framesAt, layerNorm, relativeDifference, unread } from './torch.ts';

const folder = shared('fixtures', 'encoders', 'moonshine-tiny');
const missing = folder ? false : '../shared/fixtures/encoders/moonshine-tiny is not there';

/** Brings a model; when it cannot be had, skips the test for that reason and gives undefined. */
async function bring(t: TestContext, name: string): Promise<string | undefined> {
  const reason = await unreachable(name);
  if (reason === undefined) return fetchModel(name);
  t.skip(reason);
  return undefined;
}

describe('Moonshine tiny with its real weights', () => {
  test('hooks, clock and family are what the registry says', async (t) => {
    if (!(await bring(t, 'moonshine-tiny'))) return;
    const { hooks, family, sha256 } = await listHooks('moonshine-tiny');
    assert.equal(family, 'moonshine');
    assert.equal(sha256, 'cbbf580f703b2af2137e0f6d14cd87f31cc67bd858bfd8715403a9489982d1a5');
    assert.equal(hooks.length, 2 + 6 * 7 + 1);
    const encoder = await openEncoder({ model: 'moonshine-tiny', hook: 'encoder.layers.3' });
    assert.deepEqual([encoder.dIn, encoder.sampleRate, encoder.frameRate], [288, 16_000, 16_000 / 384]);
    assert.equal((await encoder.encode(new Float32Array(895))).rows, 1);
    await assert.rejects(encoder.encode(new Float32Array(894)), /one frame needs 895 \(56 ms at 16000 Hz\)/);
    await encoder.close();
  });

  // hidden_1 ... hidden_5 follow the first five layers; hidden_6 is behind the final norm, as last is.
  const expected = {
    'encoder.conv': 'hidden_0', 'encoder.embeddings': 'hidden_0', 'encoder.layers.0': 'hidden_1', 'encoder.layers.1': 'hidden_2', 'encoder.layers.2': 'hidden_3', 'encoder.layers.3': 'hidden_4',
    'encoder.layers.4': 'hidden_5', 'encoder.out': 'last',
  };
  test('every hidden state equals PyTorch\'s, in one pass', { skip: missing }, async (t) => {
    if (!(await bring(t, 'moonshine-tiny'))) return;
    const encoder = await openMultiEncoder({ model: 'moonshine-tiny', hooks: Object.keys(expected) });
    const { frames } = await encoder.encode(floats(folder!, 'input'));
    await encoder.close();
    for (const [n, [hook, name]] of Object.entries(expected).entries()) {
      const off = relativeDifference(frames[n]!, floats(folder!, name));
      assert.ok(off < 2e-4, `${hook} is off by ${off}`);
    }
    assert.deepEqual(floats(folder!, 'hidden_6'), floats(folder!, 'last'));
    assert.deepEqual(unread(folder!), []);
  });

  test('the last layer becomes the output by the final norm', { skip: missing }, async (t) => {
    const path = await bring(t, 'moonshine-tiny');
    if (!path) return;
    const { data } = (await readModel(path)).model.initializers.find((tensor) => tensor.name === 'layer_norm.weight')!;
    const weight = new Float32Array((data as { bytes: Uint8Array }).bytes.slice().buffer);
    const normed = layerNorm(await framesAt({ model: 'moonshine-tiny', hook: 'encoder.layers.5' }, floats(folder!, 'input')), 288);
    const off = relativeDifference(normed.map((x, i) => x * weight[i % 288]!), floats(folder!, 'last'));
    assert.ok(off < 2e-4, `off by ${off}`);
  });

  test('the int8 model has the same hooks and comes near', { skip: missing }, async (t) => {
    if (!(await bring(t, 'moonshine-tiny-int8'))) return;
    const { hooks, family } = await listHooks('moonshine-tiny-int8');
    assert.deepEqual([hooks.length, family], [45, 'moonshine']);
    const off = relativeDifference(
      await framesAt({ model: 'moonshine-tiny-int8', hook: 'encoder.layers.3' }, floats(folder!, 'input')), floats(folder!, 'hidden_4'),
    );
    assert.ok(off > 0.01 && off < 0.2, `off by ${off}`);
  });
});
