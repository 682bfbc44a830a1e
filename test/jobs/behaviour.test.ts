/** Behaviour and steering on whole models: a small one without a head, and, where it can be had, Moonshine with an SAE trained here. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Gpu } from '../../src/gpu/index.ts';
import { type BehaviourReport, scoreBehaviour } from '../../src/jobs/behaviour.ts';
import { type AudioOptions, openAudio } from '../../src/jobs/recordings/audio.ts';
import { steer } from '../../src/jobs/steer.ts';
import { topkConfig } from '../../src/sae/index.ts';
import { readInputMean, trainerConfig, trainRun } from '../../src/training/index.ts';
import { wav } from '../audio/sounds.ts';
import { unreachable } from '../encoders/npm.ts';
import { fails } from '../support/fails.ts';
import { repo } from '../support/paths.ts';
import { makeRecordings, tinyHook } from '../support/recordings.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-behaviour-'));
const place = (...parts: string[]): string => join(folder, ...parts);
const audio = (...parts: string[]): string => repo('demo', 'audio', ...parts);
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => {
  gpu.dispose();
  rmSync(folder, { recursive: true });
});

/** A TopK SAE of recordings at a hook point, into `out`. */
async function trained(out: string, recordings: Pick<AudioOptions, 'model' | 'hook' | 'audio' | 'select' | 'take'>, { dSae, k, steps, batch }: { dSae: number; k: number; steps: number; batch: number }): Promise<string> {
  const open = await openAudio(recordings);
  const source = open.source();
  await trainRun({
    gpu, source, out: place(out), centre: true, shuffle: true, bufferRows: 8192, logEvery: steps, checkpointEvery: steps,
    sae: topkConfig({ d_in: source.dIn, d_sae: dSae, k, normalize_activations: 'expected_average_only_in' }),
    training: trainerConfig({ train_batch_size_samples: batch, total_training_samples: steps * batch, lr: 4e-3, lr_warm_up_steps: 5, lr_decay_steps: steps >> 2, seed: 42 }),
  });
  await open.close();
  return place(out);
}

describe('an encoder without a head', () => {
  let sae: string, sound: string, model: string;
  before(async () => {
    ({ sound, model } = makeRecordings(place('tiny'), 6, { damaged: true }));
    sae = await trained('tiny-sae', { model, hook: tinyHook, audio: [sound] }, { dSae: 16, k: 3, steps: 20, batch: 128 });
  });

  test('is scored against the mean of the training frames and the SAE before its first step', async () => {
    const score = (): Promise<BehaviourReport> => scoreBehaviour({ gpu, sae, audio: [sound], model, seed: 1, resamples: 100 });
    const report = await score();
    assert.deepEqual([report.settings.mean, report.settings.untrained_seed, report.settings.head, report.settings.targets, report.clips.length, report.skipped.length], ['training frames', 42, null, null, 6, 1]);
    assert.match(report.skipped[0]!, /001-torn\.wav/);
    const better = report.differences.untrained_sae!['unit_kl_score_mean']!;
    assert.ok(better.value! > 0 && better.interval.low! > 0, JSON.stringify(better));
    // Without the file the mean of the evaluated frames stands in, which here are the same.
    const mean = (await readInputMean(sae, 4))!;
    rmSync(join(sae, 'input_mean.safetensors'));
    const without = await score();
    assert.equal(without.settings.mean, 'evaluated frames');
    const [given, found] = [report, without].map(({ conditions }) => conditions.mean_ablation!['output_cosine']!.value!);
    assert.ok(Math.abs(given! - found!) < 1e-4, `${given} and ${found}, mean ${mean}`);
  });

  test('what cannot be is said: recordings, latents, another width, strengths without a unit', async () => {
    await assert.rejects(scoreBehaviour({ gpu, sae, model, audio: [join(sound, 'odd', '001-torn.wav')] }), fails('audio', /none of 1 clips could be used/));
    await assert.rejects(scoreBehaviour({ gpu, sae, model, audio: [sound], strict: true }), fails('audio', /001-torn\.wav/));
    await assert.rejects(scoreBehaviour({ gpu, sae, model, audio: [sound], hook: 'encoder.layers.9' }), fails('hook', /encoder\.layers\.9/));
    const clip = join(sound, 'even', '000.wav'), common = { gpu, sae, model, clip };
    await assert.rejects(steer({ ...common, latent: 16, mode: 'zero' }), fails('usage', /there is no latent 16/));
    await assert.rejects(steer({ ...common, latent: 0, mode: 'scale', unit: 2 }), fails('usage', /mode scale has no unit/));
    await assert.rejects(steer({ ...common, latent: 0, mode: 'zero', strengths: [1] }), fails('usage', /mode zero has no strengths/));
    await assert.rejects(steer({ ...common, clip: sound, latent: 0, mode: 'zero' }), fails('usage', /holds 7 recordings: steering takes one at a time/));
    const short = place('short.wav');
    writeFileSync(short, wav([1, 2]));
    for (const given of [{ clip: short }, { clip, swapFrom: short }]) {
      await assert.rejects(steer({ ...common, latent: 0, mode: 'swapFrom' in given ? 'swap' : 'zero', ...given }), fails('audio', /short\.wav: the clip has 2 samples, but one frame needs 4/));
    }
    let silent = 0;
    while (silent < 15 && (await steer({ ...common, latent: silent, mode: 'zero', controls: 0 })).activation.frames > 0) silent++;
    await assert.rejects(steer({ ...common, latent: silent, mode: 'add' }), fails('usage', /never fires in .*000\.wav, so that a strength has no unit/));
    const given = await steer({ ...common, latent: silent, mode: 'add', unit: 2, strengths: [1], controls: 0 });
    assert.deepEqual([given.settings.unit, given.settings.unit_is, given.rows[0]!.framesChanged], [2, 'as given', given.frames]);
  });
});

