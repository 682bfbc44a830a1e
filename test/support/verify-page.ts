/** The page of the browser tests, and the canonical job in it. */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { VerifyRecord } from '../../src/verify/index.ts';
import { launchChromium } from './chromium.ts';
import { serveFolder } from './static-server.ts';

export const suitePage = `<!doctype html><meta charset="utf-8"><title>cochlea</title><script type="module">
  import * as suite from '/test/browser/suite.js';
  window.suite = suite;
</script>`;

/** The record of Chromium on its SwiftShader: it takes no other software adapter. Throws, with the reason, where there is no such Chromium. */
export async function recordInChromium(cochlea: string): Promise<VerifyRecord> {
  const browser = await launchChromium();
  if (!browser) throw new Error('there is no bundled Chromium for this machine');
  const server = await serveFolder(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), { '/': suitePage });
  try {
    const tab = await browser.newPage();
    await tab.goto(`${server.origin}/`);
    await tab.waitForFunction('window.suite !== undefined', { timeout: 60_000 });
    return (await tab.evaluate(`suite.verify({ cochlea: ${JSON.stringify(cochlea)} })`)) as VerifyRecord;
  } finally {
    await browser.close();
    await server.close();
  }
}
