/** What training takes of the memory, and that how much it takes at a time does not show in its results. */
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { architectureOf, type BaseConfig, trainedArchitectures } from '../../src/sae/index.ts';
import { trainerConfig } from '../../src/training/config.ts';
import { StreamInputs } from '../../src/training/stream-inputs.ts';
import { streamShape, Trainer, type TrainerOptions } from '../../src/training/trainer.ts';
import type { Case } from '../support/case.ts';
import { equal, ok, rejects } from '../support/check.ts';
import { normals, sameBits, seed } from '../support/kernels.ts';
import { smallSae } from '../support/small-sae.ts';

const dIn = 7, dOut = 5, dSae = 48, batch = 20, steps = 5;

/** An SAE of this architecture, with latents that die at once. */
function options(gpu: Gpu, architecture: string, normalize_activations: BaseConfig['normalize_activations'] = 'none'): TrainerOptions {
  return {
    gpu, sae: smallSae(architecture, { d_in: dIn, d_sae: dSae, normalize_activations }, dOut),
    training: trainerConfig({ train_batch_size_samples: batch, total_training_samples: steps * batch, lr: 0.01, dead_feature_window: 1, feature_sampling_window: 3, seed }),
  };
}

/** The words of everything that training goes on from, and of its metrics. */
async function train(given: TrainerOptions): Promise<Map<string, Uint32Array>> {
  const trainer = await Trainer.create(given);
  try {
    const random = new RandomStream(seed, 1700);
    const { needs } = architectureOf(given.sae.architecture);
    for (let step = 0; step < steps; step++) {
      trainer.train({
        x: normals(random, batch * dIn), ...(needs === 'targets' ? { target: normals(random, batch * dOut) } : {}), ...(needs === 'previous' ? { previous: normals(random, batch * dIn) } : {}),
      });
    }
    const metrics = JSON.stringify(await trainer.metrics());
    const found = new Map([...(await trainer.state()).tensors].map(([name, tensor]) => [name, new Uint32Array(tensor.buffer)]));
    return found.set('metrics', Uint32Array.from(metrics, (letter) => letter.charCodeAt(0)));
  } finally {
    trainer.dispose();
  }
}

const bytesByLabel = (tensors: readonly { label: string; bytes: number }[]): [string, number][] => {
  const sums = new Map<string, number>();
  for (const { label, bytes } of tensors) sums.set(label, (sums.get(label) ?? 0) + bytes);
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1));
};

const same = (actual: unknown, expected: unknown, what: string): void => equal(JSON.stringify(actual), JSON.stringify(expected), what);

