/** A graph in two at a tensor: what makes the tensor, and what is made from it. */
import { CochleaError } from '../errors.ts';
import { cutAt, type GraphNode, type Model, type ValueInfo } from './graph.ts';
import { narrowed, wide, widened } from './half.ts';
import { concatenate, writeField } from './wire.ts';

/**
 * They put numbers elsewhere or scale them. ONNX Runtime makes one operation of them and the product that reads them, which rounds
 * otherwise than the two; so they stand on the side of what reads them.
 */
const placing = ['Transpose', 'Reshape', 'Unsqueeze', 'Squeeze', 'Flatten', 'Expand', 'Identity', 'Cast'];
const scaling = ['Mul', 'Div'];

/**
 * What follows a tensor, on the way to an output: its nodes, and the tensors that they read and that do not come of the tensor, such
 * as a residual stream beside it, tables of positions, masks and sizes. Those made of constants alone belong to the part itself; the
 * others are `carried`: they come from the part before it, or are inputs of the model, so that no work is done twice.
 */
export interface Continuation {
  readonly nodes: readonly GraphNode[];
  readonly carried: readonly string[];
}

/** Throws CochleaError `hook` when the output does not depend on the tensor. */
export function continuation(model: Model, tensor: string, output: string): Continuation {
  const { nodes } = cutAt(model, [output]);
  const sources = new Set(model.inputs.map(({ name }) => name));
  const fromSound = new Set(sources), fromTensor = new Set([tensor]);
  const behind = new Set<GraphNode>();
  for (const node of nodes) { // in order of computation
    const reads = [...node.inputs, ...node.captures];
    if (reads.some((name) => fromSound.has(name))) for (const made of node.outputs) fromSound.add(made);
    if (node.outputs.includes(tensor) || !reads.some((name) => fromTensor.has(name))) continue;
    behind.add(node);
    for (const made of node.outputs) fromTensor.add(made);
  }
  if (!fromTensor.has(output)) {
    throw new CochleaError('hook', `${model.file}: the model's output '${output}' does not depend on '${tensor}'`, 'choose another hook');
  }
  const needed = new Set<string>(), carried = new Set<string>(), own = new Set<GraphNode>();
  const isNeeded = (node: GraphNode): boolean => node.outputs.some((name) => needed.has(name));
  for (const node of [...nodes].reverse()) {
    if (!behind.has(node)) {
      if (!isNeeded(node)) continue;
      const varying = node.inputs.filter((name) => fromSound.has(name));
      const cheap = placing.includes(node.op) || (scaling.includes(node.op) && varying.length < 2);
      if (node.outputs.some((name) => fromSound.has(name)) && !cheap) {
        for (const name of node.outputs) if (needed.has(name)) carried.add(name);
        continue;
      }
    }
    own.add(node);
    for (const name of [...node.inputs, ...node.captures]) if (name !== '' && name !== tensor) needed.add(name);
  }
  for (const name of sources) if (needed.has(name)) carried.add(name);
  return { nodes: nodes.filter((node) => own.has(node)), carried: [...carried] };
}

/** By TensorProto.DataType. */
const typeNames = [
  '', 'float32', 'uint8', 'int8', 'uint16', 'int16', 'int32', 'int64', 'string', 'bool', 'float16', 'float64', 'uint32', 'uint64',
];

/** An input as a graph declares it; '?' stands for a size of no name. */
export function declareInput(name: string, type: string, shape: readonly (number | string)[], file: string): ValueInfo {
  const number = typeNames.indexOf(type);
  if (number < 1) throw new CochleaError('hook', `${file}: tensor '${name}' holds ${type}, which cannot be handed on`, 'choose another hook');
  const dims = shape.map((size) => writeField(1, size === '?' ? [] : [typeof size === 'number' ? writeField(1, size) : writeField(2, size)]));
  const raw = concatenate([writeField(1, name), writeField(2, [writeField(1, [writeField(1, number), writeField(2, dims)])])]);
  return { name, type: number, shape, raw };
}

/** The part of a model that makes some tensors, those in `halves` as float32. */
export function partBefore(model: Model, tensors: readonly string[], halves: ReadonlySet<string>): Model {
  return cutAt({ ...model, nodes: [...model.nodes, ...widened(model, halves)] }, tensors.map((tensor) => (halves.has(tensor) ? wide(tensor) : tensor)));
}

/** The part of a model that makes its output from what it is given. */
export function partBehind(model: Model, { nodes }: Continuation, inputs: readonly ValueInfo[], halves: ReadonlySet<string>, output: string): Model {
  const given = new Set([...inputs.map(({ name }) => name), ...halves]), valueInfo = model.valueInfo.filter(({ name }) => !given.has(name));
  return cutAt({ ...model, nodes: [...narrowed(model, halves), ...nodes], inputs, valueInfo }, [output]);
}
