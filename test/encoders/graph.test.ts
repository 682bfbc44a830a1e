import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cutAt, parseModel, writeModel } from '../../src/encoders/graph.ts';
import { findHooks } from '../../src/encoders/hooks.ts';
import { concatenate, integers as readIntegers, readFields, writeField } from '../../src/encoders/wire.ts';
import { CochleaError } from '../../src/errors.ts';
import { RandomStream, streams } from '../../src/random.ts';
import { fails } from '../support/fails.ts';
import { graph, model, node, tensor, tinyEncoder, value, type Attribute } from './tiny-onnx.ts';

const refuses = (pattern: RegExp) => fails('model', pattern);

describe('wire format', () => {
  test('integers of every size survive writing and reading, signed ones too', () => {
    for (const number of [0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 35 + 12_345, 2 ** 53, -1, -(2 ** 40)]) {
      const [field] = [...readFields(writeField(3, number), 'f')];
      assert.deepEqual([field!.number, field!.wire, field!.value], [3, 0, number]);
    }
  });

  test('packed and plain lists of integers read the same', () => {
    const packed = [...readFields(Uint8Array.of(0x0a, 3, 5, 0x80, 0x01), 'f')];
    assert.deepEqual(readIntegers(packed[0]!, 'f'), [5, 128]);
    const plain = [...readFields(concatenate([writeField(1, 5), writeField(1, 128)]), 'f')];
    assert.deepEqual(plain.flatMap((field) => readIntegers(field, 'f')), [5, 128]);
  });

  test('fixed-size fields are walked over and every field gives its own bytes back', () => {
    const bytes = concatenate([Uint8Array.of(0x0d, 1, 2, 3, 4), Uint8Array.of(0x11, 1, 2, 3, 4, 5, 6, 7, 8), writeField(3, 'x')]);
    const fields = [...readFields(bytes, 'f')];
    assert.deepEqual(fields.map(({ wire }) => wire), [5, 1, 2]);
    assert.deepEqual(concatenate(fields.map(({ raw }) => raw)), bytes);
  });

  for (const [what, bytes, pattern] of [
    ['a truncated varint', [0x08, 0x80], /cut off/],
    ['a varint of eleven bytes', [0x08, ...new Array(10).fill(0xff), 1], /more than ten bytes/],
    ['a length beyond the end', [0x0a, 5, 1], /beyond the end/],
    ['a length of 2^63', [0x0a, ...new Array(8).fill(0xff), 0xff, 1], /beyond the end/],
    ['a length below zero', [0x0a, ...new Array(9).fill(0xff), 1], /beyond the end/],
    ['an eight-byte number without its bytes', [0x09, 1, 2], /beyond the end/],
    ['a group', [0x0b, 0x0c], /wire type 3/],
    ['field number zero', [0x00, 0x00], /impossible number/],
  ] as const) {
    test(`refuses ${what}`, () => assert.throws(
      () => [...readFields(Uint8Array.from(bytes), 'a.onnx')], refuses(new RegExp(`^a\\.onnx: .*${pattern.source}`)),
    ));
  }
});

