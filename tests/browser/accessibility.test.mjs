// axe-core on each view in both themes, the keyboard alone, a phone's width, motion.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ADMIN, audit, enter, faults, launch, move, open, registry, settled } from './lib.mjs';

const PLACES = {
  repositories: '#/',
  group: '#/team/',
  search: '#/?q=ship',
  nothing: '#/?q=nothing-has-this-name',
  tags: '#/team/app',
  layers: '#/team/app:v2.3.0',
  configuration: '#/team/app:v2.3.0?tab=config',
  manifests: '#/team/app:v2.3.0?tab=platforms',
  annotations: '#/team/app:v2.3.0?tab=annotations',
  referrers: '#/team/app:v2.3.0?tab=referrers',
  history: '#/team/app:latest?tab=history',
  manifest: '#/team/app:v2.3.0?tab=manifest',
  chart: '#/charts/harbour:1.1.0',
  registry: '#/~registry',
  usage: '#/~registry/usage',
  quotas: '#/~registry/quotas',
  retention: '#/~registry/retention',
  collection: '#/~registry/collection',
  trash: '#/~registry/trash',
  uploads: '#/~registry/uploads',
};

let browser;
let served;

before(async () => {
  browser = await launch();
  served = await registry({ repositories: 300, tags: 250 });
});
after(async () => {
  await browser.close();
  await served.close();
});

for (const colorScheme of ['light', 'dark']) {
  describe(`axe-core, ${colorScheme}`, () => {
    let page;
    before(async () => {
      page = await enter(browser, served.url, ADMIN, '#/', { colorScheme });
    });
    after(() => page.context().close());

    for (const [name, place] of Object.entries(PLACES)) {
      test(name, async () => {
        await move(page, place);
        assert.deepEqual(await audit(page), []);
        assert.equal(await page.locator('h1').count(), 1);
      });
    }

    test('the dialog of a deletion', async () => {
      await move(page, '#/scratch/tags');
      await page.getByLabel('Select one', { exact: true }).check();
      assert.deepEqual(await audit(page), []);
      await page.locator('#delete').click();
      await page.locator('#confirm').waitFor();
      assert.deepEqual(await audit(page), []);
      await page.keyboard.press('Escape');
    });

    test('the login', async () => {
      const other = await open(browser, { colorScheme });
      await other.goto(`${served.url}ui/`);
      await other.locator('#user').waitFor();
      assert.deepEqual(await audit(other), []);
      await other.context().close();
    });

    test('no faults', async () => assert.deepEqual(await faults(page, served.url), []));
  });
}

/** What has the focus: its text or label, and whether that can be seen. */
const focus = (page) =>
  page.evaluate(() => {
    const one = document.activeElement;
    const style = getComputedStyle(one);
    return { text: one.getAttribute('aria-label') || one.innerText || one.id, visible: style.outlineStyle !== 'none' && style.outlineWidth !== '0px' };
  });

async function tabTo(page, text, limit = 60) {
  for (let step = 0; step < limit; step += 1) {
    await page.keyboard.press('Tab');
    const now = await focus(page);
    assert.ok(now.visible, `the focus on “${now.text}” can be seen`);
    if (now.text.trim() === text) return;
  }
  assert.fail(`${text} is not reached`);
}

test('everything is done by the keyboard alone', async () => {
  const page = await enter(browser, served.url, ADMIN);
  await page.reload();
  await settled(page);
  await tabTo(page, 'Skip to the content', 1);
  await page.keyboard.press('Enter');
  await tabTo(page, 'scratch/');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#\/scratch\/$/);
  await settled(page);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'title', 'the heading has the focus');
  await tabTo(page, 'tags');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#\/scratch\/tags$/);
  await settled(page);
  await tabTo(page, 'Select three');
  await page.keyboard.press('Space');
  await tabTo(page, 'Delete…');
  await page.keyboard.press('Enter');
  await page.locator('#confirm').waitFor();
  await tabTo(page, 'only-tags', 3);
  await page.keyboard.press('ArrowDown');
  assert.equal(await page.locator('#confirm').innerText(), 'Delete 1 image');
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  await page.keyboard.press('/');
  await page.keyboard.type('team/app');
  await page.waitForURL(/q=team/);
  await settled(page);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#\/team\/app$/);
  await settled(page);
  await tabTo(page, 'edge');
  await page.keyboard.press('Enter');
  await page.waitForURL(/:edge$/);
  await settled(page);
  await tabTo(page, 'Configuration');
  await page.keyboard.press('Enter');
  await page.waitForURL(/tab=config/);
  assert.deepEqual(await faults(page, served.url), []);
  await page.context().close();
});

test('results are said to screen readers', async () => {
  const page = await enter(browser, served.url, ADMIN);
  await page.locator('#q').fill('team');
  await page.waitForURL(/q=team/);
  await settled(page);
  assert.match(await page.locator('#live').innerText(), /^Search for “team”: 3 repositories match$/);
  await page.context().close();
});

test('360 pixels are enough', async () => {
  const page = await enter(browser, served.url, ADMIN, '#/', { viewport: { width: 360, height: 740 } });
  for (const place of Object.values(PLACES)) {
    await move(page, place);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0, `${place} is ${wide} pixels too wide`);
  }
  assert.deepEqual(await audit(page), []);
  await page.context().close();
});

test('the theme can be chosen, and stays', async () => {
  const page = await enter(browser, served.url, ADMIN, '#/', { colorScheme: 'light' });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.getByRole('button', { name: 'Switch to the dark theme' }).click();
  const dark = await background();
  assert.notEqual(dark, light);
  await page.reload();
  await settled(page);
  assert.equal(await background(), dark);
  await page.context().close();
});

test('nothing moves for those who do not want it', async () => {
  const page = await enter(browser, served.url, ADMIN, '#/team/app:v2.3.0', { reducedMotion: 'reduce' });
  const moving = await page.evaluate(() => document.getAnimations().filter((one) => one.playState === 'running').length);
  assert.equal(moving, 0);
  await page.context().close();
});
