import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { listClips, loadClip } from '../../src/audio/clips.ts';
import { readCsv } from '../../src/audio/csv.ts';
import { CochleaError } from '../../src/errors.ts';
import { wav } from './sounds.ts';

let folder = '';
const ramp = wav(Array.from({ length: 16000 }, (_, i) => i));

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cochlea-clips-'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function put(path: string, content: string | Uint8Array = ramp): Promise<string> {
  const whole = join(folder, path);
  await mkdir(dirname(whole), { recursive: true });
  await writeFile(whole, content);
  return whole;
}

test('csv follows RFC 4180', () => {
  const fields = (text: string, separator: ',' | '\t' = ','): unknown => readCsv(text, separator).map((r) => [r.line, r.fields]);
  assert.deepEqual(fields('a,b\r\n1,2\r\n'), [[1, ['a', 'b']], [2, ['1', '2']]]);
  assert.deepEqual(fields('\ufeffa,b\n\n1,\r,2'), [[1, ['a', 'b']], [3, ['1', '']], [4, ['', '2']]]);
  assert.deepEqual(fields('"x, ""y""\nz",""\nq,r'), [[1, ['x, "y"\nz', '']], [3, ['q', 'r']]]);
  assert.deepEqual(fields('a\tb,c\n', '\t'), [[1, ['a', 'b,c']]]);
  assert.deepEqual(fields('"a"b,c\nd,e"f\n"g\nh,i'), [[1, undefined], [2, ['d', 'e"f']], [3, undefined], [4, ['h', 'i']]]);
  assert.deepEqual(fields(''), []);
});

test('a folder is walked whole, in order, sound files only', async () => {
  for (const path of ['walk/b.wav', 'walk/a.FLAC', 'walk/sub/c.mp3', 'walk/sub/notes.txt', 'walk/.hidden.wav', 'walk/sub/deep/d.opus', 'walk/manifest.csv']) await put(path);
  const { clips, problems } = await listClips([join(folder, 'walk')]);
  assert.deepEqual(clips.map(({ id }) => id), ['a.FLAC', 'b.wav', 'sub/c.mp3', 'sub/deep/d.opus']);
  assert.equal(clips[2]!.path, join(folder, 'walk/sub/c.mp3'));
  assert.deepEqual(problems, []);
});

test('recordings of kinds that are not looked for are counted by extension, in one line', async () => {
  for (const path of ['kinds/a.wav', 'kinds/b.aiff', 'kinds/sub/c.AIFF', 'kinds/sub/d.wma', 'kinds/notes.txt', 'kinds/.hidden.wma']) await put(path);
  await mkdir(join(folder, 'kinds/folder.wma'));
  const { clips, problems } = await listClips([join(folder, 'kinds')]);
  assert.deepEqual(clips.map(({ id }) => id), ['a.wav']);
  assert.deepEqual(problems, [`${join(folder, 'kinds')}: recordings of kinds that are not looked for: 2 .aiff, 1 .wma (convert them, e.g. with \`ffmpeg -i in out.flac\`)`]);
});

test('a pipe with a recording\'s name is told of, and not waited for', { skip: process.platform === 'win32' && 'Windows has no named pipes among files' }, async () => {
  await put('pipes/a.wav');
  execFileSync('mkfifo', [join(folder, 'pipes/b.wav')]);
  const { clips, problems } = await listClips([join(folder, 'pipes')]);
  assert.deepEqual(clips.map(({ id }) => id), ['a.wav']);
  assert.deepEqual(problems, [`${join(folder, 'pipes/b.wav')}: is a pipe or device, not a sound file`]);
  const listed = await listClips([await put('pipes/list.csv', 'path\na.wav\nb.wav\n')]);
  assert.equal(listed.clips.length, 1);
  assert.deepEqual(listed.problems, [`${join(folder, 'pipes/list.csv')}, line 3: is a pipe or device, not a sound file: b.wav`]);
});

test('links that lead in circles are walked once', async () => {
  await put('loop/a/x.wav');
  await put('loop/b/y.wav');
  await symlink(join(folder, 'loop'), join(folder, 'loop/a/up'));
  await symlink(join(folder, 'loop/b'), join(folder, 'loop/a/side'));
  await symlink(join(folder, 'loop/a'), join(folder, 'loop/b/back'));
  await symlink(join(folder, 'nowhere'), join(folder, 'loop/broken.wav'));
  await symlink(join(folder, 'loop/self'), join(folder, 'loop/self'));
  const { clips, problems } = await listClips([join(folder, 'loop')]);
  // A link to a folder elsewhere is followed; one to a folder above is not.
  assert.deepEqual(clips.map(({ id }) => id), ['a/side/y.wav', 'a/x.wav', 'b/back/x.wav', 'b/y.wav']);
  assert.equal(problems.length, 1);
  assert.match(problems[0]!, /broken\.wav: is a link that leads nowhere/);
});

const bytesOf = (...parts: (string | number)[]): Buffer => Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.of(part))));

