import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findHooks } from '../../src/encoders/hooks.ts';
import { parseModel } from '../../src/encoders/graph.ts';
import { integers, model, node, tensor, tinyEncoder, value, type GraphParts } from './tiny-onnx.ts';

const hooksOf = (parts: GraphParts) => findHooks(parseModel(model(parts), 'tiny.onnx'));
const tensors = (parts: GraphParts) => Object.fromEntries(hooksOf(parts).map((hook) => [hook.name, hook.tensor]));

const tiny = {
  'encoder.conv': '/Transpose_output_0',
  'encoder.embeddings': '/Transpose_output_0',
  'encoder.layers.0.attention.out': '/encoder/layers.0/attention/Mul_output_0',
  'encoder.layers.0.mid': '/encoder/layers.0/Add_output_0',
  'encoder.layers.0.mlp.out': '/encoder/layers.0/mlp/MatMul_output_0',
  'encoder.layers.0': '/encoder/layers.0/Add_1_output_0',
  'encoder.layers.1.attention.out': '/encoder/layers.1/attention/Mul_output_0',
  'encoder.layers.1.mid': '/encoder/layers.1/Add_output_0',
  'encoder.layers.1.mlp.out': '/encoder/layers.1/mlp/MatMul_output_0',
  'encoder.layers.1': '/encoder/layers.1/Add_1_output_0',
  'encoder.out': 'logits',
};

