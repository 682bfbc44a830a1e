/**
 * One matrix product by all three: Y [rows, n] = X [rows, k] W, of which cochlea keeps W as [n, k] and adds a bias, as its encoder does. A peer gets W as
 * [k, n] and as [n, k], and is measured by the form that suits it better. All keep their operands on the GPU.
 */
import { CochleaError } from '../../src/errors.ts';
import { encode } from '../../src/kernels/index.ts';
import { compactTensor, shardRows, vectorTensor, weightTensor } from '../../src/sae/layout.ts';
import { inTurns, judgedBy, noise, take, type Timing } from '../timing.ts';
import type { Engines } from './engines.ts';
import type { JaxArray, TfTensor } from './peer-types.ts';

export interface Shape {
  m: number;
  k: number;
  n: number;
}

export const engineNames = ['cochlea', 'tfjs', 'jaxjs'] as const;
export type EngineName = (typeof engineNames)[number];

export interface GemmResult extends Shape, Record<EngineName, number> {
  /** Rows of the product that was measured: fewer than m where the adapter is slow, or its bindings are small. */
  rows: number;
  /** Products in a run. */
  repeats: number;
  /** Layout of W that each engine was given. */
  form: Record<EngineName, string>;
  /** cochlea's speed over that of the faster peer: by the clock, and by CPU time on a software adapter. */
  ratio: { wall: number; cpu: number | null };
  /** Largest difference between two engines' results over the largest entry; the bench fails above `differenceAllowed`. */
  difference: number;
  differenceAllowed: number;
  timing: Record<EngineName, Timing>;
}

interface Product {
  form: string;
  /** Computes it so many times, and waits. */
  run(times: number): Promise<void>;
  /** The product, read back. */
  result(): Promise<Float32Array>;
  dispose(): void;
}

interface Operands extends Omit<Shape, 'm'> {
  rows: number;
  x: Float32Array;
  /** [n, k] */
  w: Float32Array;
  /** [k, n] */
  wTransposed: Float32Array;
}

function operandsOf(rows: number, { k, n }: Shape): Operands {
  const x = noise(rows * k, 1), w = noise(n * k, 2), wTransposed = new Float32Array(n * k);
  for (let row = 0; row < n; row++) for (let column = 0; column < k; column++) wTransposed[column * n + row] = w[row * k + column]!;
  return { rows, k, n, x, w, wTransposed };
}

function cochleaProduct({ gpu }: Engines, { rows, k, n, x, w }: Operands): Product {
  const tensors = {
    xc: gpu.tensor({ label: 'frames', dtype: 'f32', rows, columns: k }), W_enc: weightTensor(gpu, 'W_enc', k, n, shardRows(gpu, k, n)),
    b_enc: vectorTensor(gpu, 'b_enc', n), h: compactTensor(gpu, 'pre-activations', rows, n),
  };
  gpu.upload(tensors.xc, x);
  gpu.upload(tensors.W_enc, w);
  return {
    form: '[n, k]',
    async run(times) {
      const rec = gpu.record();
      for (let time = 0; time < times; time++) encode(rec, tensors, 0, rows);
      rec.submit();
      await gpu.readBuffer(tensors.h.buffer, 16);
    },
    result: () => gpu.downloadFloats(tensors.h),
    dispose: () => Object.values(tensors).forEach((tensor) => gpu.free(tensor)),
  };
}

function tfjsProduct({ tf }: Engines, { rows, k, n, x, w, wTransposed }: Operands, transposed: boolean): Product {
  const X = tf.tensor2d(x, [rows, k]), W = transposed ? tf.tensor2d(w, [n, k]) : tf.tensor2d(wTransposed, [k, n]);
  const product = (): TfTensor => tf.matMul(X, W, false, transposed);
  return {
    form: transposed ? '[n, k]' : '[k, n]',
    async run(times) {
      for (let time = 1; time < times; time++) product().dispose();
      const last = product(), corner = tf.slice(last, [0, 0], [1, 4]);
      await corner.data(); // reading all of it would be part of the time
      [corner, last].forEach((tensor) => tensor.dispose());
    },
    async result() {
      const last = product(), values = await last.data();
      last.dispose();
      return values;
    },
    dispose: () => [X, W].forEach((tensor) => tensor.dispose()),
  };
}

/** Products of jax-js that wait together: it computes what is waited for, and drops what is not. */
const together = 4;

