/**
 * Decoder graphs as optimum exports them: one that computes all tokens at once, one that adds a token to what a cache holds of the
 * others (decoder_with_past_model.onnx), or both in one file behind the input `use_cache_branch` (decoder_model_merged.onnx).
 */
import { CochleaError } from '../../errors.ts';
import { runtime } from '../../runtime/index.ts';
import { parseModel, type Model } from '../graph.ts';
import { openSession, type HeldTensor, type RunInput, type Session } from '../session.ts';
import type { EncoderOutput } from '../speech.ts';
import { detachWeights } from '../weights.ts';

/** Keys and values of the tokens before, by the name of the input that takes them. */
type Cache = Readonly<Record<string, HeldTensor>>;

export interface Decoder {
  readonly vocabulary: number;
  /** Whether `next` is there; without it every token costs all the tokens before it again. */
  readonly cached: boolean;
  /** All tokens at once: logits [tokens.length, vocabulary], row i for what follows tokens[i]. */
  all(output: EncoderOutput, tokens: readonly number[]): Promise<{ logits: Float32Array; cache: Cache }>;
  /** One token behind `past` others: logits [vocabulary]. */
  next(output: EncoderOutput, token: number, past: number, cache: Cache): Promise<{ logits: Float32Array; cache: Cache }>;
  close(): Promise<void>;
}

const integers = (values: readonly number[], dims: readonly number[]): RunInput => ({ data: BigInt64Array.from(values, BigInt), dims });
const isCache = (name: string): boolean => name.startsWith('past_key_values.');
/** Keys and values of what the encoder made are computed once, with the first token. */
const isCrossAttention = (name: string): boolean => name.includes('.encoder.');

async function openGraph(path: string, threads: number | undefined): Promise<{ graph: Model; session: Session }> {
  const graph = parseModel(await runtime.files.read(path), path);
  return { graph, session: await openSession(await detachWeights(graph, runtime.paths.dirname(path)), path, threads) };
}

/** A cache of no tokens, in the shape that the graph declares: [1, heads, 0, size]. */
function emptyCache({ inputs, file }: Model): Record<string, RunInput> {
  return Object.fromEntries(inputs.filter(({ name }) => isCache(name)).map(({ name, shape = [] }) => {
    const dims = shape.map((size, axis) => (typeof size === 'number' ? size : axis === 0 ? 1 : 0));
    if (dims.length !== 4 || !dims.includes(0)) {
      throw new CochleaError('model', `${file}: the cache '${name}' is [${shape.join(', ')}], not [batch, heads, tokens, size]`);
    }
    return [name, { data: new Float32Array(0), dims }];
  }));
}

/** Checks that a graph takes nothing that it would not be given. */
function checkInputs({ inputs, outputs, file }: Model): void {
  const given = ['input_ids', 'encoder_hidden_states', 'encoder_attention_mask', 'use_cache_branch', 'cache_position'];
  const unknown = inputs.find(({ name }) => !given.includes(name) && !isCache(name));
  if (unknown) throw new CochleaError('model', `${file}: a decoder with an input '${unknown.name}' is not supported`, 'export it with optimum');
  if (!outputs.some(({ name }) => name === 'logits')) throw new CochleaError('model', `${file}: it has no output 'logits': not a decoder of words`);
}

/**
 * @param path decoder_model.onnx or decoder_model_merged.onnx
 * @param withPast decoder_with_past_model.onnx, where there is one
 */
export async function openDecoder(path: string, withPast: string | undefined, threads: number | undefined): Promise<Decoder> {
  const main = await openGraph(path, threads), opened = [main];
  const close = async (): Promise<void> => {
    for (const { session } of opened.splice(0)) await session.close();
  };
  try {
    checkInputs(main.graph);
    const merged = main.graph.inputs.some(({ name }) => name === 'use_cache_branch');
    if (!merged && main.graph.inputs.some(({ name }) => isCache(name))) {
      throw new CochleaError('model', `${path}: it starts from a cache that only another graph makes`, 'bring decoder_model.onnx or decoder_model_merged.onnx');
    }
    const vocabulary = main.session.shapes.get('logits')!.at(-1);
    if (typeof vocabulary !== 'number') throw new CochleaError('model', `${path}: its logits are of no fixed number`);
    let step: typeof main | undefined = merged ? main : undefined;
    if (!merged && withPast !== undefined) {
      step = await openGraph(withPast, threads);
      opened.push(step);
      checkInputs(step.graph);
    }
    const empty = merged ? emptyCache(main.graph) : {};

    const run = async (
      { graph, session }: typeof main, output: EncoderOutput, tokens: readonly number[], past: number, cache: Readonly<Record<string, RunInput | HeldTensor>>,
    ) => {
      const flag: HeldTensor = { type: 'bool', data: Uint8Array.of(past > 0 ? 1 : 0), dims: [1] };
      const rows = output.dims[1]!;
      const offered: Record<string, RunInput | HeldTensor> = {
        input_ids: integers(tokens, [1, tokens.length]), encoder_hidden_states: { data: output.data, dims: output.dims },
        encoder_attention_mask: integers(new Array<number>(rows).fill(1), [1, rows]), use_cache_branch: flag,
        cache_position: integers(tokens.map((_, i) => past + i), [tokens.length]), ...cache,
      };
      const feeds: Record<string, RunInput | HeldTensor> = {};
      for (const { name } of graph.inputs) {
        const offer = offered[name];
        if (!offer) throw new CochleaError('model', `${graph.file}: nothing before it makes the cache '${name}'`);
        feeds[name] = offer;
      }
      const made = await session.pass(feeds);
      const kept: Record<string, HeldTensor> = {};
      for (const [name, tensor] of made) {
        if (!name.startsWith('present')) continue;
        const input = name.replace(/^present(_key_values)?/, 'past_key_values');
        if (past === 0 || !isCrossAttention(input)) kept[input] = tensor;
      }
      const { data: logits } = session.read('logits', made.get('logits')!);
      if (logits.length !== tokens.length * vocabulary) {
        throw new CochleaError('model', `${graph.file}: ${tokens.length} tokens gave ${logits.length} logits, not ${vocabulary} each`);
      }
      if (logits.some(Number.isNaN)) throw new CochleaError('not-finite', `${graph.file}: the decoder made NaN of what it was given`);
      return { logits, cache: { ...cache, ...kept } as Cache };
    };
    return {
      vocabulary, cached: step !== undefined, close,
      all: (output, tokens) => run(main, output, tokens, 0, empty),
      next: (output, token, past, cache) => run(step!, output, [token], past, cache),
    };
  } catch (error) {
    await close();
    throw error;
  }
}
