import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RandomStream, streams } from '../src/random.ts';
import { globalNorm } from './oracle/adam.ts';
import type { Compatibility } from './oracle/auxiliary-loss.ts';
import { batchtopkPass } from './oracle/batchtopk-sae.ts';
import { gatedPass } from './oracle/gated-sae.ts';
import { jumpreluPass } from './oracle/jumprelu-sae.ts';
import type { Pass, PassContext, Tensors } from './oracle/linear.ts';
import { matryoshkaPass } from './oracle/matryoshka-sae.ts';
import { rowNorms } from './oracle/matrix.ts';
import type { Normalization } from './oracle/normalize.ts';
import { standardPass } from './oracle/standard-sae.ts';
import { abstopkPass, annealedK, groupmaxPass, topkPass } from './oracle/topk-sae.ts';
import { assertClose, normals, randomTensors, relativeDistance } from './support/numbers.ts';

const SEED = 20260712;
const dIn = 6, dSae = 12, rows = 5;

function only(tensors: Tensors, ...names: string[]): Tensors {
  return Object.fromEntries(names.map((name) => [name, tensors[name]]));
}

type PassFunction = (parameters: Tensors, x: Float64Array, context: PassContext) => Pass;

/** Central differences of the loss, with what the closed form holds constant held constant. */
function finiteDifferences(parameters: Tensors, loss: (parameters: Tensors) => number): Tensors {
  const step = 1e-5;
  return Object.fromEntries(Object.entries(parameters).map(([name, tensor]) => [name, tensor.map((_, i) => {
    const at = (offset: number) => loss({ ...parameters, [name]: tensor.map((value, j) => (j === i ? value + offset : value)) });
    return (at(step) - at(-step)) / (2 * step);
  })]));
}

