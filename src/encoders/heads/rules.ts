/** How a decoder is asked and when it ends: what generation_config.json and config.json say, and what is known of Moonshine. */
import { CochleaError } from '../../errors.ts';
import type { FamilyName } from '../families.ts';

export type Json = Readonly<Record<string, unknown>>;

export interface DecodingRules {
  /** The first token of every prompt. */
  readonly start: number;
  /** The prompt; undefined when the model is first to be asked which of `languages` is spoken. */
  readonly prompt: readonly number[] | undefined;
  /** Their tokens, where the model knows several. */
  readonly languages: readonly number[];
  /** The prompt for a language's token. */
  promptIn(language: number): number[];
  readonly end: readonly number[];
  /** Never given by greedy decoding; the second ones not as the first token. */
  readonly suppressed: ReadonlySet<number>;
  readonly suppressedFirst: ReadonlySet<number>;
  /** Tokens from this one on stand for times. */
  readonly firstTimestamp: number | undefined;
  /** Most tokens that a window of so many seconds can have, end token included; the prompt is not counted. */
  most(seconds: number, promptLength: number): number;
}

/**
 * Moonshine's authors end a text after six tokens per second of sound (usefulsensors/moonshine, model.py), which ends the
 * repetitions that small decoders fall into.
 */
const moonshineTokensPerSecond = 6;
const moonshineDefaults: Json = { decoder_start_token_id: 1, eos_token_id: 2 };

const isToken = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value >= 0;
/** The code of a language, as in `<|en|>`. */
const bare = (name: string): string => name.replace(/^<\|(.*)\|>$/, '$1');
const tokensOf = (value: unknown): number[] => (Array.isArray(value) ? value.filter(isToken) : isToken(value) ? [value] : []);

/**
 * @param said generation_config.json over config.json
 * @param language a code such as `en`
 * Throws CochleaError `model` when they do not say how a text starts and ends, `usage` for a language that the model does not know.
 */
export function decodingRules(said: Json, family: FamilyName, language: string | undefined, file: string): DecodingRules {
  const all: Json = family === 'moonshine' ? { ...moonshineDefaults, ...said } : said;
  const start = all['decoder_start_token_id'], end = tokensOf(all['eos_token_id']);
  if (!isToken(start) || end.length === 0) {
    throw new CochleaError(
      'model', `${file}: nothing beside it says which tokens start and end a text`, 'bring generation_config.json or config.json to its folder',
    );
  }
  const noTimestamps = isToken(all['no_timestamps_token_id']) ? all['no_timestamps_token_id'] : undefined;
  const languages = Object.entries((all['lang_to_id'] ?? {}) as Json)
    .flatMap(([name, token]) => (isToken(token) ? [{ name: bare(name), token }] : []));
  const transcribe = ((all['task_to_id'] ?? {}) as Json)['transcribe'];
  const promptIn = (token: number): number[] =>
    [start, token, ...(isToken(transcribe) ? [transcribe] : []), ...(noTimestamps === undefined ? [] : [noTimestamps])];
  const forced = (Array.isArray(all['forced_decoder_ids']) ? (all['forced_decoder_ids'] as unknown[]) : [])
    .flatMap((pair) => (Array.isArray(pair) && isToken(pair[0]) && isToken(pair[1]) ? [{ at: pair[0], token: pair[1] }] : []))
    .sort((a, b) => a.at - b.at).map(({ token }) => token);

  let prompt: number[] | undefined;
  const wanted = language ?? (typeof all['language'] === 'string' ? bare(all['language']) : undefined);
  if (language !== undefined && languages.length === 0) {
    throw new CochleaError('usage', `${file}: it knows no languages to choose from`, 'leave the language out');
  }
  if (languages.length > 0) {
    const own = languages.find(({ name }) => name === wanted);
    if (language !== undefined && !own) {
      throw new CochleaError('usage', `${file}: no language '${language}'`, `it knows ${languages.map(({ name }) => name).join(', ')}`);
    }
    prompt = own && promptIn(own.token);
  } else prompt = [start, ...forced.length > 0 ? forced : noTimestamps === undefined ? [] : [noTimestamps]];

  const longest = isToken(all['max_length']) ? all['max_length'] : isToken(all['max_target_positions']) ? all['max_target_positions'] : 448;
  return {
    start, prompt, languages: languages.map(({ token }) => token), promptIn, end,
    suppressed: new Set(tokensOf(all['suppress_tokens'])), suppressedFirst: new Set(tokensOf(all['begin_suppress_tokens'])),
    firstTimestamp: noTimestamps === undefined ? undefined : noTimestamps + 1,
    most: (seconds, promptLength) => (family === 'moonshine' ? Math.trunc(seconds * moonshineTokensPerSecond) : Math.max(longest - promptLength, 0)),
  };
}