test('files and folders whose names are not UTF-8 are named', { skip: 'Deno' in globalThis ? 'Deno makes no such names' : process.platform !== 'linux' && 'other systems keep names as Unicode' }, async () => {
  const latin = 0xe9, root = join(folder, 'latin');
  await put('latin/x.wav');
  await writeFile(bytesOf(root, '/caf', latin, '.wav'), ramp);
  await mkdir(bytesOf(root, '/\u00e9t', latin));
  await writeFile(bytesOf(root, '/\u00e9t', latin, '/y.wav'), ramp);
  const { clips, problems } = await listClips([root]);
  assert.deepEqual(clips.map(({ id }) => id), ['x.wav']);
  assert.deepEqual(problems, ['caf\ufffd.wav', '\u00e9t\ufffd'].map((name) => `${join(root, name)}: its name is not UTF-8, and nothing can be opened by it: rename it`));
});

test('a folder that can be listed and not entered is told of', { skip: process.platform === 'win32' ? 'needs the permissions of POSIX' : process.getuid?.() === 0 && 'root enters every folder' }, async () => {
  for (const path of ['shut/a/x.wav', 'shut/b/y.wav', 'shut/z.wav', 'open/x.wav']) await put(path);
  const shut = join(folder, 'shut');
  await chmod(shut, 0o444);
  try {
    const { clips, problems } = await listClips([shut, join(folder, 'open')]);
    assert.deepEqual(clips.map(({ id }) => id), ['x.wav']);
    assert.deepEqual(problems, ['a', 'z.wav'].map((name) => `cannot look at ${join(shut, name)}: permission denied`));
  } finally {
    await chmod(shut, 0o755);
  }
});

test('ids of several inputs do not collide', async () => {
  await put('one/x.wav');
  await put('two/x.wav');
  const { clips } = await listClips([join(folder, 'one'), join(folder, 'two'), join(folder, 'one/x.wav')]);
  assert.deepEqual(clips.map(({ id }) => id), ['x.wav', 'x.wav#2', 'x.wav#3']);
});

test('a csv manifest gives ids, stretches and labels; what is wrong is told line by line', async () => {
  await put('m/sound/x.wav');
  const manifest = await put('m/list.csv', [
    '\ufeffpath,id,start,end,speaker,text',
    'sound/x.wav,first,,,ann,"said ""да"",\r\nand left"',
    'sound/x.wav,,0.25,0.5,bob,',
    'sound/gone.wav,,,,ann,x',
    'sound/x.wav,,soon,,ann,x',
    'sound/x.wav,,0.5,0.25,ann,x',
    'sound/x.wav,first,,,ann,x',
    'sound/x.wav,too,few',
    ',nameless,,,ann,x',
    '"sound/x.wav,,,,ann,x',
    `${join(folder, 'm/sound/x.wav')},last,0.5,,,`,
  ].join('\r\n'));
  const { clips, problems } = await listClips([manifest]);
  const path = join(folder, 'm/sound/x.wav');
  assert.deepEqual(clips, [
    { id: 'first', path, labels: { speaker: 'ann', text: 'said "да",\r\nand left' } },
    { id: 'sound/x.wav@0.25-0.5', path, start: 0.25, end: 0.5, labels: { speaker: 'bob', text: '' } },
    { id: 'last', path, start: 0.5, labels: { speaker: '', text: '' } },
  ]);
  const expected: [number, RegExp][] = [
    [5, /no such file: sound\/gone\.wav/],
    [6, /start "soon"/],
    [7, /start "0\.5" and end "0\.25"/],
    [9, /has 3 fields, the first line has 6/],
    [10, /names no file/],
    [11, /quotes do not pair up/],
    [8, /the id "first" is taken by .*line 2/],
  ];
  assert.equal(problems.length, expected.length, problems.join('\n'));
  for (const [line, what] of expected) assert.ok(problems.some((p) => p.startsWith(`${manifest}, line ${line}: `) && what.test(p) && !p.includes('\n')), `line ${line}`);
});

test('json manifests: an array, or one object per line', async () => {
  await put('j/x.wav');
  const entries = [{ file: 'x.wav', start: 0.5, label: 'a', score: 3, none: null }, { audio: 'x.wav', id: 'whole', tags: ['p', 'q'] }];
  const path = join(folder, 'j/x.wav');
  const wanted = [{ id: 'x.wav@0.5-', path, start: 0.5, labels: { label: 'a', score: '3' } }, { id: 'whole', path, labels: { tags: '["p","q"]' } }];
  const array = await listClips([await put('j/a.json', JSON.stringify(entries))]);
  assert.deepEqual(array, { clips: wanted, problems: [] });
  const lines = await put('j/l.jsonl', `${JSON.stringify(entries[0])}\n\n{"file": oops}\n[1]\n${JSON.stringify(entries[1])}\r\n`);
  const listed = await listClips([lines]);
  assert.deepEqual(listed.clips, wanted);
  assert.deepEqual(listed.problems, [`${lines}, line 3: is not a JSON object`, `${lines}, line 4: is not a JSON object`]);
});

