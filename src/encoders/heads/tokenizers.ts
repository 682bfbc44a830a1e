/** Words to tokens and back, without the tokens that start and end a text: those are the head's. */
import { CochleaError } from '../../errors.ts';
import { runtime } from '../../runtime/index.ts';

export interface Tokenizer {
  /** Special tokens, and tokens that it does not know, are left out. */
  text(tokens: readonly number[]): string;
  encode(text: string): number[];
}

const llamaTokens = 32_000;
const llamaSpecial = 3; // unknown, start, end

/**
 * Llama's tokenizer, which is that of Moonshine in English (Jeffries et al. 2024, section 3.1); Moonshine's 768 tokens beyond it stand
 * for no words. The npm packages that hold the model leave its data to this library.
 */
export async function llamaTokenizer(): Promise<Tokenizer> {
  const { default: llama } = await import('llama-tokenizer-js');
  return {
    text: (tokens) => llama.decode(tokens.filter((token) => token >= llamaSpecial && token < llamaTokens), false).trim(),
    encode: (text) => llama.encode(text.trim(), false),
  };
}

/**
 * The tokenizer.json of a model, as Transformers writes it, with the tokenizer_config.json beside it.
 * @param options.prefix what stands before the first word of a text in training
 * @param options.firstTimestamp tokens from this one on stand for times, not for words
 * Throws CochleaError `file-damaged` when the files are no tokenizer.
 */
export async function readTokenizer(
  path: string, options: { prefix: string; firstTimestamp: number | undefined },
): Promise<Tokenizer> {
  const { Tokenizer: HuggingFace } = await import('@huggingface/tokenizers');
  const configPath = runtime.paths.join(runtime.paths.dirname(path), 'tokenizer_config.json');
  let tokenizer: InstanceType<typeof HuggingFace>;
  try {
    const config = (await runtime.files.info(configPath)) ? JSON.parse(await runtime.files.readText(configPath)) : {};
    tokenizer = new HuggingFace(JSON.parse(await runtime.files.readText(path)), config);
  } catch (error) {
    throw new CochleaError('file-damaged', `${path}: not a tokenizer (${(error as Error).message})`, 'bring the file again', { cause: error });
  }
  const { prefix, firstTimestamp = Infinity } = options;
  return {
    text: (tokens) => {
      const known = tokens.filter((token) => token < firstTimestamp && tokenizer.id_to_token(token) !== undefined);
      return known.length === 0 ? '' : tokenizer.decode([...known], { skip_special_tokens: true }).trim();
    },
    encode: (text) => tokenizer.encode(prefix + text.trim(), { add_special_tokens: false }).ids,
  };
}
