/** A decoder of one layer with random weights, as the graphs that optimum exports, and the same in plain float64. */
import { graph, integers, node, tensor, value, type GraphParts } from './tiny-onnx.ts';

const width = 4, heads = 2, size = 2, longest = 40;

export interface TinyDecoder {
  readonly vocabulary: number;
  readonly weights: Readonly<Record<string, { dims: number[]; values: Float32Array }>>;
}

/** @param seed other weights for other seeds */
export function tinyDecoder(vocabulary: number, seed: number): TinyDecoder {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const matrix = (...dims: number[]) => ({ dims, values: Float32Array.from({ length: dims.reduce((a, b) => a * b) }, random) });
  const square = () => matrix(width, width);
  return {
    vocabulary,
    weights: {
      embedding: matrix(vocabulary, width), positions: matrix(longest, width), q: square(), k: square(), v: square(), o: square(),
      crossQ: square(), crossK: square(), crossV: square(), crossO: square(), head: matrix(width, vocabulary),
    },
  };
}

/** Logits for what follows each of the tokens; `states` [rows, width] are the encoder's. */
export function plainLogits({ vocabulary, weights }: TinyDecoder, states: Float32Array, tokens: readonly number[]): Float64Array[] {
  const row = (name: string, index: number) => [...weights[name]!.values.subarray(index * width, (index + 1) * width)];
  const times = (x: readonly number[], name: string, columns = width) =>
    Array.from({ length: columns }, (_, j) => x.reduce((sum, v, i) => sum + v * weights[name]!.values[i * columns + j]!, 0));
  const attend = (q: readonly number[], keys: readonly (readonly number[])[], values: readonly (readonly number[])[]) =>
    Array.from({ length: heads }, (_, h) => h * size).flatMap((at) => {
      const scores = keys.map((key) => Math.exp(q.slice(at, at + size).reduce((sum, v, i) => sum + v * key[at + i]!, 0)));
      const total = scores.reduce((a, b) => a + b, 0);
      return Array.from({ length: size }, (_, i) => values.reduce((sum, v, t) => sum + (scores[t]! / total) * v[at + i]!, 0));
    });
  const rows = Array.from({ length: states.length / width }, (_, t) => [...states.subarray(t * width, (t + 1) * width)]);
  const [crossKeys, crossValues] = ['crossK', 'crossV'].map((name) => rows.map((state) => times(state, name)));
  const x = tokens.map((token, t) => row('embedding', token).map((v, i) => v + row('positions', t)[i]!));
  const [keys, values] = ['k', 'v'].map((name) => x.map((v) => times(v, name)));
  return x.map((entering, t) => {
    const own = times(attend(times(entering, 'q'), keys!.slice(0, t + 1), values!.slice(0, t + 1)), 'o');
    const middle = entering.map((v, i) => v + own[i]!);
    const cross = times(attend(times(middle, 'crossQ'), crossKeys!, crossValues!), 'crossO');
    return Float64Array.from(times(middle.map((v, i) => v + cross[i]!), 'head', vocabulary));
  });
}

const present = ['decoder.key', 'decoder.value', 'encoder.key', 'encoder.value'].map((name) => `0.${name}`);

