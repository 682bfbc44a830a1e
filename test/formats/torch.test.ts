import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { bytesHandle } from '../../src/formats/byte-source.ts';
import { type PickleValue, type TorchFile, type TorchToWrite, openTorch, writeTorch } from '../../src/formats/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { fixture } from '../support/paths.ts';
import { global, int, long, longLength, type Part, pickle, start, storage, tensor, text, torchFile, wideLength } from '../support/pickle-file.ts';

let folder = '';
before(async () => {
  folder = await runtime.files.temporaryFolder('cochlea-torch-');
});
after(() => runtime.files.remove(folder));

const saved = (name: string): Uint8Array => new Uint8Array(readFileSync(fixture('tensor-files', name)));
const open = (bytes: Uint8Array, name = 'x.pt'): Promise<TorchFile> => openTorch(bytesHandle(bytes), name);
const openPickle = (...parts: Part[]): Promise<TorchFile> => open(torchFile(pickle(start, ...parts)));
/** As plain objects, for comparisons. */
const plain = (value: PickleValue): unknown => (value !== null && typeof value === 'object' && !Array.isArray(value)
  ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item as PickleValue)])) : Array.isArray(value) ? value.map(plain) : value);

const refuses = (opening: Promise<unknown>, message: RegExp): Promise<void> => assert.rejects(opening, (error: CochleaError) => {
  assert.ok(error instanceof CochleaError && error.code === 'file-damaged', String(error.stack));
  assert.ok(!error.line.includes('\n') && error.line.length < 400, error.line);
  assert.match(error.message, message);
  return true;
});

