import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { givenFixtures } from './conformance/fixture-set.ts';
import { launchChromium } from './support/chromium.ts';
import { serveFolder } from './support/static-server.ts';
import { held, keptRecord, stepsOfTests, version } from './support/verify-records.ts';
import { suitePage } from './support/verify-page.ts';
import type { VerifyRecord } from '../src/verify/index.ts';

test('every kernel case and every TopK fixture passes in a page of headless Chromium', async (t) => {
  const built = dirname(dirname(fileURLToPath(import.meta.url)));
  const browser = await launchChromium();
  if (!browser) return t.skip('there is no bundled Chromium for this machine');
  const fixtures = await givenFixtures();
  const server = await serveFolder(built, { '/': suitePage }, { '/fixtures/': fixtures.read });
  try {
    const tab = await browser.newPage();
    const complaints: string[] = [];
    tab.on('pageerror', (error) => complaints.push(String(error)));
    await tab.goto(`${server.origin}/`);
    await tab.waitForFunction('window.suite !== undefined', { timeout: 60_000 }).catch((error: Error) => {
      throw new Error(`the page did not load: ${[...complaints, error.message].join('; ')}`);
    });
    assert.equal(await tab.evaluate('crossOriginIsolated'), true);
    t.diagnostic(`${await browser.version()} on ${await tab.evaluate('suite.describeAdapter()')}`);
    const files = readdirSync(`${built}/test/kernels`).filter((name) => name.endsWith('.cases.js') && name !== 'compile.cases.js').sort(); // Node compiles with the same compiler
    assert.ok(files.length > 0, 'there are no cases');
    for (const file of files) {
      const url = JSON.stringify(`/test/kernels/${file}`);
      const names = (await tab.evaluate(`suite.load(${url})`)) as string[];
      await t.test(file.replace('.cases.js', ''), async (group) => {
        for (const [index, name] of names.entries()) {
          await group.test(name, async () => {
            const failure = (await tab.evaluate(`suite.run(${url}, ${index})`)) as string | undefined;
            if (failure) throw new Error(failure);
          });
        }
      });
    }
    await t.test('verify', async (group) => {
      await group.test('the canonical job leaves the bits of the record that is kept of Chromium', async (one) => {
        const found = (await tab.evaluate(`suite.verify(${JSON.stringify({ cochlea: version, steps: stepsOfTests })})`)) as VerifyRecord;
        const kept = keptRecord('swiftshader', 'chromium');
        assert.ok(kept, 'there is no record of Chromium: run npm run verify:records');
        one.diagnostic(held(found, kept, 'swiftshader in Chromium'));
      });
    });
    await t.test('conformance', async (group) => {
      if (fixtures.reduced) group.diagnostic(fixtures.reduced);
      const cases = fixtures.cases.filter(({ architecture }) => architecture === 'topk');
      assert.ok(new Set(cases.map(({ kind }) => kind)).size === 2, 'there is no case');
      for (const one of cases) {
        await group.test(`${one.kind} ${one.name}`, async () => {
          const failure = (await tab.evaluate(`suite.conform(${JSON.stringify(one)})`)) as string | undefined;
          if (failure) throw new Error(failure);
        });
      }
    });
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    await server.close();
  }
});
