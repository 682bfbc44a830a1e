/**
 * A model so small that every number can be had by hand: its frames are its logits. Frame i of a window holds the logits of token i of four: 0, the
 * end, and the words `ah`, `bee` and `see`; of the CTC head token 0 is the blank. Behind the sound of each window lie two rows of padding that are NaN.
 */
import type { EncoderOutput, SpeechHead, SpliceableModel, SplicedClip } from '../../src/encoders/index.ts';
import { CochleaError } from '../../src/errors.ts';
import { mostLikely } from '../../src/evaluation/logits.ts';

export const vocabulary = 4;
const names = ['', 'ah', 'bee', 'see'];
const padding = 2;

const text = (tokens: readonly number[]): string => tokens.map((token) => names[token]).filter((word) => word !== '').join(' ');
const wordsOf = (said: string): number[] => said.split(' ').map((word) => names.indexOf(word));

const decoder: SpeechHead = {
  kind: 'seq2seq', vocabulary, text,
  encode: (said) => [...wordsOf(said), 0],
  forced: async ({ frames }, tokens) => {
    const logits = frames.slice(0, tokens.length * vocabulary);
    if (logits.some(Number.isNaN)) throw new CochleaError('not-finite', 'the decoder made NaN');
    return logits;
  },
  transcribe: async ({ frames }) => {
    const all = mostLikely(frames, vocabulary), end = all.indexOf(0);
    const tokens = end < 0 ? all : all.slice(0, end + 1);
    return { tokens, logits: frames.slice(0, tokens.length * vocabulary), prompt: [] };
  },
};

const frameHead: SpeechHead = {
  kind: 'ctc', vocabulary, text, blank: 0, encode: wordsOf,
  forced: () => Promise.reject(new CochleaError('usage', 'none')),
  transcribe: async ({ frames }) => ({ tokens: mostLikely(frames, vocabulary).filter((token, n, all) => token !== 0 && token !== all[n - 1]), logits: frames, prompt: [] }),
};

/** `windows`: frames of each clip's windows. */
export function fakeModel(kind: 'seq2seq' | 'ctc' | 'none'): SpliceableModel & { split(frames: Float32Array, ...rows: number[]): SplicedClip; readonly disposed: number } {
  let disposed = 0;
  const split = (frames: Float32Array, ...rows: number[]): SplicedClip => {
    const windows = rows.map((count, n) => ({ firstRow: rows.slice(0, n).reduce((a, b) => a + b, 0), rows: count }));
    return {
      frames, rows: frames.length / vocabulary, windows,
      async rest(given) {
        if (given.length !== frames.length) throw new Error('frames of another length');
        return windows.map(({ firstRow, rows: count }): EncoderOutput => {
          const data = new Float32Array((count + padding) * vocabulary).fill(NaN);
          data.set(given.subarray(firstRow * vocabulary, (firstRow + count) * vocabulary));
          return { data, dims: [1, count + padding, vocabulary], frames: data.subarray(0, count * vocabulary), valid: count, seconds: count / 50 };
        });
      },
      dispose: () => void disposed++,
    };
  };
  return {
    model: { name: 'fake', family: 'moonshine', sha256: '0', source: 'here' }, hook: { name: 'hook', tensor: 'hook', kind: 'residual', layer: 0, shape: [] } as never, dIn: vocabulary,
    sampleRate: 16000, frameRate: 50, head: kind === 'none' ? undefined : kind === 'ctc' ? frameHead : decoder,
    split, open: () => Promise.reject(new Error('samples are not heard here')), close: async () => {},
    get disposed() {
      return disposed;
    },
  };
}

/** Logits of which `token` has `height` and the others none. */
export const says = (...tokens: (number | readonly [token: number, height: number])[]): Float32Array => Float32Array.from(tokens.flatMap((one) => {
  const [token, height] = typeof one === 'number' ? [one, 2] : one;
  return names.map((_, n) => (n === token ? height : 0));
}));
