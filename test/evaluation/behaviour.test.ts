/** What a model still does with reconstructions, on a model whose frames are its logits. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Behaviour, type BehaviourOptions, evaluateBehaviour, type SaeLike, surveyClips } from '../../src/evaluation/index.ts';
import { RandomStream } from '../../src/random.ts';
import { fails } from '../support/fails.ts';
import { assertClose } from '../support/numbers.ts';
import { fakeModel, says, vocabulary } from './fake-model.ts';
import { sparseOf } from './made-up.ts';

/** Frames times a factor, one latent a frame. */
const scaled = (factor: number): SaeLike => ({
  dIn: vocabulary, dSae: 1, run: async (x) => ({ recon: x.map((value) => factor * value), acts: sparseOf(new Float32Array(x.length / vocabulary).fill(1), 1) }),
});

interface Recording {
  text?: string;
  /** Frames of each window. */
  windows: Float32Array[];
}

/** Runs an evaluation of clips `clip 0`, `clip 1`, ... */
async function evaluated(kind: 'seq2seq' | 'ctc' | 'none', recordings: Recording[], options: Partial<BehaviourOptions> = {}): Promise<Behaviour & { disposed: number; opened: number }> {
  const model = fakeModel(kind);
  let opened = 0;
  const clips = recordings.map(({ text }, n) => ({ id: `clip ${n}`, text }));
  const open: BehaviourOptions['open'] = async ({ id }) => {
    const { windows } = recordings[Number(id.split(' ')[1])];
    if (windows.length === 0) return undefined;
    opened++;
    return model.split(Float32Array.from(windows.flatMap((frames) => [...frames])), ...windows.map((frames) => frames.length / vocabulary));
  };
  const survey = await surveyClips(model, clips, open, { seed: 3 });
  const behaviour = await evaluateBehaviour({ model, sae: scaled(0.5), untrained: scaled(0), mean: survey.mean, survey, open, targets: 'text', seed: 3, resamples: 200, ...options });
  return { ...behaviour, disposed: model.disposed, opened };
}

const value = ({ conditions }: Behaviour, condition: 'untouched' | 'sae' | 'untrained_sae' | 'mean_ablation' | 'zero_ablation', metric: string): number | null => conditions[condition]![metric].value;

/** -log of the share that softmax gives a logit of `height` among three of zero; and of one of those zeros. */
const loss = (height: number): number => Math.log(1 + 3 * Math.exp(-height));
const missed = (height: number): number => loss(height) + height;
const kl = (from: number, to: number): number => {
  const p = Math.exp(-loss(from));
  return p * (loss(to) - loss(from)) + (1 - p) * (missed(to) - missed(from));
};

