import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { CochleaError } from '../../src/errors.ts';
import { logSparsity, readSaelensFolder, writeSaelensFolder } from '../../src/formats/saelens.ts';
import type { SaelensConfig } from '../../src/formats/saelens-config.ts';
import { parseSaelensConfig } from '../../src/formats/saelens-config.ts';
import { openSafetensors, writeSafetensors } from '../../src/formats/safetensors.ts';
import type { TensorToWrite } from '../../src/formats/safetensors.ts';
import { runtime } from '../../src/runtime/index.ts';
import { fixture, shared } from '../support/paths.ts';

const { join } = runtime.paths;
let folder = '';
before(async () => {
  folder = await runtime.files.temporaryFolder('cochlea-saelens-');
});
after(() => runtime.files.remove(folder));

/** Loads, saves, loads again: the same weights file byte for byte, the same configuration. */
async function roundTrip(path: string): Promise<void> {
  const first = await readSaelensFolder(path);
  const copy = join(folder, 'copy');
  await writeSaelensFolder(copy, first);
  const second = await readSaelensFolder(copy);
  const weights = (at: string): Promise<Uint8Array> => runtime.files.read(join(at, 'sae_weights.safetensors'));
  assert.deepEqual(await weights(copy), await weights(path), path);
  assert.deepEqual(second.tensors, first.tensors);
  assert.equal(second.form, first.form);
  const { metadata, ...rest } = second.config;
  assert.deepEqual(rest, (({ metadata: _, ...others }) => others)(first.config));
  assert.deepEqual(metadata, { sae_lens_version: '6.18.0', sae_lens_training_version: '6.18.0', ...first.config.metadata });
  assert.deepEqual(second.logSparsity, first.logSparsity);
}

const base = { d_in: 2, d_sae: 3, dtype: 'float32', metadata: { sae_lens_version: '6.18.0', hop_seconds: 0.02, anything: [null, { a: 1 }] } };
type Shapes = Record<string, number[]>;
const standard: Shapes = { W_enc: [2, 3], W_dec: [3, 2], b_enc: [3], b_dec: [2] };

/** A folder as another program could have written it; values 0.5, 1, 1.5, ... in each tensor. */
async function foreignFolder(config: object, shapes: Shapes, dtypes: Record<string, TensorToWrite['dtype']> = {}): Promise<string> {
  const path = join(folder, 'foreign');
  await runtime.files.remove(path);
  await writeSafetensors(join(path, 'sae_weights.safetensors'), Object.entries(shapes).map(([name, shape]) => ({
    name, shape, dtype: dtypes[name] ?? 'F32', data: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (i + 1) / 2),
  })));
  await runtime.files.write(join(path, 'cfg.json'), JSON.stringify(config));
  return path;
}

async function rejects(config: object, shapes: Shapes, message: RegExp): Promise<void> {
  const path = await foreignFolder(config, shapes);
  await assert.rejects(readSaelensFolder(path), (error: CochleaError) => {
    assert.match(error.line, message);
    assert.ok(['file-damaged', 'config'].includes(error.code));
    assert.ok(!error.line.includes('\n'));
    return true;
  });
}

