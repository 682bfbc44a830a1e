import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { listHooks, openMultiEncoder } from '../../src/encoders/index.ts';
import { shared } from '../support/paths.ts';
import { floats, largestDifference, layerNorm, unread } from './torch.ts';

const missing = (name: string) => (shared('fixtures', 'encoders', name) ? false : `../shared/fixtures/encoders/${name} is not there`);

// Three post-norm layers of width 256 with random weights: hidden_0 enters the first, last is the last one's output.
for (const name of ['hubert-shape', 'wavlm-shape']) {
  for (const file of ['model_ts.onnx', 'model_dynamo.onnx']) {
    describe(`${name} ${file}`, { skip: missing(name) }, () => {
      const folder = shared('fixtures', 'encoders', name) ?? '';
      const expected: Record<string, () => Float32Array> = {
        'encoder.embeddings': () => floats(folder, 'hidden_0'),
        'encoder.out': () => floats(folder, 'last'),
      };
      for (const layer of [0, 1, 2]) {
        const hook = `encoder.layers.${layer}`, captured = `cap_encoder.layers.${layer}`;
        expected[hook] = () => floats(folder, `hidden_${layer + 1}`);
        expected[`${hook}.attention.out`] = () => floats(folder, `${captured}.attention`);
        expected[`${hook}.mlp.out`] = () => floats(folder, `${captured}.feed_forward`);
        // The MLP reads what the first norm, behind attention's sum, makes.
        for (const part of ['mid', 'ln', 'mlp.in']) {
          expected[`${hook}.${part}`] = () => {
            const attention = floats(folder, `${captured}.attention`);
            return layerNorm(floats(folder, `hidden_${layer}`).map((x, i) => x + attention[i]!), 256);
          };
        }
      }

      test('has every hook point and knows its family', async () => {
        const { hooks, family } = await listHooks(join(folder, file));
        assert.equal(family, 'wav2vec2');
        // Of these two nothing is stored here; exporters.test.ts compares them on smaller models.
        const others = ['encoder.conv', ...[0, 1, 2].map((layer) => `encoder.layers.${layer}.attention.heads`)];
        assert.deepEqual(hooks.map((hook) => hook.name).sort(), [...Object.keys(expected), ...others].sort());
        assert.match(hooks.find((hook) => hook.name === 'encoder.out')!.note!, /the same tensor as encoder\.layers\.2: no final norm/);
      });

      test('every one with a stored value equals PyTorch\'s', async () => {
        const hooks = Object.keys(expected);
        const encoder = await openMultiEncoder({ model: join(folder, file), hooks, normalize: false });
        const { frames } = await encoder.encode(floats(folder, 'input'));
        await encoder.close();
        for (const [n, hook] of hooks.entries()) {
          const off = largestDifference(frames[n]!, expected[hook]!());
          assert.ok(off < 1e-4, `${hook} is off by ${off}`);
        }
        // A post-norm layer ends with its second norm, which was caught as a module too.
        for (const layer of [0, 1, 2]) {
          const off = largestDifference(frames[hooks.indexOf(`encoder.layers.${layer}`)]!, floats(folder, `cap_encoder.layers.${layer}.final_layer_norm`));
          assert.ok(off < 1e-4, `the second norm of layer ${layer} is off by ${off}`);
        }
      });

      test('nothing that is stored goes uncompared', () => assert.deepEqual(unread(folder), []));
    });
  }
}
