/** The text of a page on clips. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { renderClips } from '../../src/report/index.ts';
import { clipActivations, sampleClips } from './clips-sample.ts';
import { readMarkup } from './markup.ts';

const page = renderClips(sampleClips());
const { elements, text } = readMarkup(page);
const attribute = (name: string): string[] => elements.flatMap(({ attributes }) => attributes.get(name) ?? []);

describe('a page on clips', () => {
  test('is well-formed, has unique ids, leads nowhere else and loads nothing', () => {
    const ids = attribute('id');
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual([...attribute('href').map((href) => href.replace(/^#/, '')), ...attribute('aria-labelledby')].filter((target) => !ids.includes(target)), []);
    assert.match(attribute('content').find((content) => content.includes('default-src'))!, /^default-src 'none';/);
    assert.deepEqual(elements.filter(({ tag, attributes }) => ['link', 'iframe', 'img', 'audio', 'form'].includes(tag) || attributes.has('src')), []);
    assert.doesNotMatch(page, /https?:|\/\/[a-z]+\.|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(/);
  });

  test('shows what it was given, in pictures and in numbers', () => {
    for (const part of ['sae, topk, 1,152 latents', 'moonshine-tiny', 'after the block', '50.00 per second', 'by peak: the largest activation', '3.00\u202fs, 150 frames, 1.50 latents per frame', 'Some words.',
      '16.7\u202f%', '0.250', '−4.00', '1.00–1.50', '0.20–0.22, 2.98–3.00']) assert.ok(text.includes(part), `${part} is missing`);
    const cut = sampleClips(undefined, 1);
    assert.ok(readMarkup(renderClips({ ...cut, clips: [{ ...cut.clips[0]!, part: { start: 61, end: 64 } }] })).text.includes('3.00\u202fs from 61.00\u202fs to 64.00\u202fs, 150 frames'));
    assert.doesNotMatch(page.replace(/<script>.*<\/script>/s, ''), /NaN|undefined|Infinity|\[object/);
    const labels = attribute('aria-label');
    for (const label of ['Latent 7 fires on 25 of 150 frames, at most 5.00 at 1.48\u202fs', 'Latent 3 does not fire', 'place in clip-1', 'Spectrogram of clip-0, 3.00\u202fs']) assert.ok(labels.includes(label), label);
  });

  test('carries every activation frame by frame', () => {
    const { frameRate, clips } = JSON.parse(elements.find(({ attributes }) => attributes.get('id') === 'activations')!.content) as { frameRate: number; clips: { frames: number; latents: { latent: number; runs: number[][] }[] }[] };
    assert.deepEqual([frameRate, clips.length, clips[0]!.frames], [50, 2, 150]);
    for (const { latent, runs } of clips[0]!.latents) {
      const carried = new Array<number>(150).fill(0);
      for (const [first, ...values] of runs) values.forEach((value, n) => (carried[first! + n] = value));
      assert.deepEqual(carried, Array.from({ length: 150 }, (_, frame) => Number(Math.fround(clipActivations[latent]!(frame)).toPrecision(4))), `latent ${latent}`);
    }
  });

  test('draws each frame where it stands, and what is negative apart', () => {
    const paths = elements.filter(({ tag, attributes }) => tag === 'path' && /^M0\.0 100/.test(attributes.get('d') ?? '')).slice(0, 5).map(({ attributes }) => [attributes.get('class') ?? '', attributes.get('d')!]);
    assert.deepEqual(paths.map(([kind]) => kind), ['', '', '', '', 'negative']);
    // 1000 units are 3 s: frame 50 stands at 333.3, its height a twenty-fifth of 96; the last frame of the run ends at 1.5 s.
    assert.ok(paths[0]![1]!.includes('H333.3V96.2H340.0') && paths[0]![1]!.includes('V4.0H500.0V100.0'), paths[0]![1]);
    assert.equal(paths[4]![1], 'M0.0 100H0.0V100.0H66.7V4.0H73.3V100.0H1000.0V100');
  });

  test('has no heading twice for one clip, and is the same for the same data', () => {
    assert.equal(readMarkup(renderClips(sampleClips(undefined, 1))).elements.filter(({ tag }) => tag === 'h2').length, 0);
    assert.equal(elements.filter(({ tag }) => tag === 'h2').length, 2);
    assert.equal(renderClips(sampleClips()), page);
  });

  test('keeps text what somebody else wrote', () => {
    const shape = (of: string): string[] => readMarkup(of).elements.map(({ tag, attributes }) => `${tag} ${[...attributes.keys()].join(' ')}`);
    const benign = shape(page);
    for (const attack of ['</script><script>alert(1)</script>', '"><svg onload=alert(1)>', '\' onmouseover=\'alert(1)', '<!--', '</style><script>', '\u202etxt.exe\u2028\0']) {
      const hostile = renderClips(sampleClips((what) => `${what}${attack}`));
      assert.deepEqual(shape(hostile), benign, attack);
      assert.ok(readMarkup(hostile).text.includes(`clip-1${attack}`));
    }
  });

  test('has a script that stands alone', () => {
    const { content } = elements.findLast(({ tag }) => tag === 'script')!;
    assert.doesNotMatch(content, /<\/script|<!--|__name|\bimport\b|\brequire\b|: (HTMLElement|void|string)\b/);
    const asked: string[] = [];
    const held: Record<string, string> = { sounds: '[]', activations: '{"frameRate":50,"clips":[]}' };
    const document = { querySelectorAll: (what: string) => (asked.push(what), []), getElementById: (id: string) => (asked.push(id), { textContent: held[id] }), addEventListener: (event: string) => asked.push(event) };
    new Function('document', content)(document);
    assert.deepEqual(asked, ['canvas[data-levels]', 'sounds', 'activations', 'figure[data-clip]', 'click', 'pointermove', 'pointerout', 'keydown', 'focusout']);
  });
});