describe('closed-form gradients equal finite differences', () => {
  const random = new RandomStream(SEED, streams.initialisation);
  const tensors = randomTensors(random, dIn, dSae);
  const x = normals(random, rows * dIn).map((value) => value + 0.5);
  const affine = ['W_enc', 'W_dec', 'b_enc', 'b_dec'];
  const fiveDead = Uint8Array.from([0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0]); // more than dIn / 2
  const twoDead = Uint8Array.from([0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]); // fewer

  function check(name: string, names: string[], pass: PassFunction, dead = fiveDead): void {
    test(name, () => {
      const parameters = only(tensors, ...names);
      const context = { dead, coefficients: { l1: 0.7, l0: 0.6 } };
      const base = pass(parameters, x, context);
      const frozen = { ...context, residual: base.residual, ...(base.levelResiduals ? { levelResiduals: base.levelResiduals } : {}) };
      const expected = finiteDifferences(parameters, (p) => pass(p, x, frozen).loss);
      for (const tensor of names) {
        assert.ok(globalNorm(only(expected, tensor)) > 1e-3, `${tensor} has a gradient to compare`);
        const distance = relativeDistance(base.gradients[tensor], expected[tensor]);
        assert.ok(distance < 1e-6, `${tensor}: relative distance ${distance} (seed ${SEED})`);
      }
    });
  }

  for (const applyBDecToInput of [true, false]) {
    for (const normalizeActivations of ['none', 'layer_norm', 'constant_norm_rescale'] as Normalization[]) {
      const base = { dIn, dSae, applyBDecToInput, normalizeActivations };
      const label = `b_dec ${applyBDecToInput ? 'applied' : 'not applied'}, ${normalizeActivations}`;
      for (const compatibility of ['saelens-6.18', 'corrected'] as Compatibility[]) {
        for (const rescaleActsByDecoderNorm of [true, false]) {
          const config = { ...base, k: 3, rescaleActsByDecoderNorm, auxLossCoefficient: 0.8, compatibility };
          check(`topk, ${label}, ${compatibility}, rescale ${rescaleActsByDecoderNorm}`, affine, (p, b, c) => topkPass(p, b, config, c));
        }
      }
      const batch = { ...base, k: 2.5, rescaleActsByDecoderNorm: true, auxLossCoefficient: 0.8, compatibility: 'corrected' as const };
      check(`batchtopk, ${label}`, affine, (p, b, c) => batchtopkPass(p, b, batch, c), twoDead);
      check(`matryoshka, ${label}`, affine, (p, b, c) => matryoshkaPass(p, b, { ...batch, matryoshkaWidths: [3, 7, 12] }, c));
      check(`matryoshka with auxiliary losses of levels, ${label}`, affine, (p, b, c) => matryoshkaPass(p, b, { ...batch, matryoshkaWidths: [3, 7, 12], auxiliaryPerLevel: true }, c));
      check(`groupmax, ${label}`, affine, (p, b, c) => groupmaxPass(p, b, { ...batch, k: 3 }, c), twoDead);
      check(`abstopk, ${label}`, affine, (p, b, c) => abstopkPass(p, b, { ...batch, k: 3 }, c));
      check(`standard L1, ${label}`, affine, (p, b, c) => standardPass(p, b, { ...base, lpNorm: 1 }, c));
      check(`standard L1.5, ${label}`, affine, (p, b, c) => standardPass(p, b, { ...base, lpNorm: 1.5 }, c));
      check(`gated, ${label}`, ['W_enc', 'W_dec', 'b_dec', 'b_gate', 'b_mag', 'r_mag'], (p, b, c) => gatedPass(p, b, base, c));
      for (const sparsityMode of ['step', 'tanh', 'quadratic'] as const) {
        // A kernel too narrow to catch any pre-activation leaves true derivatives only.
        const config = { ...base, bandwidth: 1e-9, sparsityMode, tanhScale: 4, preActCoefficient: 0.3, targetL0: 3 };
        for (const threshold of ['log_threshold', 'threshold']) {
          check(`jumprelu ${sparsityMode}, ${threshold}, ${label}`, [...affine, threshold], (p, b, c) => jumpreluPass(p, b, config, c));
        }
      }
    }
  }

  const config = {
    dIn, dSae, applyBDecToInput: true, normalizeActivations: 'none' as const, k: 2, rescaleActsByDecoderNorm: true,
    auxLossCoefficient: 0.8, compatibility: 'corrected' as const,
  };

  test('the residual of the auxiliary loss is a constant: letting it move gives another gradient', () => {
    const parameters = only(tensors, ...affine);
    const context = { dead: fiveDead, coefficients: {} };
    const moving = finiteDifferences(parameters, (p) => topkPass(p, x, config, context).loss);
    assert.ok(relativeDistance(topkPass(parameters, x, config, context).gradients.W_dec, moving.W_dec) > 0.01);
  });

  test('the auxiliary loss reaches encoder rows of dead latents that no row kept', () => {
    const parameters = { ...only(tensors, ...affine), b_enc: tensors.b_enc.map((b, i) => (fiveDead[i] ? b - 20 : b)) };
    const rowNorm = (pass: Pass) => rowNorms(pass.gradients.W_enc, dSae, dIn);
    const without = rowNorm(topkPass(parameters, x, config, { dead: new Uint8Array(dSae), coefficients: {} }));
    const withAux = rowNorm(topkPass(parameters, x, config, { dead: fiveDead, coefficients: {} }));
    const reached = [...fiveDead.keys()].filter((i) => fiveDead[i] && withAux[i] > 0);
    assert.ok(reached.length >= 3, `${reached.length} dead latents reached`);
    fiveDead.forEach((dead, i) => assert.equal(dead && without[i], 0));
  });

  describe('jumprelu\'s straight-through estimators: one latent by hand', () => {
    const one = { dIn: 1, dSae: 1, applyBDecToInput: false, normalizeActivations: 'none' as const, bandwidth: 0.2, sparsityMode: 'step' as const, tanhScale: 4 };
    const weights = { W_enc: Float64Array.of(1), W_dec: Float64Array.of(2), b_enc: Float64Array.of(0), b_dec: Float64Array.of(0) };
    const context = { dead: new Uint8Array(1), coefficients: { l0: 0.3 } };
    // f = 0.5, out = 1, dLoss/df = 2 (1 - 0.5) 2 = 2, rect = 1 / 0.2; dtheta = -0.45 * 5 * 2 - 5 * 0.3.
    const x = Float64Array.of(0.5);
    const loss = 0.25 + 0.3;

    test('thresholds learn by the rectangular kernel, as logarithms or directly', () => {
      const asLogarithm = jumpreluPass({ ...weights, log_threshold: Float64Array.of(Math.log(0.45)) }, x, one, context);
      assertClose([asLogarithm.loss, asLogarithm.gradients.log_threshold[0]], [loss, 0.45 * -6]);
      const direct = jumpreluPass({ ...weights, threshold: Float64Array.of(0.45) }, x, one, context);
      assertClose([direct.loss, direct.gradients.threshold[0]], [loss, -6]);
    });

    test('a threshold at or below zero acts as zero and gets no gradient', () => {
      for (const threshold of [0, -0.3]) {
        const pass = jumpreluPass({ ...weights, threshold: Float64Array.of(threshold) }, Float64Array.of(0.05), one, context);
        assertClose([pass.featureActs[0], pass.gradients.threshold[0]], [0.05, 0]);
      }
    });

    test('with steToInput the pre-activation gets the opposite of the threshold, whether it fires or not', () => {
      const biasGradient = (input: number, steToInput: boolean): number => (
        jumpreluPass({ ...weights, threshold: Float64Array.of(0.45) }, Float64Array.of(input), { ...one, steToInput }, context).gradients.b_enc[0]
      );
      assertClose([biasGradient(0.5, false), biasGradient(0.5, true)], [2, 2 + 6]);
      // At 0.4 nothing fires: dLoss/df = -2 * 0.4 * 2 = -1.6, dtheta = 0.45 * 5 * 1.6 - 5 * 0.3 = 2.1.
      assertClose([biasGradient(0.4, false), biasGradient(0.4, true)], [0, -2.1]);
      assertClose([biasGradient(0.9, false), biasGradient(0.9, true)], [3.6, 3.6]); // outside the window
    });

    test('the quadratic penalty pulls from either side to the target', () => {
      const threshold = Float64Array.of(0.45);
      // W_dec zero: the penalty is all there is. Two of four frames are active, one active and one inactive lie in the window.
      const passive = { ...weights, W_dec: Float64Array.of(0), threshold };
      const frames = Float64Array.of(0.5, 0.9, 0.4, -1);
      const thresholdGradient = (targetL0: number): number[] => {
        const { losses, gradients } = jumpreluPass(passive, frames, { ...one, sparsityMode: 'quadratic', targetL0 }, context);
        return [losses.l0_loss, gradients.threshold[0]];
      };
      // L0 = 1 / 2: of target 1 / 4 twice, of target 1 the half. Each of the two in the window: -5 / 4 * 2 c (L0 / target - 1) / target.
      assertClose(thresholdGradient(0.25), [0.3, 2 * -5 / 4 * 2 * 0.3 * 1 / 0.25]);
      assertClose(thresholdGradient(1), [0.3 / 4, 2 * -5 / 4 * 2 * 0.3 * -0.5]);
      assertClose(thresholdGradient(0.5), [0, 0]);
    });
  });
});

