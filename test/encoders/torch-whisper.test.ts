import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { listHooks, openMultiEncoder } from '../../src/encoders/index.ts';
import { readModel } from '../../src/encoders/weights.ts';
import { shared } from '../support/paths.ts';
import { floats, largestDifference, layerNorm, unread } from './torch.ts';

const folder = shared('fixtures', 'encoders', 'whisper-tiny-shape');

// Four norm-first layers of width 384 with random weights, norms with weights 1 and biases 0. hidden_4 is behind the final norm, as
// Transformers has it. Stored are hidden_0, 2, 3 and 4 and what attention and MLP of layer 1 make.
describe('whisper-tiny-shape', { skip: folder ? false : '../shared/fixtures/encoders/whisper-tiny-shape is not there' }, () => {
  const path = join(folder ?? '', 'model_ts.onnx');
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
    const { hooks, family } = await listHooks(path);
    assert.equal(family, 'whisper');
    const parts = ['.ln', '.attention.heads', '.attention.out', '.mid', '.mlp.in', '.mlp.out', ''];
    assert.deepEqual(hooks.map((hook) => hook.name), [
      'encoder.conv', 'encoder.embeddings', ...[0, 1, 2, 3].flatMap((n) => parts.map((part) => `encoder.layers.${n}${part}`)), 'encoder.out',
    ]);
    assert.match(hooks.at(-1)!.note!, /after the final norm/);
    assert.match(hooks.at(-2)!.note!, /after the last block, before the final norm/);
    assert.deepEqual(at('hidden_4'), at('last'));
  });

  const heads = 'encoder.layers.1.attention.heads';
  let made: Map<string, Float32Array>, headsTensor: string;
  before(async () => {
    const hooks = [...Object.keys(expected), 'encoder.layers.3', 'encoder.conv', heads];
    const encoder = await openMultiEncoder({ model: path, hooks, features: () => at('input') });
    const { frames } = await encoder.encode(new Float32Array(480_000));
    headsTensor = encoder.hooks.at(-1)!.hook.tensor;
    await encoder.close();
    made = new Map(hooks.map((hook, n) => [hook, frames[n]!]));
  });

  test('every hook point with a stored value equals PyTorch\'s, in one pass', () => {
    for (const [hook, value] of Object.entries(expected)) {
      const off = largestDifference(made.get(hook)!, value());
      assert.ok(off < 1e-4, `${hook} is off by ${off}`);
    }
    const off = largestDifference(layerNorm(made.get('encoder.layers.3')!, 384), at('last'));
    assert.ok(off < 1e-4, `encoder.layers.3 behind the final norm is off by ${off}`);
  });

  test('what the convolutions make becomes the first hidden state by Whisper\'s sinusoids, and the heads side by side attention\'s output by its projection', async () => {
    const width = 384, half = width / 2;
    // openai/whisper, sinusoids(): frequencies fall from 1 to 1/10000, sines before cosines.
    const position = (frame: number, i: number): number => {
      const angle = frame * Math.exp((-Math.log(10_000) * (i % half)) / (half - 1));
      return i < half ? Math.sin(angle) : Math.cos(angle);
    };
    const off = largestDifference(made.get('encoder.conv')!.map((x, i) => x + position(Math.floor(i / width), i % width)), at('hidden_0'));
    assert.ok(off < 1e-4, `encoder.conv is off by ${off}`);

    const { model } = await readModel(path);
    const product = model.nodes.find(({ op, inputs }) => op === 'MatMul' && inputs[0] === headsTensor)!;
    const { dims, data } = model.initializers.find(({ name }) => name === product.inputs[1])!;
    assert.deepEqual(dims, [width, width]);
    const weights = new Float32Array((data as { bytes: Uint8Array }).bytes.slice().buffer), attention = at('cap_layers.1.self_attn'), side = made.get(heads)!;
    for (const frame of [0, 1, 749, 1499]) {
      for (let out = 0; out < width; out++) {
        let sum = 0; // the biases of the random model are 0
        for (let i = 0; i < width; i++) sum += side[frame * width + i]! * weights[i * width + out]!;
        assert.ok(Math.abs(sum - attention[frame * width + out]!) < 1e-4, `frame ${frame}, number ${out}: ${sum}, not ${attention[frame * width + out]}`);
      }
    }
  });

  test('nothing that is stored goes uncompared', () => assert.deepEqual(unread(folder!), []));
});
