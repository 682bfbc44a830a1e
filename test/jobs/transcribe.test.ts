/** Recordings through a recogniser, as a job and as a command. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { transcribe } from '../../src/jobs/transcribe.ts';
import { wav } from '../audio/sounds.ts';
import { fails } from '../encoders/fails.ts';
import { ctcConfig, ctcVocabulary, spoken, tinyCtc } from '../encoders/tiny-ctc.ts';
import { model as onnx } from '../encoders/tiny-onnx.ts';
import { withHub } from '../hub/with-hub.ts';
import { cochlea, complaint } from '../support/cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'cochlea-transcribe-'));
after(() => rmSync(folder, { recursive: true }));
const place = (...parts: string[]): string => join(folder, ...parts);
for (const name of ['ctc', 'mute', 'sound', 'torn']) mkdirSync(place(name));
for (const name of ['ctc', 'mute']) writeFileSync(place(name, 'model.onnx'), onnx(tinyCtc()));
writeFileSync(place('ctc', 'config.json'), JSON.stringify(ctcConfig));
writeFileSync(place('ctc', 'vocab.json'), JSON.stringify(ctcVocabulary));
const say = (name: string, tokens: number[]): void => writeFileSync(place('sound', name), wav([...spoken(tokens)], { kind: 'float', bits: 32 }));
say('1.wav', [5, 5, 0, 5, 4, 6, 0]);
say('2.wav', [7, 7, 7]);
writeFileSync(place('sound', '3.wav'), 'RIFF but nothing else');
writeFileSync(place('torn', '3.wav'), 'RIFF but nothing else');

test('every clip has its words; what cannot be read is skipped, named and counted, or with strict refused', async () => {
  const heard: string[] = [], notices: string[] = [];
  const result = await transcribe({ model: place('ctc'), audio: [place('sound')], onClip: ({ id, text }) => heard.push(`${id} ${text}`), onNotice: (line) => notices.push(line) });
  assert.deepEqual(heard, ['1.wav AA B', '2.wav C']);
  assert.deepEqual(result.clips.map(({ id, text, tokens }) => [id, text, tokens]), [['1.wav', 'AA B', [5, 5, 4, 6]], ['2.wav', 'C', [7]]]);
  assert.deepEqual([result.skipped.length, notices], [1, [`skipped ${result.skipped[0]}`]]);
  assert.match(result.skipped[0]!, /3\.wav/);
  await assert.rejects(transcribe({ model: place('ctc'), audio: [place('sound')], strict: true }), fails('audio', /3\.wav/));
  await assert.rejects(transcribe({ model: place('ctc'), audio: [place('torn')] }), fails('audio', /none of 1 clips could be used: .*3\.wav/));
  await assert.rejects(transcribe({ model: place('mute'), audio: [place('sound')] }), fails('model', /mute has no head: it makes frames, not words/));
  await assert.rejects(transcribe({ model: place('ctc'), audio: [place('sound')], signal: AbortSignal.abort() }), fails('interrupted', /stopped after 0 of 3 clips/));
});

test('a model of the Hub comes with what its words need, and is there for offline', () => withHub({}, async (hub) => {
  const asked = { model: 'hf:org/ctc', audio: [place('sound', '2.wav')], onNotice: hub.onNotice };
  hub.server.put('org/ctc', { 'model.onnx': onnx(tinyCtc()), 'config.json': JSON.stringify(ctcConfig), 'vocab.json': JSON.stringify(ctcVocabulary) });
  await assert.rejects(transcribe({ ...asked, offline: true }), fails('file-missing', /org\/ctc at main is not in .*no network is to be used/));
  const { clips } = await transcribe(asked);
  assert.deepEqual([clips.map(({ text }) => text), hub.notices], [['C'], ['fetching org/ctc from the Hub, once: 0.0 MB']]);
  const before = hub.server.requests.length;
  assert.deepEqual((await transcribe({ ...asked, offline: true })).clips, clips);
  assert.equal(hub.server.requests.length, before);
}));

test('cochlea transcribe prints a line per clip, or one JSON object; bad input is one line', async () => {
  const { code, stdout, stderr } = await cochlea(['transcribe', place('sound'), '--model', place('ctc')]);
  assert.deepEqual([code, stdout], [0, '1.wav\tAA B\n2.wav\tC\n']);
  assert.match(stderr, /^skipped .*3\.wav.*\n1 skipped, each named above\n$/);
  const json = await cochlea(['transcribe', place('sound', '2.wav'), '--model', place('ctc'), '--json']);
  assert.deepEqual((JSON.parse(json.stdout) as { clips: unknown[] }).clips, [{ id: '2.wav', path: place('sound', '2.wav'), seconds: 6 / 16_000, text: 'C', tokens: [7] }]);
  const refused = await cochlea(['transcribe', place('sound')]);
  assert.deepEqual([refused.code, complaint(refused)], [2, 'cochlea: --model <model> is not given: see cochlea transcribe --help']);
});
