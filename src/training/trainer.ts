/**
 * The training of one SAE: parameters, Adam's moments, firing counters, and one submission per step. Frames come
 * in as batches; where from is nobody's business here. The order within a step is SAELens' (SAETrainer.train_step):
 * dead latents from the counters, forward and backward, counters, clipping, Adam.
 */
import { CochleaError } from '../errors.ts';
import type { Gpu, Recorder, Tensor } from '../gpu/index.ts';
import { adam, countFirings, type EncodeVariant, halfVariants, listDead, projectRows, recordFields, recordFloats, rowNorms, scaleRows, stepTotals } from '../kernels/index.ts';
import { architectureOf, type BaseConfig, type Compatibility, type InputTransform, type Parameter, type StepInputs, type TrainingForm, type Weights } from '../sae/index.ts';
import { adamEpsilon, maxGradientNorm, type TrainerConfig } from './config.ts';
import type { MemoryUse, PlannedTensor } from './memory-plan.ts';
import { resample } from './resample.ts';
import { coefficientAt, learningRate } from './schedule.ts';
import { initialBias } from './seen-frames.ts';
import { recordField, stepMetrics, type StepMetrics } from './step-metrics.ts';
import { StreamInputs, type StreamShape, type TrainingBatch } from './stream-inputs.ts';

/** Steps whose records the GPU keeps before they must be read. */
const ring = 64;

/** Everything a run continues from. */
export interface TrainerState {
  step: number;
  /** Rows counted in `fired` and in `firedBefore`. */
  firedRows: number;
  firedRowsBefore: number;
  topkThreshold: number;
  /** Steps that moved it. */
  topkThresholdSteps: number;
  tensors: Map<string, Float32Array | Uint32Array>;
}

export interface TrainerOptions {
  gpu: Gpu;
  sae: BaseConfig;
  training: TrainerConfig;
  input?: InputTransform;
  compatibility?: Compatibility;
  /** Starts from these instead of a random initialisation, b_dec included. */
  weights?: Weights;
  /** Batches that other trainers work on too; without it the trainer has its own. Left alone by dispose(). */
  stream?: StreamInputs;
}

/** What a stream must have for SAEs that are to train on it together, all of them with frames of one d_in. */
export function streamShape(saes: readonly BaseConfig[], batch: number): StreamShape {
  const withTargets = saes.find(({ architecture }) => architectureOf(architecture).needs === 'targets');
  return {
    dIn: saes[0]!.d_in, batch, dOut: withTargets && outputWidth(withTargets), previous: saes.some(({ architecture }) => architectureOf(architecture).needs === 'previous'),
  };
}

export class Trainer {
  readonly config: TrainerConfig;
  readonly sae: BaseConfig;
  readonly input: InputTransform;
  readonly form: TrainingForm;
  readonly #gpu: Gpu;
  readonly #moments: { m: Tensor; v: Tensor }[];
  readonly #stream: StreamInputs;
  readonly #ownsStream: boolean;
  readonly #inputs: StepInputs;
  readonly #coefficients: Record<string, { final: number; warmUpSteps: number }>;
  readonly #tensors: Record<'dead' | 'flags' | 'record' | 'clip' | 'since' | 'fired' | 'firedBefore' | 'norms', Tensor>;
  /** Kept at length 1, where the configuration says so. */
  readonly #constrained: Parameter | undefined;
  /** Whether b_dec is still to be set, by the first batch. */
  #biasIsOpen: boolean;
  readonly #rowsOf = new Uint32Array(ring);
  #step = 0;
  #firedRows = 0;
  #firedRowsBefore = 0;
  #read = 0;
  /** Settles when all metrics that were asked for are there. */
  #reading: Promise<void> = Promise.resolve();
  #threshold = 0;
  /** Steps that moved it. */
  #thresholdSteps = 0;
  readonly #corrects: boolean;

