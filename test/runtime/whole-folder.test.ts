/** Folders that appear whole, also when two make the same one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runtime } from '../../src/runtime/index.ts';
import { writeWholeFolder } from '../../src/runtime/whole-folder.ts';
import { fails } from '../support/fails.ts';

const { files } = runtime;
const folder = mkdtempSync(join(tmpdir(), 'cochlea-whole-'));
after(() => rmSync(folder, { recursive: true }));

/** Two that make `out`, each of two files of its own; the second begins when the first has written one, and ends behind or before it. */
async function twoAtOnce(out: string, endsFirst: 'first' | 'second'): Promise<[PromiseSettledResult<void>, PromiseSettledResult<void>]> {
  const gates = Array.from({ length: 3 }, () => {
    let open!: () => void;
    return { passed: new Promise<void>((resolve) => open = resolve), open: () => open() };
  });
  const [firstHasOne, secondHasOne, oneIsDone] = gates as [typeof gates[0], typeof gates[0], typeof gates[0]];
  const make = (name: string, begun: () => void, waitFor: readonly Promise<void>[]): Promise<void> => writeWholeFolder(out, async (place) => {
    await files.write(join(place, 'a'), name);
    begun();
    await Promise.all(waitFor);
    await files.write(join(place, 'b'), name);
  }).finally(oneIsDone.open);
  const first = make('first', firstHasOne.open, [secondHasOne.passed, ...(endsFirst === 'second' ? [oneIsDone.passed] : [])]);
  await firstHasOne.passed;
  const second = make('second', secondHasOne.open, endsFirst === 'first' ? [oneIsDone.passed] : []);
  return Promise.allSettled([first, second]);
}

for (const endsFirst of ['first', 'second'] as const) {
  test(`of two that make one folder the last to begin leaves it whole and the other stops, when the ${endsFirst} ends first`, async () => {
    const out = join(folder, endsFirst);
    const [first, second] = await twoAtOnce(out, endsFirst);
    assert.equal(second.status, 'fulfilled', String((second as PromiseRejectedResult).reason));
    assert.ok(fails('file-exists', /another process has begun to write .*: let it finish, or choose another folder$/)((first as PromiseRejectedResult).reason));
    assert.deepEqual([await files.list(out), await files.readText(join(out, 'a')), await files.readText(join(out, 'b'))], [['a', 'b'], 'second', 'second']);
    assert.deepEqual((await files.list(folder)).filter((name) => name.startsWith('.')), []);
  });
}
