import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { listHooks, openMultiEncoder } from '../../src/encoders/index.ts';
import { shared } from '../support/paths.ts';
import { floats, largestDifference, layerNorm } from './torch.ts';

const folder = shared('fixtures', 'encoders', 'whisper-tiny-shape');

// Four norm-first layers of width 384 with random weights, norms with weights 1 and biases 0. hidden_4 is behind the final norm, as
// Transformers has it. Stored are hidden_0, 2, 3 and 4 and what attention and MLP of layer 1 make.
describe('whisper-tiny-shape', { skip: folder ? false : '../shared/fixtures/encoders/whisper-tiny-shape is not there' }, () => {
  const at = (name: string) => floats(folder!, name);
  const minus = (a: Float32Array, b: Float32Array) => a.map((x, i) => x - b[i]!);
  const middle = () => minus(at('hidden_2'), at('cap_layers.1.fc2'));
  const entering = () => minus(middle(), at('cap_layers.1.self_attn'));
  const expected: Record<string, () => Float32Array> = {
    'encoder.embeddings': () => at('hidden_0'),
    'encoder.layers.0.ln': () => layerNorm(at('hidden_0'), 384),
    'encoder.layers.0': entering,
    'encoder.layers.1.ln': () => layerNorm(entering(), 384),
    'encoder.layers.1.attention.out': () => at('cap_layers.1.self_attn'),
    'encoder.layers.1.mid': middle,
    'encoder.layers.1.mlp.in': () => layerNorm(middle(), 384),
    'encoder.layers.1.mlp.out': () => at('cap_layers.1.fc2'),
    'encoder.layers.1': () => at('hidden_2'),
    'encoder.layers.2.ln': () => layerNorm(at('hidden_2'), 384),
    'encoder.layers.2': () => at('hidden_3'),
    'encoder.layers.3.ln': () => layerNorm(at('hidden_3'), 384),
    'encoder.out': () => at('last'),
  };

  test('has every hook point, and says which one lies behind the final norm', async () => {
    const { hooks, family } = await listHooks(join(folder!, 'model_ts.onnx'));
    assert.equal(family, 'whisper');
    const parts = ['.ln', '.attention.heads', '.attention.out', '.mid', '.mlp.in', '.mlp.out', ''];
    assert.deepEqual(hooks.map((hook) => hook.name), [
      'encoder.conv', 'encoder.embeddings', ...[0, 1, 2, 3].flatMap((n) => parts.map((part) => `encoder.layers.${n}${part}`)), 'encoder.out',
    ]);
    assert.match(hooks.at(-1)!.note!, /after the final norm/);
    assert.match(hooks.at(-2)!.note!, /after the last block, before the final norm/);
    assert.deepEqual(at('hidden_4'), at('last'));
  });

  test('every hook point with a stored value equals PyTorch\'s, in one pass', async () => {
    const hooks = [...Object.keys(expected), 'encoder.layers.3'];
    const encoder = await openMultiEncoder({ model: join(folder!, 'model_ts.onnx'), hooks, features: () => at('input') });
    const { frames } = await encoder.encode(new Float32Array(480_000));
    await encoder.close();
    for (const [n, hook] of Object.keys(expected).entries()) {
      const off = largestDifference(frames[n]!, expected[hook]!());
      assert.ok(off < 1e-4, `${hook} is off by ${off}`);
    }
    const off = largestDifference(layerNorm(frames.at(-1)!, 384), at('last'));
    assert.ok(off < 1e-4, `encoder.layers.3 behind the final norm is off by ${off}`);
  });
});
