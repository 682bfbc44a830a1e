/** Steps of training, on frames that are made up or given. */
import type { FrameSource } from '../activations/index.ts';
import { CochleaError } from '../errors.ts';
import type { Gpu } from '../gpu/index.ts';
import { RandomStream } from '../random.ts';
import { runtime } from '../runtime/index.ts';
import { architectureOf, type BaseConfig, SAE, saeConfig } from '../sae/index.ts';
import { type SaeOptions, type StepMetrics, Trainer, type TrainingBatch } from '../training/index.ts';
import type { Work } from './measure.ts';

/** Of the frames that profiles make up; no other part of the program draws from it. */
const frameStream = 1900;

/** Different batches; steps take them in turn. */
const batches = 4;

/** Steps between reads of the metrics, as in a run. */
const metricsWindow = 8;

/** Frames [rows, columns] of normal deviates around a mean that is not zero. */
function syntheticFrames(seed: number, stream: number, rows: number, columns: number): Float32Array {
  const random = new RandomStream(seed, frameStream, stream);
  // Drawing is slower than a step of a large SAE: a prime number of deviates over and over gives rows that differ all the same.
  const drawn = Float32Array.from({ length: Math.min(rows * columns, 1_000_003) }, () => 0.5 + random.normal());
  return Float32Array.from({ length: rows * columns }, (_, n) => drawn[n % drawn.length]!);
}

/** What the steps of a run train on: made up, or the first frames of a source. */
async function batchesFor(sae: BaseConfig, rows: number, seed: number, source: FrameSource | undefined): Promise<TrainingBatch[]> {
  const { needs } = architectureOf(sae.architecture);
  const dOut = needs === 'targets' ? (sae as BaseConfig & { d_out?: number }).d_out ?? sae.d_in : undefined;
  const given = source && await framesOf(source, rows * batches, dOut !== undefined);
  return Array.from({ length: batches }, (_, n): TrainingBatch => {
    const part = (all: Float32Array, columns: number): Float32Array => all.slice(n * rows * columns, (n + 1) * rows * columns);
    const x = given ? part(given.x, sae.d_in) : syntheticFrames(seed, 3 * n, rows, sae.d_in);
    return {
      x,
      ...(dOut === undefined ? {} : { target: given ? part(given.target!, dOut) : syntheticFrames(seed, 3 * n + 1, rows, dOut) }),
      ...(needs === 'previous' ? { previous: x.map((value, at) => x[at - sae.d_in] ?? value) } : {}),
    };
  });
}

/** The first frames of a source in stored order, over again where it has fewer. */
async function framesOf(source: FrameSource, rows: number, targets: boolean): Promise<{ x: Float32Array; target: Float32Array | undefined }> {
  const { dIn, dOut } = source;
  const x = new Float32Array(rows * dIn), target = targets && dOut !== undefined ? new Float32Array(rows * dOut) : undefined;
  let have = 0;
  for await (const chunk of source.chunks({ seed: 0, epoch: undefined, from: 0 })) {
    const take = Math.min(chunk.rows, rows - have);
    x.set(chunk.x.subarray(0, take * dIn), have * dIn);
    if (target) target.set(chunk.target!.subarray(0, take * dOut!), have * dOut!);
    have += take;
    if (have === rows) break;
  }
  if (have === 0) throw new CochleaError('config', 'the source has no frames');
  for (let row = have; row < rows; row++) {
    x.copyWithin(row * dIn, (row - have) * dIn, (row - have + 1) * dIn);
    target?.copyWithin(row * dOut!, (row - have) * dOut!, (row - have + 1) * dOut!);
  }
  return { x, target };
}

/** Training as `trainRun` does it, without files. Synthetic frames without `source`; a transcoder's targets are then as wide as they. */
export async function trainingWork(gpu: Gpu, { sae: asked, training, compatibility }: Omit<SaeOptions, 'centre'>, source?: FrameSource): Promise<Work> {
  const sae = architectureOf(asked.architecture).needs === 'targets' ? saeConfig({ ...asked, d_out: source?.dOut ?? asked.d_in } as BaseConfig) : asked;
  const rows = training.train_batch_size_samples;
  const data = await batchesFor(sae, rows, training.seed, source);
  const { d_in, d_sae, architecture } = sae;
  // Larger ones take too long to read back: their metrics, which hang on every bit, must do.
  const comparesState = 12 * 2 * d_in * d_sae < 2 ** 30;
  const { k } = sae as BaseConfig & { k?: number };
  return {
    kind: 'training', rows, compared: comparesState ? 'state' : 'metrics',
    configuration: { architecture, d_in, d_sae, ...(k === undefined ? {} : { k }), batch_size: rows, frames: source ? 'given' : 'synthetic', compatibility: compatibility ?? 'corrected' },
    async begin() {
      const trainer = await Trainer.create({ gpu, sae, training, ...(compatibility ? { compatibility } : {}) });
      const metrics: StepMetrics[] = [];
      let pending: Promise<StepMetrics[]> = Promise.resolve([]);
      const settle = async (): Promise<void> => void metrics.push(...await pending);
      return {
        async step(n) {
          trainer.train(data[n % data.length]!);
          if (trainer.unread < metricsWindow) return;
          await settle();
          pending = trainer.metrics();
          pending.catch(() => {}); // awaited a window later
        },
        async fingerprint() {
          await settle();
          pending = trainer.metrics();
          await settle();
          pending = Promise.resolve([]);
          const hash = runtime.sha256();
          hash.update(new TextEncoder().encode(JSON.stringify(metrics)));
          if (!comparesState) return hash.hex();
          const { tensors, ...counts } = await trainer.state();
          hash.update(new TextEncoder().encode(JSON.stringify(counts)));
          for (const [name, { buffer, byteOffset, byteLength }] of tensors) {
            hash.update(new TextEncoder().encode(name));
            hash.update(new Uint8Array(buffer, byteOffset, byteLength));
          }
          return hash.hex();
        },
        values: () => metrics.map(({ step, overallLoss, l0, dead }) => ({ step: step - 1, values: { loss: overallLoss, l0, 'dead latents': dead } })),
        dispose: () => trainer.dispose(),
      };
    },
  };
}

/** Encoding by a saved SAE: activations and reconstructions of `rows` frames a step, read back as the library gives them. */
export async function encodeWork(gpu: Gpu, folder: string, rows: number): Promise<Work> {
  const probe = await SAE.load(gpu, folder);
  const { dIn, dSae, config: { architecture } } = probe;
  probe.dispose();
  const x = syntheticFrames(42, 0, rows, dIn);
  return {
    kind: 'encode', rows, compared: 'outputs',
    configuration: { architecture, d_in: dIn, d_sae: dSae, batch_size: rows, frames: 'synthetic' },
    async begin() {
      const sae = await SAE.load(gpu, folder);
      const hash = runtime.sha256();
      return {
        async step() {
          const { recon, acts: { offsets, indices, values } } = await sae.run(x);
          for (const { buffer, byteOffset, byteLength } of [recon, offsets, indices, values]) hash.update(new Uint8Array(buffer, byteOffset, byteLength));
        },
        fingerprint: async () => hash.hex(),
        dispose: () => sae.dispose(),
      };
    },
  };
}