/** The nodes of one graph; names begin with `p`, so that two can stand in one model. */
function nodesOf(p: string, withPast: boolean): Uint8Array[] {
  const at = (name: string) => `${p}inner/${name}`;
  const split = (from: string, to: string) => [
    node('Reshape', [from, 'split'], [`${to}/split`]), node('Transpose', [`${to}/split`], [to], { attributes: { perm: [0, 2, 1, 3] } }),
  ];
  const projected = (from: string, weight: string, to: string) => [node('MatMul', [from, weight], [`${to}/flat`]), ...split(`${to}/flat`, to)];
  const attention = (q: string, k: string, v: string, mask: string | undefined, weight: string, to: string) => [
    node('Transpose', [k], [`${to}/kt`], { attributes: { perm: [0, 1, 3, 2] } }), node('MatMul', [q, `${to}/kt`], [`${to}/scores`]),
    ...(mask === undefined ? [] : [node('Add', [`${to}/scores`, mask], [`${to}/masked`])]),
    node('Softmax', [mask === undefined ? `${to}/scores` : `${to}/masked`], [`${to}/shares`], { attributes: { axis: -1 } }),
    node('MatMul', [`${to}/shares`, v], [`${to}/heads`]), node('Transpose', [`${to}/heads`], [`${to}/turned`], { attributes: { perm: [0, 2, 1, 3] } }),
    node('Reshape', [`${to}/turned`, 'join'], [`${to}/joined`]), node('MatMul', [`${to}/joined`, weight], [to]),
  ];
  const past = (name: string) => `past_key_values.0.${name}`;
  const out = (n: number) => `${p}present.${present[n]}`;
  return [
    node('Shape', ['input_ids'], [at('ids/shape')]), node('Slice', [at('ids/shape'), 'one', 'two'], [at('new')]),
    ...(withPast ? [node('Shape', [past('decoder.key')], [at('past/shape')]), node('Slice', [at('past/shape'), 'two', 'three'], [at('first')])]
      : [node('Identity', ['zero'], [at('first')])]),
    node('Add', [at('first'), at('new')], [at('end')]),
    node('Gather', ['embedding', 'input_ids'], [at('embedded')]), node('Slice', ['positions', at('first'), at('end'), 'zero'], [at('placed')]),
    node('Add', [at('embedded'), at('placed')], [at('x')]),
    ...projected(at('x'), 'q', at('q')), ...projected(at('x'), 'k', withPast ? at('k') : out(0)), ...projected(at('x'), 'v', withPast ? at('v') : out(1)),
    ...(withPast ? [
      node('Concat', [past('decoder.key'), at('k')], [out(0)], { attributes: { axis: 2 } }), node('Concat', [past('decoder.value'), at('v')], [out(1)], { attributes: { axis: 2 } }),
      // As optimum's merged decoders do: what the first pass gave is to be kept.
      node('Identity', ['nothing'], [out(2)]), node('Identity', ['nothing'], [out(3)]),
    ] : [...projected('encoder_hidden_states', 'crossK', out(2)), ...projected('encoder_hidden_states', 'crossV', out(3))]),
    ...(withPast ? [] : [node('Slice', ['causal', 'zero', at('end'), 'zero'], [at('mask/rows')]), node('Slice', [at('mask/rows'), 'zero', at('end'), 'one'], [at('mask')])]),
    ...attention(at('q'), out(0), out(1), withPast ? undefined : at('mask'), 'o', at('own')), node('Add', [at('x'), at('own')], [at('middle')]),
    ...projected(at('middle'), 'crossQ', at('cq')),
    ...attention(at('cq'), withPast ? past('encoder.key') : out(2), withPast ? past('encoder.value') : out(3), undefined, 'crossO', at('cross')),
    node('Add', [at('middle'), at('cross')], [at('y')]), node('MatMul', [at('y'), 'head'], [`${p}logits`]),
  ];
}

const cacheInputs = present.map((name) => value(`past_key_values.${name}`, ['batch', heads, `${name.slice(2, 9)}_length`, size]));
const outputs = (p: string, vocabulary: number) => [
  value(`${p}logits`, ['batch', 'tokens', vocabulary]), ...present.map((name) => value(`${p}present.${name}`, ['batch', heads, '?', size])),
];

/** decoder_model.onnx, decoder_with_past_model.onnx and decoder_model_merged.onnx. */
export function decoderGraphs({ vocabulary, weights }: TinyDecoder): { alone: GraphParts; withPast: GraphParts; merged: GraphParts } {
  const causal = Float32Array.from({ length: longest ** 2 }, (_, i) => (i % longest > Math.floor(i / longest) ? -1e9 : 0));
  const tensors = [
    ...Object.entries(weights).map(([name, { dims, values }]) => tensor(name, dims, values)),
    tensor('causal', [longest, longest], causal), tensor('nothing', [0, heads, 1, size], []),
    integers('split', [0, -1, heads, size]), integers('join', [0, -1, width]), ...['zero', 'one', 'two', 'three'].map((name, n) => integers(name, [n])),
  ];
  const ids = value('input_ids', ['batch', 'tokens'], 7), states = value('encoder_hidden_states', ['batch', 'rows', width]);
  const names = (p: string) => ['logits', ...present.map((name) => `present.${name}`)].map((name) => `${p}${name}`);
  const branch = (p: string, withPast: boolean) => graph({ nodes: nodesOf(p, withPast), outputs: outputs(p, vocabulary) });
  return {
    alone: { nodes: nodesOf('', false), tensors, inputs: [ids, states], outputs: outputs('', vocabulary) },
    withPast: { nodes: nodesOf('', true), tensors, inputs: [ids, ...cacheInputs], outputs: outputs('', vocabulary) },
    merged: {
      nodes: [node('If', ['use_cache_branch'], names(''), { attributes: { then_branch: { graph: branch('then/', true) }, else_branch: { graph: branch('else/', false) } } })],
      tensors, inputs: [ids, states, ...cacheInputs, value('use_cache_branch', [1], 9)], outputs: outputs('', vocabulary),
    },
  };
}