test('a manifest\'s row whose file cannot be looked at is told like any other', async () => {
  await put('odd/x.wav');
  const long = `${'x'.repeat(300)}.wav`;
  const list = await put('odd/l.jsonl', ['x.wav', long, 'nul\0.wav', '.'].map((path) => JSON.stringify({ path })).join('\n'));
  const { clips, problems } = await listClips([list]);
  assert.deepEqual(clips.map(({ id }) => id), ['x.wav']);
  assert.equal(problems.length, 3, problems.join('\n'));
  for (const [n, what] of [/cannot look at .*x{300}\.wav/, /cannot look at .*nul.*\.wav/, /^is a folder, not a sound file: \.$/].entries()) {
    const [where, why] = [`${list}, line ${n + 2}: `, problems[n]!];
    assert.ok(why.startsWith(where) && what.test(why.slice(where.length)), why);
  }
});

test('a manifest\'s id or path that is neither text nor a number is told of', async () => {
  await put('ids/x.wav');
  const list = await put('ids/l.jsonl', ['{"path": "x.wav", "id": {"a": 1}}', '{"path": "x.wav", "id": ["b"]}', '{"path": {"to": "x.wav"}}', '{"path": "x.wav", "id": 7}'].join('\n'));
  const { clips, problems } = await listClips([list]);
  assert.deepEqual(clips.map(({ id }) => id), ['7']);
  assert.deepEqual(problems, [
    `${list}, line 1: its id is {"a":1}, neither text nor a number`, `${list}, line 2: its id is ["b"], neither text nor a number`, `${list}, line 3: its path is {"to":"x.wav"}, not the path of a file`,
  ]);
});

test('manifests that are none, empty folders and missing inputs throw', async () => {
  const refused = (inputs: string[], code: string, what: RegExp): Promise<void> =>
    assert.rejects(listClips(inputs), (error) => error instanceof CochleaError && error.code === code && what.test(error.line));
  await refused([await put('bad/a.csv', 'name,age\nx,3\n')], 'file-damaged', /a\.csv: its first line has no column path, file, audio: it has name, age/);
  await refused([await put('bad/b.json', '{"path": "x.wav"}')], 'file-damaged', /b\.json: is not a JSON array/);
  await refused([await put('bad/c.csv', '')], 'file-damaged', /it has nothing/);
  await refused([await put('bad/d.csv', 'path\ngone.wav\n')], 'file-missing', /no recordings in .*first problem: .*line 2: no such file: gone\.wav/);
  await mkdir(join(folder, 'empty/inside'), { recursive: true });
  await refused([join(folder, 'empty')], 'file-missing', /no recordings in .*empty.*\.wav .*\.opus/);
  await refused([join(folder, 'not-there')], 'file-missing', /no such file or folder: .*not-there/);
});

test('a clip is cut, resampled and told by the hash of its file', async () => {
  const path = await put('load/x.wav');
  const whole = await loadClip({ id: 'x', path, labels: {} }, 16000);
  assert.equal(whole.samples.length, 16000);
  assert.equal(whole.seconds, 1);
  assert.equal(whole.sha256, createHash('sha256').update(await readFile(path)).digest('hex'));
  const part = await loadClip({ id: 'x', path, start: 0.25, end: 0.5, labels: {} }, 16000);
  assert.deepEqual(part.samples, whole.samples.slice(4000, 8000));
  assert.equal(part.sha256, whole.sha256);
  const slower = await loadClip({ id: 'x', path, start: 0.25, labels: {} }, 8000);
  assert.equal(slower.samples.length, 6000);
  assert.ok(Math.abs(slower.samples[3000]! - whole.samples[10000]!) < 1e-4);
  assert.equal((await loadClip({ id: 'x', path, start: 0.5, end: 1.05, labels: {} }, 16000)).samples.length, 8000, 'a small overshoot is the end');
  for (const [start, end] of [[0.5, 1.2], [1.5, undefined], [1, 1.01]] as const) {
    const clip = { id: 'late', path, start, ...(end !== undefined && { end }), labels: {} };
    await assert.rejects(loadClip(clip, 16000), /x\.wav: lasts 1\.000 s, but clip "late"/);
  }
  await assert.rejects(loadClip({ id: 'x', path: join(folder, 'gone.wav'), labels: {} }, 16000), (error) => error instanceof CochleaError && error.code === 'file-missing');
});

test('a file that changed is decoded anew', async () => {
  const path = await put('load/y.wav', wav([0, 0, 0, 0]));
  const clip = { id: 'y', path, start: 0, labels: {} };
  assert.equal((await loadClip(clip, 16000)).samples.length, 4);
  await put('load/y.wav', wav([1, 2, 3, 4, 5, 6]));
  assert.equal((await loadClip(clip, 16000)).samples.length, 6);
});
