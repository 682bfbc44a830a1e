/**
 * An ONNX model as this program needs it: which node makes which tensor, what the weights are called and
 * where they lie. Everything else is carried along as bytes. Field numbers are those of onnx/onnx.proto.
 */
import { CochleaError } from '../errors.ts';
import { takeApart } from './fused.ts';
import { concatenate, integers, readFields, text, writeField, type Field } from './wire.ts';

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  /** Empty strings stand for optional inputs that are not given. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Tensors of the outer graph that the bodies of If, Loop and Scan read. */
  readonly captures: readonly string[];
  readonly metadata: ReadonlyMap<string, string>;
  /** Whether a tensor inside an attribute keeps its data in another file. */
  readonly externalInside: boolean;
  readonly raw: Uint8Array;
}

export type TensorData =
  | { readonly kind: 'raw'; readonly bytes: Uint8Array }
  | { readonly kind: 'external'; readonly location: string; readonly offset: number; readonly length: number | undefined }
  /** In one of the typed fields (float_data and so on), which only old exporters use. */
  | { readonly kind: 'typed' };

export interface Initializer {
  readonly name: string;
  readonly dims: readonly number[];
  /** TensorProto.DataType. */
  readonly type: number;
  readonly data: TensorData;
  readonly raw: Uint8Array;
}

export interface ValueInfo {
  readonly name: string;
  /** TensorProto.DataType; 0 when the file does not say. */
  readonly type: number;
  /** A dimension is a number, or its name when it varies ('?' when nameless); undefined when the file does not say. */
  readonly shape: readonly (number | string)[] | undefined;
  readonly raw: Uint8Array;
}

export interface Model {
  /** Name of the file for messages. */
  readonly file: string;
  readonly producer: string;
  /** Version of the default operator set. */
  readonly opset: number;
  readonly nodes: readonly GraphNode[];
  readonly initializers: readonly Initializer[];
  /** Without those that are only default values of initializers. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly valueInfo: readonly ValueInfo[];
  /** All other fields of the model and of the graph, as they came. */
  readonly rest: { readonly model: readonly Uint8Array[]; readonly graph: readonly Uint8Array[] };
}

/** Those of TensorProto.DataType that activations have: float32, float16, bfloat16; 0 where the file does not say. */
export const activationTypes: readonly number[] = [0, 1, 10, 16];

const maxGraphDepth = 16;

function readEntries(entry: Field, file: string, into: Map<string, string>): void {
  let key = '', value = '';
  for (const field of readFields(entry.body, file)) {
    if (field.number === 1) key = text(field);
    else if (field.number === 2) value = text(field);
  }
  into.set(key, value);
}

function readTensor(body: Uint8Array, file: string): Initializer {
  let name = '', type = 0, external = false;
  const dims: number[] = [];
  let bytes: Uint8Array | undefined;
  const where = new Map<string, string>();
  for (const field of readFields(body, file)) {
    if (field.number === 1) for (const d of integers(field, file)) dims.push(d);
    else if (field.number === 2) type = field.value;
    else if (field.number === 8) name = text(field);
    else if (field.number === 9) bytes = field.body;
    else if (field.number === 13) readEntries(field, file, where);
    else if (field.number === 14) external = field.value === 1;
  }
  if (dims.length > 64 || !dims.every((d) => Number.isSafeInteger(d) && d >= 0)) {
    throw new CochleaError('model', `${file}: tensor '${name}' has the impossible shape [${dims.slice(0, 64)}]`);
  }
  let data: TensorData = bytes ? { kind: 'raw', bytes } : { kind: 'typed' };
  if (external) {
    const location = where.get('location'), offset = Number(where.get('offset') ?? 0);
    const length = where.has('length') ? Number(where.get('length')) : undefined;
    if (!location || !Number.isSafeInteger(offset) || offset < 0 || (length !== undefined && (!Number.isSafeInteger(length) || length < 0))) {
      throw new CochleaError('model', `${file}: tensor '${name}' does not say where in which file its data lie`);
    }
    data = { kind: 'external', location, offset, length };
  }
  return { name, dims, type, data, raw: body };
}

