/** The walls of the house: who may import whom, who may speak to a runtime, and what a shader may take. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { describe, test } from 'node:test';
import ts from 'typescript';
import { repo } from './support/paths.ts';
import { functionsOf, resourcesOf, uninitialised, withoutComments } from './support/wgsl.ts';

const text = (file: string): string => readFileSync(repo(file), 'utf8');
const isGenerated = (file: string): boolean => file.endsWith('.gen.ts');

function filesBelow(folder: string, extension: string): string[] {
  if (!existsSync(repo(folder))) return [];
  return readdirSync(repo(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension) && !(entry.parentPath ?? entry.path).split(sep).includes('node_modules'))
    .map((entry) => relative(repo(), join(entry.parentPath ?? entry.path, entry.name)).split(sep).join('/'))
    .sort();
}

const sources = ['src', 'cli', 'web', 'bench'].flatMap((folder) => filesBelow(folder, '.ts'));

interface Mentions {
  /** Import specifiers: static, dynamic, re-exported and of types. */
  imports: string[];
  /** Identifiers used as values, without the names of properties, types and keys; `Deno` wherever it stands. */
  names: Set<string>;
}

function readMentions(file: string): Mentions {
  const imports: string[] = [];
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      imports.push((node.moduleSpecifier as ts.StringLiteral).text);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [target] = node.arguments;
      if (target && ts.isStringLiteral(target)) imports.push(target.text);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      imports.push(node.argument.literal.text);
    }
    if ((ts.isIdentifier(node) || ts.isStringLiteral(node)) && node.text === 'Deno') names.add('Deno');
    if (ts.isIdentifier(node) && !isLabel(node)) names.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text(file), ts.ScriptTarget.Latest, true));
  return { imports, names };
}

function isLabel(node: ts.Identifier): boolean {
  const { parent } = node;
  return (ts.isPropertyAccessExpression(parent) && parent.name === node) || (ts.isPropertyAssignment(parent) && parent.name === node)
    || ts.isTypeElement(parent) || ts.isClassElement(parent) || ts.isTypeReferenceNode(parent);
}

const mentions = new Map(sources.map((file) => [file, readMentions(file)]));

const floors: Record<string, number> = {
  'src/runtime': 0, 'src/errors.ts': 0, 'src/random.ts': 0,
  'src/activations': 1, 'src/encoders': 1, 'src/audio': 1, 'src/formats': 1, 'src/hub': 1, 'src/recipes': 1,
  'src/gpu': 2, 'src/kernels': 3, 'src/sae': 4, 'src/training': 5, 'src/pretrained': 5, 'src/evaluation': 6, 'src/report': 6, 'src/verify': 6, 'src/profile': 6,
  'src/jobs': 7, // whole walks through the rooms below
  'src/index.ts': 8, // the library's door
  cli: 9, web: 9, bench: 9,
};

const roomOf = (file: string): string => (file.startsWith('src/') ? file.split('/').slice(0, 2) : file.split('/').slice(0, 1)).join('/');

/** Doors in the walls between rooms of one floor. */
const doors: { from: string; to: string; why: string }[] = [
  { from: 'src/activations', to: 'src/formats', why: 'stored frames are files of known formats and element types' },
];

/** Why an import breaks a wall; undefined when it does not. */
function trespass(file: string, target: string): string | undefined {
  const [from, to] = [roomOf(file), roomOf(target)];
  const [own, its] = [floors[from], floors[to]];
  if (own === undefined || its === undefined) return `${own === undefined ? from : to} is on no floor of the plan`;
  if (from === to || its < own || (own === 0 && its === 0)) return undefined;
  if (its > own) return `goes up from floor ${own} to floor ${its}`;
  return doors.some((door) => door.from === from && door.to === to) ? undefined : `goes across floor ${own}`;
}

