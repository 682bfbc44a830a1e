import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { listHooks, openEncoder, openMultiEncoder, type EncoderOptions } from '../../src/encoders/index.ts';
import { floatToHalf } from '../../src/encoders/session.ts';
import { fails } from '../support/fails.ts';
import { integers, model, node, tensor, tinyEncoder, tinyKernel, value, type GraphParts } from './tiny-onnx.ts';

const sound = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * i * 1e-3));

/** What the tiny encoder's convolution makes of a clip, [frames, 4]. */
function stem(x: Float32Array): Float32Array {
  const frames = Math.floor((x.length - 4) / 2) + 1;
  return Float32Array.from({ length: frames * 4 }, (_, i) => {
    const frame = i >> 2, channel = i & 3;
    let sum = 0;
    for (let k = 0; k < 4; k++) sum = Math.fround(sum + tinyKernel[channel * 4 + k]! * x[2 * frame + k]!);
    return sum;
  });
}

function assertClose(actual: Float32Array, expected: Float32Array, tolerance = 1e-6): void {
  assert.equal(actual.length, expected.length);
  const worst = actual.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i]!)), 0);
  assert.ok(worst <= tolerance, `off by ${worst}`);
}

describe('encoder', () => {
  let folder: string;
  const save = async (name: string, parts: GraphParts): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, model(parts));
    return path;
  };
  const encode = async (samples: Float32Array, options: Partial<EncoderOptions> = {}) => {
    const encoder = await openEncoder({ model: join(folder, 'tiny.onnx'), hook: 'encoder.embeddings', ...options });
    try {
      return { ...encoder, ...await encoder.encode(samples) };
    } finally {
      await encoder.close();
    }
  };
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cochlea-encoder-'));
    await save('tiny.onnx', tinyEncoder());
  });
  after(() => rm(folder, { recursive: true }));

  test('a waveform model gives the frames of its stem, at the rate of its strides', async () => {
    const result = await encode(sound(101));
    assert.equal(result.model.family, 'waveform');
    assert.deepEqual([result.sampleRate, result.frameRate, result.dIn, result.rows, result.valid], [16_000, 8_000, 4, 49, 49]);
    assertClose(result.frames, stem(sound(101)));
  });

  test('hooks between and behind the parts of a layer give what those parts compute', async () => {
    const x = stem(sound(60)), tenth = x.map((v) => v * 0.125), middle = x.map((v, i) => v + tenth[i]!);
    const mlp = middle.map((_, i) => [0, 1, 2, 3].reduce((sum, k) => sum + middle[(i & ~3) + k]! * ((k * 4 + (i & 3)) % 5) * 0.25, 0));
    const expected: Record<string, Float32Array> = {
      'encoder.layers.0.attention.out': tenth, 'encoder.layers.0.mid': middle, 'encoder.layers.0.mlp.out': mlp,
      'encoder.layers.0': middle.map((v, i) => v + mlp[i]!),
    };
    for (const [hook, frames] of Object.entries(expected)) assertClose((await encode(sound(60), { hook })).frames, frames, 1e-5);
  });

  test('several hook points of one run give what each gives alone, whatever their order and widths', async () => {
    const parts = tinyEncoder();
    parts.nodes.push(node('Split', ['/encoder/layers.0/Add_1_output_0', 'sizes'], ['narrow', 'rest'], { attributes: { axis: 2 } }));
    parts.tensors!.push(integers('sizes', [1, 3]));
    const wide = await save('wide.onnx', parts);
    const hooks = ['encoder.layers.1', 'encoder.embeddings', 'narrow', 'encoder.layers.0.mlp.out', 'encoder.embeddings'];
    const together = await openMultiEncoder({ model: wide, hooks, maxSeconds: 0.11 });
    assert.deepEqual(together.hooks.map(({ hook, dIn }) => [hook.name, dIn]), hooks.map((hook) => [hook, hook === 'narrow' ? 1 : 4]));
    for (const samples of [60, 10_003]) {
      const { frames, rows, valid } = await together.encode(sound(samples));
      assert.equal(frames.length, hooks.length);
      for (const [n, hook] of hooks.entries()) {
        const alone = await encode(sound(samples), { model: wide, hook, maxSeconds: 0.11 });
        assert.deepEqual([frames[n], rows, valid], [alone.frames, alone.rows, alone.valid], hook);
      }
    }
    await together.close();
  });

  test('hook points whose frames come at different times are refused together, by name', async () => {
    const parts: GraphParts = {
      nodes: [
        node('Unsqueeze', ['input_values', 'axis'], ['channel']),
        node('Conv', ['channel', 'kernel'], ['early'], { attributes: { kernel_shape: [4], strides: [2] } }),
        node('MaxPool', ['early'], ['pooled'], { attributes: { kernel_shape: [3], strides: [1] } }),
        node('Conv', ['pooled', 'kernel'], ['late'], { attributes: { kernel_shape: [4], strides: [2] } }),
        node('Transpose', ['late'], ['out'], { attributes: { perm: [0, 2, 1] } }),
      ],
      tensors: [integers('axis', [1]), tensor('kernel', [1, 1, 4], [1, 2, 3, 4])],
      inputs: [value('input_values', ['batch', 'samples'])], outputs: [value('out', ['batch', 'frames', 1])],
    };
    const path = await save('clocks.onnx', parts);
    await assert.rejects(openMultiEncoder({ model: path, hooks: ['early', 'encoder.out'], sampleRate: 1000 }), fails('hook',
      /clocks\.onnx: 'early' has a frame every 2 ms, the first one needs 4 ms; 'encoder\.out' has a frame every 4 ms, the first one needs 14 ms: choose hook points with the same frame clock$/));
    const same = await openMultiEncoder({ model: path, hooks: ['late', 'encoder.out'] });
    const { frames: [channelsFirst, rowsFirst] } = await same.encode(sound(100));
    await same.close();
    assert.deepEqual(channelsFirst, rowsFirst);
    await assert.rejects(openMultiEncoder({ model: path, hooks: ['late', 'channel'] }), fails('hook', /no strided convolution before the hook/));
  });

  test('any tensor can be hooked by its own name, also one with the channels first', async () => {
    const result = await encode(sound(60), { hook: '/conv/Conv_output_0' });
    assert.equal(result.hook.kind, 'tensor');
    assertClose(result.frames, stem(sound(60)));
  });

  test('and one with the batch behind the frames, whether its shape is declared or seen', async () => {
    for (const values of [[], [value('turned', ['frames', 'batch', 4])], [value('turned', ['frames', 1, 4])]]) {
      const parts = tinyEncoder();
      parts.nodes.push(node('Transpose', ['/Transpose_output_0'], ['turned'], { attributes: { perm: [1, 0, 2] } }));
      parts.values = [...parts.values ?? [], ...values];
      const model = await save('turned.onnx', parts), options = { model, maxSeconds: 0.0025 };
      for (const samples of [4, 60]) { // one frame; in two windows
        const turned = await encode(sound(samples), { ...options, hook: 'turned' }), plain = await encode(sound(samples), { ...options, hook: '/Transpose_output_0' });
        assert.deepEqual([turned.rows, turned.dIn, turned.frames], [plain.rows, plain.dIn, plain.frames]);
      }
    }
  });

  test('a clip cut into windows has the frames of the whole clip, none dropped, none twice', async () => {
    for (const samples of [9_999, 10_000, 10_003, 16_001, 31_234]) {
      const whole = await encode(sound(samples)), split = await encode(sound(samples), { maxSeconds: 0.11 });
      assert.equal(split.rows, Math.floor((samples - 4) / 2) + 1);
      assert.deepEqual(split.frames, whole.frames);
    }
  });

  test('a clip of exactly one frame is encoded, a shorter one is refused', async () => {
    assert.equal((await encode(sound(4))).rows, 1);
    await assert.rejects(encode(sound(3)), fails('audio', /the clip has 3 samples, but one frame needs 4/));
    await assert.rejects(encode(new Float32Array(0)), fails('audio', /the clip has 0 samples/));
  });

  test('a sample that is no number is refused with its place', async () => {
    const broken = sound(50);
    broken[17] = NaN;
    await assert.rejects(encode(broken), fails('audio', /sample 17 of the clip is NaN/));
  });

  test('wav2vec 2.0 and its kin get clips of mean 0 and variance 1, unless told otherwise', async () => {
    const x = sound(50).map((v) => 3 * v + 0.5);
    const mean = x.reduce((a, b) => a + b, 0) / 50, variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / 50;
    const standard = x.map((v) => (v - mean) / Math.sqrt(variance + 1e-7));
    assertClose((await encode(x, { family: 'wav2vec2' })).frames, stem(standard), 1e-5);
    assertClose((await encode(x, { family: 'wav2vec2', normalize: false })).frames, stem(x), 1e-5);
    assertClose((await encode(x, { family: 'moonshine' })).frames, stem(x), 1e-5);
  });

  test('preprocessor_config.json beside the model, or above its folder onnx, is heeded', async () => {
    await mkdir(join(folder, 'hub', 'onnx'), { recursive: true });
    await save('hub/onnx/encoder_model.onnx', tinyEncoder());
    await writeFile(join(folder, 'hub', 'preprocessor_config.json'), JSON.stringify({ do_normalize: false, sampling_rate: 24_000 }));
    const x = sound(50).map((v) => 3 * v + 0.5);
    const result = await encode(x, { family: 'wav2vec2', model: join(folder, 'hub') });
    assertClose(result.frames, stem(x), 1e-5);
    assert.deepEqual([result.model.name, result.sampleRate, result.frameRate], ['hub', 24_000, 12_000]);
  });

  test('the stem of HuBERT and the stem of Moonshine are told apart and give their clocks', async () => {
    for (const [family, layers, needs, hop] of [
      ['wav2vec2', [[10, 5], [3, 2], [3, 2], [3, 2], [3, 2], [2, 2], [2, 2]], 400, 320],
      ['moonshine', [[127, 64], [7, 3], [3, 2]], 895, 384],
    ] as const) {
      const parts: GraphParts = {
        nodes: [node('Unsqueeze', ['input_values', 'axis'], ['t0'])], tensors: [integers('axis', [1])],
        inputs: [value('input_values', ['batch', 'samples'])], outputs: [value('out', ['batch', 'frames', 1])],
      };
      for (const [i, [kernel, stride]] of layers.entries()) {
        parts.tensors!.push(tensor(`k${i}`, [1, 1, kernel], new Float32Array(kernel).fill(1 / kernel)));
        parts.nodes.push(node('Conv', [`t${i}`, `k${i}`], [`t${i + 1}`], { attributes: { kernel_shape: [kernel], strides: [stride] } }));
      }
      parts.nodes.push(node('Transpose', [`t${layers.length}`], ['out'], { attributes: { perm: [0, 2, 1] } }));
      const options = { model: await save(`${family}.onnx`, parts), hook: 'encoder.out' };
      assert.equal((await listHooks(options.model)).family, family);
      const one = await encode(sound(needs), options);
      assert.deepEqual([one.rows, one.frameRate, one.dIn], [1, 16_000 / hop, 1]);
      assert.equal((await encode(sound(needs + hop - 1), options)).rows, 1);
      assert.equal((await encode(sound(needs + hop), options)).rows, 2);
      await assert.rejects(encode(sound(needs - 1), options), fails('audio', /one frame needs/));
      const minute = sound(60 * 16_000);
      assertClose((await encode(minute, options)).frames, (await encode(minute, { ...options, maxSeconds: 100 })).frames);
    }
  });

  test('Whisper sees windows of 30 s; frames past the end of the sound are not valid', async () => {
    const parts: GraphParts = {
      nodes: [
        node('Conv', ['input_features', 'kernel'], ['early'], { attributes: { kernel_shape: [3], strides: [1], pads: [1, 1] } }),
        node('Conv', ['early', 'middle'], ['c'], { attributes: { kernel_shape: [3], strides: [2], pads: [1, 1] } }),
        node('Transpose', ['c'], ['last_hidden_state'], { attributes: { perm: [0, 2, 1] } }),
      ],
      tensors: [
        tensor('kernel', [2, 80, 3], Float32Array.from({ length: 480 }, (_, i) => (i % 240 === 1 ? 1 + Math.floor(i / 240) : 0))),
        tensor('middle', [2, 2, 3], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
      ],
      inputs: [value('input_features', ['batch', 80, 3000])], outputs: [value('last_hidden_state', ['batch', 'frames', 2])],
    };
    const options = { model: await save('whisper.onnx', parts), hook: 'encoder.out' };
    const seen: number[] = [];
    // The first mel band carries each 10 ms's first sample, so frames tell where they come from.
    const features = (samples: Float32Array, mels: number) => {
      seen.push(samples.length);
      return Float32Array.from({ length: mels * 3000 }, (_, i) => (i < 3000 ? samples[i * 160] ?? 0 : 9));
    };
    const ramp = Float32Array.from({ length: 40 * 16_000 + 100 }, (_, i) => i);
    const result = await encode(ramp, { ...options, features });
    assert.equal(result.model.family, 'whisper');
    assert.deepEqual(seen.slice(-2), [480_000, 160_100]);
    assert.deepEqual([result.rows, result.valid, result.dIn, result.frameRate], [3000, 2001, 2, 50]);
    for (const row of [0, 1, 1499, 1500, 1501, 2000]) assert.equal(result.frames[row * 2], row * 320, `row ${row}`);
    assert.equal(result.frames[2002 * 2], 0);
    const within = await encode(ramp, { ...options, features, hook: 'early' });
    assert.deepEqual([within.rows, within.valid, within.frameRate, within.frames[3001 * 2]], [6000, 4001, 100, 3001 * 160]);
    assert.equal((await encode(sound(320), { ...options, features })).valid, 1);
    await assert.rejects(encode(sound(319), { ...options, features }), fails('audio', /one frame needs 320/));
    await assert.rejects(encode(sound(400), options), fails('usage', /needs log-mel features.*whisperFeatures/));
  });

  test('a model that wants an attention mask gets one of ones', async () => {
    const parts = tinyEncoder();
    parts.inputs!.push(value('attention_mask', ['batch', 'samples'], 7));
    parts.nodes.splice(2, 1,
      node('Cast', ['attention_mask'], ['mask'], { attributes: { to: 1 } }),
      node('ReduceMean', ['mask'], ['scale'], { attributes: { keepdims: 0 } }),
      node('Mul', ['/conv/Conv_output_0', 'scale'], ['scaled']),
      node('Transpose', ['scaled'], ['/Transpose_output_0'], { attributes: { perm: [0, 2, 1] } }));
    const result = await encode(sound(60), { model: await save('masked.onnx', parts), hook: '/Transpose_output_0' });
    assertClose(result.frames, stem(sound(60)));
  });

  test('the same clip gives the same bits, in one session, in another, and asked for twice at once', async () => {
    const encoder = await openEncoder({ model: join(folder, 'tiny.onnx'), hook: 'encoder.layers.1' });
    const [a, b] = await Promise.all([encoder.encode(sound(5000)), encoder.encode(sound(5000))]);
    await encoder.close();
    await encoder.close();
    assert.deepEqual(a, b);
    assert.deepEqual((await encode(sound(5000), { hook: 'encoder.layers.1' })).frames, a!.frames);
  });

  test('float16 activations come as the float32 they mean', async () => {
    const parts = tinyEncoder();
    parts.nodes.push(node('Cast', ['/Transpose_output_0'], ['half'], { attributes: { to: 10 } }));
    const { frames } = await encode(
      sound(60).map((v, i) => (i === 7 ? 1e-6 : i === 9 ? 1e9 : v)), { model: await save('half.onnx', parts), hook: 'half' },
    );
    const exact = stem(sound(60).map((v, i) => (i === 7 ? 1e-6 : i === 9 ? 1e9 : v)));
    frames.forEach((v, i) => {
      const size = Math.abs(exact[i]!);
      if (size > 65_520) assert.equal(v, Math.sign(exact[i]!) * Infinity);
      else assert.ok(Math.abs(v - exact[i]!) <= Math.max(size * 2 ** -11, 2 ** -25) * 1.001, `${v} for ${exact[i]}`);
    });
  });

  test('a model of float16 inputs is given the nearest float16', async () => {
    for (const [name, type] of [['half-in', 10], ['single-in', 1]] as const) {
      await save(`${name}.onnx`, {
        nodes: [node('Cast', ['input_values'], ['single'], { attributes: { to: 1 } }), node('Unsqueeze', ['single', 'axis'], ['t']),
          node('Conv', ['t', 'k'], ['c'], { attributes: { kernel_shape: [2], strides: [2] } }), node('Transpose', ['c'], ['out'], { attributes: { perm: [0, 2, 1] } })],
        tensors: [integers('axis', [1]), tensor('k', [2, 1, 2], [1, 0, 0, 1])],
        inputs: [value('input_values', ['batch', 'samples'], type)], outputs: [value('out', ['batch', 'frames', 2])],
      });
    }
    const values = [0, -0, 1, -1, 65_504, 65_519, 2 ** -14, 2 ** -24, 2 ** -25, 1.5 * 2 ** -25, 3 * 2 ** -25, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 0.1, -0.3, 6e-5];
    const wanted = [0, -0, 1, -1, 65_504, 65_504, 2 ** -14, 2 ** -24, 0, 2 ** -24, 2 ** -23, 1, 1 + 2 ** -9, 0.0999755859375, -0.300048828125, 6.00218772888183594e-5];
    const { frames } = await encode(Float32Array.from(values), { model: join(folder, 'half-in.onnx'), hook: 'encoder.out' });
    assert.deepEqual([...frames].map((x) => x + 0), wanted.map((x) => x + 0));
    assert.deepEqual([...floatToHalf(Float32Array.of(65_520, 1e9, -Infinity, NaN))], [0x7c00, 0x7c00, 0xfc00, 0x7e00]);
    assert.deepEqual((await encode(sound(20), { model: join(folder, 'single-in.onnx'), hook: 'encoder.out' })).frames, sound(20));
  });

  test('an unknown hook names its neighbours and where to find them all', async () => {
    await assert.rejects(encode(sound(60), { hook: 'encoder.layer.1' }), fails('hook', new RegExp(
      "no hook point or tensor 'encoder\\.layer\\.1': near it are encoder\\.layers\\.1, encoder\\.layers\\.0, .*`cochlea hooks .*tiny\\.onnx`",
    )));
  });

  test('a tensor without one vector per frame is refused', async () => {
    await assert.rejects(encode(sound(60), { hook: 'channel' }), fails('hook', /no strided convolution before the hook/));
    const parts = tinyEncoder();
    parts.nodes.push(node('ReduceMean', ['/Transpose_output_0'], ['mean'], { attributes: { axes: [1] } }));
    await assert.rejects(
      encode(sound(60), { model: await save('mean.onnx', parts), hook: 'mean' }), fails('hook', /'mean' is \[1, 1, 4\] for 5 frames/),
    );
  });

  test('models and options that cannot be are refused by what is wrong with them', async () => {
    const parts = tinyEncoder();
    await save('text.onnx', { ...parts, inputs: [value('input_values', ['batch'])] });
    await assert.rejects(encode(sound(60), { model: join(folder, 'text.onnx') }), fails('model', /neither a waveform nor/));
    await save('fixed.onnx', { ...parts, inputs: [value('input_values', [1, 16_000])] });
    await assert.rejects(encode(sound(60), { model: join(folder, 'fixed.onnx') }), fails('model', /clips of exactly 16000 samples/));
    const two = tinyEncoder();
    two.nodes[3] = node(
      'Mul', ['/Transpose_output_0', 'other'], ['/encoder/layers.0/attention/Mul_output_0'], { name: '/encoder/layers.0/attention/Mul' },
    );
    await save('two.onnx', { ...two, inputs: [...two.inputs!, value('other', [1])] });
    await assert.rejects(
      encode(sound(60), { model: join(folder, 'two.onnx'), hook: 'encoder.out' }), fails('model', /has the inputs input_values, other/),
    );
    assert.equal((await encode(sound(60), { model: join(folder, 'two.onnx'), hook: 'encoder.embeddings' })).rows, 29);
    await save('wrong.onnx', { ...parts, nodes: [...parts.nodes, node('NoSuchOperator', ['logits'], ['bad'])] });
    await assert.rejects(
      encode(sound(60), { model: join(folder, 'wrong.onnx'), hook: 'bad' }),
      fails('model', /wrong\.onnx: ONNX Runtime cannot load it \(.*NoSuchOperator/),
    );
    await assert.rejects(encode(sound(60), { family: 'tape' as 'whisper' }), fails('usage', /no family of models is called 'tape'/));
    await assert.rejects(encode(sound(60), { family: 'whisper' }), fails('model', /80 or 128 mel bands/));
    await assert.rejects(encode(sound(60), { maxSeconds: 0 }), fails('usage', /shorter than one frame/));
    await assert.rejects(encode(sound(60), { threads: 0 }), fails('usage', /threads must be/));
    await assert.rejects(encode(sound(60), { threads: 63, backend: 'wasm' }), fails('runtime', /chosen once/));
    await assert.rejects(
      encode(sound(60), { model: join(folder, 'none.onnx') }), fails('file-missing', /no model .*none\.onnx.*moonshine-tiny/),
    );
    await assert.rejects(encode(sound(60), { model: folder }), fails('usage', /\.onnx files in it.*name one of them/));
  });

  test('a folder with one .onnx file is that model', async () => {
    await mkdir(join(folder, 'alone'));
    await assert.rejects(encode(sound(60), { model: join(folder, 'alone') }), fails('file-missing', /no \.onnx file in it/));
    await save('alone/model.onnx', tinyEncoder());
    const { hooks, tensors, name, producer, opset, family } = await listHooks(join(folder, 'alone'));
    assert.deepEqual({ name, producer, opset, family }, { name: 'alone', producer: 'tests 1.0', opset: 17, family: 'waveform' });
    assert.equal(hooks.length, 11);
    assert.deepEqual(tensors.slice(0, 4), ['channel', '/conv/Conv_output_0', '/Transpose_output_0', '/encoder/layers.0/attention/Mul_output_0']);
  });
});
