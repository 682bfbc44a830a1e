/** `cochlea profile` as people run it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { writeNpy } from '../../src/formats/index.ts';
import type { GpuProfile } from '../../src/profile/index.ts';
import { cochlea, complaint } from '../support/cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-profile-'));
after(() => rmSync(folder, { recursive: true }));
const place = (name: string): string => join(folder, name);
const size = ['--d-sae', '40', '--k', '3', '--batch-size', '16', '--steps', '4', '--warm-up', '1'];

test('profile prints one JSON object, writes its files, and compares itself with an earlier run', async () => {
  const [trace, roofline, earlier] = [place('trace.json'), place('roofline.svg'), place('earlier.json')];
  const first = await cochlea(['profile', '--d-in', '6', ...size, '--json', '--trace', trace, '--roofline', roofline]);
  assert.equal(first.code, 0, first.stderr);
  const found = JSON.parse(first.stdout) as GpuProfile;
  assert.deepEqual([found.format, found.kind, found.sameBits], ['cochlea-profile', 'training', true]);
  assert.ok(found.steps >= 4 && found.steps % found.step.window === 0);
  assert.deepEqual(found.configuration, { architecture: 'topk', d_in: 6, d_sae: 40, k: 3, batch_size: 16, frames: 'synthetic', compatibility: 'corrected' });
  assert.ok(JSON.parse(readFileSync(trace, 'utf8')).traceEvents.length > 40);
  assert.match(readFileSync(roofline, 'utf8'), /^<svg [^]*<\/svg>\n$/);

  writeFileSync(earlier, first.stdout);
  await writeNpy(place('frames.npy'), [10, 6], Float32Array.from({ length: 60 }, (_, n) => Math.sin(n))); // fewer than a batch
  const again = await cochlea(['profile', '--activations', place('frames.npy'), ...size, '--against', earlier, '--wall']);
  assert.equal(again.code, 0, again.stderr);
  for (const part of [/^kernel +calls +ms +share/m, /^encode_\w+ +1 /m, /^GPU idle/m, /the same bits \(state\)/, /^clock +the host's clock/m, /not the same conditions: timing: exact|not the same conditions: timing: calibrated/, /not the same conditions: frames: synthetic before, given now/, /^busy .*(faster|slower|within noise)/m]) {
    assert.match(again.stdout, part);
  }
});

test('profile refuses in one line what cannot be profiled', async () => {
  const refused: [string[], RegExp][] = [
    [[], /neither --d-in nor --activations, --sae or --model is given/],
    [['--d-in', '6', '--activations', 'x.npy'], /exclude each other/],
    [['--sae', 'here', '--model', 'whisper-tiny'], /--sae and --model exclude each other/],
    [['--hook', 'encoder.layers.0'], /--hook needs --model/],
    [['--model', 'whisper-tiny', '--hook', 'encoder.layers.0'], /--model needs --audio/],
    [['--model', 'whisper-tiny', '--hook', 'h', '--audio', 'a', '--roofline', 'r.svg'], /--roofline says nothing about an extraction/],
    [['--model', 'whisper-tiny', '--hook', 'h', '--audio', 'a', '--d-in', '6'], /--d-in says nothing about an extraction/],
    [['--model', 'whisper-tiny', '--hook', 'h', '--audio', 'a', '--wall'], /--wall says nothing about an extraction/],
    [['--sae', 'here', '--activations', 'x.npy'], /--activations says nothing about how a saved SAE encodes/],
    [['--sae', 'here', '--arch', 'topk', '--k', '3'], /--\w+ says nothing about how a saved SAE encodes/],
    [['--sae', 'here', '--threads', '2'], /--threads needs --model/],
    [['--d-in', '6', '--take', '2'], /--take needs --model/],
    [['--d-in', '6', '--arch', 'jumprelu', '--k', '3'], /--k is no option of --arch jumprelu/],
    [['--d-in', '6', '--against', place('nothing.json')], /nothing\.json/],
  ];
  await Promise.all(refused.map(async ([args, why]) => {
    const outcome = await cochlea(['profile', ...args]);
    assert.notEqual(outcome.code, 0, args.join(' '));
    assert.match(complaint(outcome), why);
  }));
});
