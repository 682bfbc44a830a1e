/** How many numbers a frame has at a tensor, told from the weights on the way to it: most exports leave the shapes between out. */
import type { GraphNode, Model } from './graph.ts';

/** Operators whose result is as wide as what they read first; the second may be weights of that width. */
const keeping = [
  'Add', 'Sub', 'Mul', 'Div', 'Cast', 'Identity', 'Clip', 'Transpose', 'Reshape', 'Flatten', 'Slice', 'Dropout',
  'Gelu', 'BiasGelu', 'FastGelu', 'QuickGelu', 'Relu', 'Tanh', 'Erf', 'DynamicQuantizeLinear', 'QuantizeLinear', 'DequantizeLinear',
];
const products = ['MatMul', 'FusedMatMul', 'MatMulInteger', 'MatMulIntegerToFloat', 'DynamicQuantizeMatMul'];
const furthest = 200;

/** A function from tensors to their widths, undefined where the weights do not tell. */
export function widths(model: Model): (tensor: string) => number | undefined {
  const maker = new Map<string, GraphNode>(model.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const sizes = new Map(model.initializers.map(({ name, dims }) => [name, dims]));
  /** Exporters that keep equal weights once hand them on. */
  const weights = (name: string): readonly number[] | undefined => {
    const node = maker.get(name);
    return sizes.get(node?.op === 'Identity' ? node.inputs[0]! : name);
  };
  return (tensor) => {
    for (let at = tensor, steps = 0; steps < furthest; steps++) {
      const node = maker.get(at);
      if (!node) return undefined;
      const [first = '', second = '', third = ''] = node.inputs;
      const dims = weights(second);
      if (node.op.endsWith('LayerNormalization')) return dims?.at(-1);
      if (node.op === 'Conv' || node.op === 'FusedConv' || node.op === 'ConvInteger') return dims?.[0];
      if (node.op === 'Gemm') return weights(third)?.at(-1);
      if (products.includes(node.op)) {
        if (dims) return dims.at(-1);
        at = second; // attention's values, weighted
      } else if (keeping.includes(node.op)) {
        const own = [weights(first), dims].find((size) => size && size.at(-1)! > 1);
        if (own && !['Reshape', 'Slice', 'Clip'].includes(node.op)) return own.at(-1);
        at = maker.has(first) ? first : second;
      } else return undefined;
    }
    return undefined;
  };
}