describe('with a decoder', () => {
  const recordings: Recording[] = [
    { text: 'ah bee', windows: [says(1, 2, 0)] }, // as it is said
    { text: 'Bee, see!', windows: [says(2, 2, 0, 1)] }, // one word of two wrong, and a frame behind the end
  ];
  // The texts' tokens are written as the tokenizer has them; words() sees through the rest.
  const spelt = recordings.map((one) => ({ ...one, text: one.text!.toLowerCase().replace(/[,!]/g, '') }));

  test('every number is the one had by hand', async () => {
    const result = await evaluated('seq2seq', spelt);
    assert.deepEqual([result.frames, result.positions, result.withText, result.clips.length, result.units], [7, 6, 2, 2, null]);
    assertClose([value(result, 'untouched', 'ce_loss')!, value(result, 'sae', 'ce_loss')!], [(5 * loss(2) + missed(2)) / 6, (5 * loss(1) + missed(1)) / 6], 1e-6);
    assertClose([value(result, 'zero_ablation', 'ce_loss')!, value(result, 'untrained_sae', 'ce_loss')!], [Math.log(4), Math.log(4)], 1e-6);
    assertClose([value(result, 'sae', 'kl_div')!, value(result, 'zero_ablation', 'kl_div')!], [kl(2, 1), kl(2, 0)], 1e-6);
    const [own, before, zero] = (['sae', 'untouched', 'zero_ablation'] as const).map((name) => value(result, name, 'ce_loss')!);
    assertClose([result.scores.sae!['ce_loss_score'].value!, result.scores.sae!['kl_div_score'].value!], [(zero - own) / (zero - before), 1 - kl(2, 1) / kl(2, 0)], 1e-6);
    assert.deepEqual([value(result, 'untouched', 'wer'), value(result, 'sae', 'wer'), value(result, 'zero_ablation', 'wer')], [1 / 4, 1 / 4, 1]);
    assert.deepEqual([value(result, 'untouched', 'wer_to_own'), value(result, 'zero_ablation', 'wer_to_own')], [0, 1]);
    // Of zeros token 0 is the most likely: right at the two ends.
    assert.deepEqual([value(result, 'sae', 'tokens_kept'), value(result, 'zero_ablation', 'tokens_kept')], [1, 2 / 6]);
    assertClose([value(result, 'sae', 'output_cosine')!, value(result, 'zero_ablation', 'output_cosine')!], [1, 0]);
    assert.deepEqual([value(result, 'sae', 'l0'), value(result, 'untouched', 'l0'), result.conditions.untouched!['output_cka']], [1, null, undefined]);
    assert.deepEqual(result.clips[1].transcripts, { untouched: 'bee bee', sae: 'bee bee', untrained_sae: '', mean_ablation: 'bee bee bee bee', zero_ablation: '' });
    assert.deepEqual([result.clips[1].text, result.clips[1].positions, result.clips[1].values.untouched!['wer']], ['bee see', 3, 0.5]);
  });

  test('mean ablation is the mean of all frames, and scores against it', async () => {
    const mean = says(1, 2, 0, 2, 2, 0, 1).reduce((sum, own, at) => (sum[at % 4] += own / 7, sum), new Float64Array(4));
    const norm = Math.log(mean.reduce((sum, own) => sum + Math.exp(own), 0));
    const result = await evaluated('seq2seq', spelt);
    const ablated = [1, 2, 0, 2, 3, 0].reduce((sum, target) => sum + norm - mean[target], 0) / 6;
    assertClose([value(result, 'mean_ablation', 'ce_loss')!], [ablated], 1e-6);
    const [own, before] = (['sae', 'untouched'] as const).map((name) => value(result, name, 'ce_loss')!);
    assertClose([result.scores.sae!['ce_loss_score_mean'].value!], [(ablated - own) / (ablated - before)], 1e-6);
    const given = await evaluated('seq2seq', spelt, { mean: says(3) });
    assert.equal(given.clips[0].transcripts.mean_ablation, 'see see see');
  });

  test('targets of its own are what the untouched model says', async () => {
    const result = await evaluated('seq2seq', [{ windows: [says(1, 0)] }, { text: 'ah', windows: [says(3, 2), says([1, 3], 0)] }], { targets: 'own' });
    assert.equal(result.positions, 2 + 4);
    assertClose([value(result, 'untouched', 'ce_loss')!], [(5 * loss(2) + loss(3)) / 6], 1e-6);
    assert.deepEqual([result.withText, result.clips[1].transcripts.untouched, value(result, 'untouched', 'wer')], [1, 'see bee ah', 2]);
    assert.equal(result.clips[0].text, null);
  });

  test('an exact SAE recovers all, and one that knows the mean alone nothing of mean ablation', async () => {
    const exact = await evaluated('seq2seq', spelt, { sae: scaled(1) });
    for (const score of Object.values(exact.scores.sae!)) assert.equal(score.value, 1);
    assert.deepEqual([value(exact, 'sae', 'kl_div'), exact.differences.untouched!['ce_loss'].value], [0, 0]);
    const mean = says(2);
    const only = await evaluated('seq2seq', spelt, { mean, sae: { ...scaled(1), run: async (x) => ({ recon: x.map((_, at) => mean[at % 4]), acts: sparseOf(new Float32Array(x.length / 4), 1) }) } });
    assert.deepEqual([only.scores.sae!['ce_loss_score_mean'].value, only.scores.sae!['kl_div_score_mean'].value, value(only, 'sae', 'l0')], [0, 0, 0]);
  });

  test('words that are said where the text, or the untouched model, has none are errors', async () => {
    // `...` has no word. The mean frame of all three clips is `ah`, for as long as the clip is.
    const recordings = [{ text: 'ah ah ah', windows: [says(1, 1, 1)] }, { text: 'ah', windows: [says(1)] }, { text: '...', windows: [says(0, 0)] }];
    const result = await evaluated('seq2seq', recordings, { targets: 'own' });
    assert.deepEqual(result.clips[2].transcripts, { untouched: '', sae: '', untrained_sae: '', mean_ablation: 'ah ah', zero_ablation: '' });
    assert.deepEqual([value(result, 'untouched', 'wer'), value(result, 'mean_ablation', 'wer'), value(result, 'mean_ablation', 'wer_to_own')], [0, 2 / 4, 2 / 4]);
    // Without a text there is nothing to be wrong against.
    const without = await evaluated('seq2seq', [...recordings.slice(0, 2), { windows: [says(0, 0)] }], { targets: 'own' });
    assert.deepEqual([value(without, 'mean_ablation', 'wer'), value(without, 'mean_ablation', 'wer_to_own')], [0, 2 / 4]);
  });

  test('what is not defined is null, with the reason, in values and intervals', async () => {
    const silent = await evaluated('seq2seq', [{ windows: [says([0, 0])] }], { targets: 'own' });
    assert.deepEqual(silent.conditions.sae!['wer'], { value: null, reason: 'no clip has a text', interval: { low: null, high: null, reason: 'an interval needs at least 5 clips, not 1' } });
    assert.match(JSON.stringify(silent.conditions.sae!['wer_to_own']), /the untouched model hears no word/);
    assert.match(JSON.stringify(silent.scores.sae!['ce_loss_score']), /"value":null,"reason":"zero ablation does no harm that could be undone"/);
    assert.ok(!JSON.stringify(silent).includes('NaN'));
    const absent = await evaluated('seq2seq', spelt, { untrained: { reason: 'nobody knows' } });
    assert.deepEqual([absent.absent, absent.conditions.untrained_sae, absent.scores.untrained_sae], [{ untrained_sae: 'nobody knows' }, undefined, undefined]);
  });

  test('intervals come from whole clips drawn again, paired, and the same for the same seed', async () => {
    const random = new RandomStream(8, 1970);
    const many = Array.from({ length: 8 }, () => ({ text: 'ah bee', windows: [Float32Array.from(says(1, 2, 0), (own) => own + random.normal())] }));
    const result = await evaluated('seq2seq', many);
    const again = await evaluated('seq2seq', many);
    assert.deepEqual(again, result);
    assert.notDeepEqual((await evaluated('seq2seq', many, { seed: 4 })).conditions, result.conditions);
    // All clips have as many tokens, so that the ratio of sums is the mean of the clips' own: resampled here by hand.
    const own = result.clips.map(({ values }) => values.sae!['ce_loss']! - values.zero_ablation!['ce_loss']!);
    const draw = new RandomStream(3, 4);
    const means = Array.from({ length: 200 }, () => Array.from({ length: 8 }, () => own[draw.below(8)]).reduce((sum, one) => sum + one / 8, 0)).sort((a, b) => a - b);
    const { value: difference, interval } = result.differences.zero_ablation!['ce_loss'];
    const between = (place: number): number => means[Math.floor(place)] + (means[Math.ceil(place)] - means[Math.floor(place)]) * (place % 1);
    assertClose([difference!, interval.low!, interval.high!], [own.reduce((sum, one) => sum + one / 8, 0), between(0.025 * 199), between(0.975 * 199)], 1e-9);
  });
});

