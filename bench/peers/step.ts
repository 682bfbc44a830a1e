/**
 * Training steps side by side. jax-js trains what cochlea's architecture `standard` trains, written as its users would write it, in one jitted function with
 * automatic differentiation:
 *
 *   f = relu((x - b_dec) W_enc + b_enc),  out = f W_dec + b_dec
 *   loss = mean_b (|out - x|^2 + c sum_i f_i |W_dec_i|),  c = 1
 *   all gradients scaled to a norm of at most 1, then Adam (0.9, 0.999, 1e-8) on every parameter
 *
 * From the same weights on the same batch both must show the same losses. A TopK step by jax-js would sort every row on top of this; cochlea's stands beside it.
 */
import { CochleaError } from '../../src/errors.ts';
import { standard } from '../../src/sae/architectures/standard.ts';
import { type BaseConfig, configOf, topkConfig, transpose, type Weights } from '../../src/sae/index.ts';
import { adamEpsilon, maxGradientNorm } from '../../src/training/config.ts';
import { Trainer, trainerConfig } from '../../src/training/index.ts';
import { inTurns, noise, type Timing } from '../timing.ts';
import type { Engines } from './engines.ts';
import type { StepShape } from './options.ts';
import type { JaxArray } from './peer-types.ts';

export const stepNames = ['cochleaTopk', 'cochleaStandard', 'jaxjsStandard'] as const;
export type StepName = (typeof stepNames)[number];

export interface StepResult extends StepShape, Record<StepName, number> {
  /** Rows of the batch that was measured. */
  rows: number;
  /** Steps in a run. */
  repeats: number;
  /** Speed over jax-js' step: of the same mathematics, and of the TopK step. */
  ratio: Record<'wall' | 'cpu', { standard: number; topk: number } | null>;
  /** The first losses of the standard step by both, which must agree. */
  losses: { cochlea: number[]; jaxjs: number[] };
  timing: Record<StepName, Timing>;
}

type Parameters = Record<'W_enc' | 'b_enc' | 'W_dec' | 'b_dec', JaxArray>;
interface State {
  parameters: Parameters;
  m: Parameters;
  v: Parameters;
}

interface Stepper {
  /** So many steps; the loss of the last, as before its update. */
  train(steps: number): Promise<number>;
  dispose(): void;
}

const coefficient = 1;

const trainingOf = (batch: number) => trainerConfig({ train_batch_size_samples: batch, total_training_samples: batch * 100_000 });

/** Decoder rows of length 0.1 in random directions, the encoder their transpose, biases zero: as cochlea and SAELens begin. */
function initialWeights({ dIn, dSae }: StepShape): Required<Pick<Weights, 'W_enc' | 'b_enc' | 'W_dec' | 'b_dec'>> {
  const W_dec = noise(dSae * dIn, 3);
  for (let row = 0; row < dSae; row++) {
    const values = W_dec.subarray(row * dIn, (row + 1) * dIn);
    const scale = 0.1 / Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    values.forEach((value, n) => values[n] = value * scale);
  }
  return { W_dec, W_enc: W_dec.slice(), b_enc: new Float32Array(dSae), b_dec: new Float32Array(dIn) };
}

async function cochleaStepper({ gpu }: Engines, sae: BaseConfig, x: Float32Array, weights: Weights): Promise<Stepper> {
  const trainer = await Trainer.create({ gpu, sae, training: trainingOf(x.length / sae.d_in), weights });
  return {
    async train(steps) {
      for (let n = 0; n < steps; n++) trainer.train({ x });
      return (await trainer.metrics()).at(-1)!.overallLoss;
    },
    dispose: () => trainer.dispose(),
  };
}

/** One step as a jitted function of (state, batch, Adam's rate lr / (1 - beta1^t), its 1 / sqrt(1 - beta2^t)). Arrays are owned by what takes them; `ref` keeps one. */
function jaxStep({ jax: { jit, nn, numpy: np, valueAndGrad } }: Engines, rows: number) {
  const { adam_beta1: beta1, adam_beta2: beta2 } = trainingOf(rows);
  const loss = ({ W_enc, b_enc, W_dec, b_dec }: Parameters, x: JaxArray): JaxArray => {
    const f = nn.relu(np.matmul(x.ref.sub(b_dec.ref), W_enc).add(b_enc));
    const norms = np.sqrt(np.square(W_dec.ref).sum(1));
    const out = np.matmul(f.ref, W_dec).add(b_dec);
    const penalty = f.mul(norms).sum().mul(coefficient);
    return np.square(out.sub(x)).sum().add(penalty).mul(1 / rows);
  };
  const each = (work: (name: keyof Parameters) => JaxArray): Parameters => ({ W_enc: work('W_enc'), b_enc: work('b_enc'), W_dec: work('W_dec'), b_dec: work('b_dec') });
  return jit(({ parameters, m, v }: State, x: JaxArray, rate: JaxArray, root: JaxArray): [JaxArray, State] => {
    const [value, gradients] = valueAndGrad(loss)(each((name) => parameters[name].ref), x);
    const squares = Object.values(gradients).map((gradient) => np.square(gradient.ref).sum()).reduce((sum, square) => sum.add(square));
    const clip = np.minimum(np.array(maxGradientNorm).div(np.sqrt(squares).add(1e-6)), 1);
    const gradient = each((name) => gradients[name].mul(clip.ref));
    clip.dispose();
    const nextM = each((name) => m[name].mul(beta1).add(gradient[name].ref.mul(1 - beta1)));
    const nextV = each((name) => v[name].mul(beta2).add(np.square(gradient[name]).mul(1 - beta2)));
    const next = each((name) => parameters[name].sub(nextM[name].ref.mul(rate.ref).div(np.sqrt(nextV[name].ref).mul(root.ref).add(adamEpsilon))));
    [rate, root].forEach((scalar) => scalar.dispose());
    return [value, { parameters: next, m: nextM, v: nextV }];
  });
}

