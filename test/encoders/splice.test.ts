import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openEncoder, openSpliceable, type EncoderOptions, type SpliceableOptions, type SplicedClip } from '../../src/encoders/index.ts';
import { parseModel } from '../../src/encoders/graph.ts';
import { continuation } from '../../src/encoders/split.ts';
import { fails } from '../support/fails.ts';
import { externalTensor, integers, model, node, tensor, tinyEncoder, value, type GraphParts } from './tiny-onnx.ts';

const sound = (length: number, seed = 1) => Float32Array.from({ length }, (_, i) => Math.sin(i * i * 1e-3 * seed + seed));
/** Copies of the stream that lie between: the tiny encoder's hook points, and what its layers are by name. */
const hooks = ['encoder.conv', 'encoder.embeddings', ...[0, 1].flatMap((n) => ['.attention.out', '.mid', '.mlp.out', ''].map((part) => `encoder.layers.${n}${part}`)), 'encoder.out'];

describe('splicing', () => {
  let folder: string, tiny: string;
  const save = async (name: string, parts: GraphParts): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, model(parts));
    return path;
  };
  const opened = async <T>(options: Omit<SpliceableOptions, 'model'> & { model?: string }, samples: Float32Array, work: (clip: SplicedClip) => Promise<T>): Promise<T> => {
    const spliceable = await openSpliceable({ model: tiny, head: false, ...options });
    try {
      const clip = await spliceable.open(samples);
      assert.equal(clip.frames.length, clip.rows * spliceable.dIn);
      return await work(clip);
    } finally {
      await spliceable.close();
    }
  };
  const untouched = (options: Parameters<typeof opened>[0], samples: Float32Array) => opened(options, samples, (clip) => clip.rest(clip.frames));
  const own = async (options: Partial<EncoderOptions>, samples: Float32Array) => {
    const encoder = await openEncoder({ model: tiny, hook: 'encoder.out', ...options });
    try {
      return await encoder.encode(samples);
    } finally {
      await encoder.close();
    }
  };
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cochlea-splice-'));
    tiny = await save('tiny.onnx', tinyEncoder());
  });
  after(() => rm(folder, { recursive: true }));

  test('the untouched frames give the model\'s own output bit for bit, at every hook point and with the channels first', async () => {
    const { frames } = await own({}, sound(200));
    for (const hook of [...hooks, '/conv/Conv_output_0']) {
      const [output] = await untouched({ hook }, sound(200));
      assert.deepEqual(output!.data, frames, hook);
      assert.deepEqual([output!.dims, output!.valid, output!.frames.length], [[1, 99, 512], 99, 99 * 512], hook);
    }
  });

  test('the stream of another clip gives that clip\'s output, bit for bit; what is added to the stream keeps the stream', async () => {
    const a = sound(200), b = sound(200, 2);
    const wanted = (await own({}, b)).frames;
    for (const hook of hooks.filter((name) => !/\.out$/.test(name) || name === 'encoder.out')) {
      const other = await opened({ hook }, b, async ({ frames }) => frames);
      const [output] = await opened({ hook }, a, (clip) => clip.rest(other));
      assert.deepEqual(output!.data, wanted, hook);
    }
    const framesAt = (hook: string, samples: Float32Array) => opened({ hook }, samples, async ({ frames }) => frames);
    const [middle, added] = [await framesAt('encoder.layers.0.mid', a), await framesAt('encoder.layers.0.mlp.out', b)];
    const [mixed] = await opened({ hook: 'encoder.layers.0.mlp.out' }, a, (clip) => clip.rest(added));
    const [summed] = await opened({ hook: 'encoder.layers.0' }, a, (clip) => clip.rest(middle.map((x, i) => x + added[i]!)));
    assert.deepEqual(mixed!.data, summed!.data);
    assert.notDeepEqual(mixed!.data, wanted);
  });

  test('the rest runs any number of times on one clip, on edited frames as the arithmetic says', () => opened({ hook: 'encoder.layers.1' }, sound(60), async (clip) => {
    const edited = clip.frames.map((x, i) => (i % 4 === 2 ? 0 : 3 * x));
    const [first] = await clip.rest(edited), [second] = await clip.rest(clip.frames), [again] = await clip.rest(edited);
    assert.deepEqual(first, again);
    assert.notDeepEqual(first!.data, second!.data);
    first!.data.forEach((x, i) => { // the head has weights of 0.5
      const row = edited.subarray(Math.floor(i / 512) * 4).subarray(0, 4);
      assert.ok(Math.abs(x - 0.5 * row.reduce((a, b) => a + b)) < 1e-5);
    });
  }));

  test('a clip of several windows is put together as the encoder does', async () => {
    for (const samples of [3_999, 10_003]) {
      const whole = await own({}, sound(samples));
      await opened({ hook: 'encoder.layers.0', maxSeconds: 0.11 }, sound(samples), async (clip) => {
        assert.ok(clip.windows.length > 1);
        assert.equal(clip.windows.reduce((sum, { firstRow, rows }) => {
          assert.equal(firstRow, sum);
          return sum + rows;
        }, 0), clip.rows);
        const outputs = await clip.rest(clip.frames);
        assert.equal(outputs.length, clip.windows.length);
        let at = 0;
        for (const { frames } of outputs) assert.deepEqual(frames, whole.frames.subarray(at, at += frames.length));
        assert.equal(at, whole.frames.length);
      });
    }
  });

  test('rows of padding stay as the model made them, and their output is not among the frames', async () => {
    // The second half of the output is the mean over all rows, so that padding tells.
    const path = await save('padded.onnx', {
      nodes: [
        node('Conv', ['input_features', 'kernel'], ['c'], { attributes: { kernel_shape: [3], strides: [2], pads: [1, 1] } }),
        node('Transpose', ['c'], ['stream'], { attributes: { perm: [0, 2, 1] } }),
        node('ReduceMean', ['stream'], ['mean'], { attributes: { axes: [1], keepdims: 1 } }),
        node('Add', ['stream', 'mean'], ['last_hidden_state']),
      ],
      tensors: [tensor('kernel', [2, 80, 3], Float32Array.from({ length: 480 }, (_, i) => (i % 240 === 1 ? 1 + Math.floor(i / 240) : 0)))],
      inputs: [value('input_features', ['batch', 80, 3000])], outputs: [value('last_hidden_state', ['batch', 'frames', 2])],
    });
    const features = (samples: Float32Array, mels: number) => Float32Array.from({ length: mels * 3000 }, (_, i) => (i < 3000 ? (samples[i * 160] ?? 0.25) : 0));
    const options = { model: path, hook: 'stream', features };
    const clip = sound(32_000), { frames } = await own({ ...options, hook: 'encoder.out' }, clip);
    await opened(options, clip, async (held) => {
      assert.deepEqual([held.rows, held.windows], [100, [{ firstRow: 0, rows: 100 }]]);
      const [output] = await held.rest(held.frames);
      assert.deepEqual(output!.data, frames);
      assert.deepEqual([output!.valid, output!.frames, output!.seconds], [100, frames.subarray(0, 200), 2]);
      const [zeroed] = await held.rest(new Float32Array(200));
      // 1,400 rows of silence, 0.25 and 0.5, are left in the mean of 1,500.
      assert.ok(Math.abs(zeroed!.frames[0]! - (0.25 * 1400) / 1500) < 1e-4);
      assert.ok(Math.abs(zeroed!.data[2998]! - (0.25 + (0.25 * 1400) / 1500)) < 1e-4);
    });
  });

  test('AST\'s patches go back to their places, and the tokens of the clip stay', async () => {
    const path = await save('ast.onnx', {
      nodes: [
        node('Unsqueeze', ['input_values', 'one'], ['image']), node('Transpose', ['image'], ['turned'], { attributes: { perm: [0, 1, 3, 2] } }),
        node('Conv', ['turned', 'kernel'], ['patches'], { attributes: { kernel_shape: [16, 16], strides: [10, 10], pads: [0, 0, 0, 0] } }),
        node('Reshape', ['patches', 'flat'], ['rows']), node('Transpose', ['rows'], ['embedded'], { attributes: { perm: [0, 2, 1] } }),
        node('Concat', ['token', 'embedded'], ['stream'], { attributes: { axis: 1 } }),
        node('Mul', ['stream', 'factor'], ['last_hidden_state']),
      ],
      tensors: [
        integers('one', [1]), integers('flat', [0, 0, -1]), tensor('kernel', [2, 1, 16, 16], Float32Array.from({ length: 512 }, (_, i) => Math.sin(i))),
        tensor('token', [1, 1, 2], [7, 8]), tensor('factor', [], [2]),
      ],
      inputs: [value('input_values', ['batch', 1024, 128])], outputs: [value('last_hidden_state', ['batch', 1213, 2])],
    });
    const spectrogram = (samples: Float32Array, { mels }: { mels: number }) =>
      Float32Array.from({ length: (Math.floor((samples.length - 400) / 160) + 1) * mels }, (_, i) => samples[(i * 7) % samples.length]!);
    const options = { model: path, hook: 'stream', spectrogram }, clip = sound(16_000);
    const { frames, valid } = await own({ ...options, hook: 'encoder.out' }, clip);
    await opened(options, clip, async (held) => {
      assert.deepEqual([held.rows, valid], [120, 120]);
      const [output] = await held.rest(held.frames);
      assert.deepEqual(output!.frames, frames.subarray(0, 240));
      assert.deepEqual(output!.dims, [1, 1213, 2]);
      const edited = held.frames.map((_, i) => i);
      const [other] = await held.rest(edited);
      assert.deepEqual(other!.frames, edited.map((x) => 2 * x));
      assert.deepEqual([...other!.data.subarray(0, 2)], [14, 16]);
      assert.deepEqual(other!.data.subarray(2 * 100), output!.data.subarray(2 * 100).map((x, i) => {
        const patch = 99 + Math.floor(i / 2), time = patch % 101, row = time * 12 + Math.floor(patch / 101);
        return row < 120 ? 2 * (2 * row + (i % 2)) : x;
      }));
    });
  });

  test('a mask that only what follows reads comes from the input', async () => {
    const parts = tinyEncoder();
    parts.inputs!.push(value('attention_mask', ['batch', 'samples'], 7));
    parts.nodes.push(node('Cast', ['attention_mask'], ['mask'], { attributes: { to: 1 } }), node('ReduceMean', ['mask'], ['scale'], { attributes: { keepdims: 0 } }),
      node('Mul', ['logits', 'scale'], ['masked']));
    parts.outputs = [value('masked', ['batch', 'frames', 512])];
    const path = await save('masked.onnx', parts), { frames } = await own({ model: path }, sound(80));
    for (const hook of ['encoder.layers.0', 'encoder.layers.1.mid']) assert.deepEqual((await untouched({ model: path, hook }, sound(80)))[0]!.data, frames);
  });

  test('float16 tensors are handed on as the model has them, rounded or not, and int64 companions as they are', async () => {
    const parts = tinyEncoder();
    parts.nodes.push(
      node('Cast', ['/encoder/layers.0/Add_1_output_0'], ['half'], { attributes: { to: 10 } }),
      node('Shape', ['half'], ['sizes']), node('Slice', ['sizes', 'from', 'to'], ['length']), node('Cast', ['length'], ['rows'], { attributes: { to: 10 } }),
      node('Mul', ['half', 'half'], ['squared']), node('Div', ['squared', 'rows'], ['shared']),
      node('Reshape', ['shared', 'same'], ['moved']), node('Mul', ['moved', 'half'], ['cubed']), node('Cast', ['cubed'], ['out'], { attributes: { to: 1 } }));
    parts.tensors!.push(integers('from', [1]), integers('to', [2]), integers('same', [0, 0, 4]));
    parts.outputs = [value('out', ['batch', 'frames', 4])];
    const path = await save('half.onnx', parts), { frames } = await own({ model: path }, sound(80));
    for (const hook of ['half', 'squared', 'shared', 'moved', 'cubed']) {
      assert.deepEqual((await untouched({ model: path, hook }, sound(80)))[0]!.data, frames, hook);
    }
    assert.deepEqual([...continuation(parseModel(model(parts), path), 'squared', 'out').carried].sort(), ['/encoder/layers.0/Add_1_output_0', 'length']);
  });

  test('weights in an external file are read by each part for itself', async () => {
    const parts = tinyEncoder(), head = Float32Array.from({ length: 2048 }, (_, i) => Math.cos(i));
    const inside = await save('inside.onnx', { ...parts, tensors: [...parts.tensors!.slice(0, -1), tensor('head', [4, 512], head)] });
    await writeFile(join(folder, 'outside.data'), new Uint8Array(head.buffer));
    const outside = await save('outside.onnx', {
      ...parts, tensors: [...parts.tensors!.slice(0, -1), externalTensor('head', [4, 512], { location: 'outside.data', offset: '0', length: '8192' })],
    });
    const { frames } = await own({ model: inside }, sound(80));
    for (const hook of ['encoder.embeddings', 'encoder.layers.1']) assert.deepEqual((await untouched({ model: outside, hook }, sound(80)))[0]!.data, frames);
  });

  test('what cannot be is refused in one line', async () => {
    const parts = tinyEncoder();
    parts.nodes.push(node('Mul', ['/Transpose_output_0', 'tenth'], ['aside']));
    const path = await save('aside.onnx', parts);
    await assert.rejects(openSpliceable({ model: path, hook: 'aside' }), fails('hook', /output 'logits' does not depend on 'aside': choose another hook$/));
    await assert.rejects(openSpliceable({ model: path, hook: 'encoder.layer.0' }), fails('hook', /near it are encoder\.layers\.0/));
    await assert.rejects(openSpliceable({ model: path, hook: 'encoder.layers.0', language: 'en' }), fails('usage', /no decoder lies beside it/));
    await opened({ hook: 'encoder.layers.0' }, sound(60), async (clip) => {
      await assert.rejects(clip.rest(new Float32Array(7)), fails('usage', /the clip has 29 frames of 4, 116 numbers, and 7 were given/));
      clip.dispose();
      await assert.rejects(clip.rest(clip.frames), fails('usage', /disposed of/));
    });
    const spliceable = await openSpliceable({ model: tiny, hook: 'encoder.layers.0' });
    assert.equal(spliceable.head, undefined);
    await assert.rejects(spliceable.open(sound(3)), fails('audio', /one frame needs 4/));
    await spliceable.close();
    await spliceable.close();
  });
});
