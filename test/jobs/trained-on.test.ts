/** What an SAE's folder says of the frames that it was trained on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFrames, trainedOn, trainedToward } from '../../src/jobs/recordings/trained-on.ts';
import type { SAE } from '../../src/sae/index.ts';
import { fails } from '../support/fails.ts';

/** Only what is asked of it. */
const sae = (metadata: Record<string, unknown>): SAE => ({ dIn: 6, config: { metadata } }) as unknown as SAE;
const own = { model_name: 'tiny', hook_name: 'encoder.layers.3', hook_name_out: 'encoder.layers.4', model_sha256: 'abc', frame_rate: 50 };
const frames = { model: 'tiny', modelSha256: 'abc', hook: 'encoder.layers.3', dIn: 6, frameRate: 50 };

test('the model, of the Hub the very commit, and hook points; what is given wins', () => {
  assert.deepEqual(trainedOn(sae(own)), { model: 'tiny', hook: 'encoder.layers.3' });
  assert.deepEqual(trainedOn(sae({ ...own, model_source: 'npm:package@1' })).model, 'tiny');
  const pinned = sae({ ...own, model_source: 'hf:org/tiny@0123:model.onnx' });
  assert.deepEqual(trainedOn(pinned).model, 'hf:org/tiny@0123:model.onnx');
  assert.deepEqual(trainedOn(pinned, { model: 'other', hook: 'encoder.out' }), { model: 'other', hook: 'encoder.out' });
  assert.deepEqual([trainedToward(pinned), trainedToward(pinned, 'encoder.out')], ['encoder.layers.4', 'encoder.out']);
  assert.throws(() => trainedOn(sae({ hook_name: 'h' })), fails('usage', /does not say which model it was trained on: give --model/));
  assert.throws(() => trainedOn(sae({ model_name: 'm', hook_name: '' })), fails('usage', /which hook point it was trained on: give --hook/));
  assert.throws(() => trainedToward(sae({})), fails('usage', /which target hook point it was trained on: give --target-hook/));
});

test('frames of another kind are told, of another width refused', () => {
  const told = (metadata: Record<string, unknown>, other: Partial<typeof frames>): string[] => {
    const lines: string[] = [];
    checkFrames(sae(metadata), { ...frames, ...other }, (line) => lines.push(line));
    return lines;
  };
  assert.deepEqual([told(own, {}), told({}, {})], [[], []]);
  assert.deepEqual(told(own, { modelSha256: 'def' }), ['the SAE was trained on another file of tiny than is there now']);
  assert.deepEqual(told(own, { model: 'small', modelSha256: 'def', hook: 'encoder.out', frameRate: 25 }), [
    'the SAE was trained on tiny, and these frames are of small', 'the SAE was trained at encoder.layers.3, and these frames are of encoder.out',
    'the SAE was trained on 50 rows a second, and these are 25: give the --pool-seconds that its frames were made with',
  ]);
  assert.throws(() => told(own, { dIn: 8 }), fails('config', /encoder\.layers\.3 of tiny has 8 numbers per frame, the SAE has d_in 6/));
});
