import type { SaelensConfig } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import type { RandomStream } from '../../src/random.ts';
import { dense, SAE, type SparseActs, type Weights } from '../../src/sae/index.ts';
import { globalNorm } from '../oracle/adam.ts';
import { jumpreluRun } from '../oracle/jumprelu-sae.ts';
import type { Tensors } from '../oracle/linear.ts';
import { standardRun } from '../oracle/standard-sae.ts';
import { topkRun } from '../oracle/topk-sae.ts';
import type { Case } from '../support/case.ts';
import { close, deepEqual, equal, ok, rejects } from '../support/check.ts';
import { fuzzed, normals, sameBits } from '../support/kernels.ts';
import { decidedFrames, type Problem, randomTopk } from '../support/topk-problem.ts';

type Architecture = 'topk' | 'standard' | 'jumprelu';

interface Shape extends Omit<Problem, 'compatibility'> {
  architecture: Architecture;
  rows: number;
}

function configOf({ architecture, dIn, dSae, k, rescale, applyBDec, normalise }: Shape): SaelensConfig {
  return {
    architecture, d_in: dIn, d_sae: dSae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: applyBDec, normalize_activations: normalise, reshape_activations: 'none', metadata: {},
    ...(architecture === 'topk' ? { k, rescale_acts_by_decoder_norm: rescale } : {}),
  };
}

function oracle(shape: Shape, weights: Weights, x: Float32Array) {
  const { architecture, dIn, dSae, k, rescale, applyBDec, normalise } = shape;
  const config = { dIn, dSae, applyBDecToInput: applyBDec, normalizeActivations: normalise };
  const tensors: Tensors = Object.fromEntries(Object.entries(weights).map(([name, tensor]: [string, Float32Array]) => [name, Float64Array.from(tensor)]));
  const frames = Float64Array.from(x);
  if (architecture === 'topk') return topkRun(tensors, frames, { ...config, k, rescaleActsByDecoderNorm: rescale });
  return architecture === 'standard' ? standardRun(tensors, frames, config) : jumpreluRun(tensors, frames, config);
}

function checkSparse({ rows, offsets, indices, values }: SparseActs, dSae: number): void {
  equal(offsets.length, rows + 1, 'offsets');
  equal(offsets[rows], indices.length, 'the last offset');
  equal(values.length, indices.length, 'values');
  for (let row = 0; row < rows; row++) {
    for (let at = offsets[row]; at < offsets[row + 1]; at++) {
      if (indices[at] >= dSae || values[at] === 0 || (at > offsets[row] && indices[at] <= indices[at - 1])) throw new Error(`entry ${at} of row ${row} is latent ${indices[at]} with ${values[at]}`);
    }
  }
}

/** Runs everything that the SAE offers; checks that the ways agree with each other. */
async function runAll(gpu: Gpu, shape: Shape, weights: Weights, x: Float32Array) {
  const sae = await SAE.create(gpu, configOf(shape), weights);
  try {
    const { recon, acts } = await sae.run(x);
    checkSparse(acts, shape.dSae);
    equal(acts.rows, shape.rows, 'rows');
    const featureActs = await sae.encode(x);
    const sparse = await sae.encodeSparse(x);
    deepEqual(dense(sparse, shape.dSae), featureActs, 'encodeSparse');
    deepEqual(dense(acts, shape.dSae), featureActs, 'run, activations');
    deepEqual(await sae.forward(x), recon, 'forward');
    return { featureActs, recon, decoded: await sae.decode(featureActs) };
  } finally {
    sae.dispose();
  }
}

/** Multiples of 1/4 up to `most` in size: products and sums of these are exact in float32, and many are equal. */
const quarters = (random: RandomStream, length: number, most: number): Float32Array => Float32Array.from({ length }, () => (random.below(8 * most + 1) - 4 * most) / 4);

const plain = { k: 3, rescale: false, applyBDec: true, normalise: 'none' } as const;
const architectures: Architecture[] = ['topk', 'standard', 'jumprelu'];

const exact: Case = fuzzed('on small multiples of 1/4 the SAE gives what exact arithmetic gives, ties and values at a threshold included', architectures.flatMap((architecture): Shape[] => [
  ...[1, 2, 3, 4, 5].map((dIn) => ({ ...plain, architecture, dIn, dSae: 7 + dIn, rows: 4, applyBDec: dIn % 2 === 1 })),
  { ...plain, architecture, dIn: 28, dSae: 40, rows: 1 },
  { ...plain, architecture, dIn: 28, dSae: 9, rows: 0 },
  { ...plain, architecture, dIn: 6, dSae: 33, k: 32, rows: 1025 }, // 1024 rows are run at a time
]), async (gpu, random, shape) => {
  const { dIn, dSae, rows } = shape;
  const weights: Weights = { W_enc: quarters(random, dSae * dIn, 1), W_dec: quarters(random, dSae * dIn, 1), b_enc: quarters(random, dSae, 1), b_dec: quarters(random, dIn, 1) };
  if (shape.architecture === 'jumprelu') weights.threshold = quarters(random, dSae, 1);
  const x = quarters(random, rows * dIn, 2);
  const expected = oracle(shape, weights, x);
  const found = await runAll(gpu, shape, weights, x);
  close(found.featureActs, expected.featureActs, {}, 'activations');
  close(found.recon, expected.out, {}, 'reconstruction');
  close(found.decoded, expected.out, {}, 'decoded activations');
});

