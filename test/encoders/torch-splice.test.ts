/** Models of real exporters cut at every hook point: the parts give the bits of the whole. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { spectrogram } from '../../src/audio/index.ts';
import { listHooks, openEncoder, openMultiEncoder, openSpliceable, type SpliceableOptions } from '../../src/encoders/index.ts';
import { fixture, shared } from '../support/paths.ts';
import { signal } from './signal.ts';
import { floats } from './torch.ts';

type Options = Omit<SpliceableOptions, 'hook'>;

async function ownOutput(options: Options, samples: Float32Array) {
  const encoder = await openEncoder({ ...options, hook: 'encoder.out' });
  const { frames, valid } = await encoder.encode(samples);
  await encoder.close();
  return { data: frames, frames: frames.subarray(0, valid * encoder.dIn), valid };
}

/** The output for the clip's own frames, or for others; and the clip's own. */
async function splice(options: SpliceableOptions, samples: Float32Array, replace?: (own: Float32Array) => Float32Array) {
  const spliceable = await openSpliceable({ ...options, head: false });
  try {
    const clip = await spliceable.open(samples), [output] = await clip.rest(replace ? replace(clip.frames) : clip.frames);
    return { output: output!, own: clip.frames };
  } finally {
    await spliceable.close();
  }
}

const kinds = ['.attention.heads', '.attention.out', '.ln', '.mid', '.mlp.in', '.mlp.out', ''];

describe('the parts of a model give the bits of the whole', () => {
  for (const file of ['hubert-large-fused', 'hubert-large-fp16', 'hubert-large-int8', 'wav2vec2-optimised', 'moonshine', 'ast']) {
    test(`${file}, at hook points of every kind`, async () => {
      const options = { model: fixture('encoders', `${file}.onnx`), spectrogram }, samples = signal(file === 'ast' ? 6400 : 4000);
      const { frames, valid } = await ownOutput(options, samples), { hooks } = await listHooks(options.model);
      assert.ok(hooks.length >= 17);
      for (const { name } of hooks.filter(({ name }) => !name.startsWith('encoder.layers.0.'))) { // layer 1 has the same
        const { output } = await splice({ ...options, hook: name }, samples);
        assert.deepEqual([output.valid, output.frames], [valid, frames], name);
      }
    });
  }

  const missing = (name: string) => (shared('fixtures', 'encoders', name) ? false : `../shared/fixtures/encoders/${name} is not there`);
  for (const [name, file, some] of [
    ['hubert-shape', 'model_ts', ['.attention.out', '.mlp.in']], ['hubert-shape', 'model_dynamo', kinds], ['wavlm-shape', 'model_ts', kinds], ['wavlm-shape', 'model_dynamo', ['.attention.out', '.mlp.in']],
  ] as const) {
    test(`${name}, ${file}; another clip's stream gives that clip's output`, { skip: missing(name) }, async () => {
      const folder = shared('fixtures', 'encoders', name)!, options = { model: join(folder, `${file}.onnx`) }, samples = floats(folder, 'input').subarray(0, 4000);
      const { data } = await ownOutput(options, samples);
      const hooks = ['encoder.conv', ...some.map((kind) => `encoder.layers.1${kind}`), 'encoder.layers.2'];
      for (const hook of hooks) assert.deepEqual((await splice({ ...options, hook }, samples)).output.data, data, hook);
      const other = samples.map((x, i) => 0.5 * x + 0.3 * Math.sin(i * i * 1e-5)), wanted = (await ownOutput(options, other)).data;
      assert.notDeepEqual(wanted, data);
      for (const hook of ['encoder.embeddings']) {
        const { own } = await splice({ ...options, hook }, other);
        assert.deepEqual((await splice({ ...options, hook }, samples, () => own)).output.data, wanted, hook);
      }
    });
  }

  test('whisper-tiny-shape; what is edited goes through layers that PyTorch computed', { skip: missing('whisper-tiny-shape') }, async () => {
    const folder = shared('fixtures', 'encoders', 'whisper-tiny-shape')!, input = floats(folder, 'input'), samples = new Float32Array(480_000);
    const options = { model: join(folder, 'model_ts.onnx'), features: () => input };
    const encoder = await openEncoder({ ...options, hook: 'encoder.out' }), { frames } = await encoder.encode(samples);
    await encoder.close();
    const spliceable = await openSpliceable({ ...options, hook: 'encoder.layers.2', head: false }), clip = await spliceable.open(samples);
    assert.deepEqual((await clip.rest(clip.frames))[0]!.data, frames);
    // hidden_3 as PyTorch has it, spliced in: its last layer makes hidden_4, behind the final norm.
    const [output] = await clip.rest(floats(folder, 'hidden_3')), last = floats(folder, 'last');
    await spliceable.close();
    assert.ok(output!.data.every((x, i) => Math.abs(x - last[i]!) < 1e-4));
  });

  test('a tensor in the midst of a GELU written out gives the bits of the whole that shows it', { skip: missing('hubert-shape') }, async () => {
    const folder = shared('fixtures', 'encoders', 'hubert-shape')!, model = join(folder, 'model_ts.onnx'), samples = floats(folder, 'input').subarray(0, 4000);
    const hook = '/encoder/layers.1/feed_forward/intermediate_act_fn/Erf_output_0';
    const encoder = await openMultiEncoder({ model, hooks: [hook, 'encoder.out'] });
    const { frames: [, shown] } = await encoder.encode(samples);
    await encoder.close();
    assert.deepEqual((await splice({ model, hook }, samples)).output.data, shown);
  });
});