describe('files of torch.save', () => {
  const all = Array.from({ length: 24 }, (_, i) => i / 8 - 1);
  test('a state dict: views, types, parameters and scalars', async () => {
    const { tensors } = await open(saved('state-dict.pt'));
    const expected: [string, string, number[], number[]][] = [
      ['encoder.weight', 'F32', [4, 6], all],
      ['decoder.weight', 'F32', [6, 4], Array.from({ length: 24 }, (_, i) => all[6 * (i % 4) + Math.floor(i / 4)]!)],
      ['bias', 'F32', [6], all.slice(6, 12)],
      ['column', 'F32', [4], [all[2]!, all[8]!, all[14]!, all[20]!]],
      ['cube', 'F32', [2, 3, 2], [...all.slice(1, 7), ...all.slice(13, 19)]],
      ['repeated', 'F64', [3, 2], new Array(6).fill(0.1)],
      ['bfloat16', 'BF16', [4], [1, -2.5, 1.7578125 * 2 ** 127, 0.0078125]],
      ['float16', 'F16', [2, 2], [1, -2.5, 65504, 2 ** -24]],
      ['threshold', 'F64', [], [0.1]],
      ['k', 'I64', [], [2 ** 40]],
      ['flags', 'BOOL', [3], [1, 0, 1]],
      ['float8', 'F8_E4M3', [5], [1, -2, 448, 2 ** -9, -0]],
      ['none', 'F32', [0, 6], []],
    ];
    assert.deepEqual([...tensors.keys()], expected.map(([name]) => name));
    for (const [name, dtype, shape, values] of expected) {
      const found = tensors.get(name)!;
      assert.deepEqual([found.dtype, found.shape], [dtype, shape], name);
      assert.deepEqual([...await found.readFloat64()], values, name);
      assert.deepEqual([...await found.read()], values.map(Math.fround), name);
    }
  });

  for (const protocol of [2, 4, 5]) {
    test(`nested data of protocol ${protocol}`, async () => {
      const { value, tensors } = await open(saved(`nested-${protocol}.pt`));
      assert.deepEqual(plain((value as Record<string, PickleValue>)['cfg']!), {
        activation_dim: 4, dict_size: 6, lr: 3e-4, seed: 2n ** 63n + 1n, negative: -5, big: 300, large: -(2 ** 40), name: 'AutoEncoderTopK é',
        layers: [3, 7], pair: ['a', null], dtype: 'torch.bfloat16', shape: [4, 6], device: 'cuda:1',
        nested: Object.fromEntries([['deep', { yes: true, no: false }], ['5', 'integer key'], ['__proto__', 'a key like any other']]),
      });
      assert.deepEqual([...tensors.keys()], ['state_dict.W', 'state_dict.list.0']);
      assert.deepEqual([...await tensors.get('state_dict.W')!.read()], all);
      assert.deepEqual([...await tensors.get('state_dict.list.0')!.read()], [-2.5, 2 ** -24]);
    });
  }

  const value: TorchToWrite = {
    cfg: { k: 50, lr: 3e-4, name: 'é', none: null, yes: true, layers: [1, -2, 2 ** 40, 2 ** 31], empty: [], nothing: {} },
    state_dict: {
      'encoder.weight': { dtype: 'F32', shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
      k: { dtype: 'I64', shape: [], data: new Uint8Array(BigInt64Array.of(50n).buffer) },
      half: { dtype: 'BF16', shape: [2], data: [Float32Array.of(1), Float32Array.of(-2)] },
      threshold: { dtype: 'F64', shape: [], data: Float64Array.of(0.1) },
    },
  };
  test('what is written is read, and is always the same bytes', async () => {
    const path = runtime.paths.join(folder, 'written.pt');
    await writeTorch(path, value);
    const bytes = await runtime.files.read(path);
    await writeTorch(path, value);
    assert.deepEqual(await runtime.files.read(path), bytes);
    const file = await open(bytes);
    assert.deepEqual(plain((file.value as Record<string, PickleValue>)['cfg']!), (value as Record<string, unknown>)['cfg']);
    assert.deepEqual(await Promise.all([...file.tensors].map(async ([name, { dtype, shape, readFloat64 }]) => [name, dtype, shape, [...await readFloat64()]])), [
      ['state_dict.encoder.weight', 'F32', [3, 2], [1, 2, 3, 4, 5, 6]], ['state_dict.k', 'I64', [], [50]], ['state_dict.half', 'BF16', [2], [1, -2]],
      ['state_dict.threshold', 'F64', [], [0.1]],
    ]);
    await assert.rejects(writeTorch(path, { dtype: 'C64', shape: [1], data: new Uint8Array(8) }), (error: CochleaError) => error.code === 'config');
    await assert.rejects(writeTorch(path, { x: { dtype: 'F32', shape: [2], data: new Float32Array(3) } }), /needs 8 bytes and was given 12/);
    assert.deepEqual(await runtime.files.read(path), bytes);
  });

  const whole = [storage('0', 24), int(0), [int(4), int(6)], [int(6), int(1)]] as const;
  test('one tensor alone, and two names for one', async () => {
    assert.deepEqual([...(await openPickle(tensor(...whole), '.')).tensors.keys()], ['']);
    const twice = await openPickle('}', '(', text('a'), tensor(...whole), 'q', 9, text('b'), 'h', 9, 'u.');
    assert.deepEqual([...twice.tensors.keys()], ['a', 'b']);
  });

  const huge = long(2n ** 53n - 1n);
  const refusals: [string, Promise<unknown>, RegExp][] = [
    ['os.system', open(saved('os-system.pt')), /asks for posix\.system,/],
    ['eval', open(saved('eval.pt')), /asks for __builtin__\.eval,/],
    ['numpy arrays', open(saved('numpy-array.pt')), /asks for numpy\._core\.multiarray\._reconstruct,/],
    ['numpy scalars', open(saved('numpy-scalar.pt')), /asks for numpy\._core\.multiarray\.scalar,/],
    ['big-endian files', open(saved('big-endian.pt')), /byte order/],
    ['nested files', openPickle(global('torch.storage', '_load_from_bytes'), '.'), /torch\.storage\._load_from_bytes,/],
    ['names of JavaScript', openPickle(global('constructor', 'constructor'), '.'), /constructor\.constructor,/],
    ['Object.prototype', openPickle(global('__proto__', 'toString'), '.'), /__proto__\.toString,/],
    ['names that are computed', openPickle(text('posix'), text('system'), 0x93, '.'), /asks for posix\.system,/],
    ['names by INST', openPickle('(iposix\nsystem\n.'), /asks for posix\.system,/],
    ['names on several lines', openPickle(text('a\nb'), text('c'), 0x93, '.'), /asks for "a\\nb\.c",/],
    ['NEWOBJ', openPickle(global('collections', 'OrderedDict'), ')', 0x81, '.'), /opcode NEWOBJ/],
    ['extensions', openPickle(0x82, 1, '.'), /opcode EXT1/],
    ['unknown opcodes', openPickle(0xff, '.'), /opcode 0xff/],
    ['a call of data', openPickle(text('x'), ')R.'), /calls what is no function/],
    ['a dtype called', openPickle(global('torch', 'float32'), ')R.'), /calls what is no function/],
    ['arguments that are a list', openPickle(global('torch', 'Size'), ']R.'), /calls what is no function/],
    ['functions as data', openPickle(global('torch', 'Size'), '.'), /function or a storage as data/],
    ['storages as data', openPickle(storage('0', 24), '.'), /function or a storage as data/],
    ['a list that holds itself', openPickle(']q', 0, 'h', 0, 'a.'), /holds itself/],
    ['a dictionary that holds itself', openPickle('}q', 0, text('x'), 'h', 0, 's.'), /holds itself/],
    ['deep nesting', openPickle(']'.repeat(100), 'a'.repeat(99), '.'), /nested more than 64 deep/],
    ['lists that double forty times', openPickle('(]q', 0, Array.from({ length: 40 }, (_, i) => ['](h', i, 'h', i, 'eq', i + 1]), 't.'), /holds more than 262144 values/],
    ['a stack that runs empty', openPickle('0.'), /takes more than it has/],
    ['a mark that is crossed', openPickle(']', '(', 'a.'), /takes more than it has/],
    ['a memo never written', openPickle('h', 7, '.'), /recalls value 7/],
    ['an end before the end', openPickle(']'), /claims 1 bytes/],
    ['leftovers', openPickle(']].'), /leaves something/],
    ['text of 4 GB', openPickle(text('x', 0xfffffff0), '.'), /claims 4294967280 bytes/],
    ['text of 2^63 bytes', openPickle(wideLength(0x8d, 2n ** 63n), '.'), /claims 9223372036854776000 bytes/],
    ['bytes of 2^63 bytes', openPickle(wideLength(0x8e, 2n ** 63n), '.'), /opcode BINBYTES8/],
    ['an integer of 2 GB', openPickle(longLength('\x8b', 0x7fffffff), '.'), /integer of 2147483647 bytes/],
    ['text that is no UTF-8', openPickle('X', [1, 0, 0, 0], 0xff, '.'), /not utf-8/],
    ['a key twice', openPickle('}(', text('a'), 'N', text('a'), 'Nu.'), /key "a" twice/],
    ['keys that are lists', openPickle('}(]Nu.'), /neither text nor a number/],
    ['appending to a tuple', openPickle(')Na.'), /no list/],
    ['protocol 0', open(torchFile(pickle('cposix\nsystem\n(Vls\ntR.'))), /asks for posix\.system,/],
    ['protocol 6', open(torchFile(pickle(0x80, 6, 'N.'))), /protocol 6/],
    ['a storage that is not there', openPickle(storage('9', 24), '.'), /storage "9" is not in the file/],
    ['a storage outside', openPickle(storage('../version', 24), '.'), /is not in the file/],
    ['a storage of another size', openPickle(storage('0', 25), '.'), /100 bytes, the file has 96/],
    ['a tensor beyond its storage', openPickle(tensor(storage('0', 24), int(1), [int(4), int(6)], [int(6), int(1)]), '.'), /reaches to element 25 of a storage of 24/],
    ['strides beyond the storage', openPickle(tensor(storage('0', 24), int(0), [int(4), int(6)], [huge, huge]), '.'), /reaches to element/],
    ['a shape that overflows', openPickle(tensor(storage('0', 24), int(0), [huge, huge], [int(0), int(0)]), '.'), /by repeating 1 elements/],
    ['a negative size', openPickle(tensor(storage('0', 24), int(0), [int(-4)], [int(1)]), '.'), /impossible shape/],
    ['a negative stride', openPickle(tensor(storage('0', 24), int(0), [int(4)], [int(-1)]), '.'), /impossible shape/],
    ['a negative offset', openPickle(tensor(storage('0', 24), int(-1), [int(4)], [int(1)]), '.'), /impossible shape/],
    ['33 dimensions', openPickle(tensor(storage('0', 24), int(0), new Array(33).fill(int(1)), new Array(33).fill(int(1))), '.'), /impossible shape/],
    ['a tensor of no storage', openPickle(tensor(text('0'), int(0), [int(4)], [int(1)]), '.'), /what is no storage/],
    ['two tensors of one name', openPickle('}(', text('a.b'), tensor(...whole), text('a'), '}', text('b'), tensor(...whole), 'su.'), /two tensors at "a\.b"/],
    ['the form before PyTorch 1.6', open(pickle(0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.')), /before PyTorch 1\.6/],
    ['a bare pickle', open(pickle(start, 'N.')), /bare pickle/],
    ['TorchScript', open(torchFile(pickle(start, 'N.'), { 'constants.pkl': Uint8Array.of(1) })), /TorchScript/],
    ['another zip archive', open(saved('stored.npz')), /0 entries named FOLDER\/data\.pkl/],
    ['another file', open(new TextEncoder().encode('version https://git-lfs.github.com/spec/v1')), /not a torch file/],
  ];
  for (const [name, opening, message] of refusals) {
    opening.catch(() => {});
    test(`refuses ${name}`, () => refuses(opening, message));
  }

  test('too many steps', async () => {
    await refuses(openPickle('N'.repeat(1 << 20), '.'), /more than 1048576 steps/);
  });

  test('nothing was run', () => {
    assert.ok(!readdirSync(process.cwd()).includes('executed'));
    assert.ok(!readdirSync(fixture('tensor-files')).includes('executed'));
  });
});
