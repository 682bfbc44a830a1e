/** Edits of latents: what they do to activations, and that frames change by just that, for every architecture. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { SaelensConfig } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { addDirection, architectures, type BaseConfig, dense, intervene, latentChange, type LatentEdit, SAE, type SparseActs, trainedArchitectures, type Weights } from '../../src/sae/index.ts';
import { geometricMedian, meanRow } from '../../src/training/geometric-median.ts';
import { untrainedSae } from '../../src/training/index.ts';
import { sparseOf } from '../evaluation/made-up.ts';
import { fails } from '../support/fails.ts';
import { normals } from '../support/kernels.ts';
import { freshSeed } from '../support/mutate.ts';
import { smallSae } from '../support/small-sae.ts';

const seed = freshSeed('interventions');
const random = new RandomStream(seed, 1900);
const dIn = 6, dSae = 24, rows = 40;
const frames = normals(random, rows * dIn).map((value, at) => value + (at % dIn));
const mean = Float32Array.from({ length: dIn }, (_, d) => d);
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.dispose());

describe('an edit of latents', () => {
  // Two latents of three, three frames: 2 and 0, 0 and 1.5, 0 and 0.
  const acts = sparseOf(Float32Array.of(2, 7, 0, 0, 7, 1.5, 0, 7, 0), 3);
  const changed = (edit: LatentEdit): number[] => [...latentChange(acts, 3, edit).change];

  test('is what it says', () => {
    const latents = [0, 2];
    assert.deepEqual(changed({ kind: 'zero', latents }), [-2, 0, 0, -1.5, 0, 0]);
    assert.deepEqual(changed({ kind: 'scale', latents, factor: 3 }), [4, 0, 0, 3, 0, 0]);
    assert.deepEqual(changed({ kind: 'set', latents, value: 1 }), [-1, 1, 1, -0.5, 1, 1]);
    assert.deepEqual(changed({ kind: 'add', latents: [2], amount: -0.5 }), [-0.5, -0.5, -0.5]);
  });

  test('swapped in from a shorter clip reaches its rows, from a longer one all', () => {
    const other = (f: number[]): SparseActs => sparseOf(Float32Array.from(f), 3);
    const shorter = latentChange(acts, 3, { kind: 'swap', latents: [2, 0], with: other([1, 0, 5, 0, 0, 1]) });
    assert.deepEqual([[...shorter.change], shorter.reached, shorter.rows], [[5, -1, -0.5, 0, 0, 0], 2, 3]);
    const longer = latentChange(acts, 3, { kind: 'swap', latents: [0], with: other([0, 0, 0, 4, 0, 0, 0, 0, 0, 9, 0, 0]) });
    assert.deepEqual([[...longer.change], longer.reached], [[-2, 4, 0], 3]);
  });

  test('of latents or numbers that cannot be is refused', () => {
    assert.throws(() => changed({ kind: 'zero', latents: [3] }), fails('usage', /there is no latent 3: the SAE has latents 0 to 2/));
    assert.throws(() => changed({ kind: 'zero', latents: [] }), fails('usage', /name each once/));
    assert.throws(() => changed({ kind: 'zero', latents: [1, 1] }), fails('usage', /latents 1, 1: name each once/));
    for (const edit of [{ kind: 'scale', factor: NaN }, { kind: 'set', value: Infinity }, { kind: 'add', amount: NaN }] as const) {
      assert.throws(() => changed({ ...edit, latents: [1] }), fails('usage', new RegExp(`cannot ${edit.kind} a latent by`)));
    }
  });
});

test('a direction is added so many times to each frame', () => {
  assert.deepEqual([...addDirection(Float32Array.of(1, 2, 3, 4), [1, -1], [2, 0])], [3, 0, 3, 4]);
  assert.throws(() => addDirection(Float32Array.of(1, 2, 3, 4), [1, 1], [1]), fails('config', /4 numbers are not 1 frames of 2/));
});

/** What holds of every SAE; `norms` by which reported activations are larger than what decodes. */
async function check(sae: SAE, gainOf: (row: number) => number, norms?: (latent: number) => number): Promise<void> {
  const { recon, acts } = await sae.run(frames);
  const f = dense(acts, sae.dSae), { W_dec } = sae.weights;
  const firings = new Map<number, number>();
  acts.indices.forEach((latent) => firings.set(latent, (firings.get(latent) ?? 0) + 1));
  const latents = [...firings].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([latent]) => latent);
  assert.equal(latents.length, 3, 'fewer than three latents fire');
  const expected = (base: Float32Array, to: (value: number) => number): Float64Array => Float64Array.from(base, (value, at) => {
    const row = Math.floor(at / dIn), d = at % dIn;
    return latents.reduce((sum, latent) => {
      const was = f[row * sae.dSae + latent]!;
      return sum + gainOf(row) * ((to(was) - was) / (norms?.(latent) ?? 1)) * W_dec[latent * dIn + d]!;
    }, value);
  });
  const near = (actual: Float32Array, wanted: Float64Array): void => wanted.forEach((value, at) => {
    assert.ok(Math.abs(actual[at]! - value) <= 2e-5 * Math.max(10, Math.abs(value)), `seed ${seed}, number ${at}: ${actual[at]} is not ${value}`);
  });
  near((await intervene(sae, frames, { kind: 'zero', latents })).frames, expected(frames, () => 0));
  near((await intervene(sae, frames, { kind: 'set', latents, value: 1.5 })).frames, expected(frames, () => 1.5));
  near((await intervene(sae, frames, { kind: 'add', latents, amount: -2 }, { error: 'dropped' })).frames, expected(recon, (value) => value - 2));
  assert.deepEqual((await intervene(sae, frames, { kind: 'scale', latents, factor: 1 })).frames, frames, 'what is not changed keeps its bits');
  assert.deepEqual((await intervene(sae, frames, { kind: 'scale', latents, factor: 1 }, { error: 'dropped' })).frames, recon);
}

