/** What a model with large weights takes of the memory: its weights once for each session, in WebAssembly's own memory, and nowhere else. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { wav } from '../audio/sounds.ts';
import { externalTensor, model, node, tinyEncoder } from '../encoders/tiny-onnx.ts';
import { repo } from '../support/paths.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-large-'));
after(() => rmSync(folder, { recursive: true }));

const mebi = 2 ** 20, tableBytes = 16 * mebi;

/** A model with so many tables of 16 MiB in an external file without content, one after the other: each frame has a row of each added. */
function writeModel(name: string, tables: number): string {
  const parts = tinyEncoder(), rows = tableBytes / 16;
  let last = '/encoder/layers.1/Add_1_output_0';
  parts.nodes.push(node('ArgMax', [last], ['largest'], { attributes: { axis: 2, keepdims: 0 } }));
  for (let n = 0; n < tables; n++) {
    parts.tensors!.push(externalTensor(`table${n}`, [rows, 4], { location: `${name}.bin`, offset: String(n * tableBytes) }));
    parts.nodes.push(node('Gather', [`table${n}`, 'largest'], [`row${n}`]), node('Add', [last, `row${n}`], [n === tables - 1 ? 'end' : `sum${n}`]));
    last = `sum${n}`;
  }
  const file = openSync(join(folder, `${name}.bin`), 'w');
  ftruncateSync(file, tables * tableBytes);
  closeSync(file);
  writeFileSync(join(folder, `${name}.onnx`), model(parts));
  return join(folder, `${name}.onnx`);
}

/** The most memory, in bytes, that a process has resident which encodes two clips with so many sessions. */
function peak(path: string, workers: number): Promise<number> {
  const jobs = new URL(`../../src/jobs/recordings/audio${extname(import.meta.url)}`, import.meta.url);
  const script = join(folder, 'child.mjs');
  writeFileSync(script, `
    import { readFileSync } from 'node:fs';
    const { openAudio } = await import(${JSON.stringify(jobs.href)});
    const audio = await openAudio({ model: ${JSON.stringify(path)}, hook: 'end', audio: [${JSON.stringify(folder)}], workers: ${workers}, threads: 1, backend: 'wasm' });
    const loaded = await Promise.all(audio.clips.map((clip) => audio.load(clip)));
    if (loaded.some((one) => one.rows !== 499)) throw new Error('not all rows');
    console.log(1024 * Number(/^VmHWM:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]));
    await audio.close();
  `);
  const args = 'Deno' in globalThis ? ['run', '-A', '--no-check', '--config', repo('deno.json'), script] : [script];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { timeout: 120_000 }, (error, stdout, stderr) => (error ? reject(new Error(`${error.message}\n${stderr}`)) : resolve(Number(stdout))));
  });
}

test('weights are read when they are wanted, and never held twice in a session', { skip: existsSync('/proc/self/status') ? false : 'only Linux tells the peak of a process' }, async (t) => {
  for (const name of ['a', 'b']) writeFileSync(join(folder, `${name}.wav`), wav(Array.from({ length: 1000 }, (_, i) => Math.round(5000 * Math.sin(i)))));
  const few = writeModel('few', 1), many = writeModel('many', 9), size = 8 * tableBytes;
  const workers = 2, more = (await peak(many, workers) - await peak(few, workers)) / size;
  t.diagnostic(`${workers} sessions with weights of ${size / mebi} MiB: ${more.toFixed(2)} times that`);
  assert.ok(more < 1.6 * workers, `${more.toFixed(2)} times the weights`);
});
