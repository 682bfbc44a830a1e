/**
 * How float16 tensors go from one session to another. ONNX Runtime's CPU kernels do most operations in float32, and between two of those
 * it takes out the casts that it would need there: such a tensor is rounded to float16 only when it leaves a session, and a part that
 * gave it away rounded would not compute what the whole computes. So it leaves as float32. Which casts are taken out depends on what
 * stands beside them: a cast next to an operation in float32 is, one next to an operation in float16 is not. Beside tensors that the whole
 * does not round stand therefore two changes of sign, which are done in float32 and keep every bit.
 * Measured with onnxruntime-web 1.30; test/encoders/torch-splice.test.ts holds it to the bits of whole models.
 */
import { makeNode } from './fused.ts';
import type { GraphNode, Model } from './graph.ts';
import { writeField } from './wire.ts';

/** What is done in float16, unless no neighbour in the graph is. */
const inHalf = [
  'Cast', 'Concat', 'Expand', 'Flatten', 'Gather', 'Identity', 'LayerNormalization', 'Pad', 'Reshape', 'Shape', 'SimplifiedLayerNormalization', 'Slice',
  'Split', 'Squeeze', 'Tile', 'Transpose', 'Unsqueeze', 'Where',
];
/** A transposition is taken out together with one before it that it undoes, where only these lie between. */
const elementwise = ['Add', 'Div', 'Erf', 'Gelu', 'Mul', 'Relu', 'Sub', 'Tanh'];

/** Of some float16 tensors those that are rounded to it on their way through the model. */
function rounded({ nodes }: Model, tensors: Iterable<string>): Set<string> {
  const makerOf = (tensor: string | undefined): GraphNode | undefined => nodes.find(({ outputs }) => outputs.includes(tensor!));
  return new Set([...tensors].filter((tensor) => {
    const maker = makerOf(tensor)!;
    if (maker.op === 'Cast' || !inHalf.includes(maker.op)) return false;
    let before = makerOf(maker.inputs[0]);
    if (maker.op === 'Transpose') {
      while (before && elementwise.includes(before.op)) before = makerOf(before.inputs[0]);
      if (before?.op === 'Transpose') return false;
      before = makerOf(maker.inputs[0]);
    }
    // The shape of what is transposed is the transposed shape.
    const reads = (node: GraphNode): boolean => node.inputs.includes(tensor) && !(maker.op === 'Transpose' && node.op === 'Shape');
    return nodes.some((node) => inHalf.includes(node.op) && (node === before || reads(node)));
  }));
}

/** The name that a float16 tensor has as float32. */
export const wide = (tensor: string): string => `${tensor}/float32`;

const castTo = (type: number, from: string, to: string): GraphNode =>
  makeNode(to, 'Cast', [from], to, [writeField(5, [writeField(1, 'to'), writeField(3, type), writeField(20, 2)])]);
const negated = (from: string, to: string): GraphNode => makeNode(to, 'Neg', [from], to);

/** What makes float32 of float16 tensors. */
export function widened(model: Model, tensors: ReadonlySet<string>): GraphNode[] {
  const isRounded = rounded(model, tensors);
  return [...tensors].flatMap((tensor) => {
    const to = wide(tensor);
    return isRounded.has(tensor) ? [castTo(1, tensor, to)] : [negated(tensor, `${to}/-`), negated(`${to}/-`, `${to}/+`), castTo(1, `${to}/+`, to)];
  });
}

/** What makes float16 tensors of their float32. */
export function narrowed(model: Model, tensors: ReadonlySet<string>): GraphNode[] {
  const isRounded = rounded(model, tensors);
  return [...tensors].flatMap((tensor) => {
    const from = wide(tensor);
    return isRounded.has(tensor) ? [castTo(10, from, tensor)] : [castTo(10, from, `${from}/+`), negated(`${from}/+`, `${from}/-`), negated(`${from}/-`, tensor)];
  });
}
