import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RandomStream, streams } from '../src/random.ts';
import { globalNorm } from './oracle/adam.ts';
import { decoderNorms, type Tensors } from './oracle/linear.ts';
import { contrastiveLoss, type TemporalMatryoshkaConfig, temporalMatryoshkaPass } from './oracle/temporal-matryoshka-sae.ts';
import { causalAttention, type TemporalConfig, temporalRun } from './oracle/temporal-sae.ts';
import { assertClose, normals, randomTensors, relativeDistance } from './support/numbers.ts';

const SEED = 20261122;
const dIn = 6, dSae = 12, rows = 5;

describe('the contrastive loss of a T-SAE', () => {
  const random = new RandomStream(SEED, streams.initialisation);
  const { W_enc, W_dec, b_enc, b_dec } = randomTensors(random, dIn, dSae);
  const parameters: Tensors = { W_enc, W_dec, b_enc, b_dec };
  const before = normals(random, rows * dIn).map((value) => value + 0.5);
  const x = before.map((value) => value + 0.5 * random.normal());
  const context = { dead: Uint8Array.from([0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0]), coefficients: {} };
  const base: TemporalMatryoshkaConfig = {
    dIn, dSae, k: 3.5, applyBDecToInput: true, normalizeActivations: 'none', rescaleActsByDecoderNorm: true, auxLossCoefficient: 0.8, compatibility: 'corrected',
    highLevel: 7, contrastiveCoefficient: 2, similarity: 'cosine',
  };

  for (const similarity of ['cosine', 'inner_product'] as const) {
    for (const rescaleActsByDecoderNorm of [true, false]) {
      for (const applyBDecToInput of [true, false]) {
        for (const normalizeActivations of ['none', 'layer_norm'] as const) {
          const config = { ...base, similarity, rescaleActsByDecoderNorm, applyBDecToInput, normalizeActivations };
          test(`has the gradient of finite differences: ${JSON.stringify({ similarity, rescaleActsByDecoderNorm, applyBDecToInput, normalizeActivations })}`, () => {
            const pass = temporalMatryoshkaPass(parameters, x, before, config, context);
            const norms = decoderNorms(parameters, config), step = 1e-5;
            const lossAt = (name: string, i: number, offset: number): number => {
              const moved = { ...parameters, [name]: parameters[name].map((value, j) => (j === i ? value + offset : value)) };
              return temporalMatryoshkaPass(moved, x, before, config, { ...context, residual: pass.residual }, norms).loss;
            };
            for (const name of Object.keys(parameters)) {
              const expected = parameters[name].map((_, i) => (lossAt(name, i, step) - lossAt(name, i, -step)) / (2 * step));
              assert.ok(relativeDistance(pass.gradients[name], expected) < 1e-6, `${name}: ${relativeDistance(pass.gradients[name], expected)} (seed ${SEED})`);
            }
            const without = temporalMatryoshkaPass(parameters, x, before, { ...config, contrastiveCoefficient: 0 }, context);
            assert.ok(relativeDistance(without.gradients['W_enc'], pass.gradients['W_enc']) > 1e-3, 'the loss reaches the encoder');
            assert.deepEqual(without.gradients['W_dec'], pass.gradients['W_dec'], 'and not the decoder');
          });
        }
      }
    }
  }

  test('is 2 log N when no frame resembles another, and falls as neighbours become alike', () => {
    const apart = Float64Array.of(1, 0, 0, 0, 0, 1, 0, 0), others = Float64Array.of(0, 0, 1, 0, 0, 0, 0, 1);
    assertClose([contrastiveLoss(apart, others, 2, 4, 'cosine').loss], [2 * Math.log(2)]);
    // Cosines 1 on the diagonal, 0 elsewhere, whatever the lengths: -2 log(e / (e + 1)).
    const longer = apart.map((value) => 3 * value);
    assertClose([contrastiveLoss(apart, longer, 2, 4, 'cosine').loss], [2 * Math.log(1 + Math.exp(-1))]);
    assertClose([contrastiveLoss(apart, longer, 2, 4, 'inner_product').loss], [2 * Math.log(1 + Math.exp(-3))]);
    assertClose([contrastiveLoss(apart, new Float64Array(8), 2, 4, 'cosine').loss], [2 * Math.log(2)]); // nothing fired
  });

  test('a batch of one frame has nothing to tell apart', () => {
    const { loss, dz } = contrastiveLoss(Float64Array.of(1, 2), Float64Array.of(2, 0), 1, 2, 'inner_product');
    assertClose([loss, globalNorm({ dz })], [0, 0]);
  });
});

