import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crossEntropy, ctcLoss, divergence, mostLikely } from '../../src/evaluation/logits.ts';
import { RandomStream } from '../../src/random.ts';
import { assertClose } from '../support/numbers.ts';

/** Logits of distributions, each row shifted by a number of its own. */
const logitsOf = (...rows: number[][]): Float32Array => Float32Array.from(rows.flatMap((row, n) => row.map((share) => Math.log(share) + 3 * n - 1)));

describe('of logits', () => {
  const p = logitsOf([0.7, 0.2, 0.1]), q = logitsOf([0.5, 0.3, 0.2]), uniform = logitsOf([1, 1, 1]);

  test('cross-entropy is that of the softmax', () => {
    assertClose([crossEntropy(logitsOf([0.7, 0.2, 0.1], [0.25, 0.25, 0.5]), 3, [1, 2])], [-Math.log(0.2) - Math.log(0.5)], 1e-6);
  });

  test('KL, and the share recovered of a uniform ablation, are those computed by hand', () => {
    const toQ = divergence(p, q, 3), toUniform = divergence(p, uniform, 3);
    assertClose([toQ, toUniform, (toUniform - toQ) / toUniform], [0.085123, 0.296794, 0.713192], 1e-6);
    assert.equal(divergence(p, p, 3), 0);
    assertClose([divergence(logitsOf([0.7, 0.2, 0.1], [0.5, 0.3, 0.2]), logitsOf([0.5, 0.3, 0.2], [0.7, 0.2, 0.1]), 3)], [0.085123 + 0.5 * Math.log(5 / 7) + 0.3 * Math.log(1.5) + 0.2 * Math.log(2)], 1e-5);
  });

  test('large numbers overflow nothing, and what is ruled out counts nothing', () => {
    assertClose([crossEntropy(Float32Array.of(3e4, 0), 2, [1])], [3e4]);
    assertClose([divergence(Float32Array.of(0, -Infinity), Float32Array.of(0, 0), 2)], [Math.log(2)]);
  });

  test('of equally likely tokens the smaller is the most likely', () => assert.deepEqual(mostLikely(Float32Array.of(1, 1, 0, 0, 2, 2), 3), [0, 1]));
});

describe('the CTC loss', () => {
  /** By the definition: the sum over all sequences of one symbol per frame that collapse to the tokens. */
  function slow(logits: Float32Array, vocabulary: number, tokens: number[], blank: number): number {
    const frames = logits.length / vocabulary;
    const shares = Array.from({ length: frames }, (_, frame) => {
      const own = [...logits.subarray(frame * vocabulary, (frame + 1) * vocabulary)].map(Math.exp), sum = own.reduce((a, b) => a + b, 0);
      return own.map((value) => value / sum);
    });
    let total = 0;
    for (let path = 0; path < vocabulary ** frames; path++) {
      const symbols = shares.map((_, frame) => Math.floor(path / vocabulary ** frame) % vocabulary);
      const said = symbols.filter((symbol, n) => symbol !== blank && symbol !== symbols[n - 1]);
      if (said.join() === tokens.join()) total += symbols.reduce((share, symbol, frame) => share * shares[frame][symbol], 1);
    }
    return -Math.log(total);
  }

  test('is that of all alignments, summed one by one', () => {
    const random = new RandomStream(9, 1951);
    for (const [frames, tokens, blank] of [[1, [1], 0], [3, [1, 2], 0], [5, [1, 1], 0], [6, [2, 0, 2], 1], [5, [], 2], [4, [0, 1, 0], 2]] as [number, number[], number][]) {
      const logits = Float32Array.from({ length: frames * 3 }, () => random.normal());
      assertClose([ctcLoss(logits, 3, tokens, blank)], [slow(logits, 3, tokens, blank)], 1e-9);
    }
  });

  test('is infinite where frames do not suffice: equal tokens need a blank between', () => {
    assert.equal(ctcLoss(new Float32Array(2 * 3), 3, [1, 1], 0), Infinity);
    assert.ok(Number.isFinite(ctcLoss(new Float32Array(3 * 3), 3, [1, 1], 0)));
  });
});
