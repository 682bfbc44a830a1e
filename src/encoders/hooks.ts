/**
 * Names for the places inside a transformer encoder that people mean, found by the module each node came
 * from: tensor names differ from exporter to exporter, module paths hardly. TorchScript exports carry the
 * path in the node's name ('/encoder/layers.3/attention/out_proj/Add'), dynamo exports in its metadata.
 */
import { CochleaError } from '../errors.ts';
import { activationTypes, type GraphNode, type Model } from './graph.ts';

export type HookKind = 'embeddings' | 'residual' | 'middle' | 'attention' | 'mlp' | 'output' | 'tensor';

export interface HookPoint {
  /** What a person types: `encoder.layers.3`, or the tensor's own name. */
  readonly name: string;
  readonly tensor: string;
  /** As far as it is known without running the model, names or '?' standing for sizes that vary; empty when nothing is. */
  readonly shape: readonly (number | string)[];
  readonly kind: HookKind;
  readonly note?: string;
}

/** Module path of a node, dotted; empty when the exporter left none. */
function scopeOf(node: GraphNode): string {
  const scopes = node.metadata.get('pkg.torch.onnx.name_scopes');
  // A Python list of ever longer paths, the last entry being the operation: "['', 'm', 'm.layers.1', 'add_3']".
  if (scopes !== undefined) return [...scopes.matchAll(/'([^']*)'/g)].at(-2)?.[1] ?? '';
  return node.name.startsWith('/') ? node.name.split('/').slice(1, -1).join('.') : '';
}

const layerScope = /^(?:(.*?)\.)??((?:layers|layer|h|blocks)\.(\d+))(?:\.(.*))?$/;
const attentionScope = /^(self_attn|self_attention|attention|attn)(\.|$)/;
const mlpScope = /^(mlp|feed_forward|ffn|fc2|output\.dense)(\.|$)/;

/** What `map` holds for `key`, made when it holds nothing. */
function grouped<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const held = map.get(key) ?? make();
  map.set(key, held);
  return held;
}

interface LayerNode {
  readonly node: GraphNode;
  /** Module path below the layer. */
  readonly inner: string;
}

/**
 * The tensors that hold activations: computed from the model's input itself, not from its shape. In the order
 * of the file, which ONNX requires to be an order of computation.
 */
export function activationNodes(model: Model): GraphNode[] {
  const active = new Set(model.inputs.filter((input) => activationTypes.includes(input.type)).map((input) => input.name));
  return model.nodes.filter((node) => {
    if (node.op === 'Shape' || node.op === 'Size' || ![...node.inputs, ...node.captures].some((name) => active.has(name))) return false;
    for (const output of node.outputs) active.add(output);
    return true;
  });
}

type Stack = Map<number, LayerNode[]>;

/** The encoder's stack of layers: the deepest one with attention in it, an encoder's before a decoder's. */
function findStack(nodes: readonly GraphNode[]): Stack {
  const stacks = new Map<string, Stack>();
  for (const node of nodes) {
    const match = layerScope.exec(scopeOf(node));
    if (!match) continue;
    const path = `${match[1] ?? ''}.${match[2]!.replace(/\d+$/, '')}`;
    const stack = grouped(stacks, path, (): Stack => new Map());
    grouped(stack, Number(match[3]), (): LayerNode[] => []).push({ node, inner: match[4] ?? '' });
  }
  const depth = (stack: Stack) => [...stack.values()].filter((layer) => layer.some(({ inner }) => attentionScope.test(inner))).length;
  const ranked = [...stacks].map(([path, stack]) => ({ stack, depth: depth(stack), decoder: /decoder/.test(path) }));
  ranked.sort((a, b) => Number(a.decoder) - Number(b.decoder) || b.depth - a.depth);
  return ranked.find(({ depth }) => depth > 0)?.stack ?? new Map();
}

