/** From form to form and back: the same bytes, or a reason why not. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { readSaelensFolder, type SaelensConfig } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { convertSae } from '../../src/jobs/published/convert.ts';
import { readPretrained, writers } from '../../src/pretrained/index.ts';
import { RandomStream } from '../../src/random.ts';
import { runtime } from '../../src/runtime/index.ts';
import { SAE } from '../../src/sae/index.ts';
import { cochlea } from '../support/cli.ts';
import { fails } from '../support/fails.ts';
import { freshSeed } from '../support/mutate.ts';
import { fixture, shared } from '../support/paths.ts';

const root = mkdtempSync(join(tmpdir(), 'cochlea-convert-'));
const seed = freshSeed('convert');
let gpu: Gpu, folders = 0;
before(async () => {
  gpu = await Gpu.open();
});
after(() => {
  gpu.dispose();
  rmSync(root, { recursive: true });
});
const freshFolder = (): string => join(root, String(folders++));
const weightsOf = (folder: string): Uint8Array => new Uint8Array(readFileSync(join(folder, 'sae_weights.safetensors')));
/** Before version 6 files had a scaling factor that is no more; all others come back as they were. */
const isLegacy = (folder: string): boolean => /legacy/.test(folder);

/** What the forms can say, by the definitions of their classes. `rows`: decoder rows have unit length. */
function canSay(form: string, config: SaelensConfig, tensors: ReadonlyMap<string, { data: ArrayLike<number> }>, unitRows: boolean): boolean {
  const { architecture, apply_b_dec_to_input: centred, normalize_activations: normalise } = config;
  if (form === 'npz') return true;
  if (normalise !== 'none') return false;
  const ranksPlainly = config['rescale_acts_by_decoder_norm'] !== true || unitRows;
  if (form === 'sparsify') return architecture === 'topk' && centred && ranksPlainly;
  if (architecture === 'standard') return true;
  if (architecture === 'gated') return centred;
  if (architecture === 'topk') return centred && ranksPlainly;
  if (architecture !== 'jumprelu') return false;
  const thresholds = new Set(Array.from(tensors.get('threshold')!.data));
  return !centred || (thresholds.size === 1 && trainedK(config));
}

function trainedK({ metadata }: SaelensConfig): boolean {
  return Number.isInteger((metadata['training_architecture_details'] as { k?: number } | undefined)?.k);
}

async function hasUnitRows(folder: string): Promise<boolean> {
  const { tensors } = await readSaelensFolder(folder);
  const { data, shape: [rows, columns] } = tensors.get('W_dec')!;
  return Array.from({ length: rows! }, (_, i) => Math.hypot(...data.subarray(i * columns!, (i + 1) * columns!))).every((norm) => Math.abs(norm - 1) < 1e-5);
}

/** Into a form and back; whether the form took it. */
async function roundTrip(folder: string, form: string): Promise<boolean> {
  const there = freshFolder(), back = freshFolder();
  const { config, tensors } = await readSaelensFolder(folder);
  if (!canSay(form, config, tensors, await hasUnitRows(folder))) {
    await assert.rejects(convertSae(folder, there, { to: form }), (error: CochleaError) => {
      assert.deepEqual([error.code, /^this SAE cannot be written for \w+: .+: .+/.test(error.line), existsSync(there)], ['config', true, false], `${folder}: ${error.line}`);
      return true;
    });
    return false;
  }
  const result = await convertSae(folder, there, { to: form });
  assert.deepEqual([result.from, result.to, result.files.length], ['saelens', form, 2]);
  await convertSae(there, back, { to: 'saelens' });
  const again = await readSaelensFolder(back);
  assert.deepEqual(again.tensors, tensors, `${folder} by way of ${form}`);
  if (!isLegacy(folder)) assert.deepEqual(weightsOf(back), weightsOf(folder), `${folder} by way of ${form}`);
  for (const field of ['architecture', 'd_in', 'd_sae', 'dtype', 'apply_b_dec_to_input', 'normalize_activations', 'k']) assert.deepEqual(again.config[field], config[field], `${folder} by way of ${form}: ${field}`);
  return true;
}

const infer = shared('fixtures', 'saelens', 'infer');
const absent = infer ? false : 'needs the folder shared/fixtures beside the repository';
const forms = writers.map(({ name }) => name).filter((name) => name !== 'saelens');

describe('SAELens folders', () => {
  test('loaded, saved and loaded are the same: weights byte for byte, configuration, activations and reconstructions', { skip: absent }, async () => {
    const names = readdirSync(infer!);
    assert.equal(names.length, 72);
    const random = new RandomStream(seed, 1);
    for (const name of names) {
      const folder = join(infer!, name), copy = freshFolder();
      await convertSae(folder, copy, { to: 'saelens' });
      const first = await readPretrained(folder), second = await readPretrained(copy);
      const { metadata: before, ...config } = first.config, { metadata: now, ...same } = second.config;
      assert.deepEqual([second.weights, same, { ...now, ...before }], [first.weights, config, now], name);
      if (!isLegacy(folder)) assert.deepEqual(weightsOf(copy), weightsOf(folder), name);
      if (!/^(standard|gated|topk|jumprelu|skip_transcoder|jumprelu_transcoder)$/.test(name)) continue;
      const [a, b] = [await SAE.create(gpu, first.config, first.weights), await SAE.load(gpu, copy)];
      const x = Float32Array.from({ length: 7 * a.dIn }, () => random.normal());
      assert.deepEqual(await b.run(x), await a.run(x), name);
      a.dispose();
      b.dispose();
    }
  });

  for (const form of forms) {
    test(`go into ${form} and come back byte for byte, or are refused with the reason`, { skip: absent }, async () => {
      let taken = 0;
      const names = readdirSync(infer!);
      for (const name of names) if (await roundTrip(join(infer!, name), form)) taken++;
      assert.ok(taken > (form === 'sparsify' ? 3 : 10), `${taken} taken`);
      if (form === 'npz') assert.equal(taken, names.length);
    });
    test(`of this repository go into ${form} and come back`, async () => {
      const taken = await Promise.all(['topk', 'standard__float16', 'legacy_v5_topk'].map((name) => roundTrip(fixture('saelens', name), form)));
      assert.deepEqual(taken, form === 'sparsify' ? [true, false, true] : [true, true, true]);
    });
  }
});

