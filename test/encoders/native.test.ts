/** The native build of ONNX Runtime beside the wasm build. It is no dependency: where it is not installed the comparisons are skipped. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, describe, test } from 'node:test';
import { decodeSound, resample } from '../../src/audio/index.ts';
import { chooseBackend, openEncoder, openMultiEncoder } from '../../src/encoders/index.ts';
import { loadNative, nativeVariable } from '../../src/encoders/native.ts';
import { extractActivations } from '../../src/jobs/extract.ts';
import { fixture, repo } from '../support/paths.ts';
import { makeRecordings, tinyHook } from '../support/recordings.ts';
import { fails } from '../support/fails.ts';
import { unreachable } from './npm.ts';
import { signal } from './signal.ts';
import { externalTensor, model, tinyEncoder, tinyKernel } from './tiny-onnx.ts';
import { relativeDifference } from './torch.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-native-'));
after(() => rmSync(folder, { recursive: true }));

async function whyMissing(): Promise<string | false> {
  if ('Deno' in globalThis) return 'the native build is for Node';
  return await loadNative() ? false : `onnxruntime-node is not installed: install it, and set ${nativeVariable} to the folder when that is not this one`;
}

const skip = await whyMissing();

/** Frames at a hook by both builds. */
async function both(path: string, hook: string, samples: Float32Array): Promise<Float32Array[]> {
  const made: Float32Array[] = [];
  for (const backend of ['native', 'wasm'] as const) {
    const encoder = await openEncoder({ model: path, hook, backend });
    made.push((await encoder.encode(samples)).frames);
    await encoder.close();
  }
  return made;
}

describe('the native backend', () => {
  test('that is not there is missed in one line, and auto does without it', async () => {
    const before = process.env[nativeVariable];
    try {
      process.env[nativeVariable] = folder;
      const line = 'Deno' in globalThis ? /the native backend is not there/ : /COCHLEA_ONNXRUNTIME_NODE is .*, and onnxruntime-node is not installed there/;
      await assert.rejects(chooseBackend('native'), fails('runtime', line));
      const notices: string[] = [];
      const { package: name, version, provider } = await chooseBackend('auto', (said) => notices.push(said));
      assert.deepEqual([name, provider], ['onnxruntime-web', 'wasm']);
      assert.match(version, /^1\.\d+\.\d+/);
      assert.deepEqual(notices.map((said) => /^the wasm backend is used: COCHLEA_/.test(said)), 'Deno' in globalThis ? [] : [true]);
    } finally {
      if (before === undefined) delete process.env[nativeVariable];
      else process.env[nativeVariable] = before;
    }
    await assert.rejects(chooseBackend('cuda' as 'auto'), fails('usage', /no backend is called 'cuda': there are auto, wasm, native, gpu$/));
  });

  for (const [file, hook, most] of [
    ['hubert-large.onnx', 'encoder.layers.1', 1e-5], ['hubert-large-fp16-io.onnx', 'encoder.layers.1', 2e-3], ['wav2vec2-optimised.onnx', 'encoder.layers.0', 1e-5], ['moonshine.onnx', 'encoder.layers.0.mlp.in', 1e-5],
  ] as const) {
    test(`makes the frames of the wasm build to rounding: ${file}`, { skip }, async () => {
      const [native, wasm] = await both(fixture('encoders', file), hook, signal(16_000));
      const off = relativeDifference(native!, wasm!);
      assert.ok(off < most, `off by ${off}`);
    });
  }

  test('makes them of a real recording with Moonshine\'s weights, within 1e-4', { skip }, async (t) => {
    const reason = await unreachable('moonshine-tiny');
    if (reason !== undefined) return t.skip(reason);
    const path = repo('demo', 'audio', 'en', 'sense_and_sensibility_01_austen_64kb-0870.flac');
    const sound = await decodeSound(readFileSync(path), path);
    const [native, wasm] = await both('moonshine-tiny', 'encoder.layers.3', resample(sound.samples, sound.sampleRate, 16_000));
    const off = relativeDifference(native!, wasm!);
    t.diagnostic(`relative difference ${off.toExponential(1)}`);
    assert.ok(off < 1e-4, `off by ${off}`);
  });

  test('gives the same bits with one thread and two', { skip }, async () => {
    const made: Float32Array[] = [];
    for (const threads of [1, 2]) {
      const encoder = await openEncoder({ model: fixture('encoders', 'hubert-large.onnx'), hook: 'encoder.layers.1', backend: 'native', threads });
      made.push((await encoder.encode(signal(80_000))).frames);
      await encoder.close();
    }
    assert.deepEqual(made[1], made[0]);
  });

  test('reads external files by itself, beside weights that lie in the model', { skip }, async () => {
    const parts = tinyEncoder();
    // The model's head has 8 KiB, which lie in it.
    parts.tensors![1] = externalTensor('kernel', [4, 1, 4], { location: 'kernel.bin', offset: '4096' });
    writeFileSync(join(folder, 'kernel.bin'), new Uint8Array([...new Uint8Array(4096).fill(0xee), ...new Uint8Array(Float32Array.from(tinyKernel).buffer)]));
    writeFileSync(join(folder, 'external.onnx'), model(parts));
    const hooks = ['encoder.embeddings', 'encoder.out'];
    const made: (readonly Float32Array[])[] = [];
    for (const backend of ['native', 'wasm'] as const) {
      const encoder = await openMultiEncoder({ model: join(folder, 'external.onnx'), hooks, backend });
      made.push((await encoder.encode(signal(400))).frames);
      await encoder.close();
    }
    for (const [n, hook] of hooks.entries()) assert.ok(relativeDifference(made[0]![n]!, made[1]![n]!) < 1e-6, hook);
    writeFileSync(join(folder, 'kernel.bin'), new Uint8Array(4100));
    await assert.rejects(openMultiEncoder({ model: join(folder, 'external.onnx'), hooks, backend: 'native' }), fails('file-damaged', /should lie at bytes 4096 to 4160/));
  });

  test('extracts, says so in the store, and does not go on with what the other build began', { skip }, async () => {
    const { model: tiny, manifest } = makeRecordings(join(folder, 'sound'), 12);
    const extract = (out: string, given: Partial<Parameters<typeof extractActivations>[0]>) => extractActivations({ model: tiny, hook: tinyHook, audio: [manifest], out: join(folder, out), ...given });
    const manifestOf = (out: string): { info: { computedBy: object } } => JSON.parse(readFileSync(join(folder, out, 'manifest.json'), 'utf8'));
    await extract('one', { backend: 'native', workers: 1 });
    await extract('three', { backend: 'native', workers: 3 });
    assert.deepEqual(manifestOf('three'), manifestOf('one'));
    assert.deepEqual(readFileSync(join(folder, 'three', 'shard-000000.msgpack')), readFileSync(join(folder, 'one', 'shard-000000.msgpack')));
    const { version } = (await loadNative())!;
    assert.deepEqual(manifestOf('one').info.computedBy, { package: 'onnxruntime-node', version, provider: 'cpu' });
    const controller = new AbortController();
    await assert.rejects(extract('mixed', { backend: 'wasm', signal: controller.signal, onProgress: () => controller.abort() }), fails('interrupted', /stopped after 1 of 12/));
    await assert.rejects(extract('mixed', { backend: 'native', resume: true }),
      fails('config', /cannot resume .*: it has frames by onnxruntime-web [\d.]+ \(wasm\), not onnxruntime-node [\d.]+ \(cpu\): use the same settings/));
    assert.equal((await extract('mixed', { backend: 'wasm', resume: true })).clips, 12);
  });
});