describe('a temporal SAE', () => {
  const random = new RandomStream(SEED, streams.initialisation, 1);
  const config: TemporalConfig = {
    dIn, dSae, heads: 2, layers: 2, bottleneck: 3, k: undefined, tied: true, applyBDecToInput: true, normalizeActivations: 'none', activationNormalizationFactor: 1,
  };
  const parameters: Tensors = {
    W_dec: normals(random, dSae * dIn), b_dec: normals(random, dIn),
    ...Object.fromEntries([0, 1].flatMap((layer) => ([['k_ctx', 4], ['q_target', 4], ['v_ctx', dSae], ['c_proj', dSae]] as const).flatMap(([part, out]) => [
      [`attn_layers.${layer}.${part}.weight`, normals(random, out * dSae, 2)], [`attn_layers.${layer}.${part}.bias`, normals(random, out)],
    ]))),
  };
  const x = normals(random, 7 * dIn);

  test('looks back and not ahead', () => {
    const all = temporalRun(parameters, x, config);
    const start = temporalRun(parameters, x.slice(0, 4 * dIn), config);
    assertClose(start.out, all.out.slice(0, 4 * dIn));
    const changed = x.slice();
    changed[0] += 1;
    const other = temporalRun(parameters, changed, config);
    for (let row = 1; row < 7; row++) assert.ok(relativeDistance(other.out.slice(row * dIn, (row + 1) * dIn), all.out.slice(row * dIn, (row + 1) * dIn)) > 1e-9, `row ${row} sees row 0`);
  });

  test('attention is an average of the values so far, and equal scores make it the mean', () => {
    const v = Float64Array.of(1, 10, 3, 20, 8, 60);
    assertClose(causalAttention(new Float64Array(3), Float64Array.of(5, -2, 1), v, 3, 1), [1, 10, 2, 15, 4, 30]);
    // Two heads with a key each: exp(2) to exp(0) for the first, equal for the second.
    const share = Math.exp(2) / (Math.exp(2) + 1);
    assertClose(causalAttention(Float64Array.of(0, 0, 2, 0), Float64Array.of(1, 1, 0, 5), Float64Array.of(1, 10, 0, 20), 2, 2), [1, 10, share, 15]);
  });

  test('an attention that predicts a frame leaves nothing that is novel', () => {
    // One latent a direction; the values map every code to itself, so a clip that stands still is predicted from its second frame on.
    const eye = Float64Array.from({ length: 16 }, (_, j) => (j % 5 === 0 ? 1 : 0));
    const still = Float64Array.of(1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4);
    const one: TemporalConfig = { ...config, dIn: 4, dSae: 4, heads: 1, layers: 1, bottleneck: 4, applyBDecToInput: false };
    const simple: Tensors = {
      W_dec: eye, b_dec: Float64Array.of(9, 9, 9, 9), 'attn_layers.0.k_ctx.weight': new Float64Array(4), 'attn_layers.0.k_ctx.bias': new Float64Array(1),
      'attn_layers.0.q_target.weight': new Float64Array(4), 'attn_layers.0.q_target.bias': new Float64Array(1), 'attn_layers.0.v_ctx.weight': eye, 'attn_layers.0.v_ctx.bias': new Float64Array(4),
      'attn_layers.0.c_proj.weight': eye, 'attn_layers.0.c_proj.bias': new Float64Array(4),
    };
    const { featureActs, out } = temporalRun(simple, still, one);
    assertClose(featureActs.slice(0, 4), [1 / 16, 2 / 16, 3 / 16, 4 / 16]); // lambda = 1 / (4 d_in), and no past to predict from
    assertClose(featureActs.slice(4), new Float64Array(8), 1e-4);
    assertClose(out.slice(4), still.slice(4), 1e-4); // tied weights and b_dec not subtracted: it is not added either
  });
});
