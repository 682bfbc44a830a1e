/** Finds what turns an encoder's output into words: a decoder beside it, or a CTC head in its own graph. */
import { CochleaError } from '../../errors.ts';
import { runtime } from '../../runtime/index.ts';
import type { FamilyName } from '../families.ts';
import { fetchModel, knownModels } from '../models.ts';
import type { SpeechHead, SpliceableOptions } from '../speech.ts';
import { ctcHead, ctcVocabulary } from './ctc.ts';
import { openDecoder } from './decoder.ts';
import { decodingRules, type Json } from './rules.ts';
import { seq2seqHead } from './seq2seq.ts';
import { llamaTokenizer, readTokenizer } from './tokenizers.ts';

export interface HeadSearch {
  /** The encoder's file. */
  readonly path: string;
  /** As `resolveModel` gives it: that of a known model, or the file's own. */
  readonly name: string;
  readonly family: FamilyName;
  /** Numbers per row of the encoder's output, where that is fixed. */
  readonly width: number | undefined;
  readonly options: SpliceableOptions;
}

export interface OpenHead extends SpeechHead {
  close(): Promise<void>;
}

/** The model's folder, and that above it when it is called onnx, as in transformers.js' repositories. */
function placesOf(path: string): string[] {
  const folder = runtime.paths.dirname(path);
  return runtime.paths.basename(folder) === 'onnx' ? [folder, runtime.paths.dirname(folder)] : [folder];
}

async function firstFile(places: readonly string[], names: readonly string[]): Promise<string | undefined> {
  for (const name of names) {
    for (const place of places) {
      const path = runtime.paths.join(place, name);
      if ((await runtime.files.info(path))?.isDirectory === false) return path;
    }
  }
  return undefined;
}

async function readObject(places: readonly string[], name: string): Promise<Json> {
  const path = await firstFile(places, [name]);
  if (path === undefined) return {};
  let content: unknown;
  try {
    content = JSON.parse(await runtime.files.readText(path));
  } catch (error) {
    throw new CochleaError('file-damaged', `${path}: not JSON (${(error as Error).message})`);
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) throw new CochleaError('file-damaged', `${path}: not a JSON object`);
  return content as Json;
}

/** encoder_model_fp16.onnx has its decoder in decoder_model_merged_fp16.onnx; where that is missing, any precision serves. */
async function findDecoder({ path, name, options }: HeadSearch): Promise<{ path: string; withPast?: string | undefined } | undefined> {
  if (knownModels.some((known) => known.name === name && options.model === name)) return { path: await fetchModel(name, options.onProgress, 'decoder') };
  const match = /^encoder_model(.*)\.onnx$/.exec(runtime.paths.basename(path));
  if (!match) return undefined;
  const places = [runtime.paths.dirname(path)], suffixes = [...new Set([match[1]!, ''])];
  for (const suffix of suffixes) {
    const found = await firstFile(places, [`decoder_model_merged${suffix}.onnx`, `decoder_model${suffix}.onnx`]);
    if (found !== undefined) return { path: found, withPast: await firstFile(places, [`decoder_with_past_model${suffix}.onnx`]) };
  }
  return undefined;
}

async function openSeq2seq(search: HeadSearch, { path, withPast }: { path: string; withPast?: string | undefined }): Promise<OpenHead> {
  const { family, options } = search, places = placesOf(search.path);
  const said = { ...await readObject(places, 'config.json'), ...await readObject(places, 'generation_config.json') };
  const rules = decodingRules(said, family, options.language, path);
  const tokenizerPath = await firstFile(places, ['tokenizer.json']);
  if (tokenizerPath === undefined && family !== 'moonshine') {
    throw new CochleaError('file-missing', `${places.at(-1)}: a decoder is there, but no tokenizer.json`, 'bring it from where the model is from');
  }
  // Whisper was trained on texts that begin with a space.
  const tokenizer = tokenizerPath === undefined ? await llamaTokenizer()
    : await readTokenizer(tokenizerPath, { prefix: family === 'whisper' ? ' ' : '', firstTimestamp: rules.firstTimestamp });
  const decoder = await openDecoder(path, withPast, options.threads);
  return { ...seq2seqHead(decoder, rules, tokenizer), close: decoder.close };
}

async function openCtc({ path, width }: HeadSearch): Promise<OpenHead | undefined> {
  const places = placesOf(path), config = await readObject(places, 'config.json');
  const { architectures } = config;
  const isCtc = Array.isArray(architectures) && architectures.some((name) => /CTC$/.test(String(name)));
  const vocabularyPath = await firstFile(places, ['vocab.json', 'tokenizer.json']);
  if (!isCtc) return undefined;
  if (vocabularyPath === undefined) {
    throw new CochleaError('file-missing', `${places.at(-1)}: a CTC model without vocab.json or tokenizer.json`, 'bring it from where the model is from');
  }
  const own = await readObject(places, runtime.paths.basename(vocabularyPath));
  const added = Array.isArray(own['added_tokens']) ? (own['added_tokens'] as Json[]).map(({ content, id }) => [String(content), id]) : [];
  const tokens = { ...(own['model'] ? (own['model'] as Json)['vocab'] as Json : own), ...Object.fromEntries(added) as Json };
  const said = { ...config, ...await readObject(places, 'special_tokens_map.json'), ...await readObject(places, 'tokenizer_config.json') };
  const vocabulary = ctcVocabulary(tokens, said, vocabularyPath);
  return { ...ctcHead(vocabulary, width ?? vocabulary.words.length, path), close: async () => {} };
}

/**
 * Undefined where there is none. Throws CochleaError `file-missing`, `file-damaged` or `model` when there is one that cannot be used,
 * `usage` for a language that it does not know, `fetch` when a known model's decoder cannot be brought.
 */
export async function openHead(search: HeadSearch): Promise<OpenHead | undefined> {
  const decoder = await findDecoder(search);
  if (decoder) return openSeq2seq(search, decoder);
  if (search.options.language !== undefined) {
    throw new CochleaError('usage', `${search.path}: no decoder lies beside it that could be told a language`, 'leave the language out');
  }
  return openCtc(search);
}
