/**
 * The training of one SAE: parameters, Adam's moments, firing counters, and one submission per step. Frames come
 * in as batches; where from is nobody's business here. The order within a step is SAELens' (SAETrainer.train_step):
 * dead latents from the counters, forward and backward, counters, clipping, Adam.
 */
import { CochleaError } from '../errors.ts';
import type { Gpu, Tensor } from '../gpu/index.ts';
import { adam, countFirings, listDead, recordFields, recordFloats, stepTotals } from '../kernels/index.ts';
import { type Compatibility, type TopkConfig, topkTraining, type TrainingForm, type Weights } from '../sae/index.ts';
import { adamEpsilon, maxGradientNorm, type TrainerConfig } from './config.ts';
import { learningRate } from './schedule.ts';

/** Steps whose records the GPU keeps before they must be read. */
const ring = 64;

/** Centring and scaling of the frames: the SAE trains on (x - mean) * scale. */
export interface InputTransform {
  mean: Float32Array;
  scale: number;
}

/** What one step showed, under SAELens' definitions (see `metricNames`). */
export interface StepMetrics {
  /** From 1. */
  step: number;
  learningRate: number;
  overallLoss: number;
  mseLoss: number;
  auxiliaryLoss: number;
  explainedVariance: number;
  explainedVarianceLegacy: number;
  l0: number;
  /** Dead latents at the start of the step. */
  dead: number;
  meanPassesSinceFired: number;
  gradientNorm: number;
}

/** Everything a run continues from. */
export interface TrainerState {
  step: number;
  /** Rows counted in `fired` and in `firedBefore`. */
  firedRows: number;
  firedRowsBefore: number;
  tensors: Map<string, Float32Array | Uint32Array>;
}

export interface TrainerOptions {
  gpu: Gpu;
  sae: TopkConfig;
  training: TrainerConfig;
  input?: InputTransform;
  compatibility?: Compatibility;
  /** Starts from these instead of a random initialisation. */
  weights?: Weights;
}

export class Trainer {
  readonly config: TrainerConfig;
  readonly sae: TopkConfig;
  readonly input: InputTransform;
  readonly form: TrainingForm;
  readonly #gpu: Gpu;
  readonly #moments: { m: Tensor; v: Tensor }[];
  readonly #tensors: Record<'frames' | 'centre' | 'dead' | 'flags' | 'record' | 'clip' | 'since' | 'fired' | 'firedBefore', Tensor>;
  #step = 0;
  #firedRows = 0;
  #firedRowsBefore = 0;
  #read = 0;

