/**
 * Names for the places inside a transformer encoder that people mean, the same for every exporter. They are found by the
 * structure of the graph (blocks.ts). Where that is not of the usual kind (conformers, blocks of other parts), by the module each
 * node came from: TorchScript exports carry its path in the node's name ('/encoder/layers.3/attention/out_proj/Add'), dynamo exports
 * in its metadata; optimisers drop both.
 */
import { CochleaError } from '../errors.ts';
import { type Block, findBlocks } from './blocks.ts';
import { activationTypes, type GraphNode, integerAttribute, type Model } from './graph.ts';
import { widths } from './widths.ts';

export type HookKind = 'conv' | 'embeddings' | 'norm' | 'heads' | 'attention' | 'middle' | 'mlp-input' | 'mlp' | 'residual' | 'output' | 'tensor';

export interface HookPoint {
  /** What a person types: `encoder.layers.3`, or the tensor's own name. */
  readonly name: string;
  readonly tensor: string;
  /**
   * As the file says, names or '?' standing for sizes that vary; ['frames', width] where it does not and the weights tell the width, empty
   * where they do not. Of an open encoder's hook as ONNX Runtime infers it.
   */
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

/** What of a block can be told from module paths alone, in their order. */
function scopedBlocks(model: Model, active: readonly GraphNode[], stack: Stack): Partial<Block>[] {
  const readers = new Map<string, GraphNode[]>();
  for (const node of active) for (const name of [...node.inputs, ...node.captures]) grouped(readers, name, (): GraphNode[] => []).push(node);
  const modelOutputs = new Set(model.outputs.map((output) => output.name));
  const made = new Set(active.flatMap((node) => node.outputs));

  /** The last tensor made by `nodes` that something else reads. */
  const leaving = (nodes: readonly LayerNode[]): string | undefined => {
    const own = new Set(nodes.map(({ node }) => node));
    return nodes.flatMap(({ node }) => node.outputs)
      .findLast((name) => modelOutputs.has(name) || readers.get(name)?.some((reader) => !own.has(reader)));
  };
  const inStack = new Set([...stack.values()].flat().flatMap(({ node }) => node.outputs));
  return [...stack].sort(([a], [b]) => a - b).map(([, nodes], index) => {
    const attentionOut = leaving(nodes.filter(({ inner }) => attentionScope.test(inner)));
    const mlpOut = leaving(nodes.filter(({ inner }) => mlpScope.test(inner)));
    const sums = nodes.filter(({ node, inner }) => inner === '' && node.op === 'Add').map(({ node }) => node);
    let entering: string | undefined;
    if (index === 0) {
      const candidates = nodes.flatMap(({ node }) => node.inputs).filter((name) => made.has(name) && !inStack.has(name));
      entering = candidates.find((name) => sums.some(({ inputs }) => inputs.includes(name))) ?? candidates.at(-1);
    }
    // The residual stream between the two is whatever the MLP's output is added to.
    const sum = mlpOut === undefined ? undefined : sums.find(({ inputs }) => inputs.includes(mlpOut));
    const middle = sum?.inputs.find((name) => name !== mlpOut);
    const out = leaving(nodes);
    return {
      ...(entering !== undefined && { entering }), ...(attentionOut !== undefined && { attentionOut }), ...(middle !== undefined && { middle }),
      ...(mlpOut !== undefined && { mlpOut }), ...(out !== undefined && { leaving: out }),
    };
  });
}

const slidingOps = ['Conv', 'FusedConv', 'ConvInteger'];

/**
 * What the strided convolutions make before the first block: behind the last of them come as many nodes as behind the one before
 * (scale, norm, activation), and then perhaps the turn from [channels, frames] to [frames, channels].
 */
function findStem(model: Model, active: readonly GraphNode[], embeddings: string): string | undefined {
  const stem = active.slice(0, active.findIndex((node) => node.outputs.includes(embeddings)) + 1);
  const isStrided = (node: GraphNode) =>
    slidingOps.includes(node.op) && integerAttribute(node, 'strides', model.file)?.some((stride) => stride > 1);
  const last = stem.findLastIndex(isStrided);
  if (last < 0) return undefined;
  /** What is made from a node, in order, but for what is quantised for the next. */
  const behind = (at: number): GraphNode[] => {
    const tensors = new Set(stem[at]!.outputs);
    return stem.slice(at + 1).filter((node) => {
      if (node.op === 'DynamicQuantizeLinear' || !node.inputs.some((name) => tensors.has(name))) return false;
      for (const output of node.outputs) tensors.add(output);
      return true;
    });
  };
  const previous = stem.slice(0, last).findLastIndex(({ op }) => slidingOps.includes(op));
  const length = previous < 0 ? 0 : behind(previous).filter((node) => stem.indexOf(node) < last).length;
  const [own, rest] = [behind(last).slice(0, length), behind(last).slice(length)];
  let tensor = (own.at(-1) ?? stem[last]!).outputs[0];
  for (const node of rest) {
    if (node.inputs[0] !== tensor || !['Reshape', 'Flatten', 'Transpose'].includes(node.op)) break;
    tensor = node.outputs[0];
  }
  return tensor;
}

/** All named hook points of a model in order of computation; none but the output where its blocks cannot be found. */
export function findHooks(model: Model): HookPoint[] {
  const active = activationNodes(model);
  const stack = findStack(active), found = findBlocks(active);
  const blocks: readonly Partial<Block>[] = found.length >= stack.size ? found : scopedBlocks(model, active, stack);
  const shapes = new Map([...model.valueInfo, ...model.outputs].map((info) => [info.name, info.shape ?? []]));
  const place = new Map(active.flatMap((node, index) => node.outputs.map((name) => [name, index] as const)));
  const widthOf = widths(model);
  const hooks: HookPoint[] = [];
  const add = (name: string, kind: HookKind, tensor: string | undefined, note: string) => {
    if (tensor === undefined) return;
    const said = shapes.get(tensor) ?? [], width = typeof said.at(-1) === 'number' ? undefined : widthOf(tensor);
    const shape = width === undefined ? said : said.length > 0 ? [...said.slice(0, -1), width] : ['frames', width];
    hooks.push({ name, tensor, shape, kind, note });
  };

  const embeddings = blocks[0]?.entering;
  if (embeddings !== undefined) add('encoder.conv', 'conv', findStem(model, active, embeddings), 'what the convolutions make of the input');
  add('encoder.embeddings', 'embeddings', embeddings, 'what enters the first layer: hidden_states[0]');
  const output = model.outputs.find(({ name }) => place.has(name))?.name;
  const last = blocks.at(-1)?.leaving;
  const behind = active.slice((place.get(last ?? '') ?? -1) + 1);
  const norm = behind.some((node) => node.op.endsWith('LayerNormalization') || node.op === 'Sqrt' || /norm/.test(scopeOf(node)));
  blocks.forEach((block, layer) => {
    const name = `encoder.layers.${layer}`;
    if (block.attentionIn !== block.entering) add(`${name}.ln`, 'norm', block.attentionIn, 'what attention reads: the stream behind the first norm');
    else if (block.attentionIn !== undefined) add(`${name}.ln`, 'norm', block.middle, 'behind the first norm: the same as .mid');
    add(`${name}.attention.heads`, 'heads', block.heads, 'the outputs of all heads side by side, before the projection that mixes them');
    add(`${name}.attention.out`, 'attention', block.attentionOut, 'what attention adds to the residual stream');
    add(`${name}.mid`, 'middle', block.middle, 'residual stream between attention and MLP');
    add(`${name}.mlp.in`, 'mlp-input', block.mlpIn,
      `what the MLP reads: ${block.mlpIn === block.middle ? 'the same as .mid' : '.mid behind the second norm'}`);
    add(`${name}.mlp.out`, 'mlp', block.mlpOut, 'what the MLP adds to the residual stream');
    const end = output === last ? `: hidden_states[${layer + 1}]; no final norm follows` : norm ? ', before the final norm' : ', before the head';
    add(name, 'residual', block.leaving, layer < blocks.length - 1 ? `residual stream after the block: hidden_states[${layer + 1}]`
      : `residual stream after the last block${end}`);
  });
  hooks.sort((a, b) => place.get(a.tensor)! - place.get(b.tensor)!);
  if (output !== undefined) {
    const what = last === undefined ? '' : output === last ? `, the same tensor as encoder.layers.${blocks.length - 1}: no final norm`
      : norm ? ', after the final norm' : ', after the head';
    add('encoder.out', 'output', output, `the model's own output ${output}${what}`);
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
