/** Standard, gated and JumpReLU SAEs on their way to disk: what is saved gives on raw frames what was trained on centred and scaled ones. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { architectureOf, type InputTransform, SAE, saeConfig, type Weights } from '../../src/sae/index.ts';
import { gatedRun } from '../oracle/gated-sae.ts';
import { jumpreluRun } from '../oracle/jumprelu-sae.ts';
import type { Tensors } from '../oracle/linear.ts';
import { standardRun } from '../oracle/standard-sae.ts';
import { normals, seed } from '../support/kernels.ts';
import { relativeDistance } from '../support/numbers.ts';

const dIn = 13, dSae = 70, rows = 20;
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.dispose());

/** What was trained: thresholds directly, some below zero, or as logarithms. */
function trained(random: RandomStream, architecture: string, asLogarithms: boolean): Weights {
  const vector = (): Float32Array => normals(random, dSae, 0.3);
  const scale = 1 / Math.sqrt(dIn);
  const weights: Weights = { W_enc: normals(random, dSae * dIn, scale), W_dec: normals(random, dSae * dIn, scale), b_dec: normals(random, dIn) };
  if (architecture === 'gated') return { ...weights, b_gate: vector(), r_mag: vector(), b_mag: vector() };
  weights.b_enc = vector();
  if (architecture === 'standard') return weights;
  return { ...weights, ...(asLogarithms ? { log_threshold: vector() } : { threshold: vector() }) };
}

function oracle(architecture: string, weights: Weights, x: Float64Array, applyBDecToInput: boolean) {
  const tensors: Tensors = Object.fromEntries(Object.entries(weights).map(([name, data]) => [name, Float64Array.from(data as Float32Array)]));
  if (tensors.log_threshold) tensors.threshold = tensors.log_threshold.map(Math.exp);
  const run = { standard: standardRun, gated: gatedRun, jumprelu: jumpreluRun }[architecture]!;
  return run(tensors, x, { dIn, dSae, applyBDecToInput, normalizeActivations: 'none' });
}

const cases = ['standard', 'gated', 'jumprelu', 'jumprelu as in SAELens 6.18'].flatMap((name) => [true, false].map((applyBDec) => ({ name, applyBDec })));
for (const [n, { name, applyBDec }] of cases.entries()) {
  test(`${name} with apply_b_dec_to_input ${applyBDec} (COCHLEA_SEED=${seed})`, async () => {
    const architecture = name.split(' ')[0]!;
    const random = new RandomStream(seed, 1401, n);
    const weights = trained(random, architecture, name !== architecture);
    const input: InputTransform = { mean: normals(random, dIn, 4), scale: Math.fround(0.3 + random.uniform()) };
    const x = normals(random, rows * dIn).map((value, at) => value + input.mean[at % dIn]!);
    const expected = oracle(architecture, weights, Float64Array.from(x, (value, at) => (value - input.mean[at % dIn]!) * input.scale), applyBDec);
    const out = expected.out.map((value, at) => value / input.scale + input.mean[at % dIn]!);

    const config = saeConfig({ architecture, d_in: dIn, d_sae: dSae, apply_b_dec_to_input: applyBDec });
    const exported = architectureOf(architecture).export!(config, weights, input, NaN);
    assert.deepEqual([exported.architecture, exported.fields], [architecture, {}]);
    const own: Record<string, string[]> = { standard: ['b_enc'], gated: ['b_gate', 'r_mag', 'b_mag'], jumprelu: ['b_enc', 'threshold'] };
    assert.deepEqual(Object.keys(exported.weights).sort(), ['W_dec', 'W_enc', 'b_dec', ...own[architecture]!].sort());
    assert.ok(exported.weights.threshold?.every((value) => value >= 0) ?? true, 'a threshold below zero acts as zero, and is written so');

    const sae = await SAE.create(gpu, {
      architecture, d_in: dIn, d_sae: dSae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: applyBDec, normalize_activations: 'none', reshape_activations: 'none', metadata: {},
    }, exported.weights);
    const found = await sae.run(x), acts = await sae.encode(x);
    sae.dispose();
    assert.ok(relativeDistance(Float64Array.from(found.recon), out) < 1e-5, 'forward');
    assert.ok(relativeDistance(Float64Array.from(acts), expected.featureActs) < 1e-5, 'activations');
  });
}