const rounded: Case = fuzzed('on any numbers the SAE is as close to the oracle as its sums are long', ([
  { ...plain, architecture: 'topk', dIn: 28, dSae: 60, k: 5, rows: 1025, rescale: true },
  { ...plain, architecture: 'topk', dIn: 5, dSae: 31, k: 8, rows: 20, rescale: true, normalise: 'layer_norm' },
  { ...plain, architecture: 'topk', dIn: 28, dSae: 60, k: 20, rows: 20, normalise: 'constant_norm_rescale', applyBDec: false },
  { ...plain, architecture: 'standard', dIn: 28, dSae: 60, rows: 20, normalise: 'layer_norm' },
  { ...plain, architecture: 'standard', dIn: 3, dSae: 10, rows: 20, normalise: 'constant_norm_rescale', applyBDec: false },
  { ...plain, architecture: 'jumprelu', dIn: 28, dSae: 60, rows: 20 },
  { ...plain, architecture: 'jumprelu', dIn: 13, dSae: 60, rows: 20, normalise: 'layer_norm', applyBDec: false },
] satisfies Shape[]), async (gpu, random, shape: Shape) => {
  const { dIn, dSae, k, rows, architecture, normalise } = shape;
  const weights = randomTopk(random, shape);
  // A threshold at random lies on no pre-activation: what is compared with it is drawn after it, clear of it by a margin.
  if (architecture === 'jumprelu') weights.threshold = normals(random, dSae, 0.2).map((value) => 0.3 + Math.abs(value));
  const shifted = weights.threshold ? { ...weights, b_enc: weights.b_enc!.map((value, i) => value - weights.threshold![i]) } : weights;
  const x = decidedFrames(random, { ...shape, compatibility: 'corrected' }, shifted, rows);
  const expected = oracle(shape, weights, x);
  const found = await runAll(gpu, shape, weights, x);
  // Rows of normalisation, pre-activation and reconstruction are sums over d_in, d_in and k or d_sae terms, compared in the Euclidean norm.
  const allowed = 2 ** -23 * (2 * dIn + (architecture === 'topk' ? k : dSae) + 10);
  const near = (actual: Float32Array, wanted: Float64Array, what: string): void => {
    const deviation = globalNorm({ difference: wanted.map((value, j) => value - actual[j]) }) / globalNorm({ wanted });
    ok(deviation <= allowed, `${what} deviates by ${deviation.toExponential(2)} of its size, more than ${allowed.toExponential(2)}`);
  };
  near(found.featureActs, expected.featureActs, 'activations');
  deepEqual(found.featureActs.map(Math.sign), expected.featureActs.map(Math.sign), 'which latents fire');
  near(found.recon, expected.out, 'reconstruction');
  if (normalise === 'none') near(found.decoded, expected.out, 'decoded activations');
});

const sharded: Case = {
  name: 'with weights in shards and a few rows at a time the SAE gives the same bits',
  async run(gpu) {
    const small = await Gpu.open({ maxBindingBytes: 8192 });
    try {
      await fuzzed('', architectures.map((architecture): Shape => ({ ...plain, architecture, dIn: 9, dSae: 400, k: 7, rows: 12 })), async (_, random, shape) => {
        const weights = randomTopk(random, shape);
        if (shape.architecture === 'jumprelu') weights.threshold = normals(random, 400, 0.2);
        const x = normals(random, shape.rows * shape.dIn);
        const whole = await runAll(gpu, shape, weights, x), cut = await runAll(small, shape, weights, x);
        for (const name of ['featureActs', 'recon', 'decoded'] as const) sameBits(new Uint32Array(cut[name].buffer), new Uint32Array(whole[name].buffer), name);
      }).run(small);
    } finally {
      small.dispose();
    }
  },
};

const refused: Case[] = [
  fuzzed('a frame that is not finite is refused', architectures.map((architecture): Shape => ({ ...plain, architecture, dIn: 5, dSae: 20, rows: 3 })), async (gpu, random, shape) => {
    const sae = await SAE.create(gpu, configOf(shape), { ...randomTopk(random, shape), threshold: new Float32Array(shape.dSae) });
    try {
      const x = normals(random, 15);
      x[7] = NaN;
      await rejects(() => sae.run(x), /a pre-activation of frames 0 to 2 is NaN or infinite/);
      x[7] = 0;
      await sae.run(x); // one bad batch does not spoil the next
      await rejects(() => sae.run(x.subarray(1)), /14 numbers are not whole rows of d_in 5/);
    } finally {
      sae.dispose();
    }
  }),
];

const onDevice: Case = fuzzed('frames that are on the device already, padded or not, rounded or not, give the bits of those from the host', ([
  { ...plain, architecture: 'topk', dIn: 8, dSae: 24, rows: 1030 }, { ...plain, architecture: 'topk', dIn: 6, dSae: 24, rows: 5 }, { ...plain, architecture: 'standard', dIn: 4, dSae: 24, rows: 5, bfloat16: true },
] satisfies (Shape & { bfloat16?: true })[]), async (gpu, random, shape: Shape & { bfloat16?: true }) => {
  const { dIn, rows, bfloat16 } = shape, x = normals(random, rows * dIn);
  const sae = await SAE.create(gpu, { ...configOf(shape), ...(bfloat16 && { dtype: 'bfloat16' }) }, randomTopk(random, shape));
  const buffer = gpu.device.createBuffer({ size: x.byteLength, usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
  try {
    gpu.device.queue.writeBuffer(buffer, 0, x as BufferSource);
    const [found, expected] = [await sae.run({ buffer, rows }), await sae.run(x)];
    deepEqual(found.recon, expected.recon, 'reconstructions');
    for (const part of ['offsets', 'indices', 'values'] as const) deepEqual(found.acts[part], expected.acts[part], part);
    deepEqual(await sae.encode({ buffer, rows: 3 }), await sae.encode(x.subarray(0, 3 * dIn)), 'the first rows');
  } finally {
    buffer.destroy();
    sae.dispose();
  }
});

export const cases: Case[] = [exact, rounded, sharded, onDevice, ...refused];
