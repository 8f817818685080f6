// Deleting tags and images, with a preview.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ADMIN, STAND_IN_ONLY, enter, faults, launch, move, registry, settled } from './lib.mjs';

let browser;
let served;
let page;

before(async () => {
  browser = await launch();
  served = await registry({ repositories: 30, tags: 250 });
  page = await enter(browser, served.url, ADMIN, '#/scratch/tags?sort=name');
});
after(async () => {
  await browser.close();
  await served.close();
});

const names = () => page.locator('main tbody th .entry').allInnerTexts();
const select = (name) => page.getByLabel(`Select ${name}`, { exact: true }).check();

async function confirm() {
  await page.locator('#confirm').click();
  await page.locator('dialog').getByRole('button', { name: 'Close' }).click();
  await page.locator('dialog').waitFor({ state: 'detached' });
  await settled(page);
}

test('a tag alone: the preview names the others, which stay', async () => {
  assert.deepEqual(await names(), ['five', 'four', 'one', 'three', 'two']);
  await select('one');
  await page.locator('#delete').click();
  const row = page.locator('dialog tbody tr');
  await row.waitFor();
  assert.deepEqual((await row.locator('.chip').allInnerTexts()).sort(), ['three', 'two']);
  assert.match(await page.locator('dialog .note').last().innerText(), /can be pulled by digest/);
  assert.equal(await page.locator('#confirm').innerText(), 'Delete 1 tag');
  await confirm();
  assert.deepEqual(await names(), ['five', 'four', 'three', 'two']);
});

test('nothing is deleted by closing the dialog', async () => {
  const before = page.seen.requests.length;
  await select('four');
  await page.locator('#delete').click();
  await page.locator('#confirm').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement.id), 'delete', 'the focus goes back');
  assert.ok(page.seen.requests.slice(before).every(({ method }) => method === 'GET'));
  await page.getByRole('button', { name: 'Clear' }).click();
});

test('images with all their tags', async () => {
  await select('two');
  await select('four');
  await page.locator('#delete').click();
  await page.locator('dialog').getByLabel('with all tags').check();
  assert.match(await page.locator('dialog .note').last().innerText(), /2 other tags of these images will go too: (five, three|three, five)/);
  assert.equal(await page.locator('#confirm').innerText(), 'Delete 2 images');
  const before = page.seen.requests.length;
  await confirm();
  const deletes = page.seen.requests.slice(before).filter(({ method }) => method === 'DELETE');
  assert.equal(deletes.length, 2);
  assert.ok(deletes.every(({ url }) => /manifests\/sha256:[0-9a-f]{64}$/.test(url)));
  assert.deepEqual(await names(), []);
});

test('all of a page, and the selection stays over pages', { skip: STAND_IN_ONLY }, async () => {
  await move(page, '#/team/builds?sort=name');
  await page.getByLabel('Select all tags of this page').check();
  assert.match(await page.locator('.chosen').innerText(), /^100 tags selected, the most/);
  await move(page, '#/team/builds?sort=name&page=2');
  assert.match(await page.locator('.chosen').innerText(), /^100 tags/);
  await page.locator('#delete').click();
  await page.locator('#confirm').waitFor();
  assert.equal(await page.locator('dialog tbody tr').count(), 100);
  await confirm();
  assert.equal(await page.locator('.heading p').innerText(), '150 tags');
});

test('a refusal is shown with its code', { skip: STAND_IN_ONLY }, async () => {
  await move(page, '#/team/app');
  await select('2.3');
  await page.locator('#delete').click();
  await page.locator('dialog').getByLabel('with all tags').check();
  await page.locator('#confirm').click();
  await page.locator('dialog').getByRole('button', { name: 'Close' }).waitFor();
  assert.match(await page.locator('.failures').innerText(), /2\.3 DENIED: tag v2\.3\.0 is immutable/);
  await page.keyboard.press('Escape');
  page.seen.errors = page.seen.errors.filter((text) => !text.includes('409'));
});

test('of an image that is open', { skip: STAND_IN_ONLY }, async () => {
  await move(page, '#/team/web:1.3');
  await page.locator('#delete').click();
  await confirm();
  await page.waitForURL(/#\/team\/web$/);
  assert.ok(!(await names()).includes('1.3'));
});

test('nothing of this was a fault', async () => {
  assert.deepEqual(await faults(page, served.url), []);
});