describe('published SAEs', () => {
  test('go from their own form through SAELens\' and back into it without a number changed', async () => {
    const cases = [
      'dictionary-standard', 'dictionary-new', 'dictionary-gated', 'dictionary-topk', 'dictionary-batchtopk', 'dictionary-jumprelu', 'sparsify-topk/layers.3', 'sparsify-groupmax/layers.3',
    ];
    for (const name of cases) {
      const folder = fixture('pretrained', ...name.split('/')), form = name.startsWith('dictionary') ? 'dictionary_learning' : 'sparsify';
      const saelens = freshFolder(), again = freshFolder();
      await convertSae(folder, saelens, { to: 'saelens' });
      await convertSae(saelens, again, { to: form });
      const first = await readPretrained(folder), second = await readPretrained(again);
      assert.deepEqual([second.weights, second.loader, second.config.architecture, second.config['k']], [first.weights, form, first.config.architecture, first.config['k']], name);
    }
  });

  test('that a form has no place for are refused with the reason, and nothing is written', async () => {
    const refused = async (name: string, to: string, reason: RegExp): Promise<void> => {
      const out = freshFolder();
      await assert.rejects(convertSae(fixture('pretrained', ...name.split('/')), out, { to }), (error: CochleaError) => error instanceof CochleaError && reason.test(error.line));
      assert.ok(!existsSync(out));
    };
    await refused('dictionary-gated', 'sparsify', /cannot be written for sparsify: it is a gated SAE: sparsify keeps the k largest latents/);
    await refused('sparsify-signed/layers.3', 'sparsify', /it is a abstopk SAE/);
    await refused('sparsify-groupmax/layers.3', 'dictionary_learning', /it is a groupmax SAE: dictionary_learning has no class for it/);
    await refused('openai-v5', 'dictionary_learning', /its normalize_activations is layer_norm: the form has no field/);
    await refused('mwhanna/layer_7.safetensors', 'dictionary_learning', /it is a transcoder SAE/);
  });

  test('are not written over anything, nor in a form that nobody knows', async () => {
    const from = fixture('pretrained', 'dictionary-topk');
    await assert.rejects(convertSae(from, from, { to: 'npz' }), (error: CochleaError) => error.code === 'file-exists');
    await assert.rejects(convertSae(from, freshFolder(), { to: 'onnx' }), /there is no form "onnx"/);
    const file = freshFolder();
    writeFileSync(file, 'a file');
    await assert.rejects(convertSae(from, file, { to: 'npz' }), fails('file-exists', /there is something at .* already: choose another folder/));
  });

  test('are written whole or not at all', async () => {
    const from = fixture('pretrained', 'dictionary-topk'), out = freshFolder();
    const { files } = runtime, { write } = files;
    files.write = (path, content) => (path.endsWith('cfg.json') ? Promise.reject(new CochleaError('file-system', 'the disk is full')) : write(path, content));
    try {
      for (const to of ['saelens', 'npz', 'sparsify']) await assert.rejects(convertSae(from, out, { to }), fails('file-system', /the disk is full/));
    } finally {
      files.write = write;
    }
    assert.ok(!existsSync(out));
    assert.deepEqual(readdirSync(dirname(out)).filter((name) => name.endsWith('.partial')), []);
    await convertSae(from, out, { to: 'saelens' });
  });

  test('with numbers that are none say so', async () => {
    const from = freshFolder(), { config, weights } = await readPretrained(fixture('pretrained', 'dictionary-topk'));
    weights.W_enc![3] = NaN;
    weights.b_dec[0] = -Infinity;
    await writers.find(({ name }) => name === 'saelens')!.write(from, { config, weights });
    const { notes } = await convertSae(from, freshFolder(), { to: 'npz' });
    assert.deepEqual(new Set(notes), new Set([`1 of the ${weights.W_enc!.length} numbers of W_enc are NaN or infinite`, `1 of the ${weights.b_dec.length} numbers of b_dec are NaN or infinite`]));
  });

  test('are converted by a command, which says what it read and wrote, and why not', async () => {
    const from = fixture('pretrained', 'audiosae'), out = freshFolder();
    const refused = await cochlea(['convert', from, out, '--id', 'layer_4', '--to', 'saelens']);
    assert.deepEqual([refused.code, refused.stdout], [2, '']);
    assert.match(refused.stderr, /^cochlea: .*ae\.pt is a BatchTopK SAE without its threshold: .*\(--threshold\)\n$/);
    const { code, stdout, stderr } = await cochlea(['convert', from, out, '--id', 'layer_4', '--to', 'saelens', '--threshold', 'per-frame', '--json']);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^note: without a threshold of its own/);
    const { from: family, architecture, dIn, dSae, files } = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual([family, architecture, dIn, dSae, files], ['audiosae', 'topk', 6, 10, ['cfg.json', 'sae_weights.safetensors']]);
  });
});
