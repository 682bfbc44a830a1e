/** `cochlea eval --behaviour` and `cochlea steer`, as people run them: on an encoder without a head that lies in a folder. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { writeSaelensFolder } from '../../src/formats/index.ts';
import { RandomStream } from '../../src/random.ts';
import { tensorsFromWeights, type Weights } from '../../src/sae/index.ts';
import { normals } from '../support/kernels.ts';
import { cochlea, complaint, start } from '../support/cli.ts';
import { makeRecordings, tinyHook, tinyWidth } from '../support/recordings.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-behaviour-'));
const recordings = makeRecordings(folder, 6, { damaged: true });
const place = (name: string): string => join(folder, name);
const dSae = 8;
const random = new RandomStream(4, 1980);

/** A ReLU SAE with an exact dictionary: plus and minus each axis, half as long as they should be. */
async function makeSae(name: string, metadata: Record<string, string | number>, architecture = 'standard'): Promise<string> {
  const axes = Float32Array.from({ length: dSae * tinyWidth }, (_, at) => {
    const latent = Math.floor(at / tinyWidth);
    return at % tinyWidth === latent % tinyWidth ? (latent < tinyWidth ? 1 : -1) : 0;
  });
  const weights: Weights = { W_enc: axes, W_dec: axes.map((value) => 0.9 * value), b_enc: new Float32Array(dSae), b_dec: new Float32Array(tinyWidth), ...(architecture === 'transcoder' ? { W_enc: normals(random, dSae * tinyWidth) } : {}) };
  await writeSaelensFolder(place(name), {
    config: {
      architecture, d_in: tinyWidth, d_sae: dSae, ...(architecture === 'transcoder' ? { d_out: tinyWidth } : {}), dtype: 'float32', device: 'cpu', apply_b_dec_to_input: false, normalize_activations: 'none', reshape_activations: 'none', metadata,
    },
    tensors: tensorsFromWeights(weights),
  });
  return place(name);
}

let sae: string;
before(async () => {
  sae = await makeSae('sae', { model_name: recordings.model, hook_name: tinyHook, seed: 7 });
});
after(() => rmSync(folder, { recursive: true }));

test('eval --behaviour prints a table, and --json every clip\'s numbers', async () => {
  const { code, stdout, stderr } = await cochlea(['eval', sae, '--behaviour', '--audio', recordings.sound]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /skipped .*001-torn\.wav/);
  assert.match(stdout, /^6 clips, \d+ frames at encoder\.layers\.0 of tiny, which has no head; \d+ units\nmean ablation: the mean of the evaluated frames; 1 skipped, each named above\n/);
  for (const row of ['untouched', 'SAE', 'SAE untrained', 'mean ablation', 'zero ablation']) assert.match(stdout, new RegExp(`^${row} {2,}[-\\d]`, 'm'), row);
  assert.match(stdout, /^unit_kl_score_mean +0\.\d+ \[0\.\d+, 0?\.?\d+\]/m);
  const json = await cochlea(['eval', sae, '--behaviour', '--audio', recordings.manifest, '--select', 'voice=low', '--json', '--quiet', '--seed', '3']);
  assert.equal(json.stderr, '');
  const report = JSON.parse(json.stdout) as Record<string, any>;
  assert.deepEqual([report['clips'].length, report['settings'].head, report['settings'].mean, report['settings'].untrained_seed, report['bootstrap']], [3, null, 'evaluated frames', 7, { resamples: 1000, seed: 3 }]);
  assert.equal(report['settings'].select.voice, 'low');
  const { sae: own, zero_ablation: zero, untouched } = report['clips'][0].values;
  // The model is linear behind the hook: nine tenths of the frames give nine tenths of the output.
  assert.ok(Math.abs(own.output_cosine - 1) < 1e-5 && zero.output_cosine === 0 && untouched.unit_flip_rate === 0);
  assert.match(report['conditions'].sae.output_cosine.interval.reason, /at least 5 clips, not 3/);
  assert.ok(!json.stdout.includes('NaN'));
});

