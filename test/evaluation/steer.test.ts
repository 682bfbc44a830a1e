/** Steering, on a model whose frames are its logits and an SAE whose latents are its tokens. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { type Steering, steerClip, type SteerOptions } from '../../src/evaluation/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { SAE } from '../../src/sae/index.ts';
import { assertClose } from '../support/numbers.ts';
import { fakeModel, says, vocabulary } from './fake-model.ts';

let gpu: Gpu, sae: SAE;
before(async () => {
  gpu = await Gpu.open();
  const eye = Float32Array.from({ length: vocabulary ** 2 }, (_, at) => Number(at % (vocabulary + 1) === 0));
  // Latent i is half of logit i, as far as it is above 1; what lies below is the SAE's error.
  sae = await SAE.create(gpu, {
    architecture: 'standard', d_in: vocabulary, d_sae: vocabulary, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: false, normalize_activations: 'none', reshape_activations: 'none', metadata: {},
  }, { W_enc: eye.map((value) => value / 2), W_dec: eye.map((value) => 2 * value), b_enc: new Float32Array(vocabulary).fill(-0.5), b_dec: new Float32Array(vocabulary) });
});
after(() => {
  sae.dispose();
  gpu.dispose();
});

/** ah bee see: logits of 3, so that their latents are 1. */
const frames = says([1, 3], [2, 3], [3, 3], [0, 3]);

function steered(kind: 'seq2seq' | 'none', edits: SteerOptions['edits'], options: Partial<SteerOptions> = {}): Promise<Steering> {
  const model = fakeModel(kind);
  return steerClip({ model, sae, clip: model.split(frames, 4), latent: 2, edits, error: 'kept', controls: 3, seed: 1, ...options });
}

describe('steering', () => {
  test('adds a latent\'s direction to every frame, and says what that moved', async () => {
    const { activation, unsteered, rows: [row] } = await steered('seq2seq', ({ largest }) => [{ strength: 2, edit: { kind: 'add', latents: [2], amount: 2 * largest } }]);
    assert.deepEqual([activation, unsteered.transcript, unsteered.tokens], [{ frames: 1, largest: 1, meanWhenActive: 1 }, 'ah bee see', 4]);
    // Logit 2 of every frame grows by 2 * 2.
    assert.deepEqual([row.strength, row.edit, row.transcript, row.framesChanged, row.meanLength], [2, 'add', 'bee bee bee bee', 4, 4]);
    const loss = (own: number, others: number[]): number => Math.log(others.reduce((sum, one) => sum + Math.exp(one), Math.exp(own))) - own;
    assert.deepEqual([row.moved.tokens_changed, row.moved.wer_to_own], [3, 1]);
    assertClose([row.moved.ce_loss!, unsteered.ce_loss!], [(3 * loss(3, [4, 0, 0]) + loss(7, [0, 0, 0])) / 4, loss(3, [0, 0, 0])], 1e-6);
    assertClose([row.moved.output_cosine!, row.moved.output_distance!], [(3 * 3 / 5 + 1) / 4, 8 / 6], 1e-6);
    assert.ok(row.moved.kl_div! > 0.5);
  });

  test('takes the same edits of random directions of the same length beside each', async () => {
    const { rows } = await steered('seq2seq', () => [1, -1].map((strength) => ({ strength, edit: { kind: 'add', latents: [2], amount: 1.5 * strength } })));
    for (const { controls, meanLength, controlTranscripts } of rows) {
      assert.deepEqual([meanLength, controlTranscripts.length], [3, 3]);
      // |a - b| / |a| does not depend on the direction.
      assertClose([controls.output_distance!.mean, controls.output_distance!.low, controls.output_distance!.high], [1, 1, 1], 1e-5);
      assert.ok(controls.kl_div!.low < controls.kl_div!.mean && controls.kl_div!.mean < controls.kl_div!.high);
    }
    assert.notDeepEqual(rows[0].controls, rows[1].controls);
    const again = await steered('seq2seq', () => [{ strength: 1, edit: { kind: 'add', latents: [2], amount: 1.5 } }]);
    assert.deepEqual(again.rows[0], rows[0]);
    const other = await steered('seq2seq', () => [{ strength: 1, edit: { kind: 'add', latents: [2], amount: 1.5 } }], { seed: 2 });
    assert.notDeepEqual(other.rows[0].controls, rows[0].controls);
    assert.deepEqual(other.rows[0].moved, rows[0].moved);
    const none = await steered('seq2seq', () => [{ strength: 1, edit: { kind: 'add', latents: [2], amount: 1.5 } }], { controls: 0 });
    assert.deepEqual([none.rows[0].controls.kl_div, none.rows[0].controlTranscripts], [null, []]);
  });

  test('changes only frames in which the latent fires when it is zeroed, and all of them are as they were', async () => {
    const { rows: [row] } = await steered('seq2seq', () => [{ strength: null, edit: { kind: 'zero', latents: [2] } }]);
    assert.deepEqual([row.framesChanged, row.meanLength, row.strength], [1, 2, null]);
    // Of frame 1 the error stays: logit 2 is 3 - 2, still the largest.
    assert.deepEqual([row.transcript, row.moved.tokens_changed], ['ah bee see', 0]);
    const nothing = await steered('seq2seq', () => [{ strength: 1, edit: { kind: 'scale', latents: [2], factor: 1 } }]);
    assert.deepEqual(nothing.rows[0].moved, { tokens_changed: 0, ce_loss: nothing.unsteered.ce_loss, kl_div: 0, wer_to_own: 0, output_cosine: 1, output_distance: 0 });
  });

  test('without the error begins from reconstructions', async () => {
    const { unsteered, rows: [row] } = await steered('seq2seq', () => [{ strength: null, edit: { kind: 'zero', latents: [2] } }], { error: 'dropped' });
    // Reconstructed logits are 2, and token 0 the first of equal ones where a latent is gone.
    assert.deepEqual([unsteered.transcript, row.transcript, row.moved.tokens_changed], ['ah bee see', 'ah', 2]);
  });

  test('of a model without a head says how far its output moved', async () => {
    const { unsteered, rows: [row] } = await steered('none', () => [{ strength: 1, edit: { kind: 'set', latents: [2], value: 1 } }]);
    assert.deepEqual([unsteered, row.transcript, row.controlTranscripts], [{ transcript: null, tokens: null, ce_loss: null }, null, []]);
    assert.deepEqual([row.moved.tokens_changed, row.moved.kl_div, row.framesChanged], [null, null, 3]);
    assertClose([row.moved.output_distance!, row.moved.output_cosine!], [Math.sqrt(12) / 6, (1 + 3 * (3 / Math.sqrt(13))) / 4], 1e-6);
  });

  test('ends when it is told to', async () => {
    const stop = new AbortController();
    await assert.rejects(steered('none', () => [{ strength: null, edit: { kind: 'zero', latents: [2] } }], { signal: stop.signal, onProgress: ({ run }) => run === 2 && stop.abort() }),
      (error: unknown) => error instanceof CochleaError && error.code === 'interrupted' && /stopped after 2 of 4 runs/.test(error.line));
  });
});
