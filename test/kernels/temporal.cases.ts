import type { SaelensConfig } from '../../src/formats/index.ts';
import { Gpu, type Tensor } from '../../src/gpu/index.ts';
import { noLatent } from '../../src/kernels/index.ts';
import type { RandomStream } from '../../src/random.ts';
import type { InferenceForm } from '../../src/sae/architecture.ts';
import { temporal } from '../../src/sae/architectures/temporal.ts';
import type { Weights } from '../../src/sae/index.ts';
import { globalNorm } from '../oracle/adam.ts';
import type { Tensors } from '../oracle/linear.ts';
import { type TemporalConfig, temporalRun } from '../oracle/temporal-sae.ts';
import type { Case } from '../support/case.ts';
import { deepEqual, equal, ok, rejects } from '../support/check.ts';
import { fuzzed, normals } from '../support/kernels.ts';

interface Shape extends TemporalConfig {
  /** Frames of the clip, and how many are run at a time. */
  frames: number;
  rows: number;
  adapter: 'software' | 'hardware';
}

const base: Shape = {
  dIn: 10, dSae: 24, heads: 2, layers: 1, bottleneck: 4, k: 5, tied: true, applyBDecToInput: true, normalizeActivations: 'none', activationNormalizationFactor: 1,
  frames: 19, rows: 8, adapter: 'software',
};
const shapes: Shape[] = [
  base,
  { ...base, tied: false },
  { ...base, k: undefined, applyBDecToInput: false }, // tied and b_dec not subtracted: nor is it added
  { ...base, tied: false, applyBDecToInput: false, layers: 2 },
  { ...base, layers: 3, heads: 3, bottleneck: 2, normalizeActivations: 'constant_scalar_rescale', activationNormalizationFactor: 0.37 },
  { ...base, dIn: 7, dSae: 30, heads: 3, bottleneck: 5, k: undefined, normalizeActivations: 'layer_norm' },
  { ...base, dIn: 28, dSae: 64, heads: 4, bottleneck: 2, rows: 64, frames: 40, normalizeActivations: 'constant_norm_rescale', tied: false },
  { ...base, frames: 16 }, // whole blocks
  { ...base, frames: 1 },
  { ...base, adapter: 'hardware', layers: 2, frames: 11 },
];

function fileConfig(shape: Shape): SaelensConfig {
  return {
    architecture: 'temporal', d_in: shape.dIn, d_sae: shape.dSae, dtype: 'float32', device: 'cpu', reshape_activations: 'none', metadata: {},
    apply_b_dec_to_input: shape.applyBDecToInput, normalize_activations: shape.normalizeActivations, activation_normalization_factor: shape.activationNormalizationFactor,
    n_heads: shape.heads, n_attn_layers: shape.layers, bottleneck_factor: shape.bottleneck, tied_weights: shape.tied,
    sae_diff_type: shape.k === undefined ? 'relu' : 'topk', kval_topk: shape.k ?? null,
  };
}

/** Weights with which attention picks some frames, and predicts a good part of each. */
function randomWeights(random: RandomStream, { dIn, dSae, layers, bottleneck, tied }: Shape): Weights {
  const inner = dSae / bottleneck;
  const attention = Object.fromEntries(Array.from({ length: layers }, (_, layer) => (
    ([['k_ctx', inner, 40], ['q_target', inner, 40], ['v_ctx', dSae, 4], ['c_proj', dSae, 1]] as const).flatMap(([part, out, scale]) => [
      [`attn_layers.${layer}.${part}.weight`, { shape: [out, dSae], data: normals(random, out * dSae, scale / Math.sqrt(dSae)) }],
      [`attn_layers.${layer}.${part}.bias`, { shape: [out], data: normals(random, out, 0.1) }],
    ])
  )).flat());
  return {
    W_dec: normals(random, dSae * dIn), b_dec: normals(random, dIn, 0.5), attention,
    ...(tied ? {} : { W_enc: normals(random, dSae * dIn) }),
  };
}