function readValueInfo(body: Uint8Array, file: string): ValueInfo {
  let name = '', type = 0;
  let shape: (number | string)[] | undefined;
  for (const field of readFields(body, file)) {
    if (field.number === 1) name = text(field);
    if (field.number !== 2) continue;
    for (const kind of readFields(field.body, file)) {
      if (kind.number !== 1) continue; // a sequence or map: no tensor
      for (const part of readFields(kind.body, file)) {
        if (part.number === 1) type = part.value;
        if (part.number !== 2) continue;
        shape = [];
        for (const dimension of readFields(part.body, file)) {
          if (dimension.number !== 1) continue;
          let size: number | string = '?';
          for (const given of readFields(dimension.body, file)) {
            if (given.number === 1) size = given.value;
            else if (given.number === 2) size = text(given) || '?';
          }
          shape.push(size);
        }
      }
    }
  }
  return { name, type, shape, raw: body };
}

interface Body {
  captures: Set<string>;
  externalInside: boolean;
}

/** Collects what an attribute's graphs read from outside and whether its tensors live in other files. */
function readAttribute(body: Uint8Array, file: string, depth: number, into: Body): void {
  for (const field of readFields(body, file)) {
    if (field.number === 5 || field.number === 10) into.externalInside ||= readTensor(field.body, file).data.kind === 'external';
    if (field.number !== 6 && field.number !== 11) continue;
    if (depth >= maxGraphDepth) throw new CochleaError('model', `${file}: graphs are nested deeper than ${maxGraphDepth} levels`);
    const defined = new Set<string>(), used = new Set<string>();
    for (const part of readFields(field.body, file)) {
      if (part.number === 1) {
        const node = readNode(part.body, file, depth + 1);
        for (const name of [...node.inputs, ...node.captures]) used.add(name);
        for (const name of node.outputs) defined.add(name);
        into.externalInside ||= node.externalInside;
      } else if (part.number === 5) {
        const tensor = readTensor(part.body, file);
        defined.add(tensor.name);
        into.externalInside ||= tensor.data.kind === 'external';
      } else if (part.number === 11) defined.add(readValueInfo(part.body, file).name);
      else if (part.number === 12) used.add(readValueInfo(part.body, file).name); // a branch may hand an outer tensor through
    }
    for (const name of used) if (!defined.has(name)) into.captures.add(name);
  }
}

function readNode(body: Uint8Array, file: string, depth: number): GraphNode {
  let name = '', op = '';
  const inputs: string[] = [], outputs: string[] = [];
  const metadata = new Map<string, string>();
  const inside: Body = { captures: new Set(), externalInside: false };
  for (const field of readFields(body, file)) {
    if (field.number === 1) inputs.push(text(field));
    else if (field.number === 2) outputs.push(text(field));
    else if (field.number === 3) name = text(field);
    else if (field.number === 4) op = text(field);
    else if (field.number === 5) readAttribute(field.body, file, depth, inside);
    else if (field.number === 9) readEntries(field, file, metadata);
  }
  inside.captures.delete('');
  return { name, op, inputs, outputs, captures: [...inside.captures], metadata, externalInside: inside.externalInside, raw: body };
}

/** An integer or a list of integers among a node's attributes; undefined when the node has none of that name. */
export function integerAttribute(node: GraphNode, name: string, file: string): number[] | undefined {
  for (const attribute of readFields(node.raw, file)) {
    if (attribute.number !== 5) continue;
    let own = '';
    const values: number[] = [];
    for (const field of readFields(attribute.body, file)) {
      if (field.number === 1) own = text(field);
      else if (field.number === 3 || field.number === 8) for (const v of integers(field, file)) values.push(v);
    }
    if (own === name) return values;
  }
  return undefined;
}

/** In an order of computation, which ONNX requires of a file and some converters forget; that of the file where it is one. */
function inOrder(nodes: readonly GraphNode[], file: string): readonly GraphNode[] {
  const maker = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  maker.delete(''); // an optional output that is not made
  const done = new Set<GraphNode>(), entered = new Set<GraphNode>();
  for (const node of nodes) {
    for (const open = [node]; open.length > 0;) {
      const top = open.at(-1)!;
      if (done.has(top)) open.pop();
      else if (entered.has(top)) done.add(open.pop()!); // all it needs is done
      else {
        entered.add(top);
        for (const name of [...top.inputs, ...top.captures]) {
          const needed = maker.get(name);
          if (!needed || done.has(needed)) continue;
          if (entered.has(needed)) throw new CochleaError('model', `${file}: tensor '${name}' is needed to compute itself: the file is damaged`);
          open.push(needed);
        }
      }
    }
  }
  return [...done];
}