describe('SAELens folders', () => {
  for (const name of ['topk', 'legacy_v5_topk', 'standard__float16']) {
    test(`${name} survives loading, saving and loading`, () => roundTrip(fixture('saelens', name)));
  }

  const absent = 'needs the folder shared/fixtures beside the repository';
  const infer = shared('fixtures', 'saelens', 'infer');
  test('so does every folder that SAELens 6.18 wrote', { skip: infer ? false : absent }, async () => {
    const names = readdirSync(infer!);
    assert.equal(names.length, 72);
    for (const name of names) await roundTrip(join(infer!, name));
  });

  const checkpoint = shared('fixtures', 'saelens', 'train', 'jumprelu_step', 'training_checkpoint');
  test('a training checkpoint of SAELens is read as training form', { skip: checkpoint ? false : absent }, async () => {
    const { form, config, tensors } = await readSaelensFolder(checkpoint!);
    assert.equal(form, 'training');
    assert.equal(config['jumprelu_bandwidth'], 0.1);
    assert.deepEqual([...tensors.keys()].sort(), ['W_dec', 'W_enc', 'b_dec', 'b_enc', 'threshold']);
    await roundTrip(checkpoint!);
  });

  const shapes: Record<string, [Shapes, object?]> = {
    standard: [standard],
    topk: [standard, { k: 2 }],
    jumprelu: [{ ...standard, threshold: [3] }],
    gated: [{ W_enc: [2, 3], W_dec: [3, 2], b_dec: [2], b_gate: [3], r_mag: [3], b_mag: [3] }],
    batchtopk: [{ ...standard, topk_threshold: [] }, { k: 1.5, decoder_init_norm: 0.1 }],
    matryoshka_batchtopk: [{ ...standard, topk_threshold: [] }, { k: 2, matryoshka_widths: [1, 3] }],
    transcoder: [{ W_enc: [2, 3], W_dec: [3, 5], b_enc: [3], b_dec: [5] }, { d_out: 5, apply_b_dec_to_input: false }],
    skip_transcoder: [{ W_enc: [2, 3], W_dec: [3, 5], b_enc: [3], b_dec: [5], W_skip: [5, 2] }, { d_out: 5 }],
    jumprelu_transcoder: [{ W_enc: [2, 3], W_dec: [3, 5], b_enc: [3], b_dec: [5], threshold: [3] }, { d_out: 5 }],
    jumprelu_skip_transcoder: [{ W_enc: [2, 3], W_dec: [3, 5], b_enc: [3], b_dec: [5], threshold: [3], W_skip: [5, 2] }, { d_out: 5 }],
    matching_pursuit: [{ W_dec: [3, 2], b_dec: [2] }],
    temporal: [{
      W_dec: [3, 2], b_dec: [2], W_enc: [2, 3],
      ...Object.fromEntries(['k_ctx', 'q_target'].flatMap((name) => [[`attn_layers.0.${name}.weight`, [1, 3]], [`attn_layers.0.${name}.bias`, [1]]])),
      ...Object.fromEntries(['v_ctx', 'c_proj'].flatMap((name) => [[`attn_layers.0.${name}.weight`, [3, 3]], [`attn_layers.0.${name}.bias`, [3]]])),
    }, { tied_weights: false, bottleneck_factor: 2, n_attn_layers: 1 }],
  };
  for (const [architecture, [tensors, extra]] of Object.entries(shapes)) {
    test(`the tensors of ${architecture} are these and no others`, async () => {
      const config = { ...base, architecture, ...extra };
      const path = await foreignFolder(config, tensors, { topk_threshold: 'F64' });
      const read = await readSaelensFolder(path);
      assert.deepEqual(Object.fromEntries([...read.tensors].map(([name, { shape }]) => [name, shape])), tensors);
      assert.equal(read.form, /batchtopk/.test(architecture) ? 'training' : 'inference');
      assert.deepEqual(read.config.metadata, base.metadata);
      for (const [field, value] of Object.entries(extra ?? {})) assert.deepEqual(read.config[field], value);
      await roundTrip(path);

      const [first, ...others] = Object.keys(tensors);
      await rejects(config, Object.fromEntries(others.map((name) => [name, tensors[name]!])), new RegExp(`${architecture}.*${first} is missing`));
      await rejects(config, { ...tensors, [first!]: [7] }, new RegExp(`${first} has shape \\[7\\], not \\[`));
      await rejects(config, { ...tensors, stray: [1] }, /"stray" does not belong/);
    });
  }

  test('an unknown architecture is named, with those that are known', () =>
    rejects({ ...base, architecture: 'crosscoder' }, standard, /"crosscoder": known are standard, topk/));

  test('every tensor is rounded to the dtype of the configuration, the batch threshold keeps its doubles', async () => {
    const path = join(folder, 'rounded');
    const third = 1 / 3;
    const tensors = new Map(Object.entries({ ...standard, topk_threshold: [] }).map(([name, shape]) => {
      const data = new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(third);
      return [name, { shape, data }] as const;
    }));
    const cases = [['torch.float16', 0.333251953125], ['bfloat16', 0.333984375], ['float32', Math.fround(third)], ['float64', third]] as const;
    for (const [dtype, rounded] of cases) {
      const doubles = [...tensors].map(([name, { shape, data }]): TensorToWrite => ({ name, shape, dtype: 'F64', data }));
      await writeSafetensors(join(path, 'sae_weights.safetensors'), doubles);
      await runtime.files.write(join(path, 'cfg.json'), JSON.stringify({ ...base, architecture: 'batchtopk', dtype }));
      const read = await readSaelensFolder(path);
      assert.equal(read.config.dtype, dtype.replace('torch.', ''));
      assert.deepEqual([...read.tensors.get('W_enc')!.data], new Array(6).fill(rounded));
      assert.equal(read.tensors.get('topk_threshold')!.data[0], third);
      await writeSaelensFolder(path, read);
      const file = await openSafetensors(join(path, 'sae_weights.safetensors'));
      assert.equal(file.tensors.get('topk_threshold')!.dtype, 'F64');
      assert.equal(file.tensors.get('W_dec')!.dtype, { 'torch.float16': 'F16', bfloat16: 'BF16', float32: 'F32', float64: 'F64' }[dtype]);
      await file.close();
    }
  });

  test('log_threshold becomes threshold', async () => {
    const { tensors } = await readSaelensFolder(await foreignFolder({ ...base, architecture: 'jumprelu' }, { ...standard, log_threshold: [3] }));
    assert.deepEqual(tensors.get('threshold')!.data, Float32Array.of(Math.exp(0.5), Math.exp(1), Math.exp(1.5)));
    assert.ok(!tensors.has('log_threshold'));
  });

  test('a legacy scaling factor of ones is dropped, another one refused', async () => {
    const path = await foreignFolder({ ...base, architecture: 'standard' }, standard);
    const tensors = (factor: number): TensorToWrite[] => [...Object.entries(standard), ['scaling_factor', [3]] as const].map(([name, shape]) => (
      { name, shape, dtype: 'F32', data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(factor) }));
    await writeSafetensors(join(path, 'sae_weights.safetensors'), tensors(1));
    assert.equal((await readSaelensFolder(path)).tensors.size, 4);
    await writeSafetensors(join(path, 'sae_weights.safetensors'), tensors(2));
    await assert.rejects(readSaelensFolder(path), /scaling factor per latent/);
  });

  test('sparsity is log10 of the firing frequency and travels with the folder', async () => {
    const sparsity = logSparsity([0, 10, 1000], 1000);
    assert.deepEqual(sparsity, Float32Array.of(-10, Math.log10(0.01 + 1e-10), Math.log10(1 + 1e-10)));
    const path = await foreignFolder({ ...base, architecture: 'standard' }, standard);
    const read = await readSaelensFolder(path);
    assert.equal(read.logSparsity, undefined);
    await writeSaelensFolder(path, { ...read, logSparsity: sparsity });
    assert.deepEqual((await readSaelensFolder(path)).logSparsity, sparsity);
    await writeSaelensFolder(path, read);
    assert.deepEqual(await runtime.files.list(path), ['cfg.json', 'sae_weights.safetensors'], 'an old sparsity does not stay beside new weights');
    await writeSafetensors(join(path, 'sparsity.safetensors'), [{ name: 'sparsity', dtype: 'F32', shape: [4], data: new Float32Array(4) }]);
    await assert.rejects(readSaelensFolder(path), /sparsity of .* has shape \[4\], not \[3\]/);
  });

  test('a save that fails leaves no folder that looks whole', async () => {
    const path = await foreignFolder({ ...base, architecture: 'standard' }, standard);
    const read = await readSaelensFolder(path);
    const broken = new Map<string, { shape: readonly number[]; data: TensorToWrite['data'] }>(read.tensors);
    broken.set('W_dec', { shape: [3, 2], data: new Float32Array(5) });
    await assert.rejects(writeSaelensFolder(path, { config: read.config, tensors: broken }), /needs 24 bytes/);
    await assert.rejects(readSaelensFolder(path), (error: CochleaError) => error.code === 'file-missing');
    await assert.rejects(writeSaelensFolder(path, { config: read.config, tensors: [] }), /W_enc is missing/);
  });
});

