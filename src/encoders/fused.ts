/**
 * Graph optimisers put a sum, the bias of what is added and the norm behind it into one node, in which the residual stream and
 * what a block adds to it are no tensors any more. Taken apart again, every optimised graph has the hook points of the
 * exported one. SkipLayerNormalization is defined in ONNX Runtime's docs/ContribOperators.md.
 */
import type { GraphNode } from './graph.ts';
import { concatenate, readFields, text, writeField } from './wire.ts';

/** The operator that remains when the sum before it is taken out. */
const norms: Readonly<Record<string, string>> = {
  SkipLayerNormalization: 'LayerNormalization', SkipSimplifiedLayerNormalization: 'SimplifiedLayerNormalization',
};

const products = ['MatMul', 'Gemm', 'FusedMatMul', 'MatMulNBits', 'Mul', 'Reshape', 'Transpose'];

export function makeNode(name: string, op: string, inputs: readonly string[], output: string, attributes: readonly Uint8Array[] = []): GraphNode {
  const raw = concatenate([
    ...inputs.map((input) => writeField(1, input)), writeField(2, output), writeField(3, name), writeField(4, op), ...attributes,
  ]);
  return { name, op, inputs, outputs: [output], captures: [], metadata: new Map(), externalInside: false, raw };
}

/** Sum, bias and norm as nodes of their own; all other nodes as they are. */
export function takeApart(nodes: readonly GraphNode[], file: string): readonly GraphNode[] {
  if (!nodes.some(({ op }) => op in norms)) return nodes;
  const maker = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  return nodes.flatMap((node) => {
    const norm = norms[node.op], [normed] = node.outputs;
    if (norm === undefined || !normed || node.outputs[1] || node.outputs[2]) return [node];
    const [first = '', second = '', gamma = '', ...rest] = node.inputs;
    const [beta, bias] = norm === 'LayerNormalization' ? [rest[0] ?? '', rest[1] ?? ''] : ['', rest[0] ?? ''];
    const parts: GraphNode[] = [];
    let added = [first, second];
    if (bias) {
      // Which of the two it belongs to is not said: to the product, and the stream comes from a sum or a norm.
      const branch = added.find((name) => products.includes(maker.get(name)?.op ?? '')) ?? first;
      const biased = `${branch}/biased`;
      parts.push(makeNode(`${normed}/bias`, 'Add', [branch, bias], biased));
      added = added.map((name) => (name === branch ? biased : name));
    }
    const sum = node.outputs[3] || `${normed}/sum`;
    const epsilon = [...readFields(node.raw, file)].filter(({ number, body }) =>
      number === 5 && [...readFields(body, file)].some((field) => field.number === 1 && text(field) === 'epsilon'));
    parts.push(makeNode(`${normed}/sum`, 'Add', added, sum));
    parts.push(makeNode(`${normed}/norm`, norm, beta ? [sum, gamma, beta] : [sum, gamma], normed, epsilon.map(({ raw }) => raw)));
    return parts;
  });
}
