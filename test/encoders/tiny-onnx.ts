/** Builds small ONNX files for the tests. Field numbers are those of onnx/onnx.proto. */
import { concatenate, writeField } from '../../src/encoders/wire.ts';

type Part = Uint8Array;

const floats = (values: ArrayLike<number>): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

export function tensor(name: string, dims: number[], values: ArrayLike<number>): Part {
  return concatenate([...dims.map((d) => writeField(1, d)), writeField(2, 1), writeField(8, name), writeField(9, floats(values))]);
}

export function externalTensor(name: string, dims: number[], entries: Record<string, string>): Part {
  const external = Object.entries(entries).map(([key, value]) => writeField(13, [writeField(1, key), writeField(2, value)]));
  return concatenate([...dims.map((d) => writeField(1, d)), writeField(2, 1), writeField(8, name), ...external, writeField(14, 1)]);
}

export function integers(name: string, values: number[]): Part {
  return concatenate([
    writeField(1, values.length), writeField(2, 7), writeField(8, name),
    writeField(9, new Uint8Array(BigInt64Array.from(values, BigInt).buffer)),
  ]);
}

export type Attribute = number | number[] | { graph: Part };

export function node(
  op: string, inputs: string[], outputs: string[],
  options: { name?: string; attributes?: Record<string, Attribute>; scopes?: string[] } = {},
): Part {
  const attributes = Object.entries(options.attributes ?? {}).map(([name, value]) => {
    const content = typeof value === 'number' ? [writeField(3, value), writeField(20, 2)]
      : Array.isArray(value) ? [...value.map((v) => writeField(8, v)), writeField(20, 7)]
      : [writeField(6, value.graph), writeField(20, 5)];
    return writeField(5, [writeField(1, name), ...content]);
  });
  const metadata = options.scopes && writeField(9, [
    writeField(1, 'pkg.torch.onnx.name_scopes'), writeField(2, `[${options.scopes.map((scope) => `'${scope}'`).join(', ')}]`),
  ]);
  return concatenate([
    ...inputs.map((name) => writeField(1, name)), ...outputs.map((name) => writeField(2, name)),
    ...(options.name ? [writeField(3, options.name)] : []), writeField(4, op), ...attributes, ...(metadata ? [metadata] : []),
  ]);
}

export function value(name: string, shape: (number | string)[], type = 1): Part {
  const dims = shape.map((d) => writeField(1, [typeof d === 'number' ? writeField(1, d) : writeField(2, d)]));
  return concatenate([writeField(1, name), writeField(2, [writeField(1, [writeField(1, type), writeField(2, dims)])])]);
}

export interface GraphParts {
  nodes: Part[];
  tensors?: Part[];
  inputs?: Part[];
  outputs?: Part[];
  values?: Part[];
}

export function graph({ nodes, tensors = [], inputs = [], outputs = [], values = [] }: GraphParts): Part {
  return concatenate([
    ...nodes.map((part) => writeField(1, part)), writeField(2, 'tiny'), ...tensors.map((part) => writeField(5, part)),
    ...inputs.map((part) => writeField(11, part)), ...outputs.map((part) => writeField(12, part)), ...values.map((part) => writeField(13, part)),
  ]);
}

export function model(parts: GraphParts, extra: Part[] = []): Part {
  return concatenate([
    writeField(1, 8), writeField(2, 'tests'), writeField(3, '1.0'), writeField(7, graph(parts)),
    writeField(8, [writeField(1, ''), writeField(2, 17)]), ...extra,
  ]);
}

/**
 * A waveform encoder of 4 features that an oracle computes by hand: a convolution (kernel 4, stride 2, no bias), its
 * transpose (the embeddings), and two layers that each add scaled copies of the stream to it, as attention and as MLP.
 * The head behind them has the only weight large enough (8 KiB) to be handed over apart from the graph.
 */
export const tinyKernel = [1, 0, 0, 0, 0, 1, 0, 0, 0.5, 0.5, 0.5, 0.5, 1, -1, 1, -1];

export function tinyEncoder(): GraphParts {
  const layer = (n: number, input: string, output: string): Part[] => {
    const inside = (path: string) => `/encoder/layers.${n}/${path}`;
    return [
      node('Mul', [input, 'tenth'], [inside('attention/Mul_output_0')], { name: inside('attention/Mul') }),
      node('Add', [input, inside('attention/Mul_output_0')], [inside('Add_output_0')], { name: inside('Add') }),
      node('MatMul', [inside('Add_output_0'), 'matrix'], [inside('mlp/MatMul_output_0')], { name: inside('mlp/MatMul') }),
      node('Add', [inside('Add_output_0'), inside('mlp/MatMul_output_0')], [output], { name: inside('Add_1') }),
    ];
  };
  return {
    nodes: [
      node('Unsqueeze', ['input_values', 'axis'], ['channel'], { name: '/Unsqueeze' }),
      node(
        'Conv', ['channel', 'kernel'], ['/conv/Conv_output_0'],
        { name: '/conv/Conv', attributes: { kernel_shape: [4], strides: [2], pads: [0, 0], dilations: [1] } },
      ),
      node('Transpose', ['/conv/Conv_output_0'], ['/Transpose_output_0'], { name: '/Transpose', attributes: { perm: [0, 2, 1] } }),
      ...layer(0, '/Transpose_output_0', '/encoder/layers.0/Add_1_output_0'),
      ...layer(1, '/encoder/layers.0/Add_1_output_0', '/encoder/layers.1/Add_1_output_0'),
      node('MatMul', ['/encoder/layers.1/Add_1_output_0', 'head'], ['logits'], { name: '/head/MatMul' }),
    ],
    tensors: [
      integers('axis', [1]), tensor('kernel', [4, 1, 4], tinyKernel), tensor('tenth', [], [0.125]),
      tensor('matrix', [4, 4], Array.from({ length: 16 }, (_, i) => (i % 5) * 0.25)), tensor('head', [4, 512], new Float32Array(2048).fill(0.5)),
    ],
    inputs: [value('input_values', ['batch', 'samples'])],
    outputs: [value('logits', ['batch', 'frames', 512])],
  };
}