/** Reads a ModelProto. `file` names it in messages. Throws CochleaError `model` when the bytes are no ONNX model. */
export function parseModel(bytes: Uint8Array, file: string): Model {
  if (new TextDecoder().decode(bytes.subarray(0, 20)) === 'version https://git-') {
    throw new CochleaError('model', `${file}: a Git LFS pointer, not the model itself`, 'fetch it with `git lfs pull`');
  }
  let producer = '', opset = 0, graphs = 0;
  const nodes: GraphNode[] = [], initializers: Initializer[] = [];
  const inputs: ValueInfo[] = [], outputs: ValueInfo[] = [], valueInfo: ValueInfo[] = [];
  const rest = { model: [] as Uint8Array[], graph: [] as Uint8Array[] };
  for (const field of readFields(bytes, file)) {
    if (field.number === 7) { // repeated occurrences of the graph are one graph, by protobuf's merge rule
      graphs++;
      for (const part of readFields(field.body, file)) {
        if (part.number === 1) nodes.push(readNode(part.body, file, 0));
        else if (part.number === 5) initializers.push(readTensor(part.body, file));
        else if (part.number === 11) inputs.push(readValueInfo(part.body, file));
        else if (part.number === 12) outputs.push(readValueInfo(part.body, file));
        else if (part.number === 13) valueInfo.push(readValueInfo(part.body, file));
        else rest.graph.push(part.raw);
      }
      continue;
    }
    rest.model.push(field.raw);
    if (field.number === 2) producer = `${text(field)} ${producer}`.trim();
    if (field.number === 3) producer = `${producer} ${text(field)}`.trim();
    if (field.number === 8) {
      let domain = '', version = 0;
      for (const part of readFields(field.body, file)) {
        if (part.number === 1) domain = text(part);
        else if (part.number === 2) version = part.value;
      }
      if (domain === '' || domain === 'ai.onnx') opset = version;
    }
  }
  if (graphs === 0 || nodes.length === 0) throw new CochleaError('model', `${file}: there is no graph in it: not an ONNX model`);
  const weights = new Set(initializers.map((tensor) => tensor.name));
  return {
    file, producer, opset, nodes: takeApart(inOrder(nodes, file), file), initializers,
    inputs: inputs.filter((input) => !weights.has(input.name)), outputs, valueInfo, rest,
  };
}

/**
 * The part of a model that makes the given tensors, which become its outputs: what lies behind them is
 * neither loaded nor computed. (Asking ONNX Runtime for an inner tensor of the whole graph computes the
 * whole graph.) Throws CochleaError `model` when no node makes one of the tensors.
 */
export function cutAt(model: Model, tensors: readonly string[]): Model {
  const maker = new Map<string, GraphNode>();
  for (const node of model.nodes) for (const output of node.outputs) maker.set(output, node);
  const needed = new Set<string>(), kept = new Set<GraphNode>(), open: string[] = [];
  for (const name of tensors) {
    if (!maker.has(name)) throw new CochleaError('model', `${model.file}: no node makes a tensor '${name}'`);
    open.push(name);
  }
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (name === '' || needed.has(name)) continue;
    needed.add(name);
    const node = maker.get(name);
    if (!node || kept.has(node)) continue;
    kept.add(node);
    for (const input of [...node.inputs, ...node.captures]) open.push(input);
  }
  const known = new Map([...model.valueInfo, ...model.outputs].map((info) => [info.name, info]));
  const wanted = new Set(tensors);
  return {
    ...model,
    nodes: model.nodes.filter((node) => kept.has(node)),
    initializers: model.initializers.filter((tensor) => needed.has(tensor.name)),
    inputs: model.inputs.filter((input) => needed.has(input.name)),
    // ONNX Runtime infers the type and shape of an output that has only a name.
    outputs: [...wanted].map((name) => known.get(name) ?? { name, type: 0, shape: undefined, raw: writeField(1, name) }),
    valueInfo: [...known.values()].filter((info) => needed.has(info.name) && !wanted.has(info.name)),
  };
}

/** The model as the bytes of a ModelProto. */
export function writeModel(model: Model): Uint8Array {
  const graph = [
    ...model.rest.graph,
    ...model.nodes.map((node) => writeField(1, node.raw)),
    ...model.initializers.map((tensor) => writeField(5, tensor.raw)),
    ...model.inputs.map((info) => writeField(11, info.raw)),
    ...model.outputs.map((info) => writeField(12, info.raw)),
    ...model.valueInfo.map((info) => writeField(13, info.raw)),
  ];
  return concatenate([...model.rest.model, writeField(7, graph)]);
}
