/** A page on clips in a real browser: what pointer, keyboard and sound do, and that it asks for nothing. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'puppeteer-core';
import { renderClips } from '../../src/report/index.ts';
import { runtime } from '../../src/runtime/index.ts';
import { launchChromium } from '../support/chromium.ts';
import { sampleClips } from './clips-sample.ts';

describe('a page on clips in a browser', { skip: runtime.name === 'node' ? false : 'the browser is driven from Node' }, () => {
  let browser: Browser | undefined;
  let folder = '';
  before(async () => {
    browser = await launchChromium();
    folder = await runtime.files.temporaryFolder('cochlea-clips-');
  });
  after(async () => {
    await browser?.close();
    await runtime.files.remove(folder);
  });

  async function open(html: string, width = 1280): Promise<{ tab: Page; told: string[] }> {
    const path = runtime.paths.join(folder, 'clips.html');
    await runtime.files.write(path, html);
    const tab = await browser!.newPage();
    const told: string[] = [];
    tab.on('pageerror', (error) => told.push(String(error)));
    tab.on('console', (message) => told.push(message.text()));
    tab.on('request', (request) => {
      if (request.url() !== pathToFileURL(path).href) told.push(`request ${request.url()}`);
    });
    await tab.setViewport({ width, height: 900 });
    await tab.goto(pathToFileURL(path).href);
    return { tab, told };
  }

  /** The numbers beside the rows of a clip, and what heads them. */
  const beside = (tab: Page, clip = 0): Promise<string[]> => tab.$$eval(`figure[data-clip="${clip}"] :is(.now, .value[data-latent])`, (cells) => cells.map((cell) => cell.textContent));
  const peaks = ['peak', '5.00', '1.25', '0', '−4.00'];
  const at = async (tab: Page, seconds: number): Promise<[number, number]> => {
    const over = (await tab.$('figure[data-clip="0"] .over'))!;
    await over.scrollIntoView();
    const box = (await over.boundingBox())!;
    return [box.x + (box.width * seconds) / 3, box.y + 40];
  };

  test('the pointer reads the activations of its frame, and leaves the peaks behind', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const { tab, told } = await open(renderClips(sampleClips()));
    assert.deepEqual(await beside(tab), peaks);
    await tab.mouse.move(...await at(tab, 1.31)); // frame 65: (65 - 49) / 5, and 65 % 30 is no less than 3
    assert.deepEqual(await beside(tab), ['1.31 s', '3.20', '0', '0', '0']);
    await tab.mouse.move(...await at(tab, 0.21)); // frame 10
    assert.deepEqual(await beside(tab), ['0.21 s', '0', '0', '0', '−4.00']);
    assert.deepEqual(await beside(tab, 1), peaks);
    await tab.mouse.move(5, 5);
    assert.deepEqual(await beside(tab), peaks);
    assert.deepEqual(told, []);
    await tab.close();
  });

  test('a latent that is picked is marked in every clip where it fires, and released by Escape', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const { tab } = await open(renderClips(sampleClips()));
    await tab.click('figure[data-clip="0"] .names[data-latent="7"] button');
    const marked = await tab.$$eval('.spans', (all) => all.map((spans) => {
      const { left, width } = spans.getBoundingClientRect();
      return [...spans.querySelectorAll('.on')].map((on) => [(on.getBoundingClientRect().left - left) / width, on.getBoundingClientRect().width / width].map((share) => Math.round(share * 3 * 50)));
    }));
    assert.deepEqual(marked, [[[50, 25]], [[50, 25]]]);
    assert.deepEqual(await tab.$$eval('.latent[aria-pressed="true"]', (buttons) => buttons.map((button) => button.textContent)), ['7', '7']);
    assert.equal((await tab.$$('tr.chosen')).length, 2);
    await tab.keyboard.press('Escape');
    assert.equal((await tab.$$('.spans i, .chosen, .latent[aria-pressed="true"]')).length, 0);
    await tab.close();
  });

  test('the keyboard moves by frames, says what fires, and plays from there; the numbers follow the sound', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const { tab, told } = await open(renderClips(sampleClips()));
    const said = (): Promise<(string | null)[]> => tab.$eval('figure[data-clip="0"] .over', (over) => [over.getAttribute('aria-valuenow'), over.getAttribute('aria-valuetext')]);
    await tab.focus('figure[data-clip="0"] .over');
    await tab.keyboard.press('PageUp');
    await tab.keyboard.press('ArrowRight');
    assert.deepEqual(await said(), ['1.020', '1.02 seconds: latent 7 0.400']);
    await tab.keyboard.press('End');
    assert.deepEqual(await said(), ['2.980', '2.98 seconds: latent 88 0.500']);
    await tab.keyboard.press('Home');
    await tab.keyboard.press('ArrowLeft');
    assert.deepEqual(await said(), ['0.000', '0.00 seconds: latent 1042 1.25']);
    await tab.keyboard.press('PageUp');
    for (const key of ['Control', 'Alt', 'Meta'] as const) { // what the browser does with these is not taken from it
      await tab.keyboard.down(key);
      await tab.keyboard.press('ArrowUp');
      await tab.keyboard.up(key);
    }
    assert.equal((await said())[0], '1.000');
    await tab.keyboard.press('Enter');
    await tab.waitForSelector('figure[data-clip="0"].playing', { timeout: 5000 });
    await tab.waitForFunction(() => parseFloat(document.querySelector('.now')!.textContent) > 1.05, { timeout: 5000 });
    await tab.keyboard.press('Escape');
    assert.equal((await tab.$$('.playing')).length, 0);
    assert.deepEqual(await beside(tab), peaks);
    assert.deepEqual(told, []);
    await tab.close();
  });

  test('a peak is heard from its place in the table, and ends by itself', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    const { tab } = await open(renderClips(sampleClips(undefined, 1)));
    await tab.click('tr[data-latent="88"] .hear'); // 0 to 0.7 s
    await tab.waitForSelector('.playing', { timeout: 5000 });
    await tab.waitForSelector('figure:not(.playing)', { timeout: 5000 });
    const place = await tab.$eval('.head', (head) => (3 * parseFloat((head as HTMLElement).style.left)) / 100);
    assert.ok(place > 0.3 && place < 1, `the play-head stopped at ${place} s`);
    await tab.close();
  });

  test('fits narrow and wide windows, and scrolls what is longer with the sound', async (t) => {
    if (!browser) return t.skip('there is no bundled Chromium for this machine');
    for (const width of [360, 1280]) {
      const { tab, told } = await open(renderClips(sampleClips()), width);
      assert.equal(await tab.evaluate(() => document.documentElement.scrollWidth), width);
      await tab.close();
      assert.deepEqual(told, []);
    }
    const one = sampleClips(undefined, 1);
    const samples = new Float32Array(60 * 16_000);
    const { tab } = await open(renderClips({ ...one, clips: [{ ...one.clips[0]!, end: 60, frames: 3000 }], sounds: [{ samples, sampleRate: 16_000 }] }), 390);
    assert.equal(await tab.evaluate(() => document.documentElement.scrollWidth), 390);
    await tab.focus('.over');
    for (let second = 0; second < 40; second++) await tab.keyboard.press('PageUp');
    assert.ok(await tab.$eval('.board', (board) => board.scrollLeft > 0 && board.scrollWidth > 2000));
    await tab.close();
  });
});
