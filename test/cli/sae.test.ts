/** Commands on a trained SAE: info, encode, eval, and how they print. */
import assert from 'node:assert/strict';
import { closeSync, cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { ActivationWriter } from '../../src/activations/index.ts';
import { openSafetensors, writeNpy, writeSaelensFolder, writeSafetensors } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { encodeFile } from '../../src/jobs/encode.ts';
import { RandomStream } from '../../src/random.ts';
import { SAE, tensorsFromWeights } from '../../src/sae/index.ts';
import { cochlea, complaint } from '../support/cli.ts';
import { fails } from '../support/fails.ts';
import { normals } from '../support/kernels.ts';
import { freshSeed } from '../support/mutate.ts';
import { randomTopk } from '../support/topk-problem.ts';

const seed = freshSeed('commands');
const dIn = 6, dSae = 40, k = 3, rows = 1500; // more rows than are encoded at a time
const folder = mkdtempSync(join(tmpdir(), 'cochlea-sae-'));
const place = (name: string): string => join(folder, name);
const sae = place('sae'), x = place('x.safetensors'), npy = place('x.npy'), store = place('store');
const random = new RandomStream(seed, 1600);
const frames = normals(random, rows * dIn);
let expected: { acts: Float32Array; recon: Float32Array };

before(async () => {
  const weights = randomTopk(random, { dIn, dSae });
  await writeSaelensFolder(sae, {
    config: {
      architecture: 'topk', d_in: dIn, d_sae: dSae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: true, normalize_activations: 'none', reshape_activations: 'none',
      metadata: {}, k, rescale_acts_by_decoder_norm: true,
    },
    tensors: tensorsFromWeights(weights),
  });
  await writeSafetensors(x, [{ name: 'x', dtype: 'F32', shape: [rows, dIn], data: frames }]);
  await writeNpy(npy, [rows, dIn], frames);
  const writer = await ActivationWriter.open(store, { model: 'm', modelSha256: '', hook: 'encoder.layers.1', layer: 1, dIn, frameRate: 50, sampleRate: 16000 }, { dtype: 'f32', resume: false, shardBytes: 500 * 4 * dIn });
  for (const [n, [from, to]] of [[0, 700], [700, 1100], [1100, rows]].entries()) {
    const part = frames.slice(from! * dIn, to! * dIn);
    await writer.addClip({ id: `clip ${n}`, path: `${n}.wav`, labels: {}, sha256: String(n), seconds: (to! - from!) / 50, frames: part, rows: to! - from! });
  }
  await writer.finish();
  const gpu = await Gpu.open();
  const loaded = await SAE.load(gpu, sae);
  expected = { acts: await loaded.encode(frames), recon: await loaded.forward(frames) };
  gpu.dispose();
});
after(() => rmSync(folder, { recursive: true }));

async function tensorsOf(path: string): Promise<Record<string, { shape: readonly number[]; data: Float32Array }>> {
  const file = await openSafetensors(path);
  const tensors = await Promise.all([...file.tensors].map(async ([name, { shape }]) => [name, { shape, data: await file.readFloat32(name) }] as const));
  await file.close();
  return Object.fromEntries(tensors);
}

describe('encode', () => {
  test('writes the SAE\'s own activations and reconstructions, from safetensors, npy and a store', async () => {
    for (const [n, input] of [x, npy, store].entries()) {
      const out = place(`f-${n}.safetensors`);
      const { code, stdout, stderr } = await cochlea(['encode', sae, input, '--out', out, '--json']);
      assert.equal(code, 0, stderr);
      assert.equal(stdout.split('\n').length, 2);
      const result = JSON.parse(stdout) as { out: string; frames: number; l0: number };
      assert.deepEqual([result.out, result.frames], [out, rows]);
      assert.ok(Math.abs(result.l0 - expected.acts.filter((value) => value !== 0).length / rows) < 1e-9);
      const { feature_acts, recon, ...more } = await tensorsOf(out);
      assert.deepEqual([feature_acts!.shape, recon!.shape, more], [[rows, dSae], [rows, dIn], {}]);
      assert.deepEqual(feature_acts!.data, expected.acts, `activations of ${input}`);
      assert.deepEqual(recon!.data, expected.recon, `reconstructions of ${input}`);
    }
  });

  test('replaces what it wrote, and nothing else: neither the frames nor weights', async () => {
    cpSync(x, place('frames.safetensors'));
    for (const out of [place('frames.safetensors'), join(sae, 'sae_weights.safetensors'), npy, place('text')]) {
      if (out === place('text')) writeFileSync(out, 'a text');
      const before = readFileSync(out);
      const outcome = await cochlea(['encode', sae, place('frames.safetensors'), '--out', out, '--quiet']);
      assert.match(complaint(outcome), /is there, and is no file of feature activations: it would be lost: choose another file$/);
      assert.equal(outcome.code, 1);
      assert.ok(readFileSync(out).equals(before), out);
    }
    for (const _ of [1, 2]) assert.equal((await cochlea(['encode', sae, x, '--out', place('twice.safetensors'), '--quiet'])).code, 0);
  });

  test('that is stopped leaves nothing of its file', async () => {
    const gpu = await Gpu.open();
    const controller = new AbortController();
    const loaded = await SAE.load(gpu, sae);
    const forward = loaded.forward.bind(loaded);
    loaded.forward = async (frames) => {
      controller.abort(); // the activations are written by then
      return forward(frames);
    };
    const work = encodeFile(loaded, x, join(folder, 'stopped', 'acts.safetensors'), { signal: controller.signal });
    await assert.rejects(work, fails('interrupted', /^stopped before .*acts\.safetensors was whole: nothing of it is left$/));
    assert.deepEqual(readdirSync(place('stopped')), []);
    gpu.dispose();
  });

  test('and eval say where a store is of another model or hook point than the SAE', async () => {
    const other = place('other-sae'), known = place('known');
    cpSync(sae, other, { recursive: true });
    const config = JSON.parse(readFileSync(join(sae, 'cfg.json'), 'utf8')) as { metadata: object };
    writeFileSync(join(other, 'cfg.json'), JSON.stringify({ ...config, metadata: { ...config.metadata, model_name: 'm', model_sha256: 'one', hook_name: 'encoder.layers.2', frame_rate: 50 } }));
    const writer = await ActivationWriter.open(known, { model: 'n', modelSha256: 'two', hook: 'encoder.layers.1', layer: 1, dIn, frameRate: 50, sampleRate: 16000 }, { dtype: 'f32', resume: false });
    await writer.addClip({ id: 'a', path: 'a.wav', labels: {}, sha256: 'a', seconds: rows / 50, frames, rows });
    await writer.finish();
    for (const args of [['encode', other, known, '--out', place('told.safetensors')], ['eval', other, '--activations', known]]) {
      const { code, stderr } = await cochlea(args);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^the SAE was trained on m, and these frames are of n\nthe SAE was trained at encoder\.layers\.2, and these frames are of encoder\.layers\.1$/m);
    }
    const { stderr } = await cochlea(['eval', other, '--activations', x]); // a file that says nothing of a model
    assert.doesNotMatch(stderr, /was trained/);
  });

  test('refuses frames of another width and frames that are not finite, and leaves no file', async () => {
    await writeSafetensors(place('wide.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows / 2, 2 * dIn], data: frames }]);
    await writeSafetensors(place('narrow.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows * 2, dIn / 2], data: frames }]);
    const holed = frames.slice();
    holed[1234 * dIn + 1] = NaN;
    await writeSafetensors(place('holed.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows, dIn], data: holed }]);
    for (const [input, message, code] of [
      ['wide', /^cochlea: the frames of .*wide\.safetensors have d_in 12, the SAE has d_in 6: take frames of the model and hook point that the SAE was trained on$/, 2],
      ['narrow', /narrow\.safetensors have d_in 3, the SAE has d_in 6/, 2],
      ['holed', /^cochlea: row 1234 of .*holed\.safetensors holds NaN or infinity: leave it out$/, 1],
    ] as const) {
      const outcome = await cochlea(['encode', sae, place(`${input}.safetensors`), '--out', place('refused.safetensors'), '--quiet']);
      assert.match(complaint(outcome), message);
      assert.equal(outcome.code, code);
    }
    assert.deepEqual(readdirSync(folder).filter((name) => name.includes('refused')), []);
  });
});

describe('eval', () => {
  test('scores frames of a file and of a store alike', async () => {
    const runs = await Promise.all([x, store].map((input) => cochlea(['eval', sae, '--activations', input, '--json', '--quiet'])));
    for (const { code, stderr, stdout } of runs) assert.deepEqual([code, stderr, stdout.split('\n').length], [0, '', 2]);
    const [one, three] = runs.map(({ stdout }) => JSON.parse(stdout) as { frames: number; clips: number; metrics: Record<string, { value: number }>; latents: Record<string, number[]> });
    assert.deepEqual([one!.frames, one!.clips, three!.frames, three!.clips], [rows, 1, rows, 3]);
    assert.deepEqual(three!.latents['feature_density'], one!.latents['feature_density']);
    for (const [name, { value }] of Object.entries(one!.metrics)) assert.ok(Math.abs(three!.metrics[name]!.value - value) <= 1e-9 * Math.abs(value), name);
    // Explained variance by its definition.
    const mean = Float64Array.from({ length: dIn }, (_, d) => frames.reduce((sum, value, i) => sum + (i % dIn === d ? value : 0), 0) / rows);
    let error = 0, spread = 0;
    frames.forEach((value, i) => {
      error += (value - expected.recon[i]!) ** 2;
      spread += (value - mean[i % dIn]!) ** 2;
    });
    assert.ok(Math.abs(one!.metrics['explained_variance']!.value - (1 - error / spread)) < 1e-9);
    assert.equal(one!.metrics['l0']!.value, expected.acts.filter((value) => value !== 0).length / rows);
  });

  test('refuses frames of another width, and frames that are not finite, with their place', async () => {
    const holed = frames.slice();
    holed[1234 * dIn + 1] = Infinity;
    await writeSafetensors(place('other.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows / 2, 2 * dIn], data: frames }]);
    await writeSafetensors(place('infinite.safetensors'), [{ name: 'x', dtype: 'F32', shape: [rows, dIn], data: holed }]);
    const run = (name: string) => cochlea(['eval', sae, '--activations', place(`${name}.safetensors`), '--quiet']);
    assert.match(complaint(await run('other')), /the frames have d_in 12, the SAE has d_in 6: /);
    assert.match(complaint(await run('infinite')), /^cochlea: the frame at 1234\.000 s of clip "infinite\.safetensors" holds NaN or infinity: check the recording$/);
  });

  test('compares only a transcoder with targets', async () => {
    assert.match(complaint(await cochlea(['eval', sae, '--audio', folder, '--model', 'm', '--hook', 'h', '--target-hook', 'g', '--quiet'])), /sae is no transcoder: it has no --target-hook: leave --target-hook away$/);
  });

  test('asks for the model when the SAE does not say which it was trained on', async () => {
    assert.match(complaint(await cochlea(['eval', sae, '--audio', folder, '--quiet'])), /the SAE does not say which model it was trained on: give --model$/);
  });
});

describe('info', () => {
  test('tells an SAE, a store, and a run that has not finished', async () => {
    const unfinished = place('unfinished'), young = place('young');
    for (const run of [unfinished, young]) {
      mkdirSync(run);
      writeFileSync(join(run, 'run.json'), '{}');
    }
    mkdirSync(join(unfinished, 'checkpoints'));
    writeFileSync(join(unfinished, 'metrics.jsonl'), '{"step":12,"metrics/explained_variance":0.5}\n{"step":13,"metrics/explained_variance":null}\n{"step":14,"met');
    const [anSae, aStore, aRun, aYoungRun] = await Promise.all([sae, store, unfinished, young].map((input) => cochlea(['info', input])));
    for (const { code, stderr } of [anSae!, aStore!, aRun!, aYoungRun!]) assert.deepEqual([code, stderr], [0, '']);
    assert.match(anSae!.stdout, /^an SAE in SAELens' inference form\n/);
    assert.match(anSae!.stdout, /^W_enc +\[6, 40\]$/m);
    assert.match(aStore!.stdout, /^an activation store\nmodel +m\n[^]*^frames +1500\n[^]*^clips +3$/m);
    assert.equal(aRun!.stdout, 'a training run that has not finished: step 13, explained variance NaN; --resume goes on\n');
    assert.equal(aYoungRun!.stdout, 'a training run that has not finished; it has no checkpoint\n');
    const json = JSON.parse((await cochlea(['info', store, '--json'])).stdout) as { kind: string; rows: number; statistics: { mean: number[] } };
    assert.deepEqual([json.kind, json.rows, json.statistics.mean.length], ['activations', rows, dIn]);
  });

  test('names what is damaged', async () => {
    const damaged = place('damaged');
    cpSync(sae, damaged, { recursive: true });
    writeFileSync(join(damaged, 'cfg.json'), '{"architecture": ');
    assert.match(complaint(await cochlea(['info', damaged])), /damaged[/\\]cfg\.json is not JSON/);
    cpSync(join(sae, 'cfg.json'), join(damaged, 'cfg.json'));
    rmSync(join(damaged, 'sae_weights.safetensors'));
    assert.match(complaint(await cochlea(['info', damaged])), /no such file or folder: .*sae_weights\.safetensors$/);
  });

  test('names a line of metrics that is not one of a step', async () => {
    const run = place('strange-metrics');
    mkdirSync(run);
    writeFileSync(join(run, 'run.json'), '{}');
    for (const line of ['{}', '[]', 'null', '{"step":1,"metrics/explained_variance":"high"}']) {
      writeFileSync(join(run, 'metrics.jsonl'), `{"step":1}\n${line}\n`);
      assert.match(complaint(await cochlea(['info', run])), /metrics\.jsonl: line 2 is not the metrics of a step$/, line);
    }
    writeFileSync(join(run, 'metrics.jsonl'), '{"step":1}\n');
    assert.match((await cochlea(['info', run])).stdout, /step 1, explained variance NaN;/);
  });

  test('prints what a stranger named without obeying it', async () => {
    const strange = place('strange');
    cpSync(sae, strange, { recursive: true });
    const config = JSON.parse(readFileSync(join(strange, 'cfg.json'), 'utf8')) as { metadata: Record<string, string> };
    config.metadata['\u001b[2J\n\u202e'] = 'x';
    writeFileSync(join(strange, 'cfg.json'), JSON.stringify(config));
    const { code, stdout } = await cochlea(['info', strange]);
    assert.equal(code, 0);
    assert.match(stdout, /^metadata\.\\u001b\[2J\\u000a\\u202e +"x"$/m);
    assert.ok(!stdout.includes('\u001b'));
  });

  test('says when it is not known how many latents fired', async () => {
    const fresh = place('fresh');
    cpSync(sae, fresh, { recursive: true });
    const { d_sae: latents } = JSON.parse(readFileSync(join(fresh, 'cfg.json'), 'utf8')) as { d_sae: number };
    await writeSafetensors(join(fresh, 'sparsity.safetensors'), [{ name: 'sparsity', dtype: 'F32', shape: [latents], data: new Float32Array(latents).fill(NaN) }]);
    assert.match((await cochlea(['info', fresh])).stdout, /^never fired in the last window +not known: the window held no frames$/m);
  });
});

describe('output', () => {
  test('--quiet prints nothing, else the adapter is named on stderr and the result on stdout', async () => {
    const args = ['encode', sae, x, '--out', place('quiet.safetensors')];
    assert.deepEqual(await cochlea([...args, '--quiet']), { code: 0, signal: null, stdout: '', stderr: '' });
    const { stdout, stderr } = await cochlea(args);
    assert.match(stdout, /^1500 frames, L0 [\d.]+: .*quiet\.safetensors\n$/);
    assert.match(stderr, /^[^\n]+\n$/);
  });

  test('whose reader goes away is no error; a full disk behind it is one', { skip: existsSync('/dev/full') ? false : 'there is no /dev/full' }, async () => {
    assert.deepEqual(await cochlea(['models', '--json'], { stdout: 'closed' }), { code: 0, signal: null, stdout: '', stderr: '' });
    const full = openSync('/dev/full', 'w');
    const outcome = await cochlea(['models', '--json'], { stdout: full });
    closeSync(full);
    assert.match(complaint(outcome), /^cochlea: cannot write the output: .*ENOSPC|no space left/i);
    assert.equal(outcome.code, 1);
  });

  test('without a GPU, asking for one is one line and code 1', { skip: process.env['COCHLEA_ADAPTER'] === 'swiftshader' ? false : 'the machine may have one' }, async (t) => {
    const outcome = await cochlea(['encode', sae, x, '--out', place('gpu.safetensors'), '--quiet'], { env: { COCHLEA_ADAPTER: 'gpu' } });
    if (outcome.code === 0) return t.skip('this machine has a GPU');
    assert.match(complaint(outcome), /^cochlea: no adapter is what COCHLEA_ADAPTER=gpu asks for \(tried .*\): unset COCHLEA_ADAPTER to let the program choose$/);
    assert.equal(outcome.code, 1);
  });

  test('devices names the adapter and its limits, in one JSON line with --json', async () => {
    const { code, stdout } = await cochlea(['devices', '--json']);
    assert.equal(code, 0);
    assert.equal(stdout.split('\n').length, 2);
    const facts = JSON.parse(stdout) as { adapter: { description: string }; limits: Record<string, number> };
    assert.ok(facts.limits['maxStorageBufferBindingSize']! >= 128 * 2 ** 20);
    assert.equal(typeof facts.adapter.description, 'string');
  });
});
