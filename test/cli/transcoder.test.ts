/** Commands on a transcoder: what they do otherwise than on an SAE. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openActivations } from '../../src/index.ts';
import { collect } from '../../src/activations/index.ts';
import { openSafetensors, writeSaelensFolder, writeSafetensors } from '../../src/formats/index.ts';
import { RandomStream } from '../../src/random.ts';
import { tensorsFromWeights } from '../../src/sae/index.ts';
import { explainedVariance } from '../oracle/metrics.ts';
import { transcoderRun } from '../oracle/transcoder.ts';
import { cochlea, complaint } from '../support/cli.ts';
import { normals } from '../support/kernels.ts';
import { freshSeed } from '../support/mutate.ts';
import { assertClose } from '../support/numbers.ts';
import { makeRecordings, tinyHook, tinyWidth } from '../support/recordings.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-transcoder-'));
const place = (name: string): string => join(folder, name);
const { model, manifest } = makeRecordings(place('recordings'), 6);
const targetHook = 'encoder.out';
const dIn = tinyWidth, dOut = 512, dSae = 24, rows = 1500;
const random = new RandomStream(freshSeed('transcoder commands'), 0);
const weights = {
  W_enc: normals(random, dSae * dIn), b_enc: normals(random, dSae), W_dec: normals(random, dSae * dOut).map((value) => value / 8), b_dec: normals(random, dOut),
};
const x = normals(random, rows * dIn), y = normals(random, rows * dOut).map((value) => value + 1);

/** Reconstructions of frames, in float64. */
const recon = (frames: Float32Array): Float64Array => {
  const parameters = Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, Float64Array.from(values)]));
  return transcoderRun(parameters, Float64Array.from(frames), { dIn, dOut, dSae, normalizeActivations: 'none' }).out;
};

before(async () => {
  await writeSaelensFolder(place('sae'), {
    config: {
      architecture: 'transcoder', d_in: dIn, d_out: dOut, d_sae: dSae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: false, normalize_activations: 'none',
      reshape_activations: 'none', metadata: { model_name: model, hook_name: tinyHook, hook_name_out: targetHook },
    },
    tensors: tensorsFromWeights(weights),
  });
  await writeSafetensors(place('xy.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows, dIn], data: x }, { name: 'y', dtype: 'F32', shape: [rows, dOut], data: y }]);
  await writeSafetensors(place('x.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows, dIn], data: x }]);
});
after(() => rmSync(folder, { recursive: true }));

describe('a transcoder', () => {
  const explained = async (args: string[]): Promise<{ value: number; frames: number }> => {
    const { code, stdout, stderr } = await cochlea(['eval', place('sae'), ...args, '--json', '--quiet']);
    assert.equal(code, 0, stderr);
    const { metrics, frames } = JSON.parse(stdout) as { metrics: { explained_variance: { value: number } }; frames: number };
    return { value: metrics.explained_variance.value, frames };
  };

  test('is scored against tensor y of a file', async () => {
    const expected = explainedVariance(Float64Array.from(y), recon(x), dOut);
    assertClose([(await explained(['--activations', place('xy.safetensors')])).value], [expected], 1e-5);
  });

  test('is scored against the second hook point, of a store and of recordings alike', async () => {
    const extracted = await cochlea(['extract', '--audio', manifest, '--model', model, '--hook', tinyHook, '--target-hook', targetHook, '--out', place('store'), '--quiet']);
    assert.equal(extracted.code, 0, extracted.stderr);
    const source = await openActivations(place('store'), { target: true });
    const { x: frames, target } = await collect(source, Infinity);
    const expected = explainedVariance(Float64Array.from(target!), recon(frames), dOut);
    const stored = await explained(['--activations', place('store')]);
    assertClose([stored.value], [expected], 1e-5);
    // Both hook points come from the SAE's metadata.
    assert.deepEqual(await explained(['--audio', manifest]), stored);
  });

  test('is not scored on frames without targets', async () => {
    assert.match(complaint(await cochlea(['eval', place('sae'), '--activations', place('x.safetensors'), '--quiet'])), /x\.safetensors has no tensor "y"; it has "x"$/);
    const alone = await cochlea(['extract', '--audio', manifest, '--model', model, '--hook', tinyHook, '--out', place('alone'), '--quiet']);
    assert.equal(alone.code, 0, alone.stderr);
    assert.match(complaint(await cochlea(['eval', place('sae'), '--activations', place('alone'), '--quiet'])), /the activations in .*alone have no targets: extract them with --target-hook$/);
  });

  test('encodes frames alone, and reconstructs targets', async () => {
    for (const input of ['x.safetensors', 'xy.safetensors']) {
      const { code, stderr } = await cochlea(['encode', place('sae'), place(input), '--out', place('f.safetensors'), '--quiet']);
      assert.equal(code, 0, stderr);
      const file = await openSafetensors(place('f.safetensors'));
      assert.deepEqual([file.tensors.get('recon')!.shape, file.tensors.get('feature_acts')!.shape], [[rows, dOut], [rows, dSae]]);
      assertClose(await file.readFloat32('recon'), recon(x), 1e-4);
      await file.close();
    }
  });
});
