/** What two sets of logits say of each other, in nats and float64. Rows are positions: tokens of a decoder, frames of a CTC head. */

/** Per row: log of the sum of exp of its logits. */
function logNormalisers(logits: Float32Array, vocabulary: number): Float64Array {
  return Float64Array.from({ length: logits.length / vocabulary }, (_, row) => {
    const own = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
    let most = -Infinity, sum = 0;
    for (const value of own) most = Math.max(most, value);
    for (const value of own) sum += Math.exp(value - most);
    return most + Math.log(sum);
  });
}

/** -sum over rows of log softmax(logits)[target] for logits [targets.length, vocabulary]. */
export function crossEntropy(logits: Float32Array, vocabulary: number, targets: readonly number[]): number {
  const normalisers = logNormalisers(logits, vocabulary);
  return targets.reduce((sum, target, row) => sum + normalisers[row] - logits[row * vocabulary + target], 0);
}

/** Sum over rows of KL(P || Q), P the softmax of `original` and Q that of `patched`, both [rows, vocabulary]; P's zeros count nothing. */
export function divergence(original: Float32Array, patched: Float32Array, vocabulary: number): number {
  const p = logNormalisers(original, vocabulary), q = logNormalisers(patched, vocabulary);
  let sum = 0;
  for (let row = 0; row < p.length; row++) {
    for (let at = row * vocabulary; at < (row + 1) * vocabulary; at++) {
      const log = original[at] - p[row], share = Math.exp(log);
      if (share > 0) sum += share * (log - (patched[at] - q[row]));
    }
  }
  return Math.max(sum, 0);
}

/** The most likely token of each row of logits [rows, vocabulary]; of equal ones the smaller. */
export function mostLikely(logits: Float32Array, vocabulary: number): number[] {
  return Array.from({ length: logits.length / vocabulary }, (_, row) => {
    let best = 0;
    for (let token = 1; token < vocabulary; token++) if (logits[row * vocabulary + token] > logits[row * vocabulary + best]) best = token;
    return best;
  });
}

/**
 * -log of the probability that a CTC head gives to `tokens`: the sum over all alignments of frames to tokens with blanks between (Graves et al. 2006,
 * equations 5 to 8), in logarithms. Infinite when there are fewer frames than the tokens need. logits [frames, vocabulary].
 */
export function ctcLoss(logits: Float32Array, vocabulary: number, tokens: readonly number[], blank: number): number {
  const normalisers = logNormalisers(logits, vocabulary);
  const symbols = [blank, ...tokens.flatMap((token) => [token, blank])];
  let paths = symbols.map((_, n) => (n === 0 ? 0 : -Infinity));
  for (let frame = 0; frame < normalisers.length; frame++) {
    const emit = (symbol: number): number => logits[frame * vocabulary + symbol] - normalisers[frame];
    paths = frame === 0
      ? symbols.map((symbol, n) => (n < 2 ? emit(symbol) : -Infinity))
      : symbols.map((symbol, n) => {
        const skips = n >= 2 && symbol !== blank && symbol !== symbols[n - 2];
        return emit(symbol) + logSum([paths[n], n >= 1 ? paths[n - 1] : -Infinity, skips ? paths[n - 2] : -Infinity]);
      });
  }
  return -logSum(paths.slice(-2));
}

function logSum(values: readonly number[]): number {
  const most = Math.max(...values);
  return most === -Infinity ? most : most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}
