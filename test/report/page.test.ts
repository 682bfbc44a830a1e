/** A report in a real browser: that it draws, plays, keeps quiet, and runs nothing that a label brought along. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'puppeteer-core';
import { renderClips, renderReport } from '../../src/report/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { launchChromium } from '../support/chromium.ts';
import { sampleClips } from './clips-sample.ts';
import { sampleReport } from './sample.ts';

// Puppeteer is for Node; the page that Deno would render is held to the same text by the other tests.
describe('a report in a browser', { skip: runtime.name === 'node' ? false : 'the browser is driven from Node' }, () => {
  let browser: Browser | undefined;
  let folder = '';
  before(async () => {
    browser = await launchChromium();
    folder = await runtime.files.temporaryFolder('cochlea-report-');
  });
  after(async () => {
    await browser?.close();
    await runtime.files.remove(folder);
  });

  /** Opens a report from a file; `told` collects what it complains about and what it asks for over the network. */
  async function open(html: string, width = 1280): Promise<{ tab: Page; told: string[] }> {
    const path = runtime.paths.join(folder, 'report.html');
    await runtime.files.write(path, html);
    const tab = await browser!.newPage();
    const told: string[] = [];
    tab.on('pageerror', (error) => told.push(String(error)));
    tab.on('console', (message) => told.push(message.text()));
    tab.on('dialog', (dialog) => {
      told.push(`dialog ${dialog.message()}`);
      void dialog.dismiss();
    });
    tab.on('request', (request) => {
      if (request.url() !== pathToFileURL(path).href) told.push(`request ${request.url()}`);
    });
    await tab.setViewport({ width, height: 900 });
    await tab.goto(pathToFileURL(path).href);
    return { tab, told };
  }

  test('draws every spectrogram, and fits narrow and wide windows', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    for (const width of [390, 1280]) {
      const { tab, told } = await open(renderReport(sampleReport()), width);
      const drawn = await tab.evaluate(() => [...document.querySelectorAll('canvas')].map((canvas) => {
        const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
      }));
      assert.equal(drawn.length, 7);
      assert.ok(drawn.every((colours) => colours > 40), String(drawn));
      assert.equal(await tab.evaluate(() => document.documentElement.scrollWidth), width);
      assert.deepEqual(told, []);
      await tab.close();
    }
  });

  test('breaks names without blanks where they would not fit', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const long = (what: string): string => `${what}${'_and_on_and_on'.repeat(10)}.flac`;
    for (const width of [360, 1280]) {
      for (const page of [renderReport(sampleReport(long)), renderClips(sampleClips(long))]) {
        const { tab } = await open(page, width);
        assert.equal(await tab.evaluate(() => document.documentElement.scrollWidth), width);
        // Nothing runs into what stands beside it.
        assert.deepEqual(await tab.$$eval('.facts dd, .line dd, .chart b, .index td', (all) => all
          .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0).map(({ textContent }) => textContent)), []);
        await tab.close();
      }
    }
  });

  test('has colours whose lightness rises evenly with level', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const sample = sampleReport();
    const ramp = { values: Float32Array.from({ length: 64 }, (_, level) => (level / 63 - 1) * 6), mels: 1, frames: 64 };
    const { tab } = await open(renderReport({ ...sample, features: [], recording: { ...sample.recording!, mel: ramp } }));
    const pixels = await tab.evaluate(() => [...document.querySelector('canvas')!.getContext('2d')!.getImageData(0, 0, 64, 1).data]);
    const linear = (channel: number): number => (channel / 255 <= 0.04045 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4);
    // CIE L* of each level
    const lightness = Array.from({ length: 64 }, (_, level) => {
      const [r, g, b] = pixels.slice(level * 4, level * 4 + 3).map(linear);
      const y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
      return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
    });
    assert.ok(lightness[0] < 5 && lightness[63] > 90, String(lightness));
    for (let level = 1; level < 64; level++) assert.ok(lightness[level] > lightness[level - 1] - 0.01, `level ${level}: ${lightness[level]} after ${lightness[level - 1]}`);
    await tab.close();
  });

  test('plays from the keyboard and from a place in the picture, one sound at a time', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const { tab, told } = await open(renderReport(sampleReport()));
    const playing = (): Promise<number[]> => tab.evaluate(() => [...document.querySelectorAll('figure[data-sound]')].flatMap((figure, n) => (figure.classList.contains('playing') ? [n] : [])));
    const settled = (expected: number[]): Promise<unknown> => tab.waitForFunction((wanted) =>
      JSON.stringify([...document.querySelectorAll('figure[data-sound]')].flatMap((figure, n) => (figure.classList.contains('playing') ? [n] : []))) === wanted,
    { timeout: 5000 }, JSON.stringify(expected));
    await tab.focus('#latent-0 .play');
    await tab.keyboard.press('Enter');
    await settled([1]);
    assert.equal(await tab.evaluate(() => document.activeElement!.getAttribute('aria-pressed')), 'true');
    await tab.keyboard.press('Escape');
    assert.deepEqual(await playing(), []);
    await tab.keyboard.press('Space');
    await settled([1]);
    // The recording, pressed at two thirds: 2 of its 3 seconds have gone by.
    const track = (await tab.$('#recording .track'))!;
    await track.scrollIntoView();
    const box = (await track.boundingBox())!;
    await tab.mouse.click(box.x + (box.width * 2) / 3, box.y + 10);
    await settled([0]);
    const place = await tab.evaluate(() => parseFloat(document.querySelector<HTMLElement>('#recording .head')!.style.left));
    assert.ok(place >= 66 && place < 100, `the play-head stands at ${place} %`);
    await settled([]); // it ends by itself
    assert.deepEqual(told, []);
    await tab.close();
  });

  test('says so when a sound cannot be played', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const { tab, told } = await open(renderReport({ ...sampleReport(), sounds: [{ bytes: new Uint8Array(100), type: 'audio/flac' }, { bytes: new Uint8Array(3), type: 'audio/ogg' }] }));
    await tab.click('#latent-0 .play');
    await tab.waitForSelector('#latent-0 .play[disabled]', { timeout: 5000 });
    assert.match(await tab.$eval('#latent-0 .play', (button) => button.getAttribute('title')!), /cannot play/);
    assert.deepEqual(told, []);
    await tab.close();
  });

  test('explains a metric on focus and stops explaining on Escape', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const { tab } = await open(renderReport(sampleReport()));
    const shown = (): Promise<boolean> => tab.$eval('#metric-1', (tip) => tip.getBoundingClientRect().height > 0);
    await tab.focus('[aria-describedby=metric-1]');
    assert.equal(await shown(), true);
    await tab.keyboard.press('Escape');
    assert.equal(await shown(), false);
    await tab.close();
  });

  test('runs nothing that an id or a label brings along', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    for (const attack of ['</script><script>alert(1)</script>', '"><img src=x onerror=alert(1)>', '\' onfocus=alert(1) autofocus x=\'']) {
      const { tab, told } = await open(renderReport(sampleReport((what) => `${what}${attack}`)));
      for (const place of ['#recording .track', '#latent-0 .play', '.term']) await tab.click(place);
      assert.deepEqual(told, []);
      assert.deepEqual(await tab.$$eval('img, [onerror], [onfocus]', (found) => found.length), 0);
      assert.ok((await tab.$eval('#recording bdi', (name) => name.textContent)).includes(attack));
      await tab.close();
    }
  });
});