describe('losses by hand', () => {
  const identity = Float64Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1);
  const parameters = { W_enc: identity, W_dec: identity, b_enc: new Float64Array(4), b_dec: Float64Array.of(0, 0, 0, 1) };
  const config = {
    dIn: 4, dSae: 4, applyBDecToInput: false, normalizeActivations: 'none' as const, k: 1, rescaleActsByDecoderNorm: false, auxLossCoefficient: 3,
  };
  const x = Float64Array.of(5, 2, -1, 0); // keeps latent 0: out = (5, 0, 0, 1), e = (0, 2, -1, -1)

  test('the auxiliary loss weighs fewer dead latents than dIn / 2 less, and takes its values without ReLU', () => {
    const auxiliary = (dead: number[], compatibility: Compatibility) => {
      const pass = topkPass(parameters, x, { ...config, compatibility }, { dead: Uint8Array.from(dead), coefficients: {} });
      assert.equal(pass.losses.mse_loss, 6);
      return pass.losses.auxiliary_reconstruction_loss;
    };
    assert.equal(auxiliary([0, 0, 0, 0], 'corrected'), 0);
    // Latent 2 alone, at weight 1 / 2: e_hat = (0, 0, -1, 0), and with b_dec (0, 0, -1, 1).
    assert.equal(auxiliary([0, 0, 1, 0], 'corrected'), 3 * 0.5 * 5);
    assert.equal(auxiliary([0, 0, 1, 0], 'saelens-6.18'), 3 * 0.5 * 8);
    // Of three, the two of highest rank, 1 and 3: e_hat = (0, 2, 0, 0).
    assert.equal(auxiliary([0, 1, 1, 1], 'corrected'), 3 * 2);
  });

  test('abstopk keeps what is largest in size with its sign, also among the dead; groupmax the largest of every group', () => {
    const family = { ...config, k: 2, compatibility: 'corrected' as const };
    const frame = Float64Array.of(1, -5, 3, 2);
    const abs = abstopkPass(parameters, frame, family, { dead: Uint8Array.of(1, 0, 0, 1), coefficients: {} });
    assert.deepEqual([...abs.featureActs], [0, -5, 3, 0]);
    assert.deepEqual([...abs.out], [0, -5, 3, 1]); // b_dec is (0, 0, 0, 1)
    // Both dead latents, 1 and 2: e_hat = (1, 0, 0, 2) against (1, 0, 0, 1).
    assert.deepEqual(abs.losses, { mse_loss: 1 + 1, auxiliary_reconstruction_loss: 3 });
    const largestDead = abstopkPass(parameters, Float64Array.of(-4, 9, -9, 3), { ...family, dIn: 4 }, { dead: Uint8Array.of(1, 0, 0, 1), coefficients: {} });
    assert.deepEqual([...largestDead.featureActs], [0, 9, -9, 0]);
    assert.equal(largestDead.losses.auxiliary_reconstruction_loss, 3); // e_hat = (-4, 0, 0, 3) against (-4, 0, 0, 2)
    const grouped = groupmaxPass(parameters, frame, family, { dead: new Uint8Array(4), coefficients: {} });
    assert.deepEqual([...grouped.featureActs], [1, 0, 3, 0]);
    assert.deepEqual([...groupmaxPass(parameters, Float64Array.of(-1, -2, 5, 7), family, { dead: new Uint8Array(4), coefficients: {} }).featureActs], [0, 0, 0, 7]);
  });

  test('the auxiliary losses of levels are of the dead of each level and of what that level leaves over', () => {
    const family = { ...config, k: 1, compatibility: 'saelens-6.18' as const, matryoshkaWidths: [2, 4], auxiliaryPerLevel: true };
    const dead = Uint8Array.of(0, 1, 1, 1); // of two in the inner level, one; of two more, both
    // x = (5, 2, -1, 0) keeps latent 0: both levels leave (0, 2, -1, -1) over. Inner: 1/2 |(0, 2, 0, 0) - e|^2 = 1; outer: |(0, 0, -1, 0) - e|^2 = 5.
    const { losses } = matryoshkaPass(parameters, x, family, { dead, coefficients: {} });
    assert.deepEqual(losses, { mse_loss: 6, inner_mse_loss_2: 6, auxiliary_reconstruction_loss: 3 * (1 + 5) });
  });

  test('k falls linearly, to what it stays at', () => {
    assert.deepEqual([0, 1, 2, 3, 4, 9].map((t) => annealedK(4, 12, 4, t)), [12, 10, 8, 6, 4, 4]);
  });

  test('an inner matryoshka loss is the loss of an SAE whose further decoder rows are zero', () => {
    const random = new RandomStream(SEED, streams.initialisation, 2);
    const { W_enc, W_dec, b_enc, b_dec } = randomTensors(random, dIn, dSae);
    const frames = normals(random, rows * dIn);
    const family = { ...config, dIn, dSae, k: 2.5, compatibility: 'corrected' as const, matryoshkaWidths: [3, 7, 12] };
    const context = { dead: new Uint8Array(dSae), coefficients: {} };
    const { losses } = matryoshkaPass({ W_enc, W_dec, b_enc, b_dec }, frames, family, context);
    assert.deepEqual(Object.keys(losses), ['mse_loss', 'inner_mse_loss_3', 'inner_mse_loss_7', 'auxiliary_reconstruction_loss']);
    for (const [name, width] of [['inner_mse_loss_3', 3], ['inner_mse_loss_7', 7], ['mse_loss', 12]] as const) {
      const cut = { W_enc, W_dec: W_dec.map((w, j) => (j < width * dIn ? w : 0)), b_enc, b_dec };
      assertClose([losses[name]], [batchtopkPass(cut, frames, family, context).losses.mse_loss]);
    }
  });

  test('sparsity losses: the L1 and L2 norms of activations times decoder norms, and the gate of a gated SAE', () => {
    const doubled = { ...parameters, W_dec: identity.map((w) => 2 * w) };
    const context = { dead: new Uint8Array(4), coefficients: { l1: 0.5 } };
    assertClose([1, 2].map((lpNorm) => standardPass(doubled, x, { ...config, lpNorm }, context).losses.l1_loss), [0.5 * 14, 0.5 * 2 * Math.sqrt(29)]);
    const gate = { ...doubled, b_gate: Float64Array.of(0, -3, 2, 0), b_mag: Float64Array.of(1, 1, 1, 1), r_mag: new Float64Array(4) };
    const { losses, featureActs } = gatedPass(gate, x, config, context);
    assertClose(featureActs, [6, 0, 0, 0]); // the gate passes 0 and 2; the magnitude of 2 is 0
    // q = (5, 0, 1, 0): its reconstruction (10, 0, 2, 1) misses x by (5, -2, 3, 1).
    assertClose([losses.l1_loss, losses.auxiliary_reconstruction_loss, losses.mse_loss], [0.5 * 2 * 6, 39, 7 ** 2 + 4 + 1 + 1]);
  });
});
