import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Gpu } from '../../src/gpu/index.ts';
import { runDemo } from '../../src/jobs/demo.ts';
import { unreachable } from '../encoders/npm.ts';
import { fails } from '../support/fails.ts';
import { repo } from '../support/paths.ts';

test('a demo that was stopped says how it goes on: it has no --resume', async (t) => {
  const reason = await unreachable('moonshine-tiny');
  if (reason !== undefined) return t.skip(reason);
  const folder = mkdtempSync(join(tmpdir(), 'cochlea-demo-'));
  try {
    const work = runDemo({ gpu: undefined as unknown as Gpu, audio: repo('demo', 'audio'), out: folder, version: '', signal: AbortSignal.abort() }); // it does not come to the GPU
    await assert.rejects(work, fails('interrupted', /^stopped after 0 of 64 clips: the same command goes on from here$/));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