/** The clip through the form, some rows at a time. */
async function runClip(gpu: Gpu, form: InferenceForm, { dIn, dSae, rows }: Shape, x: Float32Array) {
  const frames = x.length / dIn;
  const acts = new Float32Array(frames * dSae), recon = new Float32Array(frames * dIn);
  let flags = 0;
  await form.sequence!.begin(frames);
  for (let first = 0; first < frames; first += rows) {
    const here = Math.min(rows, frames - first);
    gpu.upload(form.frames, x.slice(first * dIn, (first + here) * dIn));
    const rec = gpu.record();
    form.record(rec, here, true);
    rec.submit();
    flags |= (await gpu.downloadIntegers(form.flags))[0];
    if ('f' in form.acts) acts.set((await gpu.downloadFloats(form.acts.f)).subarray(0, here * dSae), first * dSae);
    else {
      const indices = await gpu.downloadIntegers(form.acts.indices), values = await gpu.downloadFloats(form.acts.values);
      const k = form.acts.indices.columns;
      for (let at = 0; at < here * k; at++) if (indices[at] !== noLatent) acts[(first + Math.floor(at / k)) * dSae + indices[at]] = values[at];
    }
    const affine = form.rowAffine && await gpu.downloadFloats(form.rowAffine);
    (await gpu.downloadFloats(form.r)).subarray(0, here * dIn).forEach((value, j) => {
      const row = Math.floor(j / dIn);
      recon[first * dIn + j] = affine ? value * affine[2 * row] + affine[2 * row + 1] : value;
    });
  }
  return { acts, recon, flags };
}

/** What a form decodes of activations alone. */
async function decoded(gpu: Gpu, form: InferenceForm, { dIn, dSae, rows }: Shape, acts: Float32Array): Promise<Float32Array> {
  const here = Math.min(rows, acts.length / dSae);
  gpu.upload(form.codes, acts.slice(0, here * dSae));
  const rec = gpu.record();
  form.recordDecode(rec, here);
  rec.submit();
  return (await gpu.downloadFloats(form.r)).subarray(0, here * dIn);
}

async function withForm<T>(gpu: Gpu, shape: Shape, weights: Weights, work: (form: InferenceForm) => Promise<T>): Promise<T> {
  const owned: Tensor[] = [];
  try {
    return await work(temporal.infer!({ gpu, config: fileConfig(shape), weights, rows: shape.rows, own: (tensor) => {
      owned.push(tensor);
      return tensor;
    } }));
  } finally {
    for (const tensor of owned) gpu.free(tensor);
  }
}

function parameters({ attention, ...rest }: Weights): Tensors {
  const double = ([name, data]: [string, Float32Array]): [string, Float64Array] => [name, Float64Array.from(data)];
  return { ...Object.fromEntries(Object.entries(rest).map(double)), ...Object.fromEntries(Object.entries(attention ?? {}).map(([name, { data }]) => double([name, data]))) };
}

/** A clip none of whose frames leaves in doubt which latents it keeps, as float64 sees it. */
function decidedClip(random: RandomStream, shape: Shape, weights: Weights) {
  const { dIn, dSae, k, frames } = shape;
  const margin = 1000 * 2 ** -23;
  for (;;) {
    const walk = normals(random, frames * dIn); // neighbours are alike, as in speech
    const x = Float32Array.from(walk, (value, j) => value + (j < dIn ? 0 : 0.7 * walk[j - dIn]));
    const expected = temporalRun(parameters(weights), Float64Array.from(x), shape);
    const isDecided = Array.from({ length: frames }, (_, row) => {
      const ranked = [...expected.ranking.subarray(row * dSae, (row + 1) * dSae)].sort((a, b) => b - a);
      return k === undefined || k >= dSae || ranked[k - 1] === 0 || ranked[k - 1] - ranked[k] > margin * ranked[0];
    });
    if (isDecided.every(Boolean)) return { x, expected };
  }
}

