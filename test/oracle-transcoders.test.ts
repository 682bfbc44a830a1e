import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RandomStream, streams } from '../src/random.ts';
import { globalNorm } from './oracle/adam.ts';
import type { Tensors } from './oracle/linear.ts';
import { type MatchingPursuitConfig, matchingPursuitPass, matchingPursuitRun, pursue } from './oracle/matching-pursuit-sae.ts';
import type { Normalization } from './oracle/normalize.ts';
import { foldTranscoder, transcoderPass, transcoderRun, type TranscoderSparsity } from './oracle/transcoder.ts';
import { assertClose, normals, relativeDistance } from './support/numbers.ts';

const SEED = 20261122;
const dIn = 6, dOut = 5, dSae = 12, rows = 5;

/** Central differences of a loss. */
function finiteDifferences(parameters: Tensors, loss: (parameters: Tensors) => number): Tensors {
  const step = 1e-5;
  return Object.fromEntries(Object.entries(parameters).map(([name, tensor]) => [name, tensor.map((_, i) => {
    const at = (offset: number) => loss({ ...parameters, [name]: tensor.map((value, j) => (j === i ? value + offset : value)) });
    return (at(step) - at(-step)) / (2 * step);
  })]));
}

function sameGradients(actual: Tensors, expected: Tensors, names: readonly string[]): void {
  for (const name of names) {
    assert.ok(globalNorm({ g: expected[name] }) > 1e-3, `${name} has a gradient to compare`);
    const distance = relativeDistance(actual[name], expected[name]);
    assert.ok(distance < 1e-6, `${name}: relative distance ${distance} (seed ${SEED})`);
  }
}

describe('transcoders', () => {
  const random = new RandomStream(SEED, streams.initialisation);
  const all: Tensors = {
    W_enc: normals(random, dSae * dIn, 0.5), W_dec: normals(random, dSae * dOut, 0.4), b_enc: normals(random, dSae, 0.2), b_dec: normals(random, dOut, 0.3),
    W_skip: normals(random, dOut * dIn, 0.3), log_threshold: normals(random, dSae, 0.3).map((value) => value - 1),
  };
  const x = normals(random, rows * dIn).map((value) => value + 0.5), y = normals(random, rows * dOut);
  const dead = Uint8Array.from([0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0]);
  const jumprelu = { kind: 'jumprelu', coefficient: 0.6, bandwidth: 1e-9, tanhScale: 4, preActCoefficient: 0.3 } as const; // too narrow to catch a pre-activation
  const kinds: TranscoderSparsity[] = [
    { kind: 'l1', coefficient: 0.7 }, { kind: 'topk', k: 3, auxLossCoefficient: 0.8 }, { ...jumprelu, mode: 'step' }, { ...jumprelu, mode: 'tanh' },
  ];
  for (const sparsity of kinds) {
    for (const skip of [false, true]) {
      for (const normalizeActivations of ['none', 'layer_norm'] as Normalization[]) {
        test(`${sparsity.kind}${'mode' in sparsity ? ` ${sparsity.mode}` : ''}${skip ? ' with a skip path' : ''}, ${normalizeActivations}: gradients equal finite differences`, () => {
          const names = ['W_enc', 'W_dec', 'b_enc', 'b_dec', ...(skip ? ['W_skip'] : []), ...(sparsity.kind === 'jumprelu' ? ['log_threshold'] : [])];
          const parameters = Object.fromEntries(names.map((name) => [name, all[name]]));
          const config = { dIn, dOut, dSae, normalizeActivations };
          const base = transcoderPass(parameters, x, y, config, sparsity, { dead });
          const expected = finiteDifferences(parameters, (p) => transcoderPass(p, x, y, config, sparsity, { dead, residual: base.residual }).loss);
          sameGradients(base.gradients, expected, names);
        });
      }
    }
  }

  test('the folded transcoder takes raw frames and gives raw targets', () => {
    const { log_threshold, ...parameters } = all;
    const tensors = { ...parameters, threshold: log_threshold.map(Math.exp) };
    const config = { dIn, dOut, dSae, normalizeActivations: 'none' as const };
    const input = { mean: normals(random, dIn), scale: 0.3 }, target = { mean: normals(random, dOut), scale: 1.7 };
    const trained = transcoderRun(tensors, x.map((value, j) => (value - input.mean[j % dIn]) * input.scale), config);
    const raw = transcoderRun(foldTranscoder(tensors, input, target), x, config);
    assert.ok(trained.featureActs.some((f) => f > 0));
    assertClose(raw.featureActs, trained.featureActs);
    assertClose(raw.out, trained.out.map((value, j) => value / target.scale + target.mean[j % dOut]));
  });
});

