import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { listClips, loadClip } from '../../src/audio/clips.ts';
import { readCsv } from '../../src/audio/csv.ts';
import { repo } from '../support/paths.ts';

const demo = repo('demo', 'audio');

async function phoneEnds(): Promise<Map<string, number[]>> {
  const [head, ...rows] = readCsv(await readFile(join(demo, 'ru', 'phones.csv'), 'utf8'), ',');
  assert.deepEqual(head!.fields, ['clip', 'end', 'phone']);
  const ends = new Map<string, number[]>();
  for (const { fields } of rows) ends.set(fields![0]!, [...(ends.get(fields![0]!) ?? []), Number(fields![1])]);
  return ends;
}

test('the manifest of the demonstration speech is whole, and every recording in the folders is on it', async () => {
  const { clips, problems } = await listClips([join(demo, 'manifest.csv')]);
  assert.deepEqual(problems, []);
  const inFolders = await listClips([demo]);
  assert.deepEqual(clips.map(({ path }) => path).sort(), inFolders.clips.map(({ path }) => path).sort());
  for (const { labels } of clips) assert.ok(labels['text'] && ['en', 'ru'].includes(labels['language']!) && ['train', 'heldout'].includes(labels['split']!));
  const russian = clips.filter(({ labels }) => labels['language'] === 'ru');
  const share = russian.filter(({ labels }) => labels['split'] === 'heldout').length / russian.length;
  assert.ok(share > 0.13 && share < 0.17);
  assert.ok(russian.every(({ labels }) => /^[\p{Script=Cyrillic}\p{P}\s]+$/u.test(labels['text']!)), 'the text is readable Cyrillic');
  assert.deepEqual([...(await phoneEnds()).keys()], russian.map(({ id }) => id));
});

test('the demonstration speech stays below 7.5 MiB, each file below 1 MiB', async () => {
  let total = 0;
  for (const name of await readdir(demo, { recursive: true })) {
    const info = await stat(join(demo, name));
    if (info.isDirectory()) continue;
    total += info.size;
    assert.ok(info.size < 2 ** 20, name);
  }
  assert.ok(total < 7.5 * 2 ** 20, `${total} bytes`);
});

test('recordings and phone labels fit together', async () => {
  const { clips } = await listClips([join(demo, 'manifest.csv')]);
  const ends = await phoneEnds();
  for (const times of ends.values()) assert.ok(times.every((time, i) => time > (times[i - 1] ?? 0)), 'phones follow one another');
  // Six clips from all over the corpus; the others have the same making.
  for (const clip of clips.filter((_, i) => i % 45 === 5)) {
    const { samples, seconds } = await loadClip(clip, 16000);
    const last = ends.get(clip.id)!.at(-1)!;
    assert.ok(seconds - last > 0 && seconds - last < 0.03, `${clip.id}: ${seconds} s of sound, labels up to ${last} s`);
    const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
    assert.ok(power > 1e-5 && power < 0.1, `${clip.id}: mean power ${power}`);
  }
});