describe('imports', () => {
  const inside = [...mentions].flatMap(([file, { imports }]) => imports
    .filter((from) => from.startsWith('.'))
    .map((from) => ({ file, target: posix.join(dirname(file), from) })));

  test('go down, stay in their room, or pass a door', () => {
    assert.ok(inside.length > 0);
    const wrong = inside.flatMap(({ file, target }) => {
      const why = trespass(file, target);
      return why ? [`${file} imports ${target}: ${why}`] : [];
    });
    assert.deepEqual(wrong, []);
  });

  test('that would break a wall are seen', () => {
    assert.match(trespass('src/gpu/gpu.ts', 'src/kernels/topk.ts')!, /goes up from floor 2 to floor 3/);
    assert.match(trespass('src/formats/npy.ts', 'src/activations/store.ts')!, /goes across floor 1/);
    assert.match(trespass('src/utils/tool.ts', 'src/errors.ts')!, /no floor/);
    assert.equal(trespass('src/kernels/topk.ts', 'src/gpu/index.ts'), undefined);
  });

  test('use every door', () => {
    const unused = doors.filter(({ from, to }) => !inside.some(({ file, target }) => roomOf(file) === from && roomOf(target) === to));
    assert.deepEqual(unused, []);
  });

  test('of packages stay out of the rooms that a page loads as they are', () => {
    const bare = [...mentions].filter(([file]) => /^src\/(gpu|kernels|sae|training)\//.test(file))
      .flatMap(([file, { imports }]) => imports.filter((from) => !from.startsWith('.')).map((from) => `${file}: ${from}`));
    assert.deepEqual(bare, []);
  });
});

test('only src/runtime, the command line and the benchmarks speak to a runtime', () => {
  const wrong = [...mentions].filter(([file]) => !/^(src\/runtime|cli|bench)\//.test(file)).flatMap(([file, { imports, names }]) => [
    ...imports.filter((from) => from.startsWith('node:')),
    ...['Deno', 'process', 'Buffer', 'require', '__dirname'].filter((name) => names.has(name)),
  ].map((what) => `${file}: ${what}`));
  assert.deepEqual(wrong, []);
  assert.ok(mentions.get('src/runtime/server.ts')!.names.has('Deno') && mentions.get('src/runtime/server.ts')!.names.has('process'));
});