describe('graph', () => {
  test('reads what a model holds', () => {
    const parsed = parseModel(model(tinyEncoder()), 'tiny.onnx');
    assert.equal(parsed.producer, 'tests 1.0');
    assert.equal(parsed.opset, 17);
    assert.equal(parsed.nodes.length, 12);
    assert.deepEqual(parsed.nodes[1]!.inputs, ['channel', 'kernel']);
    assert.deepEqual(
      parsed.inputs.map(({ name, shape, type }) => ({ name, shape, type })),
      [{ name: 'input_values', shape: ['batch', 'samples'], type: 1 }],
    );
    assert.deepEqual(
      parsed.initializers.map(({ name, dims }) => [name, dims]),
      [['axis', [1]], ['kernel', [4, 1, 4]], ['tenth', []], ['matrix', [4, 4]], ['head', [4, 512]]],
    );
  });

  test('fields it does not know survive being written, in the model, the graph and the nodes', () => {
    const unknown = writeField(777, 'kept');
    const inGraph = writeField(7, writeField(778, 'kept too'));
    const parts = tinyEncoder();
    parts.nodes[0] = concatenate([parts.nodes[0]!, writeField(779, 'kept as well')]);
    const written = writeModel(parseModel(model(parts, [unknown, inGraph]), 'tiny.onnx'));
    const text = new TextDecoder().decode(written);
    for (const word of ['kept', 'kept too', 'kept as well', 'tests', 'tiny']) assert.ok(text.includes(word), word);
    assert.deepEqual(writeModel(parseModel(written, 'again')), written);
  });

  test('two graph fields are one graph, as protobuf merges them', () => {
    const parts = tinyEncoder();
    const parsed = parseModel(concatenate([model(parts), writeField(7, [writeField(12, [writeField(1, 'channel')])])]), 'tiny.onnx');
    assert.deepEqual(parsed.outputs.map(({ name }) => name), ['logits', 'channel']);
  });

  test('cut at a tensor, only what makes it is left', () => {
    const cut = cutAt(parseModel(model(tinyEncoder()), 'tiny.onnx'), ['/encoder/layers.0/Add_output_0']);
    assert.deepEqual(cut.nodes.map(({ op }) => op), ['Unsqueeze', 'Conv', 'Transpose', 'Mul', 'Add']);
    assert.deepEqual(cut.initializers.map(({ name }) => name), ['axis', 'kernel', 'tenth']);
    assert.deepEqual(cut.outputs.map(({ name }) => name), ['/encoder/layers.0/Add_output_0']);
    assert.deepEqual(parseModel(writeModel(cut), 'again').nodes.map(({ name }) => name), cut.nodes.map(({ name }) => name));
  });

  test('what the bodies of If read from outside is needed, what they define is not asked for outside', () => {
    const inner = graph({ nodes: [node('Add', ['own', 'deep'], ['sum'])], tensors: [tensor('own', [], [1])], outputs: [value('sum', [])] });
    const branch = graph({
      nodes: [node('If', ['flag'], ['picked'], { attributes: { then_branch: { graph: inner }, else_branch: { graph: inner } } })],
      outputs: [value('picked', [])],
    });
    const handed = graph({ nodes: [node('Identity', ['flag'], ['unused'])], outputs: [value('handed', [])] });
    const parsed = parseModel(model({
      nodes: [
        node('Neg', ['x'], ['deep']), node('Abs', ['x'], ['handed']), node('Exp', ['x'], ['idle']),
        node('Less', ['x', 'x'], ['flag']), node('Less', ['x', 'x'], ['gate']),
        node('If', ['gate'], ['out'], { attributes: { then_branch: { graph: branch }, else_branch: { graph: handed } } }),
      ],
      inputs: [value('x', [])], outputs: [value('out', [])],
    }), 'if.onnx');
    assert.deepEqual([...parsed.nodes.at(-1)!.captures].sort(), ['deep', 'flag', 'handed']);
    assert.deepEqual(cutAt(parsed, ['out']).nodes.map(({ outputs }) => outputs[0]), ['deep', 'handed', 'flag', 'gate', 'out']);
  });

  test('a node of 300,000 inputs and a stack of 3,000 layers take no long time', () => {
    const start = performance.now();
    const inputs = concatenate(new Array<Uint8Array>(300_000).fill(writeField(1, 'x')));
    const wide = parseModel(model({ nodes: [concatenate([inputs, node('Sum', [], ['y'])])], inputs: [value('x', [])] }), 'wide.onnx');
    assert.equal(cutAt(wide, ['y']).nodes.length, 1);
    const layers = Array.from({ length: 3000 }, (_, n) => node(
      'Abs', [n === 0 ? 'x' : `t${n - 1}`], [`t${n}`], { name: `/layers.${n}/self_attn/Abs` },
    ));
    assert.equal(
      findHooks(parseModel(model({ nodes: layers, inputs: [value('x', [])], outputs: [value('t2999', [])] }), 'deep.onnx')).length, 6001,
    );
    assert.ok(performance.now() - start < 10_000);
  });

  test('a cycle is refused by its tensor', () => {
    const nodes = [node('Abs', ['x'], ['y']), node('Add', ['b', 'y'], ['a']), node('Add', ['a', 'y'], ['b'])];
    assert.throws(() => parseModel(model({ nodes, inputs: [value('x', [])] }), 'cycle.onnx'), refuses(/^cycle\.onnx: tensor 'b?a?' is needed to compute itself/));
  });

  test('nodes in no order of computation are brought into one', () => {
    const nodes = [node('Add', ['a', 'b'], ['c']), node('Abs', ['a'], ['b']), node('Abs', ['x'], ['a']), node('Abs', ['c'], ['d'])];
    const { nodes: ordered } = parseModel(model({ nodes, inputs: [value('x', [])] }), 'mixed.onnx');
    assert.deepEqual(ordered.flatMap(({ outputs }) => outputs), ['a', 'b', 'c', 'd']);
    const many = Array.from({ length: 50_000 }, (_, n) => node('Abs', ['x'], [`t${n}`]));
    const start = performance.now();
    parseModel(model({ nodes: [node('Sum', many.map((_, n) => `t${n}`), ['sum']), ...many], inputs: [value('x', [])] }), 'wide.onnx');
    assert.ok(performance.now() - start < 5000);
  });

  test('an unknown tensor is refused by name', () => {
    assert.throws(
      () => cutAt(parseModel(model(tinyEncoder()), 'tiny.onnx'), ['nowhere']), refuses(/^tiny\.onnx: no node makes a tensor 'nowhere'$/),
    );
  });

  test('graphs inside graphs inside graphs have an end', () => {
    const nest = (depth: number): Attribute => {
      const attributes: Record<string, Attribute> = depth === 0 ? {} : { then_branch: nest(depth - 1) };
      return { graph: graph({ nodes: [node('If', ['c'], ['y'], { attributes })] }) };
    };
    const nested = (depth: number) => model({
      nodes: [node('If', ['c'], ['y'], { attributes: { then_branch: nest(depth) } })], inputs: [value('c', [])],
    });
    assert.equal(parseModel(nested(10), 'deep.onnx').nodes.length, 1);
    assert.throws(() => parseModel(nested(200), 'deep.onnx'), refuses(/^deep\.onnx: graphs are nested deeper than 16 levels$/));
  });

  for (const [what, bytes, pattern] of [
    ['an empty file', new Uint8Array(), /no graph in it/],
    ['a Git LFS pointer', new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:00\n'), /Git LFS pointer/],
    [
      'a page of HTML', new TextEncoder().encode('<!DOCTYPE html><html><body>Not found</body></html>'),
      /damaged|no ONNX model|not an ONNX model/,
    ],
    [
      'a tensor of a million dimensions',
      model({ nodes: [node('Abs', ['x'], ['y'])], tensors: [writeField(1, new Uint8Array(1_000_000).fill(1))] }),
      /impossible shape/,
    ],
    ['a tensor of negative size', model({ nodes: [node('Abs', ['x'], ['y'])], tensors: [tensor('w', [-3], [])] }), /impossible shape/],
  ] as const) {
    test(`refuses ${what}`, () => assert.throws(() => parseModel(bytes, 'x.onnx'), refuses(pattern)));
  }

  test('500 damaged files each parse or fail with a clear error, in little time and memory', (t) => {
    const seed = Math.floor(performance.timeOrigin) % 1_000_000;
    t.diagnostic(`seed ${seed}`);
    const random = new RandomStream(seed, streams.baseline);
    const body = graph({ nodes: [node('Identity', ['/Transpose_output_0'], ['z'])], outputs: [value('z', [])] });
    const parts = tinyEncoder();
    parts.nodes.push(node(
      'If', ['flag'], ['w'], { name: 'branch', attributes: { then_branch: { graph: body } }, scopes: ['', 'm', 'm.layers.0', 'if_0'] },
    ));
    const whole = model(parts);
    let refused = 0, slowest = 0;
    for (let round = 0; round < 500; round++) {
      let bytes: Uint8Array = whole.slice();
      for (let change = random.below(8); change >= 0; change--) {
        const at = random.below(bytes.length);
        const kind = random.below(5);
        if (kind === 0) bytes[at] = random.below(256);
        else if (kind === 1) bytes[at]! ^= 1 << random.below(8);
        else if (kind === 2) bytes = bytes.slice(0, Math.max(1, at));
        else if (kind === 3) bytes = concatenate([bytes.subarray(0, at), bytes.subarray(random.below(bytes.length))]);
        else bytes.fill(0xff, at, at + 9); // the largest lengths and numbers there are
      }
      const start = performance.now();
      try {
        const parsed = parseModel(bytes, 'hostile.onnx');
        cutAt(parsed, [parsed.nodes.at(-1)!.outputs[0] ?? '']);
      } catch (error) {
        assert.ok(
          error instanceof CochleaError && error.code === 'model' && error.message.startsWith('hostile.onnx: '),
          String((error as Error).stack),
        );
        refused++;
      }
      slowest = Math.max(slowest, performance.now() - start);
    }
    assert.ok(refused > 50 && refused < 500, `${refused} of 500 were refused`);
    assert.ok(slowest < 1000, `one took ${slowest} ms`);
  });
});