test('steer shows what moved beside random directions, and swaps from another recording', async () => {
  const clip = join(recordings.sound, 'even', '000.wav'), other = join(recordings.sound, 'odd', '005.wav');
  const { code, stdout, stderr } = await cochlea(['steer', sae, clip, '--latent', '0', '--strengths', '-1,0.5', '--controls', '2']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^latent 0 of .* at encoder\.layers\.0 of .*: it fires in \d+ of 99 frames, .* in the mean, at most .*\nstrength 1: .*, the latent's largest activation over the clip\n/);
  assert.match(stdout, /^ +frames +length +output_cosine +output_distance\nadd -1 +99 .*\n +random +\S+ \(\S+ to \S+\) .*\nadd 0\.5 +99/m);
  const swap = await cochlea(['steer', sae, other, '--latent', '1', '--swap-from', clip, '--json']);
  assert.match(swap.stderr, /row by row the first 99 were swapped/);
  const report = JSON.parse(swap.stdout) as Record<string, any>;
  assert.deepEqual([report['settings'].mode, report['settings'].swapped, report['settings'].swap_frames, report['frames'], report['rows'].length, report['settings'].controls], ['swap', 99, 99, 124, 1, 4]);
});

test('what cannot be is one line', async () => {
  const clip = join(recordings.sound, 'even', '000.wav');
  const transcoder = await makeSae('across', { model_name: recordings.model, hook_name: tinyHook }, 'transcoder');
  const cases: [string[], RegExp, number, boolean][] = [
    [['eval', sae, '--behaviour', '--activations', clip], /--activations and --behaviour exclude each other: the model has to hear the recordings/, 2, true],
    [['eval', sae, '--behaviour', '--audio', clip, '--pool-seconds', '1'], /--pool-seconds and --behaviour exclude each other/, 2, true],
    [['eval', sae, '--behaviour'], /--behaviour needs --audio/, 2, true],
    [['eval', sae, '--behaviour', '--audio', clip, '--backend', 'native'], /--backend native and --behaviour exclude each other: the two parts of the model run in the wasm build/, 2, true],
    [['eval', sae, '--behaviour', '--audio', clip, '--workers', '2'], /--workers and --behaviour exclude each other/, 2, true],
    [['eval', sae, '--audio', clip, '--targets', 'own'], /--targets is of --behaviour alone/, 2, true],
    [['steer', sae, clip], /--latent <n> is not given/, 2, true],
    [['steer', sae, clip, '--latent', '0', '--mode', 'zero', '--swap-from', clip], /--swap-from and --mode exclude each other/, 2, true],
    [['steer', sae, clip, '--latent', '0', '--strengths', '1,x'], /It must be numbers with commas between them/, 2, true],
    [['eval', transcoder, '--behaviour', '--audio', clip], /a transcoder makes the frames of one hook point from those of another/, 2, false],
  ];
  const queue = [...cases];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [args, line, code, alone] = next;
      const outcome = await cochlea(args);
      assert.match(alone ? complaint(outcome) : outcome.stderr.trimEnd().split('\n').at(-1)!, line);
      assert.deepEqual([outcome.code, outcome.stdout], [code, ''], args.join(' '));
    }
  };
  await Promise.all([work(), work()]);
});

test('Ctrl-C ends it with one line and code 130', async (t) => {
  const many = makeRecordings(place('many'), 300);
  const running = start(['eval', sae, '--behaviour', '--model', many.model, '--audio', many.sound, '--json']);
  while (!running.hasEnded && !running.said.includes('listening: clip 1 of 300')) await wait(5);
  running.kill('SIGINT');
  const { code, stdout, stderr } = await running.ended;
  if (code === 0) return t.diagnostic?.('it was done before it could be stopped');
  assert.deepEqual([code, stdout], [130, ''], stderr);
  assert.match(stderr, /cochlea: stopped after \d+ of 300 clips\n$/);
});
