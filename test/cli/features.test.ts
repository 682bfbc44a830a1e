/** `cochlea features`: what it says of a recording is what the encoder and the SAE say of it. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadClip } from '../../src/audio/index.ts';
import { openEncoder } from '../../src/encoders/index.ts';
import { writeSaelensFolder } from '../../src/formats/index.ts';
import { Gpu } from '../../src/gpu/index.ts';
import { RandomStream } from '../../src/random.ts';
import { SAE, tensorsFromWeights } from '../../src/sae/index.ts';
import { cochlea, complaint } from '../support/cli.ts';
import { makeRecordings, tinyHook, tinyWidth } from '../support/recordings.ts';
import { randomTopk } from '../support/topk-problem.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-features-'));
after(() => rmSync(folder, { recursive: true }));
const place = (...parts: string[]): string => join(folder, ...parts);
const { model, sound, manifest } = makeRecordings(folder, 4, { damaged: true });
const clip = join(sound, 'even', '002.wav');
const dSae = 24, k = 3, frameRate = 8000;

interface Listed {
  latent: number;
  firings: number;
  share: number;
  mean: number;
  peak: number | null;
  peakTime: number | null;
  runs: [number, number, number][];
}
type Result = { clips: { clip: string; start: number; end: number; frames: number; l0: number; latents: Listed[] }[]; skipped: string[]; model: string; hook: string; frameRate: number };

/** Activations [frames, d_sae] of the clip, by the encoder and the SAE themselves. */
let dense: Float32Array, frames: number;
/** The frames on which a latent fires. */
const firing = (latent: number): number[] => Array.from({ length: frames }, (_, row) => row).filter((row) => dense[row * dSae + latent] !== 0);

async function saeFolder(name: string, metadata: Record<string, string | number>, dIn = tinyWidth): Promise<string> {
  await writeSaelensFolder(place(name), {
    config: {
      architecture: 'topk', d_in: dIn, d_sae: dSae, dtype: 'float32', device: 'cpu', apply_b_dec_to_input: true, normalize_activations: 'none', reshape_activations: 'none',
      metadata, k, rescale_acts_by_decoder_norm: true,
    },
    tensors: tensorsFromWeights(randomTopk(new RandomStream(41, 1600), { dIn, dSae })),
  });
  return place(name);
}

before(async () => {
  const sae = await saeFolder('sae', { model_name: model, hook_name: tinyHook, frame_rate: frameRate });
  const encoder = await openEncoder({ model, hook: tinyHook });
  const { samples } = await loadClip({ id: '', path: clip, labels: {} }, encoder.sampleRate);
  const { frames: x, valid } = await encoder.encode(samples);
  await encoder.close();
  const gpu = await Gpu.open();
  dense = await (await SAE.load(gpu, sae)).encode(x.subarray(0, valid * tinyWidth));
  frames = valid;
  gpu.dispose();
});

async function json(...args: string[]): Promise<Result> {
  const { code, stdout, stderr } = await cochlea(['features', ...args, '--json', '--quiet']);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Result;
}

test('every latent that fires, with its runs, as encoder and SAE give it; model and hook as the SAE says', async () => {
  const { clips: [one], skipped, ...about } = await json(place('sae'), clip, '--top', '100', '--by', 'mean');
  assert.deepEqual([about.hook, about.frameRate, skipped], [tinyHook, frameRate, []]);
  assert.deepEqual([one!.clip, one!.start, one!.frames], ['002.wav', 0, frames]);
  assert.equal(one!.l0, dense.filter((value) => value !== 0).length / frames);
  const fires = Array.from({ length: dSae }, (_, latent) => latent).filter((latent) => firing(latent).length > 0);
  assert.deepEqual(one!.latents.map(({ latent }) => latent).sort((a, b) => a - b), fires);
  one!.latents.reduce((before, { mean }) => (assert.ok(mean <= before), mean), Infinity);
  for (const { latent, firings, share, peak, peakTime, runs } of one!.latents) {
    const own = Array.from({ length: frames }, (_, row) => dense[row * dSae + latent]!);
    const again = new Array<number>(frames).fill(0);
    for (const [from, to, highest] of runs) {
      const [first, end] = [Math.round(from * frameRate), Math.round(to * frameRate)];
      again.fill(1, first, end);
      assert.equal(Math.fround(highest), Math.max(...own.slice(first, end)));
    }
    assert.deepEqual(again, own.map((value) => (value !== 0 ? 1 : 0)), `latent ${latent}`);
    assert.deepEqual([firings, share], [again.filter(Boolean).length, again.filter(Boolean).length / frames]);
    assert.deepEqual([Math.fround(peak!), Math.round(peakTime! * frameRate)], [Math.max(...own), own.indexOf(Math.max(...own))]);
  }
});

