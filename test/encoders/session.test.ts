import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { repo } from '../support/paths.ts';
import { model, tensor, tinyEncoder } from './tiny-onnx.ts';

// Threads are chosen once per process, so each of these is a process of its own.
describe('sessions with threads', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cochlea-session-'));
    const parts = tinyEncoder();
    parts.tensors!.splice(-1, 1, tensor('head', [4, 512], Float32Array.from({ length: 2048 }, (_, i) => Math.sin(i))));
    await writeFile(join(folder, 'tiny.onnx'), model(parts));
  });
  after(() => rm(folder, { recursive: true }));

  /** Runs a module's text to its natural end and gives what it printed. */
  const output = async (body: string): Promise<string> => {
    const encoders = new URL(`../../src/encoders/index${extname(import.meta.url)}`, import.meta.url);
    const script = join(folder, 'child.mjs');
    await writeFile(script, `
      const { openEncoder } = await import(${JSON.stringify(encoders.href)});
      const open = (options) => openEncoder({ model: ${JSON.stringify(join(folder, 'tiny.onnx'))}, hook: 'encoder.out', ...options });
      const sound = Float32Array.from({ length: 60_000 }, (_, i) => Math.sin(i * i * 1e-3));
      ${body}
    `);
    const args = 'Deno' in globalThis ? ['run', '-A', '--no-check', '--config', repo('deno.json'), script] : [script];
    return new Promise((resolve, reject) => {
      execFile(
        process.execPath, args, { timeout: 60_000 },
        (error, stdout, stderr) => (error ? reject(new Error(`${error.message}\n${stderr}`)) : resolve(stdout)),
      );
    });
  };

  test('a process ends by itself, whether its encoders were closed or not', async () => {
    const text = await output(`
      const kept = await open({ threads: 2 }), closed = await open({ threads: 2 });
      await kept.encode(sound);
      await closed.encode(sound);
      await closed.close();
      console.log('last line');
    `);
    assert.equal(text, 'last line\n');
  });

  test('the memory that threads share never grows, and nothing of the platform stays replaced', async () => {
    const text = await output(`
      const { Memory } = WebAssembly, { grow } = Memory.prototype;
      let grown = 0;
      Memory.prototype.grow = function (pages) { grown++; return grow.call(this, pages); };
      for (let i = 0; i < 3; i++) {
        const encoder = await open({ threads: 2 });
        await encoder.encode(sound);
        await encoder.close();
      }
      console.log(grown, WebAssembly.Memory === Memory);
    `);
    assert.equal(text, '0 true\n');
  });

  test('one and two threads give the same bits', async () => {
    const digest = (threads: number) => output(`
      const encoder = await open({ threads: ${threads} });
      const { frames } = await encoder.encode(sound);
      console.log(frames.length, [...new Uint8Array(await crypto.subtle.digest('SHA-256', frames))].join());
    `);
    const one = await digest(1), two = await digest(2);
    assert.match(one, new RegExp(`^${29_999 * 512} `));
    assert.equal(one, two);
  });
});