describe('frames change by what was edited, times the latents\' directions', () => {
  const create = async (sae: BaseConfig): Promise<SAE> => {
    const config: SaelensConfig = { ...sae, dtype: 'float32', device: 'cpu', reshape_activations: 'none', metadata: { seed } } as never;
    const { sae: made, ...rest } = await untrainedSae({ gpu, config, trainedAs: sae, mean, frames });
    assert.ok(made, JSON.stringify(rest));
    return made;
  };
  const isTranscoder = (name: string): boolean => architectures.get(name)!.needs === 'targets';

  for (const name of trainedArchitectures.filter((one) => !isTranscoder(one))) {
    test(name, async () => {
      const sae = await create(smallSae(name, { d_in: dIn, d_sae: dSae, decoder_init_norm: 1 }, dIn));
      await check(sae, () => 1);
      sae.dispose();
    });
  }

  test('with norms that activations are reported times of', async () => {
    const weights: Weights = { W_enc: normals(random, dSae * dIn), W_dec: normals(random, dSae * dIn), b_enc: normals(random, dSae), b_dec: mean };
    const sae = await SAE.create(gpu, { architecture: 'topk', d_in: dIn, d_sae: dSae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: true, normalize_activations: 'none', reshape_activations: 'none', metadata: {}, k: 4, rescale_acts_by_decoder_norm: true }, weights);
    await check(sae, () => 1, (latent) => Math.hypot(...weights.W_dec.subarray(latent * dIn, (latent + 1) * dIn)));
    sae.dispose();
  });

  test('and each frame\'s own size, where frames are normalised', async () => {
    const frame = (row: number): Float32Array => frames.subarray(row * dIn, (row + 1) * dIn);
    const spread = (row: number): number => {
      const x = [...frame(row)], middle = x.reduce((sum, value) => sum + value, 0) / dIn;
      return Math.sqrt(x.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (dIn - 1)) + 1e-5;
    };
    for (const [normalize, gain] of [['constant_norm_rescale', (row: number) => Math.hypot(...frame(row)) / Math.sqrt(dIn)], ['layer_norm', spread]] as const) {
      const sae = await create(smallSae('topk', { d_in: dIn, d_sae: dSae, decoder_init_norm: 1, normalize_activations: normalize }, dIn));
      await check(sae, gain);
      sae.dispose();
    }
  });

  test('of a temporal SAE, whose predictions stay', async () => {
    const inner = 3, layer = (part: string, out: number) => [
      [`attn_layers.0.${part}.weight`, { shape: [out, dSae], data: normals(random, out * dSae, 0.2) }], [`attn_layers.0.${part}.bias`, { shape: [out], data: normals(random, out, 0.1) }],
    ] as const;
    const attention = Object.fromEntries([...layer('q_target', inner), ...layer('k_ctx', inner), ...layer('v_ctx', dSae), ...layer('c_proj', dSae)]);
    const config: SaelensConfig = {
      architecture: 'temporal', d_in: dIn, d_sae: dSae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: true, normalize_activations: 'none', reshape_activations: 'none', metadata: {},
      n_heads: 1, n_attn_layers: 1, bottleneck_factor: dSae / inner, tied_weights: true, kval_topk: 5, sae_diff_type: 'topk',
    };
    const sae = await SAE.create(gpu, config, { W_dec: normals(random, dSae * dIn), b_dec: mean, attention });
    await check(sae, () => 1);
    sae.dispose();
  });

  test('of a transcoder are refused, since its output is of another place', async () => {
    for (const name of [...architectures.keys()].filter(isTranscoder)) {
      const config: SaelensConfig = { architecture: name, d_in: dIn, d_sae: dSae, d_out: dIn, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: false, normalize_activations: 'none', reshape_activations: 'none', metadata: {} };
      const weights: Weights = {
        W_enc: normals(random, dSae * dIn), W_dec: normals(random, dSae * dIn), b_enc: normals(random, dSae), b_dec: mean, threshold: new Float32Array(dSae), W_skip: normals(random, dIn * dIn),
      };
      const sae = await SAE.create(gpu, config, weights);
      await assert.rejects(intervene(sae, frames, { kind: 'zero', latents: [0] }), fails('config', new RegExp(`a ${name} makes the frames of one hook point from those of another`)));
      sae.dispose();
    }
  });
});