  private constructor(options: TrainerOptions) {
    const { gpu, sae, training } = options;
    this.#gpu = gpu;
    this.sae = sae;
    this.config = training;
    this.#corrects = options.compatibility !== 'saelens-6.18';
    this.input = options.input ?? { mean: new Float32Array(sae.d_in), scale: 1 };
    const batch = training.train_batch_size_samples;
    const architecture = architectureOf(sae.architecture);
    if (!architecture.train) throw new CochleaError('config', `architecture ${sae.architecture} cannot be trained, only run`);
    if (training.unit_norm_decoder && sae.decoder_init_norm !== 1) throw new CochleaError('config', `decoder_init_norm is ${sae.decoder_init_norm}`, 'it must be 1 with unit_norm_decoder');
    const vector = (label: string, columns: number, dtype: 'f32' | 'u32'): Tensor => gpu.tensor({ label, dtype, rows: 1, columns });
    this.#ownsStream = options.stream === undefined;
    this.#stream = options.stream ?? new StreamInputs(gpu, streamShape([sae], batch));
    this.#inputs = inputsOf(this.#stream, sae, vector);
    this.#tensors = {
      dead: vector('dead latents', sae.d_sae + 1, 'u32'),
      flags: vector('flags', 1, 'u32'),
      record: gpu.tensor({ label: 'step records', dtype: 'f32', rows: ring, columns: recordFloats }),
      clip: vector('clip', 1, 'f32'),
      since: vector('steps since fired', sae.d_sae, 'u32'),
      fired: vector('firings', sae.d_sae, 'u32'),
      firedBefore: vector('firings of the last window', sae.d_sae, 'u32'),
      norms: vector('row norms', sae.d_sae, 'f32'),
    };
    this.#coefficients = architecture.coefficients?.(sae) ?? {};
    this.form = architecture.train({ gpu, config: sae, batch, inputs: this.#inputs, state: this.#tensors, compatibility: options.compatibility ?? 'corrected' });
    this.#constrained = training.unit_norm_decoder ? this.form.parameters.find(({ name }) => name === 'W_dec') : undefined;
    this.#biasIsOpen = training.b_dec_init_method !== 'zeros' && !options.weights;
    this.#moments = this.form.parameters.map(({ name, value }) => {
      const like = (label: string): Tensor => gpu.tensor({
        label: `${label} ${name}`, dtype: 'f32', rows: value.rows, columns: value.columns, shardRows: value.shards[0]!.rows,
      });
      return { m: like('m'), v: like('v') };
    });
  }

  /** The tensors that create() would allocate, and what each is for. Allocates nothing; the stream is one of a plan, too. */
  static plan(options: TrainerOptions & { stream: StreamInputs }): PlannedTensor[] {
    const { built, tensors } = options.gpu.plan(() => new Trainer(options));
    const { parameters } = built.form;
    const uses = new Map<Tensor, MemoryUse>([
      ...parameters.map(({ gradient }) => [gradient, 'gradients'] as const), ...parameters.map(({ value }) => [value, 'parameters'] as const),
      ...built.#moments.flatMap(({ m, v }) => [[m, 'moments'], [v, 'moments']] as const),
    ]);
    return tensors.map((tensor) => ({ tensor, use: uses.get(tensor) ?? 'activations' }));
  }

  /** Allocates everything, so that what does not fit is refused before the first step, and initialises the parameters. */
  static async create(options: TrainerOptions): Promise<Trainer> {
    const { gpu, sae, training, weights } = options;
    const trainer = await gpu.allocate(`training ${sae.d_sae} latents of d_in ${sae.d_in} with batches of ${training.train_batch_size_samples}`, () => new Trainer(options));
    const { centre, targetCentre } = trainer.#inputs;
    gpu.upload(centre, trainer.input.mean);
    if (targetCentre && trainer.input.target) gpu.upload(targetCentre, trainer.input.target.mean);
    if (weights) {
      for (const { name, value } of trainer.form.parameters) gpu.upload(value, weights[name]!);
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

  /** Records and submits one step on a batch of at most train_batch_size_samples rows; does not wait for it. */
  train(batch: TrainingBatch): void {
    this.#stream.upload(batch);
    this.trainUploaded(batch);
  }

  /** The same for a batch that has been uploaded to the stream that the trainer was given. */
  trainUploaded(batch: TrainingBatch): void {
    if (this.unread >= ring) throw new CochleaError('config', `${ring} steps were trained without reading their metrics`, 'call metrics() in between');
    if (this.#biasIsOpen) this.#initialiseBias(batch);
    const { since, fired, firedBefore, dead, record, flags, clip } = this.#tensors;
    const { results } = this.form;
    const t = this.#step, rows = batch.x.length / this.sae.d_in, slot = t % ring;
    const rec = this.#gpu.record();
    if ((t + 1) % this.config.feature_sampling_window === 0) {
      rec.copy(fired.buffer, firedBefore.buffer, fired.buffer.size);
      rec.clear(fired);
      this.#firedRowsBefore = this.#firedRows;
      this.#firedRows = 0;
    }
    // since grows by one a step from zero, so nothing is dead before step window + 1.
    this.form.record(rec, {
      rows, scale: this.input.scale, targetScale: this.input.target?.scale ?? 1, mayBeDead: t > this.config.dead_feature_window, time: t, coefficients: this.#coefficientsAt(t),
    });
    const { stats, losses, lossRows, squares, gradBDec, smallest } = results;
    if (this.#constrained) projectRows(rec, { W: this.#constrained.value, gradient: this.#constrained.gradient, squares: squares.tensor }, squares.first);
    stepTotals(rec, { stats, lossRows, squares: squares.tensor, gradBDec, dead, flags, record, clip },
      { rows, losses: losses.length, firstSquare: squares.first, squareCount: squares.count, slot, maxNorm: maxGradientNorm });
    if (smallest) rec.copy(smallest.buffer, record.buffer, 4, 0, 4 * (slot * recordFloats + recordFields.indexOf('smallest')));
    this.#update(rec, t);
    countFirings(rec, { counts: results.counts, since, fired });
    listDead(rec, { since, list: dead, record }, this.config.dead_feature_window, slot);
    rec.submit();
    this.#rowsOf[slot] = rows;
    this.#firedRows += this.config.train_batch_size_samples;
    this.#step = t + 1;
  }

  /** Adam on all parameters. */
  #update(rec: Recorder, t: number): void {
    const { clip, norms } = this.#tensors;
    const { adam_beta1: beta1, adam_beta2: beta2 } = this.config;
    const options = { learningRate: learningRate(t, this.config), beta1, beta2, epsilon: adamEpsilon, time: t + 1 };
    this.form.parameters.forEach(({ value, gradient }, n) => adam(rec, { parameter: value, grad: gradient, ...this.#moments[n]!, clip }, options));
    if (!this.#constrained) return;
    const W = this.#constrained.value;
    rowNorms(rec, { W, norms });
    scaleRows(rec, { W, norms }, 1);
  }

  /** b_dec_init_method, from the first batch. */
  #initialiseBias(batch: TrainingBatch): void {
    this.#biasIsOpen = false;
    const { value } = this.form.parameters.find(({ name }) => name === 'b_dec')!;
    this.#gpu.upload(value, initialBias(this.config.b_dec_init_method, this.sae, this.input, batch));
  }

  /** Whether `resample` is to be called before the next step. */
  get resamplingIsDue(): boolean {
    return this.config.resample_steps.includes(this.#step);
  }

  /** Lets dead latents begin anew, by the batch of the step just done (see resample.ts). Returns how many. */
  async resample(batch: TrainingBatch): Promise<number> {
    const { sae, config, input, form } = this;
    const count = await resample({ gpu: this.#gpu, sae, config, input, form, moments: this.#moments, since: this.#tensors.since }, batch, this.#step);
    if (count > 0) this.#listDead((this.#step - 1) % ring);
    return count;
  }

  /**
   * The metrics of all steps that were not read yet. The steps they cover are fixed when the call is made; awaiting it later lets the GPU
   * work on meanwhile. Throws `not-finite` when a step went wrong, naming it.
   */
  metrics(): Promise<StepMetrics[]> {
    const from = this.#read, to = this.#step;
    this.#read = to;
    const rows = this.#rowsOf.slice();
    // Downloads that are made side by side may end in any order; the running threshold wants the steps in theirs.
    const reading = Promise.all([this.#gpu.downloadFloats(this.#tensors.record), this.#reading]).then(([numbers]) => {
      const metrics: StepMetrics[] = [];
      for (let t = from; t < to; t++) metrics.push(this.#metricsOf(t, numbers.subarray((t % ring) * recordFloats), rows[t % ring]!));
      return metrics;
    });
    this.#reading = reading.then(() => {}, () => {}); // an error is told to whoever asked
    return reading;
  }

  #coefficientsAt(t: number): Record<string, number> {
    return Object.fromEntries(Object.entries(this.#coefficients).map(([name, { final, warmUpSteps }]) => [name, coefficientAt(t, final, warmUpSteps)]));
  }

  #metricsOf(t: number, record: Float32Array, rows: number): StepMetrics {
    const { losses, smallest } = this.form.results;
    const metrics = stepMetrics(record, losses, rows, this.sae.d_sae, { step: t + 1, learningRate: learningRate(t, this.config), coefficients: this.#coefficientsAt(t) },
      [...this.#gpu.variants.values()].some((variant) => halfVariants.has(variant as EncodeVariant)));
    if (!smallest) return metrics;
    const least = recordField(record, 'smallest');
    if (least < Infinity) {
      this.#threshold = (1 - this.#thresholdRate) * this.#threshold + this.#thresholdRate * least;
      this.#thresholdSteps++;
    }
    return { ...metrics, topkThreshold: this.#threshold };
  }

  /** BatchTopK's running threshold over all steps whose metrics have been read: T <- (1 - rate) T + rate min{f : f > 0}, in float64. */
  get threshold(): number {
    return this.#threshold;
  }

  get #thresholdRate(): number {
    return Number((this.sae as BaseConfig & { topk_threshold_lr?: number }).topk_threshold_lr);
  }

  /**
   * The threshold that a saved SAE gets. T begins at zero, so that after n steps it is the average's value times 1 - (1 - rate)^n: 63 % after 100 steps at
   * SAELens' rate of 0.01, and the saved SAE too dense. Divided by that here, as Adam does with its moments; with 6.18's behaviour as it is.
   */
  get savedThreshold(): number {
    if (!this.#corrects || this.#thresholdSteps === 0) return this.#threshold;
    return this.#threshold / (1 - (1 - this.#thresholdRate) ** this.#thresholdSteps);
  }

  /** The parameters as they are, before any folding. */
  async weights(): Promise<Weights> {
    const found: Partial<Weights> = {};
    for (const { name, value } of this.form.parameters) found[name] = await this.#gpu.downloadFloats(value);
    return found as Weights;
  }

  /** Firings per latent over the last one to two sampling windows, and the rows in which they were counted. */
  async firings(): Promise<{ counts: Float64Array; rows: number }> {
    const now = await this.#gpu.downloadIntegers(this.#tensors.fired);
    const before = await this.#gpu.downloadIntegers(this.#tensors.firedBefore);
    return { counts: Float64Array.from(now, (count, i) => count + before[i]!), rows: this.#firedRows + this.#firedRowsBefore };
  }

  /** The tensors that training goes on from, by the names that checkpoints give them: parameters, moments, counters. */
  stateTensors(): [string, Tensor][] {
    const { since, fired, firedBefore } = this.#tensors;
    return [
      ...this.form.parameters.flatMap(({ name, value }, n): [string, Tensor][] => [[name, value], [`m.${name}`, this.#moments[n]!.m], [`v.${name}`, this.#moments[n]!.v]]),
      ['since', since], ['fired', fired], ['fired_before', firedBefore],
    ];
  }

  /** Everything that training goes on from, after all steps so far. The metrics of all of them must have been read. */
  async state(): Promise<TrainerState> {
    if (this.unread > 0 && this.form.results.smallest) throw new CochleaError('config', `the metrics of ${this.unread} steps have not been read`, 'call metrics() before state()');
    const tensors = new Map<string, Float32Array | Uint32Array>();
    for (const [name, tensor] of this.stateTensors()) tensors.set(name, await this.#gpu.download(tensor));
    return { step: this.#step, firedRows: this.#firedRows, firedRowsBefore: this.#firedRowsBefore, topkThreshold: this.#threshold, topkThresholdSteps: this.#thresholdSteps, tensors };
  }

  /** Goes on from a state of a trainer with the same configuration, bit for bit. */
  restore(state: TrainerState): void {
    for (const [name, tensor] of this.stateTensors()) {
      const data = state.tensors.get(name);
      if (data?.length !== tensor.rows * tensor.columns) throw new CochleaError('file-damaged', `the checkpoint's ${name} does not have ${tensor.rows * tensor.columns} numbers`);
      this.#gpu.upload(tensor, data);
    }
    this.#step = this.#read = state.step;
    this.#firedRows = state.firedRows;
    this.#firedRowsBefore = state.firedRowsBefore;
    this.#threshold = state.topkThreshold;
    this.#thresholdSteps = state.topkThresholdSteps;
    this.#biasIsOpen = false;
    this.#listDead(ring - 1);
  }

  /** Brings the list of dead latents up to date with the counters; the silence that is summed on the way goes to a slot of the record. */
  #listDead(slot: number): void {
    const { since, dead, record } = this.#tensors;
    const rec = this.#gpu.record();
    listDead(rec, { since, list: dead, record }, this.config.dead_feature_window, slot);
    rec.submit();
  }

  dispose(): void {
    this.form.dispose();
    for (const { m, v } of this.#moments) [m, v].forEach((tensor) => this.#gpu.free(tensor));
    const { centre, targetCentre } = this.#inputs;
    for (const tensor of [...Object.values(this.#tensors), centre, targetCentre]) if (tensor) this.#gpu.free(tensor);
    if (this.#ownsStream) this.#stream.dispose();
  }
}

/** The stream's part of what an architecture reads, and the SAE's own. Throws `config` where the stream lacks what the architecture needs. */
function inputsOf(stream: StreamInputs, sae: BaseConfig, vector: (label: string, columns: number, dtype: 'f32') => Tensor): StepInputs {
  const { frames, targets, previous } = stream;
  const { needs } = architectureOf(sae.architecture);
  const dOut = outputWidth(sae);
  const fits = frames.columns === sae.d_in && (needs !== 'targets' || targets?.columns === dOut) && (needs !== 'previous' || previous);
  if (!fits) throw new CochleaError('config', `the stream has not what ${sae.architecture} needs: frames of ${sae.d_in} numbers${needs ? ` and ${needs === 'targets' ? `targets of ${dOut}` : 'the frames before them'}` : ''}`);
  const inputs: StepInputs = { frames, centre: vector('centre', sae.d_in, 'f32') };
  if (needs === 'previous') inputs.previous = previous!;
  if (needs === 'targets') Object.assign(inputs, { targets, targetCentre: vector('target centre', dOut, 'f32') });
  return inputs;
}

/** Numbers in a target: a transcoder's d_out. */
function outputWidth(sae: BaseConfig): number {
  return (sae as BaseConfig & { d_out?: number }).d_out ?? sae.d_in;
}