function jaxStepper(engines: Engines, { dIn, dSae }: StepShape, x: Float32Array, weights: ReturnType<typeof initialWeights>): Stepper {
  const { jax, jax: { numpy: np } } = engines;
  const rows = x.length / dIn;
  const { lr, adam_beta1: beta1, adam_beta2: beta2 } = trainingOf(rows);
  const shapes = { W_enc: [dIn, dSae], b_enc: [dSae], W_dec: [dSae, dIn], b_dec: [dIn] } as const;
  const parameters = (valueOf: (name: keyof Parameters) => Float32Array): Parameters => (
    Object.fromEntries((Object.keys(shapes) as (keyof Parameters)[]).map((name) => [name, np.array(valueOf(name)).reshape([...shapes[name]])])) as Parameters
  );
  const zeros = (): Parameters => parameters((name) => new Float32Array(weights[name].length));
  let state: State = { parameters: parameters((name) => (name === 'W_enc' ? transpose(weights.W_enc, dSae, dIn) : weights[name])), m: zeros(), v: zeros() };
  const batch = np.array(x).reshape([rows, dIn]);
  const step = jaxStep(engines, rows);
  let time = 0;
  return {
    async train(steps) {
      let value = np.array(0);
      for (let n = 0; n < steps; n++) {
        time++;
        value.dispose();
        [value, state] = step(state, batch.ref, np.array(lr / (1 - beta1 ** time)), np.array(1 / Math.sqrt(1 - beta2 ** time)));
        // Only what is waited for is computed.
        await jax.blockUntilReady(state);
      }
      return (await value.data())[0]!;
    },
    dispose() {
      for (const tree of Object.values(state)) Object.values(tree).forEach((array) => (array as JaxArray).dispose());
      batch.dispose();
      step.dispose();
    },
  };
}

/** GFLOP that a dense step of a software adapter may have, and rows that it has at least. */
const softwareStep = 25;
const leastRows = 256;

/** Rows of the batch: all where the adapter is fast and can bind what a dense step keeps of every latent, else the next smaller power of two. */
export function stepRows({ batch, dIn, dSae }: StepShape, { software, bindingBytes, most }: { software: boolean; bindingBytes: number; most: number }): number {
  const fit = Math.min(batch, most, Math.floor(bindingBytes / (4 * dSae)), software ? Math.max(leastRows, Math.floor((softwareStep * 1e9) / (10 * dIn * dSae))) : batch);
  return fit < Math.min(batch, most) ? 2 ** Math.floor(Math.log2(fit)) : fit;
}

/** First losses that are compared, and what they may differ by. */
const compared = 3;
const lossesAllowed = 1e-4;

export async function compareSteps(engines: Engines, shape: StepShape, { mostRows, turns, budget }: { mostRows: number; turns: number; budget: number }): Promise<StepResult> {
  const { gpu } = engines;
  const { software } = gpu.adapter;
  const { dIn, dSae, k } = shape;
  const rows = stepRows(shape, { software, bindingBytes: gpu.bindingBytes, most: mostRows });
  const x = noise(rows * dIn, 1), weights = initialWeights(shape);
  const size = { d_in: dIn, d_sae: dSae };
  const steppers: Record<StepName, Stepper> = {
    cochleaTopk: await cochleaStepper(engines, topkConfig({ ...size, k }), x, weights),
    cochleaStandard: await cochleaStepper(engines, configOf(standard, { ...size, l1_coefficient: coefficient }), x, weights),
    jaxjsStandard: jaxStepper(engines, shape, x, weights),
  };
  const losses = { cochlea: [] as number[], jaxjs: [] as number[] };
  await steppers.cochleaTopk.train(1);
  for (let step = 0; step < compared; step++) {
    losses.cochlea.push(await steppers.cochleaStandard.train(1));
    losses.jaxjs.push(await steppers.jaxjsStandard.train(1));
  }
  engines.check();
  const off = Math.max(...losses.cochlea.map((loss, n) => Math.abs(loss - losses.jaxjs[n]!) / loss));
  if (!(off <= lossesAllowed) || !(losses.cochlea.at(-1)! < losses.cochlea[0]!)) {
    throw new CochleaError('gpu-error', `the losses of the same steps are ${losses.cochlea.join(', ')} by cochlea and ${losses.jaxjs.join(', ')} by jax-js: one of them computes something else`);
  }
  const repeats = software ? 1 : 10;
  const work = (name: StepName) => () => steppers[name].train(repeats);
  const timing = await inTurns({ cochleaTopk: work('cochleaTopk'), cochleaStandard: work('cochleaStandard'), jaxjsStandard: work('jaxjsStandard') }, { atLeast: turns, budget, software });
  engines.check();
  Object.values(steppers).forEach((stepper) => stepper.dispose());
  const speed = (name: StepName): number => (rows * repeats) / timing[name].wall.median;
  const ratio = (clock: 'wall' | 'cpu') => ({
    standard: timing.jaxjsStandard[clock].median / timing.cochleaStandard[clock].median, topk: timing.jaxjsStandard[clock].median / timing.cochleaTopk[clock].median,
  });
  return {
    ...shape, cochleaTopk: speed('cochleaTopk'), cochleaStandard: speed('cochleaStandard'), jaxjsStandard: speed('jaxjsStandard'), rows, repeats,
    ratio: { wall: ratio('wall'), cpu: software ? ratio('cpu') : null }, losses, timing,
  };
}