function jaxProduct({ jax }: Engines, { rows, k, n, x, w, wTransposed }: Operands, transposed: boolean): Product {
  const { numpy: np } = jax;
  const X = np.array(x).reshape([rows, k]), W = transposed ? np.array(w).reshape([n, k]) : np.array(wTransposed).reshape([k, n]);
  const product = (): JaxArray => np.matmul(X.ref, transposed ? W.ref.transpose() : W.ref);
  return {
    form: transposed ? '[n, k]' : '[k, n]',
    async run(times) {
      for (let first = 0; first < times; first += together) {
        const some = Array.from({ length: Math.min(together, times - first) }, product);
        await jax.blockUntilReady(some);
        some.forEach((array) => array.dispose());
      }
    },
    result: () => product().data(),
    dispose: () => [X, W].forEach((array) => array.dispose()),
  };
}

/** Largest |a - b| over largest |a|. Throws `not-finite` where one of them is not a number. */
export function relativeDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Infinity;
  let difference = 0, largest = 0;
  for (let n = 0; n < a.length; n++) {
    const off = Math.abs(a[n]! - b[n]!), size = Math.abs(a[n]!);
    if (!(off < Infinity)) throw new CochleaError('not-finite', `entry ${n} of a product is ${a[n]} by one engine and ${b[n]} by another`);
    if (off > difference) difference = off;
    if (size > largest) largest = size;
  }
  return largest === 0 ? Infinity : difference / largest;
}

/** The faster form of a peer: each runs once to compile and once to be timed. */
async function better(engines: Engines, forms: Product[]): Promise<Product> {
  let best = forms[0]!, least = Infinity;
  const on = engines.gpu.adapter;
  for (const form of forms) {
    await take(() => form.run(1), on);
    const seconds = (await take(() => form.run(1), on))[judgedBy(on)];
    if (seconds < least) [best, least] = [form, seconds];
  }
  forms.filter((form) => form !== best).forEach((form) => form.dispose());
  return best;
}

/** GFLOP that one product of a software adapter may have. */
const softwareProduct = 20;

/** Rows of the product that are computed: all where the adapter is fast and can bind the result. */
export function rowsOf({ m, k, n }: Shape, { software, bindingBytes, most }: { software: boolean; bindingBytes: number; most: number }): number {
  const fit = Math.min(m, most, Math.floor(bindingBytes / (4 * n)), software ? Math.max(64, Math.floor((softwareProduct * 1e9) / (2 * k * n))) : m);
  return fit < m && fit > 64 ? fit - (fit % 64) : fit;
}

export async function compareProducts(engines: Engines, shape: Shape, { mostRows, turns, budget }: { mostRows: number; turns: number; budget: number }): Promise<GemmResult> {
  const { gpu } = engines;
  const { software } = gpu.adapter;
  const rows = rowsOf(shape, { software, bindingBytes: gpu.bindingBytes, most: mostRows });
  const operands = operandsOf(rows, shape);
  const products: Record<EngineName, Product> = {
    cochlea: await better(engines, [cochleaProduct(engines, operands)]),
    tfjs: await better(engines, [false, true].map((transposed) => tfjsProduct(engines, operands, transposed))),
    jaxjs: await better(engines, [false, true].map((transposed) => jaxProduct(engines, operands, transposed))),
  };
  const own = await products.cochlea.result();
  const difference = Math.max(relativeDifference(own, await products.tfjs.result()), relativeDifference(own, await products.jaxjs.result()));
  engines.check();
  // Each of k products and sums may be off by half a unit in the last place of at most the largest sum: two results by no more than this.
  const differenceAllowed = shape.k * 2 ** -23;
  if (!(difference <= differenceAllowed)) {
    throw new CochleaError('gpu-error', `the products of ${rows} x ${shape.k} x ${shape.n} differ by ${difference.toExponential(1)} of the largest entry: one of the engines computes something else`);
  }
  const repeats = software ? 1 : 20;
  const work = (name: EngineName) => () => products[name].run(repeats);
  const timing = await inTurns({ cochlea: work('cochlea'), tfjs: work('tfjs'), jaxjs: work('jaxjs') }, { atLeast: turns, budget, software });
  engines.check();
  for (const product of Object.values(products)) product.dispose();
  const gflop = (2 * rows * shape.k * shape.n * repeats) / 1e9;
  const ratio = (clock: 'wall' | 'cpu'): number => Math.min(timing.tfjs[clock].median, timing.jaxjs[clock].median) / timing.cochlea[clock].median;
  const speed = (name: EngineName): number => gflop / timing[name].wall.median;
  return {
    ...shape, cochlea: speed('cochlea'), tfjs: speed('tfjs'), jaxjs: speed('jaxjs'), rows, repeats,
    form: { cochlea: products.cochlea.form, tfjs: products.tfjs.form, jaxjs: products.jaxjs.form },
    ratio: { wall: ratio('wall'), cpu: software ? ratio('cpu') : null }, difference, differenceAllowed, timing,
  };
}