describe('configurations', () => {
  const parse = (fields: object): SaelensConfig => parseSaelensConfig(JSON.stringify(fields), 'cfg.json');

  test('flat ones from before version 6 are mapped as SAELens maps them', () => {
    const config = parse({
      d_in: 2, d_sae: 3, dtype: 'torch.bfloat16', hook_point: 'blocks.3.attn.hook_z', hook_point_head_index: null, activation_fn_str: 'topk',
      activation_fn_kwargs: { k: 7 }, normalize_activations: true, model_name: 'm', context_size: 64, expansion_factor: 8, metadata: { lost: 1 },
    });
    assert.deepEqual(config, {
      architecture: 'topk', d_in: 2, d_sae: 3, dtype: 'bfloat16', device: 'cpu', apply_b_dec_to_input: true, k: 7,
      normalize_activations: 'expected_average_only_in', reshape_activations: 'hook_z',
      metadata: {
        prepend_bos: true, neuronpedia_id: null, hook_name: 'blocks.3.attn.hook_z', hook_head_index: null, model_name: 'm', context_size: 64,
      },
    });
    assert.equal(parse({ d_in: 2, d_sae: 3, normalize_activations: null }).normalize_activations, 'none');
    assert.equal(parse({ d_in: 2, d_sae: 3, normalize_activations: false }).normalize_activations, 'none');
  });

  test('without a version they keep what belongs to their architecture', () => {
    const bare = parse({ architecture: 'topk', d_in: 2, d_sae: 3, dtype: 'float32', k: 5, rescale_acts_by_decoder_norm: true, l1_coefficient: 1 });
    assert.deepEqual([bare.architecture, bare['k'], bare['rescale_acts_by_decoder_norm'], 'l1_coefficient' in bare], ['topk', 5, true, false]);
    assert.equal(parse({ architecture: 'topk', d_in: 2, d_sae: 3, activation_fn_kwargs: { k: 7 } })['k'], 7);
    assert.equal(parse({ architecture: 'temporal', d_in: 2, d_sae: 3, n_heads: 2, tied_weights: false })['tied_weights'], false);
    assert.equal('k' in parse({ architecture: 'standard', d_in: 2, d_sae: 3, k: 0 }), false);
    // SAELens' own default.
    assert.equal(parse({ architecture: 'topk', d_in: 2, d_sae: 3 })['k'], 100);
    assert.throws(() => parse({ architecture: 'topk', d_in: 2, d_sae: 3, k: 0 }), /k is 0, not a positive number/);
  });

  test('the version decides between the two readings', () => {
    const architectureOf = (version: string): string =>
      parse({ ...base, architecture: 'standard', activation_fn: 'topk', metadata: { sae_lens_version: version } }).architecture;
    const present = ['6.18.0', '6.0.0', '6.0.0-rc.0', '6.0.0rc1', '6.49.2', '10.1', '6.0.1.dev1'];
    const legacy = ['5.11.0', '3.0.0', '6.0.0a1', '6.0.0.dev3', '6.0.0-beta.1'];
    for (const version of present) assert.equal(architectureOf(version), 'standard', version);
    for (const version of legacy) assert.equal(architectureOf(version), 'topk', version);
    assert.throws(() => architectureOf('webgpu-1'), /not a version number/);
  });

  test('what no SAE can have is refused with the field and its value', () => {
    const cases: [object, RegExp][] = [
      [{ d_in: 0 }, /d_in is 0, not a positive/], [{ d_sae: '64' }, /d_sae is "64"/], [{ dtype: 'int8' }, /dtype is "int8", not one of float32/],
      [{ normalize_activations: null }, /normalize_activations is null/], [{ apply_b_dec_to_input: 1 }, /apply_b_dec_to_input/],
      [{ architecture: undefined }, /architecture is missing/], [{ reshape_activations: 'x' }, /reshape_activations/], [{ k: -1 }, /k is -1/],
      [{ architecture: 'topk', k: 2.5 }, /k is 2\.5, not a positive whole number/], [{ architecture: 'groupmax' }, /k is missing, not a positive whole number/],
      [{ dtype: 'constructor' }, /dtype is "constructor"/], [{ d_out: 1.5 }, /d_out is 1\.5/],
    ];
    for (const [fields, message] of cases) assert.throws(() => parse({ ...base, architecture: 'standard', ...fields }), message);
    assert.throws(() => parse({ ...base, architecture: 'standard', metadata: 'x', sae_lens_version: '6.1.0' }), /metadata is "x"/);
    assert.throws(() => parseSaelensConfig('{', 'cfg.json'), /cfg\.json is not JSON/);
    assert.throws(() => parseSaelensConfig('[]', 'cfg.json'), /not a JSON object/);
    const nested = (depth: number): string => `{"architecture":"standard","d_in":2,"d_sae":3,"sae_lens_version":"6.1.0","metadata":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`;
    assert.ok(parseSaelensConfig(nested(60), 'cfg.json'));
    assert.throws(() => parseSaelensConfig(nested(100_000), 'cfg.json'), /cfg\.json is nested more than 64 deep/);
  });
});