const missing = await unreachable('moonshine-tiny');

describe('Moonshine', { skip: missing ?? false }, () => {
  let sae: string, manifest: string;
  before(async () => {
    const russian = { model: 'moonshine-tiny', hook: 'encoder.layers.3', audio: [audio('manifest.csv')], select: { split: 'train' }, take: 4 };
    sae = await trained('moonshine-sae', russian, { dSae: 384, k: 32, steps: 40, batch: 256 });
    // Beginnings of English recordings, which the SAE has not heard; texts of two of them.
    const parts = [['0870', 0, 1.5, ''], ['0880', 0, 2.9, 'he was not an ill disposed young man'], ['0890', 0, 1.5, ''], ['0920', 0, 1.5, ''], ['0930', 0, 1.5, '']] as const;
    manifest = place('parts.csv');
    writeFileSync(manifest, ['path,start,end,text', ...parts.map(([name, start, end, text]) => `${audio('en', `sense_and_sensibility_01_austen_64kb-${name}.flac`)},${start},${end},${text}`)].join('\n'));
  });

  test('does much more with reconstructions than with those of the untrained SAE, the mean and zeros', async (t) => {
    const notices: string[] = [];
    const report = await scoreBehaviour({ gpu, sae, audio: [manifest], onNotice: (line) => notices.push(line) });
    assert.deepEqual([report.settings.head, report.settings.targets, report.clips.length, report.withText, report.skipped], ['seq2seq', 'own', 5, 1, []]);
    assert.ok(notices.includes('targets: the untouched model\'s own words (4 of 5 clips have no text)'), notices.join('\n'));
    const { sae: own, untrained_sae: blank } = report.scores;
    t.diagnostic?.(`CE recovered ${own!['ce_loss_score']!.value}, untrained ${blank!['ce_loss_score']!.value}`);
    for (const name of ['ce_loss_score', 'kl_div_score', 'ce_loss_score_mean', 'kl_div_score_mean']) {
      const difference = report.differences.untrained_sae![name]!;
      assert.ok(difference.interval.low! > 0.2, `${name}: ${JSON.stringify(difference)}`);
    }
    for (const name of ['untrained_sae', 'mean_ablation', 'zero_ablation'] as const) {
      for (const metric of ['ce_loss', 'kl_div']) assert.ok(report.differences[name]![metric]!.interval.high! < 0, `${metric} of ${name}`);
    }
    assert.match(report.clips[1]!.transcripts.untouched!, /^He was not/);
    assert.equal(report.conditions.untouched!['kl_div']!.value, 0);
  });

  test('keeps its words when the latent is scaled by one, and loses them when a long direction is added', async () => {
    const clip = audio('en', 'sense_and_sensibility_01_austen_64kb-0880.flac');
    const report = await steer({ gpu, sae, clip, latent: 3, mode: 'add', unit: 100, strengths: [0, 5], controls: 1 });
    assert.equal(report.unsteered.transcript, 'He was not an ill-sposed young man.');
    const [nothing, much] = report.rows;
    assert.deepEqual([nothing!.transcript, nothing!.moved.tokens_changed, nothing!.moved.kl_div, nothing!.moved.output_cosine! > 1 - 1e-6], [report.unsteered.transcript, 0, 0, true]);
    assert.ok(much!.moved.tokens_changed! > 3 && much!.moved.kl_div! > 1 && much!.moved.output_cosine! < 0.9, JSON.stringify(much));
    assert.ok(much!.controls.kl_div!.mean > 0.1);
  });
});
