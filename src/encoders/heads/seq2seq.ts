/** Encoder-decoder models: Moonshine, Whisper. */
import { CochleaError } from '../../errors.ts';
import type { EncoderOutput, SpeechHead } from '../speech.ts';
import type { Decoder } from './decoder.ts';
import type { DecodingRules } from './rules.ts';
import type { Tokenizer } from './tokenizers.ts';

/** The largest of the allowed; of equal ones the first. */
function largest(logits: Float32Array, allowed: (token: number) => boolean): number {
  let best = -1;
  for (let token = 0; token < logits.length; token++) {
    if ((best < 0 || logits[token]! > logits[best]!) && allowed(token)) best = token;
  }
  return best;
}

export function seq2seqHead(decoder: Decoder, rules: DecodingRules, tokenizer: Tokenizer): SpeechHead {
  const { vocabulary } = decoder;
  const check = (tokens: readonly number[]): void => {
    const bad = tokens.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocabulary));
    if (bad !== undefined) throw new CochleaError('usage', `${bad} is no token: there are ${vocabulary}, from 0 on`);
  };
  /** Where several languages are known and none was asked for, the likeliest one (Radford et al. 2022, section 2.3). */
  const promptFor = async (output: EncoderOutput): Promise<readonly number[]> => {
    if (rules.prompt) return rules.prompt;
    const { logits } = await decoder.all(output, [rules.start]);
    const known = new Set(rules.languages);
    return rules.promptIn(largest(logits, (token) => known.has(token)));
  };
  return {
    kind: 'seq2seq', vocabulary,
    async forced(output, tokens, given) {
      check(tokens);
      if (tokens.length === 0) return new Float32Array(0);
      const prompt = given ?? await promptFor(output);
      const { logits } = await decoder.all(output, [...prompt, ...tokens.slice(0, -1)]);
      return logits.slice((prompt.length - 1) * vocabulary);
    },
    async transcribe(output, given) {
      const prompt = given ?? await promptFor(output), most = rules.most(output.seconds, prompt.length);
      const tokens: number[] = [], rows: Float32Array[] = [];
      let last = most > 0 ? await decoder.all(output, prompt) : undefined;
      while (last) {
        const row = last.logits.slice(-vocabulary);
        const token = largest(row, (id) => !rules.suppressed.has(id) && !(tokens.length === 0 && rules.suppressedFirst.has(id)));
        tokens.push(token);
        rows.push(row);
        if (rules.end.includes(token) || tokens.length >= most) break;
        last = decoder.cached ? await decoder.next(output, token, prompt.length + tokens.length - 1, last.cache)
          : await decoder.all(output, [...prompt, ...tokens]);
      }
      const logits = new Float32Array(rows.length * vocabulary);
      rows.forEach((row, i) => logits.set(row, i * vocabulary));
      return { tokens, logits, prompt };
    },
    text: (tokens) => tokenizer.text(tokens),
    encode: (text) => [...tokenizer.encode(text), rules.end[0]!],
  };
}