describe('matching pursuit', () => {
  const random = new RandomStream(SEED, streams.initialisation, 1);
  const W_dec = normals(random, dSae * dIn);
  for (let i = 0; i < dSae; i++) {
    const norm = Math.hypot(...W_dec.subarray(i * dIn, (i + 1) * dIn)) * (0.8 + 0.3 * random.uniform()); // not quite unit: rows drift in training
    for (let d = 0; d < dIn; d++) W_dec[i * dIn + d] /= norm;
  }
  const parameters = { W_dec, b_dec: normals(random, dIn, 0.3) };
  const x = normals(random, rows * dIn).map((value) => value + 0.5);
  const base: MatchingPursuitConfig = { dIn, dSae, applyBDecToInput: true, normalizeActivations: 'none', maxIterations: 9, residualThreshold: 0, stopOnDuplicateSupport: false };

  for (const applyBDecToInput of [true, false]) {
    for (const normalizeActivations of ['none', 'layer_norm', 'constant_norm_rescale'] as Normalization[]) {
      for (const stops of [{}, { stopOnDuplicateSupport: true }, { residualThreshold: 0.5 }]) {
        const config = { ...base, applyBDecToInput, normalizeActivations, ...stops };
        test(`${JSON.stringify({ applyBDecToInput, normalizeActivations, ...stops })}: gradients equal finite differences`, () => {
          const { gradients } = matchingPursuitPass(parameters, x, config);
          const expected = finiteDifferences(parameters, (p) => matchingPursuitPass(p, x, config).loss);
          sameGradients(gradients, expected, applyBDecToInput ? ['W_dec', 'b_dec'] : ['W_dec']);
          if (!applyBDecToInput) assert.ok(gradients.b_dec.every((g) => g === 0));
        });
      }
    }
  }

  const identity = { W_dec: Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), b_dec: new Float64Array(3) };
  const small: MatchingPursuitConfig = { ...base, dIn: 3, dSae: 3 };

  test('picks the best first, nothing below zero, and stops where nothing is left', () => {
    const { picks, residuals } = pursue(identity.W_dec, Float64Array.of(1, 3, -2), small);
    assert.deepEqual(picks, [{ latent: 1, value: 3 }, { latent: 0, value: 1 }]);
    assertClose(residuals[2], [0, 0, -2]);
  });

  test('equal products go to the smaller latent; the threshold on the residual and the bound on iterations end a row', () => {
    const input = Float64Array.of(2, 2, 0.5);
    const latents = (config: Partial<MatchingPursuitConfig>) => pursue(identity.W_dec, input, { ...small, ...config }).picks.map(({ latent }) => latent);
    assert.deepEqual(latents({}), [0, 1, 2]);
    assert.deepEqual(latents({ residualThreshold: 0.6 }), [0, 1]);
    assert.deepEqual(latents({ maxIterations: 1 }), [0]);
    assert.deepEqual(latents({ residualThreshold: 100 }), [0]); // the first pick is made before any residual is looked at
  });

  test('a repeated latent adds up, and is the last one where duplicates stop', () => {
    const W = Float64Array.of(0.5, 0, 0, 0.5); // short atoms take off a quarter at a time
    const config: MatchingPursuitConfig = { ...small, dIn: 2, dSae: 2, maxIterations: 3 };
    const run = (stopOnDuplicateSupport: boolean) => matchingPursuitRun({ W_dec: W, b_dec: new Float64Array(2) }, Float64Array.of(8, 0), { ...config, stopOnDuplicateSupport });
    assertClose(run(true).featureActs, [4 + 3, 0]);
    assertClose(run(false).featureActs, [4 + 3 + 2.25, 0]);
  });

  test('frames larger by a factor give activations larger by it, with a threshold larger by it', () => {
    const factor = 3.7;
    const config = { ...base, residualThreshold: 0.4 };
    const one = matchingPursuitRun(parameters, x, config);
    const scaled = matchingPursuitRun({ W_dec, b_dec: parameters.b_dec.map((b) => b * factor) }, x.map((value) => value * factor), { ...config, residualThreshold: 0.4 * factor });
    assertClose(scaled.featureActs, one.featureActs.map((f) => f * factor), 1e-10);
    assertClose(scaled.out, one.out.map((value) => value * factor), 1e-10);
  });
});