test('a table for people: the same order, one table per clip, what was skipped named and counted', async () => {
  const { code, stdout, stderr } = await cochlea(['features', place('sae'), sound, '--top', '3']);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^skipped .*001-torn\.wav/m);
  const [first, ...tables] = stdout.trimEnd().split(/\n(?=\S+\.wav: )/);
  assert.match(first!, /^encoder\.layers\.0 of \S+\n$/);
  assert.equal(tables.length, 4);
  for (const one of tables) assert.match(one, /^\S+\.wav: 0\.0\d s, \d+ frames, [\d.]+ latents per frame\nlatent +firings +share +mean +peak +at s +fires from-to, s\n( +\d+ .*\n?){3}/);
  assert.match(stdout, /\n1 skipped, each named above\n$/);
  const peak = (latent: number): number => Math.max(...firing(latent).map((row) => dense[row * dSae + latent]!));
  const strongest = Array.from({ length: dSae }, (_, latent) => latent).filter((latent) => firing(latent).length > 0).sort((a, b) => peak(b) - peak(a) || a - b);
  const listed = [...tables.find((one) => one.startsWith('even/002.wav'))!.matchAll(/^ *(\d+) +\d+ +[\d.]+% /gm)].map((match) => Number(match[1]));
  assert.deepEqual(listed, strongest.slice(0, 3));
});

test('named latents in the order given, of a part of a clip; what never fires says so', async () => {
  const silent = Array.from({ length: dSae }, (_, latent) => latent).find((latent) => firing(latent).length === 0);
  const latents = [...(silent === undefined ? [] : [silent]), 5, 2];
  const { clips: [one] } = await json(place('sae'), clip, '--latents', latents.join(), '--start', '0.005', '--end', '0.01');
  assert.deepEqual([one!.start, one!.end, one!.frames], [0.005, 0.01, 39]); // 80 samples: a frame every 2, of which the first needs 4
  assert.deepEqual(one!.latents.map(({ latent }) => latent), latents);
  if (silent !== undefined) assert.deepEqual(one!.latents[0], { latent: silent, firings: 0, share: 0, mean: 0, peak: null, peakTime: null, runs: [] });
});

test('--html writes one page with the clips that are chosen, and the JSON says where', async () => {
  const page = place('deep', 'page.html');
  const { stdout, code, stderr } = await cochlea(['features', place('sae'), manifest, '--select', 'voice=high', '--top', '4', '--html', page, '--json', '--quiet']);
  assert.equal(code, 0, stderr);
  const { html, clips } = JSON.parse(stdout) as Result & { html: string };
  assert.deepEqual([html, clips.length], [page, 2]);
  const text = readFileSync(page, 'utf8');
  assert.equal([...text.matchAll(/<figure /g)].length, clips.length);
  for (const { clip: id, latents } of clips) {
    assert.ok(text.includes(id));
    for (const { latent } of latents) assert.ok(text.includes(`data-latent="${latent}"`));
  }
});

test('says what does not fit, in one line, and writes nothing', async () => {
  const nameless = await saeFolder('nameless', {});
  const refused = async (code: number, message: RegExp, ...args: string[]): Promise<void> => {
    const outcome = await cochlea(['features', ...args, '--quiet']);
    assert.match(complaint(outcome), message);
    assert.equal(outcome.code, code);
  };
  await refused(2, /: --latents and --by exclude each other: give one of them$/, place('sae'), clip, '--latents', '1', '--by', 'mean');
  await refused(2, /argument '3,x' is invalid\. It must be whole numbers with commas between them, as 3,17\./, place('sae'), clip, '--latents', '3,x');
  await refused(2, /: --end 1 does not lie behind --start 2: /, place('sae'), clip, '--start', '2', '--end', '1');
  await refused(2, /: the SAE does not say which model it was trained on: give --model$/, nameless, clip, '--latents', '23');
  await refused(2, /: there is no latent 24: the SAE has latents 0 to 23$/, nameless, clip, '--latents', '24');
  await refused(2, /: encoder\.layers\.0 of \S+ has 4 numbers per frame, the SAE has d_in 5: /, await saeFolder('wide', { model_name: model, hook_name: tinyHook }, 5), clip);
  await refused(1, /: none of 1 clips could be used: .*001-torn\.wav/, place('sae'), join(sound, 'odd', '001-torn.wav'), '--html', place('none.html'));
  assert.ok(!existsSync(place('none.html')));
  const recording = readFileSync(clip);
  await refused(1, /: .* is there, and is no page: it would be lost: give --html the name of the page to write$/, place('sae'), '--html', clip, clip);
  assert.ok(readFileSync(clip).equals(recording));
});