describe('an SAE before its first step', () => {
  test('of batchtopk and its kin has a threshold that leaves k latents per frame', async () => {
    for (const name of ['batchtopk', 'matryoshka_batchtopk']) {
      const sae = smallSae(name, { d_in: dIn, d_sae: dSae }, dIn);
      const config = { ...sae, architecture: 'jumprelu', dtype: 'float32', device: 'cpu', reshape_activations: 'none', metadata: { training_architecture: name, training_architecture_details: { ...sae }, seed } } as unknown as SaelensConfig;
      const made = await untrainedSae({ gpu, config, mean, frames });
      assert.ok(made.sae);
      const firings = (await made.sae.encodeSparse(frames)).indices.length;
      assert.deepEqual([firings, made.seed], [4 * rows, seed], name);
      made.sae.dispose();
    }
  });

  test('is the one that training began with, and none where nobody knows how that was', async () => {
    const sae = smallSae('topk', { d_in: dIn, d_sae: dSae, normalize_activations: 'none' }, dIn);
    const config = { ...sae, dtype: 'float32', device: 'cpu', reshape_activations: 'none', metadata: { seed, input_scale: 0.5, centred: true } } as unknown as SaelensConfig;
    const one = await untrainedSae({ gpu, config, mean, frames }), two = await untrainedSae({ gpu, config, mean, frames });
    assert.ok(one.sae && two.sae);
    assert.deepEqual(one.sae.weights, two.sae.weights);
    assert.deepEqual(one.sae.weights.b_dec, mean, 'b_dec begins at zero, and the mean is folded into it');
    // Where b_dec began from frames it does so here, and comes back in their units.
    const uncentred = { ...config, metadata: { ...config.metadata, centred: false } };
    for (const biasInitialisation of ['zeros', 'mean', 'geometric_median'] as const) {
      const { sae: begun } = await untrainedSae({ gpu, config: uncentred, biasInitialisation, mean, frames });
      const middle = { zeros: () => new Float64Array(dIn), mean: meanRow, geometric_median: geometricMedian }[biasInitialisation](Float64Array.from(frames), dIn);
      begun!.weights.b_dec.forEach((value, d) => assert.ok(Math.abs(value - middle[d]!) < 1e-4, `${biasInitialisation}: ${value} is not ${middle[d]}`));
      assert.deepEqual(begun!.weights.W_dec, one.sae.weights.W_dec);
      begun!.dispose();
    }
    const other = await untrainedSae({ gpu, config: { ...config, metadata: { ...config.metadata, seed: seed + 1 } }, mean, frames });
    assert.notDeepEqual(other.sae!.weights.W_enc, one.sae.weights.W_enc);
    assert.match(JSON.stringify(await untrainedSae({ gpu, config: { ...config, architecture: 'temporal' }, mean, frames })), /nothing says what an SAE of architecture temporal begins as/);
    for (const { sae: made } of [one, two, other]) made!.dispose();
  });
});