/** Each layer is four products over d_sae terms behind one over d_in, compared in the Euclidean norm; scores of size s cost exp another s roundings. */
function near(actual: Float32Array, wanted: Float64Array, { layers, dIn, dSae }: Shape, what: string): void {
  const allowed = 2 ** -23 * layers * (2 * dIn + 4 * dSae + 100);
  const deviation = globalNorm({ difference: wanted.map((value, j) => value - actual[j]) }) / globalNorm({ wanted });
  ok(deviation <= allowed, `${what} deviates by ${deviation.toExponential(2)} of its size, more than ${allowed.toExponential(2)}`);
}

const clips: Case = fuzzed('a clip run in parts gives the novel activations and the reconstruction of the oracle', shapes, async (gpu, random, shape) => {
  const { dIn, rows } = shape;
  const weights = randomWeights(random, shape);
  const { x, expected } = decidedClip(random, shape, weights);
  await withForm(gpu, shape, weights, async (form) => {
    const found = await runClip(gpu, form, shape, x);
    near(found.acts, expected.featureActs, shape, 'activations');
    near(found.recon, expected.out, shape, 'reconstruction');
    equal(found.flags, 0, 'flags');
    if (!form.rowAffine) near(await decoded(gpu, form, shape, found.acts), expected.decoded.subarray(0, Math.min(rows, shape.frames) * dIn), shape, 'the novel part');

    // Nothing of a clip reaches the next one, and the past does not change with the future.
    deepEqual((await runClip(gpu, form, shape, x)).acts, found.acts, 'the same clip again');
    const shorter = await runClip(gpu, form, shape, x.slice(0, Math.ceil(shape.frames / 2) * dIn));
    near(shorter.recon, expected.out.subarray(0, shorter.recon.length), shape, 'half the clip');
  });
});

const refused: Case = fuzzed('a clip with a frame that is not finite is flagged, fields that cannot be are refused', [base], async (gpu, random, shape) => {
  const weights = randomWeights(random, shape);
  await withForm(gpu, shape, weights, async (form) => {
    const x = normals(random, shape.frames * shape.dIn);
    const { recon } = await runClip(gpu, form, shape, x.slice(0, 9 * shape.dIn));
    x.fill(NaN, 10 * shape.dIn);
    equal((await runClip(gpu, form, shape, x)).flags, 1, 'flags');
    const after = await runClip(gpu, form, shape, x.slice(0, 9 * shape.dIn));
    equal(after.flags, 0, 'flags of the next clip');
    deepEqual(after.recon, recon, 'the next clip');
  });
  const create = (fields: object, given: Weights = weights) => () => temporal.infer!({ gpu, config: { ...fileConfig(shape), ...fields } as SaelensConfig, weights: given, rows: 8, own: (tensor) => tensor });
  await rejects(create({ n_heads: 5 }), /bottleneck_factor is 4/);
  await rejects(create({ kval_topk: 25 }), /kval_topk is 25/);
  await rejects(create({ sae_diff_type: 'batchtopk' }), /sae_diff_type is "batchtopk"/);
  await rejects(create({ n_attn_layers: 0 }), /n_attn_layers is 0/);
  await rejects(create({ activation_normalization_factor: 0 }), /activation_normalization_factor is 0/);
  await rejects(create({ tied_weights: false }), /no tensor W_enc/);
  await rejects(create({ n_attn_layers: 2 }), /no tensor attn_layers\.1\.q_target\.weight/);
});

const sharded: Case = {
  name: 'with projections in shards a clip gives what the oracle gives',
  async run() {
    const small = await Gpu.open({ maxBindingBytes: 75 * 1024 }); // a projection of 144 latents takes 81
    try {
      await fuzzed('', [{ ...base, dSae: 144, heads: 6, bottleneck: 2, layers: 2 }], async (gpu, random, shape) => {
        const weights = randomWeights(random, shape);
        const { x, expected } = decidedClip(random, shape, weights);
        await withForm(gpu, shape, weights, async (form) => near((await runClip(gpu, form, shape, x)).recon, expected.out, shape, 'reconstruction'));
      }).run(small);
    } finally {
      small.dispose();
    }
  },
};

export const cases: Case[] = [clips, refused, sharded];