  private constructor(options: TrainerOptions) {
    const { gpu, sae, training } = options;
    this.#gpu = gpu;
    this.sae = sae;
    this.config = training;
    this.input = options.input ?? { mean: new Float32Array(sae.d_in), scale: 1 };
    const batch = training.train_batch_size_samples;
    const vector = (label: string, columns: number, dtype: 'f32' | 'u32'): Tensor => gpu.tensor({ label, dtype, rows: 1, columns });
    this.#tensors = {
      frames: gpu.tensor({ label: 'frames', dtype: 'f32', rows: batch, columns: sae.d_in }),
      centre: vector('centre', sae.d_in, 'f32'),
      dead: vector('dead latents', sae.d_sae + 1, 'u32'),
      flags: vector('flags', 1, 'u32'),
      record: gpu.tensor({ label: 'step records', dtype: 'f32', rows: ring, columns: recordFloats }),
      clip: vector('clip', 1, 'f32'),
      since: vector('steps since fired', sae.d_sae, 'u32'),
      fired: vector('firings', sae.d_sae, 'u32'),
      firedBefore: vector('firings of the last window', sae.d_sae, 'u32'),
    };
    this.form = topkTraining(gpu, sae, batch, this.#tensors, this.#tensors, options.compatibility ?? 'corrected');
    this.#moments = this.form.parameters.map(({ name, value }) => {
      const like = (label: string): Tensor => gpu.tensor({
        label: `${label} ${name}`, dtype: 'f32', rows: value.rows, columns: value.columns, shardRows: value.shards[0]!.rows,
      });
      return { m: like('m'), v: like('v') };
    });
  }

  /** Allocates everything, so that what does not fit is refused before the first step, and initialises the parameters. */
  static async create(options: TrainerOptions): Promise<Trainer> {
    const { gpu, sae, training, weights } = options;
    const trainer = await gpu.allocate(`training ${sae.d_sae} latents of d_in ${sae.d_in} with batches of ${training.train_batch_size_samples}`, () => new Trainer(options));
    gpu.upload(trainer.#tensors.centre, trainer.input.mean);
    if (weights) {
      for (const { name, value } of trainer.form.parameters) gpu.upload(value, weights[name as keyof Weights]!);
    } else {
      const rec = gpu.record();
      trainer.form.initialise(rec, training.seed);
      rec.submit();
    }
    return trainer;
  }

  /** Steps done. */
  get step(): number {
    return this.#step;
  }

  /** Steps done whose metrics have not been read. The GPU keeps 64. */
  get unread(): number {
    return this.#step - this.#read;
  }

  /** Records and submits one step on a batch x [rows, d_in] of at most train_batch_size_samples rows; does not wait for it. */
  train(x: Float32Array): void {
    const rows = x.length / this.sae.d_in;
    if (!Number.isInteger(rows) || rows < 1 || rows > this.config.train_batch_size_samples) {
      throw new CochleaError('config', `a batch of ${x.length} numbers is not 1 to ${this.config.train_batch_size_samples} rows of d_in ${this.sae.d_in}`);
    }
    if (this.unread >= ring) throw new CochleaError('config', `${ring} steps were trained without reading their metrics`, 'call metrics() in between');
    const { since, fired, firedBefore, dead, record, clip, flags, frames } = this.#tensors;
    const { results, parameters } = this.form;
    const t = this.#step;
    const slot = t % ring;
    this.#gpu.upload(frames, x);
    const rec = this.#gpu.record();
    if ((t + 1) % this.config.feature_sampling_window === 0) {
      rec.copy(fired.buffer, firedBefore.buffer, fired.buffer.size);
      rec.clear(fired);
      this.#firedRowsBefore = this.#firedRows;
      this.#firedRows = 0;
    }
    // since grows by one a step from zero, so nothing is dead before step window + 1.
    this.form.record(rec, { rows, scale: this.input.scale, mayBeDead: t > this.config.dead_feature_window });
    stepTotals(rec, { ...results, dead, flags, record, clip }, { rows, latents: this.sae.d_sae, slot, maxNorm: maxGradientNorm });
    const adamOptions = {
      learningRate: learningRate(t, this.config), beta1: this.config.adam_beta1, beta2: this.config.adam_beta2, epsilon: adamEpsilon, time: t + 1,
    };
    parameters.forEach(({ value, gradient }, n) => adam(rec, { parameter: value, grad: gradient, ...this.#moments[n]!, clip }, adamOptions));
    countFirings(rec, { counts: results.counts, since, fired });
    listDead(rec, { since, list: dead, record }, this.config.dead_feature_window, slot);
    rec.submit();
    this.#rowsOf[slot] = rows;
    this.#firedRows += this.config.train_batch_size_samples;
    this.#step = t + 1;
  }

  readonly #rowsOf = new Uint32Array(ring);

  /**
   * The metrics of all steps that were not read yet. The steps they cover are fixed when the call is made; awaiting it later lets the GPU
   * work on meanwhile. Throws `not-finite` when a step went wrong, naming it.
   */
  async metrics(): Promise<StepMetrics[]> {
    const from = this.#read, to = this.#step;
    this.#read = to;
    const rows = this.#rowsOf.slice();
    const records = await this.#gpu.downloadFloats(this.#tensors.record);
    const metrics: StepMetrics[] = [];
    for (let t = from; t < to; t++) metrics.push(this.#metricsOf(t, records.subarray((t % ring) * recordFloats), rows[t % ring]!));
    return metrics;
  }

  #metricsOf(t: number, record: Float32Array, rows: number): StepMetrics {
    const field = (name: (typeof recordFields)[number]): number => record[recordFields.indexOf(name)]!;
    const mseLoss = field('squaredError') / rows, auxiliaryLoss = field('auxiliary') / rows;
    const overallLoss = mseLoss + auxiliaryLoss;
    if (field('flags') !== 0 || !Number.isFinite(overallLoss) || !Number.isFinite(field('gradientNorm'))) {
      throw new CochleaError('not-finite', `step ${t + 1}: the loss, a gradient or a pre-activation is NaN or infinite`, 'lower the learning rate or check the frames');
    }
    return {
      step: t + 1, learningRate: learningRate(t, this.config), overallLoss, mseLoss, auxiliaryLoss,
      explainedVariance: 1 - field('squaredError') / field('spread'),
      explainedVarianceLegacy: 1 - field('ratios') / rows,
      l0: field('active') / rows, dead: field('dead'), meanPassesSinceFired: field('silence') / this.sae.d_sae, gradientNorm: field('gradientNorm'),
    };
  }

  /** The parameters as they are, before any folding. */
  async weights(): Promise<Weights> {
    const found: Record<string, Float32Array> = {};
    for (const { name, value } of this.form.parameters) found[name] = await this.#gpu.downloadFloats(value);
    return found as unknown as Weights;
  }

  /** Firings per latent over the last one to two sampling windows, and the rows in which they were counted. */
  async firings(): Promise<{ counts: Float64Array; rows: number }> {
    const now = await this.#gpu.downloadIntegers(this.#tensors.fired);
    const before = await this.#gpu.downloadIntegers(this.#tensors.firedBefore);
    return { counts: Float64Array.from(now, (count, i) => count + before[i]!), rows: this.#firedRows + this.#firedRowsBefore };
  }

  #stateTensors(): [string, Tensor][] {
    const { since, fired, firedBefore } = this.#tensors;
    return [
      ...this.form.parameters.flatMap(({ name, value }, n): [string, Tensor][] => [[name, value], [`m.${name}`, this.#moments[n]!.m], [`v.${name}`, this.#moments[n]!.v]]),
      ['since', since], ['fired', fired], ['fired_before', firedBefore],
    ];
  }

  /** Everything that training goes on from, after all steps so far. */
  async state(): Promise<TrainerState> {
    const tensors = new Map<string, Float32Array | Uint32Array>();
    for (const [name, tensor] of this.#stateTensors()) tensors.set(name, await this.#gpu.download(tensor));
    return { step: this.#step, firedRows: this.#firedRows, firedRowsBefore: this.#firedRowsBefore, tensors };
  }

  /** Goes on from a state of a trainer with the same configuration, bit for bit. */
  restore(state: TrainerState): void {
    for (const [name, tensor] of this.#stateTensors()) {
      const data = state.tensors.get(name);
      if (data?.length !== tensor.rows * tensor.columns) throw new CochleaError('file-damaged', `the checkpoint's ${name} does not have ${tensor.rows * tensor.columns} numbers`);
      this.#gpu.upload(tensor, data);
    }
    this.#step = this.#read = state.step;
    this.#firedRows = state.firedRows;
    this.#firedRowsBefore = state.firedRowsBefore;
    const { since, dead, record } = this.#tensors;
    const rec = this.#gpu.record();
    listDead(rec, { since, list: dead, record }, this.config.dead_feature_window, ring - 1);
    rec.submit();
  }

  dispose(): void {
    this.form.dispose();
    for (const { m, v } of this.#moments) [m, v].forEach((tensor) => this.#gpu.free(tensor));
    for (const tensor of Object.values(this.#tensors)) this.#gpu.free(tensor);
  }
}
