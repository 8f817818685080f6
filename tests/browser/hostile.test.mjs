// What is stored was written by whoever may push: it is shown as text, wherever it stands.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HOSTILE } from './content.mjs';
import { ADMIN, REAL, enter, faults, launch, move, registry } from './lib.mjs';

let browser;
let served;
let page;

before(async () => {
  browser = await launch();
  served = await registry({ repositories: 30, tags: 5 });
  page = await enter(browser, served.url, ADMIN);
});
after(async () => {
  await browser.close();
  await served.close();
});

const encoded = encodeURIComponent;
const NAMES = REAL ? ['hostile/strings'] : ['hostile/strings', `hostile/${HOSTILE.replaceAll('/', '')}`];

/** The text is there, and nothing that it would be if it were read as HTML. */
async function harmless(least) {
  await page.waitForTimeout(50);
  const found = await page.evaluate((text) => {
    const main = document.getElementById('main');
    const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode.data);
    return {
      shown: texts.filter((one) => one.includes(text)).length,
      elements: main.querySelectorAll('img, script, iframe, b').length,
      links: [...main.querySelectorAll('a')].filter((one) => !/^(#\/|https?:)/.test(one.getAttribute('href'))).length,
      handlers: [...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames()).filter((name) => /^on/.test(name)).length,
      styles: document.querySelectorAll('style').length,
    };
  }, HOSTILE);
  const { shown, ...bad } = found;
  assert.deepEqual(bad, { elements: 0, links: 0, handlers: 0, styles: 0 });
  assert.ok(shown >= least, `shown ${shown} times, instead of ${least}`);
}

for (const name of NAMES) {
  const place = `#/${name.split('/').map(encoded).join('/')}`;
  const label = name === NAMES[0] ? 'fields' : 'fields and names';
  test(`${label}: tags`, async () => {
    await move(page, place);
    await harmless(REAL ? 0 : 1);
  });
  test(`${label}: layers and history of the build`, async () => {
    await move(page, `${place}:v1`);
    await harmless(2);
  });
  test(`${label}: configuration, environment, user, labels`, async () => {
    await move(page, `${place}:v1?tab=config`);
    await harmless(8);
  });
  test(`${label}: annotations`, async () => {
    await move(page, `${place}:v1?tab=annotations`);
    await harmless(2);
    assert.equal(await page.getByText('javascript:window.hit=1').count(), 1);
  });
  test(`${label}: referrers, opened`, async () => {
    await move(page, `${place}:v1?tab=referrers`);
    await page.locator('details summary').first().click();
    await page.locator('.opened .raw').first().waitFor();
    await harmless(2);
  });
  test(`${label}: manifest`, async () => {
    await move(page, `${place}:v1?tab=manifest`);
    await page.locator('.raw').waitFor();
    await harmless(0);
  });
  test(`${label}: history of the tag`, async () => {
    await move(page, `${place}:v1?tab=history`);
    await page.locator('main tbody tr').first().waitFor();
    await harmless(0);
  });
  test(`${label}: what would be deleted`, async () => {
    await move(page, place);
    await page.getByLabel('Select all tags of this page').check();
    await page.locator('#delete').click();
    await page.locator('#confirm').waitFor();
    await page.locator('dialog').getByLabel('with all tags').check();
    assert.equal(await page.locator('dialog').locator('img, script, b').count(), 0);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Clear' }).click();
  });
}

test('a search and an address', async () => {
  await move(page, `#/?q=${encoded(HOSTILE)}`);
  await harmless(2);
  const gone = `#/${encoded(HOSTILE.replaceAll('/', ''))}`;
  await page.evaluate((hash) => (location.hash = hash), gone);
  await page.locator('.problem').waitFor();
  await harmless(0);
  page.seen.errors = page.seen.errors.filter((text) => !/40[04]/.test(text));
});

test('nothing was run, and nothing of this was a fault', async () => {
  assert.deepEqual(await faults(page, served.url), []);
});
