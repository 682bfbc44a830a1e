/** Decoder rows that keep length 1. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { saeConfig, trainedArchitectures, type Weights } from '../../src/sae/index.ts';
import { Trainer, type TrainerConfig, trainerConfig } from '../../src/training/index.ts';
import { adamState, adamStep, clipByGlobalNorm } from '../oracle/adam.ts';
import type { Tensors } from '../oracle/linear.ts';
import { rowNorms } from '../oracle/matrix.ts';
import { standardPass } from '../oracle/standard-sae.ts';
import { freshSeed } from '../support/mutate.ts';
import { normals, relativeDistance } from '../support/numbers.ts';
import { smallSae } from '../support/small-sae.ts';

const seed = freshSeed('unit norm');
const dIn = 7, dOut = 5, dSae = 40, batch = 24;
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.dispose());

const training = (fields: Partial<TrainerConfig> = {}): TrainerConfig => (
  trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 100, lr: 3e-3, seed, unit_norm_decoder: true, ...fields })
);

/** Rows brought to length 1. */
function unitRows(W: Float64Array, columns: number): Float64Array {
  const norms = rowNorms(W, W.length / columns, columns);
  return W.map((value, at) => value / norms[Math.floor(at / columns)]!);
}

test('20 steps are those of float64: project, clip by the norm of what is left, Adam, bring back to length 1', async () => {
  const random = new RandomStream(seed, 1600);
  const float32 = (tensor: Float64Array): Float64Array => Float64Array.from(new Float32Array(tensor));
  const parameters: Tensors = {
    b_dec: float32(normals(random, dIn, 0.1)), W_dec: float32(unitRows(normals(random, dSae * dIn), dIn)), W_enc: float32(normals(random, dSae * dIn, 0.4)), b_enc: float32(normals(random, dSae, 0.1)),
  };
  const sae = saeConfig({ architecture: 'standard', d_in: dIn, d_sae: dSae, decoder_init_norm: 1, l1_coefficient: 0.3 } as never);
  const weights = Object.fromEntries(Object.entries(parameters).map(([name, tensor]) => [name, new Float32Array(tensor)])) as unknown as Weights;
  const trainer = await Trainer.create({ gpu, sae, training: training(), weights });
  const adam = adamState(parameters);
  const config = { dIn, dSae, applyBDecToInput: true, normalizeActivations: 'none', lpNorm: 1 } as const;
  for (let step = 0; step < 20; step++) {
    const x = new Float32Array(normals(random, batch * dIn, step % 2 === 0 ? 1 : 0.05)); // gradients that are clipped, and some that are not
    const { gradients } = standardPass(parameters, Float64Array.from(x), config, { dead: new Uint8Array(dSae), coefficients: { l1: 0.3 } });
    const W = parameters['W_dec']!, g = gradients['W_dec']!, directions = unitRows(W, dIn);
    for (let i = 0; i < dSae; i++) {
      let along = 0;
      for (let d = 0; d < dIn; d++) along += g[i * dIn + d]! * directions[i * dIn + d]!;
      for (let d = 0; d < dIn; d++) g[i * dIn + d]! -= along * directions[i * dIn + d]!;
    }
    const norm = clipByGlobalNorm(gradients, 1);
    adamStep(parameters, gradients, adam, 3e-3, { beta1: 0.9, beta2: 0.999, eps: 1e-8 });
    W.set(unitRows(W, dIn));

    trainer.train({ x });
    const [metrics] = await trainer.metrics();
    assert.ok(Math.abs(metrics!.gradientNorm / norm - 1) < 1e-4, `step ${step + 1}: the gradient has norm ${metrics!.gradientNorm}, not ${norm}`);
    for (const [name, tensor] of Object.entries(await trainer.weights()) as [string, Float32Array][]) {
      const distance = relativeDistance(Float64Array.from(tensor), parameters[name]!);
      assert.ok(distance < 1e-4, `step ${step + 1}: ${name} deviates by ${distance.toExponential(2)}`);
    }
  }
  trainer.dispose();
});

for (const name of trainedArchitectures) {
  test(`${name}: rows have length 1, gradients are across them, and the norm is that of what the gradients are`, async () => {
    const sae = smallSae(name, { d_in: dIn, d_sae: dSae, decoder_init_norm: 1 }, dOut);
    const random = new RandomStream(seed, 1601);
    const input = { mean: new Float32Array(dIn), scale: 1, target: { mean: new Float32Array(dOut), scale: 1 } };
    const trainer = await Trainer.create({ gpu, sae, training: training({ lr: 0.05, dead_feature_window: 1 }), input });
    let before = (await trainer.weights()).W_dec;
    const columns = trainer.form.parameters.find((one) => one.name === 'W_dec')!.value.columns;
    for (let step = 0; step < 4; step++) {
      const draw = (width: number): Float32Array => new Float32Array(normals(random, batch * width));
      trainer.train({ x: draw(dIn), target: draw(dOut), previous: draw(dIn) });
      const [metrics] = await trainer.metrics();
      let squares = 0;
      for (const { name: parameter, value, gradient } of trainer.form.parameters) {
        const numbers = (await gpu.downloadFloats(gradient)).subarray(0, value.rows * value.columns);
        squares += numbers.reduce((sum, g) => sum + g * g, 0);
        if (parameter !== 'W_dec') continue;
        for (let i = 0; i < dSae; i++) {
          let along = 0, size = 0;
          for (let at = i * columns; at < (i + 1) * columns; at++) {
            along += numbers[at]! * before[at]!;
            size += Math.abs(numbers[at]! * before[at]!);
          }
          assert.ok(Math.abs(along) <= 1e-5 * (size + 1e-3), `step ${step + 1}: the gradient of row ${i} has ${along} along it`);
        }
      }
      assert.ok(Math.abs(metrics!.gradientNorm / Math.sqrt(squares) - 1) < 1e-4, `step ${step + 1}: the norm is ${metrics!.gradientNorm}, of the gradients ${Math.sqrt(squares)}`);
      before = (await trainer.weights()).W_dec;
      rowNorms(Float64Array.from(before), dSae, columns).forEach((norm, i) => assert.ok(Math.abs(norm - 1) < 1e-6, `step ${step + 1}: row ${i} has length ${norm}`));
    }
    trainer.dispose();
  });
}

test('is refused with rows that begin at another length', async () => {
  for (const norm of [0.1, null]) {
    const sae = smallSae('topk', { d_in: dIn, d_sae: dSae, decoder_init_norm: norm }, dOut);
    await assert.rejects(Trainer.create({ gpu, sae, training: training() }), (error: CochleaError) => (
      error.code === 'config' && error.line === `decoder_init_norm is ${norm}: it must be 1 with unit_norm_decoder`));
  }
});
