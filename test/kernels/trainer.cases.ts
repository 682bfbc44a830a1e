import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream, streams } from '../../src/random.ts';
import { type Compatibility, topkConfig } from '../../src/sae/index.ts';
import { trainerConfig } from '../../src/training/config.ts';
import type { StepMetrics } from '../../src/training/step-metrics.ts';
import { Trainer, type TrainerState } from '../../src/training/trainer.ts';
import { rowNorms } from '../oracle/matrix.ts';
import type { Case } from '../support/case.ts';
import { close, equal, ok } from '../support/check.ts';
import { fuzzed, normals, sameBits, seed } from '../support/kernels.ts';

const dIn = 9, dSae = 500, batch = 40, steps = 12;
const sae = topkConfig({ d_in: dIn, d_sae: dSae, k: 3, normalize_activations: 'layer_norm' });
const training = trainerConfig({
  train_batch_size_samples: batch, total_training_samples: batch * steps, lr: 0.01, dead_feature_window: 2, feature_sampling_window: 5, lr_warm_up_steps: 3, lr_decay_steps: 4, seed,
});

interface Outcome {
  shards: number;
  metrics: StepMetrics[];
  state: TrainerState;
}

async function train(gpu: Gpu, batches: readonly Float32Array[], compatibility: Compatibility): Promise<Outcome> {
  const input = { mean: normals(new RandomStream(seed, 1), dIn), scale: 0.8 };
  const trainer = await Trainer.create({ gpu, sae, training, input, compatibility });
  try {
    for (const frames of batches) trainer.train({ x: frames });
    const metrics = await trainer.metrics();
    return { shards: trainer.form.parameters[1].value.shards.length, metrics, state: await trainer.state() };
  } finally {
    trainer.dispose();
  }
}

function sameOutcome(actual: Outcome, expected: Outcome, what: string): void {
  equal(JSON.stringify(actual.metrics), JSON.stringify(expected.metrics), `${what}: metrics`);
  for (const [name, tensor] of expected.state.tensors) sameBits(new Uint32Array(actual.state.tensors.get(name)!.buffer), new Uint32Array(tensor.buffer), `${what}: ${name}`);
}

export const cases: Case[] = [
  {
    name: 'training leaves the same bits with weights in four shards and four rows of pre-activations at a time',
    async run(gpu) {
      // Weights take 48 bytes a latent, pre-activations 2000 bytes a row.
      const small = await Gpu.open({ maxBindingBytes: 8192 });
      try {
        for (const compatibility of ['corrected', 'saelens-6.18'] as const) {
          const random = new RandomStream(seed, 2);
          const batches = Array.from({ length: steps }, (_, n) => normals(random, (n === 7 ? batch - 11 : batch) * dIn));
          const whole = await train(gpu, batches, compatibility);
          const last = whole.metrics.at(-1)!;
          ok(last.dead > dIn && last.losses['auxiliary_reconstruction_loss'] > 0, `the auxiliary loss is at work: ${last.dead} dead, loss ${last.losses['auxiliary_reconstruction_loss']}`);
          ok(last.losses['mse_loss'] < whole.metrics[0].losses['mse_loss'], `the SAE learns: ${whole.metrics[0].losses['mse_loss']} to ${last.losses['mse_loss']}`);
          sameOutcome(await train(gpu, batches, compatibility), whole, `${compatibility}, again`);
          const cut = await train(small, batches, compatibility);
          equal(whole.shards, 1, 'shards');
          equal(cut.shards, 4, 'shards of the small device');
          sameOutcome(cut, whole, compatibility);
        }
      } finally {
        small.dispose();
      }
    },
  },
  fuzzed('training begins with uniform decoder rows, of the length asked for if any, the encoder their copy, biases zero', [{ norm: null }, { norm: 0.1 }, { norm: 2 }], async (gpu, _, { norm }) => {
    const trainer = await Trainer.create({ gpu, sae: { ...sae, decoder_init_norm: norm }, training });
    const { W_enc, W_dec, b_enc, b_dec } = await trainer.weights();
    trainer.dispose();
    sameBits(new Uint32Array(W_enc!.buffer), new Uint32Array(W_dec.buffer), 'W_enc');
    ok(b_enc!.every((value) => value === 0) && b_dec.every((value) => value === 0), 'biases are zero');
    const host = new RandomStream(seed, streams.initialisation);
    const uniform = Float64Array.from({ length: dSae * dIn }, () => (2 * host.uniform() - 1) * Math.sqrt(6 / dIn));
    const norms = rowNorms(uniform, dSae, dIn);
    const scaled = uniform.map((value, j) => (norm === null ? value : (norm * value) / norms[Math.floor(j / dIn)]));
    close(W_dec, scaled, { relative: 2 ** -23 * (dIn + 20) }, 'W_dec');
  }),
];