/** All named hook points of a model in order of computation; empty when its exporter left no module paths. */
export function findHooks(model: Model): HookPoint[] {
  const active = activationNodes(model);
  const stack = findStack(active);
  const readers = new Map<string, GraphNode[]>();
  for (const node of active) for (const name of [...node.inputs, ...node.captures]) grouped(readers, name, (): GraphNode[] => []).push(node);
  const shapes = new Map([...model.valueInfo, ...model.outputs].map((info) => [info.name, info.shape ?? []]));
  const modelOutputs = new Set(model.outputs.map((output) => output.name));
  const made = new Set(active.flatMap((node) => node.outputs));

  /** The last tensor made by `nodes` that something else reads. */
  const leaving = (nodes: readonly LayerNode[]): string | undefined => {
    const own = new Set(nodes.map(({ node }) => node));
    return nodes.flatMap(({ node }) => node.outputs)
      .findLast((name) => modelOutputs.has(name) || readers.get(name)?.some((reader) => !own.has(reader)));
  };
  const hooks: HookPoint[] = [];
  const add = (name: string, kind: HookKind, tensor: string | undefined, note?: string) => {
    if (tensor !== undefined) hooks.push({ name, tensor, shape: shapes.get(tensor) ?? [], kind, ...(note && { note }) });
  };

  const inStack = new Set([...stack.values()].flat().flatMap(({ node }) => node.outputs));
  let last: string | undefined;
  for (const [layer, nodes] of [...stack].sort(([a], [b]) => a - b)) {
    if (hooks.length === 0) {
      const entering = nodes.flatMap(({ node }) => node.inputs).filter((name) => made.has(name) && !inStack.has(name));
      const added = nodes.filter(({ node, inner }) => inner === '' && node.op === 'Add').flatMap(({ node }) => node.inputs);
      const embeddings = entering.find((name) => added.includes(name)) ?? entering.at(-1);
      add('encoder.embeddings', 'embeddings', embeddings, 'what enters the first layer: hidden_states[0]');
    }
    const name = `encoder.layers.${layer}`;
    const attention = leaving(nodes.filter(({ inner }) => attentionScope.test(inner)));
    const mlp = leaving(nodes.filter(({ inner }) => mlpScope.test(inner)));
    // The residual stream between the two is whatever the MLP's output is added to.
    const sum = nodes.find(({ node, inner }) => inner === '' && node.op === 'Add' && mlp !== undefined && node.inputs.includes(mlp))?.node;
    const out = leaving(nodes);
    add(`${name}.attention.out`, 'attention', attention, 'what attention adds to the residual stream');
    add(`${name}.mid`, 'middle', sum?.inputs.find((input) => input !== mlp), 'residual stream between attention and MLP');
    add(`${name}.mlp.out`, 'mlp', mlp, 'what the MLP adds to the residual stream');
    add(name, 'residual', out, `residual stream after the block: hidden_states[${layer + 1}]`);
    last = out;
  }

  const output = model.outputs.find(({ name }) => made.has(name))?.name;
  const final = hooks.findIndex((hook) => hook.kind === 'residual' && hook.tensor === last);
  if (output !== undefined && final >= 0 && output !== last) {
    const position = active.findIndex((node) => node.outputs.includes(last!));
    const norm = active.slice(position + 1).some((node) => node.op === 'LayerNormalization' || /norm/.test(scopeOf(node)));
    hooks[final] = { ...hooks[final]!, note: `residual stream after the last block, ${norm ? 'before the final norm' : 'before the head'}` };
    add('encoder.out', 'output', output, `the model's own output ${output}, ${norm ? 'after the final norm' : 'after the head'}`);
  } else {
    const same = final < 0 ? '' : `, the same tensor as ${hooks[final]!.name}: no final norm`;
    add('encoder.out', 'output', output, `the model's own output ${output}${same}`);
  }
  return hooks;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

/**
 * The hook point of a name that `findHooks` gave, or of any tensor that a node makes.
 * Throws CochleaError `hook` that lists what comes near.
 */
export function resolveHook(model: Model, hooks: readonly HookPoint[], name: string, shownModel: string): HookPoint {
  const named = hooks.find((hook) => hook.name === name);
  if (named) return named;
  if (model.nodes.some((node) => node.outputs.includes(name) && name !== '')) {
    const info = [...model.valueInfo, ...model.outputs].find((value) => value.name === name);
    return { name, tensor: name, shape: info?.shape ?? [], kind: 'tensor' };
  }
  const candidates = [...hooks.map((hook) => hook.name), ...activationNodes(model).flatMap((node) => node.outputs)].slice(0, 5000);
  const byDistance = candidates.map((candidate) => ({ candidate, far: distance(candidate, name.slice(0, 200)) })).sort((a, b) => a.far - b.far);
  const near = byDistance.slice(0, 3).map(({ candidate }) => candidate).join(', ');
  const similar = near === '' ? '' : `near it are ${near}; `;
  throw new CochleaError(
    'hook', `${shownModel} has no hook point or tensor '${name}'`, `${similar}\`cochlea hooks ${shownModel}\` lists them all`,
  );
}