export const cases: Case[] = [
  ...trainedArchitectures.map((architecture): Case => ({
    name: `${architecture}: the plan is what is allocated then, and all of it is freed in the end`,
    async run(gpu) {
      const given = options(gpu, architecture);
      const shape = streamShape([given.sae], batch);
      const before = new Map(gpu.allocated);
      const { built, tensors } = gpu.plan(() => new StreamInputs(gpu, shape));
      const planned = Trainer.plan({ ...given, stream: built });
      same([...gpu.allocated], [...before], 'planning allocates nothing');
      const trainer = await Trainer.create(given);
      const allocated = [...gpu.allocated].map(([label, bytes]) => ({ label, bytes: bytes - (before.get(label) ?? 0) })).filter(({ bytes }) => bytes > 0);
      const kinds = (use: string): string[] => planned.filter((one) => one.use === use).map(({ tensor }) => tensor.label).sort();
      const names = trainer.form.parameters.map(({ name }) => name);
      trainer.dispose();
      same([...gpu.allocated], [...before], 'what is left');
      same(bytesByLabel([...tensors, ...planned.map(({ tensor }) => tensor)]), bytesByLabel(allocated), 'the plan');
      same(kinds('moments'), names.flatMap((name) => [`m ${name}`, `v ${name}`]).sort(), 'moments');
      same([kinds('parameters').length, kinds('gradients').length], [names.length, names.length], 'parameters and gradients');
    },
  })),
  {
    name: 'training leaves the same bits however many rows of pre-activations it takes at a time, whatever the architecture',
    learns: true,
    async run(gpu) {
      // What undoes a row normalisation in its penalty sums over rows in two ways.
      for (const [architecture, normalise] of [...trainedArchitectures.map((name) => [name] as const), ['gated', 'layer_norm'] as const]) {
        const whole = await train(options(gpu, architecture, normalise));
        for (const workShare of [0.5, 0.15]) {
          Object.defineProperty(gpu, 'workShare', { value: workShare, configurable: true });
          try {
            const parts = await train(options(gpu, architecture, normalise));
            for (const [name, words] of whole) sameBits(parts.get(name)!, words, `${architecture}, ${workShare} of the rows: ${name}`);
          } finally {
            delete (gpu as { workShare?: number }).workShare;
          }
        }
      }
    },
  },
  {
    name: 'what could not be allocated leaves nothing allocated, whether the memory or the build failed',
    async run(gpu) {
      const before = gpu.allocatedBytes;
      const vector = (label: string, columns: number) => gpu.tensor({ label, dtype: 'f32', rows: 1, columns });
      await rejects(() => gpu.allocate('two', () => [vector('first', 100), vector('second', gpu.bindingBytes)]), /second needs a binding of/);
      equal(gpu.allocatedBytes, before, 'bytes');
      const tensor = vector('freed twice', 100);
      gpu.free(tensor);
      gpu.free(tensor);
      equal(gpu.allocatedBytes, before, 'bytes');
      ok(await gpu.downloadFloats(await gpu.allocate('one', () => vector('one', 4))).then((zeros) => zeros.every((zero) => zero === 0)), 'the device works on');
    },
  },
  {
    name: 'a device that is lost fails what waits for it and what comes after, until a new one is in its place',
    async run() {
      const gpu = await Gpu.open({ memoryBytes: 10_000 });
      const make = () => gpu.tensor({ label: 'numbers', dtype: 'f32', rows: 1, columns: 4 });
      const isLost = /^the GPU device was lost/;
      try {
        const old = make();
        const waiting = gpu.downloadFloats(old);
        gpu.device.destroy();
        await rejects(() => waiting, isLost);
        await rejects(() => gpu.downloadFloats(old), isLost);
        await rejects(() => gpu.record(), isLost);
        await rejects(() => gpu.idle(), isLost);
        await gpu.reopen(0.5);
        equal(gpu.workShare, 0.5, 'share');
        equal(gpu.allocatedBytes, 0, 'bytes');
        const tensor = make();
        gpu.free(old); // too late to count
        equal(gpu.allocatedBytes, 16, 'bytes');
        gpu.upload(tensor, Float32Array.of(1, 2, 3, 4));
        same([...await gpu.downloadFloats(tensor)], [1, 2, 3, 4], 'numbers');
        gpu.tensor({ label: 'too many', dtype: 'f32', rows: 1, columns: 4000 });
        await rejects(() => gpu.record(), /^the GPU reported: no memory for too many/);
        await gpu.reopen();
        same([gpu.allocatedBytes, gpu.workShare], [0, 0.5], 'again');
      } finally {
        gpu.dispose();
      }
      await rejects(() => gpu.reopen(), /disposed/);
    },
  },
  {
    name: 'an adapter that gives no device is named, with what it said',
    async run() {
      const { prototype } = GPUAdapter, { requestDevice } = prototype;
      prototype.requestDevice = () => Promise.reject(new Error('vkCreateDevice failed\n with VK_ERROR_OUT_OF_DEVICE_MEMORY'));
      try {
        await rejects(() => Gpu.open(), /gives no device: vkCreateDevice failed with VK_ERROR_OUT_OF_DEVICE_MEMORY$/);
      } finally {
        prototype.requestDevice = requestDevice;
      }
    },
  },
];
