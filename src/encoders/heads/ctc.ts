/** Models with a linear head in the same graph, trained with connectionist temporal classification (Graves et al. 2006). */
import { CochleaError } from '../../errors.ts';
import type { SpeechHead } from '../speech.ts';
import type { Json } from './rules.ts';

export interface CtcVocabulary {
  /** By token. */
  readonly words: readonly (string | undefined)[];
  readonly blank: number;
  /** Stands for the space between words. */
  readonly delimiter: string;
  readonly unknown: number | undefined;
  readonly special: ReadonlySet<number>;
}

/**
 * @param tokens word to token, from vocab.json or the model of tokenizer.json
 * @param said tokenizer_config.json and special_tokens_map.json over config.json
 * The defaults are those of Transformers' Wav2Vec2CTCTokenizer. Throws CochleaError `model` when there is no blank.
 */
export function ctcVocabulary(tokens: Json, said: Json, file: string): CtcVocabulary {
  const words: (string | undefined)[] = [];
  for (const [word, token] of Object.entries(tokens)) {
    if (typeof token !== 'number' || !Number.isInteger(token) || token < 0) throw new CochleaError('file-damaged', `${file}: the token of '${word}' is no number`);
    words[token] = word;
  }
  const named = (key: string, ...defaults: string[]): number | undefined => {
    const value = said[key], name = typeof value === 'string' ? value : (value as Json | undefined)?.['content'];
    const token = [name, ...defaults].map((word) => (typeof word === 'string' ? tokens[word] : undefined)).find((found) => found !== undefined);
    return token as number | undefined;
  };
  const pad = said['pad_token_id'];
  const blank = named('pad_token') ?? (typeof pad === 'number' ? pad : named('', '<pad>', '[PAD]'));
  if (blank === undefined) throw new CochleaError('model', `${file}: nothing says which token is the blank`, 'bring tokenizer_config.json or config.json beside it');
  const unknown = named('unk_token', '<unk>', '[UNK]');
  const delimiter = said['word_delimiter_token'];
  const special = [blank, unknown, named('bos_token', '<s>'), named('eos_token', '</s>')].filter((token) => token !== undefined);
  return { words, blank, delimiter: typeof delimiter === 'string' ? delimiter : '|', unknown, special: new Set(special) };
}

export function ctcHead({ words, blank, delimiter, unknown, special }: CtcVocabulary, vocabulary: number, file: string): SpeechHead {
  const tokenOf = new Map(words.flatMap((word, token) => (word === undefined ? [] : [[word, token] as const])));
  // Some vocabularies are of capitals alone, and some of small letters.
  const fold = [...tokenOf.keys()].some((word) => /^\p{Ll}$/u.test(word)) ? (text: string) => text.toLowerCase() : (text: string) => text.toUpperCase();
  return {
    kind: 'ctc', vocabulary, blank,
    async forced() {
      throw new CochleaError('usage', 'a CTC head predicts no token from those before it', 'use its logits per frame');
    },
    async transcribe({ frames, valid, dims }) {
      if (dims.length !== 3 || dims[2] !== vocabulary) {
        throw new CochleaError('model', `${file}: its output is [${dims.join(', ')}], but its vocabulary has ${vocabulary} tokens`);
      }
      const tokens: number[] = [];
      for (let row = 0, before = -1; row < valid; row++) {
        const logits = frames.subarray(row * vocabulary, (row + 1) * vocabulary);
        let best = 0;
        for (let token = 1; token < vocabulary; token++) if (logits[token]! > logits[best]!) best = token;
        if (logits.some(Number.isNaN)) throw new CochleaError('not-finite', `${file}: the logits of frame ${row} hold NaN`);
        if (best !== before && best !== blank) tokens.push(best);
        before = best;
      }
      return { tokens, logits: frames, prompt: [] };
    },
    text: (tokens) => tokens.filter((token) => !special.has(token)).map((token) => words[token] ?? '').join('')
      .replaceAll(delimiter, ' ').replace(/\s+/g, ' ').trim(),
    encode: (text) => [...fold(text).trim().replace(/\s+/g, ' ')].flatMap((letter) => {
      const token = tokenOf.get(letter === ' ' ? delimiter : letter) ?? unknown;
      return token === undefined ? [] : [token];
    }),
  };
}
