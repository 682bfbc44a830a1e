import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { editDistance, words } from '../../src/evaluation/index.ts';
import { RandomStream } from '../../src/random.ts';

describe('words', () => {
  const cases: [string, string][] = [
    ['And Mr. John Dashwood had then leisure,', 'and mister john dashwood had then leisure'],
    ['Dr. Smith’s “dog”—and Mrs. O\'Neil\'s cat', 'doctor smith\'s dog and missus o\'neil\'s cat'],
    ['\'tis the dogs\' [laughs] (sighs) <noise> bone', 'tis the dogs bone'],
    ['Ein Tag.  Ça va?\tЁлка, ель', 'ein tag ça va ёлка ель'],
    ['ﬁve ２ cafe\u0301s; 3.5 % of 1,000', 'five 2 cafés 3 5 of 1 000'],
    ['stay straight; St. Ives', 'stay straight saint ives'],
    [' ... — ! ', ''], ['', ''],
  ];
  for (const [text, expected] of cases) test(JSON.stringify(text), () => assert.deepEqual(words(text), expected === '' ? [] : expected.split(' ')));
});

describe('the edit distance', () => {
  test('of examples', () => {
    const of = (a: string, b: string): number => editDistance([...a], [...b]);
    assert.deepEqual([of('kitten', 'sitting'), of('', 'abc'), of('abc', ''), of('abc', 'abc'), of('ab', 'ba'), of('sunday', 'saturday')], [3, 3, 3, 0, 2, 3]);
    assert.equal(editDistance(words('he was not an ill-disposed young man'), words('He was not an ill-sposed young man.')), 1);
  });

  test('is the least over all ways, tried out', () => {
    const random = new RandomStream(5, 1950);
    const slow = (a: number[], b: number[]): number => (a.length === 0 || b.length === 0 ? a.length + b.length
      : Math.min(slow(a.slice(1), b.slice(1)) + (a[0] === b[0] ? 0 : 1), slow(a.slice(1), b) + 1, slow(a, b.slice(1)) + 1));
    for (let trial = 0; trial < 60; trial++) {
      const [a, b] = [0, 1].map(() => Array.from({ length: random.below(6) }, () => random.below(3)));
      assert.equal(editDistance(a, b), slow(a, b), `${a} to ${b}`);
    }
  });
});