describe('shaders', () => {
  const shaders = filesBelow('shaders', '.wgsl').map((file) => ({ file, source: text(file) }));
  const launchers = filesBelow('src/kernels', '.ts').filter((file) => !isGenerated(file)).map(text).join('\n');

  test('have no variable without a value: in a loop it would keep the last round\'s', () => {
    assert.ok(shaders.length > 0);
    assert.deepEqual(shaders.flatMap(({ file, source }) => uninitialised(source).map((what) => `${file}: ${what}`)), []);
    assert.deepEqual(uninitialised('fn main() { for (;;) { var sum: f32; var good = 1; } // var not: f32;\n }'), ['sum in main']);
  });

  test('keep to 16 KiB of workgroup memory, 256 invocations and 8 storage buffers, under every constant that launchers give', () => {
    for (const { file, source } of shaders) {
      const variants: Record<string, number>[] = [{}];
      for (const [, name] of source.matchAll(/^const (\w+) = \d+u;/gm)) {
        for (const [, values] of launchers.matchAll(new RegExp(`\\b${name}: ([^,}\\n]+)`, 'g'))) {
          for (const [value] of values!.matchAll(/\b\d+\b/g)) variants.push({ [name!]: Number(value) });
        }
      }
      for (const variant of variants) {
        const { workgroupBytes, invocations, storageBuffers } = resourcesOf(source, variant);
        const which = `${file} with ${JSON.stringify(variant)}`;
        assert.ok(workgroupBytes <= 16384, `${which} takes ${workgroupBytes} bytes of workgroup memory`);
        assert.ok(invocations <= 256, `${which} has ${invocations} invocations`);
        assert.ok(storageBuffers <= 8, `${which} binds ${storageBuffers} storage buffers`);
      }
    }
  });

  test('are measured right', () => {
    const source = `const N = 8u; const M = (N + 1u) * 2u; struct Pair { a: u32, b: vec3f }
      @group(0) @binding(0) var<storage, read> x: array<f32>;
      var<workgroup> a: array<vec4f, M>; var<workgroup> b: array<array<u32, N>, 2>; var<workgroup> c: Pair; var<workgroup> d: atomic<u32>;
      @compute @workgroup_size(N, 4) fn main() {}`.replaceAll('; ', ';\n');
    assert.deepEqual(resourcesOf(source), { workgroupBytes: 18 * 16 + 64 + 32 + 16, invocations: 32, storageBuffers: 1 });
    assert.equal(resourcesOf(source, { N: 16 }).invocations, 64);
  });

  test('enable nothing but subgroups, by lines that are taken out for wgpu, so that both compilers take them', () => {
    const allowed = /^(enable subgroups|diagnostic\(off, subgroup_uniformity\));/gm; // as in src/gpu/pipelines.ts
    const enabling = shaders.filter(({ source }) => /^\s*(enable|requires|diagnostic)\b/m.test(withoutComments(source).replace(allowed, '')));
    assert.deepEqual(enabling.map(({ file }) => file), []);
    assert.ok(text('src/gpu/pipelines.ts').includes(allowed.source));
    const without = shaders.filter(({ source }) => /\bsubgroup[A-Z_]/.test(withoutComments(source)) && !/^enable subgroups;/m.test(source));
    assert.deepEqual(without.map(({ file }) => file), []);
  });

  test('repeat a helper word for word', () => {
    const known = new Map<string, { file: string; text: string }>();
    const wrong: string[] = [];
    for (const { file, source } of shaders) {
      for (const { name, text: body } of functionsOf(source)) {
        if (name === 'main') continue;
        const other = known.get(name);
        if (other && other.text !== body) wrong.push(`${name} in ${file} differs from that in ${other.file}`);
        known.set(name, { file, text: body });
      }
    }
    assert.deepEqual(wrong, []);
  });

  test('are each launched by src/kernels', () => {
    const names = shaders.map(({ file }) => posix.basename(file, '.wgsl'));
    // encode_${variant} with `variant: 'direct' | 'tiled'` names both.
    const isLaunched = (name: string): boolean => {
      if (new RegExp(`\\bshaders\\.${name}\\b`).test(launchers)) return true;
      const [, stem, ending] = /^(.*_)([a-z0-9]+)$/.exec(name) ?? [];
      return launchers.includes(`shaders[\`${stem}\${`) && launchers.includes(`'${ending}'`);
    };
    assert.deepEqual(names.filter((name) => !isLaunched(name)), []);
  });

  test('are in the generated module as they are', () => {
    const { status, stdout } = spawnSync(process.execPath, [repo('scripts', 'shaders.mjs'), '--check'], { encoding: 'utf8' });
    assert.equal(status, 0, stdout);
  });
});

test('no source file is longer than 400 lines', () => {
  const long = ['src', 'cli', 'web', 'test', 'bench'].flatMap((folder) => filesBelow(folder, '.ts'))
    .filter((file) => !isGenerated(file))
    .map((file) => ({ file, lines: text(file).trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > 400);
  assert.deepEqual(long, []);
});

const listing = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: repo(), encoding: 'utf8' });

test('no file of the repository names a path of somebody\'s machine', { skip: listing.status === 0 ? false : 'this is no git checkout' }, () => {
  const machinePath = new RegExp(`(^|[^\\w.~-])/(${['work', 'root'].join('|')})/[a-z.]`, 'im');
  const wrong = listing.stdout.split('\0').filter((file) => file !== '' && existsSync(repo(file)) && statSync(repo(file)).isFile()).filter((file) => {
    const bytes = readFileSync(repo(file));
    const isText = !bytes.subarray(0, 8192).includes(0);
    return isText && machinePath.test(bytes.toString('utf8'));
  });
  assert.deepEqual(wrong, []);
});