describe('hook points', () => {
  test('of a TorchScript export are found by the paths in node names, in order of computation', () => {
    assert.deepEqual(tensors(tinyEncoder()), tiny);
    assert.deepEqual(Object.keys(tensors(tinyEncoder())), Object.keys(tiny));
    assert.deepEqual(hooksOf(tinyEncoder()).at(-1), {
      name: 'encoder.out', tensor: 'logits', shape: ['batch', 'frames', 512], kind: 'output',
      note: "the model's own output logits, after the head",
    });
  });

  test('of a dynamo export are found by the scopes in its metadata', () => {
    const add = (inputs: string[], output: string, ...path: string[]) => node(
      'Add', inputs, [output], { name: `node_${output}`, scopes: ['', ...path, output] },
    );
    const parts: GraphParts = {
      nodes: [
        add(['x', 'w'], 'add_0', 'm'),
        add(['add_0', 'w'], 'add_1', 'm', 'm.encoder', 'm.encoder.layer.0', 'm.encoder.layer.0.attention', 'm.encoder.layer.0.attention.output'),
        add(['add_0', 'add_1'], 'add_2', 'm', 'm.encoder', 'm.encoder.layer.0'),
        add(['add_2', 'w'], 'add_3', 'm', 'm.encoder', 'm.encoder.layer.0', 'm.encoder.layer.0.feed_forward'),
        add(['add_2', 'add_3'], 'add_4', 'm', 'm.encoder', 'm.encoder.layer.0'),
        node('LayerNormalization', ['add_4', 'w'], ['out'], { name: 'node_out', scopes: ['', 'm', 'm.layer_norm', 'layer_norm'] }),
      ],
      tensors: [tensor('w', [], [1])], inputs: [value('x', ['t', 4])], outputs: [value('out', ['t', 4])],
    };
    assert.deepEqual(tensors(parts), {
      'encoder.embeddings': 'add_0', 'encoder.layers.0.attention.out': 'add_1', 'encoder.layers.0.mid': 'add_2',
      'encoder.layers.0.mlp.out': 'add_3', 'encoder.layers.0': 'add_4', 'encoder.out': 'out',
    });
    const notes = hooksOf(parts).slice(-2).map(({ note }) => note);
    assert.match(notes[0]!, /after the last block, before the final norm/);
    assert.match(notes[1]!, /after the final norm/);
  });

  test('an encoder in the graph comes before a deeper decoder', () => {
    const parts = tinyEncoder();
    for (let n = 0; n < 6; n++) {
      const input = n === 0 ? 'logits' : `d${n - 1}`;
      parts.nodes.push(node('Abs', [input], [`d${n}`], { name: `/decoder/layers.${n}/self_attn/Abs` }));
    }
    assert.equal(tensors(parts)['encoder.layers.1'], tiny['encoder.layers.1']);
    assert.equal(tensors(parts)['encoder.layers.2'], undefined);
  });

  test('convolution stacks and other numbered modules are no transformer layers', () => {
    const parts = tinyEncoder();
    for (let n = 0; n < 9; n++) {
      parts.nodes.push(node('Abs', [n === 0 ? 'logits' : `c${n - 1}`], [`c${n}`], { name: `/conv_layers.${n}/attention/Abs` }));
      parts.nodes.push(node('Abs', [n === 0 ? 'logits' : `b${n - 1}`], [`b${n}`], { name: `/layers.${n}/conv/Abs` }));
    }
    assert.deepEqual(tensors(parts), tiny);
  });

  test('what is computed from shapes alone is no activation', () => {
    const parts = tinyEncoder();
    parts.nodes.splice(3, 0,
      node('Shape', ['/Transpose_output_0'], ['shape'], { name: '/encoder/layers.0/attention/Shape' }),
      node('Cast', ['shape'], ['ones'], { name: '/encoder/layers.0/attention/Cast', attributes: { to: 1 } }));
    parts.nodes.push(node('Add', ['logits', 'ones'], ['late'], { name: '/encoder/layers.1/attention/late' }));
    assert.equal(tensors(parts)['encoder.layers.0.attention.out'], tiny['encoder.layers.0.attention.out']);
  });

  // x + proj(softmax(x q) (x v)), then + relu(norm(.) up) down: no name says what anything is.
  const block = (n: number, input: string, normed: string | undefined, output: string) => {
    const t = (what: string) => `${what}${n}`;
    return [
      ...(normed === undefined ? [node('LayerNormalization', [input, 'w'], [t('n')])] : []),
      node('MatMul', [normed ?? t('n'), 'w'], [t('q')]), node('MatMul', [normed ?? t('n'), 'w'], [t('v')]), node('Softmax', [t('q')], [t('p')]),
      node('MatMul', [t('p'), t('v')], [t('z')]), node('Reshape', [t('z'), 'shape'], [t('heads')]), node('MatMul', [t('heads'), 'w'], [t('proj')]),
      node('Add', [t('proj'), 'w'], [t('attention')]), node('Add', [t('attention'), input], [t('mid')]),
      node('LayerNormalization', [t('mid'), 'w'], [t('m')]), node('MatMul', [t('m'), 'w'], [t('up')]),
      // tanh-GELU adds to its input what is made from it: no end of an MLP.
      node('Mul', [t('up'), t('up')], [t('square')]), node('Add', [t('up'), t('square')], [t('gelu')]),
      node('MatMul', [t('gelu'), 'w'], [t('mlp')]), node('Add', [t('mid'), t('mlp')], [output]),
    ];
  };
  const nameless = (nodes: GraphParts['nodes'], output: string): GraphParts => ({
    nodes, tensors: [tensor('w', [4, 4], new Float32Array(16)), integers('shape', [1, -1, 4])], inputs: [value('x', [1, 't', 4])], outputs: [value(output, [1, 't', 4])],
  });

  test('are found by structure where nothing has a name', () => {
    const parts = nameless([node('Abs', ['x'], ['e']), ...block(0, 'e', undefined, 'r0'), ...block(1, 'r0', undefined, 'r1'), node('LayerNormalization', ['r1', 'w'], ['out'])], 'out');
    const layer = (n: number) => ({
      [`encoder.layers.${n}.ln`]: `n${n}`, [`encoder.layers.${n}.attention.heads`]: `heads${n}`, [`encoder.layers.${n}.attention.out`]: `attention${n}`,
      [`encoder.layers.${n}.mid`]: `mid${n}`, [`encoder.layers.${n}.mlp.in`]: `m${n}`, [`encoder.layers.${n}.mlp.out`]: `mlp${n}`, [`encoder.layers.${n}`]: `r${n}`,
    });
    assert.deepEqual(tensors(parts), { 'encoder.embeddings': 'e', ...layer(0), ...layer(1), 'encoder.out': 'out' });
    assert.match(hooksOf(parts).at(-2)!.note!, /before the final norm/);
  });

  test('of blocks that are followed by others of two attentions are those of the encoder', () => {
    // A decoder's block: attention to itself and to the encoder, then an MLP; its stream begins with what is no activation.
    const cross = (n: number, input: string, output: string) => [
      node('MatMul', [input, 'w'], [`cq${n}`]), node('MatMul', ['out', 'w'], [`ck${n}`]), node('Add', [`cq${n}`, `ck${n}`], [`cs${n}`]), node('Softmax', [`cs${n}`], [`cp${n}`]),
      node('MatMul', [`cp${n}`, `ck${n}`], [`cz${n}`]), node('MatMul', [`cz${n}`, 'w'], [`co${n}`]), node('Add', [input, `co${n}`], [`cm${n}`]), ...block(n, `cm${n}`, undefined, output),
    ];
    const nodes = [node('Abs', ['x'], ['e']), ...block(0, 'e', undefined, 'r0'), ...block(1, 'r0', undefined, 'r1'), node('LayerNormalization', ['r1', 'w'], ['out']),
      node('Abs', ['out'], ['d']), ...cross(5, 'd', 'r5'), ...cross(6, 'r5', 'r6'), ...cross(7, 'r6', 'r7')];
    const found = tensors(nameless(nodes, 'out'));
    assert.deepEqual([found['encoder.layers.0'], found['encoder.layers.1'], found['encoder.layers.2']], ['r0', 'r1', undefined]);
  });

  test('a model whose exporter left no paths has its output alone', () => {
    const parts: GraphParts = {
      nodes: [node('Abs', ['x'], ['y'], { name: 'Abs_0' })], tensors: [integers('unused', [1])], inputs: [value('x', [1])],
      outputs: [value('y', [1])],
    };
    assert.deepEqual(hooksOf(parts), [{ name: 'encoder.out', tensor: 'y', shape: [1], kind: 'output', note: "the model's own output y" }]);
  });
});
