import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openEncoder } from '../../src/encoders/index.ts';
import { cutAt, parseModel } from '../../src/encoders/graph.ts';
import { detachWeights, externalPath, readModel, weightBytes } from '../../src/encoders/weights.ts';
import { concatenate, writeField } from '../../src/encoders/wire.ts';
import { fails } from '../support/fails.ts';
import { externalTensor, model, node, tensor, tinyEncoder, tinyKernel, value } from './tiny-onnx.ts';

const bytesOf = (values: ArrayLike<number>) => new Uint8Array(Float32Array.from(values).buffer);

describe('weights', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cochlea-weights-'));
  });
  after(() => rm(folder, { recursive: true }));

  test('larger weights leave the graph, smaller ones and shapes stay', async () => {
    const parsed = parseModel(model(tinyEncoder()), 'tiny.onnx');
    const { bytes, weights } = await detachWeights(parsed, folder);
    assert.deepEqual(weights.map(({ path, data }) => [path, data.length]), [['weight0', 8192]]);
    const again = parseModel(bytes, 'detached');
    assert.deepEqual(
      again.initializers.map(({ name, data }) => [name, data.kind]),
      [['axis', 'raw'], ['kernel', 'raw'], ['tenth', 'raw'], ['matrix', 'raw'], ['head', 'external']],
    );
    assert.deepEqual(again.initializers.at(-1)!.data, { kind: 'external', location: 'weight0', offset: 0, length: 8192 });
    assert.equal((await detachWeights(cutAt(parsed, ['/encoder/layers.1/Add_1_output_0']), folder)).weights.length, 0);
  });

  test('of external files only the wanted ranges are read, and the model computes the same', async () => {
    const parts = tinyEncoder();
    // The weight lies in the middle of its file.
    const kernel = Float32Array.from({ length: 256 * 4 }, (_, i) => tinyKernel[i % 16]! * (1 + Math.floor(i / 16)));
    parts.tensors![1] = externalTensor('kernel', [256, 1, 4], { location: './data.bin', offset: '512', length: '4096' });
    const file = concatenate([new Uint8Array(512).fill(0xee), bytesOf(kernel), new Uint8Array(64)]);
    await writeFile(join(folder, 'data.bin'), file);
    await writeFile(join(folder, 'outside.onnx'), model(parts));
    parts.tensors![1] = tensor('kernel', [256, 1, 4], kernel);
    await writeFile(join(folder, 'inside.onnx'), model(parts));
    const samples = Float32Array.from({ length: 100 }, (_, i) => Math.sin(i));
    const results: Float32Array[] = [];
    for (const name of ['outside.onnx', 'inside.onnx']) {
      const encoder = await openEncoder({ model: join(folder, name), hook: '/Transpose_output_0', threads: 1 });
      results.push((await encoder.encode(samples)).frames);
      await encoder.close();
    }
    assert.equal(results[0]!.length, 49 * 256);
    assert.deepEqual(results[0], results[1]);
    const parsed = parseModel(
      model({ ...parts, tensors: [externalTensor('kernel', [256, 1, 4], { location: 'data.bin', offset: '512' })] }), 'm',
    );
    assert.deepEqual((await detachWeights(parsed, folder)).weights.map((weight) => [...weightBytes(weight)]), [[...bytesOf(kernel)]]);
  });

  test('the checksum of one file is that of sha256sum; with external files it covers them too', async () => {
    const whole = model(tinyEncoder());
    await writeFile(join(folder, 'whole.onnx'), whole);
    assert.equal((await readModel(join(folder, 'whole.onnx'))).sha256, createHash('sha256').update(whole).digest('hex'));
    const parts = model({ nodes: [node('Abs', ['w'], ['y'])], tensors: [externalTensor('w', [2], { location: 'w.bin' })] });
    await writeFile(join(folder, 'split.onnx'), parts);
    await writeFile(join(folder, 'w.bin'), bytesOf([1, 2]));
    const first = (await readModel(join(folder, 'split.onnx'))).sha256;
    assert.equal(first, createHash('sha256').update(parts).update(bytesOf([1, 2])).digest('hex'));
    await writeFile(join(folder, 'w.bin'), bytesOf([1, 3]));
    assert.notEqual((await readModel(join(folder, 'split.onnx'))).sha256, first);
  });

  for (const location of ['../secret', '/etc/passwd', 'a/../../b', '..\\b', 'C:\\b', 'C:b', '\\\\host\\share', 'a\0b', '']) {
    test(`weights said to lie in '${location.replace('\0', '\\0')}' are refused`, async () => {
      await assert.rejects(async () => {
        const parsed = parseModel(model({ nodes: [node('Abs', ['w'], ['y'])], tensors: [externalTensor('w', [2], { location })] }), 'm.onnx');
        await detachWeights(parsed, folder);
      }, fails('model', /outside of the model's folder|does not say where/));
    });
  }

  test('a file in a folder below the model is allowed', () => assert.equal(
    externalPath('data/w.bin', folder, 'm.onnx'), join(folder, 'data', 'w.bin'),
  ));

  for (const [what, part, code, pattern] of [
    ['fewer bytes than its shape needs', tensor('w', [3], [1, 2]), 'model', /^m\.onnx: tensor 'w' of shape \[3\] needs 12 bytes and has 8$/],
    ['a shape that would fill the memory', tensor('w', [2 ** 40, 2 ** 40], [1, 2]), 'model', /GB of weights/],
    ['an external file that is not there', externalTensor('w', [2], { location: 'gone.bin' }), 'file-missing', /gone\.bin/],
    [
      'an external file that is too short', externalTensor('w', [2], { location: 'short.bin', offset: '4' }), 'file-damaged',
      /tensor 'w' should lie at bytes 4 to 12, but the file has 8/,
    ],
    ['an offset that is no number', externalTensor('w', [2], { location: 'short.bin', offset: 'x' }), 'model', /does not say where/],
  ] as const) {
    test(`a weight with ${what} is refused`, async () => {
      await writeFile(join(folder, 'short.bin'), new Uint8Array(8));
      await assert.rejects(
        async () => detachWeights(parseModel(model({ nodes: [node('Abs', ['w'], ['y'])], tensors: [part] }), 'm.onnx'), folder),
        fails(code, pattern),
      );
    });
  }

  test('weights in another file inside a node are refused, but only when the node is needed', async () => {
    const parts = tinyEncoder();
    const constant = concatenate([
      node('Constant', [], ['c'], { name: 'far' }), writeField(
        5, [writeField(1, 'value'), writeField(5, externalTensor('t', [2], { location: 'w.bin' })), writeField(20, 4)],
      ),
    ]);
    parts.nodes.push(constant, node('Add', ['logits', 'c'], ['sum']));
    const parsed = parseModel(model({ ...parts, outputs: [...parts.outputs!, value('sum', [])] }), 'm.onnx');
    await assert.rejects(detachWeights(parsed, folder), fails('model', /node 'far' keeps weights/));
    assert.equal((await detachWeights(cutAt(parsed, ['logits']), folder)).weights.length, 1);
  });
});
