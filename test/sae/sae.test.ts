/** The SAE that people hold: what it loads, refuses and gives back. Its numbers are checked in test/kernels and test/conformance. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readSaelensFolder, type SaelensConfig, writeSaelensFolder } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { dense, SAE, tensorsFromWeights, topkConfig, type Weights } from '../../src/sae/index.ts';
import { fails } from '../support/fails.ts';
import { fixture } from '../support/paths.ts';
import { normals } from '../support/kernels.ts';
import { freshSeed } from '../support/mutate.ts';
import { randomTopk } from '../support/topk-problem.ts';

const seed = freshSeed('sae');
const dIn = 5, dSae = 30;
const base: SaelensConfig = {
  architecture: 'topk', d_in: dIn, d_sae: dSae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: true, normalize_activations: 'none', reshape_activations: 'none',
  metadata: { model_name: 'm', sae_lens_version: '6.18.0', sae_lens_training_version: '6.18.0' }, k: 4, rescale_acts_by_decoder_norm: true,
};
const random = new RandomStream(seed, 1800);
const weights: Weights = randomTopk(random, { dIn, dSae });
const folder = mkdtempSync(join(tmpdir(), 'cochlea-sae-'));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => {
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

describe('an SAE', () => {
  test('saved and loaded again is the same, with its sparsity and metadata', async () => {
    const sae = await SAE.create(gpu, base, weights);
    const sparsity = Float32Array.from({ length: dSae }, (_, i) => -i / 3);
    await sae.save(join(folder, 'saved'), sparsity);
    const read = await readSaelensFolder(join(folder, 'saved'));
    assert.deepEqual(read.logSparsity, sparsity);
    const again = await SAE.load(gpu, join(folder, 'saved'));
    assert.deepEqual(again.config, base);
    assert.deepEqual(again.weights, weights);
    const x = normals(random, 40 * dIn);
    assert.deepEqual(await again.run(x), await sae.run(x));
    sae.dispose();
    again.dispose();
  });

  test('gives calls that are made side by side, on it and on another one, what each gives alone', async () => {
    const [sae, other] = [await SAE.create(gpu, base, weights), await SAE.create(gpu, base, randomTopk(random, { dIn, dSae }))];
    const x = normals(random, 1500 * dIn), y = normals(random, 1100 * dIn), f = Float32Array.from({ length: 70 * dSae }, () => Math.max(0, random.normal()));
    const calls = [() => sae.run(x), () => other.run(x), () => sae.run(y), () => sae.decode(f), () => sae.encode(x), () => sae.forward(y), () => other.decode(f), () => sae.run(x.subarray(0, dIn))];
    const alone: unknown[] = [];
    for (const call of calls) alone.push(await call());
    const failing = sae.forward(Float32Array.of(NaN, 0, 0, 0, 0)).then(() => 'passed', () => 'failed');
    assert.deepEqual(await Promise.all(calls.map((call) => call())), alone);
    assert.equal(await failing, 'failed', 'one that fails holds up none behind it');
    sae.dispose();
    other.dispose();
  });

  test('gives the same for many frames as for each alone, also where they are more than are run at a time', async () => {
    const sae = await SAE.create(gpu, base, weights);
    const rows = 2100, x = normals(random, rows * dIn);
    const { recon, acts } = await sae.run(x);
    assert.deepEqual([acts.rows, acts.offsets.length, recon.length], [rows, rows + 1, rows * dIn]);
    const f = dense(acts, dSae);
    for (const row of [0, 1, 1023, 1024, 2047, 2048, 2099]) {
      const one = await sae.run(x.slice(row * dIn, (row + 1) * dIn));
      assert.deepEqual(one.recon, recon.slice(row * dIn, (row + 1) * dIn), `frame ${row}`);
      assert.deepEqual(dense(one.acts, dSae), f.slice(row * dSae, (row + 1) * dSae), `frame ${row}`);
    }
    assert.deepEqual(await sae.encode(x), f);
    const decoded = await sae.decode(f);
    recon.forEach((value, i) => assert.ok(Math.abs(value - decoded[i]!) < 1e-5, `number ${i}`));
    sae.dispose();
  });

  test('takes no frames for no frames', async () => {
    const sae = await SAE.create(gpu, base, weights);
    const { recon, acts } = await sae.run(new Float32Array(0));
    assert.deepEqual([recon.length, acts.rows, [...acts.offsets], acts.indices.length], [0, 0, [0], 0]);
    assert.equal((await sae.decode(new Float32Array(0))).length, 0);
    sae.dispose();
  });

  test('refuses numbers that are no whole rows, and frames that are not finite', async () => {
    const sae = await SAE.create(gpu, base, weights);
    await assert.rejects(sae.run(new Float32Array(dIn + 1)), fails('config', /^6 numbers are not whole rows of d_in 5$/));
    await assert.rejects(sae.decode(new Float32Array(dSae - 1)), fails('config', /^29 numbers are not whole rows of d_sae 30$/));
    const x = normals(random, 1500 * dIn);
    x[1200 * dIn] = NaN;
    await assert.rejects(sae.encode(x), fails('not-finite', /^a pre-activation of frames 1024 to 1499 is NaN or infinite: check the frames and the weights$/));
    // The next frames are none the worse.
    assert.equal((await sae.encode(x.slice(0, 3 * dIn))).length, 3 * dSae);
    sae.dispose();
  });

  test('frees all that it took', async () => {
    const taken = gpu.allocatedBytes;
    const sae = await SAE.create(gpu, base, weights);
    assert.ok(gpu.allocatedBytes > taken);
    sae.dispose();
    assert.equal(gpu.allocatedBytes, taken);
  });

  test('that cannot be run is refused, with what can', async () => {
    const create = (fields: Record<string, unknown>) => SAE.create(gpu, { ...base, ...fields } as SaelensConfig, weights);
    await assert.rejects(create({ architecture: 'batchtopk' }), fails('config', /^SAEs of architecture batchtopk cannot be run: these can: /));
    await assert.rejects(create({ normalize_activations: 'constant_scalar_rescale' }), fails('config', /normalize_activations is "constant_scalar_rescale": it must be one of none, expected_average_only_in/));
    for (const k of [undefined, 0, -1, 2.5, 31, '4']) await assert.rejects(create({ k }), fails('config', /^k is .*: it must be a whole number from 1 to d_sae \(30\)$/), String(k));
    await assert.rejects(SAE.load(gpu, join(folder, 'nowhere')), fails('file-missing', /nowhere/));
  });

  test('of the training form runs as well', async () => {
    const training = topkConfig({ d_in: dIn, d_sae: dSae, k: 4 });
    const sae = await SAE.create(gpu, { ...base, ...training }, weights), plain = await SAE.create(gpu, base, weights);
    const x = normals(random, 10 * dIn);
    assert.deepEqual(await sae.run(x), await plain.run(x));
    sae.dispose();
    plain.dispose();
  });

  test('that exists for training only runs as what it is saved as', async () => {
    const { k, rescale_acts_by_decoder_norm: _, ...common } = base;
    const norms = Float32Array.from({ length: dSae }, (_, i) => Math.hypot(...weights.W_dec.subarray(i * dIn, (i + 1) * dIn)));
    const threshold = 0.7;
    for (const rescales of [true, false]) {
      await writeSaelensFolder(join(folder, 'batchtopk'), {
        config: { ...common, architecture: 'batchtopk', k: Number(k), rescale_acts_by_decoder_norm: rescales, decoder_init_norm: 0.1 } as SaelensConfig,
        tensors: new Map([...tensorsFromWeights(weights), ['topk_threshold', { shape: [], data: Float64Array.of(threshold) }]]),
      });
      const loaded = await SAE.load(gpu, join(folder, 'batchtopk'));
      const plain = await SAE.create(gpu, { ...common, architecture: 'jumprelu' } as SaelensConfig, { ...weights, threshold: norms.map((norm) => (rescales ? threshold / norm : threshold)) });
      const x = normals(random, 40 * dIn);
      const [found, expected] = [await loaded.run(x), await plain.run(x)];
      assert.deepEqual(found.acts.indices, expected.acts.indices);
      found.acts.values.forEach((value, at) => assert.ok(Math.abs(value - expected.acts.values[at]! * (rescales ? norms[found.acts.indices[at]!]! : 1)) < 1e-5 * Math.max(1, value)));
      found.recon.forEach((value, at) => assert.ok(Math.abs(value - expected.recon[at]!) < 1e-4 * Math.max(1, Math.abs(value))));
      loaded.dispose();
      plain.dispose();
    }
  });

  test('from before version 6 loads', async () => {
    const sae = await SAE.load(gpu, fixture('saelens', 'legacy_v5_topk'));
    assert.deepEqual([sae.config.architecture, sae.dIn, sae.dSae, sae.config['k']], ['topk', 20, 64, 5]);
    const acts = await sae.encodeSparse(normals(random, 8 * 20));
    for (let row = 0; row < 8; row++) assert.ok(acts.offsets[row + 1]! - acts.offsets[row]! <= 5);
    sae.dispose();
  });
});