test('of a CTC head positions are frames, blanks are not counted as kept, and texts have the CTC loss', async () => {
  const recordings: Recording[] = [{ text: 'ah bee', windows: [says(1, 1, 0, 2)] }];
  const own = await evaluated('ctc', recordings, { targets: 'own' });
  assertClose([value(own, 'untouched', 'ce_loss')!, value(own, 'sae', 'kl_div')!, value(own, 'zero_ablation', 'tokens_kept')!], [loss(2), kl(2, 1), 0], 1e-6);
  assert.deepEqual([own.positions, own.clips[0].transcripts.untouched, value(own, 'untouched', 'wer')], [4, 'ah bee', 0]);
  const text = await evaluated('ctc', recordings, { targets: 'text' });
  // Of uniform frames each of the ways to say two tokens in four frames has a share of 4^-4: 15 of them.
  assertClose([text.positions, value(text, 'zero_ablation', 'ce_loss')!, value(text, 'sae', 'kl_div')!], [2, -Math.log(15 / 256) / 2, kl(2, 1)], 1e-6);
});

describe('without a head', () => {
  const random = new RandomStream(8, 1971);
  const recordings = Array.from({ length: 6 }, () => ({ windows: [Float32Array.from({ length: 40 * vocabulary }, (_, at) => 6 * Number(at % 4 === (at >> 4) % 3) + random.normal())] }));

  test('an exact SAE leaves cosine, CKA and units as they are, ablations do not', async () => {
    const exact = await evaluated('none', recordings, { sae: scaled(1) });
    assert.deepEqual([exact.units, exact.positions, exact.clips[0].transcripts], [24, 0, {}]);
    assert.deepEqual([value(exact, 'sae', 'unit_flip_rate'), value(exact, 'sae', 'unit_kl'), exact.scores.sae!['unit_kl_score'].value], [0, 0, 1]);
    assertClose([value(exact, 'sae', 'output_cosine')!, value(exact, 'sae', 'output_cka')!], [1, 1]);
    assert.ok(value(exact, 'mean_ablation', 'unit_flip_rate')! > 0.8);
    assert.match(JSON.stringify(exact.conditions.zero_ablation!['output_cka']), /"value":null,"reason":"the output does not vary/);
    assert.deepEqual(Object.keys(exact.conditions.sae!), ['output_cosine', 'output_cka', 'unit_flip_rate', 'unit_kl', 'l0']);
    assert.ok(exact.scores.sae!['unit_kl_score_mean'].interval.low === 1);
  });

  test('a scaled one keeps directions and CKA, and not the units', async () => {
    const half = await evaluated('none', recordings);
    assertClose([value(half, 'sae', 'output_cosine')!, value(half, 'sae', 'output_cka')!], [1, 1], 1e-6);
    assert.ok(value(half, 'sae', 'unit_flip_rate')! > 0);
  });

  test('few frames have no units, and say so', async () => {
    const few = await evaluated('none', [{ windows: [says(1, 2, 3)] }]);
    assert.deepEqual(few.conditions.sae!['unit_flip_rate'].value, null);
    assert.match(JSON.stringify(few.conditions.sae!['unit_flip_rate']), /too few frames for units/);
    assert.match(JSON.stringify(few.conditions.sae!['output_cka']), /no clip has four frames/);
  });
});

describe('clips that cannot be used', () => {
  const good: Recording = { text: 'ah', windows: [says(1, 0)] };

  test('are named, counted and left out under every condition; all others are freed', async () => {
    const lines: string[] = [];
    const result = await evaluated('seq2seq', [
      good, { windows: [] }, { windows: [says(1, 0)] }, { text: 'ah', windows: [says([1, NaN], 0)] }, { text: 'ah', windows: [says(1, 0), says(2, 0)] }, good, { text: '  ', windows: [says(1, 0)] },
    ], { onSkip: (line) => lines.push(line), mean: new Float32Array(4) });
    assert.deepEqual(result.skipped, lines);
    assert.deepEqual(lines.map((line) => line.slice(0, 20)), ['clip 2: it has no te', 'clip 3: the decoder ', 'clip 4: it is longer', 'clip 6: it has no te']);
    assert.deepEqual([result.clips.map(({ id }) => id), result.disposed], [['clip 0', 'clip 5'], result.opened]);
  });

  test('stop it with strict, and when none is left', async () => {
    await assert.rejects(evaluated('seq2seq', [good, { windows: [says(1, 0)] }], { strict: true }), fails('audio', /clip 1: it has no text/));
    await assert.rejects(evaluated('seq2seq', [{ windows: [says(1, 0)] }]), fails('audio', /none of 1 clips could be used: clip 0: it has no text/));
    await assert.rejects(evaluated('seq2seq', [{ windows: [] }]), fails('audio', /none of 1 clips could be used/));
  });

  test('that are not finite spoil neither the mean frame nor the units of the others', async () => {
    const random = new RandomStream(9, 1972);
    const speech = Array.from({ length: 6 }, (): Recording => ({
      windows: [Float32Array.from({ length: 40 * vocabulary }, (_, at) => 6 * Number(at % 4 === (at >> 4) % 3) + random.normal())],
    }));
    const broken: Recording = { windows: [Float32Array.from({ length: 40 * vocabulary }, (_, at) => (at === 70 ? NaN : 1))] };
    const [all, some] = [await evaluated('none', speech), await evaluated('none', [...speech.slice(0, 3), broken, ...speech.slice(3)])];
    assert.equal(some.skipped.length, 1);
    assert.match(some.skipped[0], /^clip 3: /);
    for (const [condition, metric] of [['mean_ablation', 'output_cosine'], ['mean_ablation', 'unit_flip_rate'], ['zero_ablation', 'unit_kl']] as const) {
      assert.equal(value(some, condition, metric), value(all, condition, metric), `${condition} ${metric}`);
    }
    await assert.rejects(evaluated('none', [broken, broken]), fails('not-finite', /of each of 2 clips the model gives NaN/));
  });

  test('an SAE that gives NaN leaves no clip, and no number', async () => {
    await assert.rejects(evaluated('none', [{ windows: [says(1, 2, 3, 0)] }], { sae: scaled(NaN) }), fails('audio', /what the model gives is NaN or infinite/));
  });

  test('it ends when it is told to', async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    await assert.rejects(evaluated('seq2seq', [good, good, good], {
      signal: stop.signal, onProgress: ({ pass, clip, clips }) => {
        seen.push(`${pass} ${clip}/${clips}`);
        if (clip === 2) stop.abort();
      },
    }), fails('interrupted', /stopped after 1 of 3 clips/));
    assert.deepEqual(seen, ['measure 1/3', 'measure 2/3']);
  });
});
