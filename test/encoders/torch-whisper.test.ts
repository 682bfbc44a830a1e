import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { listHooks } from '../../src/encoders/index.ts';
import { shared } from '../support/paths.ts';
import { floats, framesAt, largestDifference } from './torch.ts';

const folder = shared('fixtures', 'encoders', 'whisper-tiny-shape');

// Four pre-norm layers of width 384 with random weights. hidden_4 is behind the final norm, as Transformers has it.
describe('whisper-tiny-shape', { skip: folder ? false : '../shared/fixtures/encoders/whisper-tiny-shape is not there' }, () => {
  const at = (name: string) => floats(folder!, name);
  const expected: Record<string, () => Float32Array> = {
    'encoder.embeddings': () => at('hidden_0'),
    'encoder.layers.1': () => at('hidden_2'),
    'encoder.layers.1.attention.out': () => at('cap_layers.1.self_attn'),
    'encoder.layers.1.mlp.out': () => at('cap_layers.1.fc2'),
    'encoder.layers.1.mid': () => {
      const mlp = at('cap_layers.1.fc2');
      return at('hidden_2').map((x, i) => x - mlp[i]!);
    },
    'encoder.layers.2': () => at('hidden_3'),
    'encoder.out': () => at('last'),
  };

  test('has every hook point, and says which one lies behind the final norm', async () => {
    const { hooks, family } = await listHooks(join(folder!, 'model_ts.onnx'));
    assert.equal(family, 'whisper');
    assert.deepEqual(hooks.map((hook) => hook.name), [
      'encoder.embeddings',
      ...[0, 1, 2, 3].flatMap((n) => ['.attention.out', '.mid', '.mlp.out', ''].map((part) => `encoder.layers.${n}${part}`)),
      'encoder.out',
    ]);
    assert.match(hooks.at(-1)!.note!, /after the final norm/);
    assert.match(hooks.at(-2)!.note!, /after the last block, before the final norm/);
    assert.deepEqual(at('hidden_4'), at('last'));
  });

  for (const [hook, values] of Object.entries(expected)) {
    test(`${hook} equals PyTorch's`, async () => {
      const features = () => at('input');
      const off = largestDifference(
        await framesAt({ model: join(folder!, 'model_ts.onnx'), hook, features }, new Float32Array(480_000)), values(),
      );
      assert.ok(off < 1e-4, `off by ${off}`);
    });
  }
});
