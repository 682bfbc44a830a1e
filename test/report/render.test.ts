import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { evaluate, saeMetrics } from '../../src/evaluation/index.ts';
import { RandomStream } from '../../src/random.ts';
import { html, json, type Piece } from '../../src/report/html.ts';
import { renderReport } from '../../src/report/index.ts';
import { significant } from '../../src/report/numbers.ts';
import { inChunks, madeUpFrames, madeUpSae } from '../evaluation/made-up.ts';
import { readMarkup } from './markup.ts';
import { sampleReport } from './sample.ts';

const page = renderReport(sampleReport());
const { elements, text } = readMarkup(page);
const attribute = (name: string): string[] => elements.flatMap(({ attributes }) => attributes.get(name) ?? []);

describe('a report', () => {
  test('is well-formed, with unique ids and no link or description that leads nowhere', () => {
    const ids = attribute('id');
    assert.equal(new Set(ids).size, ids.length);
    const targets = [...attribute('href').map((href) => href.replace(/^#/, '')), ...attribute('aria-describedby'), ...attribute('aria-labelledby')];
    assert.ok(targets.length > 10);
    assert.deepEqual(targets.filter((target) => !ids.includes(target)), []);
  });

  test('loads nothing: all links lead into the page itself and its policy forbids the rest', () => {
    assert.match(attribute('content').find((content) => content.includes('default-src'))!, /^default-src 'none';/);
    assert.deepEqual(elements.filter(({ attributes }) => ['src', 'srcset', 'action', 'poster', 'data'].some((name) => attributes.has(name))), []);
    assert.ok(attribute('href').every((href) => href.startsWith('#')));
    assert.deepEqual(elements.filter(({ tag }) => ['link', 'iframe', 'object', 'embed', 'form', 'base', 'img', 'audio'].includes(tag)), []);
    assert.doesNotMatch(page, /https?:|\/\/[a-z]+\.|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(/);
  });

  test('shows what it was given', () => {
    for (const part of ['moonshine-tiny', 'encoder.layers.3', '2,048 (7.11 × d_in)', '4,096 frames', '220,000 frames, 600 clips, 90.0 min', '7,000 frames of 20 clips',
      'what explained_variance is.', '0.8123', '0.790 to 0.830', '−0.01000', 'no interval', 'none', '4 never fire', 'Some words.', '3.12\u202f%', '0.33',
      '50 of its 100 firings', 'recall 0.25', 'Best of 51 labels', 'Strongest firings', 'Firings drawn at random', '3.25 at 0.80\u202fs', 'BSD-like']) {
      assert.ok(text.includes(part), `${part} is missing`);
    }
    assert.doesNotMatch(page, /NaN|undefined|Infinity|\[object/);
    assert.deepEqual(attribute('data-sound'), ['1', '0', '1', '0', '0', '1', '0']);
    assert.deepEqual(elements.filter(({ tag }) => tag === 'canvas').map(({ attributes }) => attributes.get('data-levels')!.length), [9600, ...Array<number>(6).fill(3840)]);
  });

  test('holds its sounds as data: URIs in JSON', () => {
    const { content } = elements.find(({ attributes }) => attributes.get('id') === 'sounds')!;
    const sounds = JSON.parse(content) as string[];
    assert.deepEqual(sounds.map((sound) => sound.slice(0, 28)), Array<string>(2).fill('data:audio/wav;base64,UklGRi'));
    const given = renderReport({ ...sampleReport(), sounds: [{ bytes: Uint8Array.from([0x4f, 0x67, 0x67, 0x53]), type: 'audio/ogg' }] });
    assert.ok(given.includes('["data:audio/ogg;base64,T2dnUw=="]'));
  });

  test('is the same for the same data, and small', () => {
    assert.equal(renderReport(sampleReport()), page);
    const sounds = elements.find(({ attributes }) => attributes.get('id') === 'sounds')!.content.length;
    assert.ok(page.length - sounds < 90_000, `${page.length - sounds} characters without sound`);
    // Spectrogram 3840, curve, labels and frame of a strip; a strip costs no more than this without its sound.
    const more = renderReport(sampleReport(undefined, 12)).length;
    assert.ok((more - page.length) / 30 < 7000, `a strip takes ${(more - page.length) / 30} characters`);
  });

  test('takes evaluations as they come', async () => {
    const frames = madeUpFrames(new RandomStream(24, 100), 4, 20);
    const evaluation = await evaluate(madeUpSae(new RandomStream(24, 101), 4, 8), inChunks(frames));
    const read = readMarkup(renderReport({ ...sampleReport(), scores: [{ name: 'one', ...evaluation }], metrics: saeMetrics, density: evaluation.densityHistogram }));
    const { low, high } = evaluation.intervals.explained_variance;
    assert.ok(read.text.includes(`${significant(low!)} to ${significant(high!)}`));
    assert.equal(read.elements.filter(({ attributes }) => attributes.get('role') === 'tooltip').length, saeMetrics.length);
    assert.ok(read.text.includes(`${evaluation.densityHistogram.silent} never fire`));
  });

  test('does without labels, recording, features and baselines', () => {
    const { features: [first], ...rest } = sampleReport();
    const bare = { ...first, label: undefined, random: [], top: first.top.map((one) => ({ ...one, segments: undefined, sound: undefined })) };
    const plain = readMarkup(renderReport({ ...rest, summary: undefined, recording: undefined, labelsTried: undefined, features: [bare], scores: rest.scores.slice(0, 1) }));
    assert.ok(!plain.text.includes('best label') && !plain.text.includes('One recording') && !plain.text.includes('at random'));
    assert.ok(!plain.elements.some(({ attributes }) => attributes.get('class') === 'play'));
    const none = readMarkup(renderReport({ ...rest, recording: undefined, features: [], scores: [], curves: [], sounds: [] }));
    assert.ok(!none.elements.some(({ attributes }) => attributes.get('id') === 'features'));
  });
});

describe('what somebody else wrote', () => {
  const attacks = [
    '</script><script>alert(1)</script>', '<img src=x onerror="alert(1)">', '"><svg onload=alert(1)>', '\' onmouseover=\'alert(1)', '" onmouseover="alert(1)" x="',
    '<!--', ']]>', '&lt;b&gt;', '${alert(1)}', 'javascript:alert(1)', '</style><script>alert(1)</script>', '\u202etxt.exe', '\u2028\u2029\0', '</title><h1>x',
  ];
  // Two pages are built alike when they have the same elements with the same attributes, whatever these hold.
  const shape = (of: string): string[] => readMarkup(of).elements.map(({ tag, attributes }) => `${tag} ${[...attributes.keys()].join(' ')}`);
  const benign = shape(page);

  for (const attack of attacks) {
    test(`stays text: ${JSON.stringify(attack)}`, () => {
      const hostile = renderReport(sampleReport((what) => `${what}${attack}`));
      assert.deepEqual(shape(hostile), benign);
      const read = readMarkup(hostile);
      assert.ok(read.text.includes(`clip-9${attack}`));
      assert.equal(read.elements.filter(({ tag }) => tag === 'script').length, 2);
      assert.deepEqual(read.elements.filter(({ tag }) => tag === 'script').map(({ content }) => content.includes('alert(1)')), [false, false]);
    });
  }

  test('is escaped by every template, and cannot pose as markup', () => {
    const forged = { text: '<b>', made: true } as unknown as Piece;
    assert.equal(html`<p title="${'"<&>\''}">${['a<', null, false, undefined, 0, html`<b>${'>'}</b>`]}</p>`.text, '<p title="&quot;&lt;&amp;&gt;&#39;">a&lt;0<b>&gt;</b></p>');
    assert.doesNotMatch(html`${forged}`.text, /</);
    const hostile = ['</script><!--', { '<b>': '&' }];
    assert.doesNotMatch(json(hostile).text, /</);
    assert.deepEqual(JSON.parse(json(hostile).text), hostile);
  });
});

test('the script of a page stands alone: it names nothing but what a page has', () => {
  const { content } = elements.findLast(({ tag }) => tag === 'script')!;
  assert.doesNotMatch(content, /<\/script|<!--|__name|\bimport\b|\brequire\b|: (HTMLElement|void|string)\b/);
  // It runs in a world in which nothing else exists, and asks for nothing before it has looked for spectrograms and sounds.
  const asked: string[] = [];
  const document = { querySelectorAll: (what: string) => (asked.push(what), []), getElementById: (id: string) => (asked.push(id), { textContent: '[]' }), addEventListener: (event: string) => asked.push(event) };
  new Function('document', content)(document);
  assert.deepEqual(asked, ['canvas[data-levels]', 'sounds', 'click', 'keydown']);
});
