/**
 * Transformer blocks found by what they compute and by no name, so that it does not matter who exported the graph and what an
 * optimiser or a quantiser made of it. A block is
 *
 *   middle = entering + attention(norm(entering))      leaving = middle + mlp(norm(middle))        norm first, or
 *   middle = norm(entering + attention(entering))      leaving = norm(middle + mlp(middle))        norm last.
 *
 * Every attention has a softmax. The first sum of something made from it with something it is made from is the end of attention;
 * the next sum of the stream with something that a product with weights made from the stream is the end of the MLP.
 * Tensors here are activations throughout: biases and masks are added everywhere and mean nothing.
 */
import type { GraphNode } from './graph.ts';

/** Names of tensors. */
export interface Block {
  /** The residual stream before the block, between attention and MLP, and after the block. */
  readonly entering: string;
  readonly middle: string;
  readonly leaving: string;
  /** What the projections to queries, keys and values read. */
  readonly attentionIn: string;
  /** The outputs of all heads side by side: what attention's last projection reads. */
  readonly heads: string | undefined;
  readonly attentionOut: string;
  readonly mlpIn: string;
  readonly mlpOut: string;
}

const attentionOps = ['Softmax', 'Attention', 'MultiHeadAttention'];
const productOps = [
  'MatMul', 'Gemm', 'FusedMatMul', 'MatMulInteger', 'MatMulIntegerToFloat', 'DynamicQuantizeMatMul', 'MatMulNBits', 'QLinearMatMul',
  'Conv', 'ConvInteger',
  'Attention', // the fused one holds the weights of its projections
];
/** They change how numbers are written, not which they are. */
const formatOps = ['Cast', 'DynamicQuantizeLinear', 'QuantizeLinear', 'DequantizeLinear', 'Identity'];
/** Exports made in float16 hold the stream within its range after every block. */
const passingOps = [...formatOps, 'Clip'];
const shapeOps = ['Reshape', 'Transpose', 'Squeeze', 'Unsqueeze', ...formatOps];

/** A block before it is known what follows it: what leaves it is `sum`, or that behind a norm. */
type OpenBlock = Omit<Block, 'leaving'> & { readonly sum: string; readonly normed: string | undefined };

/**
 * The longest run of blocks, each of which takes up the stream where the one before left it.
 * @param active nodes that make activations, in order of computation
 */
export function findBlocks(active: readonly GraphNode[]): Block[] {
  const place = new Map(active.map((node, index) => [node, index]));
  const maker = new Map<string, GraphNode>(), readers = new Map<string, GraphNode[]>();
  for (const node of active) for (const output of node.outputs) maker.set(output, node);
  const made = new Set(maker.keys());
  for (const node of active) {
    for (const input of new Set(node.inputs)) {
      if (readers.has(input)) readers.get(input)!.push(node);
      else if (made.has(input)) readers.set(input, [node]);
    }
  }
  const hasWeights = ({ op, inputs }: GraphNode): boolean => productOps.includes(op) && inputs.some((name) => name !== '' && !made.has(name));

  /** The tensor that `name` shows in another form. */
  const source = (name: string, ops: readonly string[]): string => {
    let node = maker.get(name);
    while (node && ops.includes(node.op) && made.has(node.inputs[0]!)) {
      name = node.inputs[0]!;
      node = maker.get(name);
    }
    return name;
  };

  const ancestors = (start: readonly string[]): Set<string> => {
    const found = new Set<string>(), open = start.filter((name) => made.has(name));
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      if (found.has(name)) continue;
      found.add(name);
      for (const input of maker.get(name)!.inputs) if (made.has(input)) open.push(input);
    }
    return found;
  };

  /** Norm of `sum`, in one node, or written out: it ends with a quotient and the weights that scale and shift it. */
  const normOf = (sum: string): string | undefined => {
    const own = readers.get(sum) ?? [];
    const whole = own.find(({ op }) => op === 'LayerNormalization' || op === 'SimplifiedLayerNormalization');
    if (whole) return whole.outputs[0];
    const centred = own.find(({ op }) => op === 'Sub')?.outputs[0];
    let last = readers.get(centred ?? '')?.find(({ op }) => op === 'Div')?.outputs[0];
    for (const op of ['Mul', 'Add']) {
      const next: GraphNode | undefined = readers.get(last ?? '')?.find((node) => node.op === op && !node.inputs.every((name) => made.has(name)));
      last = next?.outputs[0] ?? last;
    }
    return last;
  };

  const readBlock = (core: GraphNode): OpenBlock | undefined => {
    const before = ancestors(core.inputs), from = place.get(core)!;
    let heads: string | undefined, join: GraphNode | undefined, entering: string | undefined, attentionOut: string | undefined;
    const after = new Set(core.outputs);
    for (let at = from + 1; at < active.length && !join; at++) {
      const node = active[at]!, own = node.inputs.find((name) => after.has(name));
      if (own === undefined) continue;
      const other = node.op === 'Add' ? node.inputs.find((name) => made.has(name) && !after.has(name)) : undefined;
      if (other !== undefined && before.has(other)) [join, entering, attentionOut] = [node, other, own];
      if (hasWeights(node)) heads ??= source(own, formatOps);
      for (const output of node.outputs) after.add(output);
    }
    if (!join || entering === undefined || attentionOut === undefined) return undefined;

    const upstream = ancestors([entering]);
    const projection = active.slice(0, from + 1).find((node) =>
      hasWeights(node) && (node === core || before.has(node.outputs[0]!)) && !upstream.has(node.outputs[0]!));
    const projected = projection?.inputs.find((name) => made.has(name));
    if (projected === undefined) return undefined;

    // Whether a product with weights lies between the stream and each tensor made from it.
    const weighted = new Map([[join.outputs[0]!, false]]);
    let mlpIn: string | undefined;
    for (let at = place.get(join)! + 1; at < active.length; at++) {
      const node = active[at]!, own = node.inputs.filter((name) => weighted.has(name));
      if (own.length === 0) continue;
      if (attentionOps.includes(node.op)) return undefined;
      const middle = own.find((name) => !weighted.get(name)), mlpOut = own.find((name) => weighted.get(name));
      if (node.op === 'Add' && middle !== undefined && mlpOut !== undefined) {
        const sum = node.outputs[0]!;
        return {
          entering, middle, attentionIn: source(projected, shapeOps), heads, attentionOut, mlpIn: mlpIn ?? middle, mlpOut,
          sum, normed: normOf(sum),
        };
      }
      const product = hasWeights(node);
      if (product && middle !== undefined) mlpIn ??= source(middle, shapeOps);
      for (const output of node.outputs) weighted.set(output, product || mlpOut !== undefined);
    }
    return undefined;
  };

  const runs: OpenBlock[][] = [];
  for (const core of active.filter(({ op }) => attentionOps.includes(op))) {
    const block = readBlock(core);
    if (!block) continue;
    const entering = source(block.entering, passingOps);
    const run = runs.find((blocks) => entering === blocks.at(-1)!.sum || entering === blocks.at(-1)!.normed);
    if (run) run.push(block);
    else runs.push([block]);
  }
  const longest = runs.reduce((most, run) => (run.length > most.length ? run : most), []);
  return longest.map(({ sum, normed, ...block }, index) => ({
    ...block,
    // A norm that stands last belongs to the block; behind a norm that stands first it is the next block's, or the encoder's.
    leaving: longest[index + 1]?.entering ?? (block.attentionIn === source(block.entering, shapeOps) ? normed ?? sum : sum),
  }));
}
